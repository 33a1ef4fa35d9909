"""A network of another convention gives the law that it stands for, and a wrong convention is noticed."""

import math
import warnings

import pytest
import torch
from bugs import bug
from oracles import F64

import inkwash as iw
from inkwash.bridges import adapt as adapting
from inkwash.denoise.prediction import F
from inkwash.likelihood.flow import flow_log_prob, transport

MEAN, VAR, SIDE = 0.3, 0.09, 4
STEPS = 50
SHAPE = (1, SIDE, SIDE)
LINEAR, KARRAS, LINE = iw.LinearSchedule(STEPS), iw.KarrasSchedule(STEPS), iw.RectifiedSchedule()


class Exact(torch.nn.Module):
    """The best network for N(MEAN, VAR) in each pixel, that is given something for the time and predicts something.

    Args:
        scales: from what it is given to alpha and sigma.
        predicts: what its output is, from x, eps, alpha and sigma.
        width: of its input, which is divided by it, from alpha and sigma.
    """

    def __init__(self, scales, predicts, width=lambda alpha, sigma: 1.0):
        super().__init__()
        self.scales, self.predicts, self.width = scales, predicts, width
        self.dtype_of = torch.nn.Parameter(torch.zeros((), dtype=F64))

    def forward(self, shown, seen, label=None):
        alpha, sigma = (each.reshape(-1, 1, 1, 1) for each in self.scales(seen))
        x_t = shown * self.width(alpha, sigma)
        away = (x_t - alpha * MEAN) / (alpha**2 * VAR + sigma**2)
        return self.predicts(MEAN + alpha * VAR * away, sigma * away, alpha, sigma)


def of_time(schedule):
    return lambda t: (schedule.alpha(t), schedule.sigma(t))


def of_index(schedule, steps=STEPS):
    return lambda k: of_time(schedule)((k + 1) / steps)


def of_sigma(sigma):
    return torch.ones_like(sigma), sigma


def of_log_snr(log_snr):
    return log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt()


def output_of_edm(x, eps, alpha, sigma):
    """F of Karras et al. (2022), table 1, solved for: (D - c_skip x_t) / c_out."""
    data, x_t = 0.5, x + sigma * eps
    return (x - data**2 / (sigma**2 + data**2) * x_t) / (sigma * data / (sigma**2 + data**2).sqrt())


READ = {
    "x": lambda x, eps, alpha, sigma: x,
    "eps": lambda x, eps, alpha, sigma: eps,
    "score": lambda x, eps, alpha, sigma: -eps / sigma,
    "v": lambda x, eps, alpha, sigma: alpha * eps - sigma * x,
    "velocity": lambda x, eps, alpha, sigma: eps - x,
}
EDM = Exact(lambda c_noise: of_sigma((4 * c_noise).exp()), output_of_edm, lambda alpha, sigma: (sigma**2 + 0.25).sqrt())
CONVENTIONS = {
    **{f"{name} of an index": (Exact(of_index(LINEAR), READ[name]), LINEAR, "timestep", name) for name in READ},
    "x of sigma": (Exact(of_sigma, READ["x"]), KARRAS, "sigma", "x"),
    "score of sigma": (Exact(of_sigma, READ["score"]), KARRAS, "sigma", "score"),
    "F of c_noise": (EDM, KARRAS, "c_noise", F(0.5)),
    "v of log-SNR": (Exact(of_log_snr, READ["v"]), LINEAR, "log_snr", "v"),
    "velocity of time": (Exact(of_time(LINE), READ["velocity"]), LINE, "time", "velocity"),
    "eps of 999 t": (Exact(lambda k: of_time(LINEAR)(k / 999), READ["eps"]), LINEAR, lambda t: 999 * t, "eps"),
}
conventions = pytest.mark.parametrize("name", CONVENTIONS)


def examples(count=16):
    return MEAN + math.sqrt(VAR) * torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(3), dtype=F64)


def adapted(network, schedule, sees, predicts, given=None):
    """The model, and what the warnings say."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model = iw.adapt(network, schedule, SHAPE, sees=sees, predicts=predicts, examples=given)
    return model, [str(each.message) for each in seen]


def noisy_law(schedule, t):
    """The law of a pixel at time t."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return torch.distributions.Normal(alpha * MEAN, (alpha**2 * VAR + sigma**2).sqrt())


