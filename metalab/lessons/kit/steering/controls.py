"""Sliders and buttons of a training: what they are set to, and what was asked for. They never act by themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets

from ..panels import log_slider, rows, slider

BUTTONS = {"start": "play", "pause": "pause", "reset": "undo", "stop": "stop"}  # names and icons


def standard(values: Mapping[str, float]) -> dict[str, widgets.Widget]:
    """The usual control of each setting of an inner and an outer loop, set to its value.

    Raises:
        ValueError: a setting without a usual control.
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
    return {name: kinds[name](value) for name, value in values.items()}


class Controls:
    """Values by name, and wishes in the order in which they came, to be read when the training has time for them.

    However fast a slider is dragged, what is read is where it is: there is no backlog.

    Args:
        inputs: whatever has a `value`; widgets, or in their place anything else.
    """

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self.inputs = dict(inputs)
        self._wishes: list[str] = []

    def values(self) -> dict[str, float]:
        return {name: control.value for name, control in self.inputs.items()}

    def moved(self, settings: Mapping[str, float]) -> dict[str, float]:
        """The controls that a reader has moved away from `settings`, and where they are.

        A page takes a log slider to a whole step by itself, 0.4 to 0.398, and says so: up to half a step is no move.
        """
        return {name: value for name, value in self.values().items() if not self._is_at(name, value, settings[name])}

    def _is_at(self, name: str, value: float, setting: float) -> bool:
        control = self.inputs[name]
        if value == setting or not isinstance(control, widgets.FloatLogSlider) or not setting > 0:
            return value == setting
        return abs(math.log(value / setting, control.base)) < 0.501 * control.step

    def set(self, name: str, value: float) -> None:
        """Move a control, as a reader would.

        Raises:
            ValueError: there is no such control, or it cannot be moved there.
        """
        if name not in self.inputs:
            raise ValueError(f"{name}={value!r}: the controls are {', '.join(self.inputs)}")
        control, before = self.inputs[name], self.inputs[name].value
        try:
            control.value = value
        except Exception as error:  # of a widget's own kind
            raise ValueError(f"{name}={value!r}: {error}") from None
        if control.value != value:  # a slider goes to its end instead, or to a whole number
            reached, control.value = control.value, before
            raise ValueError(f"{name}={value!r}: the slider goes to {reached} instead")

    def press(self, wish: str) -> None:
        """Ask for one of BUTTONS."""
        self._wishes.append(wish)

    @property
    def waiting(self) -> int:
        """How many wishes there are to be taken."""
        return len(self._wishes)

    def wishes(self) -> list[str]:
        """What was asked for since the last time."""
        wishes, self._wishes = self._wishes, []
        return wishes


class ControlBox:
    """The widgets of `controls` and the buttons, in rows."""

    def __init__(self, controls: Controls) -> None:
        self.buttons = {}
        for name, icon in BUTTONS.items():
            button = widgets.Button(description=name.capitalize(), icon=icon)
            button.on_click(lambda _button, name=name: controls.press(name))
            self.buttons[name] = button
        self._all = [*controls.inputs.values(), *self.buttons.values()]
        self.box = widgets.VBox([*rows(controls.inputs.values()), *rows(self.buttons.values(), len(BUTTONS))])

    def enable(self, enabled: bool) -> None:
        """Let the controls be used, or not: no training reads them."""
        for control in self._all:
            control.disabled = not enabled
