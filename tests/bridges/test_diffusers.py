"""A pipeline of diffusers as a model walks as its own scheduler does, and what cannot be read is refused by name."""

import importlib.util
import json
import shutil
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from bugs import bug
from oracles import F64

import inkwash as iw
from inkwash.bridges import diffusers as bridge, pipelines, schedulers
from inkwash.bridges.convention import timestep
from inkwash.core.errors import MissingPackageError
from inkwash.denoise.prediction import F
from inkwash.process.distributions import standard_normal

diffusers = pytest.importorskip("diffusers", reason="the peer itself: pip install 'inkwash[diffusers]'")

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in diffusers


@cache
def walks():
    """The benchmark that compares the walks."""
    path = Path(__file__).parents[2] / "benchmarks" / "bridges.py"
    spec = importlib.util.spec_from_file_location("bridges", path)
    module = sys.modules["bridges"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def case_id(case):
    return f"{case}-{case.predicts}".replace(" ", "")


CASES, DIFFERENT = walks().CASES, walks().DIFFERENT
QUICK = ("DDPMScheduler()-epsilon", "heun)-v_prediction", "EDMEulerScheduler()-eps", "shift=3.0", "zero_snr=True)-v")
of_ddpm = next(
    each for each in CASES if case_id(each) == "DDPMScheduler()-epsilon" and "clip_sample" not in each.options
)
of_edm = next(each for each in CASES if case_id(each) == "EDMEulerScheduler()-epsilon")


@bug("indices counted from 1", schedulers, "timestep", lambda steps: lambda t: t * steps, case=of_ddpm)
@bug("estimates are not clipped", schedulers, "_clip", lambda *_: None, case=of_ddpm)
@bug("data of variance 1", schedulers, "F", lambda data_std: F(1.0), case=of_edm)
@bug("sigma itself for a quarter of its log", schedulers, "quarter_log", lambda s: s.sigma, case=of_edm)
@pytest.mark.parametrize("case", CASES, ids=case_id)
@pytest.mark.quick_cases(*QUICK)
def test_walks_end_where_those_of_the_scheduler_end(case):
    """The same noise, the same times, random weights; several schedulers keep their noise levels in float32."""
    assert walks().difference(case) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("case", DIFFERENT, ids=case_id)
def test_the_walks_that_differ_are_known(case):
    """Should one of them agree one day, the table in the documentation is out of date."""
    assert walks().difference(case) > 1e-5


def pipeline(**options):
    unet = walks().unet(1)
    return diffusers.DDPMPipeline(unet.float(), diffusers.DDPMScheduler(**options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    pipeline().save_pretrained(folder)
    return folder


def test_an_export_is_refused_in_one_line(tmp_path):
    """Its U-Net copies batches of 64 and more, which no trace for every size can hold."""
    with pytest.raises(iw.ConfigError, match=r"network that torch\.export refuses") as error:
        iw.bridges.export(iw.from_diffusers(pipeline()), "torch-export", tmp_path / "model.pt2")
    assert "\n" not in str(error.value)
    with pytest.raises(iw.ConfigError, match="a network of other code, need one of inkwash"):
        iw.bridges.export(iw.from_diffusers(pipeline()), "diffusers", tmp_path / "folder")


def test_a_folder_is_the_pipeline_that_was_saved(folder):
    saved, own = iw.from_diffusers(folder), iw.from_diffusers(pipeline())
    x = own.sample(2, seed=0, steps=3)
    np.testing.assert_array_equal(saved.sample(2, seed=0, steps=3), x)
    assert (x.dtype, x.shape) == (np.uint8, (2, 8, 8))
    torch.testing.assert_close(saved.bound(x, steps=4).total, own.bound(x, steps=4).total, rtol=0, atol=0)


def test_pixels_are_those_of_the_pipeline():
    """A pipeline shows x / 2 + 1/2, clipped to [0, 1], in 256 levels."""
    model = iw.from_diffusers(pipeline())
    x = torch.linspace(-1.3, 1.3, 64).reshape(1, 1, 8, 8)
    shown = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    theirs = np.asarray(diffusers.DDPMPipeline.numpy_to_pil(shown)[0])
    np.testing.assert_array_equal(model.to_data(x)[0], theirs)


def test_timesteps_between_those_of_the_table():
    """Integers at the times of the grid, to the last bit; the number in between elsewhere; never below the first."""
    grid = torch.arange(1, 1001, dtype=F64) / 1000
    index = timestep(1000)
    assert torch.equal(index(grid), torch.arange(1000, dtype=F64))
    torch.testing.assert_close(index(torch.tensor([0.0, 0.0004, 0.5005], dtype=F64)).tolist(), [0.0, 0.0, 499.5])


def of_classes(count):
    torch.manual_seed(1)
    options = {name: value for name, value in walks().unet(1).config.items() if not name.startswith("_")}
    unet = diffusers.UNet2DModel(**{**options, "num_class_embeds": count}).double().eval()
    return unet, iw.from_diffusers(SimpleNamespace(components={"unet": unet, "scheduler": diffusers.DDPMScheduler()}))


def class_after_the_right_one(self, label):
    return {"class_labels": label}


@bug("classes counted from 1", bridge.UNetOutput, "_condition", class_after_the_right_one)
def test_labels_are_the_class_labels_of_diffusers():
    unet, model = of_classes(4)
    x_t, t = standard_normal((3, 1, 8, 8), torch.Generator().manual_seed(0)).double(), torch.tensor(0.5, dtype=F64)
    condition = model.condition.inputs(3, label=[0, 2, 1])
    with torch.no_grad():
        theirs = unet(x_t, 499, class_labels=torch.tensor([0, 2, 1])).sample
        ours = model.denoiser.denoiser(x_t, t, **condition).eps
    torch.testing.assert_close(ours, theirs)
    for options in ({}, {"label": 2, "guidance": 2.0}):
        with pytest.raises(iw.ConfigError, match="label: got nothing, need a class"):
            model.sample(1, steps=2, **options)


def test_latents_are_those_of_the_autoencoder_of_diffusers():
    """Encoded means and decoded samples agree with `AutoencoderKL`, with its shift and its scale."""
    torch.manual_seed(2)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    sizes = {"block_out_channels": (4, 4), "norm_num_groups": 2, "latent_channels": 1, "sample_size": 16}
    vae = diffusers.AutoencoderKL(**blocks, **sizes, scaling_factor=0.5, shift_factor=0.2).double().eval()
    parts = {"unet": walks().unet(1), "scheduler": diffusers.DDIMScheduler(clip_sample=False), "vae": vae}
    pipe = SimpleNamespace(components=parts)
    model = iw.from_diffusers(pipe, noise=0.1)
    x = np.arange(16 * 16 * 3).astype(np.uint8).reshape(1, 16, 16, 3)
    with torch.no_grad():
        theirs = (vae.encode(model.to_model(x).double()).latent_dist.mean - 0.2) * 0.5
        torch.testing.assert_close(model.encode(x), theirs)
        z = model.latents.sample(2, steps=4, seed=0)
        shown = vae.decode(z / 0.5 + 0.2).sample
    np.testing.assert_array_equal(model.sample(2, steps=4, seed=0, mean=True), model.to_data(shown))
    with pytest.raises(iw.ConfigError, match="noise: got nothing"):
        iw.from_diffusers(pipe)
    parts["vae"] = diffusers.AutoencoderKL(**blocks, **sizes, latents_mean=[0.5], latents_std=[2.0])
    with pytest.raises(iw.CheckpointError, match=r"vae\.latents_mean: got a number for each channel"):
        iw.from_diffusers(pipe, noise=0.1)


def changed(folder, name, **options):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | options))


def of_text(folder):
    changed(folder, "model_index.json", text_encoder=["transformers", "CLIPTextModel"])


def of_conditional_unet(folder):
    changed(folder, "model_index.json", unet=["diffusers", "UNet2DConditionModel"])


def of_transformer(folder):
    index = json.loads((folder / "model_index.json").read_text())
    del index["unet"]
    index |= {"transformer": ["diffusers", "DiTTransformer2DModel"], "vae": ["diffusers", "AutoencoderKL"]}
    (folder / "model_index.json").write_text(json.dumps(index))


def of_unknown_scheduler(folder):
    changed(folder, "scheduler/scheduler_config.json", _class_name="LCMScheduler")


def of_unknown_prediction(folder):
    changed(folder, "scheduler/scheduler_config.json", prediction_type="flow")


def of_other_betas(folder):
    changed(folder, "scheduler/scheduler_config.json", beta_schedule="wave")


def of_zero_snr(folder):
    changed(folder, "scheduler/scheduler_config.json", rescale_betas_zero_snr=True)


def of_learned_variance(folder):
    changed(folder, "scheduler/scheduler_config.json", variance_type="learned_range")


def of_wider_unet(folder):
    changed(folder, "unet/config.json", block_out_channels=[8, 16])


def of_deeper_unet(folder):
    changed(folder, "unet/config.json", layers_per_block=2)


def of_no_size(folder):
    changed(folder, "unet/config.json", sample_size=None)


def cut_weights(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def cut_json(folder):
    path = folder / "unet" / "config.json"
    path.write_bytes(path.read_bytes()[:-10])


def only_a_pickle(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_suffix(".bin"))


def no_scheduler(folder):
    (folder / "scheduler" / "scheduler_config.json").unlink()


def of_quantised_latents(folder):
    changed(folder, "model_index.json", vqvae=["diffusers", "VQModel"])


def no_pipeline(folder):
    (folder / "model_index.json").unlink()


BAD = {
    of_text: "text conditioning",
    of_conditional_unet: "text conditioning",
    of_transformer: r"got a transformer \(DiTTransformer2DModel\), need a pipeline of a U-Net \(UNet2DModel\)",
    of_unknown_scheduler: "LCMScheduler, need one of DDPMScheduler",
    of_unknown_prediction: "prediction_type",
    of_other_betas: "wave",
    of_zero_snr: "prediction_type: got epsilon, need sample or v_prediction",
    of_learned_variance: r"unet.out_channels: got 1, need 2",
    of_wider_unet: "unet: got",
    of_deeper_unet: "missing weights",
    of_no_size: "sample_size: got nothing",
    cut_weights: "unet: got",
    cut_json: "damaged JSON",
    only_a_pickle: "safetensors",
    no_scheduler: "scheduler_config.json: got No such file",
    of_quantised_latents: "vqvae: got VQModel, need AutoencoderKL",
    no_pipeline: "model_index.json",
}


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_what_cannot_be_read_is_refused_in_one_line(spoil, folder, tmp_path):
    bad = shutil.copytree(folder, tmp_path / "bad")
    spoil(bad)
    with pytest.raises(iw.CheckpointError, match=BAD[spoil]) as caught:
        iw.from_diffusers(bad)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


def test_without_diffusers_the_error_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingPackageError, match=r"no package diffusers, need pip install 'inkwash\[diffusers\]'"):
        pipelines.pipeline_of(folder)


def test_nothing_is_imported_before_it_is_needed():
    assert "diffusers" not in vars(pipelines)
    with pytest.raises(iw.ConfigError, match="source: got int"):
        iw.from_diffusers(3)
