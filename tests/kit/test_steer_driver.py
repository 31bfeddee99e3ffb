"""The training that is steered: what a change does, the log, divergence, reset and replay. No notebook anywhere."""

import json
import math
from dataclasses import dataclass

import pytest
import torch

from metalab import files
from metalab.learners.maml import MAML
from metalab.lessons.kit.steering.driver import Change, Driver, History, WentBack, label
from metalab.losses import mse
from metalab.nets import MLP
from metalab.optim import Descent
from metalab.tasks.sine import sample
from metalab.train import Trainer

VALUES = {"inner_lr": 0.01, "outer_lr": 1e-3, "inner_steps": 1, "order": 2}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)  # many steps of a network too small to be shared among cores


def sines(generator):
    return sample(4, 5, 5, generator)


def sine_driver(seed=0, **values):
    learner = MAML(MLP(), mse, inner_lr=torch.tensor(0.0))
    return Driver(learner, sines, VALUES | values, seed=seed)


@dataclass(frozen=True)
class Hill:
    """Descends w²/2 from 1; with an outer learning rate above 2 it climbs instead."""

    shift: float = 0.0

    def init(self, generator):
        return {"w": torch.ones(1, dtype=torch.float64)}

    def meta_gradient(self, params, batch):
        w = params["w"]
        return {"w": w + 0 * batch}, {"loss": (w.square() / 2).sum() + self.shift}


def hill(outer_lr=0.01, **options):
    values = {"outer_lr": outer_lr, "shift": 0.0}
    return Driver(Hill(), lambda g: torch.rand(1, generator=g), values, optimizer=Descent, **options)


def take(driver, steps):
    return [driver.step().metrics["loss"] for _ in range(steps)]


def plain(learner, steps, **options):
    return [step.metrics["loss"] for step in Trainer(learner, sines, **options).run(steps)]


# Changes


def test_without_a_change_it_is_the_plain_training():
    assert take(sine_driver(), 6) == plain(MAML(MLP(), mse, inner_lr=torch.tensor(0.01)), 6)


@pytest.mark.parametrize(("name", "value"), [("inner_lr", 0.1), ("outer_lr", 0.02), ("inner_steps", 3), ("order", 1)])
def test_a_change_acts_from_the_next_step_on(name, value):
    driver = sine_driver()
    take(driver, 3)
    driver.set(name, value)
    losses = take(driver, 3)
    # The same by hand, with a trainer whose learner and rate are replaced.
    twin = Trainer(MAML(MLP(), mse, inner_lr=torch.tensor(0.01)), sines)
    list(twin.run(3))
    if name == "outer_lr":
        twin.outer_lr = value
    else:
        settings = {"inner_lr": 0.01, "inner_steps": 1, "order": 2} | {name: value}
        settings["inner_lr"] = torch.tensor(settings["inner_lr"])
        twin.learner = MAML(MLP(), mse, **settings)
    assert losses == [step.metrics["loss"] for step in twin.run(3)]
    assert losses[1:] != take(sine_driver(), 6)[4:]
    assert driver.history.changes == [Change(4, name, value)]


@pytest.mark.parametrize(("name", "stays"), [("inner_lr", True), ("outer_lr", True), ("inner_steps", False)])
def test_a_recorded_step_follows_the_rates(name, stays):
    """A GPU's graph is recorded for one learner and one sample: neither may be another one after a rate has changed."""
    driver = sine_driver()
    learner, draw, rate = driver.trainer.learner, driver.trainer.sample, driver.trainer.learner.inner_lr
    driver.set(name, 2)
    assert (driver.trainer.learner is learner) == stays
    assert driver.trainer.sample is draw
    assert driver.trainer.learner.inner_lr is rate, "the graph reads the rate here"
    assert driver.trainer.learner.net is learner.net
    driver.reset()
    assert (driver.trainer.learner is learner) == stays


def test_a_setting_that_was_used_before_needs_no_new_recording():
    driver = sine_driver()
    seen = [driver.trainer.learner]
    for name, value in (("order", 1), ("inner_steps", 3), ("order", 2), ("inner_steps", 1), ("inner_lr", 0.1)):
        driver.set(name, value)
        seen.append(driver.trainer.learner)
        assert (seen[-1].order, seen[-1].inner_steps) == (driver.values["order"], driver.values["inner_steps"])
    ids = [id(learner) for learner in seen]
    assert [ids.index(i) for i in ids] == [0, 1, 2, 3, 0, 0]


