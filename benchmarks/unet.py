"""Compare a training step and a sampling step of the U-Net with diffusers' UNet2DModel of about as many parameters.

    pip install -c constraints.txt -e '.[bench]' && python benchmarks/unet.py

Both networks run in one process, in turns. Figures are medians over the turns, and the median of the ratios turn by
turn; with --processor they are times of the processor, which other processes on the machine disturb less. A training
step is forward, backward, clipping and an update on 64 images of 28x28x1, by Muon for ours, as `inkwash train` takes,
and by fused AdamW for theirs; a sampling step is one DDIM step, network included. Memory is that of two training steps
in a process of its own, above what it had with the network made, and in all. As `inkwash train` does, every process
keeps the memory that it frees.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor, nn

import inkwash as iw
from inkwash.core.machine import keep_freed_memory
from inkwash.training.build import build_network, count_parameters
from inkwash.training.muon import Muon, matrices_within
from inkwash.training.resolve import resolve

SHAPE, BATCH = (1, 28, 28), 64
Clock = Callable[[], float]


def ours() -> nn.Module:
    """The default network, but wider, because diffusers' does not get as narrow."""
    spec = iw.data.DataSpec(SHAPE, "NCHW", "uint8", 0.0, 255.0, 256)
    parts = {"denoiser": iw.DenoiserConfig(predicts="eps"), "network": iw.NetworkConfig(width=48)}
    return build_network(resolve(iw.Config("mnist", **parts), spec), spec)


def theirs() -> nn.Module:
    """The same resolutions and attention, with two blocks at each, but narrower, because concatenations make it wider
    inside."""
    return UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        layers_per_block=2,
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        attention_head_dim=64,
    )


def training_step(
    network: nn.Module, call: Callable[[Tensor, Tensor], Tensor], optimizer: torch.optim.Optimizer
) -> Callable[[], None]:
    x, eps, level = torch.randn(BATCH, *SHAPE), torch.randn(BATCH, *SHAPE), torch.rand(BATCH)

    def step() -> None:
        ((call(x, level) - eps) ** 2).mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def our_training_step(network: nn.Module) -> Callable[[], None]:
    optimizer = Muon(matrices_within(network), [{"params": list(network.parameters()), "weight_decay": 0.01}])
    for group in optimizer.param_groups:
        group["lr"] = 1e-3
    return training_step(network, network, optimizer)


def their_training_step(network: nn.Module) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    return training_step(network, lambda x, t: network(x, 1000 * t).sample, optimizer)


def both_training_steps() -> dict[str, Callable[[], Callable[[], None]]]:
    """What makes each network and its training step."""
    return {
        "inkwash": lambda: our_training_step(ours()),
        "diffusers": lambda: their_training_step(theirs()),
    }


def peak_memory(whose: str) -> tuple[float, float]:
    """MiB that two training steps add to this process, and all that it ever had."""
    step = both_training_steps()[whose]()
    before = peak()
    step()
    step()
    return peak() - before, peak()


def peak() -> float:
    """The most memory of this process in MiB; unlike `getrusage`, Linux does not count that of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def compare_memory() -> dict[str, float | str]:
    found = {}
    for whose in both_training_steps():
        command = [sys.executable, __file__, "--memory-of", whose]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[whose] = [float(word) for word in done.stdout.split()]
    result: dict[str, float | str] = {"what": "peak memory"}
    for i, name in enumerate(("of training", "in all")):
        a, b = (found[whose][i] for whose in ("inkwash", "diffusers"))
        print(f"memory {name:<13} inkwash {a:6.0f} MiB   diffusers {b:6.0f} MiB   ratio {a / b:.2f}", flush=True)
        result[f"ratio {name}"] = a / b
    return result


def our_sampling_step(network: nn.Module) -> Callable[[], None]:
    denoiser = iw.Denoiser(network, iw.Gaussian(iw.LinearSchedule()), sees="log_snr")
    x_t, t, s = torch.randn(BATCH, *SHAPE), torch.tensor(0.5).double(), torch.tensor(0.48).double()
    random = torch.Generator()

    @torch.no_grad()
    def step() -> None:
        iw.DDIM().step(denoiser, x_t, t, s, random)

    return step


def their_sampling_step(network: nn.Module) -> Callable[[], None]:
    scheduler = DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(50)
    x_t = torch.randn(BATCH, *SHAPE)

    @torch.no_grad()
    def step() -> None:
        scheduler.step(network(x_t, 500).sample, 500, x_t)

    return step


def compare(
    name: str, a: Callable[[], None], b: Callable[[], None], turns: int, clock: Clock
) -> dict[str, float | str]:
    times: list[tuple[float, float]] = []
    for turn in range(turns + 2):
        pair = seconds(a, clock), seconds(b, clock)
        if turn >= 2:
            times.append(pair)
    ratio = statistics.median(x / y for x, y in times)
    ours_ms, theirs_ms = (1000 * statistics.median(column) for column in zip(*times, strict=True))
    print(f"{name:<14} inkwash {ours_ms:7.1f} ms   diffusers {theirs_ms:7.1f} ms   ratio {ratio:.2f}", flush=True)
    return {"what": name, "inkwash_ms": ours_ms, "diffusers_ms": theirs_ms, "ratio": ratio}


def seconds(work: Callable[[], None], clock: Clock) -> float:
    start = clock()
    work()
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--processor", action="store_true", help="count the time of the processor")
    parser.add_argument("--memory-of", choices=("inkwash", "diffusers"), help="print the memory of one, and end")
    options = parser.parse_args()
    keep_freed_memory()
    if options.memory_of:
        print(*peak_memory(options.memory_of))
        return
    clock = time.process_time if options.processor else time.perf_counter
    torch.manual_seed(0)
    a, b = ours(), theirs()
    print(f"parameters     inkwash {count_parameters(a):,}   diffusers {count_parameters(b):,}")
    print(f"threads        {torch.get_num_threads()}")
    train = compare("training step", our_training_step(a), their_training_step(b), options.turns, clock)
    sample = compare("sampling step", our_sampling_step(a.eval()), their_sampling_step(b.eval()), options.turns, clock)
    memory = compare_memory()
    if options.json:
        Path(options.json).write_text(json.dumps([train, sample, memory], indent=2))


if __name__ == "__main__":
    main()
