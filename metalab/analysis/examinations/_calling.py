"""Call a patient's functions, always with the same random numbers, and read what they return."""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor

from ...arguments import function as check_function
from ...arguments import shown
from ...tasks import Episode
from ..diagnosis import Task, is_task
from ._comparing import noise_like
from .patient import Make, Patient

Found = tuple[str, str]  # "well", "ill" or "open", and the finding in words


class Stop(Exception):
    """Ends an examination with a state and words: `Stop("ill", "The loss has no graph.")`."""


def made(make: Make) -> Patient:
    """Return a patient; where its first numbers are drawn from the global generator, always the same.

    Raises:
        TypeError: `make` is no function, or does not return a patient.
    """
    check_function(make=make)
    seed_all()
    patient = make()
    if not isinstance(patient, Patient):
        raise TypeError(f"make={shown(make)} returned {shown(patient)}; it must return a Patient")
    return patient


def seed_all(seed: int = 0) -> None:
    """Seed the global random numbers, for a learner that draws from them."""
    if torch.cuda.is_initialized():
        torch.manual_seed(seed)
    else:  # torch.manual_seed would also seed a GPU that is only used later
        torch.default_generator.manual_seed(seed)


def seeded(seed: int = 0) -> torch.Generator:
    """Return a new generator."""
    return torch.Generator().manual_seed(seed)


def in_words(error: Exception) -> str:
    """Return an error's type and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


def expect(right: bool, name: str, value: object, wanted: str) -> None:
    """Check what the patient's function `name` returned.

    Raises:
        TypeError: it is not right.
    """
    if not right:
        raise TypeError(f"{name} returned {shown(value)}; it must return {wanted}")


def number(value: object, name: str) -> float:
    """Return the loss that the function `name` returned, as a number."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.detach().item()
    expect(isinstance(value, Real), name, value, "the loss, as a number or a tensor")
    return float(value)


def drawn(patient: Patient, generator: torch.Generator) -> Task:
    """Draw a task. The labels of its queries, which the learner never sees, become int64 to be compared."""
    task = patient.task(generator)
    expect(is_task(task), "task", task, "(support x, support y, query x, query y)")
    sx, sy, qx, qy = task
    if len(sx) != len(sy) or len(qx) != len(qy) or not len(qx) or not len(sx):
        sizes = ", ".join(str(list(part.shape)) for part in task)
        raise TypeError(f"task returned tensors of the shapes {sizes}; they must be [S, ...], [S], [Q, ...] and [Q]")
    return sx, sy, qx, qy if qy.is_floating_point() else qy.long()


def tasks_of(batch: object) -> list[Task]:
    """Return the tasks of a batch, or none if it does not consist of tasks."""
    if isinstance(batch, Episode):
        return list(zip(batch.support_x, batch.support_y, batch.query_x, batch.query_y, strict=True))
    return list(batch) if isinstance(batch, list | tuple) and all(map(is_task, batch)) else []


def answers(patient: Patient, support_x: Tensor, support_y: Tensor, query_x: Tensor, seed: int = 0) -> Tensor:
    """Return the predictions, with the same random numbers whenever the learner draws from the global generator."""
    seed_all(seed)
    found, count = patient.predict(support_x, support_y, query_x), len(query_x)
    shape = list(found.shape) if isinstance(found, Tensor) else []
    if support_y.is_floating_point():
        right, wanted = shape == [count, *support_y.shape[1:]], "values [Q, out]"
    else:
        right, wanted = len(shape) == 2 and shape[0] == count, "scores [Q, classes]"
    if not right:
        raise TypeError(f"predict returned {shown(found)} for {count} queries; it must return {wanted}")
    return found.detach().clone()  # a learner may answer into the same memory again


def matters(make: Make, name: str) -> bool:
    """Tell whether the loss changes when a parameter is changed a lot. Some shifts, for instance, cancel out."""
    losses = []
    for size in (0, 1, 30):
        patient = made(make)
        batch, p = patient.batch(seeded()), patient.trained[name]
        with torch.no_grad():
            p.add_(size * (1 + p.abs().max()) * noise_like(p, seeded()))
        seed_all()
        losses.append(number((patient.loss or patient.step)(batch), "loss" if patient.loss else "step"))
    return any(not abs(loss - losses[0]) <= 1e-3 * abs(losses[0]) for loss in losses)
