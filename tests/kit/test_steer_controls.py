"""Controls hold values and wishes; they never act."""

from types import SimpleNamespace

import ipywidgets as widgets
import pytest

from metalab.lessons.kit.panels import slider
from metalab.lessons.kit.steering.controls import BUTTONS, ControlBox, Controls, standard

VALUES = {"inner_lr": 0.01, "outer_lr": 1e-3, "inner_steps": 1, "order": 2}


def test_what_is_read_is_where_a_control_is():
    controls = Controls({"outer_lr": SimpleNamespace(value=0.1)})  # no widget is needed
    assert controls.values() == {"outer_lr": 0.1}
    for value in (0.2, 0.3, 0.4):
        controls.inputs["outer_lr"].value = value
    assert controls.values() == {"outer_lr": 0.4}


def test_wishes_are_taken_once_in_their_order():
    controls = Controls({})
    controls.press("stop")
    controls.press("reset")
    assert controls.wishes() == ["stop", "reset"]
    assert controls.wishes() == []


def test_the_usual_controls_have_their_value_and_a_label():
    ours = standard(VALUES)
    assert {name: control.value for name, control in ours.items()} == VALUES
    assert [control.description for control in ours.values()] == [
        "inner learning rate α",
        "outer learning rate",
        "inner steps",
        "meta-gradient",
    ]
    assert isinstance(ours["outer_lr"], widgets.FloatLogSlider)
    with pytest.raises(ValueError, match="no usual control for margin: give one"):
        standard(VALUES | {"margin": 1.0})


def test_a_script_moves_the_slider():
    controls = Controls(standard(VALUES))
    controls.set("outer_lr", 0.05)
    controls.set("order", 1)
    assert controls.values() == VALUES | {"outer_lr": 0.05, "order": 1}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("speed", 1, "the controls are inner_lr, outer_lr, inner_steps, order"),
        ("outer_lr", 1e9, "the slider goes to 1.0 instead"),
        ("inner_steps", 99, "the slider goes to 10 instead"),
        ("inner_steps", 1.5, "the slider goes to 1 instead"),
        ("order", 3, "order=3: "),
    ],
)
def test_a_place_that_cannot_be_is_refused_and_nothing_moves(name, value, message):
    controls = Controls(standard(VALUES))
    with pytest.raises(ValueError, match=message):
        controls.set(name, value)
    assert controls.values() == VALUES


def test_buttons_ask():
    controls = Controls(standard(VALUES))
    box = ControlBox(controls, ["blow it up"])
    assert list(box.buttons) == [*BUTTONS, "blow it up"] == ["start", "stop", "again", "reset", "blow it up"]
    for name, button in box.buttons.items():
        assert button.description in (name, name.capitalize())
        button.click()
    assert controls.wishes() == [*BUTTONS, "blow it up"]
    held = [child for part in box.box.children for child in part.children]
    assert held == [*controls.inputs.values(), box.speed, *box.buttons.values()]


def test_a_hand_is_told_from_a_script():
    controls, touches = Controls(standard(VALUES)), []
    controls.touched = lambda: touches.append(controls.values())
    controls.set("outer_lr", 0.05)
    controls.put_back("outer_lr", 1e-3)
    assert touches == []
    controls.inputs["outer_lr"].value = 0.05
    assert touches == [VALUES | {"outer_lr": 0.05}]
    controls.press("start")
    assert len(touches) == 2


def test_words_have_the_digits_of_the_slider():
    controls = Controls(standard(VALUES) | {"margin": slider("margin", 2.0, 0.0, 3.0, 0.1)})
    said = {name: controls.say(name, value) for name, value in (VALUES | {"margin": 2.1}).items()}
    assert said == {"inner_lr": "0.010", "outer_lr": "0.0010", "inner_steps": "1", "order": "second", "margin": "2.1"}
    assert controls.inputs["margin"].readout_format == ".1f"


def test_a_log_slider_that_a_page_takes_to_its_next_step_has_not_moved():
    settings = {"inner_lr": 0.4, "inner_steps": 1}
    controls = Controls(standard(settings))
    assert controls.moved(settings) == {}
    controls.inputs["inner_lr"].value = 10**-0.4  # the step that is nearest to 0.4
    assert controls.moved(settings) == {}
    controls.inputs["inner_lr"].value = 10**-0.35  # one step on
    controls.inputs["inner_steps"].value = 2
    assert controls.moved(settings) == {"inner_lr": 10**-0.35, "inner_steps": 2}
