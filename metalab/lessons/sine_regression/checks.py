"""What the checks of several exercises of the sine lesson share: a network, its data, and how messages are chosen.

The learner's functions see the network only as `params`, a list of tensors, and as `forward(params, x)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import GeneratorType
from typing import Any

import torch
from torch import Tensor

from ..kit.comparing import PRECISION, Misconception, Trial, Wrong, combined, compare, describe
from . import solutions
from .solutions import forward

NAMES = ("w1", "b1", "w2", "b2", "w3", "b3")
Task = tuple[Tensor, Tensor, Tensor, Tensor]  # the support x, y and the query x, y


# The network and the data of the checks


def fresh_params(widths: tuple[int, int], size: float, dtype: torch.dtype, generator: torch.Generator) -> list[Tensor]:
    """Draw parameters of normal numbers times `size`, for hidden layers of these widths."""
    first, second = widths
    shapes = [(1, first), (first,), (first, second), (second,), (second, 1), (1,)]
    return [(size * torch.randn(shape, generator=generator, dtype=dtype)).requires_grad_() for shape in shapes]


def fresh_task(shots: int, queries: int, dtype: torch.dtype, generator: torch.Generator) -> Task:
    """Draw a task with its support and query points."""
    amplitude, phase = solutions.sample_task(generator)
    x = torch.rand(shots + queries, 1, generator=generator, dtype=dtype) * 10 - 5
    y = amplitude * torch.sin(x - phase)
    return x[:shots], y[:shots], x[shots:], y[shots:]


# Parts that several checks share


Loss = Callable[[Tensor, Tensor], Tensor]  # of a prediction and a target, each [K, 1]


def mean_square(prediction: Tensor, y: Tensor) -> Tensor:
    """Return the mean of the squared differences."""
    return ((prediction - y) ** 2).mean()


def mse(params: Sequence[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return the mean squared error of the network."""
    return mean_square(forward(params, x), y)


def meta_gradient(loss: Tensor, params: list[Tensor]) -> dict[str, Tensor]:
    """Return the gradients of a loss with respect to `params`, by what messages call them."""
    gradients = torch.autograd.grad(loss, params, allow_unused=True, materialize_grads=True, retain_graph=True)
    return {f"the gradient of {name}": gradient for name, gradient in zip(NAMES, gradients, strict=True)}


def expect_graph(loss: Tensor, params: list[Tensor], message: str) -> None:
    """Raise `Wrong(message)` if no gradient at all flows from `loss` back to `params`."""
    if not loss.requires_grad or not any(g.any() for g in meta_gradient(loss, params).values()):
        raise Wrong(message)


def compare_gradients(trials: list[Trial], known: list[tuple[str, list[dict[str, Tensor]]]]) -> None:
    """Compare meta-gradients that belong to right values."""
    try:
        compare(trials, known)
    except Wrong as wrong:
        if str(wrong) in [message for message, _ in known]:
            raise
        example = str(wrong)[str(wrong).rindex("With ") :]
        raise Wrong(
            "What it computes is right, but the meta-gradient is not: autograd does not see all the ways in which the "
            f"result depends on `params`. Is a part of it detached, or computed under no_grad? {example}"
        ) from None


def expect_lists_kept(attempt: Callable, in_place: str) -> Callable:
    """Wrap the reader's function, so that a message about changed arguments says if only a list was changed.

    `in_place` is the exercise's message about changed arguments.
    """

    def call(*arguments: Any) -> Any:
        lists = {
            name: thing for name, thing in zip(("params", "tasks"), arguments, strict=False) if type(thing) is list
        }
        before = {name: list(things) for name, things in lists.items()}
        values = [p.detach().clone() for p in before["params"]]
        try:
            return attempt(*arguments)
        except Wrong as wrong:
            if str(wrong) != in_place:
                raise
            kept = all(torch.equal(p, value) for p, value in zip(before["params"], values, strict=True))
            for name, things in lists.items():
                if kept and list(map(id, things)) != list(map(id, before[name])):
                    raise Wrong(_list_changed(name, before[name], things)) from None
            raise

    return call


def _list_changed(name: str, before: list, after: list) -> str:
    if len(after) < len(before):
        return (
            f"It takes entries out of the list `{name}`, as pop() does. The list belongs to whoever called, and comes "
            "back shorter. Go through it with a for loop, or work on a copy."
        )
    if sorted(map(id, before)) == sorted(map(id, after)):
        return (
            f"It changes the order of the list `{name}`, which belongs to whoever called. Leave the list as it was, or "
            "work on a copy."
        )
    return (
        f"It puts something else into the list `{name}`. The list belongs to whoever called, who goes on using it: "
        "what comes after would start from other values. Make a new list."
    )


def remembered(mistakes: list[Misconception]) -> list[Misconception]:
    """Let each mistake compute its result once for each case. A case is known by its inner_lr, the last argument."""

    def keeping(mistake: Callable) -> Callable:
        results: dict[float, Any] = {}

        def call(*arguments: Any) -> Any:
            if arguments[-1] not in results:
                result = mistake(*arguments)
                several = isinstance(result, tuple | list)
                results[arguments[-1]] = [t.detach() for t in result] if several else result.detach()
            return results[arguments[-1]]

        return call

    return [(message, keeping(mistake)) for message, mistake in mistakes]


