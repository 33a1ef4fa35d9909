r"""`DiffusionDensity`: a diffusion model of the rows of a table as a density estimator of scikit-learn.

The model is $p(x)$ over rows of D numbers and categories. `fit` trains it. `score_samples` is $\log p$ in nats of the
values that are present, along the probability-flow ODE (Song et al. 2021, eq. 39) or by the variational bound (Ho et
al. 2020, eq. 5). `sample` samples rows, and `impute` samples the missing values of a row given the others. With a
`contamination` it is an outlier detector too: `predict` tells rows of low density from the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor
from torch.utils.data import Dataset as Items

from inkwash.core import storage
from inkwash.core.config import AutoencoderConfig, Config, DataConfig, NetworkConfig, TrainConfig, TransformKind
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError, DataError, RunInterrupted
from inkwash.core.options import to_json
from inkwash.core.shapes import Array
from inkwash.data.cells import LARGEST_INTEGER
from inkwash.data.dataset import Dataset, load_dataset
from inkwash.data.frames import from_frame, is_frame, to_frame
from inkwash.data.objects import unmasked
from inkwash.data.readers import read, source_name
from inkwash.evaluation.likelihood import TERMS
from inkwash.evaluation.subject import USUAL
from inkwash.model.diffusion import Diffusion
from inkwash.model.model import Model
from inkwash.process.gaussian import Gaussian
from inkwash.training.checkpoint import save_checkpoint
from inkwash.training.fit import fit
from inkwash.training.run import Run, StrPath, load

_STEPS = USUAL.steps
_DROPOUT = 0.5
_DENSITIES = {"diffusion": "flow", "vae": "importance"}
_ONE_ROW = 1e-9
"""Share of the rows that is held out. It comes to a single row, as users of `fit` hold out rows themselves."""


def _detects_outliers(density: DiffusionDensity) -> bool:
    """Whether there is a share of outliers, for methods that need one; scikit-learn asks for it by attributes."""
    if density.contamination is None:
        raise AttributeError("contamination: got None, need a share of outliers, such as 0.1, to predict them")
    return True


class DiffusionDensity(OutlierMixin, DensityMixin, BaseEstimator):  # type: ignore[misc]
    r"""Density of the rows of a table, by a diffusion model or a variational autoencoder.

    The model takes an array as real numbers, whatever its type; samples of integer types are rounded. It takes a
    data frame, of pandas, polars or pyarrow, as `inkwash.train` does, as a table of numbers, text, booleans,
    categoricals, dates and durations, and its samples are such frames too. Values may be missing.

    Args:
        steps: number of training steps.
        batch_size: rows per step.
        learning_rate: peak learning rate; None for the default of `inkwash.train`, which is smaller for more than 256
            columns.
        width: features of the network, an MLP.
        depth: residual blocks of the network.
        dropout: probability of dropping a feature of the network in training. Without it, tables of a few hundred rows
            over-fit, and tables of many thousand rows learn faster. A "vae" has none.
        data_transform: how real numbers are mapped first: "standard"; "log", for positive numbers, or "quantile", for
            skewed or heavy-tailed columns; or "min-max". Densities stay those of the data.
        bounds: what keeps the numbers of samples in range, for a `DataFrame`, as `inkwash.DataConfig` takes it: None is
            the observed range of each column, and ("free", "age=0:120") no range but one.
        masses: which columns have numbers that recur, each with a probability, for a `DataFrame`, as
            `inkwash.DataConfig` takes it: None finds them, and ("none",) has none. Scores hold log-probabilities of
            these numbers, and the "flow" is then a lower bound too.
        density: what `score_samples` returns. "flow" is the exact log-density; its cost grows with the number of
            columns, and beyond 64 of them its divergence is estimated. "bound" is minus the variational bound; it is
            lower than the log-density, it is estimated from one sample of the noise per term, and it takes a fixed
            number of evaluations of the network. Tables with categories and rows with missing values only have the
            bound. "importance" is the log-density of a "vae", estimated from 100 draws of its latent. By default it is
            "importance" for a vae, and for a diffusion model "flow", or "bound" where there is only that.
        contamination: share of the rows of `fit` that counts as outliers, those of lowest density; above 0, up to 0.5.
            None: there is no `predict`, and `fit` scores no rows.
        out: folder of the run, which is kept; fitting the same data with the same options again resumes the run, or
            uses it if it is complete. None: a temporary folder.
        verbose: print the progress.
        model: "diffusion", or "vae", which takes a table of numbers without missing values, and does not impute.
        random_state: seed of the weights, the order and the noise: an integer, a `RandomState`, or None for a seed from
            NumPy's global generator.

    Attributes:
        model_: the fitted `Diffusion` or `VAE`.
        n_features_in_: number of columns.
        feature_names_in_: names of the columns, if all of them are text.
        offset_: with a contamination, the density below which a row is an outlier, in the units of `score_samples`.
    """

    model_: Model
    offset_: float
    _checkpoint: dict[str, bytes]
    _like: Any

    def __init__(
        self,
        steps: int = 1000,
        *,
        batch_size: int = 256,
        learning_rate: float | None = None,
        width: int = 128,
        depth: int = 4,
        dropout: float = _DROPOUT,
        data_transform: TransformKind = "standard",
        bounds: Sequence[str] | None = None,
        masses: Sequence[str] | None = None,
        density: Literal["flow", "bound", "importance"] | None = None,
        contamination: float | None = None,
        out: StrPath | None = None,
        verbose: bool = False,
        model: Literal["diffusion", "vae"] = "diffusion",
        random_state: Any = 0,
    ) -> None:
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.width = width
        self.depth = depth
        self.dropout = dropout
        self.data_transform = data_transform
        self.bounds = bounds
        self.masses = masses
        self.density = density
        self.contamination = contamination
        self.out = out
        self.verbose = verbose
        self.model = model
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on the rows of `X` `(N, D)`.

        Args:
            X: an array of numbers, or a data frame of pandas, polars or pyarrow; missing values are NaN, masked, or
                those of the frame. Or a tensor, a generator of rows, or a data set of torch; labels that come with its
                rows are not used.
            y: not used.

        Raises:
            ValueError: data that scikit-learn or inkwash refuses, or a bad parameter (`ConfigError`, `DataError`).
            NonFiniteError: training diverged.
            KeyboardInterrupt: Ctrl-C or SIGTERM stopped the training; a run in `out` has been saved.
        """
        self._require_density()
        self._require_contamination()
        X = _gathered(X)
        framed = is_frame(X)
        rows = validate_data(self, X, skip_check_array=framed, ensure_min_samples=2, ensure_all_finite="allow-nan")
        self._like = rows[:0] if framed else rows.dtype
        source = rows if framed or rows.dtype.kind == "f" else rows.astype(np.float64)
        with TemporaryDirectory() if self.out is None else nullcontext(self.out) as folder:
            self._checkpoint = _checkpoint_of(self._train(source, folder))
        self.model_ = _model_of(self._checkpoint)
        if self.contamination is not None:
            self.offset_ = float(np.quantile(self.score_samples(X), self.contamination))
        return self

    @available_if(_detects_outliers)  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> Array:
        """`score_samples` of `X` `(N, D)` less `offset_`, `(N,)`: below 0 for outliers."""
        return self.score_samples(X) - self.offset_

    @available_if(_detects_outliers)  # type: ignore[untyped-decorator]
    def predict(self, X: Any) -> Array:
        """-1 for each row of `X` `(N, D)` whose density is below `offset_`, and 1 for the others, `(N,)`."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    @available_if(_detects_outliers)  # type: ignore[untyped-decorator]
    def fit_predict(self, X: Any, y: Any = None) -> Array:
        """`fit`, and then `predict` for the same rows; `y` is not used."""
        X = _gathered(X)
        return self.fit(X).predict(X)

    def score_samples(self, X: Any) -> Array:
        """Log-density of each row of `X` `(N, D)`, nats, float64 `(N,)`; see the parameter `density`.

        It is that of the values that are present. The integers and categories of a `DataFrame` have probabilities in
        place of densities.

        Raises:
            ValueError: rows unlike those of `fit`: other columns, a category that did not occur, or a missing value in
                a column that had none; or categories or missing values with the density "flow" (`ConfigError`).
        """
        x, model, density = self._rows(X), self.model_, self._density_of_model()
        if density == "bound":
            terms = {"terms": TERMS} if isinstance(model, Diffusion) else {}
            return -model.bound(x, **terms).total.double().numpy()
        if isinstance(model, Diffusion) and (not isinstance(model.process, Gaussian) or np.isnan(x).any()):
            raise ConfigError("density", density, "bound, for categories and missing values")
        return model.log_prob(x).value.double().numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`; `y` is not used."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Sample rows from the model.

        Args:
            n_samples: number of rows.
            random_state: an integer, which is the `seed` of `Diffusion.sample`: row i of a seed is the same however
                many rows are sampled. Or a `RandomState`, or None for a seed from NumPy's global generator.

        Returns:
            An array `(n_samples, D)` or a `DataFrame`, with the types of the data that `fit` took.
        """
        check_is_fitted(self, "model_")
        steps = {"steps": _STEPS} if isinstance(self.model_, Diffusion) else {}
        return self._as_fitted(self.model_.sample(n_samples, seed=_seed(random_state), **steps))

    def impute(self, X: Any, n: int = 1, random_state: Any = None) -> list[Any]:
        """Sample the missing values of each row of `X` `(N, D)` from the model, given the other values of the row.

        Args:
            X: missing values are NaN, or those of pandas; any value may be missing, also in columns without missing
                values in `fit`.
            n: number of samples for each missing value.
            random_state: as in `sample`.

        Returns:
            `n` completed tables, each `(N, D)` and of the types that `sample` returns; the other values are unchanged.
        """
        x = self._rows(X)
        completed = self.model_.impute(x, n, seed=_seed(random_state), steps=_STEPS)
        tables = [self._as_fitted(each) for each in completed]
        return [table.set_axis(X.index) for table in tables] if self._is_framed and hasattr(X, "iloc") else tables

    def __getstate__(self) -> dict[str, Any]:
        """Parameters and fitted attributes, with the model as the files of a checkpoint, JSON and safetensors."""
        return {name: value for name, value in super().__getstate__().items() if name != "model_"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the estimator; its model is loaded with the checks of `inkwash.load`.

        Raises:
            CheckpointError: files that are damaged, or of another format.
        """
        super().__setstate__(state)
        if "_checkpoint" in state:
            self.model_ = _model_of(self._checkpoint)

    def _require_density(self) -> str:
        """The density to return, after checking that the model has it."""
        if self.model not in _DENSITIES:
            raise ConfigError("model", repr(self.model), " or ".join(_DENSITIES))
        exact = _DENSITIES[self.model]
        if self.density not in (None, exact, "bound"):
            raise ConfigError("density", repr(self.density), f"{exact} or bound")
        return self.density or exact

    def _density_of_model(self) -> str:
        """The density to return, which by default is one that the fitted model has for all of its rows."""
        model, density = self.model_, self._require_density()
        has_flow = not isinstance(model, Diffusion) or (
            isinstance(model.process, Gaussian) and not model.units.spec.may_miss.any()
        )
        return density if has_flow or self.density is not None else "bound"

    def _require_contamination(self) -> None:
        share = _plain(self.contamination)
        if share is not None and not (isinstance(share, int | float) and 0 < share <= 0.5):
            raise ConfigError("contamination", repr(share), "None, or a number above 0 and up to 0.5")

    def _networks(self) -> dict[str, Any]:
        """The sections of options that describe the networks, as `inkwash.train` takes them."""
        width, depth, dropout = (_plain(value) for value in (self.width, self.depth, self.dropout))
        if self.model == "diffusion":
            return {"network": NetworkConfig(width=width, depth=depth, dropout=dropout)}
        if dropout != _DROPOUT:
            raise ConfigError("dropout", dropout, "the default, for a vae, which has none")
        return {"model": "vae", "autoencoder": AutoencoderConfig(width=width, depth=depth)}

    def _train(self, source: Any, folder: StrPath) -> Run:
        networks = self._networks()
        steps, batch_size, rate = (_plain(value) for value in (self.steps, self.batch_size, self.learning_rate))
        training = TrainConfig(steps, batch_size, rate, seed=_seed(self.random_state))
        missing = not self._is_framed and bool(np.isnan(source).any())
        levels: Literal["real"] | None = None if self._is_framed else "real"
        bounds, masses = (None if each is None else tuple(each) for each in (self.bounds, self.masses))
        data = DataConfig(
            levels=levels,
            held_out=_ONE_ROW,
            missing=missing,
            transform=self.data_transform,
            bounds=bounds,
            masses=masses,
        )
        dataset = load_dataset(source, data)
        if self._is_framed:
            _require_no_doubts(dataset)
        config = Config(source_name(source), data=data, train=training, **networks)
        try:
            return fit(config, Path(folder), dataset, Display(self.verbose), report=False)
        except RunInterrupted as stopped:  # a search would take it for a fit that failed, and go on
            raise KeyboardInterrupt from stopped

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = True
        tags.estimator_type = "density_estimator" if self.contamination is None else "outlier_detector"
        return tags

    @property
    def _is_framed(self) -> bool:
        """Whether `fit` took a data frame."""
        return not isinstance(self._like, np.dtype)

    def _rows(self, X: Any) -> Array:
        """Rows `(N, D)` in data units, after checking that they are like those of `fit`."""
        check_is_fitted(self, "model_")
        rows = validate_data(
            self, _gathered(X), reset=False, skip_check_array=self._is_framed, ensure_all_finite="allow-nan"
        )
        if not self._is_framed:
            return rows
        return from_frame(self.model_.units.spec, rows if is_frame(rows) else np.asarray(rows, object))

    def _as_fitted(self, data: Array) -> Any:
        """Rows `(n, D)` with the names and types of the data that `fit` took."""
        if not self._is_framed:
            return data.astype(self._like) if self._like.kind == "f" else _rounded(data, self._like)
        return to_frame(self.model_.units.spec, data, self._like)


def _gathered(X: Any) -> Any:
    """Tensors, generators and data sets of torch as the array that `inkwash.train` makes of them."""
    first = X[0] if isinstance(X, list | tuple) and X else X
    return read(X, DataConfig()).data if isinstance(first, Tensor | Items | Iterator) else unmasked(X)


def _require_no_doubts(dataset: Dataset) -> None:
    """Refuse a frame with columns that would be no entries of the examples, because samples have all of its columns."""
    entries = dataset.spec.columns or {}
    aside = [f"{doubt.column}: {doubt.seen}" for doubt in dataset.doubts if doubt.column not in entries]
    if aside:
        raise DataError("X", "; ".join(aside), "a frame without these columns")


def _plain(value: Any) -> Any:
    """A parameter as a number of Python; a search passes numbers of NumPy."""
    return value.item() if isinstance(value, np.generic) else value


def _seed(random_state: Any) -> int:
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(1 << 31))


def _rounded(data: Array, dtype: np.dtype[Any]) -> Array:
    """Real numbers rounded to the values of a type of integers or booleans."""
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.rint(data).clip(max(low, -LARGEST_INTEGER), min(high, LARGEST_INTEGER)).astype(dtype)


def _checkpoint_of(run: Run) -> dict[str, bytes]:
    """The files, by name, of a checkpoint that holds only the model of a run."""
    header, groups, _ = run.restore()
    with TemporaryDirectory() as folder:
        path = save_checkpoint(Path(folder), header.step, to_json(header), {"average": groups["average"]})
        return {file.name: file.read_bytes() for file in path.iterdir()}


def _model_of(checkpoint: dict[str, bytes]) -> Model:
    """The model that the files of a checkpoint hold, after checking them."""
    with TemporaryDirectory() as folder:
        for name, content in checkpoint.items():
            storage.write(Path(folder, name), content)
        return load(folder)
