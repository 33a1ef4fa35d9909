"""Presets are the models of their papers: what the network is shown, what is minimised, and for which data."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from bugs import bug
from faults import without_pictures
from oracles import F64, noise_from, tensor
from small_specs import image, vector

import inkwash as iw
from inkwash.commands.cli import _command
from inkwash.commands.frame import Frame
from inkwash.core.config import Config
from inkwash.core.errors import ConfigError
from inkwash.core.options import check, first_difference
from inkwash.data.columns import Column
from inkwash.data.spec import DataSpec
from inkwash.presets import PRESETS
from inkwash.process.noise import closed, tables
from inkwash.sample.walk import Walking
from inkwash.training import build, objective, sampling
from inkwash.training.build import build_denoiser, build_objective, build_process
from inkwash.training.resolve import resolve

presets = pytest.mark.parametrize("name", PRESETS)
SHAPES = {
    "numbers": vector(3),
    "levels": vector(3, levels=5),
    "bits": replace(vector(3, levels=2), low=0.0, high=1.0),
    "pictures": image(2, 8, 8),
    "real pictures": image(1, 7, 5, levels=None),
    "series": DataSpec((1, 12), "NL", "float32", -1.0, 1.0, None),
    "volumes": DataSpec((1, 4, 4, 4), "NDHW", "uint8", 0.0, 8.0, 9),
    "gaps": replace(vector(2), missing=(True, False)),
}
CATEGORY, NUMBER = Column("str", ("a", "b", "c")), Column("float64")
TABLES = {
    "mixed": replace(vector(2), dtype="float64", columns={"kind": CATEGORY, "size": NUMBER}),
    "categories": replace(vector(2), dtype="float64", columns={"kind": CATEGORY, "more": CATEGORY}),
}
FOR_TABLES = {("ddpm", "mixed")}


def settings_of(config):
    """The options that a config sets, by section and name."""
    for section in ("process", "denoiser", "network", "train", "sampling"):
        for option, value in vars(getattr(config, section)).items():
            if value is not None:
                yield (section, option), value


@presets
def test_in_latent_diffusion_a_preset_is_that_of_the_latents(name):
    preset = PRESETS[name]["gaussian"]()
    decided = dict(settings_of(resolve(replace(preset, model="latent"), SHAPES["pictures"])))
    assert {place: decided[place] for place, _ in settings_of(preset)} == dict(settings_of(preset))


@presets
@pytest.mark.parametrize("data", SHAPES | TABLES)
def test_a_preset_keeps_its_settings_for_data_that_its_paper_is_about_and_is_refused_for_other(name, data):
    preset = PRESETS[name]["gaussian"]()
    check(preset)
    if data in TABLES and (name, data) not in FOR_TABLES:
        kind = "mixed" if data == "mixed" else "categorical"
        with pytest.raises(ConfigError, match=rf"^preset: got {name}, and the process {kind}, need process.kind gauss"):
            resolve(preset, TABLES[data])
        return
    config = resolve(preset, (SHAPES | TABLES)[data])
    decided = dict(settings_of(config))
    assert {place: decided[place] for place, _ in settings_of(preset)} == dict(settings_of(preset))
    assert config.preset == name


@presets
def test_a_preset_is_trained_as_its_paper_trains(name):
    """By Adam, and not by what a U-Net is usually trained with."""
    config = resolve(PRESETS[name]["gaussian"](), image(1, 8, 8))
    assert config.train.optimizer == "adamw"


def test_the_paper_of_2015_has_a_model_of_bits():
    config = resolve(iw.presets.dpm_2015(bits=True), SHAPES["bits"])
    assert (config.process.kind, config.preset) == ("bernoulli", "dpm-2015")
    with pytest.raises(ConfigError, match=r"^process\.kind: got bernoulli, and vector 3"):
        resolve(iw.presets.dpm_2015(bits=True), SHAPES["levels"])


def test_a_run_that_started_from_another_paper_is_refused_by_the_name_of_the_paper():
    ours, theirs = (resolve(preset, vector(3)) for preset in (iw.presets.ddpm(), iw.presets.edm()))
    assert first_difference(ours, theirs) == ("preset", "ddpm", "edm")


def test_a_preset_leaves_the_size_of_network_and_training_to_the_data():
    for configs in PRESETS.values():
        for make in configs.values():
            assert make().network == iw.NetworkConfig()
            assert (make().train.steps, make().train.batch_size, make().train.learning_rate) == (None, None, None)


# What the papers say


def betas_of_ddpm(steps):
    return np.linspace(1e-4, 0.02, steps)  # Ho et al. (2020), §4


def cosine(steps):
    """Nichol & Dhariwal (2021), eq. 17; the cap concerns the last steps only."""
    return (
        np.cos((np.arange(1, steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
        / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    )


def karras(steps):
    """Karras et al. (2022), eq. 5, from the smallest noise to the largest."""
    i = np.arange(steps)[::-1]
    return (80 ** (1 / 7) + i / (steps - 1) * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7


def preserving(alpha_bar):
    return np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)


def exploding(sigma):
    return np.ones_like(sigma), sigma


EVEN = np.arange(1, 1001) / 1000
SCALES = {
    "ddpm": preserving(np.cumprod(1 - betas_of_ddpm(1000))),
    "ddim": preserving(np.cumprod(1 - betas_of_ddpm(1000))),
    "iddpm": preserving(cosine(4000)),
    "score": exploding(np.geomspace(0.01, 50, 1000)),
    "edm": exploding(karras(1000)),
    "flow-matching": (1 - EVEN, EVEN),
}
SEES_THE_TIME = {"ddpm", "ddim", "iddpm", "flow-matching"}


def row(seed, n=5, size=3):
    return torch.randn(n, size, generator=torch.Generator().manual_seed(seed), dtype=F64)


def shown(name, k):
    """What the network of a preset is given for data x and noise eps at step k, and the number of steps."""
    config = resolve(PRESETS[name]["gaussian"](), vector(3))
    denoiser, seen = build_denoiser(config, vector(3)), []
    outputs = 6 if config.denoiser.variance in ("learned", "free") else 3
    del denoiser.network  # a module, which no function may replace
    denoiser.network = lambda x_t, level: seen.append((x_t, level)) or torch.zeros(len(x_t), outputs, dtype=F64)
    t = torch.full((5,), k / config.process.steps, dtype=F64)
    build_objective(config, None).loss(denoiser, row(0), t, row(1))
    return seen[0]


@bug(
    "betas that are not scaled",
    tables.LinearSchedule,
    "table",
    lambda self: torch.full((1000,), 0.01, dtype=F64),
    name="ddpm",
)
@bug("DDPM is shown the log-SNR", iw.Denoiser, "time_input", lambda self, t: self.schedule.log_snr(t), name="ddpm")
@bug("the noise of EDM", closed.GeometricSchedule, "_risen", closed.KarrasSchedule()._risen, name="score")
@pytest.mark.parametrize("name", SCALES)
def test_the_network_is_shown_data_with_the_noise_of_the_paper_and_its_level(name):
    alphas, sigmas = SCALES[name]
    for k in (1, 3, len(alphas) // 2, 9 * len(alphas) // 10):
        alpha, sigma = alphas[k - 1], sigmas[k - 1]
        x_t, level = shown(name, k)
        spread = 1 if name in SEES_THE_TIME else np.hypot(1, sigma)  # c_in of EDM's table 1, for data of variance 1
        torch.testing.assert_close(x_t, (alpha * row(0) + sigma * row(1)) / spread, rtol=1e-9, atol=1e-9)
        expected = k / len(alphas) if name in SEES_THE_TIME else 2 * np.log(alpha / sigma)
        torch.testing.assert_close(level, torch.full_like(level, expected), rtol=1e-9, atol=1e-9)


def edm_loss(x, eps, sigma):
    """Karras et al. (2022), eq. 8 and table 1 with sigma_data = 1, where F is 0: D = c_skip y."""
    return (sigma**2 + 1) / sigma**2 * ((x + sigma * eps) / (sigma**2 + 1) - x) ** 2


LOSSES = {
    "ddpm": lambda x, eps, sigma: eps**2,  # Ho et al. (2020), eq. 14
    "ddim": lambda x, eps, sigma: eps**2,
    "score": lambda x, eps, sigma: sigma**2 * (0 + eps / sigma) ** 2,  # Song & Ermon (2019), eqs. 5 and 6
    "edm": edm_loss,
    "flow-matching": lambda x, eps, sigma: (eps - x) ** 2,  # Liu et al. (2022), eq. 1
}


@bug("the velocity is v", build, "REGRESSIONS", {"velocity": ("v", "one")}, name="flow-matching")
@bug("EDM without its weight", objective, "WEIGHTS", {"edm": objective.WEIGHTS["one"]}, name="edm")
@pytest.mark.parametrize("name", LOSSES)
def test_a_network_that_says_nothing_has_the_loss_of_the_paper(name):
    """New networks give 0."""
    config = resolve(PRESETS[name]["gaussian"](), vector(3))
    denoiser, k = build_denoiser(config, vector(3)), tensor([1, 100, 400, 700, 950])
    loss = build_objective(config, None).loss(denoiser, row(0), k / 1000, row(1)).detach()
    sigma = tensor(SCALES[name][1][k.long() - 1])[:, None]
    torch.testing.assert_close(loss, LOSSES[name](row(0), row(1), sigma).mean(1), rtol=1e-9, atol=0)


def test_the_noise_levels_of_edm_are_log_normal():
    """Karras et al. (2022), table 1: ln sigma has mean -1.2 and standard deviation 1.2."""
    from inkwash.training.build import build_proposal

    config = resolve(iw.presets.edm(), vector(3))
    schedule = build_process(config.process, vector(3)).schedule
    times = build_proposal(config).draw(20000, schedule, torch.Generator().manual_seed(0))
    levels = schedule.sigma(times.t).log()
    assert float(levels.mean()) == pytest.approx(-1.2, abs=0.02)
    assert float(levels.std()) == pytest.approx(1.2, abs=0.02)


def test_bits_survive_as_in_the_paper_of_2015():
    """beta_k = 1/(T - k + 1), so that every step removes an equal share of what was there at first (§2.4.1)."""
    config = resolve(iw.presets.dpm_2015(bits=True), SHAPES["bits"])
    steps, process = config.process.steps, build_process(config.process, SHAPES["bits"])
    k = torch.arange(1, steps + 1, dtype=F64)
    kept = process.transition(torch.ones(steps, 1, dtype=F64), (k - 1) / steps, k / steps)
    torch.testing.assert_close(2 * kept.mean[:, 0] - 1, 1 - 1 / (steps - k + 1), rtol=1e-9, atol=1e-9)


def test_the_schedules_that_papers_train_are_trained_and_start_where_theirs_do():
    """Betas on a line, with the first one fixed; and log-SNRs from 13.3 to -5 (Kingma et al. 2021, App. H)."""
    betas = build_process(resolve(iw.presets.dpm_2015(), vector(3)).process, vector(3)).schedule
    assert betas.table().tolist()[1:] == pytest.approx((25 * betas_of_ddpm(40)).tolist()[1:], rel=1e-9)
    assert [p.shape for p in betas.parameters() if p.requires_grad] == [(39,)]
    log_snr = build_process(resolve(iw.presets.vdm(), vector(3)).process, vector(3)).schedule
    assert log_snr.log_snr(tensor([0.001, 1.0])).tolist() == pytest.approx([13.3, -5])
    assert all(p.requires_grad for p in log_snr.parameters())


# Samples, of normal data with the exact denoiser

MEAN, VAR = 0.7, 0.3


def restored(x_t, alpha, sigma):
    """E[x | x_t]."""
    return MEAN + alpha * VAR / (alpha**2 * VAR + sigma**2) * (x_t - alpha * MEAN)


def by_ddim(x):
    """Song et al. (2020), eq. 12 with eta = 0, at every 20th of the 1000 steps."""
    kept = np.concatenate([[1.0], np.cumprod(1 - betas_of_ddpm(1000))])[::-20]
    for now, then in itertools.pairwise(kept):
        clean = restored(x, np.sqrt(now), np.sqrt(1 - now))
        eps = (x - np.sqrt(now) * clean) / np.sqrt(1 - now)
        x = np.sqrt(then) * clean + np.sqrt(1 - then) * eps
    return x


def by_euler(x):
    """Euler's method with the velocity E[eps - x | x_t] (Liu et al. 2022, eqs. 1-2), with time reversed."""
    times = np.arange(100, -1, -1) / 100
    for t, s in itertools.pairwise(times):
        clean = restored(x, 1 - t, t)
        x = x + (s - t) * ((x - (1 - t) * clean) / t - clean)
    return x


