#!/usr/bin/env bash
# torch 2.13.0, on the CPU, with two threads.
#
# Behaviour: after torch has started its threads, which the first large operation does, `torch.set_flush_denormal(True)`
# reaches the calling thread only. An operation that is shared among threads then flushes denormal numbers in the part of
# the array that the calling thread has, and keeps them in the other. Called before any operation, it reaches all.
#
# Expected: one setting for an operation, whichever thread computes a number.
#
# Output seen:
#   set first: 0 of 4194304 products are denormal
#   set after a large operation: 2097152 of 4194304 products are denormal
#
# Who is hurt: whoever sets it once the slow steps show, in the middle of a session; half of the threads stay slow, and
# each operation waits for the slowest one. Results also depend on the number of threads, by numbers below 1e-38.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cat > "$work/count.py" <<'PY'
import sys

import torch

torch.set_num_threads(2)
if sys.argv[1] == "first":
    torch.set_flush_denormal(True)
torch.randn(2000, 2000) @ torch.randn(2000, 2000)
torch.set_flush_denormal(True)
products = torch.full((2**22,), 1e-30) * 1e-10
count, when = int((products != 0).sum()), "first" if sys.argv[1] == "first" else "after a large operation"
print(f"set {when}: {count} of {products.numel()} products are denormal")
assert count == (0 if sys.argv[1] == "first" else 2**21), count
PY
OMP_NUM_THREADS=2 "$work/venv/bin/python" "$work/count.py" first
OMP_NUM_THREADS=2 "$work/venv/bin/python" "$work/count.py" later
