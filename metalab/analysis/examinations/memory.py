"""Examinations of the memory that autograd keeps."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from weakref import WeakSet

import torch
from torch import Tensor

from ._calling import Found, Stop, made, number, seeded
from .examination import examination
from .patient import Make


@examination("loss_after")
def memory_over_inner_steps(make: Make) -> Found:
    """Count the bytes that autograd keeps for the gradient of the loss after 1, 2, 4 and 8 inner steps.

    Shows: with second order, a graph that is cut between the inner steps; with first order, one that is kept in vain.

    Cannot show: whether what is kept is used rightly; and nothing for code that needs no graph.
    """
    patient = made(make)
    kept = []
    for steps in (1, 2, 4, 8):
        with _kept_by_autograd() as count:
            loss = patient.loss_after(steps)
            kept.append(count())
        del loss
    says = f"{', '.join(f'{b / 1024:.0f}' for b in kept)} KiB after 1, 2, 4 and 8 inner steps"
    grows = (kept[3] - kept[0]) / 7 > 0.05 * max(kept[0], 1)
    if patient.order == 2 and not grows:
        return "ill", f"It keeps {says}: the inner steps leave no graph behind, as second order needs one."
    if patient.order == 1 and grows:
        return "ill", f"It keeps {says}: first order needs no graph of the steps before."
    return "well", f"It keeps {says}, as order {patient.order} does."


@examination("step", "batch")
def memory_over_training(make: Make) -> Found:
    """Count the bytes that autograd still keeps after each of six training steps.

    Shows: losses or graphs that are stored and never let go, so that a long training runs out of memory.

    Cannot show: memory that is held by anything but autograd; and a loss that is stored only at some of the steps, as
    at every second or tenth: "nothing piles up" says that not every one of the steps has added to what is kept. A sound
    step that adds up the losses of more than six steps before it differentiates them is called ill.
    """
    patient, generator = made(make), seeded()
    kept = []
    with _kept_by_autograd() as count:
        for _ in range(6):
            number(patient.step(patient.batch(generator)), "step")
            kept.append(count())
        if _grows(kept):
            gc.collect()  # what refers to itself is let go only then; it is no leak
            kept[-1] = count()
    says = f"{kept[1] / 1024:.0f} KiB are kept after two steps, and {kept[-1] / 1024:.0f} after six"
    if _grows(kept):
        return "ill", f"{says}: each step leaves its graph behind. Is a loss stored with its graph?"
    return "well", f"{says}: nothing piles up."


def _grows(kept: list[int]) -> bool:
    return all(b > a for a, b in pairwise(kept[1:]))


class _Kept:
    """What a graph keeps in place of a tensor; it lives as long as the graph does."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()  # the tensor itself would keep its graph alive for ever


@contextmanager
def _kept_by_autograd() -> Iterator[Callable[[], int]]:
    """Yield a function that counts the bytes of the tensors that the graphs made in this context keep alive.

    Raises:
        Stop: autograd does not show what it keeps.
    """
    alive: WeakSet[_Kept] = WeakSet()

    def pack(tensor: Tensor) -> _Kept:
        kept = _Kept(tensor)
        alive.add(kept)
        return kept

    def count() -> int:
        storages = [kept.tensor.untyped_storage() for kept in alive]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
            yield count
    except RuntimeError as error:
        if "saved tensor hooks" not in str(error):
            raise
        raise Stop("open", "It differentiates by torch.func, which does not show what it keeps.") from error