@bug("indices counted from 1", adapting, "timestep", lambda steps: lambda t: t * steps, name="eps of an index")
@bug("sigma for its log", adapting, "quarter_log", adapting.noise_to_signal, name="F of c_noise")
@conventions
def test_the_law_of_a_normal_network_is_exact(name):
    """The flow takes the law of the data at the first time of the grid to that at time 1, so that the density of the
    model, which has the prior there, differs from the true one by the two laws of x_1 alone."""
    network, schedule, sees, predicts = CONVENTIONS[name]
    model, doubts = adapted(network, schedule, sees, predicts, examples())
    assert doubts == []
    x_t, solver = examples(2), iw.Adaptive(rtol=1e-7, atol=1e-7)
    x_1 = transport(model.denoiser, x_t, 1 / STEPS, 1.0, solver=solver)
    true = [noisy_law(schedule, t).log_prob(x).flatten(1).sum(1) for t, x in ((1 / STEPS, x_t), (1.0, x_1))]
    expected = true[0] - true[1] + model.process.prior(x_1.shape, like=x_1).log_prob(x_1)
    found = flow_log_prob(model.denoiser, x_t, 1 / STEPS, solver=solver).value
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@bug("the index of the step before", adapting, "timestep", lambda steps: lambda t: (t * steps - 2).clamp(min=0))
def test_the_bound_of_a_network_of_indices_is_that_of_its_grid():
    """The bound asks for times of the grid only, where the index is exact: nothing depends on what is in between."""
    network, schedule, sees, predicts = CONVENTIONS["eps of an index"]
    own = iw.Diffusion(iw.Denoiser(Exact(of_time(LINEAR), READ["eps"]), iw.Gaussian(LINEAR), "eps", "large"), SHAPE)
    model, _ = adapted(network, schedule, sees, predicts)
    assert model.steps == STEPS
    torch.testing.assert_close(model.bound(examples(3)).total, own.bound(examples(3), steps=STEPS).total)


WRONG = [
    (name, sees, predicts)
    for name, (_, _, right, own) in CONVENTIONS.items()
    for sees in ("timestep", "sigma", "c_noise", "time")
    for predicts in ("x", "eps", "score", "v", "velocity")
    if not (sees == right and predicts == own)
]


@pytest.mark.parametrize(("name", "sees", "predicts"), WRONG, ids=lambda value: str(value).replace(" ", "-"))
@pytest.mark.quick_cases("eps-of-an-index-timestep-v", "F-of-c_noise-sigma-eps")
def test_a_wrong_convention_is_noticed(name, sees, predicts):
    """By the warning, or by an error: outputs that are not finite, or a prediction that does not determine x."""
    network, schedule, _, _ = CONVENTIONS[name]
    with pytest.raises((UserWarning, iw.NonFiniteError, iw.ConfigError), match=r"looks wrong|NaN|no signal"):
        iw.adapt(network, schedule, SHAPE, sees=sees, predicts=predicts, examples=examples())


@bug("the warning never comes", adapting, "doubt", lambda *_: None)
def test_what_would_fit_is_named():
    network = CONVENTIONS["v of an index"][0]
    _, doubts = adapted(network, LINEAR, "time", "eps", examples())
    assert len(doubts) == 1
    assert "; sees='timestep' and predicts='v' would fit (1" in doubts[0]


@pytest.mark.parametrize(("own", "claimed", "words"), [("score", "x", "has a scale of"), ("eps", "score", "is off by")])
def test_without_examples_the_ends_of_time_are_looked_at(own, claimed, words):
    network = CONVENTIONS[f"{own} of an index"][0]
    assert adapted(network, LINEAR, "timestep", own)[1] == []
    assert words in adapted(network, LINEAR, "timestep", claimed)[1][0]


def test_pixels_of_another_range():
    """0 and 255 lie at the ends of the range, and what is between lies evenly between."""
    model = iw.adapt(CONVENTIONS["eps of an index"][0], LINEAR, SHAPE, range=(0.0, 1.0))
    x = torch.arange(256, dtype=torch.uint8).reshape(-1, SIDE, SIDE)
    torch.testing.assert_close(model.to_model(x).flatten(), torch.linspace(0, 1, 256), check_dtype=False)
    assert (model.to_data(model.to_model(x)) == x.numpy()).all()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"sees": "index"}, iw.ConfigError, "sees: got 'index', need one of timestep"),
        ({"range": (1.0, -1.0)}, iw.ConfigError, "range: got"),
        ({"variance": "learned"}, iw.ConfigError, "network: got"),
        ({"network": lambda x, t: x[:, :, :2]}, iw.ConfigError, "network: got"),
        ({"network": lambda x: x}, iw.ConfigError, "need a network that takes"),
        ({"network": lambda x, t: x / 0}, iw.NonFiniteError, "network, at log-SNR"),
        ({"examples": torch.zeros(2, 3)}, iw.DataError, "shape"),
    ],
)
def test_bad_input_is_named(options, error, words):
    network = options.pop("network", CONVENTIONS["eps of an index"][0])
    with pytest.raises(error, match=words):
        iw.adapt(network, LINEAR, SHAPE, **options)
