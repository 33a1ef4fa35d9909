"""Train on the digits from Python, then sample, evaluate, and print one of the samples.

Run it with `python examples/digits.py`. It writes to runs/digits-example, takes a minute or two on a laptop, and may be
stopped and started again: the second call resumes the run, and a finished run is not trained twice.
"""

import numpy as np

import inkwash as iw


def main() -> None:
    run = iw.train("digits", out="runs/digits-example", train=iw.TrainConfig(steps=300, save_every=100))
    model = run.model()  # the averaged weights; the same as iw.load("runs/digits-example")

    digits = model.sample(16, seed=0, sampler=iw.DDIM(), steps=50)  # data units: uint8 (16, 1, 8, 8), 0 to 16
    again = model.sample(4, seed=0, sampler=iw.DDIM(), steps=50)
    print("four drawn alone are the first four of sixteen:", np.array_equal(digits[:4], again))

    held_out = run.dataset().data[run.split()[1]][:128]
    bound = model.bound(held_out, terms=50)
    print(f"held out: {bound.bits_per_dim.mean():.2f} bits/dim")
    for part in ("prior", "diffusion", "reconstruction"):
        print(f"  {part:14} {bound.in_bits_per_dim(getattr(bound, part)).mean():.3f}")

    for row in digits[0, 0]:
        print("".join(" .:-=+*#%@"[int(value) * 9 // 16] * 2 for value in row))


if __name__ == "__main__":
    main()
