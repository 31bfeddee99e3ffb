"""Guesses that a reader makes before a cell shows the answer, and that are compared with it afterwards.

    curve = guess.choice("Which curve will it draw in the end?", ["one wave", "the average wave", "a flat line"])
    steps = guess.number("How many gradient steps will it take?", [1, 2, 5, 10, 20, 50, 100, 200], "steps")
    wave = guess.sketch("What does the starting point look like?", x=(-5, 5), y=(-5, 5))

Below the cell that computes the answer:

    curve.compare("the average wave", because="No other curve has a smaller error on all waves together.")
    steps.compare(measured)
    mine = wave.compare(starting_point(wave.x))  # the points of the sketch, for a figure; None without a sketch

Nobody has to guess. A guess belongs to its question and stays until the kernel ends, so that its cell may run again.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import ipywidgets as widgets
import torch
from torch import Tensor

from ...arguments import floats, one_of, real, shapes, shown, whole
from .canvas import Canvas
from .figures import BLUE, figure, finish
from .panels import Panel, paragraph, show_widget, slider
from .reader import say

LONGEST = 60  # characters of an option: it stands on a button, and has to fit a page of 600 pixels
_made: dict[tuple, Any] = {}  # the guesses, by the question and what can be guessed


class Guess:
    """A question with a control below it, and the reader's guess.

    Args:
        question: the question.
        answers: what can be guessed, each in words.
        control: lists the answers. Before them, it may list one that stands for no guess.
        alt: describes the answers, for pages without a kernel and for screen readers.
    """

    def __init__(self, question: str, answers: dict[Any, str], control: widgets.Widget, alt: str) -> None:
        self.answers, self.control, self.alt = answers, control, f"Your guess: {question} {alt}"
        self._key = (question, *answers)
        self._first = len(control.options) - len(answers)  # where the answers begin
        self._status = widgets.HTML()
        self.box = widgets.VBox([widgets.HTML(paragraph(question)), control, self._status])
        if self.made is not None:
            control.index = self._first + list(answers).index(self.made)
        control.observe(self._moved, names="index")
        self._tell()

    @property
    def made(self) -> Any:
        """Return the reader's guess, or None as long as there is none."""
        return _made.get(self._key)

    def show(self) -> None:
        """Display the question with its control."""
        show_widget(self.box, b"", self.alt)

    def _moved(self, _change: dict) -> None:
        index = self.control.index
        if index is None or index < self._first:
            _made.pop(self._key, None)
        else:
            _made[self._key] = list(self.answers)[index - self._first]
        self._tell()

    def _tell(self) -> None:
        guessed = self.made is not None
        says = f"Your guess is {self.answers[self.made]}. Now run the cells below." if guessed else "No guess yet."
        self._status.value = paragraph(says, "status")

    def _say(self, outcome: str, because: str, *, right: bool) -> None:
        """Print the guess, the outcome in a sentence, and the reason."""
        guess = "You made no guess." if self.made is None else f"You guessed {self.answers[self.made]}."
        say(f"{'✓ ' if right else ''}{guess} {outcome} {because}".strip())


class Choice(Guess):
    """A choice among options. `choice` makes one and displays it."""

    def compare(self, answer: str, because: str = "", replies: Mapping[str, str] | None = None) -> None:
        """Print the reader's guess next to the answer.

        Args:
            answer: the option that is right.
            because: the reason, in whole sentences.
            replies: what is said before the reason to whoever chose a wrong option, by the option.

        Raises:
            ValueError: the answer is none of the options, or a reply is to none of them.
            TypeError: the reason or a reply is no text.
        """
        one_of(list(self.answers), answer=answer)
        _text(because=because)
        for option, reply in (replies or {}).items():
            one_of(list(self.answers), replies=option)
            _text(**{f"replies[{option!r}]": reply})
        right = self.made == answer
        if replies and not right and self.made in replies:
            because = f"{replies[self.made]} {because}"
        self._say("That is right." if right else f"The answer is {self.answers[answer]}.", because, right=right)


