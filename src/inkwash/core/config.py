"""Options: one small frozen dataclass per choice, all of them checked before anything starts.

An option of `None` is left open: `inkwash.training.defaults.resolve` decides it from the data, and the run stores the
decision. Each name that an option can take is written here once; a registry elsewhere says what it stands for. This
module imports nothing heavy, so that the command line answers at once.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from inkwash.core.brief import short_repr
from inkwash.core.options import Count, Fraction, Positive, Range, Seed, Share

Device = Literal["auto", "cpu", "cuda"]
BUILTIN_NAMES = (
    "digits",
    "swiss-roll",
    "checkerboard",
    "two-moons",
    "heartbeat",
    "breast-cancer",
    "wine",
    "diabetes",
    "shop",
    "dead-leaves",
    "ar2",
    "balls",
)
"""The built-in data sets."""
Layout = Literal["N", "ND", "NHW", "NHWC", "NCHW", "NDHWC", "NCDHW", "NL", "NLC", "NCL", "NDHW"]
"""Axes of an array. Among the names with one number of axes, an array is read as the first, or as one of the first two,
by where C fits; the others are never guessed."""
PagesName = Literal["examples", "volume"]
TransformKind = Literal["standard", "min-max", "quantile", "log"]
ModelName = Literal["diffusion", "vae", "latent"]
StagesName = Literal["two-stage", "joint"]
OutputName = Literal["levels", "entry", "shared"]
ProcessName = Literal["gaussian", "bernoulli", "mixed", "categorical"]
CategoryNoise = Literal["uniform", "absorbing"]
ScheduleName = Literal[
    "linear",
    "cosine",
    "log-linear",
    "sohl-dickstein",
    "rectified",
    "karras",
    "geometric",
    "zero-terminal",
    "learned-betas",
    "learned",
]
# "Plain" names say all there is to say; what the others stand for depends on more than the name.
PlainPredictionName = Literal["x", "eps", "score", "v", "velocity", "F"]
PredictionName = Literal[PlainPredictionName, "mean", "levels", "mixture"]
PlainVarianceName = Literal["small", "large", "learned", "free"]
VarianceName = Literal[PlainVarianceName, "analytic", "matched"]
SightName = Literal["log_snr", "time", "nothing"]
NetworkName = Literal["unet", "dit", "mlp", "transformer"]
DegradationName = Literal["blur", "pixelate", "mask"]
NormName = Literal["l1", "l2"]
RegressionName = Literal["simple", "x", "v", "velocity", "score", "min-snr", "edm", "continuous"]
ObjectiveName = Literal[RegressionName, "mean", "bound", "hybrid"]
MoveName = Literal["flip", "shift", "transpose", "warp"]
PrecisionName = Literal["fp32", "bf16", "fp16"]
TimesName = Literal["uniform", "low-discrepancy", "log-normal", "loss-history", "log-snr-density"]
SamplerName = Literal[
    "ancestral",
    "ddim",
    "heun",
    "dpm-solver",
    "single-step",
    "adams",
    "ipndm",
    "euler-maruyama",
    "langevin",
    "predictor-corrector",
]
GridName = Literal["uniform", "quadratic", "log-snr", "karras", "angle"]
ExportName = Literal["diffusers", "onnx", "torch-export"]
OptimizerName = Literal["adamw", "muon"]
TrackerName = Literal["jsonl", "tensorboard", "wandb", "trackio", "mlflow"]
ImputeMethodName = Literal["moment-matching", "repaint", "smc"]
HideName = Literal["left", "right", "top", "bottom", "random"]
MethodName = Literal[ImputeMethodName, "pigdm", "dps", "step-product", "entrywise"]

CodecModeName = Literal["bits-back", "direct"]

PresetName = Literal["dpm-2015", "ddpm", "ddim", "iddpm", "score", "edm", "vdm", "flow-matching"]

Horizon = Annotated[float, Range(0, 0.28)]
Width = Annotated[int, Range(8, 4096)]
Depth = Annotated[int, Range(1, 64)]
WalkSteps = Annotated[int, Range(1, 10_000)]
Strength = Annotated[float, Range(0, 1000)]

SOURCES = (
    f"A built-in set ({', '.join(BUILTIN_NAMES)}), a folder or .zip file of pictures, a file of an array or a table, "
    "such as .npy, .npz, .h5, .nc, .zarr, .mat, .csv, .parquet, .ts or IDX, a folder of .wav, .nii, .dcm, .fits or "
    ".tar files, or hf:NAME; file.h5:group/x is one array of a file."
)
"""What data can be, in words; `inkwash.data.readers` lists every kind of file."""


@short_repr
@dataclass(frozen=True)
class DataConfig:
    """How to read the data."""

    key: str | None = None
    """Which array of a file that holds several, such as .npz or .h5; by default its only one, or x_train, x, X, images
    or data. file.h5:group/x says the same as file.h5 with the key group/x."""
    labels: str | None = None
    """Train a model that takes a label as a condition. The option says where the labels of the examples are: in an
    array of the same file (y_train of an .npz file, say), a column of a .csv file, or a file beside an .npy or IDX
    file; folder is for pictures in folders, digit for digits, and so on."""
    condition: str | None = None
    """Train a model that takes numbers or an image as a condition. The option says where those of the examples are: in
    an array of the same file, a file beside an .npy or IDX file, or a column of a table, or several with commas between
    them."""
    lengths: str | None = None
    """The series of a padded array have unequal length. The option says where the number of places of each is: in a
    file that holds several arrays one of them, or a file beside an .npy or IDX file."""
    shrink: Annotated[int, Range(2)] | None = None
    """Train a model that takes a small image as a condition and samples the large one. The small image holds the means
    of the example over blocks with so many places a side."""
    layout: Literal["auto", Layout] = "auto"
    """Axes of an array: N examples, C channels, H height, W width; D entries or, before H, depth; L the places of a
    series, a layout that is never guessed."""
    levels: Annotated[int, Range(2, 65536)] | Literal["real"] | None = None
    """Number of levels of integer data, whose values are then 0 ... levels-1; by default from its type, and
    for uint16 from the bits that hold all values. An array of floating point whose numbers are whole and take few
    values has levels too, unless the option is real."""
    drop: tuple[str, ...] | None = None
    """Columns of a table to leave out."""
    categories: tuple[str, ...] | None = None
    """Columns of a table that hold categories, though they are numbers, or dates of text, or text of many values."""
    numbers: tuple[str, ...] | None = None
    """Columns of a table that hold numbers, though they are whole and take no more than 16 values."""
    dates: tuple[str, ...] | None = None
    """Columns of a table that hold dates, though they are whole numbers such as 20240101, or some of them are far from
    all others, such as 9999-12-31."""
    missing: bool = False
    """NaN in an array of vectors or series stands for a missing entry; without this option it is refused. Tables need
    no option."""
    pages: PagesName | None = None
    """Pictures of several pages, and volumes and cubes of scanners and telescopes: whether each page or slice is an
    example (examples), or those of a file are one volume (volume)."""
    window: Annotated[int, Range(2)] | None = None
    """Cut recordings of sound into pieces of so many places, each an example; what is left at the end of a recording is
    no part of one. Without this option each recording is an example."""
    skip_damaged: bool = False
    """Leave out pictures and other files of a folder that cannot be read, and say how many and which; without this
    option the first one ends the command."""
    strict: bool = False
    """Refuse a table about which there is any doubt: text that was left out, a delimiter that was guessed. The message
    lists every doubt, and the options that settle them."""
    missing_values: tuple[str, ...] | None = None
    """Cells of a table that are missing, beside empty ones and NA: numbers such as -999, or words such as unknown."""
    infinite: Literal["refuse", "missing"] = "refuse"
    """What to do with infinite numbers in tables and vectors: refuse them, or take them for missing ones."""
    delimiter: str | None = None
    """What stands between the cells in a file of text: comma, semicolon, tab, bar, space, or the character itself; by
    default what divides all lines alike."""
    decimal: Literal[".", ","] | None = None
    """What stands before the decimals of numbers in a file of text; by default what its numbers show."""
    day_first: Literal["auto", "yes", "no"] = "auto"
    """Whether the day comes first in dates of text such as 03/04/2024; by default what the other dates of the column
    show."""
    encoding: str | None = None
    """Encoding of a file of text, such as latin-1; by default UTF-8, or UTF-16 or cp1252 if the bytes show it."""
    comment: str | None = None
    """What the lines of a file of text begin with that are not read; by default # at the beginning of the file."""
    header: Literal["auto", "yes", "no"] = "auto"
    """Whether the first line of a file of text has the names of the columns; by default what it shows."""
    transform: TransformKind = "standard"
    """How real numbers are mapped to the units of the model: to mean 0 and standard deviation 1 (standard), to [-1, 1]
    (min-max), or to mean 0 and standard deviation 1 after their logarithm (log) or by their quantiles, as normal
    numbers (quantile). Whole numbers, categories and levels have a map of their own."""
    bounds: tuple[str, ...] | None = None
    """Tables only: what keeps the numbers of samples in range. By default a column stays within its smallest and its
    largest number in the training part (observed), or it has no bounds (free). Age=0:120 Fare=0: states those of two
    columns."""
    masses: tuple[str, ...] | None = None
    """Tables only: columns of numbers some of which recur, such as zeros of rain or doses. Each of these numbers has a
    probability, and the others a density. By default they are columns in which numbers recur far more often than those
    next to them; none has none."""
    held_out: Fraction = 0.2
    """Share of the examples that is used for evaluation, and never for training."""
    split_seed: Seed = 0
    """Seed of the permutation that decides which examples are held out."""

    @property
    def conditional(self) -> bool:
        """Whether the model takes a condition."""
        return (self.labels, self.condition, self.shrink) != (None, None, None)


