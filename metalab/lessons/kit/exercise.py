"""An exercise checks a reader's function, names the misconception in it, gives hints, and shows a solution.

A check never raises an error because of what the reader wrote. It explains in words what happened, and the lesson
goes on.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from .buttons import Buttons
from .comparing import Case, Wrong
from .isolation import OutOfTime, TimeLimit, nothing_leaks, settings_kept
from .reader import a_reader_watches, say


class NotWritten(Exception):
    """Ends an examination because the function is still a stub. The message says what is missing."""


class Interrupted(KeyboardInterrupt):
    """An interrupt that goes on after a check has said in one sentence what was interrupted."""

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback."""
        return ["KeyboardInterrupt"]


@dataclass(frozen=True)
class Verdict:
    """The result of an examination.

    Args:
        state: whether the function is right, wrong, or not written yet.
        says: the message that the reader sees.
    """

    state: Literal["right", "wrong", "not written"]
    says: str


CUT = (
    "It cuts the graph of its arguments themselves, as detach_() and requires_grad_(False) do, so that whatever comes "
    "after can no longer be differentiated. Make a tensor of your own instead: detach(), without the underscore."
)
DEFAULT = (
    "It changes a default argument. A default such as `[]` or `{}` is made only once, so that every call finds what "
    "the calls before have left in it. Make it anew inside the function."
)
STUB = "not written yet — skip it or try hint()"


