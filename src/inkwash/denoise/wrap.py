"""Wrappers: denoisers that change the estimate of another denoiser, by a condition, a variance or the range of data."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from inkwash.core.errors import ConfigError
from inkwash.core.shapes import in_turn, over
from inkwash.denoise.denoiser import AnyDenoiser, variance_of
from inkwash.denoise.prediction import Prediction
from inkwash.process.distributions import Bins, Lattice
from inkwash.process.gaussian import Estimate, require_gaussian
from inkwash.process.variance import Analytic, ReverseVariance


class Wrapper(nn.Module, ABC):
    """A denoiser that changes the estimate of another one.

    Args:
        denoiser: the denoiser to wrap.
    """

    def __init__(self, denoiser: AnyDenoiser) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.process = denoiser.process

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.denoiser!r})"

    @abstractmethod
    def around(self, denoiser: AnyDenoiser) -> AnyDenoiser:
        """The same wrapper around another denoiser."""


def without(kind: type[Wrapper], denoiser: AnyDenoiser) -> AnyDenoiser:
    """The denoiser without its wrappers of a kind."""
    if not isinstance(denoiser, Wrapper):
        return denoiser
    inner = without(kind, denoiser.denoiser)
    return inner if isinstance(denoiser, kind) else denoiser.around(inner)


def prediction_of(denoiser: AnyDenoiser) -> Prediction | None:
    """What the network of a denoiser, wrapped or not, predicts of numbers; None if the denoiser does not say."""
    return prediction_of(denoiser.denoiser) if isinstance(denoiser, Wrapper) else getattr(denoiser, "predicts", None)


class Conditioned(Wrapper):
    """A denoiser under a fixed condition.

    Args:
        denoiser: the denoiser to wrap.
        condition: the keywords that the denoiser is called with. A tensor has a row for each example, or fewer rows,
            which are then repeated in turn. Usual names are `label`, class numbers `(B,)`; `given`, standardised data
            `(B, …)`; and `guidance`, a number.
    """

    def __init__(self, denoiser: AnyDenoiser, condition: Mapping[str, Any]) -> None:
        super().__init__(denoiser)
        self.condition = condition

    def around(self, denoiser: AnyDenoiser) -> AnyDenoiser:
        return Conditioned(denoiser, self.condition)

    def forward(self, x_t: Tensor, t: float | Tensor) -> Any:
        """The wrapped denoiser's estimate under the condition."""
        condition = {
            name: in_turn(value, len(x_t)) if isinstance(value, Tensor) else value
            for name, value in self.condition.items()
        }
        return self.denoiser(x_t, t, **condition)


def under(denoiser: AnyDenoiser, condition: Mapping[str, Any] | None, rows: Tensor | slice) -> AnyDenoiser:
    """The denoiser under the selected rows of a condition, or the denoiser itself if there is no condition."""
    if not condition:
        return denoiser
    kept = {name: value[rows] if isinstance(value, Tensor) else value for name, value in condition.items()}
    return Conditioned(denoiser, kept)