@short_repr
@dataclass(frozen=True)
class ProcessConfig:
    """How data is spread into noise."""

    schedule: ScheduleName | None = None
    """Noise schedule: linear (DDPM), cosine (IDDPM), log-linear (log-SNR on a line), karras (EDM), geometric (NCSN);
    one that leaves no signal at time 1, where eps and score cannot be predicted: sohl-dickstein, rectified,
    zero-terminal (cosine, bent); one that is trained: learned-betas (on the bound), learned (a monotone log-SNR; its
    ends on the bound, its shape on the variance of the estimate). By default log-linear for the gaussian and the mixed
    process, linear for the bernoulli one, and sohl-dickstein for the categorical one."""
    steps: Annotated[int, Range(2, 10000)] = 1000
    """Steps T of the schedule's table, if it has one, and of the model's own grid."""
    kind: ProcessName | None = None
    """gaussian adds normal noise. bernoulli replaces bits by random ones, and is for data with 2 levels. categorical is
    for tables of categories only, and mixed for tables of numbers and categories. By default gaussian, mixed or
    categorical, by the data."""
    rate: Fraction | None = None
    """Bernoulli only: the probability that a random bit is 1, by default 0.5."""
    log_snr_first: Annotated[float, Range(-8, 80, open_low=True)] | None = None
    """log-linear only: log-SNR at the first time; beyond 80, float32 holds no variance of the noise. By default, if
    levels are predicted, it is where sigma/alpha is a sixth of the distance between neighbouring levels, 13.3 for 256
    of them; if mixtures are, where it is that distance; otherwise it is 9.2, where sigma/alpha is 0.01."""
    categories: CategoryNoise | None = None
    """Tables with categories only: noise replaces these by random ones (uniform), or masks them (absorbing, the
    default)."""


