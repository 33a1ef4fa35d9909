"""Two-sample tests where the answer is known, equal laws and shifted ones, and the floor of a distance."""

import numpy as np
import pytest
import scipy.stats
from bugs import bug

import inkwash as iw
from inkwash.evaluation import metrics
from inkwash.evaluation.metrics import two_sample_test


def normal(seed, n=60, size=2, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1.0, (n, size))


def test_a_shift_is_detected():
    result = two_sample_test(normal(0), normal(1, shift=1.5), shuffles=9)
    assert result.p_value == pytest.approx(0.1)
    assert result.accuracy > result.null_high > result.null_mean
    assert result.accuracy > 0.7


def test_a_dependence_without_a_shift_is_detected():
    """Same marginals, another correlation: what a test of means or variances cannot see."""
    x = normal(0, n=120)
    y = normal(1, n=120)
    y[:, 1] = 0.95 * y[:, 0] + (1 - 0.95**2) ** 0.5 * y[:, 1]
    assert two_sample_test(x, y, shuffles=9).p_value == pytest.approx(0.1)


@pytest.mark.slow
def test_equal_laws_pass():
    p_values = [two_sample_test(normal(2 * k), normal(2 * k + 1), seed=k, shuffles=4).p_value for k in range(4)]
    assert 0.3 < np.mean(p_values) < 0.95


@pytest.mark.slow
def test_p_values_are_uniform_for_equal_laws():
    """With 9 shuffles a p-value takes each of 0.1, 0.2 … 1 with the same chance."""
    p_values = [
        two_sample_test(normal(2 * k, 30), normal(2 * k + 1, 30), seed=k, shuffles=9).p_value for k in range(60)
    ]
    counts = np.bincount(np.rint(np.array(p_values) * 10).astype(int), minlength=11)[1:]
    halves = counts[:5].sum(), counts[5:].sum()
    assert scipy.stats.binomtest(int(halves[0]), 40).pvalue > 0.01
    assert scipy.stats.binomtest(int(counts[0]), 40, 0.1, alternative="greater").pvalue > 0.01


def test_the_test_repeats_itself_and_balances_its_samples():
    a, b = normal(0, 90).reshape(90, 1, 2), normal(1, 40).reshape(40, 1, 2)
    first, second = (two_sample_test(a, b, seed=3, shuffles=2) for _ in range(2))
    assert first == second
    assert first.per_sample == 40


def test_a_result_is_what_its_shuffles_say(monkeypatch):
    """Of twenty shuffles one is as accurate as the truth and one more so; nineteen are no more accurate."""
    accuracies = iter([0.5, *[0.3] * 9, 0.5, *[0.4] * 9, 0.9])
    monkeypatch.setattr(metrics, "_out_of_bag_accuracies", lambda x, tasks: [next(accuracies) for _ in tasks])
    result = two_sample_test(normal(0, 12), normal(1, 12), shuffles=20)
    assert (result.accuracy, result.null_mean) == (0.5, pytest.approx((0.3 * 9 + 0.4 * 9 + 0.5 + 0.9) / 20))
    assert result.p_value == pytest.approx(3 / 21)
    assert 0.5 <= result.null_high < 0.9


@pytest.mark.parametrize("seed", [2**32 - 1, 2**32, 2**62])
def test_any_seed_will_do(seed):
    assert two_sample_test(normal(0, 12), normal(1, 12), seed=seed, shuffles=1).per_sample == 12


def test_too_few_examples_are_refused():
    with pytest.raises(iw.ConfigError, match="at least 10"):
        two_sample_test(normal(0, 9), normal(1, 50))


@bug(
    "a floor of samples",
    metrics,
    "with_floor",
    lambda measure, samples, train, held_out: (measure(samples, held_out), measure(samples[::2], held_out)),
)
def test_a_floor_knows_nothing_of_samples():
    """Samples far off, and more data than samples: the floor is that of equal laws at the size of the smallest."""
    apart = lambda a, b: float(abs(a.mean() - b.mean())) + 1000 * len(a)  # noqa: E731
    samples, train, held_out = normal(0, 30, shift=50.0), normal(1, 70, shift=3.0), normal(2, 40, shift=3.0)
    found, floor = metrics.with_floor(apart, samples, train, held_out)
    assert 30046 < found < 30048
    assert floor == apart(train[:30], held_out[:30]) < 30001
