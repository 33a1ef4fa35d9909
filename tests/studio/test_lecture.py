"""The experiments of the lecture are those of a law that is known: points of equal probability."""

from pathlib import Path

import pytest
import torch
from bugs import bug

from inkwash.core.errors import ConfigError
from inkwash.process.noise.tables import CosineSchedule
from inkwash.studio import lecture
from inkwash.studio.app import LECTURES
from inkwash.studio.lecture import LECTURE, exact, points
from inkwash.studio.questions import question
from inkwash.studio.subject import Subject


def answered(name, **options):
    return list(question(name, options).answer(Subject(Path())))


def test_the_server_lists_the_experiments():
    assert set(LECTURES) == set(LECTURE)


@bug("the weights forget the noise level", torch, "softmax", lambda x, dim: torch.full_like(x, 1 / x.shape[dim]))
def test_the_exact_score_is_the_gradient_of_the_log_density():
    schedule, t = CosineSchedule(), torch.tensor(0.3, dtype=torch.float64)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    x_t = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    log_density = (-((x_t[:, None] - alpha * points("two-moons")) ** 2).sum(-1) / (2 * sigma**2)).logsumexp(1)
    (expected,) = torch.autograd.grad(log_density.sum(), x_t)
    found = exact("two-moons", schedule)(x_t.detach(), t).score
    assert torch.allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("fresh", [True, False], ids=["ancestral", "ddim"])
def test_a_walk_back_ends_on_the_points(fresh):
    *_, end = answered("backward", steps=60, n=50, fresh_noise=fresh)
    ends = torch.tensor(end["points"], dtype=torch.float64)
    assert float(torch.cdist(ends, points("two-moons")).min(1).values.max()) < 0.15
    assert float(ends.var(0).mean()) == pytest.approx(1, abs=0.3)


def test_square_roots_keep_the_variance_and_their_absence_does_not():
    kept = [part["variance"] for part in answered("forward") if "variance" in part]
    lost = [part["variance"] for part in answered("forward", without_roots=True) if "variance" in part]
    assert kept == pytest.approx([1.0] * 9, abs=0.1)
    assert min(lost) == pytest.approx(0.5, abs=0.05)


def test_predictions_are_parts_of_one_equation():
    (part,) = answered("predictions", t=0.4)
    arrows = {name: torch.tensor(values) for name, values in part["arrows"].items()}
    x_t = torch.tensor(part["places"])
    assert torch.allclose(part["alpha"] * arrows["x"] + part["sigma"] * arrows["eps"], x_t, atol=1e-6)
    assert torch.allclose(arrows["score"] * part["sigma"], -arrows["eps"], atol=1e-6)


def test_curves_of_schedules_agree_with_each_other():
    for part in answered("schedules"):
        alpha, sigma = torch.tensor(part["alpha"]).double(), torch.tensor(part["sigma"]).double()
        assert torch.allclose(2 * (alpha / sigma).log(), torch.tensor(part["log_snr"]).double(), atol=1e-3)


def test_bad_experiments_are_refused():
    with pytest.raises(ConfigError, match="points: got"):
        answered("forward", points="digits")
    assert lecture.schedule_of("cosine").alpha(0.0) == 1
