"""Measure training and sampling on a GPU, beside the U-Nets of diffusers and of denoising-diffusion-pytorch.

    PYTHONPATH=src python benchmarks/gpu.py                            # a CUDA GPU, less than 8 minutes
    PYTHONPATH=src python benchmarks/gpu.py --device cpu --minutes 5   # a small form of it, without a GPU

The three networks have about as many parameters and the same two resolutions with attention, for pictures of 32x32x3.
A training step is forward, backward, clipping and a fused AdamW update; a sample takes 50 evaluations. Each network is
measured in fp32 and bf16, as it is and compiled, and its peak memory is that of training. Every figure is printed as
soon as it is known; what the minutes do not suffice for is named, and so is a peer that is not installed.

Before that, twenty steps of training with inkwash's own loop are compared with the same steps on the CPU in fp32. The
command ends with exit code 1 if losses differ by more than the tolerance of their precision.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import inkwash as iw
from inkwash.data import DataSpec
from inkwash.data.transform import fit_transform
from inkwash.training.engine import tuned
from inkwash.training.examples import Examples
from inkwash.training.loop import training
from inkwash.training.resolve import resolve
from inkwash.training.state import start

TOLERANCES = {"fp32": 2e-3, "bf16": 3e-2, "fp16": 1e-2, "fp32 compiled": 2e-3, "bf16 compiled": 3e-2}
"""The largest mean relative difference of losses. On a GPU, convolutions of fp32 may round to TF32."""
EVALUATIONS = 50


class Alone:
    """The only process, on a device: what the training loop needs of an `Accelerator`, whose device is fixed once."""

    num_processes, process_index = 1, 0

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def prepare(self, module: nn.Module) -> nn.Module:
        return module

    def no_sync(self, module: nn.Module) -> Any:
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def clip_grad_norm_(self, parameters: Iterator[nn.Parameter], largest: float) -> Tensor:
        return nn.utils.clip_grad_norm_(parameters, largest)

    def gather(self, tensor: Tensor) -> Tensor:
        return tensor


def picture_examples() -> Examples:
    """Smooth pictures of 12x12 with 64 levels."""
    random = np.random.default_rng(0)
    rough = random.normal(size=(256, 1, 4, 4)).repeat(3, 2).repeat(3, 3)
    data = np.clip(32 + 12 * rough + 2 * random.normal(size=rough.shape), 0, 63).astype(np.uint8)
    spec = DataSpec((1, 12, 12), "NCHW", "uint8", 0.0, 63.0, 64)
    return Examples(data, np.arange(len(data)), fit_transform(spec, data, spec.lattice))


def losses(device: torch.device, precision: str, compiled: bool, steps: int) -> list[float]:
    """The losses of the first steps of training, all of which have the same examples, times and noise everywhere."""
    train = iw.TrainConfig(steps=1000, batch_size=64, warmup=1, precision=precision, compile=compiled)  # type: ignore[arg-type]
    examples = picture_examples()
    network = iw.NetworkConfig(width=32, multipliers=(1, 2), attention=(False, True))
    config = resolve(iw.Config("pictures", train=train, network=network), examples.transform.spec, len(examples))
    state = start(config, examples, device)
    walk = training(replace(state), examples, config.train, Alone(device))  # type: ignore[arg-type]
    return [next(walk).loss for _ in range(steps)]


def compare_losses(device: torch.device, steps: int, eager: bool) -> bool:
    """Print how far losses are from those of the CPU in fp32, and return whether all are close enough."""
    expected, close = losses(torch.device("cpu"), "fp32", False, steps), True
    modes = [("fp32", False), ("bf16", False), ("fp32", True)]
    modes += [("fp16", False), ("bf16", True)] if device.type == "cuda" else []
    modes = [(precision, compiled) for precision, compiled in modes if not (eager and compiled)]
    print(f"losses         of {steps} steps on the CPU: {expected[0]:.4f} ... {expected[-1]:.4f}", flush=True)
    for precision, compiled in modes:
        name = f"{precision} compiled" if compiled else precision
        found = losses(device, precision, compiled, steps)
        far = statistics.mean(abs(a / b - 1) for a, b in zip(found, expected, strict=True))
        close &= far <= TOLERANCES[name]
        verdict = "within" if far <= TOLERANCES[name] else "BEYOND"
        print(f"  {device.type} {name:<14} differ by {far:.1e}, {verdict} {TOLERANCES[name]:.0e}", flush=True)
    return close


Made = tuple[nn.Module, Callable[..., Tensor]]
"""A network, and how it is called with noisy pictures and levels in [0, 1]."""


def ours(width: int) -> Made:
    network = iw.nn.UNet(3, width, (1, 2, 2), 2, (False, True, True))
    return network, lambda run, x, level: run(x, 20 * level - 10)


def diffusers(width: int) -> Made:
    from diffusers import UNet2DModel

    kinds = ("", "Attn", "Attn")
    network = UNet2DModel(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        layers_per_block=2,
        block_out_channels=(width, 2 * width, 2 * width),
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in kinds[::-1]),
        norm_num_groups=8,
        attention_head_dim=width,
    )
    return network, lambda run, x, level: run(x, 1000 * level, return_dict=False)[0]


def lucidrains(width: int) -> Made:
    from denoising_diffusion_pytorch import Unet

    network = Unet(width, dim_mults=(1, 2, 2), full_attn=(False, True, True), flash_attn=True)
    return network, lambda run, x, level: run(x, 1000 * level)


PEERS = {"diffusers": diffusers, "lucidrains": lucidrains}


def count(made: Made) -> int:
    return sum(p.numel() for p in made[0].parameters())


def as_large_as(size: int, make: Callable[[int], Made], widest: int) -> Made:
    """The network of the width, a multiple of 8, whose number of parameters is nearest to a size."""
    with torch.device("meta"):
        sizes = {width: count(make(width)) for width in range(8, widest + 1, 8)}
    return make(min(sizes, key=lambda width: abs(sizes[width] - size)))


def installed(peers: list[str], width: int) -> dict[str, Made]:
    """Our network, and those of the peers that are installed."""
    found = {"inkwash": ours(width)}
    for name in peers:
        try:
            found[name] = as_large_as(count(found["inkwash"]), PEERS[name], 2 * width)
        except ImportError as error:
            print(f"{name:<14} skipped: {error}", flush=True)
    for name, network in found.items():
        print(f"{name:<14} {count(network) / 1e6:.2f} M parameters", flush=True)
    return found


class Trial:
    """A network in one mode: its training step and its evaluation, on a batch that stays the same."""

    def __init__(self, made: Made, device: torch.device, batch: int) -> None:
        network, self.call = made
        self.network, self.device, self.batch = copy.deepcopy(network).to(device), device, batch
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 1e-4, fused=True)
        self.x, self.eps = (torch.randn(batch, 3, 32, 32, device=device) for _ in range(2))
        self.level = torch.rand(batch, device=device)

    @contextmanager
    def mode(self, precision: str, compiled: bool) -> Iterator[None]:
        """Within it, the network runs in a precision, compiled or not."""
        backbone = isinstance(self.network, iw.nn.UNet)
        config = iw.TrainConfig(precision=precision, compile=compiled)  # type: ignore[arg-type]
        with tuned(self.network, config, self.device) if backbone else nullcontext():
            self.run: Callable[..., Any] = torch.compile(self.network) if compiled and not backbone else self.network
            self.cast = precision == "bf16" and not backbone
            yield

    def evaluate(self) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.cast):
            return self.call(self.run, self.x, self.level).float()

    def train(self) -> None:
        ((self.evaluate() - self.eps) ** 2).mean().backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    @torch.no_grad()
    def sample(self) -> None:
        self.evaluate()

    def seconds(self, work: Callable[[], None], turns: int) -> float:
        """The median time of the work, after two turns that do not count."""
        times = []
        for _ in range(turns + 2):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            times.append(time.perf_counter() - began)
        return statistics.median(times[2:])

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def measure(trial: Trial, turns: int) -> dict[str, float]:
    """Training step, samples and peak memory in the present mode of a trial."""
    on_gpu = trial.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(trial.device)
    step = trial.seconds(trial.train, turns)
    memory = torch.cuda.max_memory_allocated(trial.device) / 2**20 if on_gpu else float("nan")
    evaluation = trial.seconds(trial.sample, turns)
    return {
        "step_ms": 1000 * step,
        "trained_per_s": trial.batch / step,
        "samples_per_s": trial.batch / evaluation / EVALUATIONS,
        "peak_mib": memory,
    }


def report(
    networks: dict[str, Made], device: torch.device, batch: int, turns: int, eager: bool, end: float
) -> list[dict[str, Any]]:
    """Measure every network in every mode until the end, by the monotonic clock, and print each figure at once."""
    results, longest = [], 0.0
    for compiled, precision, name in itertools.product(
        (False,) if eager else (False, True), ("fp32", "bf16"), networks
    ):
        mode, began = f"{precision} compiled" if compiled else precision, time.monotonic()
        if began + (1.3 * longest if compiled else 0) > end:  # the first compiled network is the longest known
            print(f"{name:<11} {mode:<14} not measured: the minutes are over", flush=True)
            continue
        trial = Trial(networks[name], device, batch)
        with trial.mode(precision, compiled):
            found = measure(trial, turns)
        del trial
        longest = max(longest, time.monotonic() - began)
        results.append({"network": name, "mode": mode, **found})
        step = f"step {found['step_ms']:8.2f} ms, {found['trained_per_s']:8.0f} trained/s"
        rest = f"{found['samples_per_s']:8.1f} samples/s, {found['peak_mib']:6.0f} MiB"
        print(f"{name:<11} {mode:<14} {step}, {rest}", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--minutes", type=float, default=7.5, help="start nothing that may end later")
    parser.add_argument("--width", type=int, help="features of our network; by default 144, and 16 on a CPU")
    parser.add_argument("--batch", type=int, help="pictures of a step; by default 128, and 4 on a CPU")
    parser.add_argument("--turns", type=int, help="turns of each measurement; by default 20, and 3 on a CPU")
    parser.add_argument("--peers", nargs="*", default=["diffusers", "lucidrains"], choices=("diffusers", "lucidrains"))
    parser.add_argument("--eager", action="store_true", help="leave out what is compiled")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    began, device, small = time.monotonic(), torch.device(options.device), options.device == "cpu"
    if not small and not torch.cuda.is_available():
        sys.exit("error: --device: got cuda, and torch finds no GPU; need --device cpu")
    turns, batch = options.turns or (3 if small else 20), options.batch or (4 if small else 128)
    torch.manual_seed(0)
    print(f"device         {'CPU' if small else torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    close = compare_losses(device, 5 if small else 20, options.eager)
    networks = installed(options.peers, options.width or (16 if small else 144))
    print(f"a batch of {batch}; samples of {EVALUATIONS} evaluations", flush=True)
    results = report(networks, device, batch, turns, options.eager, began + 60 * options.minutes)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))
    sys.exit(0 if close else 1)


if __name__ == "__main__":
    main()