class Number(Guess):
    """A number on a scale. `number` makes one and displays it."""

    def __init__(self, question: str, answers: dict[Any, str], control: widgets.Widget, alt: str, unit: str) -> None:
        super().__init__(question, answers, control, alt)
        self.unit = unit

    def compare(self, answer: float | str, because: str = "") -> None:
        """Print the reader's guess next to the answer.

        Args:
            answer: the number that came out, or a sentence such as "It took more than 100 steps."
            because: the reason, in whole sentences.

        Raises:
            TypeError: the answer is neither a number nor a text, or the reason is no text.
            ValueError: the number is not finite.
        """
        _text(because=because)
        if isinstance(answer, str):
            self._say(answer, because, right=False)
            return
        real(answer=answer)
        answer = float(answer)
        right = self.made == min(self.answers, key=lambda value: abs(value - answer))
        closest = ", and no other choice is closer" if right else ""
        self._say(f"The answer is {_with_unit(answer, self.unit)}{closest}.", because, right=right)


class Sketch:
    """A curve through a few points, whose heights the reader chooses. `sketch` makes one and displays it.

    Args:
        question: the question.
        x: the first and the last x.
        y: the lowest and the highest y.
        points: how many points the curve has.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range.
    """

    def __init__(self, question: str, x: tuple[float, float], y: tuple[float, float], points: int) -> None:
        _text(question=question)
        whole(least=2, most=12, what="since each point has a slider", points=points)
        (left, right), (low, high) = _range(x=x), _range(y=y)
        self.x = torch.tensor([left + (right - left) * i / (points - 1) for i in range(points)])
        self._key = (question, left, right, low, high, points)
        self._start = [min(max(0.0, low), high)] * points
        fig, ax = figure(6, 3)
        [self._line] = ax.plot([], [], "o-", color=BLUE, linewidth=2, clip_on=False)
        margin = 0.03 * (right - left)
        ax.set(xlim=(left - margin, right + margin), ylim=(low, high))
        finish(ax, "\n".join(textwrap.wrap(question, 60)), "x", "y")
        self._canvas = Canvas(fig, [self._line])
        heights = _made.get(self._key, self._start)
        step = (high - low) / 20
        controls = {
            f"y{i}": slider(f"y at x = {_plain(at)}", height, low, high, step)
            for i, (at, height) in enumerate(zip(self.x.tolist(), heights, strict=True))
        }
        self._panel = Panel(controls, self._draw, alt=f"Your sketch: {question} A slider for each of {points} points.")

    @property
    def made(self) -> Tensor | None:
        """Return the points of the reader's sketch, [points, 2], or None as long as there is none."""
        heights = _made.get(self._key)
        return None if heights is None else torch.stack([self.x, torch.tensor(heights)], dim=1)

    def show(self) -> None:
        """Display the sliders and the curve."""
        self._panel.show()

    def compare(self, heights: Tensor, because: str = "") -> Tensor | None:
        """Print how far the reader's sketch is from the answer.

        Args:
            heights: the answer's y at each of `x`, [points].
            because: the reason, in whole sentences.

        Returns:
            The points of the sketch, [points, 2], for a figure that shows it next to the answer; None without a sketch.

        Raises:
            TypeError: `heights` is no tensor, or the reason is no text.
            ValueError: `heights` has another shape, or holds no floating-point numbers.
        """
        shapes(heights=(heights, str(len(self.x))))
        floats(heights=heights)
        _text(because=because)
        made = self.made
        if made is None:
            start = "You made no sketch."
        else:
            away = (made[:, 1] - heights.detach().cpu()).square().mean().sqrt().item()
            start = f"Your sketch is {_plain(away)} away from the answer (the root of the mean squared difference)."
        say(f"{start} {because}".strip())
        return made

    def _draw(self, **heights: float) -> tuple[Canvas, str]:
        now = list(heights.values())
        if now != self._start or self._key in _made:
            _made[self._key] = now
        self._line.set_data(self.x, now)
        says = f"Your sketch, from left to right: {', '.join(map(_plain, now))}. Now run the cells below."
        return self._canvas, says if self._key in _made else "No sketch yet. Move a slider."


