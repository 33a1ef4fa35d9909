"""The public names; each is written once, here."""

from . import (
    bridges as bridges,
    codec as codec,
    core as core,
    data as data,
    denoise as denoise,
    evaluation as evaluation,
    likelihood as likelihood,
    model as model,
    nn as nn,
    posterior as posterior,
    presets as presets,
    process as process,
    sample as sample,
    sklearn as sklearn,
    training as training,
)
from .bridges.adapt import adapt as adapt
from .bridges.diffusers import from_diffusers as from_diffusers
from .codec.archive import compress as compress, decompress as decompress
from .core.config import (
    AutoencoderConfig as AutoencoderConfig,
    Config as Config,
    DataConfig as DataConfig,
    DenoiserConfig as DenoiserConfig,
    NetworkConfig as NetworkConfig,
    ProcessConfig as ProcessConfig,
    SamplingConfig as SamplingConfig,
    TrainConfig as TrainConfig,
)
from .core.errors import (
    CheckpointError as CheckpointError,
    CodecError as CodecError,
    ConfigError as ConfigError,
    DataError as DataError,
    InkwashError as InkwashError,
    NonFiniteError as NonFiniteError,
)
from .data.dataset import load_dataset as load_dataset
from .denoise.denoiser import Denoiser as Denoiser
from .denoise.wrap import Clipped as Clipped, Thresholded as Thresholded
from .evaluation.evaluate import evaluate as evaluate
from .likelihood.ode import Adaptive as Adaptive, Fixed as Fixed
from .model.diffusion import Diffusion as Diffusion
from .model.factors import (
    Classifier as Classifier,
    Condition as Condition,
    Measurement as Measurement,
    Observed as Observed,
)
from .model.latent import LatentDiffusion as LatentDiffusion
from .model.product import Product as Product
from .model.vae import VAE as VAE
from .model.watch import Film as Film
from .model.where import Where as Where
from .nn.dit import DiT as DiT
from .nn.mlp import MLP as MLP
from .nn.unet import UNet as UNet
from .posterior.guidance import MomentMatching as MomentMatching, PiGDM as PiGDM
from .posterior.smc import SMC as SMC
from .posterior.steps import DPS as DPS, RePaint as RePaint
from .process.bernoulli import Bernoulli as Bernoulli
from .process.categorical import Categorical as Categorical
from .process.gaussian import Gaussian as Gaussian
from .process.mixed import Mixed as Mixed
from .process.noise.closed import (
    KarrasSchedule as KarrasSchedule,
    LogLinearSchedule as LogLinearSchedule,
    RectifiedSchedule as RectifiedSchedule,
    SohlDicksteinSchedule as SohlDicksteinSchedule,
)
from .process.noise.grid import uniform_grid as uniform_grid
from .process.noise.learned import LearnedSchedule as LearnedSchedule
from .process.noise.tables import (
    CosineSchedule as CosineSchedule,
    LinearSchedule as LinearSchedule,
    TabulatedSchedule as TabulatedSchedule,
)
from .sample.ancestral import DDIM as DDIM, Ancestral as Ancestral
from .sample.grids import (
    AngleGrid as AngleGrid,
    KarrasGrid as KarrasGrid,
    LogSnrGrid as LogSnrGrid,
    QuadraticGrid as QuadraticGrid,
    UniformGrid as UniformGrid,
)
from .sample.multistep import IPNDM as IPNDM, Adams as Adams, DPMSolver as DPMSolver
from .sample.singlestep import Heun as Heun, SingleStep as SingleStep
from .sample.stochastic import (
    AnnealedLangevin as AnnealedLangevin,
    EulerMaruyama as EulerMaruyama,
    PredictorCorrector as PredictorCorrector,
)
from .training.fit import train as train
from .training.run import Run as Run, load as load

__version__: str
