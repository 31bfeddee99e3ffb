"""A panel without a kernel: budget, script, buttons, divergence, interrupts, and what is displayed."""

import asyncio
import itertools
import math
from types import SimpleNamespace

import ipywidgets as widgets
import pytest
import torch
import traitlets

from metalab.learners.maml import MAML
from metalab.lessons.kit import panels
from metalab.lessons.kit.steering import panel as module
from metalab.lessons.kit.steering.controls import standard
from metalab.lessons.kit.steering.driver import Change, Driver
from metalab.lessons.kit.steering.panel import SteeringPanel
from metalab.lessons.kit.steering.view import View
from metalab.losses import mse
from metalab.nets import MLP
from metalab.tasks.sine import sample

VALUES = {"inner_lr": 0.01, "outer_lr": 1e-3, "inner_steps": 1, "order": 2}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)  # many steps of a network too small to be shared among cores


@pytest.fixture
def shown(monkeypatch):
    """What is displayed: bundles by kind."""
    bundles = []
    monkeypatch.setattr(panels, "display", lambda bundle, *, raw, metadata: bundles.append(bundle))
    return bundles


@pytest.fixture
def clock(monkeypatch):
    """Time stands still, but for 10 ms at each look at the clock."""
    now = [0.0]

    def monotonic():
        now[0] += 0.01
        return now[0]

    monkeypatch.setattr(module.time, "monotonic", monotonic)
    return now


@pytest.fixture
def at(monkeypatch, clock):
    """`at[step] = function`: called when the kernel is polled at that step, as a reader would do something then."""
    doings = {}

    def start(panel):
        async def poll(seconds=0):
            await asyncio.sleep(0)
            doings.get("always", lambda: None)()
            doings.pop(panel.driver.steps, lambda: None)()

        monkeypatch.setattr(module, "poll", poll)
        monkeypatch.setattr(module, "TICK", 0.0)  # look each step
        return doings

    return start


def driver(**values):
    learner = MAML(MLP(), mse, inner_lr=torch.tensor(0.0))
    return Driver(learner, lambda g: sample(2, 5, 5, g), VALUES | values)


class Background:
    """The trainings between the cells: `await background.until(panel, step)` lets one go on up to a step."""

    def __init__(self, monkeypatch):
        self.doings = {}
        self.breaths = 0
        monkeypatch.setattr(module, "trains_between_cells", lambda: True)
        monkeypatch.setattr(module, "breathe", self._breathe)

    async def _breathe(self):
        self.breaths += 1
        await asyncio.sleep(0)

    async def until(self, panel, step):
        while panel.driver.steps < step and panel._state == "running":
            await asyncio.sleep(0)

    async def end(self, panel):
        while panel._task is not None:
            await asyncio.sleep(0)


@pytest.fixture
def background(monkeypatch):
    return Background(monkeypatch)


@pytest.fixture
def panel(shown):
    return SteeringPanel(driver(), View(), alt="Panel: a test.")


def train(panel, *arguments, **options):
    return asyncio.run(panel.train(*arguments, **options))


def status(panel):
    return panel.status.value


def usual(steps):
    plain = driver()
    return [plain.step().metrics["loss"] for _ in range(steps)]


def test_a_panel_has_a_budget_and_goes_on_when_it_is_run_again(panel):
    assert "Run the cell to train." in status(panel)
    assert train(panel, 7) == usual(7)
    assert "Done: 7 meta-steps." in status(panel)
    assert "Meta-step 7: loss " in panel.readout.value
    assert train(panel, 3) == usual(10)
    assert "Done: 10 meta-steps." in status(panel)
    assert "Meta-step 10: loss" in panel.readout.value


