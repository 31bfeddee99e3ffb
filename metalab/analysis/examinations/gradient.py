"""Examinations of the gradient of the training loss."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..diagnosis import Problem, diagnose
from ._calling import Found, Stop, expect, made, matters, number, seed_all, seeded
from ._comparing import copies, noise_like
from .examination import examination
from .patient import Make, Patient


@examination("parameters", "loss", "batch")
def gradients(make: Make) -> Found:
    """Differentiate the training loss by every parameter: None, zero, or a number that is not finite?

    Shows: a graph that is cut between the loss and some parameters (None), and layers of which all units are dead
    (zero).

    Cannot show: whether a gradient that arrives is the right one; and dead units in a layer in which others are alive.
    """
    patient = made(make)
    if patient.gradient is None and not any(p.requires_grad for p in patient.named.values()):
        return "ill", "No parameter requires a gradient."
    found = _gradient(patient, patient.batch(seeded()))
    missing = [name for name, g in found.items() if g is None or not g.any()]
    idle = [name for name in missing if len(missing) < len(found) and not matters(make, name)]
    faults = {
        "None (no path leads from it to the loss)": [n for n in missing if found[n] is None and n not in idle],
        "zero": [n for n in missing if found[n] is not None and n not in idle],
        "not finite": [n for n, g in found.items() if g is not None and not g.isfinite().all()],
    }
    if parts := [f"{what}: {', '.join(names)}" for what, names in faults.items() if names]:
        return "ill", f"Of {len(found)} gradients, {'; '.join(parts)}."
    if idle:
        return "well", f"{len(found) - len(idle)} gradients are there. The loss does not depend on: {', '.join(idle)}."
    return "well", f"All {len(found)} gradients are there, finite, and not zero."


def _gradient(patient: Patient, batch: object) -> dict[str, Tensor | None]:
    """Return the gradient of the training loss by name.

    Raises:
        Stop: there is none.
    """
    seed_all()
    named = patient.trained
    if patient.gradient is not None:
        got = patient.gradient(batch)
        grads = dict(zip(named, got, strict=False)) if isinstance(got, list | tuple) else got
        right = isinstance(grads, Mapping) and len(got) == len(named)
        right = right and all(name in grads and _fits(grads[name], p) for name, p in named.items())
        expect(right, "gradient", got, f"a tensor like each of {', '.join(named)}")
        return {name: g if g is None else g.detach() for name, g in grads.items()}
    loss = patient.loss(batch)
    number(loss, "loss")
    if not (isinstance(loss, Tensor) and loss.requires_grad):
        raise Stop("ill", "The loss has no graph: every gradient is None, and nothing can be learned.")
    try:
        grads = torch.autograd.grad(loss.sum(), list(named.values()), allow_unused=True)
    except RuntimeError as error:
        if "modified by an inplace operation" not in str(error):
            raise
        raise Stop("ill", "Computing the loss changes parameters in place, so that autograd cannot follow.") from error
    return dict(zip(named, grads, strict=True))


def _fits(g: object, p: Tensor) -> bool:
    return g is None or (isinstance(g, Tensor) and g.shape == p.shape)


@examination("parameters", "loss", "batch")
def finite_differences(make: Make) -> Found:
    """Compare the gradient of the training loss with its slope: the loss a little further on minus a little before.

    The slope is taken along the gradient of each parameter tensor; a tensor without gradient is moved at random.

    Shows: a gradient that is not the slope of the loss: first order, a graph that is cut in some place, weights that
    are changed on the way.

    Cannot show: whether the loss is the right one to descend; anything for a loss with noise from a generator of its
    own, which is another one each time; and in single precision, deviations of a few per cent.
    """
    patient, generator = made(make), seeded()
    batch = patient.batch(generator)

    def value() -> float:
        seed_all()
        return number(patient.loss(batch), "loss")

    untouched, before = copy.deepcopy(batch), copies(patient.tensors)
    once, twice = value(), value()
    if abs(once - twice) > 1e-6 * abs(once):
        says = f"The same batch gives the loss {once:.6g}, and then {twice:.6g}"
        batch = untouched
        if not all(map(torch.equal, before, patient.tensors)) or abs(value() - once) <= 1e-6 * abs(once):
            return "ill", f"{says}: computing it changes something."
        return "open", (
            f"{says}, although no parameter, no buffer and no batch has changed. Does it draw from a random generator "
            "of its own? Only the global one begins anew each time."
        )
    found = _gradient(patient, batch)
    named = patient.trained
    size = math.sqrt(sum(float(g.double().square().sum()) for g in found.values() if g is not None))
    double = all(p.dtype == torch.float64 for p in named.values())
    tolerance = (1e-4 if double else 0.05) * size
    wrong = []
    for name, p in named.items():
        g = torch.zeros_like(p) if found[name] is None else found[name]
        along = g if g.any() else noise_like(p, generator)
        along = along / along.norm()
        h = (1e-5 if double else 1e-3) * max(1.0, float(p.detach().norm()))
        claimed = float((g * along).sum())
        wide, narrow = (_slope(value, p, along, step) for step in (h, h / 2))
        noise = abs(wide - narrow) + (1e-15 if double else 1e-6) * abs(once) / h
        gap = abs(claimed - narrow)
        # A kink that lies within the step spoils the slope, and is left behind by a smaller step.
        if not gap <= tolerance + 4 * noise and not any(
            abs(claimed - _slope(value, p, along, h / shrink)) <= tolerance for shrink in (20, 200)
        ):
            wrong.append(
                (gap, f"along {name} the gradient promises {claimed:.3g} and the loss changes by {narrow:.3g}")
            )
    if wrong:
        meant = ", and is not meant to be" if patient.order == 1 else ""
        says = f"The gradient is not the slope of the loss{meant}: {max(wrong)[1]} for a unit of length."
        return "open" if meant else "ill", says
    return "well", f"The gradient is the slope of the loss, along each of {len(named)} parameters."


def _slope(value: Callable[[], float], p: Tensor, along: Tensor, h: float) -> float:
    """Return the central difference of the loss along a direction of one parameter, which is put back."""
    kept = p.detach().clone()
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            p.copy_(kept + sign * h * along)
        ends.append(value())
    with torch.no_grad():
        p.copy_(kept)
    return (ends[0] - ends[1]) / (2 * h)


@examination("meta_loss")
def order_of_the_gradient(make: Make) -> Found:
    """Ask for a meta-gradient and compare it with the right ones and the usual wrong ones (`diagnose`).

    Shows: which meta-gradient it is: second order, first order, or which mistake.

    Cannot show: anything about the data, the outer step or the prediction: it asks the function about a small problem
    of its own.
    """
    patient = made(make)
    first = None
    for steps in (1, 2, 3, 4, 5, 10):  # the number of inner steps is the patient's
        found = diagnose(patient.meta_loss, Problem.sine(inner_steps=steps))
        first = first or found
        if found.order is not None:
            return "well" if found.order == patient.order else "ill", found.says
    return "ill", first.says
