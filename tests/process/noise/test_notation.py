"""Letters of papers and notes convert to what their authors mean by them, and back."""

from dataclasses import replace

import mpmath
import pytest
import torch
from betas import case
from bugs import bug
from oracles import F64, name_of, public_schedules, tensor

import inkwash as iw
from inkwash.process.noise import notation
from inkwash.process.noise.notation import LETTERS

schedules = pytest.mark.parametrize("schedule", public_schedules(), ids=name_of)
TIGHT = {"ddpm.beta", "su.beta", "note.b", "kingma.gamma", "kingma.snr", "karras.sigma"}


@schedules
@pytest.mark.parametrize("letter", LETTERS)
def test_letters_lead_back_to_the_log_snr(schedule, letter):
    """Letters near 1 lose digits where there is little noise, since they are not stored as a difference from 1."""
    log_snr = schedule.log_snr(torch.arange(1, 41, dtype=F64) / 40)
    again = iw.process.to_log_snr(letter, iw.process.from_log_snr(letter, log_snr))
    torch.testing.assert_close(again, log_snr, rtol=0, atol=1e-7 if letter not in TIGHT else 1e-8)
    torch.testing.assert_close(schedule.time(again), schedule.time(log_snr), rtol=0, atol=1e-9)


def letters_with(name, **maps):
    """The table of letters with other conversions of one."""
    return notation, "_LETTERS", {**notation._LETTERS, name: replace(notation._LETTERS[name], **maps)}


def betas_without_the_first(log_snr):
    before = torch.cat([log_snr[:1], log_snr[:-1]])
    return -torch.sigmoid(-log_snr) * torch.expm1(log_snr - before)


def alphas_without_the_first(log_snr):
    log_alpha_bar = torch.nn.functional.logsigmoid(log_snr)
    return torch.diff(log_alpha_bar, prepend=log_alpha_bar[:1]).exp()


@bug("first beta forgotten", *letters_with("ddpm.beta", from_log_snr=betas_without_the_first), steps=21)
@bug("first alpha forgotten", *letters_with("ddpm.alpha", from_log_snr=alphas_without_the_first), steps=21)
@pytest.mark.parametrize("steps", [21, 1000])
def test_letters_of_a_schedule_have_their_authors_meaning(steps):
    schedule, betas, bars = case("linear", steps)
    got = iw.process.letter_table(schedule, steps)
    exact = {
        "ddpm.beta": betas,
        "ddpm.alpha": [1 - b for b in betas],
        "ddpm.alpha_bar": bars[1:],
        "su.beta": [mpmath.sqrt(b) for b in betas],
        "su.alpha_bar": [mpmath.sqrt(b) for b in bars[1:]],
        "su.beta_bar": [mpmath.sqrt(1 - b) for b in bars[1:]],
        "kingma.snr": [b / (1 - b) for b in bars[1:]],
        "karras.sigma": [mpmath.sqrt((1 - b) / b) for b in bars[1:]],
    }
    for letter, values in exact.items():
        torch.testing.assert_close(got[letter], tensor([float(v) for v in values]), rtol=1e-10, atol=0)
    torch.testing.assert_close(got["kingma.gamma"].exp() * got["kingma.snr"], torch.ones(steps, dtype=F64))
    torch.testing.assert_close(got["note.a"].cumprod(0), got["note.a_bar"], rtol=1e-10, atol=0)
    torch.testing.assert_close(got["note.a"] ** 2 + got["note.b"] ** 2, torch.ones(steps, dtype=F64))


@schedules
def test_letters_of_a_step_are_the_transition_of_the_process(schedule):
    """In Su's letters, x_k = alpha_k x_{k-1} + beta_k eps; a process of another scale is first divided by its scale."""
    steps = 20
    grid = iw.uniform_grid(steps)
    t, s = grid[:-1].flip(0), grid[1:].flip(0)
    step = iw.Gaussian(schedule).transition(torch.ones(steps, 1, dtype=F64), s, t)
    scale_s, scale_t = ((schedule.alpha(u) ** 2 + schedule.sigma(u) ** 2).sqrt() for u in (s, t))
    got = iw.process.letter_table(schedule, steps)
    torch.testing.assert_close(got["su.alpha"], step.mean[:, 0] * scale_s / scale_t, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(got["su.beta"], step.std[:, 0] / scale_t, rtol=1e-9, atol=0)


def test_letters_determine_times_of_any_schedule():
    """A variance-preserving schedule has EDM's noise levels, as its sigma/alpha is EDM's sigma."""
    karras, linear = iw.KarrasSchedule(18), iw.LinearSchedule()
    sigma = iw.process.letter_table(karras, 18)["karras.sigma"]
    torch.testing.assert_close(sigma, karras.sigma(torch.arange(1, 19, dtype=F64) / 18), rtol=1e-12, atol=0)
    t = linear.time(iw.process.to_log_snr("karras.sigma", sigma))
    torch.testing.assert_close(linear.sigma(t) / linear.alpha(t), sigma, rtol=1e-10, atol=0)


def without_the_first(betas):
    log_alpha = torch.log1p(-betas)
    return notation.log_snr_of(log_alpha.cumsum(0) - (1 - 1e-9) * log_alpha[0])


@bug("first beta forgotten", *letters_with("ddpm.beta", to_log_snr=without_the_first))
def test_letters_of_steps_determine_a_schedule():
    """A list over all steps converts to the log-SNRs of our table."""
    betas = tuple(0.02 + 0.1 * (k / 30) ** 2 for k in range(30))
    expected = iw.TabulatedSchedule(betas).log_snr(torch.arange(1, 31, dtype=F64) / 30)
    for letter, values in (("ddpm.beta", tensor(betas)), ("su.alpha", (1 - tensor(betas)).sqrt())):
        torch.testing.assert_close(iw.process.to_log_snr(letter, values), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: iw.process.to_log_snr("ddpm.sigma", 0.5),
        lambda: iw.process.from_log_snr("gamma", 0.5),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(iw.ConfigError, match=r"got .*, need "):
        make()