def test_a_script_acts_at_its_step_and_moves_the_sliders(panel):
    script = {5: {"outer_lr": 0.05, "order": 1}, 8: {"inner_steps": 2}}
    losses = train(panel, 8, script=script)
    assert losses[:5] == usual(5)
    assert losses[6:] != usual(8)[6:]
    changes = [Change(5, "outer_lr", 0.05), Change(5, "order", 1), Change(8, "inner_steps", 2)]
    assert panel.history.changes == changes
    assert panel.controls.values() == VALUES | {"outer_lr": 0.05, "order": 1, "inner_steps": 2}
    assert "3: at meta-step 8 inner steps 1 → 2" in panel.marks.value
    train(panel, 2, script=script)  # the cell is run again: what lies behind is not done again
    assert panel.history.changes == changes
    train(panel, 2, script={11: {"outer_lr": 0.01}})
    assert panel.history.changes == [*changes, Change(11, "outer_lr", 0.01)]


@pytest.mark.parametrize(
    ("steps", "script", "message"),
    [
        (0, {}, "steps=0 must be a whole number of at least 1"),
        (5, {6: {"outer_lr": 0.1}}, "the script's step=6 must be a whole number of at least 1 and at most 5"),
        (5, {0: {"outer_lr": 0.1}}, "the script's step=0 must be a whole number of at least 1 and at most 5"),
        (5, {2: {"speed": 0.1}}, "speed=0.1: the settings are"),
        (5, {1: {"order": 1}, 2: {"outer_lr": 10}}, "outer_lr=10: the slider goes to 1.0 instead"),
        (5, {1: {"order": 3}}, "order=3 must be"),
        (5, {1: {"outer_lr": math.nan}}, "outer_lr=nan must be a finite number"),
        (10**400, {}, "steps=a number of type int with thousands of digits must be|steps=1000"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is(panel, shown, steps, script, message):
    with pytest.raises(ValueError, match=message):
        train(panel, steps, script=script)
    assert panel.driver.steps == 0
    assert panel.controls.values() == VALUES
    assert shown == []
    assert len(train(panel, 2)) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": True}, "steps=True must be a whole number"),
        ({"steps": 2.5}, "steps=2.5 must be a whole number"),
        ({"steps": "3"}, "steps='3' must be a whole number"),
        ({"script": [1]}, r"script=\[1\] must map steps to settings"),
        ({"script": {1: 0.5}}, r"script=\{1: 0.5\} must map steps to settings"),
        ({"script": {"1": {"order": 1}}}, "the script's step='1' must be a whole number"),
    ],
)
def test_an_argument_of_the_wrong_type_is_refused_before_anything_is(panel, shown, options, message):
    with pytest.raises(TypeError, match=message):
        train(panel, **{"steps": 5} | options)
    assert panel.driver.steps == 0
    assert panel.controls.values() == VALUES
    assert shown == []


def test_a_panel_that_cannot_be_is_refused(shown):
    with pytest.raises(ValueError, match="no setting for the controls speed: remove them"):
        SteeringPanel(driver(), View(), controls={"speed": SimpleNamespace(value=1)}, alt="")
    with pytest.raises(TypeError, match="controls: order=3 must be a widget with a value"):
        SteeringPanel(driver(), View(), controls={"order": 3}, alt="")
    with pytest.raises(TypeError, match="look=None must be a function"):
        SteeringPanel(driver(), View(), look=None, alt="")
    with pytest.raises(ValueError, match=r"no usual control for outer_lr=2\.0: give one"):
        SteeringPanel(driver(outer_lr=2.0), View(), alt="")  # the slider would be at 1, and move the setting there
    with pytest.raises(ValueError, match="outer_lr=10: the slider goes to 1"):
        SteeringPanel(driver(), View(), presets={"blow it up": {"outer_lr": 10}}, alt="")
    with pytest.raises(ValueError, match="presets: 'Reset' is the name of a button already"):
        SteeringPanel(driver(), View(), presets={"Reset": {"outer_lr": 0.1}}, alt="")


def test_a_slider_acts_at_the_next_step_and_the_last_value_wins(panel, at):
    slider = panel.controls.inputs["outer_lr"]

    def drag():
        for value in (0.1, 0.2, 0.05):
            slider.value = value

    doings = at(panel)
    doings[3] = drag
    doings[8] = lambda: panel.controls.press("stop")
    losses = train(panel, 8)
    assert panel.history.changes == [Change(4, "outer_lr", 0.05)]
    twin = SteeringPanel(driver(), View(), alt="")
    assert train(twin, 8, script={4: {"outer_lr": 0.05}}) == losses


def test_a_value_that_a_page_rounds_to_its_slider_s_step_is_no_change(panel, at):
    at(panel)[3] = lambda: setattr(panel.controls.inputs["outer_lr"], "value", 1.05e-3)
    train(panel, 8)
    assert panel.history.changes == []


def test_sliders_moved_before_the_cell_runs_count_from_the_first_step(panel):
    panel.controls.inputs["outer_lr"].value = 0.05
    assert "outer learning rate 0.0010 → 0.050" in panel.marks.value, "the panel says at once what it has understood"
    train(panel, 3)
    assert panel.history.changes == [Change(1, "outer_lr", 0.05)]


def test_words_and_sliders_say_the_same_numbers(panel):
    slider = panel.controls.inputs["outer_lr"]
    slider.value = 10**-0.5
    assert slider.readout_format == ".2r"  # two digits that count, in decimals
    assert "outer learning rate 0.0010 → 0.32" in panel.marks.value


# The reader takes over


def move(panel, value=0.05):
    panel.controls.inputs["outer_lr"].value = value


def test_the_first_touch_ends_the_script_and_the_cell_and_the_training_goes_on(panel, at, background):
    at(panel)[3] = lambda: move(panel)

    async def reader():
        losses = await panel.train(10, script={5: {"order": 1}})
        assert "You steer now. The training goes on until Stop." in status(panel)
        assert len(losses) < 10
        await background.until(panel, 25)
        assert panel.controls.values()["order"] == 2, "the script was dropped"
        assert len(losses) < 10, "what the cell returned stays as it is"
        panel.controls.press("stop")
        await background.end(panel)

    asyncio.run(reader())
    assert panel.history.changes == [Change(4, "outer_lr", 0.05)]
    assert "Stopped at meta-step" in status(panel)
    twin = SteeringPanel(driver(), View(), alt="")
    assert train(twin, panel.driver.steps, script={4: {"outer_lr": 0.05}}) == panel.history.losses


def test_where_nothing_trains_between_cells_the_cell_goes_on_until_stop(panel, at):
    doings = at(panel)
    doings[3] = lambda: move(panel)
    doings[17] = lambda: panel.controls.press("stop")
    losses = train(panel, 10, script={5: {"order": 1}})
    assert len(losses) == 17
    assert panel.history.changes == [Change(4, "outer_lr", 0.05)]
    assert "Run the cell again to train on." in status(panel)


def test_a_script_is_not_followed_when_the_reader_has_taken_over(panel, at, background):
    at(panel)[3] = lambda: panel.controls.press("stop")
    script = {5: {"order": 1}}
    train(panel, 10, script=script)
    train(panel, 10, script=script)
    assert panel.history.changes == []
    panel.controls.press("reset")
    train(panel, 10, script=script)
    assert panel.history.changes == [Change(5, "order", 1)]


def test_start_trains_between_the_cells_until_stop(panel, background):
    async def reader():
        await panel.train(5)
        assert "Done: 5 meta-steps. Start trains on." in status(panel)
        panel._control_box.buttons["start"].click()
        assert "Training until Stop." in status(panel)
        await background.until(panel, 20)
        panel.controls.press("start")
        while "running already" not in status(panel):
            assert panel._state == "running"
            await asyncio.sleep(0)
        panel._control_box.buttons["stop"].click()
        await background.end(panel)
        assert f"Stopped at meta-step {panel.driver.steps}." in status(panel)
        panel.controls.press("stop")
        assert "stopped already" in status(panel)

    asyncio.run(reader())
    assert panel.history.losses == usual(panel.driver.steps)
    assert background.breaths, "the kernel gets its turn"


def test_running_the_cell_again_takes_a_training_back_into_the_cell(panel, background):
    async def reader():
        await panel.train(5)
        panel.controls.press("start")
        await background.until(panel, 12)
        before = panel.driver.steps
        losses = await panel.train(6)
        assert panel._task is None
        assert len(losses) == panel.driver.steps >= before + 6

    asyncio.run(reader())
    assert panel.history.losses == usual(panel.driver.steps)


def test_one_panel_trains_at_a_time(panel, background, shown):
    other = SteeringPanel(driver(), View(), alt="")

    async def reader():
        await panel.train(5)
        panel.controls.press("start")
        await background.until(panel, 9)
        losses = await other.train(4)
        assert losses == usual(4)
        assert "another panel trains now" in status(panel)
        await background.end(panel)

    asyncio.run(reader())


def test_between_the_cells_a_divergence_and_an_error_are_told(panel, background, monkeypatch):
    async def reader():
        await panel.train(40)
        panel.controls.press("start")
        move(panel, 1.0)
        await background.end(panel)
        assert "diverged" in status(panel)
        assert "Start trains on." in status(panel)
        steps = panel.driver.steps
        panel.controls.press("Restore")
        with monkeypatch.context() as patch:
            patch.setattr(panel.driver, "step", lambda: 1 / 0)
            panel.controls.press("start")
            await background.end(panel)
        assert f"An error has ended the training at meta-step {steps} (ZeroDivisionError" in status(panel)
        for kind in (KeyboardInterrupt, asyncio.CancelledError):
            with monkeypatch.context() as patch:

                def interrupt(kind=kind):
                    raise kind

                patch.setattr(panel.driver, "step", interrupt)
                panel.controls.press("start")
                await background.end(panel)
            assert "Interrupted" in status(panel)
        await panel.train(5)

    asyncio.run(reader())
    assert panel.history.losses == usual(panel.driver.steps)


def test_stop_ends_the_cell_and_keeps_what_was_trained(panel, at):
    at(panel)[4] = lambda: panel.controls.press("stop")
    assert train(panel, 100) == usual(4)
    assert "Stopped at meta-step 4." in status(panel)
    assert train(panel, 3) == usual(7)


def test_reset_goes_back_to_the_settings_of_the_start(panel, at):
    def reset():
        move(panel, 1.0)
        panel.controls.press("reset")

    at(panel)[4] = reset
    assert train(panel, 6) == []
    assert "Back at meta-step 0, with the settings of the start." in status(panel)
    assert panel.controls.values() == VALUES
    assert train(panel, 6) == usual(6)
    assert [run.losses for run in panel.driver.earlier] == [usual(4)]
    assert panel.history.changes == []


def test_again_trains_from_the_first_step_with_the_settings_as_they_are(panel, background):
    async def reader():
        await panel.train(4)
        move(panel)
        panel._next_look = math.inf  # the last look took long
        panel.controls.press("again")
        assert "From meta-step 0 again" in status(panel)
        await background.until(panel, 6)
        assert panel._next_look < math.inf, "the lesson's picture is still that of the run before"
        panel.controls.press("stop")
        await background.end(panel)

    asyncio.run(reader())
    assert panel.history.start["outer_lr"] == 0.05
    twin = SteeringPanel(driver(outer_lr=0.05), View(), alt="")
    assert panel.history.losses == train(twin, panel.driver.steps)


def test_earlier_runs_stay_in_the_picture_with_what_was_different(panel, at):
    for rate in (0.05, 0.01, 0.02, 0.03, 0.04):
        move(panel, rate)
        panel.controls.press("again")
        train(panel, 3)
    named = [name for name, _losses in panel._frame().earlier]
    assert named == [
        "4 runs before: outer learning rate 0.050",
        "3 runs before: outer learning rate 0.010",
        "2 runs before: outer learning rate 0.020",
        "the run before: outer learning rate 0.030",
    ]


def test_presets_move_the_sliders(shown, at):
    presets = {"blow it up": {"outer_lr": 1.0}, "first order": {"order": 1}}
    panel = SteeringPanel(driver(), View(), presets=presets, alt="")
    panel._control_box.buttons["first order"].click()
    assert panel.controls.values() == VALUES | {"order": 1}
    assert "order second → first" in panel.marks.value
    panel._control_box.buttons["blow it up"].click()
    assert panel.controls.values() == VALUES | {"order": 1, "outer_lr": 1.0}
    panel._control_box.buttons["Restore"].click()
    assert panel.controls.values() == VALUES
    assert panel.driver.values == VALUES


def test_a_slow_training_takes_its_steps_at_its_speed(panel, monkeypatch):
    now = [0.0]
    taken = []

    async def poll(seconds=0):
        await asyncio.sleep(0)

    async def sleep(seconds, real=asyncio.sleep):
        now[0] += seconds
        await real(0)

    step = panel.driver.step

    def noted():
        taken.append(now[0])
        return step()

    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "poll", poll)
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    monkeypatch.setattr(panel.driver, "step", noted)
    panel._control_box.speed.value = 10.0
    assert train(panel, 6) == usual(6)
    assert [b - a for a, b in itertools.pairwise(taken)] == pytest.approx([0.1] * 5, abs=0.021)


