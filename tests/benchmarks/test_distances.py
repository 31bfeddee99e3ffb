"""The command that compares lesson 3's learners over seeds: what it trains, what it keeps, and how it goes on."""

import json

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import distances
from metalab.lessons.siamese_contrastive_loss import concepts
from metalab.tasks import Characters, omniglot


@pytest.fixture
def no_omniglot(monkeypatch):
    """Noise in alphabets of 24 characters, of which two are for validation."""
    generator = torch.Generator().manual_seed(0)

    def load():
        images = torch.randint(0, 256, (24 * 12, 8, 28, 28), generator=generator, dtype=torch.uint8)
        names = tuple(f"alphabet {i}" for i in range(12))
        drawn = Characters(images, torch.arange(24 * 12) // 24, names, "noise")
        return drawn, drawn

    monkeypatch.setattr(omniglot, "load", load)


def measure(file, *more):
    return command.main(["distances", "--quick", "--json", str(file), *more])


def test_the_best_rate_is_chosen_and_then_other_seeds_are_trained(no_omniglot, tmp_path, monkeypatch):
    file = tmp_path / "measured.json"
    monkeypatch.setattr(distances, "STEERED", {})
    assert measure(file, "--seeds", "2", "--learner", "contrastive", "Koch, both") == 0
    found = json.loads(file.read_text())
    assert [(r["learner"], r["rate"]) for r in found["tuning"]] == [
        *(("contrastive", rate) for rate in distances.RATES),
        *(("Koch, both", rate) for rate in distances.KOCH_RATES),
    ]
    assert all("test" not in run for run in found["tuning"]), "no choice sees the test alphabets"
    assert distances.TUNING_SEED not in {run["seed"] for run in found["runs"]}
    for run in found["runs"]:
        same = [r for r in found["tuning"] if r["learner"] == distances.tuned_as(run["learner"])]
        best = max(r["validation"][distances.CHOSEN_BY] for r in same)
        assert best == next(r for r in same if r["rate"] == run["rate"])["validation"][distances.CHOSEN_BY]
        assert run["validation"].keys() == run["test"].keys() == distances.KINDS.keys()
    assert concepts.accuracies(found, "Koch, both", "5-way, one", "test").shape == (2,)
    with pytest.raises(ValueError, match="were not measured"):
        concepts.accuracies(found, "matching", "5-way, any")


def test_it_goes_on_where_it_stopped(no_omniglot, tmp_path, monkeypatch):
    file, trained = tmp_path / "measured.json", []
    monkeypatch.setattr(distances, "STEERED", {})
    honest = distances.measure

    def counted(name, *arguments, **options):
        trained.append((name, arguments[1]))
        return honest(name, *arguments, **options)

    monkeypatch.setattr(distances, "measure", counted)
    measure(file, "--seeds", "1", "--learner", "prototypical")
    measure(file, "--seeds", "2", "--learner", "prototypical")
    assert trained == [("prototypical", seed) for seed in (99, 99, 99, 0, 1)]


def test_the_panel_is_steered_as_the_lesson_asks(no_omniglot, tmp_path, monkeypatch):
    monkeypatch.setattr(distances, "MARKS", (2, 4))
    script = {2: {"margin": 0.0}, 3: {"outer_lr": 1.0}}
    found = distances.steer(*omniglot.load(), 0, script, most=4)
    assert found["loss"].keys() == found["apart"].keys() == found["filters"].keys() == {"2", "4"}
    assert found["filters"]["4"] > 2 * found["filters"]["2"], "a rate of 1 makes the filters long"


def test_a_file_that_was_measured_in_another_way_is_kept(tmp_path, capsys):
    file = tmp_path / "measured.json"
    file.write_text(json.dumps({"steps": 3, "episodes": 600, "runs": []}))
    before = file.read_text()
    assert measure(file, "--seeds", "1") != 0
    assert "was measured in another way" in capsys.readouterr().err
    assert file.read_text() == before


@pytest.mark.parametrize("option", ["--seeds", "--threads"])
def test_less_than_one_is_refused(option, tmp_path, capsys):
    assert measure(tmp_path / "x.json", option, "0") != 0
    assert f"{option} 0 must be at least 1" in capsys.readouterr().err


def test_what_comes_with_the_lesson_was_measured_in_full():
    found = concepts.measured()
    assert (found["steps"], found["episodes"]) == (distances.STEPS, distances.EPISODES)
    seeds = {name: [run["seed"] for run in found["runs"] if run["learner"] == name] for name in concepts.COMPARED}
    assert len(seeds["contrastive"]) >= 3
    assert all(sorted(each) == sorted(seeds["contrastive"]) for each in seeds.values()), "differences are by seed"
    assert all("test" in run for run in found["runs"])
    assert {run["script"] for run in found["steered"]} == distances.STEERED.keys()
    for name in concepts.COMPARED:
        tried = [run for run in found["tuning"] if run["learner"] == distances.tuned_as(name)]
        assert len(tried) >= 3
        rates = {run["rate"] for run in found["runs"] if run["learner"] == name}
        assert rates == {distances.best_rate(found["tuning"], distances.tuned_as(name))}
