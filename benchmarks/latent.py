"""Compare latent diffusion with diffusion of the pixels, on colour images of 64x64, after equal processor time.

    python benchmarks/latent.py --data leaves --minutes 4
    python benchmarks/latent.py --data textures --minutes 4    # needs scikit-image, whose pictures it cuts into tiles

Both models train at the same time, each in a process with one thread, for as many steps as take the given minutes of
processor time; the time of a step is measured before. Then both sample with the same sampler and the same number of
steps. Distances are those of `inkwash.evaluation.fidelity` in a space of principal components fitted on other training
images, beside their floor, which is the distance of training images in place of samples; those of patches of 8x8 see
what is small. Options after -- are those of `inkwash train`; those of the autoencoder are for the latent model.
"""

import argparse
import multiprocessing
import os
import shlex
import time
from pathlib import Path

import numpy as np

SIDE, COUNT = 64, 3000
RADII = (6.0, 24.0)
PICTURES = (
    "astronaut",
    "brick",
    "chelsea",
    "coffee",
    "grass",
    "gravel",
    "immunohistochemistry",
    "hubble_deep_field",
    "retina",
    "rocket",
)
STEPS = 20


def leaves():
    """Colour images of dead leaves: those to train on, and those that are held out."""
    from inkwash.data.dead_leaves import dead_leaves

    images = dead_leaves(COUNT, SIDE, seed=0, channels=3, radii=RADII)
    return images[:-500], images[-500:]


def textures():
    """Tiles of the pictures that come with scikit-image: of the left four fifths of each, and of the right fifth."""
    from skimage import data
    from skimage.color import gray2rgb

    parts = [], []
    for name in PICTURES:
        picture = getattr(data, name)()
        picture = gray2rgb(picture) if picture.ndim == 2 else picture
        cut = picture.shape[1] * 4 // 5
        for tiles, part in zip(parts, (picture[:, :cut], picture[:, cut:]), strict=True):
            for top in range(0, part.shape[0] - SIDE + 1, SIDE // 4):
                for left in range(0, part.shape[1] - SIDE + 1, SIDE // 4):
                    tiles.append(part[top : top + SIDE, left : left + SIDE].transpose(2, 0, 1))
    random = np.random.default_rng(0)
    train, held_out = (np.stack(tiles)[random.permutation(len(tiles))] for tiles in parts)
    return train[: COUNT - 500], held_out[:500]


def options_of(model, words, images):
    """The options that words of the command line stand for."""
    from inkwash.commands.cli import Train
    from inkwash.commands.parse import parse

    return parse(Train, "inkwash train", [str(images), "--model", model, *words]).config(str(images))


def step_seconds(model, extra, images):
    """Processor time of a step of each stage of training."""
    import torch
    from accelerate import Accelerator

    from inkwash.training.loop import draw_batch
    from inkwash.training.prepare import prepare
    from inkwash.training.state import start

    prepared = prepare(options_of(model, extra, images))
    state, seconds = start(prepared.config, prepared.examples, torch.device("cpu")), []
    for number in range(len(state.stages)):
        state.move_to(number)
        times = []
        for _ in range(4):
            began = time.process_time()
            batch = draw_batch(state, prepared.examples, prepared.config.train, Accelerator(cpu=True))
            state.stage.lesson.loss(state.trained, batch).mean().backward()
            state.optimizer.step()
            state.optimizer.zero_grad()
            times.append(time.process_time() - began)
        seconds.append(sorted(times)[1])
    return seconds


def plan(model, extra, images, minutes, share):
    """The options of the numbers of steps that take the given time; `share` of it goes to the autoencoder."""
    seconds = step_seconds(model, extra, images)
    if len(seconds) == 1:
        return ["--train.steps", str(int(60 * minutes / seconds[0]))]
    first, second = int(60 * minutes * share / seconds[0]), int(60 * minutes * (1 - share) / seconds[1])
    return ["--train.steps", str(first + second), "--autoencoder.steps", str(first)]


def work(model, images, folder, minutes, share, samples, extra):
    """Train and sample one model; write down what it took."""
    import torch

    import inkwash as iw
    from inkwash.core.display import Display
    from inkwash.training.fit import fit

    torch.set_num_threads(1)
    quiet = ["--train.save-every=100000", "--train.monitor-every=100000", "--data.held-out=0.02"]
    words = [*plan(model, extra, images, minutes, share), *quiet, *extra]
    print(shlex.join(["inkwash", "train", str(images), "--model", model, *words]), flush=True)
    began = time.process_time()
    fit(options_of(model, words, images), folder / model, display=Display(shown=False), report=False)
    trained, found = time.process_time() - began, iw.load(folder / model)
    walk = {"sampler": iw.DPMSolver(), "steps": STEPS}
    found.sample(samples, seed=1, **{**walk, "steps": 1})  # what is done once
    began = time.process_time()
    np.save(folder / f"{model}-samples.npy", found.sample(samples, seed=0, **walk))
    np.savetxt(folder / f"{model}.txt", [trained, (time.process_time() - began) / samples])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("leaves", "textures"), default="leaves")
    parser.add_argument("--minutes", type=float, default=4.0, help="processor time of each training")
    parser.add_argument("--share", type=float, default=0.5, help="share of it that the autoencoder has")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--out", default="runs/latent-benchmark")
    parser.add_argument("--models", nargs="+", default=["diffusion", "latent"])
    parser.add_argument("options", nargs="*", help="after --: options of inkwash train, as --name=value")
    options = parser.parse_args()
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    images, rest = folder / f"{options.data}.npy", folder / f"{options.data}-held-out.npy"
    if not rest.exists():
        for path, part in zip((images, rest), {"leaves": leaves, "textures": textures}[options.data](), strict=True):
            np.save(path, part)
    train, held_out = np.load(images), np.load(rest)
    jobs = []
    for model in options.models:
        extra = [word for word in options.options if model == "latent" or not word.startswith("--autoencoder")]
        arguments = (model, images, folder, options.minutes, options.share, options.samples, extra)
        jobs.append(multiprocessing.Process(target=work, args=arguments))
        jobs[-1].start()
    for job in jobs:
        job.join()
    report(folder, options.models, train, held_out, options.samples)


def report(folder, models, train, held_out, count):
    """Print the table."""
    from inkwash.evaluation.features import principal_components
    from inkwash.evaluation.fidelity import fidelity

    samples = {"floor": train[:count]}
    samples |= {model: np.load(folder / f"{model}-samples.npy") for model in models}
    for name, form in (("images", as_rows), ("patches", patches)):
        features = principal_components(form(train[count:]))
        data = features(form(held_out[:count]))
        print(f"{name:<12}{'Fréchet':>10}{'kernel':>10}{'precision':>11}{'recall':>9}")
        for each, images in samples.items():
            found = fidelity(features(form(images)), data)
            print(f"{each:<12}{found.frechet:10.3f}{found.kernel:10.3f}{found.precision:11.2f}{found.recall:9.2f}")
    for model in models:
        print("{:<12}{:.0f} s of training, {:.4f} s a sample".format(model, *np.loadtxt(folder / f"{model}.txt")))


def as_rows(images):
    """Images as rows of numbers in [-1, 1]."""
    return images.reshape(len(images), -1) / 127.5 - 1


def patches(images, side=8, each=4):
    """Random patches of images, as rows."""
    random, found = np.random.default_rng(0), []
    for image in np.repeat(images, each, axis=0):
        top, left = random.integers(0, SIDE - side, 2)
        found.append(image[:, top : top + side, left : left + side])
    return as_rows(np.stack(found))


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