def test_the_time_left_is_told_while_a_cell_trains(panel, monkeypatch):
    now, told = [0.0], []

    def later(function):
        def wrapped(*arguments):
            now[0] += 1.0
            return function(*arguments)

        return wrapped

    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(panel.driver, "step", later(panel.driver.step))
    draw = panel._draw
    monkeypatch.setattr(panel, "_draw", lambda: draw() or told.append(panel.readout.value))
    train(panel, 10)
    assert any("Meta-step 5 of 10" in words and "About 5 s left." in words for words in told)
    assert "left" not in panel.readout.value


# Divergence


def test_a_divergence_stops_and_says_which_slider_to_move(panel, at):
    losses = train(panel, 10_000, script={25: {"outer_lr": 1.0}})
    assert losses == usual(len(losses))
    assert len(losses) < 100
    assert "diverged" in status(panel)
    assert "Move the outer learning rate to the left, then go on. Run the cell again to train on." in status(panel)
    move(panel, 1e-3)
    train(panel, 60 - panel.driver.steps)
    assert panel.history.losses == usual(60)
    assert panel.history.changes == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, asyncio.CancelledError])
def test_an_interrupt_keeps_what_was_trained(panel, at, kind):
    def interrupt():
        raise kind

    at(panel)[5] = interrupt
    assert train(panel, 9) == usual(5)
    assert "Interrupted at meta-step 5: what was trained is kept." in status(panel)
    assert train(panel, 4) == usual(9)


