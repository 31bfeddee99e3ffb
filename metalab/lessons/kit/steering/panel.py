"""A training in a cell, with the controls that steer it and a picture of its progress."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from ....arguments import function, real, shown, whole
from ..panels import cause, paragraph, show_widget
from ..reader import a_reader_watches
from .controls import ControlBox, Controls, standard
from .driver import RECENT, Driver, History, WentBack, label
from .kernel import poll
from .view import Frame, View, in_words, width

TICK = 0.12  # seconds between two looks at the controls, and between two pictures at least
SHARE = 0.05  # the largest share of the time that goes into pictures; where drawing is slow, there are fewer of them
STEPS = 2000  # a usual number of meta-steps for one cell
PATIENCE = 600.0  # how many seconds a paused training waits for its reader


class SteeringPanel:
    """Sliders, buttons and pictures of a training that the reader steers while it runs.

    Args:
        driver: the training.
        view: draws the training.
        look: maps the driver to the data for the lesson's own picture.
        controls: the widget of each setting, by name; None for the usual ones of `driver.values`.
        alt: describes the panel, for pages without a kernel and for screen readers.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a control is of no setting, or a setting has no usual control.
    """

    def __init__(
        self,
        driver: Driver,
        view: View,
        *,
        look: Callable[[Driver], Any] = lambda driver: None,
        controls: Mapping[str, Any] | None = None,
        alt: str,
    ) -> None:
        self.driver, self.view, self.look, self.alt = driver, view, look, alt
        function(look=look)
        self.controls = Controls(standard(driver.values) if controls is None else controls)
        if unknown := self.controls.inputs.keys() - driver.values.keys():
            raise ValueError(f"no setting for the controls {', '.join(sorted(unknown))}: remove them")
        self._buttons = ControlBox(self.controls)
        self._buttons.enable(False)
        self.image = widgets.Image(format="jpeg", layout=widgets.Layout(max_width="100%"))
        self.status = widgets.HTML()  # screen readers announce it, so it reports only events
        self.readout = widgets.HTML()  # changes with every picture
        self.marks = widgets.HTML()
        self.box = widgets.VBox([self._buttons.box, self.status, self.image, self.readout, self.marks])
        self.frames = 0
        self._target = STEPS
        self._state = "ended"
        self._say("Run the cell to train.")
        self._draw()

    @property
    def history(self) -> History:
        """Return what has been done so far, for example for `panel.history.save(path)`."""
        return self.driver.history

    async def train(
        self,
        steps: int = STEPS,
        *,
        script: Mapping[int, Mapping[str, float]] | None = None,
        patience: float | None = None,
    ) -> list[float]:
        """Take `steps` meta-steps while the controls are read. The cell ends after the last step, or with Stop.

        Start continues after Pause. Reset starts again from the same seed, with the current settings. An interrupt has
        the same effect as Stop. Running the cell again continues where the training stopped.

        Args:
            steps: how many meta-steps to take.
            script: changes of settings, by the first step that has them: {50: {"order": 1}}. Steps are counted from 1
                in this call.
            patience: how many seconds a paused training waits before the cell ends. None waits for PATIENCE, or not
                at all if nobody watches, as when a program executes the whole notebook.

        Returns:
            All losses so far.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: an argument is out of range, or a change in the script is impossible. Nothing was trained then.
            RuntimeError: the panel is already training.

        Whatever else is raised ends the cell. The panel then says so, keeps what was trained, and can be run again.
        """
        if self._state != "ended":
            raise RuntimeError("this panel is training: press Stop first")
        whole(steps=steps)
        script = self._checked({} if script is None else script, steps)
        if patience is None:
            patience = PATIENCE if a_reader_watches() else 0
        real(least=0, patience=patience)
        begin = self.driver.steps
        try:
            with self._told():
                self._target = begin + steps
                self.controls.wishes()  # forget the buttons that were pressed before
                self._go("running", "Training.")
                self._buttons.enable(True)
                self.image.layout.display = None
                self._draw()
                self.show()
                await self._run({begin + step: values for step, values in script.items()}, steps, patience)
            with self._told():
                self._buttons.enable(False)
                self._still()
        finally:  # even if telling the reader fails
            self._state = "ended"
            self._buttons.enable(False)
        return self.driver.history.losses

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say in the status line what ends the cell. An interrupt ends only what is done inside."""
        try:
            yield
        except (KeyboardInterrupt, asyncio.CancelledError):
            self._say(f"Interrupted at meta-step {self.driver.steps}: what was trained is kept.")
        except BaseException as error:
            self._say(
                f"An error has ended the cell at meta-step {self.driver.steps} ({cause(error)}). What was trained "
                "is kept. Run the cell again to go on."
            )
            raise

    def show(self) -> None:
        """Display the panel. It can be displayed several times, and all copies show the same."""
        show_widget(self.box, b"", self.alt)

    def _checked(self, script: Mapping[int, Mapping[str, float]], steps: int) -> dict[int, dict[str, float]]:
        """Return a copy of the script. Every change in it is possible: each one is tried and taken back.

        Raises:
            TypeError: it is no script.
            ValueError: a change is impossible, or its step is not one of 1 to `steps`.
        """
        if not isinstance(script, Mapping) or not all(isinstance(values, Mapping) for values in script.values()):
            raise TypeError(f"script={shown(script)} must map steps to settings, as in {{50: {{'order': 1}}}}")
        before = self.controls.values()
        for step, values in script.items():
            whole(most=steps, what="the number of steps", **{"the script's step": step})
            self.driver.check(values)
            try:
                for name, value in values.items():
                    self.controls.set(name, value)
            finally:
                for name, value in before.items():
                    self.controls.put_back(name, value)
        return {step: dict(values) for step, values in script.items()}

    async def _run(self, script: dict[int, dict[str, float]], steps: int, patience: float) -> None:
        """Train up to the target, while reading the controls, following the script and drawing pictures."""
        last_look, last_picture = -math.inf, time.monotonic()
        pause, cost = TICK, math.inf  # seconds from one picture to the next, and how many the last one took
        paused_at = 0.0  # the time at which the training was paused; 0 while it runs
        while self.driver.steps < self._target:
            now = time.monotonic()
            if now - last_look >= TICK or paused_at:
                last_look = now
                await self._listen()
                self._obey(steps)
                if self._state == "ended":
                    return
            for name, value in script.pop(self.driver.steps + 1, {}).items():
                self.controls.set(name, value)
                self.driver.set(name, value)
            if now - last_picture >= pause:
                last_picture = now
                self._draw()
                before, cost = cost, time.monotonic() - now
                pause = max(TICK, min(before, cost) / SHARE)  # a picture that was drawn as a whole is an exception
            if self._state == "paused":
                paused_at = paused_at or now
                if now - paused_at >= patience:
                    self._say("Nobody pressed Start, so the cell has ended. Run it again to continue.", more=True)
                    return
                await poll(0.02)
                continue
            paused_at = 0.0
            try:
                self.driver.step()
            except WentBack as reason:
                self._go("paused", f"{reason}")
        self._say(f"Done: {steps} meta-steps. Run the cell again for more.")

    async def _listen(self) -> None:
        """Let the controls receive all messages that have come in, because only a drag's last value is worth a step."""
        received = self.controls.values(), self.controls.waiting
        for _ in range(200):  # a limit, in case the messages never end
            await poll()
            before, received = received, (self.controls.values(), self.controls.waiting)
            if received == before:
                return

    def _obey(self, steps: int) -> None:
        """Apply the values of the controls and the buttons that were pressed."""
        for name, value in self.controls.moved(self.driver.values).items():
            try:
                self.driver.set(name, value)
            except ValueError as refusal:
                stays = self.driver.values[name]
                self.controls.put_back(name, stays)
                self._say(f"This value was refused: {cause(refusal)}. The {label(name)} stays at {stays:.3g}.")
        for button in self.controls.wishes():
            if button == "start" and self._state == "paused":
                self._go("running", "Training.")
            elif button == "pause" and self._state == "running":
                self._go("paused", f"Paused at meta-step {self.driver.steps}. Start goes on, Stop ends the cell.")
            elif button == "reset":
                self.driver.reset()
                self._target = steps
                self._say(f"Reset: from the same seed, with the settings as they are. {self._state.capitalize()}.")
            elif button == "stop":
                self._go("ended", f"Stopped at meta-step {self.driver.steps}. Run the cell again to go on.")
                return

    def _go(self, state: str, message: str) -> None:
        """Change to a state, and announce it."""
        self._state = state
        self._say(message)

    def _say(self, message: str, *, more: bool = False) -> None:
        """Show a message in the status line, in place of the message before or, with `more`, after it."""
        before = f"{self._message} " if more else ""
        self._message = before + message
        self.status.value = paragraph(self._message, "status")

    def _frame(self) -> Frame:
        driver, history = self.driver, self.driver.history
        return Frame(history.losses, self._width(), history.changes, driver.earlier, driver.gone, self.look(driver))

    def _width(self) -> int:
        return width(max(self.driver.steps, len(self.driver.earlier)), self._target)

    def _draw(self) -> None:
        picture, caption = self.view.frame(self._frame())
        self.image.value = picture
        self._tell(caption)
        self.frames += 1

    def _tell(self, caption: str) -> None:
        """Show the loss with the caption, and the changes, below the picture."""
        driver = self.driver
        loss = f"loss {driver.loss:.3g} (mean of the last {RECENT})" if driver.steps else "no loss yet"
        self.readout.value = paragraph(f"Meta-step {driver.steps} of {self._target}: {loss}. {caption}")
        changes = in_words(driver.history.changes, driver.history.start, self._width())
        self.marks.value = paragraph(f"Changes: {'; '.join(changes)}." if changes else "No changes yet.")

    def _still(self) -> None:
        """Replace the live picture by one that stays when the page is closed."""
        picture, caption = self.view.still(self._frame())
        self._tell(caption)
        alt = f"{self.alt} {self._message} Meta-step {self.driver.steps}, loss {self.driver.loss:.3g}. {caption}"
        metadata = {"image/png": {"alt": alt, "needs_background": "light"}}
        display({"image/png": picture, "text/plain": alt}, raw=True, metadata=metadata)
        self.image.layout.display = "none"
