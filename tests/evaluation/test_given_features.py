"""Features by their name, and those of a torch module, whose distances are known in closed form."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bugs import bug
from faults import run_cli, tiny

import inkwash as iw
from inkwash.core.config import EvaluateConfig, SamplingConfig
from inkwash.core.errors import ConfigError
from inkwash.data.pictures import to_pixels
from inkwash.evaluation import features, subject
from inkwash.evaluation.evaluate import evaluate
from inkwash.training.fit import fit

pytestmark = pytest.mark.usefixtures("quick_evaluation")
QUICK = EvaluateConfig(examples=16, bound_terms=4, sampling=SamplingConfig(steps=5))
SOURCE = """
import torch


class Corner(torch.nn.Module):
    def forward(self, x):
        if x.dtype != torch.uint8 or x.shape[1] != 3 or self.training:
            raise TypeError(f"{x.dtype} {x.shape}")
        return x[:, :, 0, 0].double() * torch.tensor([1.0, 2.0, 0.5])


corner = Corner()


def broken(x):
    raise KeyError("nothing")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of grey images of all levels."""
    folder = tmp_path_factory.mktemp("images")
    np.save(folder / "data.npy", np.random.default_rng(0).integers(0, 256, (90, 4, 5)).astype(np.uint8))
    return fit(tiny(folder / "data.npy", steps=1), folder / "run", report=False)


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "my_corner.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)


@bug("black and white are exchanged in the second half", features, "to_pixels", lambda s, x: to_pixels(s, x) // 2)
def test_a_module_sees_images_as_uint8_of_three_channels(run):
    """Its features are multiples of one number, so the distance of the two normal laws (Heusel et al. 2017, eq. 6) is
    that of this number, times the sum of the squares: the differences of means and of deviations, squared."""
    found = evaluate(run.path, replace(QUICK, features="my_corner:corner"))["fidelity"]["given"]
    train, held_out = (run.dataset().data[rows[:16], 0, 0].astype(float) for rows in run.split())
    apart = (train.mean() - held_out.mean()) ** 2 + (train.std(ddof=1) - held_out.std(ddof=1)) ** 2
    assert found["size"] == 3
    assert found["floor"]["frechet"] == pytest.approx((1 + 4 + 0.25) * apart, rel=1e-6)
    page = (run.path / "evaluation" / "report.html").read_text("utf-8")
    assert "--features my_corner:corner" in page
    assert "needs the features given from Python" not in page


NAMED = {
    "corner": "got 'corner', need MODULE:NAME",
    "no_such_module:corner": "ModuleNotFoundError: No module named 'no_such_module'), need a module that can be",
    "my_corner:edge": "AttributeError",
    "my_corner:Corner": "got 'my_corner:Corner', need a function or a torch module, and no class",
    "my_corner:__name__": "need a function or a torch module",
    "my_corner:broken": "got KeyError: 'nothing', for uint8 (10, 1, 4, 5)",
}


@pytest.mark.parametrize("name", NAMED)
def test_bad_names_end_in_one_line_before_the_work(run, name, monkeypatch, capsys):
    monkeypatch.setattr(subject, "draw_in_shares", None)
    assert run_cli(["evaluate", run.path, "--features", name]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --features: ")
    assert error.count("\n") == 1
    assert NAMED[name] in error


def test_features_go_with_their_data_and_are_given_once(run):
    spec = iw.load_dataset(np.random.default_rng(0).normal(size=(20, 3))).spec
    with pytest.raises(
        ConfigError, match=r"features: got a torch module, for vector 3.*need images of 1 or 3 channels"
    ):
        features.features_of(torch.nn.Flatten(), spec)
    with pytest.raises(ConfigError, match="features: got my_corner:corner, need no features from Python beside it"):
        evaluate(run.path, replace(QUICK, features="my_corner:corner"), features=len)