def test_an_interrupt_in_the_middle_of_a_step_leaves_a_whole_training(panel, monkeypatch):
    step, calls = panel.driver.trainer._optimizer.step, []

    def interrupted(gradient):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        step(gradient)

    monkeypatch.setattr(panel.driver.trainer._optimizer, "step", interrupted)
    train(panel, 9)
    assert "Interrupted" in status(panel)
    rest = 9 - panel.driver.steps
    assert train(panel, rest) == usual(9)


# Whatever happens, whenever


def raise_at(target, name, at=1):
    """A stage of a cell: the call number `at` of this function, which then raises."""

    def arrange(panel, monkeypatch, error):
        holder = target(panel)
        real, calls = getattr(holder, name), []

        def broken(*arguments, **options):
            calls.append(1)
            if len(calls) == at:
                raise error
            return real(*arguments, **options)

        monkeypatch.setattr(holder, name, broken)

    return arrange


def of_panel(panel):
    return panel


def reset(panel):
    """The driver of a panel whose Again is pressed at meta-step 4."""
    panel.doings[4] = lambda: panel.controls.press("again")
    return panel.driver


def half_a_reset(panel, monkeypatch, error):
    """A stage of a cell: the reset at meta-step 4 has put back the half of the training when it is interrupted."""
    trainer = reset(panel).trainer

    def broken(state):
        trainer.steps = 0
        trainer.params["w1"].zero_()
        raise error

    monkeypatch.setattr(trainer, "load_state", broken)


