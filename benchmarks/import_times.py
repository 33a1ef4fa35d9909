"""Measure how long the package of each format takes to import, in processor time of a fresh process.

NumPy and SciPy, which inkwash has imported before, do not count.

    python benchmarks/import_times.py
    python benchmarks/import_times.py --tries 9
"""

import argparse
import subprocess
import sys

import numpy as np

PACKAGES = {
    "hdf5": "h5py",
    "netcdf": "netCDF4",
    "zarr": "zarr",
    "tabular": "pandas, pyarrow",
    "audio": "soundfile",
    "medical, NIfTI": "nibabel",
    "medical, DICOM": "pydicom.pixels",
    "astro": "astropy.io.fits",
    "tiff": "tifffile",
    "hub": "datasets",
}
TIMED = """
import time
import numpy, scipy.stats
began = time.process_time()
import {}
print(time.process_time() - began)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=5)
    options = parser.parse_args()
    print("seconds, the median of", options.tries)
    for extra, modules in PACKAGES.items():
        words = [sys.executable, "-c", TIMED.format(modules)]
        runs = [subprocess.run(words, capture_output=True, text=True) for _ in range(options.tries)]
        seconds = [float(run.stdout) for run in runs if run.returncode == 0]
        print(f"{extra:<15} {modules:<16} {f'{np.median(seconds):.2f}' if seconds else 'not installed'}", flush=True)


if __name__ == "__main__":
    main()
