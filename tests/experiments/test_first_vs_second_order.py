"""The command that compares the orders: what it trains, and that it goes on where it stopped."""

import json
from dataclasses import replace

import pytest

from metalab.__main__ import main
from metalab.experiments import first_vs_second_order
from metalab.experiments.first_vs_second_order import COMPARISONS, Comparison

TINY = Comparison("Tiny", "sine", 4, {"shots": 10, "meta_batch": 2, "inner_lr": 0.02})


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(first_vs_second_order, "COMPARISONS", {"tiny": TINY})
    monkeypatch.setattr(first_vs_second_order, "step_times", lambda comparison: {"maml": 3.0, "fomaml": 2.0})


def test_it_measures_every_training_and_goes_on_where_it_stopped(tiny, tmp_path, capsys, monkeypatch):
    out = tmp_path / "orders.json"
    command = ["orders", "--only", "sine", "--out", str(out)]
    monkeypatch.setattr(first_vs_second_order, "COMPARISONS", {"sine": TINY})
    assert main([*command, "--seeds", "2"]) == 0
    data = json.loads(out.read_text())
    runs = data["comparisons"]["sine"]["runs"]
    done = [(r["algorithm"], r["equal"], r["steps"], r["seed"]) for r in runs]
    each = [("maml", "steps", 4), ("fomaml", "steps", 4), ("fomaml", "time", 6)]
    assert done == [(*kind, seed) for seed in (0, 1) for kind in each]
    assert all(0 < r["error"] < 20 and r["measure"] == "MSE" and r["protocol"]["test tasks"] == 600 for r in runs)
    assert all(r["protocol"]["inner steps"] == 1 for r in runs)  # as trained
    assert data["threads"] == 1
    assert "first order's error is" in capsys.readouterr().out

    data["comparisons"]["sine"]["runs"].pop(2)
    out.write_text(json.dumps(data))
    measured = []
    monkeypatch.setattr(
        first_vs_second_order, "measure", lambda comparison, planned: measured.append(planned) or runs[2]
    )
    assert main([*command, "--seeds", "2"]) == 0
    assert [(p["algorithm"], p["seed"]) for p in measured] == [("fomaml", 0)]


def test_two_that_write_one_file_at_the_same_time_lose_nothing(tiny, tmp_path, capsys, monkeypatch):
    """The second comes while the first measures; a link is another name of the same file."""
    out, link = tmp_path / "orders.json", tmp_path / "link.json"
    link.symlink_to(out)
    told, command = [], ["orders", "--only", "tiny", "--seeds", "2", "--out"]

    def measure(_comparison, planned):
        if not told:
            told.append(main([*command, str(link)]))
        return {**planned, "error": 1.0 + planned["seed"], "measure": "MSE", "seconds": 0.0}

    monkeypatch.setattr(first_vs_second_order, "measure", measure)
    assert main([*command, str(out)]) == 0
    assert told == [2]
    assert f"another process is writing --out {link}: wait for it, or name another file" in capsys.readouterr().err
    assert len(json.loads(out.read_text())["comparisons"]["tiny"]["runs"]) == 6
    assert main([*command, str(link)]) == 0  # it is free again


def test_the_same_seed_gives_the_same_error_and_another_gives_another():
    planned = {"algorithm": "fomaml", "equal": "steps", "steps": 4, "seed": 3}
    first, again = first_vs_second_order.measure(TINY, planned), first_vs_second_order.measure(TINY, planned)
    other = first_vs_second_order.measure(TINY, planned | {"seed": 4})
    assert first["error"] == again["error"] != other["error"]


def test_settings_that_another_file_was_measured_with_are_not_mixed(tiny, tmp_path, capsys):
    out = tmp_path / "orders.json"
    about = first_vs_second_order.about(replace(TINY, steps=5))
    out.write_text(json.dumps({"comparisons": {"tiny": about | {"step_ms": {}, "runs": []}}}))
    with pytest.raises(ValueError, match="other settings: name another --out"):
        first_vs_second_order.start(out)
    out.write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        first_vs_second_order.start(out)


@pytest.mark.parametrize(("option", "value"), [("--seeds", "1"), ("--seeds", "21"), ("--first-seed", "-1")])
def test_impossible_numbers_are_refused(option, value, tmp_path, capsys):
    assert main(["orders", option, value, "--out", str(tmp_path / "o.json")]) == 2
    assert f"{option} {value} must be" in capsys.readouterr().err


def test_a_divergence_is_recorded():
    wild = replace(TINY, given=TINY.given | {"inner_lr": 1e18})
    found = first_vs_second_order.measure(wild, {"algorithm": "maml", "equal": "steps", "steps": 4, "seed": 0})
    assert found["diverged_after"] < 4
    assert "diverged_after" not in first_vs_second_order.measure(
        TINY, {"algorithm": "maml", "equal": "steps", "steps": 4, "seed": 0}
    )


# What is compared


@pytest.mark.parametrize("name", COMPARISONS)
def test_orders_differ_in_nothing_but_the_order(name):
    first, second = (COMPARISONS[name].settings(algorithm, 100, 3) for algorithm in ("fomaml", "maml"))
    assert replace(first, algorithm="maml") == second
    assert replace(first.learner(), order=2) == second.learner()
    assert first.learner().order == 1
    assert first.seed == 3


def test_outer_rates_fall_to_zero_in_a_straight_line():
    settings = TINY.settings("maml", 4, 0)
    training = first_vs_second_order.trainer(settings)
    assert [training.outer_lr(n) / settings.outer_lr for n in (1, 3, 5)] == [1.0, 0.5, 0.0]


def test_step_times_are_of_both_orders(monkeypatch):
    monkeypatch.setattr(first_vs_second_order, "TIMED", 3)
    times = first_vs_second_order.step_times(TINY)
    assert set(times) == {"maml", "fomaml"}
    assert all(ms > 0 for ms in times.values())


# What was found


def measured(first, second):
    def runs(algorithm, values):
        return [{"algorithm": algorithm, "equal": "steps", "seed": i, "error": e} for i, e in enumerate(values)]

    return {"runs": runs("fomaml", first) + runs("maml", second)}


def test_errors_are_compared_between_trainings_of_the_same_seed():
    # Seeds differ tenfold, and orders by exactly a half: without pairs the interval would be wide.
    found = first_vs_second_order.verdict(measured([1.5, 15.0, 0.15], [1.0, 10.0, 0.1]), "steps")
    assert (found.ratio.mean, found.ratio.low, found.ratio.high) == pytest.approx((1.5, 1.5, 1.5))
    assert str(found) == "more errors, by more than matters"