STAGES = {
    "starting: the first words": raise_at(of_panel, "_say"),
    "starting: what the picture shows": raise_at(of_panel, "look"),
    "starting: the picture": raise_at(lambda panel: panel.view, "frame"),
    "starting: the display": raise_at(of_panel, "show"),
    "polling": raise_at(lambda panel: module, "poll", 5),
    "reading the controls": raise_at(lambda panel: panel.controls, "values", 9),
    "taking the buttons": raise_at(lambda panel: panel.controls, "wishes", 4),
    "a reset: making parameters": raise_at(reset, "_new"),
    "a reset: half of it": half_a_reset,
    "stepping": raise_at(lambda panel: panel.driver, "step", 5),
    "half a step": raise_at(lambda panel: panel.driver.trainer._optimizer, "step", 5),
    "drawing while it trains": raise_at(lambda panel: panel.view, "frame", 2),
    "drawing half a picture": raise_at(lambda panel: panel.view.canvas.moving[-1].axes, "draw_artist", 20),
    "the words above the picture": raise_at(of_panel, "_tell", 2),
    "finishing: the last words": raise_at(of_panel, "_say", 2),
    "finishing: the picture that stays": raise_at(lambda panel: panel.view, "still"),
    "finishing: the display": raise_at(lambda panel: module, "show_still"),
}
INTERRUPTS = [KeyboardInterrupt(), asyncio.CancelledError()]
ERRORS = [ValueError("it is <odd>."), RuntimeError("it is\n<odd>"), SystemExit(1)]


