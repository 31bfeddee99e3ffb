"""The command that measures what panels cost. How fast anything is, is not asked here."""

import asyncio
import json

import ipywidgets as widgets
import pytest

from benchmarks import panels as speed
from metalab.lessons.kit import panels as live
from metalab.lessons.sine_regression import figures as sine


@pytest.fixture
def alone(monkeypatch):
    """Only lesson 1's training, and a panel with a slider of each kind and a button for choices."""
    monkeypatch.setattr(speed, "trainings", lambda: {"1: sine": sine.training_panel})
    seen = []

    def redraw(**values):
        seen.append(values)
        return sine.figure(1, 1)[0], "words"

    controls = {
        "log": live.log_slider("log", 0.1, -2, 0),
        "whole": live.slider("whole", 3, 0, 8, 1),
        "choice": widgets.RadioButtons(options=["a", "b"]),
    }
    monkeypatch.setattr(speed, "answering", lambda: {"1: some": live.Panel(controls, redraw, alt="alt")})
    return seen


def test_all_is_measured_and_can_be_written(alone):
    found = asyncio.run(speed.measure(rounds=2, seconds=0.01))
    training = json.loads(json.dumps(found))["trainings"]["1: sine"]
    assert training["steps"] >= 10
    assert all(len(training[what]) == 2 and min(training[what]) > 0 for what in ("ms", "share", "frames"))
    assert len(found["answers"]["1: some"]) == 18  # two sliders, nine places each
    assert min(found["answers"]["1: some"]) > 0


def test_each_slider_goes_from_end_to_end_and_back(alone):
    speed.answers(speed.answering()["1: some"])
    logs = [values["log"] for values in alone if values["whole"] == 3]
    assert (min(logs), max(logs)) == pytest.approx((0.01, 1.0))
    assert {values["whole"] for values in alone if values["log"] == 0.1} == set(range(9))
    assert alone[-1] == {"log": 0.1, "whole": 3, "choice": "a"}


def test_the_share_is_of_the_same_training(monkeypatch):
    """A training that takes twice as long with its panel goes at half the speed."""
    now = [0.0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])

    def new():
        panel = sine.training_panel()
        step = panel.driver.trainer.step

        def timed():
            now[0] += 1.0
            return step()

        async def train(steps):
            panel.frames += 3
            now[0] += 2.0 * steps

        panel.driver.trainer.step, panel.train = timed, train
        return panel

    found = asyncio.run(speed.steered(new, rounds=1, seconds=40.0))
    assert found == {"steps": 40, "ms": [1000.0], "share": [0.5], "frames": [3 / 80]}


def test_without_rounds_only_the_panels_that_train_nothing_are_timed(alone):
    found = asyncio.run(speed.measure(rounds=0))
    assert found["trainings"] == {}
    assert len(found["answers"]["1: some"]) == 18
