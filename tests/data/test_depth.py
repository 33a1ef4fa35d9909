"""The bits of values in uint16: found from all the data, printed, overridden, no matter to likelihoods and samples."""

import math

import numpy as np
import pytest
import torch
from bugs import bug
from datafiles import npy
from faults import run_cli, train_words, without_pictures

import inkwash as iw
from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.data import infer
from inkwash.data.dataset import load_dataset
from inkwash.data.examples import read_example
from inkwash.data.pictures import save_pixels, to_files
from inkwash.data.transform import fit_transform
from inkwash.process.distributions import Lattice
from inkwash.training.run import load

RANDOM = np.random.default_rng(0)


def values_up_to(high, count=40):
    """Pictures of which the last one alone holds the largest value."""
    data = RANDOM.integers(0, min(high, 300), (count, 4, 5)).astype(np.uint16)
    data[-1, -1, -1] = high
    return data


@pytest.mark.parametrize(
    ("high", "bits"), [(1, 10), (1023, 10), (1024, 12), (4095, 12), (4096, 14), (16383, 14), (16384, 16), (65535, 16)]
)
def test_the_depth_holds_all_values_and_no_smaller_one_does(tmp_path, high, bits):
    data = load_dataset(npy(tmp_path, values_up_to(high)))
    assert (data.spec.low, data.spec.high, data.spec.levels) == (0, 2**bits - 1, 2**bits)
    assert f"values up to {high} read as {bits} bits; --data.levels says otherwise" in data.notes


def test_the_user_knows_better(tmp_path):
    data = load_dataset(npy(tmp_path, values_up_to(900)), DataConfig(levels=4096))
    assert data.spec.levels == 4096
    assert not any("bits" in note for note in data.notes)


def test_fewer_levels_are_looked_at_over_their_whole_range(tmp_path):
    for array, levels in ((np.uint8([[3], [9], [5]]), None), (np.uint16([[3], [9], [5]]), 256)):
        data = load_dataset(npy(tmp_path, array), DataConfig(levels=levels))
        assert (data.spec.levels, data.spec.contrast) == (256, None)
        assert data.spec.lattice == Lattice(-1.0, 1.0, 256)


@bug("the range of the type", infer, "_contrast", lambda data, spec: None)
@pytest.mark.parametrize(("centre", "spread"), [(200, 15), (2000, 15), (2000, 400)])
def test_the_network_sees_the_contrast_of_the_data(tmp_path, centre, spread):
    array = np.clip(np.rint(RANDOM.normal(centre, spread, (400, 3, 3))), 0, 4095).astype(np.uint16)
    data = load_dataset(npy(tmp_path, array))
    transform = fit_transform(data.spec, data.data)
    x = transform.to_model(data.data).double()
    assert abs(float(x.mean())) < 1e-5
    assert float(x.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(transform.to_data(x.float()), array)
    lattice = transform.lattice
    assert float((lattice.low + lattice.index(x) * lattice.spacing - x).abs().max()) < 1e-3 * lattice.spacing


def test_the_bound_is_in_bits_of_the_lattice_whatever_the_contrast(tmp_path):
    """A denoiser that is exact for normal data of any mean and spread: the bound is the entropy of its whole numbers,
    which is that of the density, log2(spread sqrt(2 pi e)), as long as the spread is many levels."""
    spread = 300.0
    array = np.rint(RANDOM.normal(2000, spread, (3000, 4))).astype(np.uint16)
    data = load_dataset(npy(tmp_path, array))
    transform = fit_transform(data.spec, data.data)
    process = iw.Gaussian(iw.process.LogLinearSchedule(1000, 9.2))
    denoiser = iw.Denoiser(
        lambda x_t, t: torch.zeros_like(x_t), process, predicts="F", variance="large", sees="log_snr"
    )
    bound = iw.Diffusion(denoiser, (4,), transform, steps=1000).bound(array, terms=20).mean()
    assert bound.unit == "bits/dim"
    assert bound.total == pytest.approx(math.log2(spread * math.sqrt(2 * math.pi * math.e)), abs=0.03)


def test_pictures_of_twelve_bits_keep_their_values(tmp_path):
    array = values_up_to(4095)
    spec = load_dataset(npy(tmp_path, array)).spec
    save_pixels(tmp_path / "one.png", to_files(spec, array)[-1])
    assert np.array_equal(read_example(tmp_path / "one.png", spec), array[-1])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("depth")
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        assert run_cli(train_words(npy(folder, values_up_to(3000)), folder / "run", "--train.steps", 2)) == 0
    return folder / "run"


def test_samples_are_of_the_type_and_range_of_the_data(run):
    x = load(run).sample(5, seed=0)
    assert x.dtype == np.uint16
    assert x.max() <= 4095
    assert load(run).units.spec.contrast is not None


def test_values_above_the_depth_are_refused_in_one_line(run, tmp_path, capsys):
    deeper = values_up_to(4096)
    with pytest.raises(DataError, match=r"got 4096, need whole numbers in \[0, 4095\]"):
        load(run).bound(deeper)
    save_pixels(tmp_path / "deep.png", deeper[-1])
    assert run_cli(["inpaint", run, tmp_path / "deep.png", "--hide", "left", "--out", tmp_path / "out"]) == 3
    said = capsys.readouterr().err
    assert said == "error: data: got 4096, need whole numbers in [0, 4095]\n"
    with pytest.raises(DataError, match=r"values in \[0, 4096\], need whole numbers 0 to 4095 for 4096 levels"):
        load_dataset(npy(tmp_path, deeper), DataConfig(levels=4096))
