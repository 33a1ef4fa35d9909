"""What a training run leaves beside its checkpoints: metrics, the held-out bound, and what it does about a stop."""

import itertools
import json
import math
import os
import signal

import numpy as np
import pytest
from faults import STEPS, run_cli, tiny, train_words, without_pictures

from inkwash.core.errors import CheckpointError
from inkwash.data import pictures
from inkwash.training.fit import fit
from inkwash.training.run import load
from inkwash.training.summary import Summary

# Metrics


def test_metrics_have_a_line_per_step_and_the_held_out_loss_where_it_was_looked_at(data, tmp_path, quick):
    lines = fit(tiny(data, monitor_every=5), tmp_path / "run").metrics()
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert [line["step"] for line in lines if "held_out_loss" in line] == [5, 10, 12]
    assert all(math.isfinite(line["loss"]) and line["grad_norm"] > 0 for line in lines)
    assert all(a["seconds"] <= b["seconds"] for a, b in itertools.pairwise(lines))


def test_a_line_of_metrics_is_the_mean_since_the_last(data, tmp_path, quick):
    each = fit(tiny(data), tmp_path / "each").metrics()
    some = fit(tiny(data, log_every=4), tmp_path / "some").metrics()
    assert [line["step"] for line in some] == [4, 8, 12]
    for i, line in enumerate(some):
        assert line["loss"] == pytest.approx(np.mean([other["loss"] for other in each[4 * i : 4 * i + 4]]))


# The summary


def test_the_stored_bound_is_that_of_the_loaded_model(data, tmp_path, quick):
    run = fit(tiny(data), tmp_path / "run")
    summary = json.loads((run.path / "summary.json").read_text())
    held_out = run.dataset().data[run.split()[1]][: summary["held_out_bound"]["examples"]]
    bound = load(run.path).bound(held_out, terms=summary["bound_terms"])
    assert float(bound.total.mean()) == pytest.approx(summary["held_out_bound"]["total"], rel=1e-5)


def test_a_summary_is_read_as_it_was_written(finished_run):
    """Also the one of a run without conditions, which leaves their bound out."""
    plain = json.loads((finished_run / "summary.json").read_text())
    assert list(plain) == ["held_out_bound", "bound_terms", "seconds"]
    assert Summary.read(finished_run / "summary.json").to_json() == plain


@pytest.mark.parametrize("damage", ["[]", "{}", '{"held_out_bound": 3, "seconds": 1.0}', '{"seconds": 1.0'])
def test_a_damaged_summary_is_refused(data, copy, damage):
    (copy / "summary.json").write_text(damage)
    with pytest.raises(CheckpointError, match=r"summary\.json: got .*, need the file as inkwash wrote it"):
        fit(tiny(data), copy)


def test_a_run_stopped_while_concluding_concludes_later(data, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        without_pictures(patch)
        patch.setattr(pictures, "save_curve", lambda *given: os.kill(os.getpid(), signal.SIGINT))
        assert run_cli(train_words(data, tmp_path / "run")) == 130
    assert not (tmp_path / "run" / "summary.json").exists()
    assert run_cli(train_words(data, tmp_path / "run")) == 0
    assert (tmp_path / "run" / "curve.png").exists()