class Clipped(Wrapper):
    r"""A denoiser whose $\hat x$ is clipped to the range of bounded data; $\hat\epsilon$ is recomputed from it.

    Args:
        denoiser: the denoiser to wrap.
        low: the smallest value of clean data, model units.
        high: the largest value.

    Raises:
        ConfigError: the denoiser's process is not Gaussian.
    """

    def __init__(self, denoiser: AnyDenoiser, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__(denoiser)
        require_gaussian(denoiser.process, "clip")
        self.low, self.high = low, high

    def around(self, denoiser: AnyDenoiser) -> AnyDenoiser:
        return Clipped(denoiser, self.low, self.high)

    def forward(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> Estimate:
        """The wrapped denoiser's estimate, clipped."""
        estimate = self.denoiser(x_t, t, **condition)
        return estimate.with_x(estimate.x.clamp(self.low, self.high))


def clipped(
    denoiser: AnyDenoiser, clip: bool | tuple[float, float], lattice: Lattice | Bins | None, where: str = "clip"
) -> AnyDenoiser:
    """The denoiser, clipped to the range of the data, to another range (low, high), or not at all.

    Args:
        denoiser: the denoiser, which may be clipped already.
        clip: whether to clip, or the range, model units.
        lattice: the values of the data, if it has levels or whole numbers.
        where: the option, for errors.

    Raises:
        ConfigError: a process that is not Gaussian, data without a known range, or a bad range.
    """
    require_gaussian(denoiser.process, where)
    bare = without(Clipped, denoiser)
    if clip is False:
        return bare
    if clip is True:
        if not isinstance(lattice, Lattice):
            raise ConfigError(where, True, "false, or data with levels, whose range is known, or in Python (low, high)")
        clip = lattice.low, lattice.high
    low, high = clip
    if not low < high:
        raise ConfigError(where, clip, "true, false, or a range (low, high)")
    return Clipped(bare, low, high)


class Thresholded(Wrapper):
    r"""A denoiser with dynamic thresholding (Saharia et al. 2022, §2.3); $\hat\epsilon$ is recomputed from $\hat x$.

    $\hat x$ is clipped to $[-s, s]$ and divided by s, which is the larger of 1 and a quantile of $|\hat x|$ over the
    entries of the example. The data must lie between -1 and 1.

    Args:
        denoiser: the denoiser to wrap.
        quantile: which quantile, the paper's p; with 1, the largest entry ends at the bound.

    Raises:
        ConfigError: the quantile is outside [0, 1], or the denoiser's process is not Gaussian.
    """

    def __init__(self, denoiser: AnyDenoiser, quantile: float = 0.995) -> None:
        super().__init__(denoiser)
        if not 0 <= quantile <= 1:
            raise ConfigError("threshold.quantile", quantile, "a number between 0 and 1")
        require_gaussian(denoiser.process, "threshold")
        self.quantile = quantile

    def around(self, denoiser: AnyDenoiser) -> AnyDenoiser:
        return Thresholded(denoiser, self.quantile)

    def forward(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> Estimate:
        """The wrapped denoiser's estimate, thresholded."""
        estimate = self.denoiser(x_t, t, **condition)
        bound = over(estimate.x.abs().flatten(1).quantile(self.quantile, dim=1).clamp(min=1), x_t)
        return estimate.with_x(estimate.x.clamp(-bound, bound) / bound)


class WithVariance(Wrapper):
    """A denoiser whose reverse steps have another variance; a spread that its network gives is not used.

    Args:
        denoiser: the denoiser to wrap.
        variance: the variance.
    """

    def __init__(self, denoiser: AnyDenoiser, variance: ReverseVariance) -> None:
        super().__init__(denoiser)
        self.variance = variance

    def around(self, denoiser: AnyDenoiser) -> AnyDenoiser:
        return WithVariance(denoiser, self.variance)

    def forward(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> Any:
        """The wrapped denoiser's estimate, with the variance."""
        return self.denoiser(x_t, t, **condition).with_variance(self.variance)


def with_variance(denoiser: AnyDenoiser, variance: str | ReverseVariance, where: str = "variance") -> AnyDenoiser:
    """The denoiser with another variance of the reverse step.

    Args:
        denoiser: the denoiser, which may have another variance already.
        variance: "small", "large", "matched", "learned", "free" or an object; "analytic" if the denoiser was made with
            one.
        where: the option, for errors.

    Raises:
        ConfigError: an unknown name; a process whose reverse step has no variance of its own; or a variance that needs
            a spread which the network was not trained to give, or a law of each entry which it does not predict.
    """
    if not denoiser.process.has_variance:
        need = f"none: the reverse step of a {type(denoiser.process).__name__} process follows from its estimate"
        raise ConfigError(where, variance, need)
    bare = without(WithVariance, denoiser)
    trained: ReverseVariance | None = _made_with(bare, "variance")
    if variance == "analytic":
        if not isinstance(trained, Analytic):
            raise ConfigError(where, variance, "a measured one, such as model.measured_variance(x)")
        return bare
    decided = variance_of(where, variance, _made_with(bare, "predicts"))
    if decided.needs_spread and trained is not None and type(decided) is not type(trained):
        name = type(decided).__name__.lower()
        raise ConfigError(where, name, f"small, large or analytic; or a network that was trained with {name} variance")
    return bare if decided == trained else WithVariance(bare, decided)


def _made_with(denoiser: AnyDenoiser, option: str) -> Any:
    """The variance or the prediction that a network was made for; None if the denoiser does not say."""
    return _made_with(denoiser.denoiser, option) if isinstance(denoiser, Wrapper) else getattr(denoiser, option, None)