@short_repr
@dataclass(frozen=True)
class DenoiserConfig:
    """What the network's output means."""

    predicts: PredictionName | None = None
    """Gaussian and mixed only: what the network predicts. By default it predicts the levels of integer data if they are
    few, a mixture of normal laws for each entry if they are many or if an example is one real number, and otherwise F
    (EDM), or v if it does not see the noise level."""
    variance: VarianceName | None = None
    """Gaussian and mixed only: variance of the reverse step; by default small (the posterior's) for levels, matched
    (the posterior's, and that of the law that is predicted of each entry) for mixtures, and large (the transition's)
    otherwise. matched is for levels and mixtures only."""
    sees: SightName = "log_snr"
    """What the network sees of the noise level: the log-SNR, as EDM's, or the time, as DDPM's. With nothing it cannot
    predict F; to predict levels or mixtures it must see the log-SNR."""
    clip: bool | None = None
    """Gaussian and mixed only: clip estimates of the clean data to its range; by default if it has levels that are not
    predicted."""
    histogram: bool | None = None
    """Levels only: whether the network compares how often a noisy example has each level with how often the data has
    it; by default where an example has at least 64 places and there are at most 256 levels."""


@short_repr
@dataclass(frozen=True)
class NetworkConfig:
    """The network; the shape of the data decides what is left open."""

    kind: NetworkName | None = None
    """For series, images and volumes unet, the default, or dit, a transformer of patches; for vectors and tables mlp,
    the default, or transformer, whose columns attend to each other."""
    width: Width | None = None
    """Features: of a U-Net at full resolution, a multiple of 8; of a transformer for each token."""
    depth: Depth | None = None
    """Residual blocks; those of a U-Net count for each resolution."""
    multipliers: tuple[Annotated[int, Range(1, 64)], ...] | None = None
    """U-Net only: features at each resolution in units of the width."""
    attention: tuple[bool, ...] | None = None
    """U-Net only: for each resolution, whether it has self-attention."""
    dropout: Share | None = None
    """Probability of dropping a feature in training; by default 0.5 for vectors and tables of fewer than 1,000
    examples, and 0 otherwise."""
    patch: Count | None = None
    """DiT only: places of a patch along each side; a shorter side is one patch."""