def alone(variant: Callable, switches: dict[str, dict[Any, str]]) -> list[Misconception]:
    """Return the mistakes of a variant, each alone; see `combined`."""
    return combined(variant, switches)[: sum(map(len, switches.values()))]


def in_pairs(variant: Callable, switches: dict[str, dict[Any, str]]) -> list[Misconception]:
    """Return the mistakes of a variant, two at a time; see `combined`."""
    return combined(variant, switches)[sum(map(len, switches.values())) :]


def in_turn(single: list[Misconception], otherwise: Callable[[], None], pairs: list[Misconception]) -> Iterator:
    """Give the mistakes that occur alone, then call what may raise `Wrong` with other words, then give the pairs."""
    yield from single
    otherwise()
    yield from pairs


def expect_params_untouched(params: list[Tensor]) -> None:
    """Raise `Wrong` if gradients were left in `params`, or if they were cut off from autograd."""
    if any(p.grad is not None for p in params):
        raise Wrong(
            "It leaves gradients in the .grad of `params`, as backward() does. There the tasks add up, and an outer "
            "optimizer would take them for the meta-gradient. torch.autograd.grad returns gradients and leaves "
            "nothing behind."
        )
    if not all(p.requires_grad and p.is_leaf for p in params):
        raise Wrong(
            "It cuts `params` themselves off from autograd, by detach_() or requires_grad_(False). No gradient can "
            "reach them any more, so nothing can be learned. Leave the tensors in `params` as they are."
        )


def and_(names: Sequence[str]) -> str:
    """Return names as a list in words."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


VARYING = "Does the code contain a number of points, of tasks, or of units in a layer? They all vary."
ADVICE = {  # by a piece of PyTorch's or Python's message
    "(expected 6": "`params` is what has six tensors. Does something else stand in its place? The order is "
    "forward(params, x) and inner_step(params, x, y, inner_lr).",
    "'float' object is not iterable": "A plain number stands where several things are expected. Did item() or float() "
    "make one of the loss? Autograd needs the tensor.",
    "'list' object has no attribute 'grad'": "`params` is a list, and each of its tensors has a gradient of its own. "
    "torch.autograd.grad(loss, params) returns them all.",
    "does not require grad": "Autograd cannot see how the loss depends on `params`. Is something computed under "
    "no_grad, or from detached tensors?",
    "in-place operation": "Operations such as -= and sub_ change `params` themselves. Make new tensors instead.",
    "only for scalar outputs": "Autograd differentiates one number. Is the mean over the points missing?",
    "not have been used in the graph": "The loss was not computed from that tensor. Was it a copy, or was a layer left "
    "out?",
    "backward through the graph a second time": "create_graph=True keeps the graph of the loss.",
    "out of range": VARYING,
    "out of bounds": VARYING,
    "same dtype": "The result should have the precision of the arguments. Does the code convert some of them?",
    "is invalid for input of size": VARYING,
    "'list' and 'float'": "`params` is a list: each of its tensors has to be updated by itself.",
    "multiply sequence": "A list or a tuple cannot be multiplied: multiply each of its tensors by itself.",
    "'float' and 'NoneType'": "A .grad stays None until backward() was called, and here nothing should call it.",
}


def change_of(adapted: Any, arguments: tuple) -> dict[str, Tensor]:
    """Return what an inner step added to each of the parameters, in their precision."""
    params = arguments[0]
    wanted = "It should return the new parameters as a list of six tensors"
    if isinstance(adapted, GeneratorType | map | zip):
        raise Wrong(f"{wanted}; yours is {describe(adapted)}, which can be read once only. Make a list of it.")
    if not isinstance(adapted, tuple | list):
        raise Wrong(f"{wanted}; yours is {describe(adapted)}.")
    for other in adapted:
        if not isinstance(other, Tensor):
            raise Wrong(f"{wanted}, and nothing else; yours is {describe(adapted)}, with {describe(other)} in it.")
    if len(adapted) != len(params):
        raise Wrong(
            f"It returns {len(adapted)} tensors and not the {len(params)} of `params`. The network needs all of "
            "them, weights and biases, in the order in which they came."
        )
    shapes, given = ([tuple(p.shape) for p in tensors] for tensors in (adapted, params))
    if shapes != given and sorted(shapes) == sorted(given):
        raise Wrong(
            f"The new parameters come in another order than `params`, which is {and_(NAMES)}. forward would take one "
            "for another. Keep the order."
        )
    for name, new, old in zip(NAMES, adapted, params, strict=True):
        if new.shape != old.shape:
            raise Wrong(
                f"{name} comes back with the shape {list(new.shape)}; it went in with the shape {list(old.shape)}. A "
                "step changes the numbers in a tensor, and never its shape."
            )
        if new.dtype == torch.float64 and old.dtype == torch.float32:
            raise Wrong(
                f"{name} comes back as {new.dtype}, and it went in as {old.dtype}. The result should have the "
                "precision of `params`. What converts it?"
            )
        if not new.is_floating_point() or torch.finfo(new.dtype).eps > torch.finfo(old.dtype).eps:
            raise Wrong(f"{name} comes back as {new.dtype}, and it went in as {old.dtype}. {PRECISION}")
    return {
        f"the change of {name}": (new.detach().double() - old.detach().double()).to(old.dtype)
        for name, new, old in zip(NAMES, adapted, params, strict=True)
    }
