"""What an examination is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ...arguments import shown
from ._calling import Found, Stop, made
from .patient import Make, Patient


@dataclass(frozen=True)
class Finding:
    """What one examination found."""

    examination: str
    state: Literal["well", "ill", "open"]  # open: it cannot tell
    says: str

    def __str__(self) -> str:
        return f"{ {'well': '✓', 'ill': '✗', 'open': '?'}[self.state] } {self.examination}: {self.says}"


class Report(list[Finding]):
    """The findings of several examinations."""

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    @property
    def ill(self) -> list[str]:
        """Return the names of the examinations that found something."""
        return [finding.examination for finding in self if finding.state == "ill"]


@dataclass(frozen=True)
class Examination:
    """An examination, called with a function that makes the patient.

    Args:
        name: its name.
        needs: the fields of `Patient` that it asks for.
        question: what it does, in a sentence or two.
        shows: what an abnormal finding means.
        cannot: what a normal finding does not show.
        run: does it.
    """

    name: str
    needs: tuple[str, ...]
    question: str
    shows: str
    cannot: str
    run: Callable[[Make], Found]

    def fits(self, patient: Patient) -> bool:
        """Tell whether a patient has all that this examination needs."""
        return not self._missing(patient)

    def _missing(self, patient: Patient) -> list[str]:
        has = {name: patient.named if name == "parameters" else getattr(patient, name) for name in self.needs}
        return [name for name, value in has.items() if value is None or value == {}]

    def __call__(self, make: Make) -> Finding:
        """Examine the patient that `make` makes.

        Afterwards the global random numbers go on as before. If `make` hands out what it also keeps, its parameters
        have the values and the `.grad` that they had before. Errors that the patient's functions raise pass through,
        except in `several_steps`, which reports them.

        Raises:
            TypeError: `make` is no function, does not return a `Patient`, or one of the patient's functions returns
                something that cannot be used.
            ValueError: the patient lacks something that this examination needs.
        """
        with undisturbed():
            patient = made(make)
            if missing := self._missing(patient):
                raise ValueError(
                    f"make={shown(make)} returned a patient without {' and '.join(missing)}; the examination "
                    f'"{self.name}" needs {" and ".join(self.needs)}'
                )
            with _put_back(patient):
                try:
                    return Finding(self.name, *self.run(make))
                except Stop as found:
                    return Finding(self.name, *found.args)


def examination(*needs: str) -> Callable[[Callable[[Make], Found]], Examination]:
    """Return a decorator that makes an `Examination` of a function.

    The function's docstring begins with the question, and ends with two paragraphs, "Shows: …" and "Cannot show: …".
    """

    def decorate(run: Callable[[Make], Found]) -> Examination:
        paragraphs = (run.__doc__ or "\n\n\n\n").split("\n\n")  # `python -OO` strips docstrings
        question, *_, shows, cannot = (" ".join(words.split()) for words in paragraphs)
        shows, cannot = shows.removeprefix("Shows: ").rstrip("."), cannot.removeprefix("Cannot show: ").rstrip(".")
        found = Examination(run.__name__.replace("_", " "), needs, question, shows, cannot, run)
        vars(found)["__doc__"] = run.__doc__
        return found

    return decorate


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let the patient differentiate, and leave the global random numbers as they were."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=devices):
        yield


@contextmanager
def _put_back(patient: Patient) -> Iterator[None]:
    """Put back values, `.grad`, buffers and modes, which matter where `make` hands out what it also keeps."""
    kept = []
    for tensor in patient.tensors:
        grad = tensor.grad if tensor.is_leaf else None
        kept.append((tensor, tensor.detach().clone(), grad, None if grad is None else grad.detach().clone()))
    module = patient.parameters if isinstance(patient.parameters, nn.Module) else nn.Module()
    modes = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value, grad, value_of_grad in kept:
                if not torch.equal(tensor, value):
                    tensor.copy_(value)
                if tensor.is_leaf:
                    tensor.grad = None if grad is None else grad.copy_(value_of_grad)
        for part, training in modes:
            part.training = training