@short_repr
@dataclass(frozen=True)
class AutoencoderConfig:
    """The encoder and decoder of a VAE, and of a diffusion model of its latents."""

    channels: Count | None = None
    """Channels of a latent; of vectors, its entries."""
    factor: Annotated[int, Range(1, 64)] | None = None
    """Series, images and volumes only: how many times fewer places a latent has along each side, a power of 2."""
    width: Width | None = None
    """Features of encoder and decoder: at the finest resolution, a multiple of 8."""
    patch: Annotated[int, Range(1, 64)] | None = None
    """Series, images and volumes only: the finest features stand for patches of so many places a side, a power of 2 up
    to the factor; by default 2 where the factor is 4 or more, or else 1."""
    depth: Depth | None = None
    """Residual blocks of each of them at each resolution; of vectors, hidden layers."""
    output: OutputName | None = None
    """What the decoder gives for each entry of the data: a probability for each of its levels (levels, the default for
    few levels), or a normal law with a mean and a spread of its own (entry, otherwise the default of a vae) or with one
    spread for all entries (shared, otherwise the default of latent)."""
    kl_weight: Annotated[float, Range(0)] | None = None
    """Weight of the divergence between encoder and prior while the autoencoder is trained; with 1, the default of a vae
    and of the output levels, training minimises the bound; otherwise the default is 0.01."""
    stages: StagesName | None = None
    """Latent only: two-stage, the default, trains the autoencoder and then the diffusion of its latents; joint trains
    both at once on the bound."""
    steps: Count | None = None
    """Two-stage only: how many of the steps of training are those of the autoencoder, by default a quarter."""


