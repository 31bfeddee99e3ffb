"""Pictures that change while a cell runs, and panels that answer to sliders.

Everything is drawn into a core `Image` widget: no flicker, and it works in JupyterLab and in Colab. A panel is
displayed together with a still picture of its first state, which is what a page without a kernel shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Protocol

import ipywidgets as widgets
from IPython.display import display
from matplotlib.figure import Figure

from ...train import Diverged, Step, Trainer
from .figures import png, show


class Drawn(Protocol):
    """A picture that draws itself, faster than a figure: `steer.view.Canvas`."""

    def png(self) -> bytes: ...


class LivePicture:
    """A figure and a line of text below it, redrawn as often as asked but at most `per_second` times."""

    def __init__(self, *, per_second: float = 4) -> None:
        self.image = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
        self.text = widgets.HTML()
        self.box = widgets.VBox([self.image, self.text])
        self._pause = 1 / per_second
        self._drawn = float("-inf")

    def due(self) -> bool:
        """Whether the next picture may be drawn; ask before computing what it would show."""
        return time.monotonic() - self._drawn >= self._pause

    def draw(self, picture: Figure | Drawn, text: str) -> None:
        self.image.value = png(picture) if isinstance(picture, Figure) else picture.png()
        self.text.value = f"<p role='status'>{text}</p>"
        self._drawn = time.monotonic()


def show_widget(widget: widgets.Widget, still: bytes, alt: str) -> None:
    """Display a widget, with a picture and words for pages on which no kernel runs."""
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
        bundle["image/png"] = bytes(still)  # ipywidgets 8 hands out a memoryview
        metadata["image/png"] = {"alt": alt, "needs_background": "light"}
    display(bundle, raw=True, metadata=metadata)


def train_live(
    trainer: Trainer,
    steps: int,
    draw: Callable[[list[Step]], tuple[Figure, str]],
    *,
    alt: str,
    after: Callable[[Step], None] = lambda step: None,
    per_second: float = 4,
) -> list[Step]:
    """Take `steps` meta-steps; `draw(steps so far)` gives the picture and its words, whenever one is due.

    `after` is called after every step, drawn or not; at most `per_second` pictures are drawn. An interrupt ends the
    training early and keeps what was trained; a divergence is told in words.
    """
    picture = LivePicture(per_second=per_second)
    done: list[Step] = []
    show_widget(picture.box, b"", alt)
    try:
        for step in trainer.run(steps):
            done.append(step)
            after(step)
            if picture.due():
                picture.draw(*draw(done))
    except KeyboardInterrupt:
        print(f"Interrupted: the parameters of meta-step {trainer.steps} are kept.")
    except Diverged as reason:
        print(f"Stopped: {reason}")
    if done:
        fig, words = draw(done)
        picture.draw(fig, words)
        show(fig, words)
        # The still picture takes over: it stays when the page is closed.
        picture.box.layout.display = "none"
    return done


class Panel:
    """Controls above a picture: whenever a control changes, `redraw(**values)` gives the new picture and its text.

    Args:
        controls: name to widget; each widget has a description, and works by keyboard.
        redraw: the controls' values by name, to a picture and its description in words. A figure of which little
            changes is drawn several times as fast as a `steer.view.Canvas`.
        alt: what the panel is, for pages without a kernel and for screen readers.
    """

    def __init__(
        self, controls: dict[str, widgets.Widget], redraw: Callable[..., tuple[Figure | Drawn, str]], *, alt: str
    ) -> None:
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
        values = {name: control.value for name, control in self.controls.items()}
        self.picture.draw(*self.redraw(**values))

    def show(self) -> None:
        show_widget(self.box, self.picture.image.value, self.alt)


def rows(controls: Iterable[widgets.Widget], per_row: int = 2) -> list[widgets.HBox]:
    """Controls side by side, `per_row` in a line, wrapping on a narrow page."""
    controls = list(controls)
    wrap = widgets.Layout(flex_flow="row wrap")
    return [widgets.HBox(controls[i : i + per_row], layout=wrap) for i in range(0, len(controls), per_row)]


WIDE = {"style": {"description_width": "150px"}, "layout": {"width": "430px"}}


def slider(description: str, value: float, low: float, high: float, step: float) -> widgets.Widget:
    """An integer slider if all numbers are integers, else a float one."""
    integers = all(isinstance(n, int) for n in (value, low, high, step))
    kind = widgets.IntSlider if integers else widgets.FloatSlider
    return kind(value=value, min=low, max=high, step=step, description=description, **WIDE)


def log_slider(description: str, value: float, low: float, high: float) -> widgets.FloatLogSlider:
    """A slider over powers of ten, `low` and `high` being exponents."""
    return widgets.FloatLogSlider(
        value=value, min=low, max=high, step=0.05, description=description, readout_format=".2g", **WIDE
    )
