#!/usr/bin/env bash
# accelerate 1.15.0, torch 2.13.0, on a machine without a GPU.
#
# Behaviour: `accelerate launch --cpu --num_processes 2 script.py` starts one process, and says nothing about the other.
# The state in it has num_processes 1.
#
# Expected: two processes, as `torchrun --nproc_per_node 2` starts with the same script and ACCELERATE_USE_CPU=true, or
# an error that says what to type.
#
# Output seen:
#   accelerate launch --cpu --num_processes 2: process 0 of 1
#   torchrun --nproc_per_node 2: process 0 of 2, process 1 of 2
#
# Who is hurt: whoever trains on the cores of a machine, or tests a distributed script on one: a batch that is meant per
# process is half as large as planned, and half of the machine is idle.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 accelerate==1.15.0 numpy==2.4.6
cat > "$work/place.py" <<'PY'
import os

from accelerate import PartialState

state = PartialState(cpu=True)
os.write(1, f"process {state.process_index} of {state.num_processes}\n".encode())
state.destroy_process_group()
PY
export ACCELERATE_USE_CPU=true HF_HOME="$work/home" PATH="$work/venv/bin:$PATH"
one=$(accelerate launch --cpu --num_processes 2 "$work/place.py" 2>/dev/null | sort | paste -sd, | sed 's/,/, /g')
two=$(torchrun --nproc_per_node 2 --master_port 29533 "$work/place.py" 2>/dev/null | sort | paste -sd, | sed 's/,/, /g')
echo "accelerate launch --cpu --num_processes 2: $one"
echo "torchrun --nproc_per_node 2: $two"
[ "$one" = "process 0 of 1" ]
[ "$two" = "process 0 of 2, process 1 of 2" ]
