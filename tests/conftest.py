"""One thread per test process: the networks are tiny, and test processes run side by side."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
