"""What is known of the data is found once for two models, and again for other data."""

import json

import numpy as np
import pytest
from faults import tiny

from inkwash.core.config import EvaluateConfig, SamplingConfig
from inkwash.evaluation import utility
from inkwash.evaluation.compare import compare
from inkwash.evaluation.evaluate import evaluate
from inkwash.evaluation.known import Known
from inkwash.training import run as runs
from inkwash.training.fit import fit


def test_results_are_those_of_the_values():
    known, calls, x = Known(), [], np.arange(6.0)
    for what, data in (("a", [x]), ("a", [x.copy()]), ("b", [x]), ("a", [x + 1]), ("a", [x[:5], x[5:]]), ("a", [x])):
        known.of(what, data, lambda what=what, data=data: calls.append((what, len(data))))
    assert calls == [("a", 1), ("b", 1), ("a", 1), ("a", 2)]


@pytest.mark.usefixtures("quick_evaluation")
def test_a_comparison_finds_what_is_of_the_data_once_and_the_same(tmp_path, monkeypatch):
    """The second evaluation is what it is alone."""
    rows = "\n".join(f"{a:.3f},{b:.3f},{'xy'[int(a > 0)]}" for a, b in np.random.default_rng(0).normal(size=(90, 2)))
    (tmp_path / "data.csv").write_text(f"a,b,c\n{rows}\n")
    for name, steps in (("a", 1), ("b", 2)):
        fit(tiny(tmp_path / "data.csv", steps=steps), tmp_path / name, report=False)
    config = EvaluateConfig(examples=16, bound_terms=2, sampling=SamplingConfig(steps=3), imputed=0)
    alone = evaluate(tmp_path / "b", config)
    counts = {"read": 0, "learned": 0}

    def counted(name, of):
        def call(*arguments, **options):
            counts[name] += 1
            return of(*arguments, **options)

        return call

    monkeypatch.setattr(runs, "load_dataset", counted("read", runs.load_dataset))
    monkeypatch.setattr(utility, "_predict", counted("learned", utility._predict))
    compare(tmp_path / "a", tmp_path / "b", config, out=tmp_path / "out")
    assert counts == {"read": 2, "learned": 3}
    assert json.loads((tmp_path / "b" / "evaluation" / "evaluation.json").read_text()) == alone
