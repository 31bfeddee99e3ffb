"""Compare a reader's numbers with ours, over several cases, and say in words how they differ.

The words come from a table of known mistakes if one of them, or two of them together, give the reader's numbers in
every case. Otherwise they are facts about the numbers: a factor, a missing part, a wrong precision.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

# A known mistake: a message that names it, and a function that makes it and takes the exercise's own arguments.
Misconception = tuple[str, Callable]
Numbers = dict[str, Tensor]  # by the names that messages call them

SINGLE, DOUBLE = 1e-4, 1e-9  # the largest differences that count as agreement, relative to the largest number


class Wrong(Exception):
    """Ends an examination because the function is wrong. The message says in words what the function does."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Arguments that a check calls the reader's function with.

    Every exercise has at least two cases of different sizes, so that no size can be written into the code. One of them
    has the precision in which the lesson uses the function.

    Args:
        what: the case in words, to follow "with": "5 points".
        make: returns fresh arguments, the same ones each time.
        sizes: the numbers that a result can be too large or too small by, each with its name in words
            (`{"the number of points": 5, "inner_lr": 0.02}`). Their values should differ from one another, from 1 and
            2, and from one case to the next.
    """

    what: str
    make: Callable[[], tuple]
    sizes: Mapping[str, float] = field(default_factory=dict)


def agree(
    attempt: Callable,
    *,
    name: str,
    cases: Sequence[Case],
    right: Callable,
    numbers: Callable[[Any, tuple], Numbers],
    mistakes: Iterable[Misconception] = (),
    tolerance: float | None = None,
) -> list[tuple[tuple, Any]]:
    """Call the reader's function in every case, and raise `Wrong` unless its numbers agree with ours in all of them.

    Args:
        attempt: the reader's function.
        name: the name of the exercise.
        cases: the cases. The first one is the one that messages quote if several are wrong.
        right: our function.
        numbers: maps a result, and the arguments it came from, to numbers by name. It raises `Wrong` for a result that
            has no such numbers. Mistakes and our own results pass through it as well.
        mistakes: the known mistakes. One that gives the reader's numbers in all cases explains them.
        tolerance: the largest difference that counts as agreement, relative to the largest number of the same name;
            by default 1e-4 where our numbers are in single precision, and 1e-9 where they are in double.

    Returns:
        For each case the arguments that the reader's function was called with, and its result.

    Raises:
        Wrong: the numbers of a case differ from ours.
    """
    called, trials = [], []
    for number, case in enumerate(cases):
        arguments, ours = case.make(), case.make()
        result = call_in(case, attempt, arguments, first=cases[0])
        called.append((arguments, result))
        got, want = numbers(result, arguments), numbers(right(*ours), ours)
        code = f"exercises.{name}.inputs({number or ''})"
        trials.append(Trial(case.what, code, got, want, tolerance, case.sizes))
    for trial, case in zip(trials, cases, strict=True):
        if trial is trials[0] or trial.differing():  # what is random, or remembers, needs no closer look
            arguments = case.make()
            if not trial.agrees(numbers(attempt(*arguments), arguments)):
                raise Wrong(ANOTHER)
    compare(trials, (_made(message, mistake, cases, numbers) for message, mistake in mistakes))
    return called


def call_in(case: Case, attempt: Callable, arguments: tuple, *, first: Case) -> Any:
    """Return attempt(*arguments). An error in a later case says which one it was.

    Raises:
        Wrong: the function stops.
    """
    try:
        return attempt(*arguments)
    except Wrong as wrong:
        stopped = str(wrong)
        if case is first or not stopped.startswith("It stopped with"):
            raise
        raise Wrong(
            f"With {case.what}, i{stopped[1:]}. With {first.what} it does not stop. Does the code contain a number "
            "that belongs to the arguments?"
        ) from None


def with_help(attempt: Callable, explanations: Mapping[str, str]) -> Callable:
    """Wrap a reader's function, so that the message says more where it stops.

    Args:
        attempt: the reader's function.
        explanations: what usually causes an error, each by a piece of the error's own message. The first one whose
            piece occurs is told.
    """

    def call(*arguments: Any) -> Any:
        try:
            return attempt(*arguments)
        except Wrong as wrong:
            error = str(wrong).partition(", at line ")[0]
            known = [explanation for piece, explanation in explanations.items() if piece in error]
            if not known or not error.startswith("It stopped with"):
                raise
            raise Wrong(f"{wrong}. {known[0]}") from None

    return call


def _made(message: str, mistake: Callable, cases: Sequence[Case], numbers: Callable) -> tuple[str, Iterator[Numbers]]:
    """Return a mistake's message, and its numbers in each case. They are computed when they are asked for."""

    def results() -> Iterator[Numbers]:
        for case in cases:
            arguments = case.make()
            yield numbers(mistake(*arguments), arguments)

    return message, results()