@dataclass(kw_only=True, repr=False, eq=False)
class Exercise:
    """One exercise of a lesson.

    Args:
        answer: our solution, a function of a few lines. Its name is the exercise's name, and its source is shown.
        difficulty: how hard the exercise is for a reader who has followed the lesson so far.
        minutes: how many minutes such a reader needs.
        statement: what to write, in one sentence.
        hints: three hints, from a nudge to nearly the code.
        cases: the arguments that the check calls the function with, of at least two sizes.
        examine: calls the function that it is given, and raises `Wrong` if the result is not right.
        in_place: the message for a function that changes its arguments.
        seconds: the time that the function may take in a check, in all its calls together.
        imports: the lines that our solution needs above it where it is pasted into the lesson, if there are any.
    """

    answer: Callable
    difficulty: Literal["easy", "medium", "hard"]
    minutes: int
    statement: str
    hints: tuple[str, str, str]
    cases: Sequence[Case]
    examine: Callable[[Callable], None]
    in_place: str = "It changes its arguments, which the lesson goes on using. Make new tensors instead."
    seconds: float = 10.0
    imports: str = ""
    hints_given: int = field(default=0, init=False)
    tried: bool = field(default=False, init=False)  # whether a check has ever seen more than a stub
    _yours: Callable | None = field(default=None, init=False)  # the last function that was handed over and is not ours

    @property
    def name(self) -> str:
        """Return the name of the function that the reader writes."""
        return self.answer.__name__

    def __repr__(self) -> str:
        return f"{self.name} ({self.difficulty}, about {self.minutes} minutes)"

    def inputs(self, case: int = 0) -> tuple:
        """Return fresh arguments of one of the check's cases, for a reader who wants to try them."""
        return self.cases[case].make()

    def show(self) -> None:
        """Print what to write, how hard it is, and how long it takes."""
        say(f"Exercise {self!r}: {self.statement}")

    def check(self, function: Callable) -> None:
        """Print whether `function` is right, and if it is not, what it gets wrong. Buttons follow if a reader watches.

        Raises:
            KeyboardInterrupt: the check was interrupted. What the function was doing is printed before.
        """
        try:
            say(self.verdict_in_words(function))
        finally:  # after an interrupt too
            if a_reader_watches():
                self._buttons.show()

    def hint(self) -> None:
        """Print the next hint. When no hint is left, print the last one again."""
        self.next_hint()
        say(self.hint_in_words(self.hints_given))
        self._buttons.refresh()

    def solution(self) -> None:
        """Print the source of our solution."""
        print(self.source(), end="")

    def source(self) -> str:
        """Return the source of our solution, which runs where it is pasted into the lesson."""
        above = f"{self.imports}\n\n\n" if self.imports else ""
        return above + inspect.getsource(self.answer)

    def next_hint(self) -> None:
        """Count one more hint as given, if there is one."""
        self.hints_given = min(self.hints_given + 1, len(self.hints))

    def hint_in_words(self, number: int) -> str:
        """Return hint `number`, counted from 1, as it is shown."""
        return f"Hint {number} of {len(self.hints)}: {self.hints[number - 1]}"

    def verdict_in_words(self, function: Callable) -> str:
        """Return the verdict on `function` as it is shown.

        Raises:
            KeyboardInterrupt: the check was interrupted. What the function was doing is printed before.
        """
        verdict = self._verdict(function)
        mark = {"right": "✓ ", "wrong": "✗ ", "not written": ""}[verdict.state]
        return f"{mark}{self.name}: {verdict.says}"

    def or_solution(self, function: Callable) -> Callable:
        """Return `function` if it is right and our solution if not, so that the lesson goes on. Print which it is."""
        state = self._verdict(function).state
        if state == "right":
            say(f"{self.name}: the lesson goes on with yours")
            return self._yours
        reason = "is not written yet" if state == "not written" else "is not right yet; check() says why"
        say(f"{self.name}: the lesson goes on with ours (yours {reason})")
        return self.answer

    def _verdict(self, function: Callable) -> Verdict:
        """Return the verdict on the reader's own function.

        Where a lesson goes on with our solution, the reader's name for the function stands for ours, and the cell with
        the check may be run again. The function that is meant is then the one that was handed over before.
        """
        if self._is_ours(function):
            if self._yours is None:
                return Verdict("not written", "this is our solution — write yours in the cell above, and run that cell")
            function = self._yours
        self._yours = function
        verdict = self.diagnose(function)
        self.tried = self.tried or verdict.state != "not written"
        return verdict

    @functools.cached_property
    def _buttons(self) -> Buttons:
        return Buttons(self)

    def _is_ours(self, function: Any) -> bool:
        while isinstance(function, functools.partial):
            function = function.func
        try:
            return inspect.unwrap(function).__code__ is self.answer.__code__
        except (AttributeError, ValueError):
            return False

    def diagnose(self, function: Callable) -> Verdict:
        """Return the verdict on `function`, which is called several times.

        What the function prints is not shown, and no setting that it changes stays changed.

        Raises:
            KeyboardInterrupt: the check was interrupted. What the function was doing is printed before.
        """
        if not callable(function):
            return Verdict(
                "wrong", f"This is {function!r:.80}, not a function. Hand over {self.name} itself, uncalled."
            )
        defaults = _defaults(function)
        try:
            with nothing_leaks(function) as printed:
                self.examine(self._guarded(function))
            verdict = Verdict("right", "right")
        except NotWritten as unfinished:
            verdict = Verdict("not written", str(unfinished))
        except Wrong as wrong:
            verdict = Verdict("wrong", DEFAULT if _defaults(function) != defaults else str(wrong))
        except KeyboardInterrupt as interrupt:
            say(f"{self.name}: the check was interrupted{_place(_line_of(interrupt, function))}.")
            raise Interrupted from None
        except OutOfTime as late:
            place = _place(_line_of(late, function))
            says = f"It was stopped after {self.seconds:g} seconds{place}. Is there a loop that does not end?"
            verdict = Verdict("wrong", says)
        except BaseException as error:  # the reader may return anything, even what we cannot compare
            verdict = Verdict("wrong", f"What it returns cannot be compared with ours: {_in_words(error)}.")
        if printed.getvalue():
            verdict = Verdict(verdict.state, f"{verdict.says} (What it printed while it was checked is left out.)")
        return verdict

    def _guarded(self, function: Callable) -> Callable:
        """Wrap `function`, so that everything that is not an answer raises `Wrong` or `NotWritten`."""
        limit = TimeLimit(self.seconds)

        def call(*arguments: Any) -> Any:
            before = _tensors(arguments)
            values = [tensor.detach().clone() for tensor in before]
            graphs = [(tensor.requires_grad, tensor.grad_fn) for tensor in before]
            try:
                with settings_kept(function):  # or our own code would go on with what the reader's has set
                    result = limit.run(function, arguments)
            except (KeyboardInterrupt, OutOfTime):
                raise
            except BaseException as error:
                line = _line_of(error, function)
                if _comes_from_a_stub(error, line):
                    raise NotWritten(STUB) from None
                raise Wrong(f"It stopped with {_in_words(error)}{_place(line)}") from None
            after = _tensors(arguments)
            same = len(before) == len(after) and all(old is new for old, new in zip(before, after, strict=True))
            if not same or not all(torch.equal(t, value) for t, value in zip(after, values, strict=True)):
                raise Wrong(self.in_place)
            if any(
                had and (t.requires_grad, t.grad_fn) != (had, of) for t, (had, of) in zip(after, graphs, strict=True)
            ):
                raise Wrong(CUT)
            if result is None and _has_a_body(function):
                raise NotWritten("it returns nothing yet — does it end with `return`? Skip it or try hint()")
            parts = result if isinstance(result, tuple | list) and result else [result]
            if any(part is ... for part in parts) or all(part is None for part in parts):
                raise NotWritten(STUB)
            if missing := [number for number, part in enumerate(parts, start=1) if part is None]:
                raise Wrong(
                    f"Part {missing[0]} of what it returns is None. Does every name get a value, on every path?"
                )
            return result

        return call


def _tensors(value: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, lists and dicts."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [tensor for part in value for tensor in _tensors(part)]
    return [value] if isinstance(value, Tensor) else []


def _defaults(function: Callable) -> list[int]:
    """Return the lengths of a function's default arguments that can grow."""
    values = getattr(inspect.unwrap(function), "__defaults__", None) or ()
    return [len(value) for value in values if isinstance(value, list | dict | set)]


def _has_a_body(function: Callable) -> bool:
    """Tell whether a function uses a name or a variable of its own. `...`, `pass` and a docstring use none."""
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_names or code.co_nlocals > len(inspect.signature(function).parameters))


def _line_of(error: BaseException, function: Callable) -> traceback.FrameSummary | None:
    """Return the line of the reader's own file or cell that was running when the error occurred, if there is one."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if code and f.filename == code.co_filename]
    return frames[-1] if frames else None


def _comes_from_a_stub(error: BaseException, line: traceback.FrameSummary | None) -> bool:
    if isinstance(error, NotImplementedError):
        return line is None or not line.line or "raise" in line.line  # or torch raises it, for some dtypes
    return isinstance(error, TypeError) and "ellipsis" in str(error)


def _in_words(error: BaseException) -> str:
    message = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _place(line: traceback.FrameSummary | None) -> str:
    return f", at line {line.lineno}: `{line.line}`" if line else ""
