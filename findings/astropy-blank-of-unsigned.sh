#!/usr/bin/env bash
# astropy 8.0.2, numpy 2.4.6.
#
# Behaviour: astropy makes NaN of the numbers of a FITS picture that equal its BLANK, the mark of undefined pixels (FITS
# Standard 4.0, section 5.3), but not if the picture holds unsigned numbers (BZERO = 32768, the convention of the
# standard for uint16, and how cameras of telescopes store pictures). There, undefined pixels come out as numbers, without
# a warning. `uint=False` reads them as NaN.
#
# Expected: NaN in both, or a warning that BLANK is left alone.
#
# Output seen:
#   int16,  BLANK = -99:    [1.0, 2.0, nan]
#   uint16, BLANK = 32767:  [1, 2, 65535]
#   uint16, uint=False:     [1.0, 2.0, nan]
#
# Who is hurt: whoever averages, fits or trains on such pictures: dead and saturated pixels count as the brightest ones.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q astropy==8.0.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PY'
import warnings

import numpy as np
from astropy.io import fits

warnings.simplefilter("error")


def written(name, values, blank):
    picture = fits.PrimaryHDU(values)
    picture.header["BLANK"] = blank
    picture.writeto(name)


def read(name, **options):
    with fits.open(name, **options) as file:
        return file[0].data.tolist()


written("signed.fits", np.array([1, 2, -99], np.int16), -99)
written("unsigned.fits", np.array([1, 2, 65535], np.uint16), 65535 - 32768)
print("int16,  BLANK = -99:   ", read("signed.fits"))
print("uint16, BLANK = 32767: ", read("unsigned.fits"))
print("uint16, uint=False:    ", read("unsigned.fits", uint=False))
assert np.isnan(read("signed.fits")[2])
assert read("unsigned.fits") == [1, 2, 65535]
assert np.isnan(read("unsigned.fits", uint=False)[2])
PY