def test_only_the_last_of_many_changes_before_a_step_counts():
    driver = sine_driver()
    take(driver, 2)
    for value in (0.1, 0.2, 0.3):
        driver.set("outer_lr", value)
        driver.set("inner_lr", value)
    assert driver.history.changes == [Change(3, "outer_lr", 0.3), Change(3, "inner_lr", 0.3)]
    driver.set("outer_lr", 1e-3)  # where it was
    assert driver.history.changes == [Change(3, "inner_lr", 0.3)]


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "1", None, True])
def test_a_value_that_cannot_be_is_refused_by_name(value):
    driver = sine_driver()
    for name in VALUES:
        with pytest.raises(ValueError, match=f"{name}={value!r}"):
            driver.set(name, value)
    assert driver.values == VALUES
    assert driver.history.changes == []


def test_what_the_learner_refuses_changes_nothing():
    driver = sine_driver()
    with pytest.raises(ValueError, match="order=3 must be 1"):
        driver.set("order", 3)
    assert driver.values["order"] == driver.trainer.learner.order == 2
    assert driver.history.changes == []


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="speed=1: the settings are inner_lr, outer_lr, inner_steps, order"):
        sine_driver().set("speed", 1)
    with pytest.raises(ValueError, match="Hill has no speed"):
        Driver(Hill(), sines, {"outer_lr": 1, "speed": 1})
    with pytest.raises(ValueError, match="must have an outer_lr"):
        Driver(Hill(), sines, {"shift": 0})


# Reset and replay


def test_reset_gives_the_same_curve_with_the_settings_of_now():
    driver = sine_driver(seed=3)
    params = driver.trainer.params["w1"]
    first = take(driver, 5)
    driver.reset()
    assert driver.trainer.params["w1"] is params, "a GPU's graph reads them here"
    assert driver.earlier == first
    assert driver.steps == driver.trainer.steps == 0
    assert take(driver, 5) == first
    driver.set("outer_lr", 0.05)
    driver.reset()
    assert driver.history == History(3, VALUES | {"outer_lr": 0.05})
    assert take(driver, 5) == take(sine_driver(seed=3, outer_lr=0.05), 5) != first


def test_reset_to_another_seed():
    driver = sine_driver(seed=1)
    take(driver, 4)
    driver.reset(seed=2)
    assert take(driver, 4) == take(sine_driver(seed=2), 4) != take(sine_driver(seed=1), 4)
    assert driver.history.seed == 2


def test_a_saved_history_is_replayed_number_for_number(tmp_path):
    driver = sine_driver(seed=5)
    take(driver, 3)
    driver.set("outer_lr", 0.0123456789)
    driver.set("inner_steps", 2)
    take(driver, 4)
    driver.set("order", 1)
    driver.set("inner_lr", 1 / 3)
    take(driver, 3)
    path = tmp_path / "history.json"
    driver.history.save(path)
    history = History.load(path)
    assert history == driver.history

    other = sine_driver(seed=0, outer_lr=0.5)
    take(other, 1)
    assert [step.number for step in other.replay(history)] == list(range(1, 11))
    assert other.history == history
    for name, p in driver.trainer.params.items():
        assert torch.equal(other.trainer.params[name], p)


def test_a_history_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "history.json"
    History(1, {"outer_lr": 0.1}).save(path)
    before = path.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        History(2, {"outer_lr": 0.2}).save(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"seed": 1, "start": {}, "changes": [{"a": 1}], "losses": []}'])
def test_what_is_no_history_is_refused(text, tmp_path):
    path = tmp_path / "history.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"history\.json is not a saved history"):
        History.load(path)


def test_a_history_is_plain_json(tmp_path):
    History(1, {"outer_lr": 0.1}, [Change(2, "outer_lr", 0.3)], [0.5]).save(tmp_path / "h.json")
    assert json.loads((tmp_path / "h.json").read_text()) == {
        "seed": 1,
        "start": {"outer_lr": 0.1},
        "changes": [{"step": 2, "name": "outer_lr", "value": 0.3}],
        "losses": [0.5],
    }


# Divergence


def diverge(driver, limit=10_000):
    """Step until it went back."""
    for _ in range(limit):
        before = driver.steps
        try:
            driver.step()
        except WentBack as reason:
            return before, reason
    raise AssertionError("it did not diverge")


