"""The answers to the notes' questions: against closed forms where there are any, and against what the page says."""

import json
import math
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import F64, GaussianData, MixtureData, tensor
from PIL import Image

import inkwash as iw
from inkwash.commands.papers import questions
from inkwash.commands.papers.questions import QUESTIONS, Options, measure
from inkwash.commands.papers.questions.answer import PEAKS
from inkwash.core.randomness import generator

PAGE = (Path(__file__).parents[3] / "docs" / "questions.md").read_text("utf-8")
ASSETS = Path(__file__).parents[3] / "docs" / "assets" / "questions"
LINEAR = iw.LinearSchedule()
BETAS = LINEAR.table()
DATA = MixtureData([0.3, 0.7], [GaussianData([-1.2], [[0.05]]), GaussianData([0.9], [[0.2]])])


@cache
def answer(name):
    return QUESTIONS[name](generator(0, list(QUESTIONS).index(name))).numbers


# The page


def section(name):
    """The text between the heading with the anchor of a question and the next heading."""
    return re.search(rf"\{{ #{name} \}}\n(.*?)(?=\n##|\Z)", PAGE, re.DOTALL)[1]


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_page_says_what_is_measured(name):
    printed = re.findall(r"`([a-z]\w+)`\s(-?[\d.]+\d(?:e-?\d+)?|\d)", section(name))
    assert len(printed) >= 2
    for key, value in printed:
        assert float(value) == pytest.approx(answer(name)[key], rel=0.03), key


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_page_shows_a_small_picture(name):
    assert f"](assets/questions/{name}.png)" in section(name)
    assert (ASSETS / f"{name}.png").stat().st_size < 60_000


def test_there_are_no_other_pictures_and_every_question_quotes_a_note():
    assert {path.stem for path in ASSETS.iterdir()} == set(QUESTIONS)
    for name in QUESTIONS:
        assert re.search(r"Note 00[0-4]", section(name))


def test_the_command_writes_numbers_and_pictures(tmp_path, monkeypatch, capsys):
    kept = {name: QUESTIONS[name] for name in ("three-forms", "blind")}
    monkeypatch.setattr(questions, "QUESTIONS", kept)
    Options(out=str(tmp_path / "new" / "folder"))()
    folder = tmp_path / "new" / "folder"
    assert {path.name for path in folder.iterdir()} == {"questions.json", "three-forms.png", "blind.png"}
    found = json.loads((folder / "questions.json").read_text())
    assert found == measure(Options()).numbers
    with Image.open(folder / "blind.png") as picture:
        assert picture.width > 500
    printed = capsys.readouterr().out
    assert f"numbers   {folder / 'questions.json'}" in printed
    assert "excess_1 " in printed


# The data


def test_the_peaks_have_the_density_and_denoiser_of_a_mixture():
    x_t = torch.linspace(-3, 3, 13, dtype=F64)[:, None]
    for t in (0.05, 0.4, 1.0):
        alpha, sigma = LINEAR.alpha(t), LINEAR.sigma(t)
        assert torch.allclose(PEAKS.log_prob(x_t, alpha, sigma), DATA.marginal_log_prob(x_t, alpha, sigma))
        assert torch.allclose(PEAKS.denoise(x_t, alpha, sigma), DATA.denoise(x_t, alpha, sigma))
    x = PEAKS.draw(40000, generator(0))
    assert float(x.mean()) == pytest.approx(PEAKS.mean, abs=0.02)
    assert float(x.var()) == pytest.approx(PEAKS.variance, rel=0.02)
    assert float((x < -0.4).double().mean()) == pytest.approx(0.3, abs=0.01)


def on_a_grid(t):
    """Values of x_t, their masses, and E[x | x_t], from the oracle."""
    x_t = torch.linspace(-6, 6, 1001, dtype=F64)[:, None]
    alpha, sigma = LINEAR.alpha(t), LINEAR.sigma(t)
    return x_t, DATA.marginal_log_prob(x_t, alpha, sigma).softmax(0), DATA.denoise(x_t, alpha, sigma)[:, 0]


