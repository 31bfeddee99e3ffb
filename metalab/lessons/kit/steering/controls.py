"""The sliders and buttons of a training. They store values and presses, and never act by themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import ipywidgets as widgets

from ....arguments import shown
from ..panels import cause, grid, log_slider, reading, slider

BUTTONS = {  # the icon of each button, and what it does
    "start": ("play", "train on, until Stop"),
    "stop": ("stop", "stop the training, and keep what was trained"),
    "again": ("repeat", "train from meta-step 0 again, with the settings as they are"),
    "reset": ("undo", "go back to meta-step 0 and to the settings of the start"),
}
SPEEDS = [("1 a second", 1.0), ("3 a second", 3.0), ("10 a second", 10.0), ("30 a second", 30.0)]
FASTEST = ("fastest", math.inf)


def standard(values: Mapping[str, float]) -> dict[str, widgets.Widget]:
    """Return the usual control of each setting of an inner and an outer loop, set to the setting's value.

    Raises:
        ValueError: a setting has no usual control, or the control does not reach the setting's value.
    """
    kinds = {
        "inner_lr": lambda value: log_slider("inner learning rate α", value, -4, 0),
        "outer_lr": lambda value: log_slider("outer learning rate", value, -5, 0),
        "inner_steps": lambda value: slider("inner steps", value, 0, 10, 1),
        "order": lambda value: widgets.RadioButtons(
            options=[("second order", 2), ("first order", 1)], value=value, description="meta-gradient"
        ),
    }
    unknown = set(values) - set(kinds)
    if unknown:
        raise ValueError(f"no usual control for {', '.join(sorted(unknown))}: give one")
    controls = {}
    for name, value in values.items():
        try:
            controls[name] = kinds[name](value)
        except Exception as error:  # each kind of widget raises its own
            raise ValueError(f"no usual control for {name}={shown(value)}: give one ({cause(error)})") from None
    return controls


class Controls:
    """The controls' values, and the buttons pressed in their order, to be read when the training has time for them.

    However fast the reader drags a slider, only its current value is read, so no backlog builds up.

    Args:
        inputs: widgets by name, or other objects that have a `value`.

    Attributes:
        touched: is called when the reader has moved a control or pressed a button.

    Raises:
        TypeError: an input has no value.
    """

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        for name, control in inputs.items():
            if not hasattr(control, "value"):
                raise TypeError(f"controls: {name}={shown(control)} must be a widget with a value")
        self.inputs = dict(inputs)
        self.touched: Callable[[], None] = lambda: None
        self._pressed: list[str] = []
        self._by_hand = True
        for control in self.inputs.values():
            if isinstance(control, widgets.Widget):
                control.observe(self._moved_by_hand, names="value")

    def _moved_by_hand(self, _change: dict) -> None:
        if self._by_hand:
            self.touched()

    @contextmanager
    def _without_hands(self) -> Iterator[None]:
        """Move controls here without taking it for the reader's hand."""
        self._by_hand = False
        try:
            yield
        finally:
            self._by_hand = True

    def values(self) -> dict[str, float]:
        """Return the controls' current values by name."""
        return {name: control.value for name, control in self.inputs.items()}

    def moved(self, settings: Mapping[str, float]) -> dict[str, float]:
        """Return the controls that a reader has moved away from `settings`, with their new values.

        A page rounds a log slider to a whole step by itself, such as 0.4 to 0.398, and reports the rounded value.
        Therefore a difference of up to half a step does not count as a move.
        """
        return {name: value for name, value in self.values().items() if not self._is_at(name, value, settings[name])}

    def _is_at(self, name: str, value: float, setting: float) -> bool:
        """Tell whether a control with this value is where `setting` puts it."""
        control = self.inputs[name]
        if value == setting or not isinstance(control, widgets.FloatLogSlider) or not setting > 0:
            return value == setting
        return abs(math.log(value / setting, control.base)) < 0.501 * control.step

    def set(self, name: str, value: float) -> None:
        """Move a control, as a program does.

        Raises:
            ValueError: there is no such control, or it cannot be moved there.
        """
        if name not in self.inputs:
            raise ValueError(f"{name}={shown(value)}: the controls are {', '.join(self.inputs)}")
        control, before = self.inputs[name], self.inputs[name].value
        with self._without_hands():
            try:
                control.value = value
            except Exception as error:  # each kind of widget raises its own
                raise ValueError(f"{name}={shown(value)}: {error}") from None
            if control.value != value:  # the slider went to its end instead, or to a whole number
                reached, control.value = control.value, before
                raise ValueError(f"{name}={shown(value)}: the slider goes to {reached} instead")

    def put_back(self, name: str, value: float) -> None:
        """Move a control to the value in use. One that cannot be there stays where it is."""
        with self._without_hands(), suppress(Exception):  # each kind of widget raises its own
            self.inputs[name].value = value

    def say(self, name: str, value: float) -> str:
        """Return a setting's value in words, as its control shows it."""
        if name == "order":
            return {1: "first", 2: "second"}.get(value, f"{value:g}")
        return reading(self.inputs.get(name), value)

    def press(self, button: str) -> None:
        """Record that one of BUTTONS, or a preset, was pressed."""
        self._pressed.append(button)
        self.touched()

    @property
    def waiting(self) -> int:
        """Return how many buttons were pressed since `wishes` was last called."""
        return len(self._pressed)

    def wishes(self) -> list[str]:
        """Return the buttons pressed since the last call, in their order."""
        wishes, self._pressed = self._pressed, []
        return wishes


class ControlBox:
    """The controls, the buttons, and the speed, laid out below each other.

    They are never disabled: a page that disables a control under a pressed key gives the key to something else.

    Args:
        controls: the settings' controls.
        presets: the names of the buttons that change settings.
    """

    def __init__(self, controls: Controls, presets: Iterable[str]) -> None:
        self.buttons = {}
        for name, (icon, tooltip) in BUTTONS.items():
            self.buttons[name] = widgets.Button(description=name.capitalize(), icon=icon, tooltip=tooltip)
        for name in presets:
            self.buttons[name] = widgets.Button(description=name)
        for name, button in self.buttons.items():
            button.layout.width = "auto"
            button.on_click(lambda _button, name=name: controls.press(name))
        self.speed = widgets.SelectionSlider(
            options=[*SPEEDS, FASTEST], value=FASTEST[1], description="speed, meta-steps", continuous_update=False
        )
        wrap = widgets.Layout(flex_flow="row wrap")
        self.box = widgets.VBox(
            [
                grid([*(each for each in controls.inputs.values() if isinstance(each, widgets.Widget)), self.speed]),
                widgets.HBox(list(self.buttons.values()), layout=wrap),
            ]
        )
