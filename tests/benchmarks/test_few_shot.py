"""The command that compares lesson 2's learners over seeds: what it trains, what it keeps, and how it goes on."""

import json

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import few_shot
from metalab.learners import FineTuning
from metalab.lessons.omniglot_few_shot import concepts, solutions
from metalab.nets import Conv4
from metalab.tasks import glyphs, omniglot


@pytest.fixture
def no_omniglot(monkeypatch):
    def load():
        return glyphs.draw(alphabets=7, seed=0), glyphs.draw(alphabets=2, seed=1)

    monkeypatch.setattr(omniglot, "load", load)


def measure(file, *more):
    return command.main(["few-shot", "--quick", "--json", str(file), *more])


def test_every_kind_is_trained_and_tested_in_all_its_ways(no_omniglot, tmp_path, capsys):
    file = tmp_path / "measured.json"
    assert measure(file, "--seeds", "1", "--first-seed", "7") == 0
    found = json.loads(file.read_text())
    assert [(run["training"], run["seed"]) for run in found["runs"]] == [(name, 7) for name in few_shot.settings(10)]
    for run in found["runs"]:
        assert all(0 <= accuracy <= 1 for accuracy in run["validation"].values())
        assert f"{run['training']}, seed 7: " in capsys.readouterr().out or run is not found["runs"][0]
    assert concepts.accuracies(found, "classifier", "nearest mean").shape == (1,)
    with pytest.raises(ValueError, match="were not measured"):
        concepts.accuracies(found, "prototypical", "last layer fine-tuned")


def test_it_goes_on_where_it_stopped(no_omniglot, tmp_path, monkeypatch):
    file, trained = tmp_path / "measured.json", []
    honest = few_shot.measure

    def counted(name, *arguments):
        trained.append(name)
        return honest(name, *arguments)

    monkeypatch.setattr(few_shot, "measure", counted)
    measure(file, "--seeds", "1", "--training", "prototypical")
    measure(file, "--seeds", "2", "--training", "prototypical")
    assert trained == ["prototypical"] * 2
    assert [run["seed"] for run in json.loads(file.read_text())["runs"]] == [100, 101]


def test_a_file_that_was_measured_in_another_way_is_kept(no_omniglot, tmp_path, capsys):
    file = tmp_path / "measured.json"
    file.write_text(json.dumps({"quick": False, "episodes": 600, "runs": []}))
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
    assert not found["quick"]
    assert found["episodes"] == few_shot.EPISODES
    for training in few_shot.settings(1):
        assert len({run["seed"] for run in found["runs"] if run["training"] == training}) >= 3


def test_the_last_layer_is_fine_tuned_as_the_learner_does(no_omniglot):
    characters, _test = omniglot.load()
    generator = torch.Generator().manual_seed(0)
    pictures, _labels = characters.batch(50, generator)
    learner = FineTuning(
        Conv4(7, channels=few_shot.WIDE), inner_lr=few_shot.HEAD_LR, inner_steps=few_shot.HEAD_STEPS, body=False
    )
    params = learner.init(generator)
    body = {name: p for name, p in params.items() if name not in ("head", "bias")}
    stats = few_shot.EMBEDDING.statistics(body, pictures)
    episode = characters.sample(3, 5, 2, 2, generator)
    expected = learner.with_statistics(params, pictures).predict(params, episode)
    torch.testing.assert_close(few_shot.last_layer(body, stats, episode), expected, rtol=1e-3, atol=1e-4)


def test_mamls_seeds_are_copied_from_a_speed_run(no_omniglot, tmp_path):
    runs = [
        {"learner": learner, "setting": setting, "seed": seed, "validation": value}
        for learner, setting, seed, value in [
            *[
                ("maml", "best", 1, 0.9),
                ("maml", "lessons", 1, 0.7),
                ("maml", "best", 0, 0.8),
                ("maml", "lessons", 0, 0.6),
            ],
            *[("maml", "best, longer", 0, 0.95), ("prototypical", "best", 0, 0.99)],
        ]
    ]
    other, file = tmp_path / "speed.json", tmp_path / "measured.json"
    other.write_text(json.dumps({"runs": runs}))
    assert measure(file, "--seeds", "1", "--training", "prototypical", "--speedrun", str(other)) == 0
    assert json.loads(file.read_text())["speedrun"] == {"lessons": [0.6, 0.7], "best": [0.8, 0.9]}


def test_what_comes_with_the_lesson_says_what_its_text_says():
    def of(training, tested):
        return 100 * concepts.accuracies(concepts.measured(), training, tested)

    def difference(a, b):
        mean, half_width = solutions.paired_difference(a, b, concepts.student())
        return mean.item(), half_width.item()

    def excludes_zero(found):
        return found[0] > found[1]

    proto, mean, layer = (
        of(*which)
        for which in [
            ("prototypical", "nearest mean"),
            ("classifier", "nearest mean"),
            ("classifier", "last layer fine-tuned"),
        ]
    )
    assert excludes_zero(difference(proto, mean))
    assert excludes_zero(difference(proto, layer))
    assert abs(difference(layer, mean)[0]) < difference(layer, mean)[1]  # undecided
    assert [round(100 - each.mean().item()) for each in (proto, mean)] == [5, 13]  # errors in 100 queries

    way = "transductive, 1 query a class"
    leak = difference(of("MAML", way), of("MAML, inductive", "inductive"))
    mismatch = difference(of("MAML, inductive", "inductive"), of("MAML", "inductive"))
    assert excludes_zero(leak)
    assert 3.5 < leak[0] < 4
    assert -1.1 < mismatch[0] - mismatch[1] < 0 < mismatch[0] + mismatch[1] < 1.1

    old, new = (100 * torch.tensor(concepts.measured()["speedrun"][name]) for name in ("lessons", "best"))
    assert difference(new, old) == pytest.approx((3.7, 0.5), abs=0.1)
    assert difference(of("MAML", way), of("MAML, α = 0.4", way))[0] == pytest.approx(3.9, abs=0.1)
    assert excludes_zero(difference(of("MAML", way), of("MAML, α = 0.4", way)))
    assert excludes_zero(difference(of("MAML", way), of("MAML, characters of any alphabets", way)))
    assert of("MAML", way).mean() > 94
