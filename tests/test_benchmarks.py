"""The benchmark of GPUs runs to its end without one."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
def test_the_benchmark_of_gpus_runs_on_a_cpu_in_a_small_form(monkeypatch, tmp_path, capsys):
    """The losses of bfloat16 are close to those of float32, and each mode has figures that agree with one another."""
    spec = importlib.util.spec_from_file_location("gpu", BENCHMARKS / "gpu.py")
    gpu = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gpu)
    figures = tmp_path / "figures.json"
    words = "--device cpu --eager --width 8 --batch 2 --turns 1 --peers --json"
    monkeypatch.setattr(sys, "argv", ["gpu.py", *words.split(), str(figures)])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.count("within") == 2
    results = json.loads(figures.read_text())
    assert [(each["network"], each["mode"]) for each in results] == [("inkwash", "fp32"), ("inkwash", "bf16")]
    for each in results:
        assert each["step_ms"] * each["trained_per_s"] == pytest.approx(2000)
        assert each["samples_per_s"] > 0