class Blank:
    """Pictures that take no time."""

    def frame(self, frame, size):
        return b"", "Nothing is drawn.", 900

    def still(self, frame):
        return b"", "Nothing is drawn."


@pytest.mark.parametrize("stage", STAGES)
def test_whatever_happens_the_panel_says_so_and_can_be_run_again(stage, shown, at, monkeypatch):
    panel = SteeringPanel(driver(), View() if "half a picture" in stage else Blank(), alt="")
    panel.doings = doings = at(panel)
    for error in (*INTERRUPTS, *ERRORS):
        panel.driver.reset()
        doings.clear()
        with monkeypatch.context() as patch:
            STAGES[stage](panel, patch, error)
            if error in INTERRUPTS:
                try:
                    assert train(panel, 9) == panel.history.losses
                except type(error):  # which would end pytest too
                    pytest.fail("the interrupt was not caught")
                assert "Interrupted at meta-step" in status(panel)
            else:
                with pytest.raises(type(error)):
                    train(panel, 9)
                assert f"An error has ended the training at meta-step {panel.driver.steps} (" in status(panel)
                assert "Run the cell again to train on." in status(panel)
                assert ("it is &lt;odd&gt;)" in status(panel)) == ("odd>" in str(error))
        assert panel._state == "stopped"
        doings.clear()
        steps = panel.driver.steps
        losses = train(panel, 4)
        assert len(losses) == steps + 4
        assert f"Done: {steps + 4} meta-steps." in status(panel)
        assert losses == usual(steps + 4), "no half step is in it"


def test_an_interrupt_while_the_panel_is_displayed_again_does_not_lose_the_reader(panel, monkeypatch):
    """Once a panel said "Training." with nothing to stop, and could not be run again."""
    with monkeypatch.context() as patch:
        STAGES["starting: the display"](panel, patch, KeyboardInterrupt())
        train(panel, 5)
    assert "Training." not in status(panel)
    assert train(panel, 5) == usual(5)


# A value that the driver refuses


