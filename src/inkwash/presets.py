r"""Models as their papers made them: functions that return a `Config` without a source, to train with or to change.

A preset sets what makes the paper's model another distribution or another loss: schedule, number of steps, prediction,
reverse variance, objective, times, what the network sees, and how samples are taken. The papers' networks learn from
millions of pictures for days. Width, dropout, batch, number of steps and learning rate are therefore left open, and the
data decides them as always. The optimizer is AdamW, which without weight decay is the papers' Adam. The moving average
has the decay 0.999, which grows from 0 in the first steps, where the papers have 0.9999 over about a million steps.
Real numbers have standard deviation 1 in model units, and levels lie in [-1, 1].

    iw.train("digits", config=iw.presets.ddpm())
    dataclasses.replace(iw.presets.ddpm(), network=iw.NetworkConfig(width=64))
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from inkwash.core.config import (
    Config,
    DenoiserConfig,
    PresetName,
    ProcessConfig,
    ProcessName,
    SamplingConfig,
    TrainConfig,
)


def dpm_2015(bits: bool = False) -> Config:
    r"""Diffusion as Sohl-Dickstein et al. (2015) introduced it.

    Numbers: T = 40 steps, as for their swiss roll, with trained betas (§2.4.1); the network sees the time and gives
    $\hat\epsilon$ and a free diagonal variance (Table App. 1); training minimises the bound (eqs. 13-14) at one random
    step per example. Their network gives a point towards which the mean moves by $\beta$ (App. D.2.1), whose distance
    is of the size of the score; $\hat\epsilon$ is that distance in units that are the same at all times. Their pictures
    have T = 1000.

    Bits: the binomial process with $\beta_k = 1/(T-k+1)$ (§2.4.1) and T = 2000, as for their heartbeats.

    Args:
        bits: the model for data with 2 levels.
    """
    train = TrainConfig(objective="bound", times="uniform", optimizer="adamw")
    if bits:
        process = ProcessConfig("sohl-dickstein", 2000, "bernoulli", 0.5)
        return Config(process=process, denoiser=DenoiserConfig(sees="time"), train=train, preset="dpm-2015")
    denoiser = DenoiserConfig("eps", "free", "time", clip=False)
    return Config(process=ProcessConfig("learned-betas", 40), denoiser=denoiser, train=train, preset="dpm-2015")


def ddpm() -> Config:
    r"""DDPM (Ho et al. 2020): betas from 1e-4 to 0.02 over T = 1000 steps (§4), the network sees the step and predicts
    $\epsilon$ (eq. 11), the simple loss (eq. 14) at uniform times (Alg. 1), the variance $\beta$ (§3.2).

    The network sees time 0 to 1 at levels from -20 to 20, where the paper embeds the number of the step. Tables with
    categories are trained with the simple loss for numbers and the bound for categories, as TabDDPM
    (Kotelnikov et al. 2023).
    """
    return Config(
        process=ProcessConfig("linear", 1000),
        denoiser=DenoiserConfig("eps", "large", "time"),
        train=TrainConfig(objective="simple", times="uniform", optimizer="adamw", weight_decay=0.0),
        preset="ddpm",
    )


def ddim() -> Config:
    r"""DDIM (Song et al. 2020): the model of `ddpm`, with deterministic samples (eq. 12, $\eta = 0$) in 50 steps."""
    return replace(ddpm(), sampling=SamplingConfig("ddim", 50), preset="ddim")


def iddpm() -> Config:
    r"""Improved DDPM (Nichol & Dhariwal 2021): the cosine schedule (eq. 17) with T = 4000, the network gives
    $\epsilon$ and the variance between $\tilde\beta$ and $\beta$ (eq. 15), the hybrid loss (eq. 16) at uniform times;
    ancestral samples in 100 even steps (§4), which the learned variance makes possible.

    Their model of the best bound has `train.objective` bound and `train.times` loss-history (eq. 18).
    """
    return Config(
        process=ProcessConfig("cosine", 4000),
        denoiser=DenoiserConfig("eps", "learned", "time"),
        train=TrainConfig(objective="hybrid", times="uniform", optimizer="adamw", weight_decay=0.0),
        sampling=SamplingConfig(steps=100),
        preset="iddpm",
    )


def score() -> Config:
    r"""Score matching with the variance-exploding process (Song & Ermon 2019; Song et al. 2021): noise scales in
    geometric sequence from 0.01 to 50 (App. C), the score as $-\mathrm{network}/\sigma$, its squared error weighted
    with $\sigma^2$ (2019, eqs. 5-6), uniform times; samples by 1000 predictor and corrector steps (2021, Alg. 2, with
    the ratio of signal to noise 0.16).

    The noise scales are the paper's for pictures in [0, 1]; model units are about twice as fine. The network is shown
    $x_t$ divided by its spread.
    """
    return Config(
        process=ProcessConfig("geometric", 1000),
        denoiser=DenoiserConfig("eps", "large", "log_snr", clip=False),
        train=TrainConfig(objective="simple", times="uniform", optimizer="adamw", weight_decay=0.0),
        sampling=SamplingConfig("predictor-corrector", 1000),
        preset="score",
    )


def edm() -> Config:
    r"""EDM (Karras et al. 2022): $\sigma$ from 0.002 to 80 (eq. 5), the preconditioned output F (eq. 7), the loss and
    the log-normal noise levels of table 1, a network that sees $\ln\sigma$; deterministic samples by 18 steps of Heun's
    method (Alg. 1), evenly spaced in $\sigma^{1/7}$.

    $\sigma_\mathrm{data}$ is 1, the standard deviation of standardised data; the paper's pictures have 0.5.
    """
    return Config(
        process=ProcessConfig("karras", 1000),
        denoiser=DenoiserConfig("F", "large", "log_snr", clip=False),
        train=TrainConfig(objective="edm", times="log-normal", optimizer="adamw", weight_decay=0.0),
        sampling=SamplingConfig("heun", 18, "karras"),
        preset="edm",
    )


def vdm() -> Config:
    r"""Variational diffusion models (Kingma et al. 2021): a trained monotone log-SNR (App. H) that the network sees,
    the prediction of $\epsilon$ (§3.4), the bound in continuous time (eq. 17), and low-discrepancy times (App. I.1).

    The paper's bound has infinitely many steps, for which the variances $\beta$ and $\tilde\beta$ are one; here $\beta$
    is also that of the decoder, as in the paper (§3.3). The paper shows the network Fourier features of the data, too.
    """
    return Config(
        process=ProcessConfig("learned", 1000),
        denoiser=DenoiserConfig("eps", "large", "log_snr", clip=False),
        train=TrainConfig(objective="continuous", times="low-discrepancy", optimizer="adamw", weight_decay=0.01),
        preset="vdm",
    )


def flow_matching() -> Config:
    r"""Flow matching (Lipman et al. 2023, eqs. 22-23, with $\sigma_{\min} = 0$) and rectified flow (Liu et al. 2022,
    eq. 1): straight lines from data to noise, whose velocity the network predicts at uniform times; deterministic
    samples by 100 steps of Euler's method. On straight lines these are the steps of DDIM.

    Time runs the other way in the papers. Neither has a bound; that of this model takes the variance $\beta$.
    """
    return Config(
        process=ProcessConfig("rectified", 1000),
        denoiser=DenoiserConfig("velocity", "large", "time", clip=False),
        train=TrainConfig(objective="velocity", times="uniform", optimizer="adamw", weight_decay=0.0),
        sampling=SamplingConfig("ddim", 100),
        preset="flow-matching",
    )


PRESETS: Mapping[PresetName, Mapping[ProcessName, Callable[[], Config]]] = {
    "dpm-2015": {"gaussian": dpm_2015, "bernoulli": lambda: dpm_2015(bits=True)},
    "ddpm": {"gaussian": ddpm, "mixed": ddpm},
    "ddim": {"gaussian": ddim},
    "iddpm": {"gaussian": iddpm},
    "score": {"gaussian": score},
    "edm": {"gaussian": edm},
    "vdm": {"gaussian": vdm},
    "flow-matching": {"gaussian": flow_matching},
}
"""Presets by the name that the command line knows them by, for each kind of process for which the paper's choices have
a meaning; the first kind is the usual one."""