@short_repr
@dataclass(frozen=True)
class TrainConfig:
    """How the network is trained."""

    steps: Count | None = None
    """Number of optimizer steps; the learning rate reaches zero at the last. By default 1,500 for series, images and
    volumes, and for vectors and tables 3 per example, but at least 300 and at most 5,000, because a network learns few
    examples by heart."""
    batch_size: Annotated[int, Range(1, 10**6)] | None = None
    """Examples per step, over all processes."""
    learning_rate: Positive | None = None
    """Peak learning rate."""
    optimizer: OptimizerName | None = None
    """What takes the steps: adamw, or muon for the matrices within a network and AdamW for the rest. By default muon
    for the U-Net and at least 300 examples, where a step learns more, and adamw otherwise: few examples are learned by
    heart."""
    warmup: Annotated[int, Range(0, 10**9)] = 100
    """Steps over which the learning rate rises from zero."""
    weight_decay: Annotated[float, Range(0)] = 0.01
    """Weight decay, decoupled from the gradient."""
    clip_grad: Positive = 1.0
    """Largest norm of the gradient; a larger one is scaled down."""
    ema: tuple[Horizon, ...] = (0.05, 0.12, 0.25)
    """Horizons of the moving averages of the weights: the spread of the steps that an average looks back on, as
    a share of all steps so far. 0 is no average. The model samples with the one of the least held-out loss."""
    objective: ObjectiveName | None = None
    """What training minimises; by default the bound in continuous time for levels, mixtures and the learned schedule,
    the bound on the grid for learned-betas and the bernoulli and categorical processes, hybrid where the variance is
    learned, edm where F is predicted, v or velocity where that is, and simple otherwise."""
    times: TimesName | None = None
    """How times are proposed; by default log-snr-density for the continuous bound, log-normal for edm with karras, and
    low-discrepancy otherwise, also for the learned schedule, whose shape is a density of its own."""
    condition_dropout: Fraction | None = None
    """With a condition only: how often the condition of an example is hidden, which also trains the model without one;
    by default 0.1."""
    augment: tuple[MoveName, ...] | None = None
    """Series, images and volumes only: transformations of the examples, which the network sees beside the noisy data.
    Samples and likelihoods are those of the data as it is. flip reverses each side with probability 1/2, the time of a
    series too; shift moves by up to an eighth of a side, or one place; transpose swaps equal sides of a picture; warp
    turns, zooms, shears and shifts a little, and interpolates."""
    augment_share: Fraction | None = None
    """With augment only: how often an example meets each transformation; by default 0.5."""
    seed: Seed = 0
    """Seed of the initial weights, the order, the times, the noise, the hidden conditions and the transformations."""
    save_every: Count = 500
    """Steps between checkpoints: the most that a killed run loses."""
    monitor_every: Count = 500
    """Steps between looks at the held-out loss and at samples."""
    log_every: Count = 10
    """Steps between lines of metrics.jsonl."""
    tracker: TrackerName = "jsonl"
    """Where losses, samples and options are shown: jsonl means the files of the run, metrics.jsonl among them, which
    are written in any case; the others get the same as well. wandb sends it to its server."""
    micro_batch_size: Count | None = None
    """Most examples that a process takes at a time, to save memory; by default the batch. The step is the same."""
    precision: PrecisionName = "fp32"
    """Numbers that the networks compute with in training; losses, weights and their averages are float32 in any case.
    bf16 and fp16 are faster on most GPUs, and fp16 needs one."""
    compile: bool = False
    """Whether torch.compile compiles the networks for training. That takes about a minute, and a compiler."""


@short_repr
@dataclass(frozen=True)
class SamplingConfig:
    """How the trained network is used: all that can be decided after training. What is left open is as the run decides;
    an option that neither the sampler nor the grid has is refused."""

    sampler: Literal[SamplerName, "learned"] | None = None
    """The kind of steps; by default ancestral, which goes with every model; adams and dpm-solver need few. Learned ones
    need the fewest: they are learned once for a number of --steps, with times of their own, and kept in
    RUN/samplers."""
    steps: WalkSteps | None = None
    """Number of steps of the sampler; by default that of the model, and 250 to evaluate."""
    grid: Literal[GridName, "learned"] | None = None
    """What the steps are even in: time (uniform, the default), its root, log-SNR, a power of sigma/alpha (karras), or
    its arctangent (angle). A learned grid is learned once for a number of --steps, and kept in RUN/grids: for ancestral
    it is the grid of the least bound, for another sampler the one that strays least from trajectories of the flow."""
    variance: VarianceName | None = None
    """Variance of the reverse step, by default that of the training. Every network of numbers takes small, large and
    analytic, which is measured on the training data and kept in RUN/variances; matched needs one that predicts levels
    or mixtures, and learned and free one that was trained so."""
    clip: bool | None = None
    """Whether estimates of the clean data are clipped to its range, which is known for data with levels; by default as
    in training."""
    eta: Annotated[float, Range(0, 1)] | None = None
    """ddim, dpm-solver: how much fresh noise a step adds, from 0 (none, the default) to 1."""
    order: Annotated[int, Range(1, 4)] | None = None
    """dpm-solver (1 to 3), single-step (2 or 3), adams and ipndm (1 to 4): order of the method."""
    corrector: bool | None = None
    """dpm-solver (by default False; True is UniPC), adams (True): take each step again once its end is known."""
    s_churn: Strength | None = None
    """heun: noise that all steps together renew, by default 0."""
    s_min: Strength | None = None
    """heun: smallest sigma/alpha at which noise is renewed."""
    s_max: Strength | None = None
    """heun: largest sigma/alpha at which noise is renewed."""
    s_noise: Strength | None = None
    """heun: scale of the renewed noise, by default 1."""
    corrections: WalkSteps | None = None
    """langevin, predictor-corrector: Langevin steps at each time, by default 1."""
    snr: Annotated[float, Range(0, 1000, open_low=True)] | None = None
    """langevin, predictor-corrector: ratio of signal to noise in a Langevin step, by default 0.16."""
    rho: Annotated[float, Range(0, 1000, open_low=True)] | None = None
    """karras: 1 spaces sigma/alpha evenly; the larger, the closer to log-SNR; by default 7."""


