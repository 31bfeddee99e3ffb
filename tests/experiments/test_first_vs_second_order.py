"""The command that compares the orders: what it trains, that it goes on, and what its intervals say."""

import json
from dataclasses import replace

import pytest
import torch

from metalab.__main__ import main
from metalab.experiments import first_vs_second_order
from metalab.experiments.first_vs_second_order import COMPARISONS, Comparison, Interval
from metalab.learners.meta_sgd import RATE
from metalab.learners.sparse_maml import GATE
from metalab.optim import Adam, Descent

TINY = Comparison(
    "Tiny", "sine", ("maml", "fomaml", "meta_sgd", "reptile"), 4, {"shots": 10, "meta_batch": 2}, {"inner_lr": 0.02}
)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(first_vs_second_order, "COMPARISONS", {"tiny": TINY})
    monkeypatch.setattr(
        first_vs_second_order,
        "step_times",
        lambda comparison: {"maml": 3.0, "fomaml": 2.0, "meta_sgd": 3, "reptile": 4},
    )


def test_it_measures_every_training_and_goes_on_where_it_stopped(tiny, tmp_path, capsys, monkeypatch):
    out = tmp_path / "orders.json"
    command = ["orders", "--only", "sine", "--out", str(out)]
    monkeypatch.setattr(first_vs_second_order, "COMPARISONS", {"sine": TINY})
    assert main([*command, "--seeds", "2"]) == 0
    data = json.loads(out.read_text())
    runs = data["comparisons"]["sine"]["runs"]
    done = [(r["algorithm"], r["equal"], r["steps"], r["seed"]) for r in runs]
    each = [("maml", "steps", 4), ("fomaml", "steps", 4), ("fomaml", "time", 6), ("meta_sgd", "steps", 4)]
    each.append(("reptile", "steps", 4))
    assert done == [(*kind, seed) for seed in (0, 1) for kind in each]
    assert all(0 < r["error"] < 20 and r["measure"] == "MSE" and r["protocol"]["test tasks"] == 600 for r in runs)
    assert [r["protocol"]["inner steps"] for r in runs[:5]] == [1, 1, 1, 1, 10]  # as trained; Reptile as in its tests
    assert data["threads"] == 1
    assert "first order's error is" in capsys.readouterr().out

    data["comparisons"]["sine"]["runs"].pop(3)
    out.write_text(json.dumps(data))
    measured = []
    monkeypatch.setattr(
        first_vs_second_order, "measure", lambda comparison, planned: measured.append(planned) or runs[3]
    )
    assert main([*command, "--seeds", "2"]) == 0
    assert [(p["algorithm"], p["seed"]) for p in measured] == [("meta_sgd", 0)]


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
    assert len(json.loads(out.read_text())["comparisons"]["tiny"]["runs"]) == 10
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
    wild = replace(TINY, given={"inner_lr": 1e18})
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


def test_every_other_algorithm_is_in_a_table_for_either_kind_of_tasks():
    in_full = [c for c in COMPARISONS.values() if c.algorithms == first_vs_second_order.EVERYONE]
    assert {c.tasks for c in in_full} == {"sine", "omniglot"}


def test_outer_rates_fall_to_zero_in_a_straight_line():
    settings = TINY.settings("maml", 4, 0)
    training = first_vs_second_order.trainer(settings)
    assert [training.outer_lr(n) / settings.outer_lr for n in (1, 3, 5)] == [1.0, 0.5, 0.0]
    assert isinstance(training._optimizer, Adam)
    assert isinstance(first_vs_second_order.trainer(TINY.settings("reptile", 4, 0))._optimizer, Descent)


def test_step_times_are_of_every_algorithm(monkeypatch):
    monkeypatch.setattr(first_vs_second_order, "TIMED", 3)
    times = first_vs_second_order.step_times(TINY)
    assert list(times) == list(TINY.algorithms)
    assert all(ms > 0 for ms in times.values())


def test_what_was_learned_is_told_by_layer():
    params = {
        "w": torch.zeros(3),
        RATE + "w": torch.arange(101.0),
        GATE + "b": torch.tensor([-1.0, 0.0, 2.0, 3.0]),
    }
    assert first_vs_second_order.learned(params) == {"rates": {"w": [5, 25, 50, 75, 95]}, "open": {"b": 0.75}}
    assert first_vs_second_order.learned({"w": torch.zeros(3)}) == {}


# What the intervals say


def measured(first, second):
    def runs(algorithm, values):
        return [{"algorithm": algorithm, "equal": "steps", "seed": i, "error": e} for i, e in enumerate(values)]

    return {"runs": runs("fomaml", first) + runs("maml", second)}


def test_ratio_is_between_trainings_of_the_same_seed():
    # Seeds differ tenfold, and orders by exactly a half: without pairs the interval would be wide.
    found = first_vs_second_order.ratio(measured([1.5, 15.0, 0.15], [1.0, 10.0, 0.1]), "steps")
    assert (found.mean, found.low, found.high) == pytest.approx((1.5, 1.5, 1.5))


@pytest.mark.parametrize(
    ("interval", "says"),
    [
        ((1.5, 1.3, 1.7), "first order clearly loses"),
        ((0.7, 0.6, 0.8), "first order clearly wins"),
        ((1.0, 0.9, 1.1), "a tie"),
        ((1.1, 1.05, 1.15), "a tie"),  # different, but by little
        ((1.0, 0.5, 2.0), "undecided"),  # contains 1, and shows nothing
        ((1.4, 1.1, 1.7), "undecided"),
    ],
)
def test_verdicts(interval, says):
    assert first_vs_second_order.verdict(Interval(*interval)) == says