def by_heun(x):
    """Karras et al. (2022), Alg. 1, with 18 noise levels by eq. 5."""
    levels = np.append(karras(18)[::-1], 0.0)
    for now, then in itertools.pairwise(levels):
        slope = (x - restored(x, 1, now)) / now
        euler = x + (then - now) * slope
        if then > 0:
            slope = (slope + (euler - restored(euler, 1, then)) / then) / 2
        x = x + (then - now) * slope
    return x


def by_predictor_and_corrector(x):
    """Song et al. (2021), Alg. 2 without its noise, at 1000 levels; a corrector's step is 2 (0.16 sigma)^2 long."""

    def score(x, sigma):
        return (restored(x, 1, sigma) - x) / sigma**2

    levels = np.geomspace(50, 0.01, 1000)
    for now, then in itertools.pairwise(levels):
        x = x + (now**2 - then**2) * score(x, now)
        x = x + 2 * (0.16 * then) ** 2 * score(x, then)
    return x + levels[-1] ** 2 * score(x, levels[-1])


WALKS = {"ddim": by_ddim, "flow-matching": by_euler, "edm": by_heun, "score": by_predictor_and_corrector}


@bug("DDIM of another eta", iw.DDIM, "__post_init__", lambda self: object.__setattr__(self, "eta", 1.0), name="ddim")
@bug("Heun's method on another grid", sampling, "GRIDS", sampling.GRIDS | {"karras": iw.LogSnrGrid}, name="edm")
@bug("Langevin steps of another length", iw.PredictorCorrector, "correct", lambda self, d, x, t, g: x, name="score")
@pytest.mark.parametrize("name", WALKS)
def test_samples_are_taken_by_the_algorithm_of_the_paper(name):
    config = resolve(PRESETS[name]["gaussian"](), vector(3))
    process = build_process(config.process, vector(3))

    def network(x_t, t):
        return restored(x_t, *(scale(t)[:, None] for scale in (process.schedule.alpha, process.schedule.sigma)))

    denoiser = iw.Denoiser(network, process, "x", config.denoiser.variance)
    plan = Walking(**sampling.step_options(config.sampling)).plan(process, config.process.steps)
    start = float(process.scale(1.0)) * row(2)
    with noise_from(lambda shape: torch.zeros(tuple(shape), dtype=F64)), torch.no_grad():
        *_, (_, x) = plan.sampler.trajectory(denoiser, start, plan.times, torch.Generator())
    torch.testing.assert_close(x, tensor(WALKS[name](start.numpy())), rtol=1e-8, atol=1e-8)


