"""Compare what an exported file costs: our network in torch, its .onnx file, and the same file optimised by onnxscript.

    python benchmarks/exports.py RUN [--batch 8] [--turns 5]

All of them return the outputs of the same denoiser for the same noisy data, on one thread, in turns within one process.
A time is the least processor time of the turns. onnxruntime optimises a graph when it loads it, which is on by default;
"as it is" has this switched off.

Needs `pip install 'inkwash[onnx]'`.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import torch

import inkwash as iw
from inkwash.bridges import exporting
from inkwash.bridges.portable import Portable, example_inputs


def message(portable: Portable, model: iw.Diffusion, optimise: bool) -> bytes:
    """The graph as a file of ONNX."""
    with exporting._quietly():
        found = torch.onnx.export(
            exporting._program(portable, model), dynamo=True, external_data=False, optimize=optimise, verbose=False
        )
    return found.model_proto.SerializeToString()


def session(content: bytes, level: Any) -> onnxruntime.InferenceSession:
    """A session of one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.graph_optimization_level = 1, level
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def spent(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run of a diffusion model")
    parser.add_argument("--batch", type=int, default=8, help="examples that are evaluated together")
    parser.add_argument("--turns", type=int, default=5, help="how often each is timed")
    words = parser.parse_args()
    torch.set_num_threads(1)
    model = exporting.require_diffusion(iw.load(words.run), "export")
    portable, inputs = Portable(model), example_inputs(model, words.batch)
    arrays = {name: part.numpy() for name, part in inputs.items()}
    with torch.no_grad():
        own = portable(**inputs)[0].numpy()
    calls: dict[str, Callable[[], Any]] = {"torch": torch.no_grad()(lambda: portable(**inputs))}
    levels = onnxruntime.GraphOptimizationLevel
    for name, optimise in (("ours", False), ("optimised", True)):
        content = message(portable, model, optimise)
        for how, level in (("by default", levels.ORT_ENABLE_ALL), ("as it is", levels.ORT_DISABLE_ALL)):
            runner = session(content, level)
            found = runner.run(None, arrays)[0]
            print(f"{name}, {how}: {len(content) / 1e6:.2f} MB, differs by {np.abs(found - own).max():.1e}", flush=True)
            calls[f"{name}, {how}"] = lambda runner=runner: runner.run(None, arrays)  # type: ignore[misc]
    turns = [{name: spent(call) for name, call in calls.items()} for _ in range(words.turns)]
    times = {name: min(turn[name] for turn in turns) for name in calls}
    print("| graph | ms for each evaluation | share of torch's |\n| --- | --- | --- |")
    for name, seconds in times.items():
        print(f"| {name} | {1000 * seconds:.1f} | {seconds / times['torch']:.2f} |")


if __name__ == "__main__":
    main()