def test_a_refused_value_is_told_and_the_training_goes_on_with_the_one_in_use(shown, at):
    controls = standard(VALUES) | {"order": widgets.IntSlider(2, 0, 5)}
    panel = SteeringPanel(driver(), View(), controls=controls, alt="")
    doings, told = at(panel), []
    doings[3] = lambda: setattr(controls["order"], "value", 5)
    doings[4] = lambda: told.append((controls["order"].value, status(panel)))
    doings[8] = lambda: panel.controls.press("stop")
    assert train(panel, 8) == usual(8)
    [(value, words)] = told
    assert value == 2
    assert "This value was refused: order=5 must be" in words
    assert "The order stays at second." in words
    assert panel.history.changes == []


def test_a_refused_value_of_a_control_that_cannot_go_back_is_told_too(shown, at):
    class Stubborn(widgets.FloatText):
        @traitlets.validate("value")
        def _stay(self, proposal):
            return math.nan

    panel = SteeringPanel(driver(), View(), controls={"outer_lr": Stubborn(1e-3)}, alt="")
    doings, told = at(panel), []
    doings["always"] = lambda: told.append(status(panel))
    doings[3] = lambda: panel.controls.press("stop")
    assert train(panel, 3) == usual(3)
    assert "outer_lr=nan must be a finite number" in told[-1]
    assert "The outer learning rate stays at 0.001." in told[-1]


def test_a_panel_trains_once_at_a_time(panel):
    async def twice():
        first = asyncio.ensure_future(panel.train(5))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="a cell is training this panel: press Stop first"):
            await panel.train(5)
        return await first

    assert asyncio.run(twice()) == usual(5)


def test_controls_are_never_disabled(panel, at):
    """A page that disables a control under a pressed arrow key folds the lesson away instead."""
    controls = [*panel.controls.inputs.values(), *panel._control_box.buttons.values(), panel._control_box.speed]
    seen = [any(control.disabled for control in controls)]
    at(panel)["always"] = lambda: seen.append(any(control.disabled for control in controls))
    train(panel, 3)
    assert not any([*seen, *(control.disabled for control in controls)])


def test_the_cell_displays_the_panel_and_in_the_end_a_still_picture(panel, shown):
    train(panel, 3)
    live_one, still = shown
    assert live_one["text/plain"] == "Panel: a test. To use it, run this cell."
    assert live_one["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.box.model_id
    assert still["image/png"].startswith(b"\x89PNG")
    assert still["text/plain"].startswith("Panel: a test. Done: 3 meta-steps. Meta-step 3: loss")
    assert panel.image.layout.display == "none"
    train(panel, 3)
    assert panel.image.layout.display == "none"
    assert len(shown) == 4


def test_pictures_come_by_the_clock_and_take_a_share_of_the_time(panel, monkeypatch):
    """A step takes 10 ms and a picture 100: at a share of a tenth there is one a second."""
    now = [0.0]

    def later(seconds, function):
        def wrapped(*arguments):
            now[0] += seconds
            return function(*arguments)

        return wrapped

    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "SHARE", 0.1)
    monkeypatch.setattr(panel.driver, "step", later(0.01, panel.driver.step))
    monkeypatch.setattr(panel, "_draw", later(0.1, panel._draw))
    panel.frames = 0
    train(panel, 1000)
    # One is drawn before the training begins, one after, and the first one of the training is taken for an exception.
    assert panel.frames - 3 == pytest.approx(now[0], abs=1)


def test_the_view_is_handed_what_look_finds(shown):
    handed = []

    class Words:
        def draw(self, figure):
            return []

        def update(self, data):
            handed.append(data)
            return f"w is {data:.2f}."

    panel = SteeringPanel(driver(), View(Words()), look=lambda d: d.trainer.params["w1"][0, 0].item(), alt="")
    train(panel, 2)
    assert handed[-1] == panel.driver.trainer.params["w1"][0, 0].item()
    assert f"w is {handed[-1]:.2f}." in panel.readout.value
    assert math.isfinite(handed[0])
