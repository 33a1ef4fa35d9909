r"""The letters of papers and notes, converted to the log-SNR $\lambda$ and back.

Two noisy variables that differ only by a factor carry the same information, so all letters measure the same thing: the
amount of noise. All conversions go through $\lambda$. A letter that presumes a scale belongs to the process rescaled to
it: $\bar\alpha = \mathrm{sigmoid}(\lambda)$ where the variance is preserved, $\sigma = e^{-\lambda/2}$ where $\alpha$
is 1.

Some letters belong to a time: each is a function of $\lambda$ at that time. Others belong to a step, that is, to a pair
of neighbouring times. The list of such a letter over all steps, from the step next to data on, determines the list of
all $\lambda$, and vice versa.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from inkwash.core.errors import require_one_of
from inkwash.core.shapes import as_time
from inkwash.process.noise.grid import uniform_grid
from inkwash.process.noise.schedule import Schedule, log_snr_of

_Map = Callable[[Tensor], Tensor]


def _steps_to_log_snr(log_alpha: Tensor) -> Tensor:
    r"""$\lambda$ at $\tau_1 … \tau_T$ from $\log\alpha_k = \log(\bar\alpha_k/\bar\alpha_{k-1})$ of every step."""
    return log_snr_of(log_alpha.cumsum(0))


def _step_betas(log_snr: Tensor) -> Tensor:
    r"""DDPM's $\beta_k = (1 - \bar\alpha_k)(1 - e^{\lambda_k - \lambda_{k-1}})$, with $\lambda_0 = \infty$."""
    before = torch.cat([log_snr.new_full((1,), torch.inf), log_snr[:-1]])
    return -torch.sigmoid(-log_snr) * torch.expm1(log_snr - before)


def _step_alphas(log_snr: Tensor) -> Tensor:
    r"""DDPM's $\alpha_k = \bar\alpha_k/\bar\alpha_{k-1}$, with $\bar\alpha_0 = 1$."""
    log_alpha_bar = logsigmoid(log_snr)
    return torch.diff(log_alpha_bar, prepend=log_alpha_bar.new_zeros(1)).exp()


@dataclass(frozen=True)
class _Letter:
    """A letter, as its conversion to log-SNR and back."""

    to_log_snr: _Map
    from_log_snr: _Map


def _root(letter: _Letter) -> _Letter:
    """The letter that is the square root of another."""
    return _Letter(lambda value: letter.to_log_snr(value**2), lambda log_snr: letter.from_log_snr(log_snr).sqrt())


_ALPHA_BAR = _Letter(torch.logit, torch.sigmoid)
_BETA_BAR = _Letter(lambda value: -torch.logit(value), lambda log_snr: torch.sigmoid(-log_snr))
_ALPHA = _Letter(lambda value: _steps_to_log_snr(value.log()), _step_alphas)
_BETA = _Letter(lambda value: _steps_to_log_snr(torch.log1p(-value)), _step_betas)

_LETTERS = {
    "ddpm.beta": _BETA,
    "ddpm.alpha": _ALPHA,
    "ddpm.alpha_bar": _ALPHA_BAR,
    "su.beta": _root(_BETA),
    "su.alpha": _root(_ALPHA),
    "su.alpha_bar": _root(_ALPHA_BAR),
    "su.beta_bar": _root(_BETA_BAR),
    "note.a": _root(_ALPHA),
    "note.b": _root(_BETA),
    "note.a_bar": _root(_ALPHA_BAR),
    "kingma.gamma": _Letter(torch.neg, torch.neg),
    "kingma.snr": _Letter(torch.log, torch.exp),
    "karras.sigma": _Letter(lambda value: -2 * value.log(), lambda log_snr: torch.exp(-0.5 * log_snr)),
}

LETTERS = tuple(_LETTERS)
"""The letters that can be converted, as `paper.letter`; the page on notation explains each."""


def to_log_snr(letter: str, value: float | Tensor) -> Tensor:
    r"""The log-SNR for a value of a letter, float64; `schedule.time` then gives the time at which a schedule has it.

    Args:
        letter: one of `LETTERS`.
        value: the value of the letter at any times. For a letter of a step (`ddpm.beta`, `ddpm.alpha`, `su.beta`,
            `su.alpha`, `note.a`, `note.b`), the list of its values at all steps, `(T,)`, with the step next to data
            first. The result is then the log-SNR after each step.

    Raises:
        ConfigError: the letter is unknown.
    """
    return _find(letter).to_log_snr(as_time(value))


def from_log_snr(letter: str, log_snr: float | Tensor) -> Tensor:
    """The value of a letter for a log-SNR, float64: the inverse of `to_log_snr`.

    Raises:
        ConfigError: the letter is unknown.
    """
    return _find(letter).from_log_snr(as_time(log_snr))


def letter_table(schedule: Schedule, steps: int) -> dict[str, Tensor]:
    """All letters of a schedule on the uniform grid, by name; entry k - 1 belongs to the time or step k = 1 … T."""
    log_snr = schedule.log_snr(uniform_grid(steps).flip(0)[1:])
    return {letter: from_log_snr(letter, log_snr) for letter in LETTERS}


def _find(letter: str) -> _Letter:
    require_one_of("letter", letter, LETTERS)
    return _LETTERS[letter]
