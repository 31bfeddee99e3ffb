"""A training in a cell, with the controls that steer it and a picture of how it goes."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
from IPython import get_ipython
from IPython.display import display

from ..panels import show_widget
from .controls import ControlBox, Controls, standard
from .driver import RECENT, Driver, History, WentBack
from .kernel import poll
from .view import Progress, View, in_words, width

TICK = 0.12  # seconds from one look at the controls, and one picture, to the next
SHARE = 0.05  # of the time at most is spent on pictures: where drawing is slow they are fewer
STEPS = 2000  # a usual budget
PATIENCE = 600.0  # seconds that a paused training waits for a reader


class Panel:
    """Sliders, buttons and pictures of a training that one steers while it runs.

    Args:
        driver: the training.
        view: draws it.
        look: what the view's own picture shows, from the driver.
        controls: settings by name, to widgets; None: the usual ones of `driver.values`.
        alt: what the panel is, for pages without a kernel and for screen readers.
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
        self.controls = Controls(standard(driver.values) if controls is None else controls)
        self._buttons = ControlBox(self.controls)
        self._buttons.enable(False)
        self.image = widgets.Image(format="jpeg", layout=widgets.Layout(max_width="100%"))
        self.status = widgets.HTML()  # screen readers announce it, so it says only what happens
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
        """What was done so far: `panel.history.save(path)`."""
        return self.driver.history

    async def train(
        self,
        steps: int = STEPS,
        *,
        script: Mapping[int, Mapping[str, float]] | None = None,
        patience: float | None = None,
    ) -> list[float]:
        """Take `steps` meta-steps while the controls are read; the cell ends with the last of them, or with Stop.

        Start goes on after Pause; Reset begins anew, from the same seed and with the settings as they are. An
        interrupt is like Stop. Running it again goes on where it was.

        Args:
            steps: the budget.
            script: changes by the step that is the first to have them, counted from 1 in this call: {50: {"order": 1}}.
            patience: seconds that a paused training waits before the cell ends; None: some minutes, or not at all
                where nobody looks on, as when a whole notebook is executed by a program.

        Returns:
            All losses so far.

        Raises:
            ValueError: the budget or the script is not one that could be done. Nothing was trained then.
            RuntimeError: the panel is training.
        """
        if self._state != "ended":
            raise RuntimeError("this panel is training: press Stop first")
        if steps < 1:
            raise ValueError(f"steps={steps} must be at least 1")
        script = {step: dict(values) for step, values in (script or {}).items()}
        self._check(script, steps)
        if patience is None:
            patience = PATIENCE if _somebody_looks_on() else 0
        begin = self.driver.steps
        self._target = begin + steps
        self.controls.wishes()  # of before are forgotten
        self._buttons.enable(True)
        self._go("running", "Training.")
        self.image.layout.display = None
        self._draw()
        self.show()
        try:
            await self._run({begin + step: values for step, values in script.items()}, steps, patience)
        except (KeyboardInterrupt, asyncio.CancelledError):
            self._say(f"Interrupted at meta-step {self.driver.steps}: what was trained is kept.")
        finally:
            self._state = "ended"
            self._buttons.enable(False)
            self._still()
        return self.driver.history.losses

    def show(self) -> None:
        """Display the panel, once more if it is displayed already: each shows the same."""
        show_widget(self.box, b"", self.alt)

    def _check(self, script: dict[int, dict[str, float]], steps: int) -> None:
        """That every change of the script can be made: each is tried, and taken back."""
        before = self.controls.values()
        for step, values in script.items():
            if not 1 <= step <= steps:
                raise ValueError(f"script={script}: step {step} must be among 1 to {steps}")
            try:
                for name, value in values.items():
                    self.controls.set(name, value)
            finally:
                for name, value in before.items():
                    self.controls.set(name, value)

    async def _run(self, script: dict[int, dict[str, float]], steps: int, patience: float) -> None:
        looked, drawn = -math.inf, time.monotonic()
        pause, cost = TICK, math.inf  # from one picture to the next, and what the last one took
        since = 0.0  # when the training was paused
        while self.driver.steps < self._target:
            now = time.monotonic()
            if now - looked >= TICK or since:
                looked = now
                await self._listen()
                self._obey(steps)
                if self._state == "ended":
                    return
            for name, value in script.pop(self.driver.steps + 1, {}).items():
                self.controls.set(name, value)
                self.driver.set(name, value)
            if now - drawn >= pause:
                drawn = now
                self._draw()
                before, cost = cost, time.monotonic() - now
                pause = max(TICK, min(before, cost) / SHARE)  # a picture that was drawn anew is an exception
            if self._state == "paused":
                since = since or now
                if now - since >= patience:
                    self._say("Nobody came: the cell has ended, and running it again goes on.", more=True)
                    return
                await poll(0.02)
                continue
            since = 0.0
            try:
                self.driver.step()
            except WentBack as reason:
                self._go("paused", f"{reason}")
        self._say(f"Done: {steps} meta-steps. Run the cell again for more.")

    async def _listen(self) -> None:
        """Let the controls hear all that has come in: of a fast drag only the last value is worth a step."""
        heard = self.controls.values(), self.controls.waiting
        for _ in range(200):  # in case it never ends
            await poll()
            before, heard = heard, (self.controls.values(), self.controls.waiting)
            if heard == before:
                return

    def _obey(self, steps: int) -> None:
        """Take over what the controls are set to, and what was pressed."""
        for name, value in self.controls.moved(self.driver.values).items():
            self.driver.set(name, value)
        for wish in self.controls.wishes():
            if wish == "start" and self._state == "paused":
                self._go("running", "Training.")
            elif wish == "pause" and self._state == "running":
                self._go("paused", f"Paused at meta-step {self.driver.steps}. Start goes on, Stop ends the cell.")
            elif wish == "reset":
                self.driver.reset()
                self._target = steps
                self._say(f"Reset: from the same seed, with the settings as they are. {self._state.capitalize()}.")
            elif wish == "stop":
                self._go("ended", f"Stopped at meta-step {self.driver.steps}. Run the cell again to go on.")
                return

    def _go(self, state: str, words: str) -> None:
        self._state = state
        self._say(words)

    def _say(self, words: str, *, more: bool = False) -> None:
        before = f"{self._words} " if more else ""
        self._words = before + words
        self.status.value = f"<p role='status'>{self._words}</p>"

    def _progress(self) -> Progress:
        driver, history = self.driver, self.driver.history
        return Progress(history.losses, self._width(), history.changes, driver.earlier, driver.gone, self.look(driver))

    def _width(self) -> int:
        return width(max(self.driver.steps, len(self.driver.earlier)), self._target)

    def _draw(self) -> None:
        picture, words = self.view.frame(self._progress())
        self.image.value = picture
        self._tell(words)
        self.frames += 1

    def _tell(self, words: str) -> None:
        driver = self.driver
        loss = f"loss {driver.loss:.3g} (mean of the last {RECENT})" if driver.steps else "no loss yet"
        self.readout.value = f"<p>Meta-step {driver.steps} of {self._target}: {loss}. {words}</p>"
        changes = in_words(driver.history.changes, driver.history.start, self._width())
        self.marks.value = f"<p>Changes: {'; '.join(changes)}.</p>" if changes else "<p>No changes yet.</p>"

    def _still(self) -> None:
        """Leave a picture that stays when the page is closed, in place of the one that moved."""
        picture, words = self.view.still(self._progress())
        self._tell(words)
        words = f"{self.alt} {self._words} Meta-step {self.driver.steps}, loss {self.driver.loss:.3g}. {words}"
        metadata = {"image/png": {"alt": words, "needs_background": "light"}}
        display({"image/png": picture, "text/plain": words}, raw=True, metadata=metadata)
        self.image.layout.display = "none"


def _somebody_looks_on() -> bool:
    """Whether this cell was run by a page that could ask its reader: nbclient and nbval say they could not."""
    kernel = getattr(get_ipython(), "kernel", None)
    return bool(getattr(kernel, "_allow_stdin", False))