def choice(question: str, options: Sequence[str]) -> Choice:
    """Ask for a choice among options, display it, and return it for `compare`.

    Args:
        question: the question.
        options: the options, at least two, of at most 60 characters each.

    Raises:
        TypeError: the question is no text, or the options are no list of texts.
        ValueError: there are fewer than two options, two are the same, or one is too long.
    """
    _text(question=question)
    if not isinstance(options, list | tuple) or not all(isinstance(option, str) for option in options):
        raise TypeError(f"options={shown(options)} must be a list of texts")
    if len(options) < 2 or len(set(options)) < len(options):
        raise ValueError(f"options={shown(options)} must be at least two, all of them different")
    for option in options:
        if len(option) > LONGEST:
            raise ValueError(f"options: {option!r} is longer than {LONGEST} characters: it has to fit a narrow page")
    # Not radio buttons: the arrow keys, which choose among them, belong to JupyterLab.
    control = widgets.ToggleButtons(options=options, index=None, style={"button_width": "auto"})
    answers = {option: f"“{option.rstrip('.')}”" for option in options}
    asked = Choice(question, answers, control, f"Choose one: {', '.join(answers.values())}.")
    asked.show()
    return asked


def number(question: str, values: Sequence[float], unit: str = "") -> Number:
    """Ask for a number, display a slider for it, and return it for `compare`.

    Args:
        question: the question.
        values: the scale: the numbers that can be chosen, in increasing order, for example `range(0, 101, 5)`.
        unit: the unit in the plural, for example "steps" or "%".

    Raises:
        TypeError: the question or the unit is no text, or the values are no list of numbers.
        ValueError: there are fewer than two values, or they are not in increasing order.
    """
    _text(question=question, unit=unit)
    if not isinstance(values, list | tuple | range):
        raise TypeError(f"values={shown(values)} must be a list of numbers")
    real(**{f"values[{i}]": value for i, value in enumerate(values)})
    if len(values) < 2 or any(a >= b for a, b in pairwise(values)):
        raise ValueError(f"values={shown(values)} must be at least two numbers in increasing order")
    answers = {value: _with_unit(value, unit) for value in values}
    first, *_, last = labels = list(answers.values())
    control = widgets.SelectionSlider(options=["no guess", *labels], index=0, description="your guess")
    asked = Number(question, answers, control, f"Choose from {first} to {last}.", unit)
    asked.show()
    return asked


def sketch(question: str, x: tuple[float, float], y: tuple[float, float], points: int = 7) -> Sketch:
    """Ask for a curve, display a slider for each of its points, and return it for `compare`.

    Args:
        question: the question.
        x: the first and the last x.
        y: the lowest and the highest y.
        points: how many points the curve has, 2 to 12.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range.
    """
    asked = Sketch(question, x, y, points)
    asked.show()
    return asked


def _text(**arguments: object) -> None:
    for name, value in arguments.items():
        if not isinstance(value, str):
            raise TypeError(f"{name}={shown(value)} must be a text")


def _range(**arguments: object) -> tuple[float, float]:
    [(name, value)] = arguments.items()
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise TypeError(f"{name}={shown(value)} must be two numbers")
    low, high = value
    real(**{f"{name}[0]": low})
    real(above=low, **{f"{name}[1]": high})
    return float(low), float(high)


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _with_unit(value: float, unit: str) -> str:
    one = unit.removesuffix("s") if value == 1 and len(unit) > 2 else unit  # "1 step"; but ms and s stay as they are
    return f"{_plain(value)} {one}".strip()