def combined(variant: Callable, switches: Mapping[str, Mapping[Any, str]]) -> list[Misconception]:
    """Return the mistakes of a function that has a switch for each thing that can go wrong, alone and in pairs.

        combined(step, {"sign": {+1: "It climbs …"}, "reduce": {"sum": "The loss is a sum …"}})

    Args:
        variant: takes the exercise's arguments, and the switches as keywords; without them it is right.
        switches: for each switch its wrong values, with the message for each.

    Returns:
        First each mistake alone, then the pairs of mistakes that have different switches.
    """
    single = [(name, value, message) for name, values in switches.items() for value, message in values.items()]

    def made(**wrong: Any) -> Callable:
        return lambda *arguments: variant(*arguments, **wrong)

    alone = [(message, made(**{name: value})) for name, value, message in single]
    pairs = [
        (f"Two things are wrong. First: {a} Second: {b}", made(**{of_a: value_a, of_b: value_b}))
        for (of_a, value_a, a), (of_b, value_b, b) in itertools.combinations(single, 2)
        if of_a != of_b
    ]
    return alone + pairs


def single(mistakes: Iterable[Misconception]) -> list[Misconception]:
    """Return the mistakes that are no pair of two, as `combined` makes them."""
    return [mistake for mistake in mistakes if not mistake[0].startswith("Two things are wrong.")]


ANOTHER = (
    "Called twice with the same arguments, it gives different results. Either something random is in it, or it keeps "
    "something from one call to the next, and the result should depend on the arguments alone."
)


@dataclass(frozen=True)
class Trial:
    """The numbers of one case: the reader's, ours, and how near they must be."""

    what: str
    code: str  # makes the arguments
    got: Numbers
    want: Numbers
    tolerance: float | None = None
    sizes: Mapping[str, float] = field(default_factory=dict)

    def agrees(self, numbers: Numbers) -> bool:
        """Tell whether the reader's numbers are these."""
        return all(self._near(self.got[name], numbers[name]) for name in self.want)

    def differing(self) -> list[str]:
        """Return the names of the numbers that differ from ours."""
        return [name for name in self.want if not self._near(self.got[name], self.want[name])]

    def _near(self, a: Tensor, b: Tensor) -> bool:
        if a.shape != b.shape:
            return False
        tolerance = self.tolerance or (DOUBLE if b.dtype == torch.float64 else SINGLE)
        b = b.double()
        scale = b[b.isfinite()].abs().max().item() if b.isfinite().any() else 0.0
        return torch.allclose(a.double(), b, rtol=0, atol=tolerance * scale, equal_nan=True)


