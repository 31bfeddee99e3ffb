"""The exercise on one inner step with any rates: what it is checked with, and the mistakes that its check knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..kit.comparing import Case, Numbers, Wrong, agree, combined, describe, single
from ..kit.exercise import Exercise
from . import solutions

Named = dict[str, Tensor]


def _step_case(seed: int, kind: str, what: str) -> Case:
    shapes = {"w1": (3, 2 + seed), "b1": (2 + seed,), "w2": (2 + seed, seed), "b2": (seed,)}

    def make() -> tuple[Named, Named, dict[str, Any]]:
        generator = torch.Generator().manual_seed(seed)
        theta, gradients, draw = (
            {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
            for _ in range(3)
        )
        rates: dict[str, Any] = {
            "one number for each tensor": dict(zip(shapes, (0.25, -0.5, 0.75, 1.25), strict=True)),
            "a rate for each number": draw,
            "zeros and ones": {name: 0.5 * (z > 0).double() for name, z in draw.items()},
        }[kind]
        return theta, gradients, rates

    return Case(what=what, make=make)


STEP_WITH_RATES_CASES = [
    _step_case(1, "one number for each tensor", "a rate for each tensor"),
    _step_case(2, "a rate for each number", "a rate for each number, some of them below 0"),
    _step_case(3, "zeros and ones", "rates of 0 and of 0.5"),
]


def _step(
    theta: Named, gradients: Named, rates: dict[str, Any], *, sign: int = -1, rate: str = "own", what: str = "new"
) -> Named:
    """Take the step, or do what the mistakes do that the keywords name."""
    names = list(theta)
    first = rates[names[0]]
    used = {
        "own": lambda name: rates[name],
        "size": lambda name: torch.as_tensor(rates[name]).abs(),
        "upwards": lambda name: torch.as_tensor(rates[name]).clamp(min=0),
        "mean": lambda name: torch.as_tensor(rates[name], dtype=torch.float64).mean(),
        "first": lambda name: torch.as_tensor(first, dtype=torch.float64).mean(),
        "none": lambda name: 1.0,
    }[rate]
    change = {name: used(name) * gradients[name] for name in names}
    if what == "change":
        return {name: sign * change[name] for name in names}
    if what == "scaled":
        return {name: theta[name] * (1 - used(name)) for name in names}
    return {name: theta[name] + sign * change[name] for name in names}


_KNOWN = combined(
    _step,
    {
        "sign": {1: "It climbs: the step goes along the gradient. Subtract rate times gradient."},
        "rate": {
            "size": "It takes the size of each rate. A rate below 0 is allowed, and moves its number uphill.",
            "upwards": "Rates below 0 are taken as 0. They are allowed, and move their numbers uphill.",
            "mean": "It takes the mean of a tensor's rates for all its numbers. Multiply entry by entry.",
            "first": "The rates of the first tensor are used for all of them. Each has its own, under its name.",
            "none": "The rates are not used: the step is the whole gradient.",
        },
        "what": {
            "change": "It returns the change alone. Return where the step ends: theta minus rate times gradient.",
            "scaled": "It multiplies theta, and not the gradient, by the rate.",
        },
    },
)
STEP_WITH_RATES_MISTAKES = single(_KNOWN)


def _by_name(result: Any, arguments: tuple) -> Numbers:
    """Return the tensors by name, and raise `Wrong` for what is no dictionary of them."""
    theta = arguments[0]
    if not isinstance(result, dict):
        raise Wrong(f"It should return a dictionary of tensors by name, as theta is one; yours is {describe(result)}.")
    if result.keys() != theta.keys():
        raise Wrong(f"The names should be {', '.join(theta)}; yours are {', '.join(map(str, result)) or 'none'}.")
    for name, p in theta.items():
        if not isinstance(result[name], Tensor) or result[name].shape != p.shape:
            raise Wrong(f"{name} should be a tensor {list(p.shape)}; yours is {describe(result[name])}.")
    return {name: result[name].detach() for name in theta}


def _examine(attempt: Callable) -> None:
    agree(
        attempt,
        name="step_with_rates",
        cases=STEP_WITH_RATES_CASES,
        right=solutions.step_with_rates,
        numbers=_by_name,
        mistakes=_KNOWN,
    )


step_with_rates = Exercise(
    answer=solutions.step_with_rates,
    difficulty="easy",
    minutes=5,
    statement="Take one inner step in which every tensor, or every single number, has an inner rate of its own.",
    hints=(
        "It is gradient descent, tensor by tensor: theta minus rate times gradient.",
        "rates[name] may be a number or a tensor of the same shape. `*` multiplies entry by entry in both cases.",
        "One dictionary does it: {name: theta[name] - rates[name] * gradients[name] for name in theta}.",
    ),
    cases=STEP_WITH_RATES_CASES,
    examine=_examine,
)