def mmse(t):
    _, mass, mean = on_a_grid(t)
    return PEAKS.variance + PEAKS.mean**2 - float((mass * mean**2).sum())


# The answers


def test_square_roots_keep_the_variance():
    found, error = answer("square-roots"), 5 * math.sqrt(2 / 2000)
    without, with_roots = PEAKS.variance, PEAKS.variance
    for beta in BETAS.tolist():
        without = (1 - beta) ** 2 * without + beta**2
        with_roots = (1 - beta) * with_roots + beta
    assert found["with_roots"] == pytest.approx(with_roots, rel=error)
    assert with_roots == pytest.approx(1, abs=1e-4)
    assert found["without_roots"] == pytest.approx(without, rel=error)
    assert found["without_shrinking"] == pytest.approx(PEAKS.variance + float(BETAS.sum()), rel=error)


def test_growing_betas_cost_less():
    found = answer("growing-beta")
    growing, equal = iw.LinearSchedule(100).table(), -math.expm1(float(iw.LinearSchedule(100).log_alpha_bar(1.0)) / 100)
    assert found["first_beta_growing"] == pytest.approx(float(growing[0]))
    assert found["first_beta_equal"] == pytest.approx(equal)
    for name in ("growing", "equal"):
        assert found[f"gap_{name}"] > -4 * found[f"gap_{name}_error"]
    error = math.hypot(found["gap_growing_error"], found["gap_equal_error"])
    assert found["gap_equal"] - found["gap_growing"] > 4 * error


def test_between_fixed_ends_the_way_matters_less_and_less():
    """The limit is the difference of mutual informations at the two ends, by the densities alone."""
    found = answer("fixed-alpha")

    def information(t):
        x_t, mass, _ = on_a_grid(t)
        entropy = -(mass * DATA.marginal_log_prob(x_t, LINEAR.alpha(t), LINEAR.sigma(t))).sum()
        return float(entropy - 0.5 * math.log(2 * math.pi * math.e) - LINEAR.sigma(t).log())

    limit = information(1e-3) - information(1.0)
    assert limit < found["cost_512"] < 1.03 * limit
    assert found["spread_512"] == pytest.approx(found["spread_16"] * 16 / 512, rel=0.7)


def test_one_random_step_has_the_mean_of_all():
    found = answer("random-steps")
    assert abs(found["all_steps"] - found["one_random_step"]) < 4 * found["one_random_step_error"]
    t = torch.arange(1, 1001, dtype=F64) / 1000
    exact = sum(float(LINEAR.log_snr(u).exp()) * mmse(float(u)) for u in t[9::20]) / 50
    assert found["all_steps"] == pytest.approx(exact, rel=0.03)
    assert found["all_steps_calls"] == 10 * found["one_random_step_calls"]


def test_the_same_noise_adds_up():
    found, sums, kept = answer("same-noise"), 0.0, 1.0
    for beta in reversed(BETAS.tolist()):
        sums += kept * math.sqrt(beta)
        kept *= math.sqrt(1 - beta)
    assert found["variance_same"] == pytest.approx(kept**2 * PEAKS.variance + sums**2, rel=5 * math.sqrt(2 / 2000))
    assert found["variance_fresh"] == pytest.approx(1, rel=5 * math.sqrt(2 / 2000))


def test_prior_and_noised_data_start_alike():
    found = answer("where-to-start")
    alpha_var, sigma_var = float(LINEAR.alpha(1.0) ** 2), float(LINEAR.sigma(1.0) ** 2)
    second = PEAKS.variance + PEAKS.mean**2
    assert found["left_of_data"] == pytest.approx(
        0.5 * (alpha_var * second + sigma_var - 1 - math.log(sigma_var)), rel=0.1
    )
    for name in ("from_prior", "from_noised_data", "fresh_data"):
        assert found[f"distance_{name}"] < 0.06 < found["distance_noise"] / 5


