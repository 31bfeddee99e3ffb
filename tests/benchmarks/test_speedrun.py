"""The speed run: what its clock counts, when a level is reached, and that it can be written and read."""

import json
import re
from dataclasses import replace

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import speedrun
from metalab.tasks import Characters, glyphs, omniglot

CPU = torch.device("cpu")


@pytest.fixture
def no_omniglot(monkeypatch):
    def load():
        return glyphs.draw(alphabets=7, seed=0), glyphs.draw(alphabets=2, seed=1)

    monkeypatch.setattr(omniglot, "load", load)


@pytest.mark.parametrize(
    ("accuracies", "when"),
    [
        ([0.8, 0.9, 0.95], 2.0),  # at the level is reached
        ([0.95, 0.8, 0.9], 3.0),  # a lucky test does not count
        ([0.95, 0.95, 0.8], None),  # nor a training that ends below
        ([0.9, 0.9, 0.9], 1.0),
    ],
)
def test_a_level_is_reached_where_no_later_test_is_below(accuracies, when):
    assert speedrun.reached([[float(i), a] for i, a in enumerate(accuracies, start=1)], 0.9) == when


def test_every_setting_trains_and_is_written(no_omniglot, tmp_path, capsys):
    file = tmp_path / "speed.json"
    assert command.main(["speedrun", "--quick", "--seeds", "2", "--first-seed", "3", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    trained = [(run["seed"], run["learner"], run["setting"]) for run in found["runs"]]
    settings = [(learner, name) for learner, of in speedrun.SETTINGS.items() for name in of]
    assert trained == [(seed, *which) for seed in (3, 4) for which in settings]  # in turn
    for run in found["runs"]:
        assert 0 < run["curve"][0][0] < run["curve"][-1][0] == run["seconds"]
        assert all(0 <= run[part] <= 1 for part in ("validation", "test"))
    printed = capsys.readouterr().out
    assert all(f"{learner}, {name}: 4 steps in " in printed for learner, name in settings)


def test_what_was_measured_is_kept_after_each_training(no_omniglot, tmp_path, monkeypatch):
    file, honest = tmp_path / "speed.json", speedrun.train

    def stops_at_the_second(*arguments, **more):
        if file.exists():
            raise KeyboardInterrupt
        return honest(*arguments, **more)

    monkeypatch.setattr(speedrun, "train", stops_at_the_second)
    command.main(["speedrun", "--quick", "--learner", "prototypical", "--json", str(file)])
    assert [run["setting"] for run in json.loads(file.read_text())["runs"]] == ["lessons"]


def test_the_clock_stands_still_during_tests(no_omniglot, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(speedrun.time, "perf_counter", lambda: now[0])
    honest = speedrun.score

    def slow(*arguments, **more):
        now[0] += 1000.0
        return honest(*arguments, **more)

    class Timed(speedrun.Trainer):
        def __init__(self, *arguments, **more):
            now[0] += 5.0
            super().__init__(*arguments, **more)

        def step(self, count):
            now[0] += count
            return super().step(count)

    monkeypatch.setattr(speedrun, "score", slow)
    monkeypatch.setattr(speedrun, "Trainer", Timed)
    setting = replace(speedrun.SETTINGS["prototypical"]["lessons"], steps=4)
    found = speedrun.train(setting, speedrun.Data.of(*omniglot.load(), CPU), 0, tests=2, episodes=4)
    assert [seconds for seconds, _accuracy in found["curve"]] == [7.0, 9.0]
    assert found["seconds"] == 9.0


def test_nothing_is_trained_on_that_is_tested(no_omniglot):
    background, test = omniglot.load()
    data = speedrun.Data.of(background, test, CPU)
    trained = {name.split(", turned")[0] for name in data.train.names}
    assert trained.isdisjoint(data.validation.names)
    assert trained | set(data.validation.names) == set(background.names)
    assert len(data.pictures) == speedrun.PICTURES
    assert torch.equal(data.test.images, test.images)


def test_a_schedule_falls_to_nothing():
    for schedule in (speedrun.straight(0.3), speedrun.cosine(0.3)):
        assert schedule(0.0) == pytest.approx(0.3)
        assert schedule(0.5) == pytest.approx(0.15)
        assert schedule(1.0) == pytest.approx(0, abs=1e-12)


def test_the_schedule_is_that_of_the_setting(no_omniglot):
    setting = replace(speedrun.SETTINGS["prototypical"]["lessons"], steps=100, rate=lambda share: share)
    trainer = setting.trainer(speedrun.Data.of(*omniglot.load(), CPU).train, 0, CPU)
    assert [trainer.outer_lr(step) for step in (1, 51)] == [0.0, 0.5]


def test_tasks_within_an_alphabet():
    """Each drawing here shows the number of its alphabet."""
    alphabet = torch.arange(40) // 8
    images = alphabet.to(torch.uint8)[:, None, None, None].expand(40, 6, 2, 2)
    source = Characters(images, alphabet, tuple("abcde"), "code")
    for within in (True, False):
        episode = speedrun.tasks(30, 5, 3, within=within)(source)(torch.Generator().manual_seed(0))
        assert (episode.tasks, episode.ways, episode.support_x.shape[1], episode.query_x.shape[1]) == (30, 5, 5, 15)
        shown = torch.cat([episode.support_x, episode.query_x], 1)[:, :, 0, 0, 0]
        assert bool((shown == shown[:, :1]).all()) == within


def test_maml_is_tested_as_in_its_paper(no_omniglot, monkeypatch):
    seen = []
    monkeypatch.setattr(speedrun, "evaluate", lambda predict, sample, **how: seen.append((predict, sample, how)))
    data = speedrun.Data.of(*omniglot.load(), CPU)
    learner = speedrun.SETTINGS["maml"]["lessons"].learner
    speedrun.score(learner, {}, data.test, data.pictures, episodes=9)
    (predict, sample, how), *_ = seen
    tested = predict.func.__self__
    assert (tested.inner_steps, tested.transductive) == (3, True)
    episode = sample(2, torch.Generator())
    assert (episode.tasks, episode.ways, episode.query_y.shape) == (2, 5, (2, 5))
    assert how["episodes"] == 9


def a_run(seed, times, **more):
    curve = [[t, level] for t, level in zip(times, (0.9, 0.93, 0.95, 0.97), strict=False)]
    about = {"learner": "prototypical", "setting": "best", "seed": seed, "steps": 7, "seconds": 20.0 + seed}
    return about | {"validation": 0.9, "test": 0.91, "curve": curve} | more


def test_the_table_says_how_many_did_not_get_there(monkeypatch):
    setting = replace(speedrun.SETTINGS["prototypical"]["best"], goals={0.95: 4.0})
    monkeypatch.setitem(speedrun.SETTINGS["prototypical"], "best", setting)
    runs = [a_run(0, (1, 2, 3)), a_run(1, (2, 3, 4, 5)), a_run(2, (1, 2))]
    lines = speedrun.table(runs).splitlines()
    assert lines[0] == "prototypical, best: 7 steps in 21.0 (20.0 … 22.0) s"
    assert lines[1] == "     90%  1.0 (1.0 … 2.0)"
    assert lines[3] == "     95%  3.5 (3.0 … 4.0), not reached in 1 of 3; goal 4: reached"  # the median of 3, 4, never
    assert lines[4] == "     97%  5.0, not reached in 2 of 3"
    assert lines[-1] == "    test alphabets at the end: 91.0 (91.0 … 91.0) %"
    nobody = speedrun.table([a_run(0, (1, 2)), a_run(1, (1,))])
    assert re.search(r"95%  not reached in 2 of 2; goal 4: missed", nobody)


@pytest.mark.parametrize("flag", ["--seeds", "--threads"])
def test_a_number_that_cannot_be(flag, capsys):
    assert command.main(["speedrun", flag, "0"]) == 2
    assert f"{flag} 0 must be at least 1" in capsys.readouterr().err


def test_the_cores_are_those_that_were_asked_for(no_omniglot, tmp_path):
    file = tmp_path / "speed.json"
    arguments = ["--quick", "--seeds", "1", "--learner", "maml", "--setting", "best", "--json", str(file)]
    other = 1 if torch.get_num_threads() > 1 else 2
    assert command.main(["speedrun", "--threads", str(other), *arguments]) == 0
    found = json.loads(file.read_text())
    assert found["machine"]["threads"] == other
    assert [run["setting"] for run in found["runs"]] == ["best", "best, longer"]
