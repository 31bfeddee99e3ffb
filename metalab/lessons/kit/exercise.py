"""An exercise checks a learner's function, names the misconception in it, gives hints, and shows a solution.

A check never raises an error because of what the learner wrote. It explains in words what happened, and the lesson
goes on.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import random
import textwrap
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor


class Wrong(Exception):
    """Ends an examination because the function is wrong. The message says in words what the function does."""


class NotWritten(Exception):
    """Ends an examination because the function is still a stub. The message says what is missing."""


# A known mistake: a message that names it, and a function that makes it and takes the exercise's own arguments.
Misconception = tuple[str, Callable]


@dataclass(frozen=True)
class Verdict:
    """The result of an examination.

    Args:
        state: whether the function is right, wrong, or not written yet.
        says: the message that the reader sees.
    """

    state: Literal["right", "wrong", "not written"]
    says: str


@dataclass(kw_only=True, repr=False, eq=False)
class Exercise:
    """One exercise of a lesson.

    Args:
        answer: our solution, a function of a few lines. Its name is the exercise's name, and its source is shown.
        difficulty: how hard the exercise is for a reader who has followed the lesson so far.
        minutes: how many minutes such a reader needs.
        statement: what to write, in one sentence.
        hints: three hints, from a nudge to nearly the code.
        inputs: returns the arguments that the check calls the function with, the same ones each time.
        examine: calls the function that it is given, and raises `Wrong` if the result is not right.
        in_place: the message for a function that changes its arguments.
    """

    answer: Callable
    difficulty: Literal["easy", "medium", "hard"]
    minutes: int
    statement: str
    hints: tuple[str, str, str]
    inputs: Callable[[], tuple]
    examine: Callable[[Callable], None]
    in_place: str = "It changes its arguments, which the lesson goes on using. Make new tensors instead."
    _hints_given: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        """Return the name of the function that the reader writes."""
        return self.answer.__name__

    def __repr__(self) -> str:
        return f"{self.name} ({self.difficulty}, about {self.minutes} minutes)"

    def show(self) -> None:
        """Print what to write, how hard it is, and how long it takes."""
        _print(f"Exercise {self!r}: {self.statement}")

    def check(self, function: Callable) -> None:
        """Print whether `function` is right, and if it is not, what it gets wrong."""
        verdict = self.diagnose(function)
        mark = {"right": "✓ ", "wrong": "✗ ", "not written": ""}[verdict.state]
        _print(f"{mark}{self.name}: {verdict.says}")

    def hint(self) -> None:
        """Print the next hint. When no hint is left, print the last one again."""
        self._hints_given = min(self._hints_given + 1, len(self.hints))
        _print(f"Hint {self._hints_given} of {len(self.hints)}: {self.hints[self._hints_given - 1]}")

    def solution(self) -> None:
        """Print the source of our solution."""
        print(inspect.getsource(self.answer), end="")

    def or_solution(self, function: Callable) -> Callable:
        """Return `function` if it is right and our solution if not, so that the lesson goes on. Print which it is."""
        state = self.diagnose(function).state
        if state == "right":
            _print(f"{self.name}: the lesson goes on with yours")
            return function
        reason = "is not written yet" if state == "not written" else "is not right yet; check() says why"
        _print(f"{self.name}: the lesson goes on with ours (yours {reason})")
        return self.answer

    def diagnose(self, function: Callable) -> Verdict:
        """Return the verdict on `function`, which is called several times.

        What the function prints is not shown, and the global random states are restored.
        """
        if not callable(function):
            return Verdict("wrong", f"This is {function!r}, not a function. Hand over {self.name} itself, uncalled.")
        printed = io.StringIO()
        try:
            with _global_randomness_kept(), torch.enable_grad(), contextlib.redirect_stdout(printed):
                self.examine(self._guarded(function))
            verdict = Verdict("right", "right")
        except NotWritten as unfinished:
            verdict = Verdict("not written", str(unfinished))
        except Wrong as wrong:
            verdict = Verdict("wrong", str(wrong))
        except Exception as error:  # the learner may return anything, even what we cannot compare
            verdict = Verdict("wrong", f"What it returns cannot be compared with ours: {_in_words(error)}.")
        if printed.getvalue():
            verdict = Verdict(verdict.state, f"{verdict.says} (What it printed while it was checked is left out.)")
        return verdict

    def _guarded(self, function: Callable) -> Callable:
        """Wrap `function`, so that everything that is not an answer raises `Wrong` or `NotWritten`."""

        def call(*arguments: Any) -> Any:
            before = _tensors(arguments)
            values = [tensor.detach().clone() for tensor in before]
            try:
                result = function(*arguments)
            except Exception as error:
                line = _line_of(error, function)
                if _comes_from_a_stub(error, line):
                    raise NotWritten("not written yet — skip it or try hint()") from None
                place = f", at line {line.lineno}: `{line.line}`" if line else ""
                raise Wrong(f"It stopped with {_in_words(error)}{place}") from None
            after = _tensors(arguments)
            same = len(before) == len(after) and all(old is new for old, new in zip(before, after, strict=True))
            if not same or not all(torch.equal(t, value) for t, value in zip(after, values, strict=True)):
                raise Wrong(self.in_place)
            if result is None and _has_a_body(function):
                raise NotWritten("it returns nothing yet — does it end with `return`? Skip it or try hint()")
            if _blank(result) or (isinstance(result, tuple | list) and any(_blank(part) for part in result)):
                raise NotWritten("not written yet — skip it or try hint()")
            return result

        return call


def compare(
    got: dict[str, Tensor],
    want: dict[str, Tensor],
    *,
    mistakes: Iterable[tuple[str, dict[str, Tensor]]],
    inputs: str,
    tolerance: float = 1e-4,
) -> None:
    """Raise `Wrong` unless the learner's numbers agree with ours. If a known mistake fits, its message is used.

    Args:
        got: the learner's numbers by name, each a tensor.
        want: our numbers, with the same names.
        mistakes: pairs of a known mistake's message and the numbers that the mistake gives. The first pair whose
            numbers agree with the learner's names the mistake.
        inputs: code that makes the arguments behind these numbers, for a learner who wants to try them.
        tolerance: the largest difference that counts as agreement, relative to the largest number of the same name.

    Raises:
        Wrong: a shape or a number differs from ours.
    """
    for name in want:
        if got[name].shape != want[name].shape:
            raise Wrong(f"{name} has the shape {list(got[name].shape)}; it should be {list(want[name].shape)}.")
    differing = [name for name in want if not _agree(got[name], want[name], tolerance)]
    if not differing:
        return
    for message, numbers in mistakes:
        if all(_agree(got[name], numbers[name], tolerance) for name in want):
            raise Wrong(message)
    name = differing[0]
    gap = (got[name].double() - want[name].double()).abs()  # argmax treats nan as the largest
    index = tuple(int(i) for i in torch.unravel_index(gap.argmax(), gap.shape))
    place = f"{name}{list(index)}" if index else name
    raise Wrong(
        f"Not right, and not a mistake we know. With the arguments {inputs}, {place} should be "
        f"{want[name][index].item():.4g}; yours is {got[name][index].item():.4g}."
    )


def number(value: Any, name: str) -> float:
    """Return the learner's `value` as a plain number; a message calls it `name`.

    Raises:
        Wrong: `value` is not one number.
    """
    try:
        return float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"{name} should be one number; yours is {describe(value)}.") from None


def describe(value: Any) -> str:
    """Describe in a few words a value that should not have been returned."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"of the type {type(value).__name__}"


