"""Pictures that change while a cell runs, and panels that respond to sliders.

Everything is drawn into a core `Image` widget, which does not flicker and works in JupyterLab and in Colab. A panel is
displayed together with a still picture, and a page without a kernel shows that picture.
"""

from __future__ import annotations

import html
import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets
from IPython.display import display
from matplotlib.figure import Figure

from ...arguments import function, real, shown, whole
from ...train import Diverged, Step, Trainer
from .canvas import NARROWEST, SMALLEST, Canvas, size_of
from .figures import compact, show
from .interrupts import INTERRUPTS
from .reader import a_reader_watches
from .room import WIDEST, Room

LIVE = "metalab-live"  # the class of a panel in whose place no still picture shows; `room.STYLE` hides that
AT_ONCE = 10  # how many meta-steps a GPU takes before their metrics are read
SHARE = 0.05  # of the time goes into the pictures of a training
LONGEST = 2.0  # seconds between two pictures, however long they take: a training that shows nothing looks stuck


def cause(error: BaseException) -> str:
    """Return an error as a part of a sentence, in one line. A ValueError speaks for itself."""
    if isinstance(error, KeyboardInterrupt):
        return "an interrupt"
    words = " ".join(str(error).split()).rstrip(".")
    words = words if len(words) <= 300 else f"{words[:297]}..."
    name = type(error).__name__
    return (words if isinstance(error, ValueError) else f"{name}: {words}") if words else name


def paragraph(text: str, role: str = "") -> str:
    """Return a text as HTML that shows it as it is. Screen readers announce one with the role "status" or "alert"."""
    role = f" role='{role}'" if role else ""
    return f"<p{role}>{html.escape(text, quote=False)}</p>"


def meta_steps(trainer: Trainer, steps: int) -> Iterator[Step]:
    """Take `steps` meta-steps, and yield each: `for step in meta_steps(trainer, 1000): ...`.

    A GPU would wait while each step's metrics are read, so it takes AT_ONCE steps before they are. These then all have
    the mean of their metrics, and by the first of them the parameters are already those of the last.

    Raises:
        TypeError, ValueError, Diverged: as `Trainer.run` does.
    """
    every = 1 if trainer.generator.device.type == "cpu" else AT_ONCE
    before = trainer.steps
    for last in trainer.run(steps, every=every):
        yield from (Step(number, last.metrics) for number in range(before + 1, last.number + 1))
        before = last.number


class LivePicture:
    """A figure below a line of text, which can be redrawn while a cell runs.

    Args:
        per_second: how many pictures are due per second at most.

    Raises:
        TypeError: `per_second` is no number.
        ValueError: `per_second` is not above 0.
    """

    def __init__(self, *, per_second: float = 4) -> None:
        real(above=0, per_second=per_second)
        self.room = Room(self._fit)
        self.image = widgets.Image(format="jpeg")
        self.image.add_class("metalab-picture")
        self.text = widgets.HTML()
        self.box = panel_box([self.text, self.image, self.room.widget])
        self._last: Canvas | None = None
        self._pause = self._least = 1 / per_second
        self._drawn, self._cost = -math.inf, math.inf

    def due(self) -> bool:
        """Tell whether the next picture may be drawn. Ask before computing what the picture would show.

        A picture that takes long to draw is due less often, so that a training keeps most of the time.
        """
        return time.monotonic() - self._drawn >= self._pause

    def draw(self, picture: Figure | Canvas, text: str) -> None:
        """Show a new picture, as large as the page has room for, and a new text above it."""
        begin = time.monotonic()
        self._last = Canvas(picture) if isinstance(picture, Figure) else picture
        self._fit()
        self.text.value = paragraph(text, "status")
        self._drawn = time.monotonic()
        self._cost = min(self._cost, self._drawn - begin)  # the first picture takes longer than those that follow
        self._pause = max(self._least, min(LONGEST, self._cost / SHARE))

    def _fit(self) -> None:
        """Draw the last picture as large as the page has room for now."""
        if self._last is None:
            return
        width, height, ratio = self.room.size(*self._last.size)
        if self._last.rigid:
            natural = self._last.size
            least = SMALLEST * natural[0]
            width = max(least, min(width, natural[0] * height / natural[1]))
            self._last.fit(*natural, ratio)
        else:
            needed = self._last.needs(width)
            least = SMALLEST * needed
            width = max(least, width)
            scale = min(1.0, width / needed)
            self._last.fit(width / scale, height / scale, ratio * scale)
        self.image.value = self._last.jpeg()
        self.image.layout.width = f"{width:g}px"
        self.image.layout.min_width = f"{least:g}px"  # on a page that is narrower still, its box has a scroll bar
        drawn = size_of(self._last.figure)  # some canvases make themselves as high as they need to be
        self.image.layout.max_height = f"{width * drawn[1] / drawn[0]:g}px"

    def still(self) -> bytes:
        """Return the picture as a PNG that can stay in a notebook; nothing if there is none yet."""
        return self._last.png() if self._last else b""

    def leave(self, text: str) -> None:
        """Hide the live picture below its last text: a still one takes its place, and stays when the page is closed."""
        self.text.value = paragraph(text, "status")
        self.box.remove_class(LIVE)
        self.image.layout.display = "none"

    @contextmanager
    def up_to_date(self) -> Iterator[None]:
        """Say above the picture if what is done inside fails, because the picture is then still the one before.

        The error is raised again: it may be a fault of the lesson.
        """
        try:
            yield
        except BaseException as error:
            words = f"No new picture was drawn ({cause(error)}), so that the one below is out of date."
            self.text.value = paragraph(words, "status")
            raise


