"""Three estimators of one loss: their exact means and variances, by quadrature over every normal variable they draw."""

import itertools
from unittest import mock

import pytest
import torch
from oracles import F64, LINE, PLANE, exact_denoiser, gauss_hermite, tensor

import inkwash as iw
from inkwash.commands.papers import path_loss
from inkwash.commands.papers.path_loss import ClosedForm, FullPath, Merged, Options, variance_gap
from inkwash.process import distributions

BETAS = (0.02, 0.1, 0.25, 0.4)
SCHEDULE = iw.TabulatedSchedule(BETAS)
PATH = tensor([0.0, 0.25, 0.5, 0.75])
SHARE_VAR = BETAS[2] / (1 - (1 - BETAS[0]) * (1 - BETAS[1]) * (1 - BETAS[2]))  # beta_k / (1 - alpha-bar_k)
PROCESS = iw.Gaussian(SCHEDULE)


def denoisers(data):
    """The exact one, one that says nothing, and one that is wrong in gain and offset."""
    return {
        "exact": exact_denoiser(data, SCHEDULE),
        "nothing": iw.Denoiser(lambda x_t, t: torch.zeros_like(x_t), PROCESS),
        "wrong": iw.Denoiser(lambda x_t, t: 0.4 * x_t.flip(-1) + 0.7, PROCESS),
    }


CASES = [(name, data) for data in (LINE, PLANE) for name in denoisers(data)]
cases = pytest.mark.parametrize(("name", "data"), CASES, ids=[f"{n}-{d.size}d" for n, d in CASES])


def moments(loss, denoiser, data, path=PATH):
    """Mean and variance of one draw, exactly: three nodes per variable integrate fourth powers."""
    nodes, weights = gauss_hermite(3)
    count, size = loss.draws(path) + 1, data.size
    points = torch.cartesian_prod(*[nodes] * (count * size)).reshape(-1, count, size)
    mass = torch.cartesian_prod(*[weights] * (count * size)).prod(-1)
    noise = iter(points.unbind(1))
    x = data.whiten_inverse(next(noise))

    def next_noise(shape, generator, like=None):
        return next(noise)

    with (
        mock.patch.object(path_loss, "standard_normal", next_noise),
        mock.patch.object(distributions, "standard_normal", next_noise),
    ):
        losses = loss.loss(denoiser, x, path, torch.Generator())
    assert next(noise, None) is None  # it draws as often as it says
    mean = (mass * losses).sum()
    return float(mean), float((mass * (losses - mean) ** 2).sum())


@cases
def test_the_three_have_one_mean_and_the_closed_form_the_least_variance(name, data):
    denoiser = denoisers(data)[name]
    full, merged, closed = (moments(loss(), denoiser, data) for loss in (FullPath, Merged, ClosedForm))
    assert full[0] == pytest.approx(merged[0], rel=1e-9)
    assert closed[0] == pytest.approx(merged[0], rel=1e-9)
    assert full[1] == pytest.approx(merged[1], rel=1e-9)  # merging lowers nothing
    assert closed[1] < 0.9 * merged[1]
    gap = variance_gap(PROCESS, PATH, closed[0], data.size)
    assert merged[1] - closed[1] == pytest.approx(gap, rel=1e-9)


@pytest.mark.parametrize("data", [LINE, PLANE], ids=["line", "plane"])
def test_the_exact_denoiser_is_left_with_what_x_t_cannot_tell(data):
    """Cov of the step's noise given x_t: q² plus the share of what is unknown of all the noise, SNR mmse."""
    snr = SCHEDULE.log_snr(0.75).exp()
    expected = SHARE_VAR * float(snr * data.mmse(snr)) / data.size + 1 - SHARE_VAR
    for loss in (FullPath(), Merged(), ClosedForm()):
        assert moments(loss, denoisers(data)["exact"], data)[0] == pytest.approx(expected, rel=1e-9)


def test_without_a_guess_the_loss_is_a_chi_square_over_its_size():
    nothing = denoisers(PLANE)["nothing"]
    for loss in (FullPath(), Merged()):
        assert moments(loss, nothing, PLANE) == pytest.approx((1, 2 / 2))
    assert moments(ClosedForm(), nothing, PLANE) == pytest.approx((1, SHARE_VAR**2 * 2 / 2))


def test_the_closed_form_is_the_simple_loss_scaled_and_shifted():
    denoiser, random = denoisers(PLANE)["wrong"], torch.Generator()
    x = PLANE.whiten_inverse(torch.randn(50, 2, dtype=F64))
    losses = ClosedForm().loss(denoiser, x, PATH, random.manual_seed(5))
    eps = torch.randn(50, 2, dtype=F64, generator=random.manual_seed(5))
    simple = iw.training.Regression().loss(denoiser, x, torch.full((50,), 0.75, dtype=F64), eps)
    assert torch.allclose(losses, SHARE_VAR * simple + 1 - SHARE_VAR, rtol=1e-12)


def test_at_the_first_step_all_the_noise_is_the_noise_of_the_step():
    path, denoiser = PATH[:2], denoisers(LINE)["wrong"]
    found = [moments(loss, denoiser, LINE, path) for loss in (FullPath(), ClosedForm())]
    assert found[0] == pytest.approx(found[1])
    assert variance_gap(PROCESS, path, 0.3, 1) == pytest.approx(0, abs=1e-12)


def test_the_linear_denoiser_is_the_exact_one_of_normal_data():
    x = PLANE.whiten_inverse(torch.randn(500, 2, dtype=F64, generator=torch.Generator().manual_seed(0)))
    fitted = type(PLANE)(x.mean(0).tolist(), x.T.cov(correction=0).tolist())
    t = tensor([0.25, 0.5, 1.0])
    linear = path_loss.linear_denoiser(x, PROCESS)(x[:3], t)
    assert torch.allclose(linear.x, exact_denoiser(fitted, SCHEDULE)(x[:3], t).x, atol=1e-9)


def test_the_experiment_finds_it_on_digits():
    """Means agree to within their errors, and the fall of the variance is the predicted one, though digits are not
    normal and the network is not exact for them."""
    found = path_loss.measure(Options(steps=50, draws=3000, path_draws=1500, points=3))
    assert [row["step"] for row in found.numbers["rows"]] == [2, 10, 50]
    for row in found.numbers["rows"]:
        full, merged, closed = (row[name] for name in path_loss.LOSSES)
        for a, b in itertools.pairwise((full, merged, closed)):
            assert abs(a["mean"] - b["mean"]) < 4.5 * (a["std_error"] ** 2 + b["std_error"] ** 2) ** 0.5
        assert full["variance"] == pytest.approx(merged["variance"], rel=0.2)
        assert merged["variance"] == pytest.approx(closed["variance"] + row["predicted_gap"], rel=0.12)
        assert closed["gradient_variance"] < merged["gradient_variance"]
        assert list(row["draws"].values()) == [row["step"], 2, 1]
    assert found.numbers["rows"][0]["draws"]["whole path"] == 2
