r"""A denoiser turns a network into an estimate of the clean data, whatever the network predicts.

Conversions are hub and spoke: every prediction gives $(\hat x, \hat\epsilon)$, and everything else follows from the
two. The choice of what the network predicts changes the weighting of the loss, but not the class of models.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar, get_args

import torch
from torch import Tensor, nn

from inkwash.core.brief import brief
from inkwash.core.config import SightName
from inkwash.core.errors import ConfigError, require_one_of
from inkwash.core.shapes import as_time, over, per_row
from inkwash.denoise import prediction
from inkwash.denoise.prediction import Levels, Mixture, Prediction
from inkwash.denoise.spikes import Spiked
from inkwash.process.gaussian import Estimate, Gaussian, Noisy
from inkwash.process.process import Process, Scheduled
from inkwash.process.variance import SIMPLE, Matched, ReverseVariance

Network = Callable[..., Tensor]
Sight = SightName | Callable[[Tensor], Tensor]
"""What a network is given in the place of the time: by name, or as a function of the time `(B,)` or `()`."""
Named = TypeVar("Named")


class AnyDenoiser(Protocol):
    """A denoiser, or a wrapper of one. It knows its process, and returns an estimate of the kind of that process."""

    @property
    def process(self) -> Process: ...

    def __call__(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> Any: ...


def parameters_of(part: object) -> Iterator[nn.Parameter]:
    """The parameters of a denoiser or network if it is a module, or else none."""
    return part.parameters() if isinstance(part, nn.Module) else iter(())


class NetworkDenoiser(nn.Module, ABC):
    r"""What all denoisers around a network share: they call it in its own dtype with its time input, and guide it.

    With a condition y, guidance w stands for $p(x_t)\,p(y \mid x_t)^w$ at every time (classifier-free guidance, Ho &
    Salimans 2022, eq. 6, whose w is smaller by one). The network is evaluated with the condition and without it, and
    the two outputs are mixed, $a + w(a_y - a)$. Every prediction of real numbers is affine in the score, so this mixes
    scores. For log-odds of levels or bits it mixes the distributions of x itself, entry by entry: the result for a
    single entry is $p(x \mid x_t)\,p(y \mid x)^w$.

    Args:
        network: a callable `(x_t, t, **condition) -> tensor`; `t` comes with shape `(B,)`.
        process: the process, which has a `schedule`.
        sees: what the network is given as `t`: the "time" itself, its "log_snr", or "nothing", which is always zero; or
            a function of the time, float64.

    Raises:
        ConfigError: `sees` is unknown.
    """

    def __init__(self, network: Network, process: Scheduled, sees: Sight = "time") -> None:
        super().__init__()
        if not callable(sees):
            require_one_of("sees", sees, get_args(SightName))
        self.network = network
        self.process = process
        self.schedule = process.schedule
        self.sees = sees

    def __repr__(self) -> str:
        count = sum(parameter.numel() for parameter in self.parameters())
        return f"<{type(self).__name__}: {brief(self.network)} of {count} parameters, {self.process}>"

    @abstractmethod
    def forward(self, x_t: Tensor, t: float | Tensor, *, guidance: float = 1.0, **condition: Any) -> Any:
        """The estimate at noisy data `x_t` `(B, *event)` and time `t`, `()` or `(B,)`.

        Args:
            x_t: noisy data.
            t: its time.
            guidance: w, the weight of the condition: 0 ignores it, and 1 is the plain conditional model.
            **condition: what the network takes by name.
        """

    def predict(
        self, shown: Tensor, t: Tensor, guidance: float, condition: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor | None]:
        """The guided prediction of the network and, where it gives one, its spread under the condition.

        The network is evaluated twice where guidance is neither 0 nor 1.

        Args:
            shown: the network's input, `(B, *event)`.
            t: its time, float64.
            guidance: w.
            condition: what the network takes by name. Guidance leaves `present` in place, which is no condition: it
                describes the example itself.
        """
        without = {name: value for name, value in condition.items() if name == "present"}
        output, spread = self.split(self._output(shown, t, condition if guidance else without))
        if guidance not in (0, 1):
            output = torch.lerp(self.split(self._output(shown, t, without))[0], output, guidance)
        return output, spread

    def split(self, output: Tensor) -> tuple[Tensor, Tensor | None]:
        """The prediction and the spread that an output consists of."""
        return output, None

    def _output(self, shown: Tensor, t: Tensor, condition: Mapping[str, Any]) -> Tensor:
        """The network's output in the dtype of `shown`; the network itself runs in the dtype of its parameters. What a
        function gives it for the time has float32 at least: 16 bits cannot tell the indices of 1000 steps apart."""
        dtype = next((p.dtype for p in parameters_of(self.network)), shown.dtype)
        of_time = torch.promote_types(dtype, torch.float32) if callable(self.sees) else dtype
        time_input = per_row(self.time_input(t), shown).to(device=shown.device, dtype=of_time)
        inputs = {
            name: value.to(shown.device, dtype if value.is_floating_point() else None)
            if isinstance(value, Tensor)
            else value
            for name, value in condition.items()
        }
        output: Tensor = self.network(shown.to(dtype), time_input, **inputs)
        return output.to(shown.dtype)

    def time_input(self, t: Tensor) -> Tensor:
        """What the network is given in the place of the time t."""
        if callable(self.sees):
            return self.sees(t)
        if self.sees == "log_snr":
            return self.schedule.log_snr(t)
        return t if self.sees == "time" else torch.zeros_like(t)


class Denoiser(NetworkDenoiser):
    r"""A network, a Gaussian process, and what the network predicts.

    Args:
        network: a callable `(x_t, t, **condition) -> tensor`. The prediction decides the shape of its output, for most
            of them that of `x_t`. If the variance needs a spread, there is one more number for each entry: the output
            is twice as long along dimension 1, or for `Levels` and `Mixture` longer by one along the last. `t` comes
            with shape `(B,)`. A module with parameters is called in their dtype.
        process: the Gaussian process.
        predicts: what the network's output means: "x", "eps", "score", "v", "F", or an object of
            `inkwash.denoise.prediction`.
        variance: that of the reverse step: "small", "large", "matched", "learned", "free", or an `Analytic`. "matched"
            suits levels and mixtures. For other continuous data "small" adds nats to the bound on a grid, however fine,
            so use "large" or an `Analytic`.
        sees: what the network is given as `t`: the "time" itself; its "log_snr", and with it
            $x_t/\sqrt{\alpha^2 + \sigma^2}$ as input, so that the input is the same under every schedule; "nothing",
            which is always zero: the network is blind to the noise level; or a function of the time, float64.

    Raises:
        ConfigError: `predicts`, `variance` or `sees` is unknown; the prediction does not determine x at time 1; or a
            blind network predicts F, whose input scaling would reveal the noise level.
    """

    process: Gaussian

    def __init__(
        self,
        network: Network,
        process: Gaussian,
        predicts: str | Prediction = "eps",
        variance: str | ReverseVariance = "small",
        sees: Sight = "time",
    ) -> None:
        super().__init__(network, process, sees)
        self.predicts = named("predicts", predicts, prediction.NAMED)
        self.variance = variance_of("variance", variance, self.predicts)
        if sees == "nothing" and isinstance(self.predicts, prediction.F):
            raise ConfigError("sees", "'nothing'", "another prediction than F, whose input the noise level scales")
        if self.predicts.needs_signal and bool(process.schedule.alpha(1.0) == 0):
            name = type(self.predicts).__name__.lower()
            raise ConfigError("predicts", repr(name), "x, v or velocity, as this schedule leaves no signal at time 1")

    def forward(self, x_t: Tensor, t: float | Tensor, *, guidance: float = 1.0, **condition: Any) -> Estimate:
        """The estimate at noisy data `x_t` `(B, *event)` and time `t`, `()` or `(B,)`, in the dtype of `x_t`."""
        noisy = Noisy.at(x_t, as_time(t), self.process)
        return self.read(*self.predict(self.shown(noisy), noisy.t, guidance, condition), noisy)

    def shown(self, noisy: Noisy) -> Tensor:
        """The input that the network is given for noisy data, `(B, *event)`."""
        scale = self.predicts.input_scale(noisy)
        if scale is None and self.sees == "log_snr":
            scale = over(self.process.scale(noisy.t), noisy.x_t)
        return noisy.x_t if scale is None else noisy.x_t / scale

    def read(self, output: Tensor, spread: Tensor | None, noisy: Noisy) -> Estimate:
        """The estimate that a prediction and its spread imply."""
        guess, process = self.predicts.read(output, noisy), self.process
        about = (noisy.x_t, noisy.t, process, self.variance, spread)
        estimate = Estimate(guess.x, guess.eps, *about, guess.level_logits, guess.mixture, guess.spiked)
        return estimate.with_variance(self.variance)

    def split(self, output: Tensor) -> tuple[Tensor, Tensor | None]:
        if not self.variance.needs_spread:
            return output, None
        if isinstance(self.predicts, Levels | Mixture):
            return output[..., :-1], output[..., -1]
        predicted, spread = output.chunk(2, dim=1)
        return predicted, spread


def variance_of(where: str, value: str | ReverseVariance, predicts: object) -> ReverseVariance:
    """The reverse variance that a name stands for; an object stands for itself.

    Args:
        where: the option, for errors.
        value: the name, or the object.
        predicts: what the network's output means.

    Raises:
        ConfigError: an unknown name; "matched", and a prediction that gives no law of each entry; or one that needs a
            spread, where numbers recur.
    """
    if value != "matched":
        decided = named(where, value, SIMPLE)
        if decided.needs_spread and isinstance(predicts, Spiked):
            raise ConfigError(where, value, "small, large or analytic, as numbers recur")
        return decided
    if not isinstance(predicts, Levels | Mixture):
        raise ConfigError(where, value, "small or large; or a network that predicts levels or mixtures")
    return Matched(predicts.lattice if isinstance(predicts, Levels) else None)


def named(where: str, value: str | Named, names: Mapping[Any, Named]) -> Named:
    """The object that a name stands for; an object stands for itself."""
    if not isinstance(value, str):
        return value
    require_one_of(where, value, names)
    return names[value]