def panel_box(parts: Iterable[widgets.Widget]) -> widgets.VBox:
    """Return the parts of a panel, one below the other."""
    box = widgets.VBox(list(parts), layout=widgets.Layout(width="100%"))
    box.add_class("metalab-panel")
    box.add_class(LIVE)
    return box


def show_widget(widget: widgets.Widget, still: bytes, alt: str) -> None:
    """Display a widget, and a picture and a text for pages on which no kernel runs.

    While the widget is alive, its page hides the picture.

    Args:
        widget: the widget.
        still: the picture as a PNG; empty for none.
        alt: the text, which also describes the picture to screen readers.
    """
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    words = f"{alt} To use it, run this cell."
    display({"text/plain": words, "application/vnd.jupyter.widget-view+json": view}, raw=True, metadata={})
    show_still(still, alt)


def show_still(still: bytes, alt: str) -> None:
    """Display a picture in place of a live one, for pages on which no kernel runs. A page with a kernel hides it.

    Args:
        still: the picture as a PNG; empty for none.
        alt: its description.
    """
    if still and not shows_both():
        metadata = {"image/png": {"alt": alt, "needs_background": "light"}}
        display({"image/png": compact(still), "text/plain": alt}, raw=True, metadata=metadata)


def shows_both() -> bool:
    """Tell whether the page would show the still picture below the live one. Colab's does, and it keeps the widgets."""
    return "google.colab" in sys.modules and a_reader_watches()


def train_and_draw(
    trainer: Trainer,
    steps: int,
    draw: Callable[[list[Step]], tuple[Figure, str]],
    *,
    alt: str,
    after: Callable[[Step], None] = lambda step: None,
    per_second: float = 4,
    narrowest: float = NARROWEST,
) -> list[Step]:
    """Take `steps` meta-steps, and redraw a picture of the training as it goes.

    An interrupt ends the training early and keeps what was trained. A divergence ends it too; the reason is printed.

    Args:
        trainer: the training.
        steps: how many meta-steps to take.
        draw: maps the steps so far to the picture and its caption.
        alt: describes the picture where it cannot be shown.
        after: is called with every step that `meta_steps` yields, whether or not a picture is drawn.
        per_second: how many pictures are drawn per second at most.
        narrowest: the CSS pixels that the picture's axes need next to each other, as in `Canvas`.

    Returns:
        The steps that were taken.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `steps` or `per_second` is out of range.
    """
    whole(least=0, steps=steps)
    function(draw=draw, after=after)
    picture = LivePicture(per_second=per_second)
    done: list[Step] = []
    start = time.monotonic()
    show_widget(picture.box, b"", alt)
    with picture.up_to_date():
        try:
            for step in meta_steps(trainer, steps):
                done.append(step)
                after(step)
                if len(done) > 1 and picture.due():
                    fig, caption = draw(done)
                    picture.draw(
                        Canvas(fig, narrowest=narrowest),
                        f"{caption} {time_left(len(done), steps, time.monotonic() - start)}",
                    )
        except KeyboardInterrupt:
            INTERRUPTS.shorter = True
            print(f"Interrupted: the parameters of meta-step {trainer.steps} are kept.")
        except Diverged as reason:
            print(f"Stopped: {reason}")
        if done:
            try:
                fig, caption = draw(done)
                show(fig, caption)
                picture.leave(caption)
            except KeyboardInterrupt:
                print(f"Interrupted: the last picture may be missing. All {len(done)} steps are kept.")
    return done