def test_with_a_single_example_flow_matching_walks_a_straight_line():
    """From its noise to the example, at a constant speed."""
    config = resolve(iw.presets.flow_matching(), vector(3))
    process, point = build_process(config.process, vector(3)), tensor([0.3, -1.0, 2.0])
    denoiser = iw.Denoiser(lambda x_t, t: (x_t - point) / t[:, None], process, config.denoiser.predicts, "large")
    plan = Walking(**sampling.step_options(config.sampling)).plan(process, config.process.steps)
    for s, x in plan.sampler.trajectory(denoiser, row(3), plan.times, torch.Generator()):
        torch.testing.assert_close(x, torch.lerp(point.expand(5, 3), row(3), float(s)), rtol=1e-10, atol=1e-10)


# Training with them

PICTURES = np.random.default_rng(0).integers(0, 5, (40, 4, 4)).astype(np.uint8)
BITS = np.random.default_rng(0).integers(0, 2, (40, 6)).astype(bool)
TRAINED = [(name, "gaussian", PICTURES) for name in PRESETS] + [
    ("dpm-2015", "bernoulli", BITS),
    ("ddpm", "mixed", "shop"),
]


@pytest.mark.parametrize(("name", "kind", "source"), TRAINED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_preset_trains_samples_and_has_a_bound(name, kind, source, tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    config = replace(PRESETS[name][kind](), network=iw.NetworkConfig(width=8, depth=1))
    small = replace(config.train, steps=3, batch_size=4)
    run = iw.train(source, tmp_path / "run", config=config, train=small, report=False)
    decided = run.header().config
    assert (decided.preset, decided.process.kind, decided.train.steps) == (name, kind, 3)
    model = run.model()
    x = model.sample(2, seed=0, steps=5)
    assert bool(model.bound(x, terms=3).total.isfinite().all())


def test_a_section_that_is_passed_replaces_that_of_the_config(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    monkeypatch.setattr("inkwash.training.fit.fit", lambda config, *given: config)
    config = iw.train("digits", config=iw.presets.edm(), denoiser=iw.DenoiserConfig("v"))
    assert config == replace(iw.presets.edm(), source="digits", denoiser=iw.DenoiserConfig("v"))
    assert iw.train("digits") == Config("digits")


def test_a_config_without_data_is_refused(tmp_path):
    from inkwash.training.fit import fit

    with pytest.raises(ConfigError, match=r"^source: got '', need data"):
        fit(iw.presets.ddpm(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


# On the command line


def parsed(*words):
    return _command(Frame(["train", "digits", *words]))


@presets
def test_the_command_starts_from_the_preset_that_python_has(name):
    assert parsed("--preset", name).config("digits") == replace(PRESETS[name]["gaussian"](), source="digits")


def test_a_preset_is_inspected_as_it_is_trained():
    inspected = _command(Frame(["inspect", "digits", "--preset=score"]))
    assert inspected.config("digits") == parsed("--preset", "score").config("digits")


def test_other_options_change_what_the_preset_sets_wherever_they_stand():
    for words in (
        "--denoiser.predicts v --preset ddpm --train.ema 0.1",
        "--train.ema 0.1 --denoiser.predicts=v --preset=ddpm",
    ):
        config = parsed(*words.split()).config("digits")
        preset = replace(iw.presets.ddpm(), source="digits")
        train = replace(preset.train, ema=(0.1,))
        assert config == replace(preset, denoiser=replace(preset.denoiser, predicts="v"), train=train)


def test_the_kind_of_process_decides_between_the_models_of_a_paper():
    bits = parsed("--preset", "dpm-2015", "--process.kind", "bernoulli").config("digits")
    assert bits == replace(iw.presets.dpm_2015(bits=True), source="digits")


def test_without_a_preset_the_options_are_those_of_the_class():
    assert parsed().config("digits") == Config("digits")


def test_help_shows_the_settings_of_the_preset(capsys):
    with pytest.raises(SystemExit):
        _command(Frame(["train", "--preset", "edm", "--help"]))
    assert "log-normal)" in capsys.readouterr().out.replace("\n", " ")
