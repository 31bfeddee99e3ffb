"""The command that measures on a GPU runs from end to end without one, and its checks can fail."""

import json

import pytest
import torch

from benchmarks import __main__ as benchmarks
from benchmarks import gpu, report
from metalab import train
from metalab.experiments import settings
from metalab.tasks import glyphs

CPU = torch.device("cpu")


@pytest.fixture
def characters(monkeypatch):
    """Glyphs in place of Omniglot."""
    found = glyphs.draw(alphabets=10, seed=0), glyphs.draw(alphabets=5, seed=1)
    monkeypatch.setattr(settings.omniglot, "load", lambda *_, **_side: found)
    return found[0]


def test_the_whole_command_runs_on_a_cpu(characters, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")  # compiling takes half a minute; see tests/test_train.py
    words = ["gpu", "--device", "cpu", "--quick", "--out", str(tmp_path)]
    assert benchmarks.main(words) == 0
    files = {name: json.loads((tmp_path / f"{name}-cpu.json").read_text()) for name in gpu.FILES}
    assert all(data["quick"] and data["machine"]["device"] == "cpu" for data in files.values())
    assert all(found["passed"] for found in files["check"]["checks"])
    assert len(files["check"]["checks"]) > 60
    assert files["bench"]["works"].keys() == files["kernels"]["works"].keys() == gpu.meta_step.WORKS.keys()
    assert {path.stem for path in (tmp_path / "runs").iterdir()} == {f"{name}_cpu" for name in gpu.ROWS}
    # The results page can show them.
    for path in (*tmp_path.glob("*.json"), *tmp_path.glob("runs/*.json")):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"quick": False}))
    text = report.page(report.Measurements.read(tmp_path))
    checks = len(files["check"]["checks"])
    assert f"{checks} of {checks} checks passed." in text
    assert "where the time of a meta-step goes" in text
    # A second time, trainings that are done are not repeated.
    capsys.readouterr()
    assert benchmarks.main([*words, "--part", "table"]) == 0
    assert "step 1/2" not in capsys.readouterr().out


@pytest.mark.parametrize(("what", "call", "error"), [("float64", 2, 1e-8), ("float32", 3, 1e-3)])
def test_a_gradient_that_differs_is_seen(what, call, error, characters, monkeypatch):
    """The exact gradient is computed first, then those of the device in float64 and in float32."""
    name, small = next(gpu.small_settings())
    kind, calls = type(small.learner()), []
    plain = kind.meta_gradient

    def gradient(self, params, batch):
        found, metrics = plain(self, params, batch)
        calls.append(1)
        return {n: g * (1 + error * (len(calls) == call)) for n, g in found.items()}, metrics

    monkeypatch.setattr(kind, "meta_gradient", gradient)
    checks = gpu.Checks()
    gpu.everyone(checks, name, small, characters, characters, CPU)
    assert [f"meta-gradient, {what}" in found["check"] for found in checks.found if not found["passed"]] == [True]


def test_a_divergence_that_is_not_noticed_is_seen(characters, monkeypatch):
    monkeypatch.setattr(train.math, "isfinite", lambda _: True)
    checks = gpu.Checks()
    gpu.of_the_recording(checks, characters, CPU)
    assert [found["check"] for found in checks.found if not found["passed"]] == [
        "a divergence is noticed and taken back (0: yes)"
    ]


def test_a_check_that_breaks_off_has_failed(capsys):
    checks = gpu.Checks()
    checks.most("this", 1, lambda: 1 / 0)
    checks.most("that", 1, lambda: float("nan"))
    checks.most("one", 1, lambda: 0.5)
    assert [found["passed"] for found in checks.found] == [False, False, True]
    assert checks.found[0]["value"] == "ZeroDivisionError: division by zero"
    assert "FAILED  this" in capsys.readouterr().out


def test_without_a_gpu_the_command_says_what_to_do(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert benchmarks.main(["gpu"]) == 2
    assert "PyTorch finds no GPU here; try the command out with --device cpu --quick" in capsys.readouterr().err


def test_the_help_lists_every_command(capsys):
    with pytest.raises(SystemExit, match="0"):
        benchmarks.main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"    {name} " in shown for name in benchmarks.COMMANDS)


def test_a_command_whose_packages_are_missing_leaves_the_others_alone(monkeypatch, capsys):
    def missing(name):
        raise ModuleNotFoundError("No module named 'ipywidgets'", name="ipywidgets")

    monkeypatch.setattr(benchmarks, "import_module", missing)
    assert benchmarks.main(["panels"]) == 2
    assert "panels needs a package that is not installed here: ipywidgets" in capsys.readouterr().err