class Panel:
    """Controls above a picture. Whenever a control changes, `redraw(**values)` makes the new picture and its text.

    Args:
        controls: the widgets by name. Each has a description, and works by keyboard.
        redraw: maps the controls' values, by name, to a picture and its description in words. If little of a figure
            changes, a `kit.canvas.Canvas` draws it several times as fast.
        alt: describes the panel, for pages without a kernel and for screen readers.

    Raises:
        TypeError: an argument has the wrong type.
    """

    def __init__(
        self, controls: dict[str, widgets.Widget], redraw: Callable[..., tuple[Figure | Canvas, str]], *, alt: str
    ) -> None:
        function(redraw=redraw)
        for name, control in controls.items():
            if not isinstance(control, widgets.Widget) or not control.has_trait("value"):
                raise TypeError(f"controls: {name}={shown(control)} must be a widget with a value")
        self.controls = controls
        self.redraw = redraw
        self.alt = alt
        self.picture = LivePicture()
        self.box = panel_box([grid(controls.values()), self.picture.box])
        for control in controls.values():
            control.observe(self._changed, names="value")
        self.update()

    def _changed(self, _change: dict) -> None:
        self.update()

    def update(self) -> None:
        """Draw the picture for the current values of the controls. If that fails, say so above the picture before."""
        with self.picture.up_to_date():
            values = {name: control.value for name, control in self.controls.items()}
            self.picture.draw(*self.redraw(**values))

    def show(self) -> None:
        """Display the panel."""
        show_widget(self.box, self.picture.still(), self.alt)


SLIDER = 230  # CSS pixels of a slider and its readout, without its label


def grid(controls: Iterable[widgets.Widget]) -> widgets.Box:
    """Return the controls in as many columns as the page has room for, with whole labels.

    The labels of all of them get the room of the longest one, so that the sliders stand below each other.
    """
    controls = list(controls)
    # The label of a checkbox stands to its right, where it needs no column.
    labelled = [control for control in controls if not isinstance(control, widgets.Checkbox)]
    labels = [len(control.description) for control in labelled if getattr(control, "description", "")]
    longest = max(labels, default=0)
    for control in controls:
        if hasattr(control, "style") and control.style.has_trait("description_width"):
            control.style.description_width = f"{longest}ch"
        control.layout.width = "auto"
    box = widgets.Box(controls)
    box.add_class("metalab-grid")
    columns = f"repeat(auto-fill, minmax(min(100%, calc({longest}ch + {SLIDER}px)), 1fr))"
    box.layout.grid_template_columns = columns
    box.layout.max_width = f"{WIDEST}px"
    return box


def slider(description: str, value: float, low: float, high: float, step: float) -> widgets.Widget:
    """Return an integer slider if all the numbers are integers, and a float slider otherwise.

    Raises:
        TypeError: something is no number.
        ValueError: `value` is not between `low` and `high`, which the slider would change without a word, or `step` is
            not above 0.
    """
    real(low=low, high=high)
    real(least=low, most=high, value=value)
    real(above=0, step=step)
    options = {"value": value, "min": low, "max": high, "step": step, "description": description}
    if all(isinstance(n, int) for n in (value, low, high, step)):
        return widgets.IntSlider(**options)
    decimals = next((n for n in range(1, 6) if math.isclose(step, round(step, n))), 6)
    return widgets.FloatSlider(readout_format=f".{decimals}f", **options)


def log_slider(description: str, value: float, low: float, high: float) -> widgets.FloatLogSlider:
    """Return a slider from 10^`low` to 10^`high`, with equal steps of the exponent.

    Raises:
        TypeError: something is no number.
        ValueError: `value` is not between 10^`low` and 10^`high`, which the slider would change without a word.
    """
    real(least=-300, most=300, low=low, high=high)
    real(above=0, value=value)
    if not low - 1e-9 <= math.log10(value) <= high + 1e-9:
        raise ValueError(f"value={shown(value)} must be from 1e{low:g} to 1e{high:g}, where the slider ends")
    return widgets.FloatLogSlider(
        value=value, min=low, max=high, step=0.05, description=description, readout_format=".2r"
    )


def reading(control: Any, value: float) -> str:
    """Return a value in the digits that a control shows it in, so that words and sliders say the same."""
    if isinstance(control, widgets.FloatLogSlider):
        return two_digits(value)
    if isinstance(control, widgets.FloatSlider) and re.fullmatch(r"\.\d+f", control.readout_format):
        return format(value, control.readout_format)
    return f"{value:.3g}"


def two_digits(value: float) -> str:
    """Return a number in decimals, rounded to two digits that count: 0.0010, 0.40, 1.6, 0.000010."""
    if not value or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 1 - math.floor(math.log10(abs(float(f"{value:.1e}")))))
    return f"{float(f'{value:.1e}'):.{decimals}f}"


def time_left(done: int, steps: int, seconds: float) -> str:
    """Return how long a training still takes, in a sentence: `About 12 s left.` Nothing before it can be known."""
    if not 0 < done < steps or seconds < 0.5:
        return ""
    left = seconds * (steps - done) / done
    return f"About {left:.0f} s left." if left < 90 else f"About {left / 60:.0f} min left."
