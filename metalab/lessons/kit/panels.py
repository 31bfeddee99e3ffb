"""Pictures that change while a cell runs, and panels that respond to sliders.

Everything is drawn into a core `Image` widget, which does not flicker and works in JupyterLab and in Colab. A panel is
displayed together with a still picture of its first state, and a page without a kernel shows that picture.
"""

from __future__ import annotations

import html
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import ipywidgets as widgets
from IPython.display import display
from matplotlib.figure import Figure

from ...arguments import function, real, shown, whole
from ...train import Diverged, Step, Trainer
from .figures import png, show

AT_ONCE = 10  # how many meta-steps a GPU takes before their metrics are read


class Drawn(Protocol):
    """A picture that draws itself, faster than a figure does. `kit.steering.view.Canvas` is one."""

    def png(self) -> bytes:
        """Return the picture as a PNG."""
        ...


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
    """A figure with a line of text below it, which can be redrawn while a cell runs.

    Args:
        per_second: how many pictures are due per second at most.

    Raises:
        TypeError: `per_second` is no number.
        ValueError: `per_second` is not above 0.
    """

    def __init__(self, *, per_second: float = 4) -> None:
        real(above=0, per_second=per_second)
        self.image = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
        self.text = widgets.HTML()
        self.box = widgets.VBox([self.image, self.text])
        self._pause = 1 / per_second
        self._drawn = float("-inf")

    def due(self) -> bool:
        """Tell whether the next picture may be drawn. Ask before computing what the picture would show."""
        return time.monotonic() - self._drawn >= self._pause

    def draw(self, picture: Figure | Drawn, text: str) -> None:
        """Show a new picture and a new text below it."""
        self.image.value = png(picture) if isinstance(picture, Figure) else picture.png()
        self.text.value = paragraph(text, "status")
        self._drawn = time.monotonic()

    @contextmanager
    def up_to_date(self) -> Iterator[None]:
        """Say below the picture if what is done inside fails, because the picture is then still the one before.

        The error is raised again: it may be a fault of the lesson.
        """
        try:
            yield
        except BaseException as error:
            words = f"No new picture was drawn ({cause(error)}), so that the one above is out of date."
            self.text.value = paragraph(words, "status")
            raise


def show_widget(widget: widgets.Widget, still: bytes, alt: str) -> None:
    """Display a widget, together with a picture and a text for pages on which no kernel runs.

    Args:
        widget: the widget.
        still: the picture as a PNG; empty for none.
        alt: the text, which also describes the picture to screen readers.
    """
    bundle = {
        "text/plain": alt,
        "application/vnd.jupyter.widget-view+json": {
            "version_major": 2,
            "version_minor": 0,
            "model_id": widget.model_id,
        },
    }
    metadata = {}
    if still:
        bundle["image/png"] = bytes(still)  # ipywidgets 8 returns a memoryview
        metadata["image/png"] = {"alt": alt, "needs_background": "light"}
    display(bundle, raw=True, metadata=metadata)


def train_and_draw(
    trainer: Trainer,
    steps: int,
    draw: Callable[[list[Step]], tuple[Figure, str]],
    *,
    alt: str,
    after: Callable[[Step], None] = lambda step: None,
    per_second: float = 4,
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
    show_widget(picture.box, b"", alt)
    with picture.up_to_date():
        try:
            for step in meta_steps(trainer, steps):
                done.append(step)
                after(step)
                if picture.due():
                    picture.draw(*draw(done))
        except KeyboardInterrupt:
            print(f"Interrupted: the parameters of meta-step {trainer.steps} are kept.")
        except Diverged as reason:
            print(f"Stopped: {reason}")
        if done:
            try:
                fig, caption = draw(done)
                picture.draw(fig, caption)
                show(fig, caption)
                # The still picture takes the place of the live one, because it stays when the page is closed.
                picture.box.layout.display = "none"
            except KeyboardInterrupt:
                print(f"Interrupted: the last picture may be missing. All {len(done)} steps are kept.")
    return done


class Panel:
    """Controls above a picture. Whenever a control changes, `redraw(**values)` makes the new picture and its text.

    Args:
        controls: the widgets by name. Each has a description, and works by keyboard.
        redraw: maps the controls' values, by name, to a picture and its description in words. If little of a figure
            changes, a `kit.steering.view.Canvas` draws it several times as fast.
        alt: describes the panel, for pages without a kernel and for screen readers.

    Raises:
        TypeError: an argument has the wrong type.
    """

    def __init__(
        self, controls: dict[str, widgets.Widget], redraw: Callable[..., tuple[Figure | Drawn, str]], *, alt: str
    ) -> None:
        function(redraw=redraw)
        for name, control in controls.items():
            if not isinstance(control, widgets.Widget) or not control.has_trait("value"):
                raise TypeError(f"controls: {name}={shown(control)} must be a widget with a value")
        self.controls = controls
        self.redraw = redraw
        self.alt = alt
        self.picture = LivePicture()
        self.box = widgets.VBox([*rows(controls.values()), self.picture.box])
        for control in controls.values():
            control.observe(self._changed, names="value")
        self.update()

    def _changed(self, _change: dict) -> None:
        self.update()

    def update(self) -> None:
        """Draw the picture for the current values of the controls. If that fails, say so below the picture before."""
        with self.picture.up_to_date():
            values = {name: control.value for name, control in self.controls.items()}
            self.picture.draw(*self.redraw(**values))

    def show(self) -> None:
        """Display the panel."""
        show_widget(self.box, self.picture.image.value, self.alt)


def rows(controls: Iterable[widgets.Widget], per_row: int = 2) -> list[widgets.HBox]:
    """Return the controls in rows of `per_row`. A row wraps on a narrow page."""
    controls = list(controls)
    wrap = widgets.Layout(flex_flow="row wrap")
    return [widgets.HBox(controls[i : i + per_row], layout=wrap) for i in range(0, len(controls), per_row)]


WIDE = {"style": {"description_width": "150px"}, "layout": {"width": "430px"}}


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
    integers = all(isinstance(n, int) for n in (value, low, high, step))
    kind = widgets.IntSlider if integers else widgets.FloatSlider
    return kind(value=value, min=low, max=high, step=step, description=description, **WIDE)


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
        value=value, min=low, max=high, step=0.05, description=description, readout_format=".2g", **WIDE
    )