def test_three_forms_agree_and_magnify_errors_by_what_the_schedule_says():
    found = answer("three-forms")
    assert found["difference"] < 1e-10
    for name, t in (("at_1", 1.0), ("at_first", 1e-3)):
        expected = float(torch.exp(-0.5 * LINEAR.log_snr(t)))
        assert found[f"x_error_of_eps_{name}"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("count", [5, 1000])
def test_the_reverse_mean_is_exact_and_its_variance_lacks_what_is_unknown_of_x(count):
    """Var[x_s | x_t] = posterior variance + (weight of x in the posterior mean)² Var[x | x_t]."""
    found, s, t = answer("reverse-formula"), 0.4 - 1 / count, 0.4
    assert found["mean_error"] < 1e-9
    zero, one = torch.zeros(1, 1, dtype=F64), torch.ones(1, 1, dtype=F64)
    process = iw.Gaussian(LINEAR)
    weight = float(process.posterior(zero, one, s, t).mean)
    expected = 1 + weight**2 * mmse(t) / float(process.posterior(zero, zero, s, t).var)
    assert found[f"variance_ratio_{count}"] == pytest.approx(expected, rel=1e-3)


def test_small_steps_are_normal():
    found = answer("normal-steps")
    assert 0.05 < found["kl_3"] < 1
    assert found["kl_100"] / found["kl_1000"] == pytest.approx(1000, rel=0.3)


def test_in_the_limit_one_path_is_enough():
    found = answer("one-pass")
    assert found["mean_3"] < found["mean_300"] < 0
    assert found["spread_30"] / found["spread_300"] == pytest.approx(math.sqrt(10), rel=0.25)
    assert abs(found["mean_300"]) < 0.015  # half the variance of the log-ratio, 0.008, and the sampling error
    assert abs(found["mean_of_weights_300"]) < 5 * found["spread_300"] / math.sqrt(2000)


def test_a_density_on_levels_has_no_end_and_a_mass_does():
    found = answer("edge")
    assert found["density_per_decade"] == pytest.approx(-0.5 * math.log(10), abs=0.01)
    assert found["density_last"] < -6
    assert 0 <= found["mass_last"] < 1e-6


def test_the_bound_weighs_early_steps_most():
    """The weight of DDPM's eq. 12 with the small variance, beta²/(2 beta-tilde alpha (1 - alpha-bar))."""
    found, bar = answer("weights"), (1 - BETAS).cumprod(0)
    tilde = BETAS[1:] * (1 - bar[:-1]) / (1 - bar[1:])
    weight = BETAS[1:] ** 2 / (2 * tilde * (1 - BETAS[1:]) * (1 - bar[1:]))
    assert found["weight_ratio"] == pytest.approx(float(weight[0] / weight[-1]), rel=1e-6)
    known = [*range(2, 30), *range(30, 1001, 10)]
    errors = [float(LINEAR.log_snr(k / 1000).exp()) * mmse(k / 1000) for k in known]
    errors = tensor(np.interp(range(2, 1001), known, errors))
    for name, w in (("bound", weight), ("simple", torch.ones_like(weight))):
        expected = float((w * errors)[:99].sum() / (w * errors).sum())
        assert found[f"share_of_early_steps_{name}"] == pytest.approx(expected, rel=0.05)
    assert found["relative_spread_bound"] > 2 * found["relative_spread_simple"]


def test_many_entries_tell_the_time():
    excess = list(answer("blind").values())
    assert all(0 < later < earlier for earlier, later in pairwise(excess))
    assert excess[-1] == pytest.approx(excess[-2] / 4, rel=0.3)


def test_the_prior_misses_what_an_encoder_finds():
    found = answer("probability")
    assert found["exact_hits"] == 0
    assert found["draws_from_the_prior_16"] > 100
    assert found["draws_from_an_encoder_16"] < 0.1
    assert found["draws_from_an_encoder_1"] < found["draws_from_the_prior_1"] < 0.1