def compare(trials: Sequence[Trial], mistakes: Iterable[tuple[str, Iterable[Numbers]]] = ()) -> None:
    """Raise `Wrong` unless the reader's numbers agree with ours in every trial. A mistake that fits names the error.

    Args:
        trials: the trials.
        mistakes: pairs of a known mistake's message, and its numbers in each trial. The first pair whose numbers are
            the reader's in all trials names the mistake.

    Raises:
        Wrong: a shape or a number differs from ours.
    """
    failed = [trial for trial in trials if trial.differing()]
    if not failed:
        return
    for message, numbers in mistakes:
        try:
            fits = all(trial.agrees(of_trial) for trial, of_trial in zip(trials, numbers, strict=False))
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
            fits = False  # the mistake cannot be made with these arguments
        if fits:
            raise Wrong(message)
    for trial in failed:
        for name in trial.want:
            got, want = list(trial.got[name].shape), list(trial.want[name].shape)
            if got != want:
                several = name.endswith("s") and not name.endswith(("ss", "bias"))
                has, it = ("have", "they") if several else ("has", "it")
                raise Wrong(f"With {trial.what}, {name} {has} the shape {got}; {it} should be {want}.")
    raise Wrong(f"{_fact(trials, failed)} {_example(failed[0])}")


def _example(trial: Trial) -> str:
    name = trial.differing()[0]
    got, want = trial.got[name].double(), trial.want[name].double()
    gap = (got - want).abs()  # argmax takes nan for the largest
    index = tuple(int(i) for i in torch.unravel_index(gap.argmax(), gap.shape))
    place = f"{name}{list(index)}" if index else name
    digits = 6 if gap[index] > 1e-5 * want[index].abs() else 17  # as many as show the difference
    values = f"should be {want[index].item():.{digits}g}; yours is {got[index].item():.{digits}g}"
    return f"With the arguments {trial.code}, {place} {values}."


def _fact(trials: Sequence[Trial], failed: Sequence[Trial]) -> str:
    """Return a sentence that is true of the reader's numbers, and as telling as can be found."""
    both = [(trial.got[name], trial.want[name]) for trial in failed for name in trial.differing()]
    rounded = all(_is_rounded(got, want) for got, want in both)
    pairs = [(got.double(), want.double()) for got, want in both]
    if not all(got.isfinite().all() for got, _want in pairs):
        return "Some of the numbers are not finite."
    nearly = all(_close(got, want, 1e-3) for got, want in pairs)
    if len(failed) < len(trials):
        well = " and with ".join(trial.what for trial in trials if trial not in failed)
        badly = " and with ".join(trial.what for trial in failed)
        if rounded:
            return f"Right with {well}, but only to a few digits with {badly}. {PRECISION}"
        if nearly:
            return f"Right with {well}, but only to a few digits with {badly}. {ROUNDED}"
        return (
            f"Right with {well}, but wrong with {badly}. Does the code contain a number that belongs to the arguments?"
        )
    if rounded:
        return f"Nearly right: the numbers agree to a few digits only. {PRECISION}"
    parts = {name for trial in failed for name in trial.differing()}
    others = [name for name in failed[0].want if name not in parts]
    so_far = f"Right in {_and(others)}, but not in {_and(sorted(parts))}. " if others else ""
    if not any(got.any() for got, _want in pairs):
        return f"{so_far}All the numbers are zero."
    if nearly:
        return f"{so_far}Nearly right: the numbers agree to a few digits only. {ROUNDED}"
    factors = [_factor(got, want) for got, want in pairs]
    if None not in factors and (says := _of_factors(failed, factors)):
        return so_far + says
    shifts = [_constant(got - want) for got, want in pairs]
    if None not in shifts:
        return f"{so_far}Every number is off by the same amount."
    if all(got.dim() and _same_sorted(got, want) for got, want in pairs):
        return f"{so_far}The numbers are right, but they stand in another order."
    return f"{so_far}This is not right, and it is not a mistake that we know."


PRECISION = (
    "The result should have the precision of the arguments. A tensor that your code makes, as by torch.zeros or "
    "torch.tensor(0.0), is in single precision unless it is given their dtype."
)
ROUNDED = "Is a number in the code, or the result, rounded?"
POWERS = {1: "{}", -1: "1 / {}", 2: "{} squared", -2: "1 / {} squared", 0.5: "the root of {}", -0.5: "1 / root of {}"}


