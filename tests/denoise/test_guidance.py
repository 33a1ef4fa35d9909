"""Labels and guidance agree with closed forms."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from answers import PREDICTIONS, exact_answers, rows
from bugs import bug
from oracles import (
    F64,
    TERNARY,
    BitData,
    GaussianData,
    LevelsData,
    MixtureData,
    survival,
    tensor,
    trained,
)
from straight import SCHEDULE, model_of, small_slots, with_places_of_the_first

import inkwash as iw
from inkwash.core.randomness import Slots
from inkwash.data import condition
from inkwash.denoise.denoiser import NetworkDenoiser

S, T = 0.3, 0.75
PARTS = [GaussianData([-1.0, 0.5], [[0.1, 0.03], [0.03, 0.2]]), GaussianData([1.5, -0.7], [[2.0, 0.9], [0.9, 0.6]])]
BOTH = MixtureData([0.4, 0.6], PARTS)
NAMES = iw.data.ConditionSpec(("left", "7"))
LABELS = torch.tensor([1, 2, 2, 1, 2, 1])


class Answers(torch.nn.Module):
    """A network that returns one output for the mixture and one for each part, and counts its calls."""

    def __init__(self, mixture, parts):
        super().__init__()
        self.mixture, self.parts, self.calls = mixture, parts, 0

    def forward(self, x_t, t, label=None):
        self.calls += 1
        if label is None:
            return self.mixture
        several = torch.stack([self.mixture, *self.parts])
        return several[label, torch.arange(len(label))]


def exact(name, x_t):
    kinds = (BOTH, *(MixtureData([1.0], [part]) for part in PARTS))
    mixture, *parts = (exact_answers(data, SCHEDULE, x_t, S, T)[name] for data in kinds)
    return iw.Denoiser(Answers(mixture, parts), iw.Gaussian(SCHEDULE), PREDICTIONS[name])


def guided_score(x_t, w):
    """Gradient of log p(x_t) + w log(p(x_t | label) / p(x_t))."""
    x_t = x_t.clone().requires_grad_()
    alpha, sigma = SCHEDULE.alpha(T), SCHEDULE.sigma(T)
    both = BOTH.marginal_log_prob(x_t, alpha, sigma)
    each = torch.stack([part.marginal(alpha, sigma).log_prob(x_t) for part in PARTS])
    (gradient,) = torch.autograd.grad((both + w * (each[LABELS - 1, torch.arange(6)] - both)).sum(), x_t)
    return gradient


PREDICT = NetworkDenoiser.predict


def guided_away(self, shown, t, guidance, condition):
    return PREDICT(self, shown, t, 1 - guidance, condition)


def power_counted_from_the_conditional(self, shown, t, guidance, condition):
    return PREDICT(self, shown, t, 1 + guidance, condition)


DENOISE = iw.Denoiser.forward


def x_guided_eps_kept(self, x_t, t, guidance=1.0, **condition):
    null, conditional = DENOISE(self, x_t, t), DENOISE(self, x_t, t, **condition)
    return replace(conditional, x=torch.lerp(null.x, conditional.x, guidance))


@bug("sign of guidance", NetworkDenoiser, "predict", guided_away, w=2.5, name="eps")
@bug("guidance one too much", NetworkDenoiser, "predict", power_counted_from_the_conditional, w=2.5, name="eps")
@bug("x guided, eps kept", iw.Denoiser, "forward", x_guided_eps_kept, w=2.5, name="eps")
@pytest.mark.parametrize("w", [0.0, 0.4, 1.0, 2.5])
@pytest.mark.parametrize("name", PREDICTIONS)
def test_guidance_is_a_power_for_every_prediction(name, w):
    x_t = SCHEDULE.alpha(T) * rows(0) + SCHEDULE.sigma(T) * rows(1)
    estimate = exact(name, x_t)(x_t, T, label=LABELS, guidance=w)
    truth = guided_score(x_t, w)
    assert torch.allclose(estimate.score, truth, rtol=1e-9, atol=1e-9)
    assert torch.allclose(estimate.x, (x_t + SCHEDULE.sigma(T) ** 2 * truth) / SCHEDULE.alpha(T), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("w", "calls"), [(0, 1), (1, 1), (1.0, 1), (0.5, 2), (3.0, 2)])
def test_the_network_is_evaluated_twice_only_where_guidance_needs_it(w, calls):
    x_t = rows(0)
    denoiser = exact("v", x_t)
    estimate = denoiser(x_t, T, label=LABELS, guidance=w)
    assert denoiser.network.calls == calls
    if calls == 1:
        plain = denoiser(x_t, T, label=LABELS) if w else denoiser(x_t, T)
        assert torch.equal(estimate.x, plain.x)
        assert torch.equal(estimate.eps, plain.eps)


def test_guidance_leaves_out_the_condition_but_not_what_is_present():
    """Which entries an example has is no condition."""
    seen = []

    def network(x_t, t, **condition):
        seen.append(condition)
        return x_t

    x_t = rows(0)
    present = torch.ones_like(x_t, dtype=torch.bool)
    iw.Denoiser(network, iw.Gaussian(SCHEDULE))(x_t, T, label=LABELS, present=present, guidance=2.0)
    assert [sorted(condition) for condition in seen] == [["label", "present"], ["present"]]
    assert all(torch.equal(condition["present"], present) for condition in seen)


def test_clipping_follows_guidance():
    """In the other order, guidance would leave the range again."""
    x_t = rows(0)
    denoiser = exact("x", x_t)
    clipped = iw.Clipped(denoiser, -0.5, 0.5)(x_t, T, label=LABELS, guidance=3.0)
    assert torch.equal(clipped.x, denoiser(x_t, T, label=LABELS, guidance=3.0).x.clamp(-0.5, 0.5))
    assert torch.allclose(SCHEDULE.alpha(T) * clipped.x + SCHEDULE.sigma(T) * clipped.eps, x_t)


def test_thresholding_follows_guidance():
    """The largest entry of an example moves to the bound if it was beyond it."""
    denoiser = exact("x", rows(0))
    guided = denoiser(rows(0), T, label=LABELS, guidance=9.0).x
    largest = iw.Thresholded(denoiser, 1.0)(rows(0), T, label=LABELS, guidance=9.0).x.abs().amax(1)
    assert torch.allclose(largest, guided.abs().amax(1).clamp(max=1))
    assert bool((guided.abs().amax(1) > 1).any())


def test_the_spread_is_the_one_under_the_condition():
    x_t = rows(0)
    both = [torch.cat([rows(i), rows(i + 3)], 1) for i in range(3)]
    denoiser = iw.Denoiser(Answers(both[0], both[1:]), iw.Gaussian(SCHEDULE), variance="learned")
    guided, plain = (denoiser(x_t, T, label=LABELS, guidance=w) for w in (4.0, 1.0))
    assert torch.equal(guided.spread, plain.spread)
    assert not torch.equal(guided.eps, plain.eps)


# For one entry of levels or bits, the distribution of x is multiplied by a power of p(label | x), exactly


def tilted(p, conditional, w):
    weights = p * (conditional / p) ** w
    return weights / weights.sum()


def means_guided_not_log_odds(self, x_t, t, guidance=1.0, **condition):
    null, conditional = DENOISE(self, x_t, t), DENOISE(self, x_t, t, **condition)
    mixed = {name: torch.lerp(getattr(null, name), getattr(conditional, name), guidance) for name in ("x", "eps")}
    return replace(conditional, **mixed)


@bug("levels guided by their mean", iw.Denoiser, "forward", means_guided_not_log_odds, w=2.5)
@pytest.mark.parametrize("w", [0.4, 1.0, 2.5])
def test_guidance_of_levels_is_a_power_at_time_zero(w):
    p, conditionals = tensor([0.2, 0.5, 0.3]), tensor([[0.35, 0.25, 0.4], [0.1, 0.5, 0.4]])
    several = torch.stack([p, *conditionals]).log()

    def network(x_t, t, label=None):
        numbers = torch.zeros(len(x_t), dtype=torch.long) if label is None else label
        return several[numbers][:, None]

    x_t = rows(2, size=1)
    estimate = iw.Denoiser(network, iw.Gaussian(SCHEDULE), iw.denoise.Levels(TERNARY))(x_t, T, label=LABELS, guidance=w)
    alpha, sigma = SCHEDULE.alpha(T), SCHEDULE.sigma(T)
    data = [LevelsData(tilted(p, q, w), TERNARY) for q in conditionals]
    truth = torch.stack([each.denoise(x_t, alpha, sigma) for each in data])[LABELS - 1, torch.arange(6)]
    assert torch.allclose(estimate.x, truth, atol=1e-12)
    assert torch.allclose(alpha * estimate.x + sigma * estimate.eps, x_t)
    assert torch.allclose(estimate.level_logits.softmax(-1) @ TERNARY.values(), truth, atol=1e-12)


@pytest.mark.parametrize("w", [0.0, 1.0, 2.5])
def test_guided_bits_are_sampled_from_the_power(w):
    p, conditionals, rate = tensor([0.7, 0.3]), tensor([[0.8, 0.2], [0.4, 0.6]]), 0.4
    kinds = [BitData(q.tolist()) for q in (p, *conditionals)]

    def network(x_t, t, label=None):
        several = torch.stack([data.denoise(x_t, survival(SCHEDULE, t), rate) for data in kinds])
        numbers = torch.zeros(len(x_t), dtype=torch.long) if label is None else label
        return several[numbers, torch.arange(len(x_t))]

    model = iw.Diffusion(
        iw.denoise.OddsDenoiser(network, iw.Bernoulli(SCHEDULE, rate)), (1,), steps=20, dtype=F64, condition=NAMES
    )
    x = model.sample(4096, seed=0, label=["left", 7] * 2048, guidance=w)[:, 0]
    for k, q in enumerate(conditionals):
        one = float(tilted(p, q, w)[1])
        assert float(x[k::2].mean()) == pytest.approx(one, abs=4 * (one * (1 - one) / 2048) ** 0.5 + 1e-3)


# A model with labels


def labelled_model():
    def network(x_t, t, label=None):
        alpha, sigma = SCHEDULE.alpha(t)[:, None], SCHEDULE.sigma(t)[:, None]
        if label is None:
            return BOTH.denoise(x_t, alpha, sigma)
        return torch.stack([part.denoise(x_t, alpha, sigma) for part in PARTS])[label - 1, torch.arange(len(label))]

    denoiser = iw.Denoiser(network, iw.Gaussian(SCHEDULE), "x")
    return iw.Diffusion(denoiser, (2,), steps=30, dtype=F64, condition=NAMES)


LABELS_OF_TEN = ["left", "7", "7", "left", "left", "7", "left", "7", "7", "left"]


@pytest.mark.parametrize("options", [{"solver": iw.Adaptive(1e-8, 1e-8)}, {"t": 0.5, "steps": 5}])
def test_interpolation_within_a_class_is_that_of_the_model_of_the_class(options):
    """The label applies to all of it: the ends are encoded, mixed and decoded under it."""
    a, b = tensor([1.0, -1.2]), tensor([2.5, 0.1])
    paths = [
        labelled_model().interpolate(a, b, 3, label="7", **options),
        model_of(PARTS[1]).interpolate(a, b, 3, **options),
        model_of(PARTS[0]).interpolate(a, b, 3, **options),
    ]
    torch.testing.assert_close(paths[0], paths[1], rtol=1e-5, atol=1e-5)
    assert float((paths[0] - paths[2]).abs().max()) > 0.1


NUMBERS = condition._class_numbers


def first_class_for_none(classes, label, count):
    return NUMBERS(classes, label, count) - 1


@bug("first class taken for none", condition, "_class_numbers", first_class_for_none)
@bug("labels of the first slot", Slots, "of", with_places_of_the_first)
@small_slots()
def test_labels_keep_their_examples():
    """Results under a label equal those of the model of that part with the same noise, also across slots."""
    model, x = labelled_model(), rows(5, n=10)
    for name, part in zip(("left", "7"), PARTS, strict=True):
        places, single = [i for i in range(10) if LABELS_OF_TEN[i] == name], model_of(part)
        for result in (
            lambda m, **label: m.bound(x, seed=3, **label).total,
            lambda m, **label: m.log_prob(x, solver=iw.Fixed(8), **label).value,
            lambda m, **label: m.encode(x, solver=iw.Fixed(8), **label),
            lambda m, **label: m.decode(x, solver=iw.Fixed(8), **label),
            lambda m, **label: m.sample(10, seed=3, **label),
            lambda m, **label: m.sample_from(x, 0.6, seed=3, **label),
            lambda m, **label: m.score(x, 0.4, **label),
        ):
            assert torch.allclose(result(model, label=LABELS_OF_TEN)[places], result(single)[places], atol=1e-10)


def test_without_a_label_the_model_is_that_of_all_data():
    model, unlabelled, x = labelled_model(), model_of(BOTH), rows(5, n=10)
    assert torch.equal(model.bound(x, seed=3).total, unlabelled.bound(x, seed=3).total)
    assert torch.equal(model.sample(10, seed=3), unlabelled.sample(10, seed=3))
    assert torch.equal(model.sample(10, seed=3, label="left", guidance=0), unlabelled.sample(10, seed=3))


def test_encodings_decode_to_the_data_under_their_label():
    model, x = labelled_model(), rows(5, n=6)
    z = model.encode(x, label=LABELS_OF_TEN[:6])
    assert torch.allclose(model.decode(z, label=LABELS_OF_TEN[:6]), x, atol=1e-3)
    assert not torch.allclose(model.decode(z), x, atol=0.1)


def network_model(kind="mlp"):
    condition = {"label": lambda width: iw.nn.LabelEmbedding(2, width)}
    network = trained(iw.MLP(2, width=16, depth=2, condition=condition))
    with torch.no_grad():
        network.embed.condition["label"].table.weight[0] = 0
    return iw.Diffusion(iw.Denoiser(network, iw.Gaussian(iw.CosineSchedule()), "v"), (2,), steps=6, condition=NAMES)


@small_slots()
def test_a_sample_depends_only_on_its_own_label():
    model = network_model()
    few = model.sample(3, seed=1, label=LABELS_OF_TEN[:3], guidance=2.0)
    many = model.sample(10, seed=1, label=LABELS_OF_TEN, guidance=2.0)
    relabelled = model.sample(10, seed=1, label=[*LABELS_OF_TEN[:3], *reversed(LABELS_OF_TEN[3:])], guidance=2.0)
    assert torch.equal(few, many[:3])
    assert torch.equal(relabelled[:3], many[:3])
    assert not torch.equal(relabelled[3:], many[3:])


def test_a_label_changes_the_output_and_number_zero_means_no_label():
    denoiser, x_t = network_model().denoiser, rows(0).float()
    plain, null = denoiser(x_t, 0.5), denoiser(x_t, 0.5, label=torch.zeros(6, dtype=torch.long))
    assert torch.equal(plain.x, null.x)
    each = [denoiser(x_t, 0.5, label=torch.full((6,), k)).x for k in (0, 1, 2)]
    assert all(not torch.allclose(each[a], each[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_names_and_integers_stand_for_classes():
    condition = iw.data.ConditionSpec(("-1", "0", "cat"))
    assert condition.inputs(2, "cat")["label"].tolist() == [3, 3]
    for minus in (-1, "-1", np.int64(-1), torch.tensor(-1), [-1], np.array([-1])):
        assert condition.inputs(1, minus)["label"].tolist() == [1]
    assert condition.inputs(2, ["cat", "0"])["label"].tolist() == [3, 2]
    assert iw.data.ConditionSpec(("False", "True")).inputs(2, [True, False])["label"].tolist() == [2, 1]


def test_only_the_first_twelve_of_many_classes_are_named():
    names = tuple("abcdefghijklm")
    assert iw.data.ConditionSpec(names[:12]).describe() == "a, b, c, d, e, f, g, h, i, j, k, l"
    assert iw.data.ConditionSpec(names).describe() == "a, b, c, d, e, f, g, h, i, j, k, l, … (13 classes)"


@pytest.mark.parametrize("classes", [("a",), ("a", "a"), ("a", "b", "a")])
def test_classes_of_one_name_are_refused(classes):
    with pytest.raises(iw.ConfigError, match="two or more classes"):
        iw.Diffusion(exact("v", torch.zeros(1, 2, dtype=F64)), (2,), condition=iw.data.ConditionSpec(classes))


MODELS = {"labelled": labelled_model, "not": lambda: model_of(BOTH)}
BAD = {
    "unknown": ("labelled", {"label": "right"}, "label: got 'right', need one of left, 7"),
    "a number": ("labelled", {"label": 8}, "label: got '8', need one of left, 7"),
    "too many": (
        "labelled",
        {"label": ["left"] * 4},
        r"label: got labels of shape \(4,\), need one, or one for each of 3",
    ),
    "no labels": ("not", {"label": "left"}, "label: got left, need none: the model was trained without labels"),
    "nothing to guide to": ("labelled", {"guidance": 2.0}, "guidance: got 2.0, need a condition to guide to"),
    "negative": ("labelled", {"label": 7, "guidance": -1.0}, "guidance: got -1.0, need a finite number >= 0"),
    "text": ("labelled", {"label": 7, "guidance": "2"}, "guidance: got 2, need a finite number"),
    "several": ("labelled", {"label": 7, "guidance": [1.0, 2.0]}, "guidance: got"),
    "no number": ("labelled", {"label": 7, "guidance": math.nan}, "guidance: got nan"),
    "infinite": ("labelled", {"label": 7, "guidance": math.inf}, "guidance: got inf"),
    "a list of one": ("labelled", {"label": ["left"]}, r"label: got labels of shape \(1,\)"),
    "a column": ("labelled", {"label": [["left"]] * 3}, r"label: got labels of shape \(3, 1\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_labels_and_guidance_are_refused(case):
    kind, options, message = BAD[case]
    model, x = MODELS[kind](), torch.zeros(3, 2, dtype=F64)
    actions = [lambda: model.sample(3, **options), lambda: model.score(x, 0.5, **options)]
    if "guidance" not in options:
        actions += [lambda f=f: f(x, **options) for f in (model.bound, model.log_prob, model.encode, model.decode)]
    for action in actions:
        with pytest.raises(iw.ConfigError, match=f"^{message}"):
            action()


def test_a_network_without_condition_takes_no_label():
    network = iw.MLP(2, width=8, depth=1)
    with pytest.raises(TypeError, match="label: the network takes no condition"):
        network(torch.zeros(3, 2), torch.zeros(3), label=LABELS[:3])


def test_conditioned_is_the_denoiser_under_its_condition():
    x_t = rows(0)
    denoiser = exact("eps", x_t)
    conditioned = iw.denoise.Conditioned(denoiser, {"label": LABELS, "guidance": 2.0})
    assert conditioned.process is denoiser.process
    assert torch.equal(conditioned(x_t, T).eps, denoiser(x_t, T, label=LABELS, guidance=2.0).eps)


def test_one_label_can_stand_for_all_rows():
    model, x_t = network_model(), rows(0).float()
    conditioned = iw.denoise.Conditioned(model.denoiser, {**model.condition.inputs(1, "7"), "guidance": 2.0})
    assert torch.equal(conditioned(x_t, 0.5).x, model.denoiser(x_t, 0.5, label=torch.full((6,), 2), guidance=2.0).x)


def test_a_label_as_a_factor_equals_the_label_of_the_model():
    model = network_model()
    product = model * iw.Condition(7, guidance=2.0)
    assert torch.equal(product.sample(5, seed=2), model.sample(5, seed=2, label="7", guidance=2.0))
    with pytest.raises(iw.ConfigError, match=r"^log_prob: got a factor that is no function of x"):
        product.unnormalised_log_prob(rows(0))


def test_other_factors_multiply_the_model_under_the_label():
    seen = iw.Observed(np.array([True, False]), np.array([0.3, 0.0]))
    draws = (labelled_model() * seen * iw.Condition("7")).sample(20, seed=0)
    expected = (model_of(PARTS[1]) * seen).sample(20, seed=0)
    assert torch.allclose(draws, expected, atol=1e-10)
    assert not torch.allclose(draws, (labelled_model() * seen).sample(20, seed=0), atol=0.1)


@pytest.mark.parametrize(
    ("kind", "labels", "message"),
    [
        ("labelled", ["right"], "label: got 'right'"),
        ("labelled", ["7", "left"], "condition: got 2 conditions, need one at most"),
        ("not", ["left"], "label: got left, need none"),
    ],
)
def test_labels_that_cannot_multiply_a_model_are_refused(kind, labels, message):
    with pytest.raises(iw.ConfigError, match=f"^{message}"):
        math.prod(map(iw.Condition, labels), start=MODELS[kind]())


def test_places_of_slots_cover_the_examples_once():
    with small_slots():
        slots = list(Slots((2,), torch.device("cpu")).of(10))
    assert torch.cat([slot.places for slot in slots]).tolist() == [*range(10), 9, 9]
    assert [slot.own for slot in slots] == [slice(0, 4), slice(0, 4), slice(0, 2)]
