"""The checks of what a user hands over. Each is made once, where the argument comes in, and not in hot paths.

Every message names the argument, its value, and what would be right. A value of the wrong type raises a TypeError, and
any other value that cannot be used raises a ValueError.

    whole(shots=shots, queries=queries)                    # shots=0 must be a whole number of at least 1
    real(least=0, inner_lr=inner_lr)                       # inner_lr=nan must be a finite number of at least 0
    shapes(support_z=(support_z, "T S E"), query_z=(query_z, "T Q E"))
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
import threading
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

LARGEST = 2**63 - 1  # of PyTorch's whole numbers


def shown(value: object) -> str:
    """Return a value as a message shows it: a tensor by its shape, and everything else by at most 80 characters."""
    if isinstance(value, Tensor) and value.dim():
        return f"a tensor of shape {list(value.shape)}"
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write out an integer of more than 4,300 digits
        text = f"a number of type {type(value).__name__} with thousands of digits"
    text = " ".join(text.split())  # on one line
    return text if len(text) <= 80 else f"{text[:77]}..."


def whole(*, least: int = 1, most: int = LARGEST, what: str = "", **arguments: object) -> None:
    """Check that each argument is a whole number from `least` to `most`.

    Args:
        least, most: the bounds, which are allowed values.
        what: says in words what `most` is, for the message.
        arguments: the values by name.

    Raises:
        TypeError: a value is no whole number; True and 3.0 are none either.
        ValueError: a value is out of bounds.
    """
    for name, value in arguments.items():
        if type(value) is int and least <= value <= most:  # nearly always
            continue
        upper = f" and at most {most}{what and f', {what}'}" if most < LARGEST else ""
        message = f"{name}={shown(value)} must be a whole number of at least {least}{upper}"
        if isinstance(value, bool | np.bool_ | Tensor):
            raise TypeError(message)
        try:
            number = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(message) from None
        if not least <= number <= most:
            raise ValueError(message if number < least or upper else f"{name}={shown(value)} must be below 2^63")


def real(
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
    **arguments: object,
) -> None:
    """Check that each argument is a finite number within bounds. A tensor without axes counts as a number.

    Args:
        least, most: bounds that are allowed values.
        above, below: bounds that are not.
        arguments: the values by name.

    Raises:
        TypeError: a value is no number; True is none either.
        ValueError: a value is not finite, or out of bounds.
    """
    bounds = {"at least": least, "above": above, "at most": most, "below": below}
    for name, value in arguments.items():
        if type(value) is float and least <= value <= most and above < value < below and value - value == 0:
            continue  # nearly always; the last term says that it is finite
        given = " and ".join(f"{words} {bound:g}" for words, bound in bounds.items() if math.isfinite(bound))
        message = f"{name}={shown(value)} must be a finite number{given and f', {given}'}"
        if isinstance(value, Tensor) and (value.dim() or value.dtype == torch.bool or value.is_complex()):
            raise TypeError(message)
        if not isinstance(value, int | float | np.integer | np.floating | Tensor) or isinstance(value, bool):
            raise TypeError(message)
        try:
            number = float(value)
        except OverflowError:  # 10**400
            raise ValueError(message) from None
        if not (math.isfinite(number) and least <= number <= most and above < number < below):
            raise ValueError(message)


def path(**arguments: object) -> None:
    """Check that each argument is a path.

    Raises:
        TypeError: a value is no path.
    """
    for name, value in arguments.items():
        if not isinstance(value, str | os.PathLike):
            raise TypeError(f"{name}={shown(value)} must be a path, as a string or a pathlib.Path")


def flag(**arguments: object) -> None:
    """Check that each argument is True or False.

    Raises:
        TypeError: a value is something else.
    """
    for name, value in arguments.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name}={shown(value)} must be True or False")


def one_of(choices: Collection[Any], **arguments: object) -> None:
    """Check that each argument is one of the choices, which are all of one type.

    Raises:
        ValueError: a value is none of them.
    """
    for name, value in arguments.items():
        if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in choices):
            *others, last = map(repr, choices)
            raise ValueError(f"{name}={shown(value)} must be {', '.join(others)}{' or ' * bool(others)}{last}")


def function(**arguments: object) -> None:
    """Check that each argument can be called.

    Raises:
        TypeError: a value cannot be called.
    """
    for name, value in arguments.items():
        if not callable(value):
            raise TypeError(f"{name}={shown(value)} must be a function")


def generator(value: object, device: torch.device | None = None, *, name: str = "generator") -> None:
    """Check that a value is a `torch.Generator`, and on the device if one is named.

    Raises:
        TypeError: it is no generator.
        ValueError: it is on another device.
    """
    if not isinstance(value, torch.Generator):
        raise TypeError(f"{name}={shown(value)} must be a torch.Generator")
    if device is not None and value.device.type != device.type:
        raise ValueError(f"{name} is on {value.device}, and must be on {device}, where the data are")


def device(**arguments: object) -> None:
    """Check that each argument names a CPU or a GPU that PyTorch finds here.

    Raises:
        TypeError: a value names no device.
        ValueError: a value names another kind of device, or a GPU that is not there.
    """
    for name, value in arguments.items():
        if not isinstance(value, str | torch.device):
            raise TypeError(f'{name}={shown(value)} must be "cpu", "cuda", or a torch.device')
        try:
            kind = torch.device(value)
        except RuntimeError:
            kind = None
        if kind is None or kind.type not in ("cpu", "cuda"):
            raise ValueError(f'{name}={str(value)!r} must be "cpu" or "cuda"')
        if kind.type == "cuda" and (kind.index or 0) >= torch.cuda.device_count():
            raise ValueError(f"{name}={str(value)!r}: PyTorch finds no such GPU here; leave it out to use the CPU")


def tensors(like: Mapping[str, Tensor], *, dtypes: bool = True, finite: bool = False, **arguments: object) -> None:
    """Check that each argument is a dictionary of tensors with the names, shapes and dtypes of those in `like`.

    Args:
        like: tensors by name.
        dtypes: whether the dtypes must be the same; otherwise floating-point numbers may have any precision.
        finite: whether their numbers must be finite too; this reads them.
        arguments: the values by name.

    Raises:
        TypeError: a value is no dictionary of tensors.
        ValueError: a tensor is missing, surplus or different.
    """
    for argument, values in arguments.items():
        if not isinstance(values, Mapping) or not all(isinstance(value, Tensor) for value in values.values()):
            raise TypeError(f"{argument}={shown(values)} must be a dictionary of tensors: {', '.join(like)}")
        for name in like:
            if name not in values:
                raise ValueError(f"{argument} has no {name}; it must have {', '.join(like)}")
            value, own = values[name], like[name]
            if value.shape != own.shape:
                raise ValueError(
                    f"{name} of {argument} has the shape {list(value.shape)}; it must be {list(own.shape)}"
                )
            if value.dtype != own.dtype and (dtypes or not value.is_floating_point() or not own.is_floating_point()):
                raise ValueError(f"{name} of {argument} has the dtype {value.dtype}; it must be {own.dtype}")
            if finite and not values[name].isfinite().all():
                raise ValueError(f"{name} of {argument} has numbers that are not finite")
        if surplus := [name for name in values if name not in like]:
            raise ValueError(f"{argument} has {shown(surplus[0])}; it must have {', '.join(like)} and nothing else")


def shapes(**arguments: tuple[object, str]) -> dict[str, int]:
    """Check that tensors have the shapes that are asked for, and that these fit one another.

        sizes = shapes(support_z=(support_z, "T S E"), query_z=(query_z, "T Q E"))

    Args:
        arguments: by name, a value and its axes. A letter is an axis of any size but 0; the same letter means the same
            size wherever it stands. A number is an axis of that size. "..." at the end stands for any further axes.

    Returns:
        The size of each letter.

    Raises:
        TypeError: a value is no tensor.
        ValueError: a tensor has another shape.
    """
    sizes: dict[str, int] = {}
    for name, (value, axes) in arguments.items():
        letters, open_ended = _axes(axes)
        shape = value.shape if isinstance(value, Tensor) else ()
        fits = isinstance(value, Tensor) and (len(shape) == len(letters) or (open_ended and len(shape) > len(letters)))
        for letter, size in zip(letters, shape, strict=False):
            fits = fits and size == (int(letter) if letter.isdigit() else sizes.setdefault(letter, size))
        if not fits or 0 in shape:
            raise _misfit(name, value, axes, sizes, [*arguments][: [*arguments].index(name)])
    return sizes


@cache
def _axes(axes: str) -> tuple[list[str], bool]:
    """Return the named axes, and whether others may follow."""
    letters = axes.split()
    return ([*letters[:-1]], True) if letters[-1:] == ["..."] else (letters, False)


def _misfit(name: str, value: object, axes: str, sizes: dict[str, int], before: list[str]) -> Exception:
    """Return the error that says how a value differs from the axes it should have."""
    wanted = f"[{', '.join(axes.split())}]"
    if not isinstance(value, Tensor):
        return TypeError(f"{name}={shown(value)} must be a tensor of shape {wanted}")
    shape = list(value.shape)
    says = f"{name} has the shape {shape}; it must be {wanted}"
    if 0 in shape:
        return ValueError(f"{says}, and not empty")
    known = {letter: size for letter, size in sizes.items() if letter in axes.split()}
    fitting = " with " + ", ".join(f"{letter} = {size}" for letter, size in known.items()) if known else ""
    return ValueError(f"{says}{fitting}{f', as in {before[0]}' if fitting and before else ''}")


def floats(**arguments: Tensor) -> None:
    """Check that tensors hold floating-point numbers, all of one precision and on one device.

    Raises:
        ValueError: one holds other numbers, or they differ.
    """
    kinds = {(value.dtype, value.device) for value in arguments.values()}
    if len(kinds) == 1 and next(iter(kinds))[0].is_floating_point:
        return
    first = next(iter(arguments))
    for name, value in arguments.items():
        if not value.is_floating_point():
            raise ValueError(f"{name} has the dtype {value.dtype}; it must hold floating-point numbers, like float32")
        for of in ("dtype", "device"):
            if getattr(value, of) != getattr(arguments[first], of):
                raise ValueError(
                    f"{name} has the {of} {getattr(value, of)}, and {first} has {getattr(arguments[first], of)}: "
                    "they must be the same"
                )


_trusted = threading.local()  # each thread has its own, or one trainer could leave the checks off for all


@contextlib.contextmanager
def trusted(yes: bool) -> Iterator[None]:
    """Take the batches of this context on trust, if `yes`: the training loop does, once its first batch was checked."""
    before, _trusted.yes = is_trusted(), yes
    try:
        yield
    finally:
        _trusted.yes = before


def is_trusted() -> bool:
    """Tell whether batches are taken on trust here."""
    return getattr(_trusted, "yes", False)


def labels(ways: int, **arguments: Tensor) -> None:
    """Check that labels are int64, and, where that does not wait for a GPU, that they lie in 0 … ways − 1.

    Raises:
        ValueError: they are not.
    """
    for name, value in arguments.items():
        if value.dtype != torch.int64:
            raise ValueError(f"{name} has the dtype {value.dtype}; labels must be torch.int64")
        if not is_trusted() and value.device.type == "cpu":
            low, high = (int(end) for end in value.aminmax())
            if low < 0 or high >= ways:
                raise ValueError(f"{name} has labels from {low} to {high}; they must lie in 0 … {ways - 1}")