def _of_factors(failed: Sequence[Trial], factors: Sequence[float]) -> str | None:
    """Say by which factor the numbers are too large, if it says anything; each name of each failed trial has one."""
    names = [trial.differing() for trial in failed]
    starts = [sum(map(len, names[:i])) for i in range(len(names))]
    by_trial = []
    for start, of_trial in zip(starts, names, strict=True):
        several = factors[start : start + len(of_trial)]
        if not all(_same(factor, several[0]) for factor in several):
            return "Each of them is wrong by a factor of its own."
        by_trial.append(several[0])
    single = len(names[0]) == 1 and all(trial.got[names[0][0]].numel() == 1 for trial in failed)
    subject = f"{names[0][0][0].upper()}{names[0][0][1:]} is" if single else "All the numbers are"
    if all(_same(factor, by_trial[0]) for factor in by_trial):
        times = f"{by_trial[0]:.4g} times"
        return f"{subject} {'minus' if _same(by_trial[0], -1) else times} what should be there."
    for name in failed[0].sizes:
        if not all(name in trial.sizes for trial in failed):
            continue
        sizes = [trial.sizes[name] for trial in failed]
        if all(n > 1 and _same(factor, n / (n - 1)) for factor, n in zip(by_trial, sizes, strict=True)):
            return f"{subject} too large, as if the divisor were {name} minus 1."
        for power, words in POWERS.items():
            units = [factor / n**power for factor, n in zip(by_trial, sizes, strict=True)]
            if all(_same(unit, units[0]) for unit in units):
                times = "" if _same(units[0], 1) else f"{units[0]:.4g} times "
                return f"{subject} {times}{words.format(name)} times what should be there."
    if single:
        return None
    cases = " and ".join(f"{f:.4g} times with {trial.what}" for f, trial in zip(by_trial, failed, strict=True))
    return f"All the numbers are wrong by one factor: {cases}."


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-3)


def _factor(got: Tensor, want: Tensor) -> float | None:
    """Return the number that `want` must be multiplied by to be `got`, if there is one."""
    square = (want * want).sum().item()
    if not square:
        return None
    factor = (got * want).sum().item() / square
    return factor if factor and _close(got, factor * want, 1e-4) else None


def _constant(values: Tensor) -> float | None:
    first = values.flatten()[0].item()
    return first if values.numel() > 1 and _close(values, torch.full_like(values, first), 1e-4) else None


def _same_sorted(a: Tensor, b: Tensor) -> bool:
    return a.numel() > 1 and _close(a.flatten().sort().values, b.flatten().sort().values, 1e-4)


def _is_rounded(got: Tensor, want: Tensor) -> bool:
    """Tell whether numbers differ by no more than a lower precision rounds."""
    return _close(got.double(), want.double(), 1e-2 if got.dtype in (torch.float16, torch.bfloat16) else 1e-5)


def _close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return bool((a - b).abs().max() <= tolerance * b.abs().max())


def _and(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def number(value: Any, name: str) -> float:
    """Return the reader's `value` as a plain number; a message calls it `name`.

    Raises:
        Wrong: `value` is not one number.
    """
    if isinstance(value, str | bytes | bool):
        raise Wrong(f"{name} should be one number; yours is {describe(value)}.")
    try:
        return float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"{name} should be one number; yours is {describe(value)}.") from None


def describe(value: Any) -> str:
    """Describe in a few words a value that should not have been returned."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}" if value.dim() else "a tensor that holds one number"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"a NumPy array of shape {list(value.shape)}"
    if isinstance(value, str):
        return f"the text {value!r:.40}"
    if isinstance(value, bool | int | float):
        return f"the number {value!r:.40}" if not isinstance(value, bool) else f"the truth value {value}"
    article = "an" if type(value).__name__[0].lower() in "aeiou" else "a"
    return f"{article} {type(value).__name__}"
