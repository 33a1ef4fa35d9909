"""A model without a run is compared with data of its user; the exact model of known pixels passes, another does not."""

import math

import numpy as np
import pytest
import torch
from bugs import bug
from scipy.stats import norm

import inkwash as iw
from inkwash.core.config import DataConfig, EvaluateConfig, SamplingConfig
from inkwash.core.errors import ConfigError, DataError
from inkwash.data.condition import ConditionSpec
from inkwash.evaluation import evaluate as evaluating
from inkwash.evaluation.evaluate import evaluate

pytestmark = pytest.mark.usefixtures("quick_evaluation")
SCHEDULE = iw.CosineSchedule(50)
MEANS, STD = torch.tensor([-0.5, 0.5]), 0.1
QUICK = EvaluateConfig(examples=60, bound_terms=49, sampling=SamplingConfig(steps=25))


class Exact(torch.nn.Module):
    """The best estimate of the noise for pixels around the mean of a class; or around the second mean, without any."""

    def __init__(self, has_classes):
        super().__init__()
        self.has_classes = has_classes

    def forward(self, x_t, t, label=None):
        if self.has_classes and label is None:
            raise ConfigError("label", "nothing", "a class")
        mean = MEANS[label - 1].reshape(-1, 1, 1, 1) if self.has_classes else MEANS[1]
        alpha, sigma = (each.to(x_t).reshape(-1, 1, 1, 1) for each in (SCHEDULE.alpha(t), SCHEDULE.sigma(t)))
        return sigma * (x_t - alpha * mean) / (alpha**2 * STD**2 + sigma**2)


def exact(classes=None):
    denoiser = iw.Denoiser(Exact(classes is not None), iw.Gaussian(SCHEDULE))
    usual = iw.adapt(lambda x_t, t: x_t, SCHEDULE, (1, 2, 3), sees="time", range=(-1, 1))
    condition = ConditionSpec(classes)
    return iw.Diffusion(denoiser, (1, 2, 3), usual.transform, 50, condition=condition)


def pixels(numbers):
    noise = torch.randn(len(numbers), 2, 3, generator=torch.Generator().manual_seed(0))
    x = MEANS[numbers].reshape(-1, 1, 1) + STD * noise
    return (255 * (x + 1) / 2).round().clamp(0, 255).byte().numpy()


SECOND = np.ones(120, int)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return evaluate(exact(), QUICK, data=pixels(SECOND), out=folder / "report"), folder / "report"


@pytest.mark.filterwarnings("ignore:adapt")
def test_the_exact_model_is_not_told_from_data_and_others_are(found, tmp_path):
    """Its bound is the entropy of the pixels, up to what 50 steps and 60 examples leave open."""
    assert found[0]["two_sample"]["p_value"] > 0.1
    levels = np.arange(256)
    share = norm.pdf(levels, 255 * 0.75, STD * 255 / 2)
    entropy = -(share * np.log2(share)).sum()
    bound = found[0]["bound"]["held_out"]
    assert abs(bound["total"] - entropy) < 4 * bound["std_error"] + 0.1
    darker = evaluate(exact(), QUICK, data=pixels(0 * SECOND), out=tmp_path / "darker")
    assert darker["two_sample"]["accuracy"] == 1
    assert darker["bound"]["held_out"]["total"] > bound["total"] + 1


def test_what_needs_training_data_is_left_out_and_said(found):
    result, folder = found
    assert result["overfitting"] is result["memorisation"] is result["bound_by_time"]["train"] is None
    assert result["bound"].keys() == {"held_out"}
    assert "over-fitting and memorisation are left out" in result["notes"][0]
    page = (folder / "report.html").read_text("utf-8")
    assert "Note: over-fitting and memorisation are left out" in page
    assert "<h2>Memorisation</h2>" not in page
    assert {path.name for path in folder.glob("*.png")} == {"samples.png", "bound_by_time.png"}


@bug("the network is asked without a label", evaluating, "needs_condition", lambda *_: False)
@pytest.mark.filterwarnings("ignore:adapt")
def test_a_model_of_classes_alone_is_evaluated_under_the_labels(tmp_path):
    """The entropy of a class; without labels the bound would have another bit for each example, or none at all."""
    numbers = np.arange(120) % 2
    np.savez(tmp_path / "data.npz", x=pixels(numbers), y=numbers)
    data = iw.load_dataset(str(tmp_path / "data.npz"), DataConfig(labels="y"))
    try:
        result = evaluate(exact(("0", "1")), QUICK, data=data, out=tmp_path / "report")
    except ConfigError as error:
        raise AssertionError("the network was asked for what it does not have") from error
    entropy = math.log2(STD * 255 / 2 * math.sqrt(2 * math.pi * math.e))
    bound = result["bound"]["held_out"]
    assert abs(bound["total"] - entropy) < 4 * bound["std_error"] + 0.1
    assert result["bound"].keys() == {"held_out"}
    assert "the bounds are those under the labels" in result["notes"][1]
    assert result["labels"]["samples"] == result["labels"]["held_out"] == 1


@pytest.mark.filterwarnings("ignore:adapt")
@pytest.mark.parametrize(
    ("options", "error", "line"),
    [
        ({}, ConfigError, "data: got nothing, need examples that the model was not trained on, image 1x2x3"),
        ({"data": np.zeros((40, 3, 2), np.uint8)}, DataError, "need what the model samples, "),
        ({"data": np.random.default_rng(0).normal(size=(40, 2, 3))}, DataError, "data: got .*, need whole numbers in"),
        ({"data": pixels(SECOND), "device": "cpu"}, ConfigError, "device: got cpu, need auto"),
        (
            {"data": pixels(SECOND), "config": EvaluateConfig(sampling=SamplingConfig(grid="learned", steps=5))},
            ConfigError,
            "grid: got learned, need another one: this is found with the data of a run",
        ),
    ],
)
def test_what_does_not_go_with_a_model_is_refused_in_one_line(options, error, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=line) as caught:
        evaluate(exact(), **options)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_of_a_run_stays_in_the_run(tmp_path):
    with pytest.raises(ConfigError, match="out: got elsewhere, need none"):
        evaluate(tmp_path, out="elsewhere")


@pytest.mark.parametrize("below", ["", "folder"])
def test_a_file_in_place_of_the_folder_is_refused_before_anything_is_sampled(tmp_path, monkeypatch, below):
    monkeypatch.setattr(evaluating, "subject_of", lambda *arguments, **options: pytest.fail("it was evaluated"))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match=r"out: got .*, where a file is, need the name of a folder"):
        evaluate(exact(), QUICK, data=pixels(SECOND), out=tmp_path / "file" / below)
    assert (tmp_path / "file").read_text() == "mine"