@short_repr
@dataclass(frozen=True)
class Config:
    """All that decides a training run, except the data itself."""

    source: str = ""
    """The data, by its name or path; see `SOURCES`. A preset has none."""
    preset: PresetName | None = field(default=None, kw_only=True)
    """The paper whose settings the options started from; it is refused for data that the paper is not about."""
    data: DataConfig = field(default_factory=DataConfig)
    process: ProcessConfig = field(default_factory=ProcessConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    model: ModelName = "diffusion"
    """What is fitted: a diffusion model of the data, a variational autoencoder (vae), or a diffusion model of an
    autoencoder's latents (latent)."""
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)


@short_repr
@dataclass(frozen=True)
class EvaluateConfig:
    """How much to evaluate, and of what: the model with these options of sampling."""

    examples: Annotated[int, Range(10, 10**9)] = 1000
    """At most this many held-out examples, and as many training examples and samples."""
    bound_terms: WalkSteps | None = None
    """Diffusion terms of the bound that are evaluated per example, by default 100; one less than the number of steps is
    all of them."""
    bound_steps: WalkSteps | Literal["inf"] | None = None
    """Steps of the bound, by default those of the model; inf is continuous time, except for the last step."""
    guidance: Strength = 1.0
    """For a model with a condition: guidance of the samples by the conditions of the held-out examples."""
    shuffles: Annotated[int, Range(19, 10**6)] = 50
    """How often origins are shuffled to say what accuracy the forest of the two-sample test has by chance; each time
    one more forest grows, which is most of the time that tables take."""
    features: str | None = None
    """One more space in which samples and data are compared, by the name MODULE:NAME: a function, or a torch module of
    images, such as an Inception network. MODULE is in the working folder or installed; it is imported, and runs."""
    imputed: Annotated[int, Range(0, 10**9)] | None = None
    """At most this many held-out examples, of up to 256 entries each, have some entries hidden and imputed from the
    others. By default 32 for vectors, and 0 for other data, which takes seconds per example."""
    forecasts: Annotated[int, Range(0, 10**9)] = 0
    """Series only: of at most this many held-out ones the end is forecast from the rest, and scored beside a
    seasonal-naive forecast and statsmodels' AutoReg. By default none, since a series takes seconds."""
    horizon: Count | None = None
    """With forecasts only: how many places are forecast, by default a quarter of a series."""
    seed: Seed = 0
    """Seed of the samples, the noise and the tests."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)


@short_repr
@dataclass(frozen=True)
class CodecConfig:
    """How examples are compressed."""

    mode: CodecModeName | None = None
    """direct for pictures and other data whose levels the network predicts, which it takes by default; bits-back for
    all data and many examples, to as many bits as the bound on its steps says."""
    steps: WalkSteps | None = None
    """How often the network looks at each example. By default bits-back takes the steps of the model, and direct some
    tens. Fewer are faster, and give more bytes."""
    grid: Literal["uniform", "learned"] | None = None
    """Times of the steps of bits-back: uniform, the default, or those of the least bound, which are learned once for a
    number of --steps and kept in RUN/grids. With few steps a learned grid gives far fewer bytes."""
    seed: Seed = 0
    """Seed of the first bits and of the noise, which the file names."""
    chunk: Annotated[int, Range(1, 10**6)] = 1024
    """Examples that are compressed together. Longer chunks give fewer bytes; a part of the file is read by chunks."""
    lossy: Annotated[float, Range(0, 1)] | None = None
    """Of mode direct: a time, from 0 to 1, with which the file holds no more of the data than noisy data at this time,
    and what comes back is the network's estimate of it. Larger times give fewer bytes and larger errors. By default
    nothing is lost."""
