"""A learner, by what an examination may ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from ...arguments import flag, real, shown, whole
from ...arguments import function as check_function
from ..diagnosis import Task

Make = Callable[[], "Patient"]
Classes = Mapping[Any, Sequence[tuple[str, str]]]  # for each class, the characters in it: (alphabet, character)


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A learner, by what an examination may ask of it. Leave out what yours does not have.

    Args:
        parameters: its parameters: a module, a list of tensors, or a dictionary of tensors by name; or, if a step makes
            new tensors, a function that returns today's list or dictionary.
        step: takes one training step on a batch, and returns the loss before it.
        batch: draws a batch from a generator: whatever `step` and `loss` take. A batch that is an `Episode`, or a list
            of tasks (support x, support y, query x, query y), can also be predicted.
        loss: the training loss of a batch, as a tensor that can be differentiated by the parameters; or as a number, if
            there is a `gradient`.
        gradient: the gradient of the training loss of a batch, for code that writes it out: a list or dictionary like
            that of `parameters`.
        predict: answers the queries of one task, from support x [S, ...], support y [S] or [S, out] and query x
            [Q, ...]: scores [Q, classes], of which the largest wins, so that two classes need two of them; or values
            [Q, out], or [Q] where support y is [S].
        task: draws one task from a generator.
        meta_loss: as `diagnose` takes it: (params, tasks, inner_lr) to the meta-loss, for any list of parameters.
        order: 1 if the gradient is not meant to be the slope of the loss, as in first-order MAML and Reptile.
        loss_after: the loss of one and the same task after K inner steps, as a tensor with its graph.
        distance: the distances [B] of pairs of inputs a [B, ...] and b [B, ...].
        pairs: draws pairs from a generator: a, b, and same [B], which is True where both show the same class.
        splits: the classes of each split by name, and for each class the characters in it as (alphabet, character).
        new_alphabets: whether the splits are meant to share no alphabet. Else, they are meant to share no character.
        transductive: whether an answer is meant to depend on the other queries of its batch.
        adapts: whether an answer is meant to depend on the support set. One network for all tasks does not adapt.
        contains_support: whether the queries are meant to contain the support set, as those of neural processes do.
        floor: the lowest training loss that there can be. It is above 0 where scores are bounded, as cosines are,
            and below 0 for densities above 1.

    Raises:
        TypeError, ValueError: an argument is of another type, `order` is neither 1 nor 2, or `floor` is not finite.
    """

    parameters: nn.Module | Sequence[Tensor] | Mapping[str, Tensor] | Callable[[], Any] = ()
    step: Callable[[Any], Any] | None = None
    batch: Callable[[torch.Generator], Any] | None = None
    loss: Callable[[Any], Any] | None = None
    gradient: Callable[[Any], Any] | None = None
    predict: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    task: Callable[[torch.Generator], Task] | None = None
    meta_loss: Callable[..., object] | None = None
    order: int = 2
    loss_after: Callable[[int], Tensor] | None = None
    distance: Callable[[Tensor, Tensor], Tensor] | None = None
    pairs: Callable[[torch.Generator], tuple[Tensor, Tensor, Tensor]] | None = None
    splits: Mapping[str, Classes] | None = None
    new_alphabets: bool = True
    transductive: bool = False
    adapts: bool = True
    contains_support: bool = False
    floor: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if str(field.type).startswith("Callable") and value is not None:
                check_function(**{field.name: value})
        whole(most=2, order=self.order)
        real(floor=self.floor)
        flag(new_alphabets=self.new_alphabets, transductive=self.transductive)
        flag(adapts=self.adapts, contains_support=self.contains_support)
        if not callable(self.parameters):  # a module can be called, too
            _check_parameters(self.parameters)
        if self.splits is not None and not _are_splits(self.splits):
            raise TypeError(
                f"splits={shown(self.splits)} must be a dictionary: for each split, a dictionary of its classes, and "
                "for each class, a list of (alphabet, character)"
            )

    @property
    def named(self) -> dict[str, Tensor]:
        """Return the parameters by name.

        Raises:
            TypeError: `parameters` is a function that returns something else.
        """
        if isinstance(self.parameters, nn.Module):
            return dict(self.parameters.named_parameters())
        found = self.parameters
        if callable(found):
            found = found()
            _check_parameters(found)
        return dict(found) if isinstance(found, Mapping) else {f"parameter {i}": p for i, p in enumerate(found)}

    @property
    def trained(self) -> dict[str, Tensor]:
        """Return the parameters that require a gradient, by name; all of them, if none does."""
        return {name: p for name, p in self.named.items() if p.requires_grad} or self.named

    @property
    def tensors(self) -> list[Tensor]:
        """Return the parameters, and a module's buffers after them."""
        module = self.parameters if isinstance(self.parameters, nn.Module) else None
        return [*self.named.values(), *(module.buffers() if module else ())]


def _check_parameters(found: object) -> None:
    values = found.values() if isinstance(found, Mapping) else found
    if not isinstance(found, list | tuple | Mapping) or not all(isinstance(p, Tensor) for p in values):
        raise TypeError(
            f"parameters={shown(found)} must be a torch.nn.Module, a list of tensors, a dictionary of tensors, or a "
            "function that returns one of the latter two"
        )


def _are_splits(splits: object) -> bool:
    def are_members(found: object) -> bool:
        return isinstance(found, list | tuple) and all(isinstance(m, list | tuple) and len(m) == 2 for m in found)

    def are_classes(found: object) -> bool:
        return isinstance(found, Mapping) and all(map(are_members, found.values()))

    return isinstance(splits, Mapping) and all(map(are_classes, splits.values()))
