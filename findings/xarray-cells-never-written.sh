#!/usr/bin/env bash
# xarray 2026.9.0, netCDF4 1.7.5.1.post1.
#
# Behaviour: cells of a netCDF variable that were never written hold the default fill value of their type. netCDF4 masks
# them. xarray, which reads the file by netCDF4, hands them out as numbers, unless the variable has a `_FillValue` of its
# own.
#
# Expected: NaN in a variable of real numbers, as for other missing cells, or a warning.
#
# Output seen:
#   netCDF4: [1.0, 1.0, None, None]
#   xarray:  [1.0, 1.0, 9.969209968386869e+36, 9.969209968386869e+36]
#
# Who is hurt: whoever trains on an array of xarray from a file that a simulation or a logger left unfinished: a mean and
# a range of 1e36, and no NaN for a check to find.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q xarray==2026.9.0 netCDF4==1.7.5.1.post1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import netCDF4
import numpy as np
import xarray as xr

with netCDF4.Dataset("a.nc", "w") as file:
    file.createDimension("time", 4)
    file.createVariable("x", "f4", ("time",))[:2] = 1
with netCDF4.Dataset("a.nc") as file:
    masked = file["x"][:]
with xr.open_dataset("a.nc", engine="netcdf4") as file:
    plain = file["x"].values
print("netCDF4:", masked.tolist())
print("xarray: ", plain.tolist())
assert masked.mask.tolist() == [False, False, True, True]
assert np.isfinite(plain).all()
assert plain.max() > 9e36
PY