def test_a_hundred_times_the_best_loss_goes_back_to_the_last_good_step():
    driver = hill()
    losses = take(driver, 50)
    w = driver.trainer.params["w"].item()
    driver.set("outer_lr", 3.0)  # each step doubles w
    before, reason = diverge(driver)
    recent = [w**2 / 2 * 4**n for n in range(before - 50 + 1)]
    assert sum(recent[-10:]) / 10 >= 100 * min(sum(losses[-10:]) / 10, 0.5)
    assert driver.steps == driver.trainer.steps == 20, "the copy of step 40 was not yet known to be good"
    assert driver.history.losses == losses[:20]
    assert driver.trainer.params["w"].item() == pytest.approx(0.99**20)
    assert driver.gone.step == 21
    assert driver.gone.losses[:30] == losses[20:]
    assert reason.name == "outer_lr"
    said = str(reason)
    assert f"at meta-step {before + 1} the loss was " in said
    assert "100 times the best" in said
    assert "It is back at meta-step 20, where its loss was still low." in said
    assert "Move the outer learning rate to the left (it is 3)" in said
    # The absurd value is still there, for the reader to change, and the log says so.
    assert driver.values["outer_lr"] == 3.0
    assert driver.history.changes == [Change(21, "outer_lr", 3.0)]
    driver.set("outer_lr", 0.01)
    assert driver.history.changes == []
    assert take(driver, 30) == losses[20:]


def test_a_loss_that_is_no_number_goes_back_too():
    driver = hill()
    take(driver, 45)
    driver.trainer.params["w"].fill_(math.nan)
    at, reason = diverge(driver)
    assert at == 45
    assert driver.steps == 20
    assert "at meta-step 46 the loss was nan." in str(reason)
    assert all(math.isfinite(loss) for loss in take(driver, 30))


def test_the_first_steps_go_back_to_the_start():
    driver = hill(outer_lr=1e3)
    _at, reason = diverge(driver)
    assert driver.steps == 0
    assert driver.trainer.params["w"].item() == 1
    assert driver.history == History(0, {"outer_lr": 1e3, "shift": 0.0})
    assert "Move the outer learning rate to the left (it is 1e+03)" in str(reason)


def test_what_was_taken_back_is_not_in_a_replay():
    driver = sine_driver()
    take(driver, 30)
    driver.set("outer_lr", 3.0)
    diverge(driver)
    driver.set("outer_lr", 0.002)
    take(driver, 1)
    driver.set("inner_steps", 2)
    take(driver, 9)
    other = sine_driver(seed=9)
    for _ in other.replay(driver.history):
        pass
    assert other.history == driver.history
    for name, p in driver.trainer.params.items():
        assert torch.equal(other.trainer.params[name], p)


def test_half_a_step_is_taken_back(monkeypatch):
    driver, twin = sine_driver(), sine_driver()
    losses = take(twin, 60)
    take(driver, 45)
    driver.set("outer_lr", 0.002)
    adam = driver.trainer._optimizer

    def interrupted(gradient):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(adam, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            driver.step()
    assert driver.history == History(0, VALUES, [Change(21, "outer_lr", 0.002)], losses[:20])
    driver.set("outer_lr", 1e-3)
    assert take(driver, 40) == losses[20:]


def test_the_slider_named_is_the_one_that_was_raised_last():
    driver = hill()
    take(driver, 5)
    driver.set("shift", 1e-3)
    take(driver, 1)
    driver.set("outer_lr", 0.001)  # lowered
    take(driver, 1)
    driver.set("shift", 1e9)
    _at, reason = diverge(driver)
    assert reason.name == "shift"
    assert "Move the shift to the left" in str(reason)


def test_a_loss_near_nothing_may_grow_again():
    """The best loss counts as no smaller than a thousandth of the first, or after a 0 nothing could be kept."""
    driver = hill(outer_lr=1.0)  # at the bottom after one step
    take(driver, 30)
    assert driver.loss == 0
    driver.set("shift", 0.04)  # less than a tenth of the first loss
    take(driver, 30)
    driver.set("shift", 0.06)
    diverge(driver)


def test_a_noisy_loss_is_no_divergence():
    driver = hill()
    take(driver, 40)
    driver.set("shift", 40.0)  # one loss of about 100 times the best, and the mean of ten of a tenth of that
    take(driver, 1)
    driver.set("shift", 0.0)
    take(driver, 20)
    assert driver.steps == 61


def test_settings_have_names_in_words():
    assert [label(name) for name in ("inner_lr", "outer_lr", "inner_steps")] == [
        "inner learning rate",
        "outer learning rate",
        "inner steps",
    ]
