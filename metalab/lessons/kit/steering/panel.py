"""A training in a cell, with the controls that steer it and a picture of its progress."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets

from ....arguments import function, shown, whole
from ..panels import LIVE, LONGEST, cause, panel_box, paragraph, show_still, show_widget, time_left
from ..room import Room
from .controls import BUTTONS, ControlBox, Controls, standard
from .driver import RECENT, Driver, History, WentBack, label
from .kernel import breathe, ignore_interrupts_again, poll, trains_between_cells
from .view import Frame, View, in_words, what_differs, width

TICK = 0.08  # seconds between two looks at the controls
PAUSE = 0.115  # seconds between two pictures at least: more than 8 in a second would only slow the training down
SHARE = 0.06  # the largest share of the time that goes into pictures; where drawing is slow, there are fewer of them
LOOK = 0.02  # and the largest share that goes into the data for the lesson's own picture, which are computed less often
BREATH = 0.03  # how many seconds a training between the cells takes from the kernel at once
STEPS = 2000  # a usual number of meta-steps for one cell

_training: SteeringPanel | None = None  # the panel that trains: one at a time, because they would share the processor


class SteeringPanel:
    """Sliders, buttons and pictures of a training that the reader steers while it runs.

    `await panel.train(2000)` trains in a cell. The panel stays alive when the cell has ended: Start trains on from
    where it is, between the cells, until Stop.

    Args:
        driver: the training.
        view: draws the training.
        look: maps the driver to the data for the lesson's own picture.
        controls: the widget of each setting, by name; None for the usual ones of `driver.values`.
        presets: settings to try, by the words on their buttons: {"blow it up": {"outer_lr": 1.0}}. A button that
            restores the settings of the start is always there.
        alt: describes the panel, for pages without a kernel and for screen readers.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a control is of no setting, a setting has no usual control, or a preset is impossible.
    """

    def __init__(
        self,
        driver: Driver,
        view: View,
        *,
        look: Callable[[Driver], Any] = lambda driver: None,
        controls: Mapping[str, Any] | None = None,
        presets: Mapping[str, Mapping[str, float]] | None = None,
        alt: str,
    ) -> None:
        self.driver, self.view, self.look, self.alt = driver, view, look, alt
        function(look=look)
        self.controls = Controls(standard(driver.values) if controls is None else controls)
        if unknown := self.controls.inputs.keys() - driver.values.keys():
            raise ValueError(f"no setting for the controls {', '.join(sorted(unknown))}: remove them")
        self._usual = dict(driver.values)
        self._presets = {name: dict(values) for name, values in (presets or {}).items()}
        for name, values in self._presets.items():
            if name.lower() in {*BUTTONS, "restore"}:
                raise ValueError(f"presets: {name!r} is the name of a button already; choose another one")
            self._check(values)
        self._presets["Restore"] = self._usual
        self.controls.touched = self._touched
        self._control_box = ControlBox(self.controls, self._presets)
        self.room = Room(self._resized)
        self.image = widgets.Image(format="jpeg")
        self.image.add_class("metalab-picture")
        # Screen readers announce the status, so it reports only events. It has room for two lines, so that the page
        # does not move when they come.
        self.status = widgets.HTML(layout=widgets.Layout(min_height="2.9em"))
        self.readout = widgets.HTML(layout=widgets.Layout(min_height="2.9em"))  # changes with every picture
        self.marks = widgets.HTML(layout=widgets.Layout(min_height="1.5em"))
        self.box = panel_box(
            [self._control_box.box, self.status, self.readout, self.image, self.marks, self.room.widget]
        )
        self.frames = 0
        self._seen: Any = None  # what `look` returned, and when it may be called again
        self._next_look = -math.inf
        self._looking = 0.0  # how many seconds it took for the last picture; LOOK limits them, and SHARE does not
        self._target: int | None = None  # the meta-step at which the cell ends; None where only Stop ends the training
        self._began: tuple[int, float] | None = None  # the meta-step and the time at which the cell began to train
        self._hand = False  # whether the reader has taken over since the last reset
        self._state = "stopped"
        self._task: asyncio.Task | None = None
        self._say("Run the cell to train.")
        self._draw()

    @property
    def history(self) -> History:
        """Return what has been done so far, for example for `panel.history.save(path)`."""
        return self.driver.history

    async def train(
        self, steps: int = STEPS, *, script: Mapping[int, Mapping[str, float]] | None = None
    ) -> list[float]:
        """Take `steps` meta-steps while the controls are read, and end the cell.

        As soon as the reader moves a control, the rest of the script is dropped, and the training goes on until Stop:
        between the cells where the kernel can do that, and else in this cell. An interrupt has the same effect as Stop.
        Running the cell again continues where the training stopped.

        Args:
            steps: how many meta-steps to take.
            script: changes of settings, by the first meta-step that has them: {50: {"order": 1}}. Steps that lie
                behind are left out, and so is the script when the reader has taken over.

        Returns:
            All losses so far.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: an argument is out of range, or a change in the script is impossible. Nothing was trained then.
            RuntimeError: a cell is already training this panel.

        Whatever else is raised ends the cell. The panel then says so, keeps what was trained, and can be run again.
        """
        if self._state == "running" and self._task is None:
            raise RuntimeError("a cell is training this panel: press Stop first")
        whole(steps=steps)
        script = self._checked({} if script is None else script, self.driver.steps + steps)
        await self._end_task()
        try:
            with self._told():
                self.controls.wishes()  # forget the buttons that were pressed before
                self._target, self._began = self.driver.steps + steps, (self.driver.steps, time.monotonic())
                self._run("Training. Touch a control to take over." if script else "Training.")
                self.image.layout.display = None
                self.box.add_class(LIVE)
                self._draw()
                self.show()
                await self._train(poll, {} if self._hand else script)
                if self._state == "running" and self._target is None:  # the reader has taken over
                    self._start_task()
            with self._told():
                if self._task is None:
                    self._draw()
                show_still(self.view.still(self._frame())[0], self._alt())
                if not trains_between_cells():
                    self.image.layout.display = "none"  # the still picture takes its place
                    self.box.remove_class(LIVE)
        finally:  # even if telling the reader fails
            if self._task is None:
                self._stop()
        return list(self.driver.history.losses)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say in the status line what ends the training. An interrupt ends only what is done inside."""
        try:
            yield
        except (KeyboardInterrupt, asyncio.CancelledError):
            self._stop(f"Interrupted at meta-step {self.driver.steps}: what was trained is kept.", self._how_on())
        except BaseException as error:
            self._stop(
                f"An error has ended the training at meta-step {self.driver.steps} ({cause(error)}). What was trained "
                "is kept.",
                self._how_on(),
            )
            raise

    def show(self) -> None:
        """Display the panel. It can be displayed several times, and all copies show the same."""
        show_widget(self.box, b"", self.alt)

    def _check(self, values: Mapping[str, float]) -> None:
        """Check that settings and controls can have these values: each is tried and taken back.

        Raises:
            ValueError: they cannot.
        """
        before = self.controls.values()
        self.driver.check(values)
        try:
            for name, value in values.items():
                self.controls.set(name, value)
        finally:
            for name, value in before.items():
                self.controls.put_back(name, value)

    def _checked(self, script: Mapping[int, Mapping[str, float]], last: int) -> dict[int, dict[str, float]]:
        """Return a copy of the script. Every change in it is possible.

        Raises:
            TypeError: it is no script.
            ValueError: a change is impossible, or its step is not one of 1 to `last`.
        """
        if not isinstance(script, Mapping) or not all(isinstance(values, Mapping) for values in script.values()):
            raise TypeError(f"script={shown(script)} must map steps to settings, as in {{50: {{'order': 1}}}}")
        for step, values in script.items():
            whole(most=last, what="the meta-step at which the cell ends", **{"the script's step": step})
            self._check(values)
        return {step: dict(values) for step, values in script.items()}

    # Training, in a cell and between the cells

    async def _train(self, rest: Callable[[], Any], script: dict[int, dict[str, float]]) -> None:
        """Train while reading the controls, following the script and drawing pictures.

        It returns when the target is reached, when the reader stops the training, when it diverges, or when the reader
        takes over from a cell and the training can go on between the cells.

        Args:
            rest: lets the kernel deliver messages; see `kernel`.
            script: changes of settings by meta-step.
        """
        last_look, last_picture, last_breath = -math.inf, time.monotonic(), time.monotonic()
        pause, due = PAUSE, -math.inf  # seconds to the next picture; when the next step is due
        cost = SHARE * PAUSE  # seconds that the last picture took; the first one is an exception, too
        in_cell = self._target is not None
        while self._state == "running" and (self._target is None or self.driver.steps < self._target):
            now = time.monotonic()
            waits = now < due
            if now - last_look >= TICK or waits:
                last_look = last_breath = now
                await self._listen(rest)
                touched = self._obey()
                if touched:
                    pause = TICK  # so that the reader soon sees what it has done
                if touched and in_cell:
                    script.clear()
                    self._target = None
                    if self._state == "running" and trains_between_cells():
                        return
                    in_cell = False
                if self._state != "running":
                    return
            elif not in_cell and now - last_breath >= BREATH:
                last_breath = now
                await rest()
            for name, value in script.pop(self.driver.steps + 1, {}).items():
                self.controls.set(name, value)
                self.driver.set(name, value)
                pause = TICK
            if now - last_picture >= pause:
                last_picture = now
                self._draw()
                before, cost = cost, time.monotonic() - now - self._looking
                # A picture that was drawn as a whole, because an axis changed, is an exception.
                pause = max(PAUSE, min(LONGEST, before / SHARE, cost / SHARE))
            if waits:
                await asyncio.sleep(min(0.02, max(0.0, due - time.monotonic())))
                continue
            speed = self._control_box.speed.value
            due = max(now, due) + 1 / speed if math.isfinite(speed) else -math.inf
            try:
                self.driver.step()
            except WentBack as reason:
                self._stop(f"{reason}", self._how_on())
        if self._state == "running":
            self._stop(f"Done: {self.driver.steps} meta-steps.", self._how_on())

    def _run(self, message: str) -> None:
        """Begin to train. Another panel that trains stops."""
        global _training
        if _training is not None and _training is not self and _training._state == "running":
            _training._stop("Stopped, because another panel trains now.", _training._how_on())
        _training, self._state = self, "running"
        self._say(message)

    def _stop(self, message: str = "", hint: str = "") -> None:
        """Stop training, and say why."""
        self._state = "stopped"
        self._began = None
        if message:
            self._say(message, hint)

    def _how_on(self) -> str:
        return "Start trains on." if trains_between_cells() else "Run the cell again to train on."

    def _start_task(self) -> None:
        """Train between the cells, until Stop."""
        self._target = self._began = None
        self._task = asyncio.ensure_future(self._between_cells())

    async def _between_cells(self) -> None:
        try:
            with self._told():
                await self._train(breathe, {})
                self._draw()
        except BaseException:  # the reader was told; nobody waits for this task
            pass
        finally:
            ignore_interrupts_again()
            self._task = None
            self._state = "stopped"

    async def _end_task(self) -> None:
        """Wait until the training between the cells has ended."""
        task = self._task
        if task is not None:
            self._state = "stopped"
            await asyncio.wait([task])

    def _touched(self) -> None:
        """Respond to the reader's hand. While a training runs, it looks at the controls by itself."""
        if self._state != "running":
            self._obey()
            self._draw()

    def _resized(self) -> None:
        if self._state != "running":
            self._draw()

    async def _listen(self, rest: Callable[[], Any]) -> None:
        """Let the controls receive all messages that have come in, because only a drag's last value is worth a step."""
        received = self.controls.values(), self.controls.waiting
        for _ in range(200):  # a limit, in case the messages never end
            await rest()
            before, received = received, (self.controls.values(), self.controls.waiting)
            if received == before:
                return

    # Obeying the reader

    def _obey(self) -> bool:
        """Apply the values of the controls and the buttons that were pressed, and return whether there were any."""
        moved, pressed = self.controls.moved(self.driver.values), self.controls.wishes()
        if not moved and not pressed:
            return False
        if not self._hand and self._state == "running":
            self._say("You steer now. The training goes on until Stop.")
        self._hand = True
        for name, value in moved.items():
            self._set(name, value)
        for button in pressed:
            if button in self._presets:
                for name, value in self._presets[button].items():
                    self.controls.put_back(name, value)
                    self._set(name, value)
            else:
                getattr(self, f"_press_{button}")()
        return True

    def _set(self, name: str, value: float) -> None:
        try:
            self.driver.set(name, value)
        except ValueError as refusal:
            stays = self.driver.values[name]
            self.controls.put_back(name, stays)
            stays = self.controls.say(name, stays)
            self._say(f"This value was refused: {cause(refusal)}. The {label(name)} stays at {stays}.")

    def _press_start(self) -> None:
        if self._state == "running":
            self._say("The training is running already. Stop ends it.")
        elif trains_between_cells():
            self._run("Training until Stop.")
            self._start_task()
        else:
            self._say("Here a training runs in its cell only.", self._how_on())

    def _press_stop(self) -> None:
        if self._state == "running":
            self._stop(f"Stopped at meta-step {self.driver.steps}.", self._how_on())
        else:
            self._say("The training has stopped already.", self._how_on())

    def _press_again(self) -> None:
        self.driver.reset()
        self._next_look = -math.inf
        words = "From meta-step 0 again, with the same seed and the settings as they are."
        if self._state == "running":
            self._say(words)
        else:
            self._say(words, self._how_on())
            if trains_between_cells():
                self._run(words)
                self._start_task()

    def _press_reset(self) -> None:
        for name, value in self._usual.items():
            self.controls.put_back(name, value)
            self.driver.set(name, value)
        self.driver.reset()
        self._hand = False
        self._stop("Back at meta-step 0, with the settings of the start.", self._how_on())

    # What the reader sees

    def _say(self, message: str, hint: str = "") -> None:
        """Show a message in the status line, and what the reader can do next."""
        self._message = message
        self.status.value = paragraph(f"{message} {hint}".strip(), "status")

    def _alt(self) -> str:
        return f"{self.alt} {self._message} {self._tell()}"

    def _frame(self) -> Frame:
        driver, history = self.driver, self.driver.history
        earlier = [(self._name(i, run), run.losses) for i, run in enumerate(driver.earlier)]
        return Frame(history.losses, self._width(), history.changes, earlier, driver.gone, self._looked())

    def _looked(self) -> Any:
        """Return the data for the lesson's own picture: of now, unless a training runs and they would cost too much."""
        start, self._looking = time.monotonic(), 0.0
        if self._state != "running" or start >= self._next_look:
            self._seen = self.look(self.driver)
            end = time.monotonic()
            self._looking = end - start
            self._next_look = end + self._looking / LOOK
        return self._seen

    def _name(self, number: int, run: History) -> str:
        before = len(self.driver.earlier)
        ago = "the run before" if number == before - 1 else f"{before - number} runs before"
        return f"{ago}: {what_differs(run, self._usual, self.controls.say)}"

    def _width(self) -> int:
        longest = max([self.driver.steps, *(len(run.losses) for run in self.driver.earlier)])
        return width(longest, self._target)

    def _draw(self) -> None:
        self.image.value, self._caption, wide = self.view.frame(self._frame(), self.room.size)
        self.image.layout.width = f"{wide:g}px"
        self.readout.value = paragraph(self._tell(left=True))
        driver = self.driver
        changes = in_words(driver.history.changes, driver.history.start, self._width(), self.controls.say)
        self.marks.value = paragraph(f"Changes: {'; '.join(changes)}." if changes else "No changes yet.")
        self.frames += 1

    def _tell(self, *, left: bool = False) -> str:
        """Return the step, the loss and the caption of the picture in words; with `left`, also the time left."""
        driver = self.driver
        loss = f"loss {driver.loss:.3g} (mean of the last {RECENT})" if driver.steps else "no loss yet"
        of = f" of {self._target}" if self._target is not None and self._state == "running" else ""
        words = f"Meta-step {driver.steps}{of}: {loss}. {self._caption}"
        if left and self._began and self._target is not None:
            step, start = self._began
            words += f" {time_left(driver.steps - step, self._target - step, time.monotonic() - start)}"
        return words.strip()
