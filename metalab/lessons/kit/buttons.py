"""The buttons of an exercise: Check, Hint and Solution, for a reader who would rather not edit the cell with the check.

What a button says stands below the buttons. Nothing is ever disabled, because a key that is held down on a button that
becomes disabled would go on to JupyterLab, which moves or folds cells then.
"""

from __future__ import annotations

import contextlib
import html
import io
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from IPython import get_ipython

from .figures import plural
from .panels import paragraph, show_widget

if TYPE_CHECKING:
    from .exercise import Exercise

ONE_PRESS = 0.8  # seconds: two presses of a button within them are a double click, or a key that is held down
PRE = "white-space: pre; overflow-x: auto; line-height: 1.4; margin: 4px 0"


class Buttons:
    """The buttons of one exercise, and what they say.

    Args:
        exercise: the exercise.
    """

    def __init__(self, exercise: Exercise) -> None:
        self.exercise = exercise
        self.check, self.hint, self.solution = (widgets.Button() for _ in range(3))
        self.verdict, self.hints, self.source = (widgets.HTML() for _ in range(3))
        self._solution = "hidden"  # or "asked for", or "shown"
        actions = {self.check: self._check, self.hint: exercise.next_hint, self.solution: self._show_or_hide}
        for button, action in actions.items():
            button.on_click(self._pressed(button, action))
        row = widgets.HBox([*actions], layout=widgets.Layout(flex_flow="row wrap"))
        self.box = widgets.VBox([row, self.verdict, self.hints, self.source])
        self.check.description = "Check"
        self.refresh()

    def show(self) -> None:
        """Display the buttons. What an earlier check said is removed; hints and the solution stay."""
        self.verdict.value = ""
        show_widget(self.box, b"", "Buttons: Check, Hint and Solution.")

    def refresh(self) -> None:
        """Show the hints that were given, and how many are left."""
        exercise, given = self.exercise, self.exercise.hints_given
        left = len(exercise.hints) - given
        self.hint.description = f"Hint ({left} left)" if left else "No hints left"
        said = [paragraph(exercise.hint_in_words(n), "status" if n == given else "") for n in range(1, given + 1)]
        self.hints.value = "".join(said)
        names = {"hidden": "Solution", "asked for": "Show it", "shown": "Hide solution"}
        self.solution.description = names[self._solution]
        self.source.value = {
            "hidden": "",
            "asked for": paragraph(f"Show it? You have {plural(left, 'hint')} left, and have not tried yet.", "status"),
            "shown": f"<pre tabindex='0' style='{PRE}'>{html.escape(exercise.source(), quote=False)}</pre>",
        }[self._solution]
        for part in (self.hints, self.source):
            part.layout.display = None if part.value else "none"  # an empty one would take a line

    def _pressed(self, button: widgets.Button, action: Callable[[], None]) -> Callable[[Any], None]:
        """Return a button's callback, which takes presses in quick succession for one.

        The page may send the later ones while a check is still running. They are answered right after it.
        """
        last = -math.inf

        def callback(_button: Any) -> None:
            nonlocal last
            if time.monotonic() - last > ONE_PRESS:
                if self._solution == "asked for" and button is not self.solution:
                    self._solution = "hidden"
                action()
                self.refresh()
            last = time.monotonic()

        return callback

    def _check(self) -> None:
        """Check the function that the reader's name stands for now, whichever it was when the cell ran."""
        name, space = self.exercise.name, get_ipython().user_ns
        if name not in space:
            says = f"This notebook has no {name} yet. Run the cell that defines it, and press Check again."
            self.verdict.value = paragraph(says, "status")
            return
        self.verdict.value = paragraph("Checking …")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            try:
                says = self.exercise.verdict_in_words(space[name])
            except KeyboardInterrupt:  # the page shows nothing of what is printed or raised here
                says = " ".join(printed.getvalue().split()) or f"{name}: the check was interrupted."
        self.verdict.value = paragraph(f"Checked again: {says}", "status")

    def _show_or_hide(self) -> None:
        if self._solution == "shown":
            self._solution = "hidden"
        elif self._solution == "hidden" and not self.exercise.tried:
            self._solution = "asked for"
        else:
            self._solution = "shown"