def _agree(a: Tensor, b: Tensor, tolerance: float) -> bool:
    largest = b.abs().max().item()
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=0, atol=tolerance * largest)


@contextlib.contextmanager
def _global_randomness_kept() -> Iterator[None]:
    """Seed the global generators, so that a verdict is the same each time, and restore them afterwards."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (the learner may use it)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # not torch.manual_seed, which would seed the GPUs too
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def _tensors(value: Any) -> list[Tensor]:
    """Return the tensors in nested tuples and lists."""
    if isinstance(value, tuple | list):
        return [tensor for part in value for tensor in _tensors(part)]
    return [value] if isinstance(value, Tensor) else []


def _blank(value: Any) -> bool:
    return value is None or value is ...


def _has_a_body(function: Callable) -> bool:
    """Tell whether a function uses a name or a variable of its own. `...`, `pass` and a docstring use none."""
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_names or code.co_nlocals > len(inspect.signature(function).parameters))


def _line_of(error: Exception, function: Callable) -> traceback.FrameSummary | None:
    """Return the line of the learner's own file or cell that was running when the error occurred, if there is one."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if code and f.filename == code.co_filename]
    return frames[-1] if frames else None


def _comes_from_a_stub(error: Exception, line: traceback.FrameSummary | None) -> bool:
    if isinstance(error, NotImplementedError):
        return line is None or not line.line or "raise" in line.line  # or torch raises it, for some dtypes
    return isinstance(error, TypeError) and "ellipsis" in str(error)


def _in_words(error: Exception) -> str:
    message = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _print(text: str) -> None:
    print(textwrap.fill(text, width=100, subsequent_indent="  ", break_on_hyphens=False))
