"""Examinations of the training step and of the loss that it descends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ...tasks import Episode
from ..diagnosis import Task
from ._calling import Found, Stop, answers, in_words, made, matters, number, seed_all, seeded, tasks_of
from ._comparing import copies, loss_of, noise_like, share
from .examination import examination
from .patient import Make, Patient


@examination("parameters", "step", "batch")
def several_steps(make: Make) -> Found:
    """Take six training steps on different batches, and look at how the parameters move.

    Shows: a crash at a later call, a loss that is not finite, parameters that nothing moves, gradients that are never
    reset, and an optimizer that is made anew at every step or every second one, so that its moments are lost.

    Cannot show: whether the steps lead anywhere; an optimizer that is made anew less often than that, or for one part
    of the parameters and another in turn; gradients that are never reset, if they are clipped, if several optimizers
    use them, or if others are reset; and it sees gradients and optimizers only where the optimizer is one of
    `torch.optim` or derived from it. A part that begins to move only after 64 steps is called ill.
    """
    patient, generator = made(make), seeded()
    even, used, count = [], [], 0
    start = after = copies(patient.trained.values())
    while count < 6 or (count < 64 and all(map(torch.equal, after, start))):  # some add up the gradients of many steps
        count += 1
        with _optimizers(patient) as seen:
            loss = _loss_of_step(patient, generator, count)
        if not math.isfinite(loss):
            return "ill", f"The loss of step {count} is {loss}."
        used += seen[-1:]  # the last one is not of an inner loop
        before, after = after, copies(patient.trained.values())
        moves = torch.cat([(a - b).abs().flatten().double() for a, b in zip(after, before, strict=True)])
        moves = moves[moves > 0]
        if count > 2 and moves.numel() > 1:
            even.append(share((moves / moves.median() - 1).abs() < 0.01) > 0.95)
    names = list(patient.trained)
    still = [name for name, a, b in zip(names, after, start, strict=True) if torch.equal(a, b)]
    if len(still) == len(names):
        return "ill", f"No parameter has moved after {count} steps."
    if (still := [name for name in still if matters(make, name)]) and (still := _unmoved(make, still)):
        return "ill", f"Of {len(names)} parameters, these have not moved after 64 steps: {', '.join(still)}."
    if _gradients_pile_up(make):
        return "ill", (
            "At the second step, the optimizer gets the sum of the first step's gradient and the second's: is "
            "zero_grad() missing?"
        )
    anew = sum(_takes_over(used, index) for index in range(1, len(used)))
    if anew > 1:  # once may be meant
        return "ill", (
            f"At {anew} of {count} steps the optimizer is a new one, so that the means of gradients that the steps "
            "before have left are lost."
        )
    if len(even) > 1 and all(even) and not used:  # as at Adam's first step
        return "open", (
            "At every step, all parameters move by the same amount. Is it meant, as in a descent by the gradient's "
            "sign? Else its moments are lost."
        )
    return "well", f"{count} steps pass, and each of the {len(names)} parameters moves that the loss depends on."


def _loss_of_step(patient: Patient, generator: torch.Generator, count: int) -> float:
    """Take a step, and return its loss.

    Raises:
        Stop: it stops with an error.
    """
    try:
        loss = patient.step(patient.batch(generator))
    except Exception as error:  # whatever is wrong with it, the finding says so
        which = {1: "first", 2: "second", 3: "third"}.get(count, f"{count}th")
        raise Stop("ill", f"The {which} step stops with {in_words(error)}") from error
    return number(loss, "step")


def _unmoved(make: Make, names: list[str]) -> list[str]:
    """Return which of the parameters not even 64 steps move: some parts begin late, or move only now and then."""
    patient, generator = made(make), seeded()
    start = {name: patient.trained[name].detach().clone() for name in names}
    for count in range(1, 65):
        _loss_of_step(patient, generator, count)
    return [name for name in names if torch.equal(patient.trained[name], start[name])]


Used = tuple[torch.optim.Optimizer, bool]  # an optimizer, and whether it had no state before its step


def _takes_over(used: list[Used], index: int) -> bool:
    """Tell whether an optimizer begins without state on some parameters of the one before, which never comes back."""
    (last, _), (optimizer, fresh) = used[index - 1 : index + 1]
    gone = all(later is not last for later, _ in used[index:])  # optimizers may also take turns
    return fresh and gone and any(p in last.state for p in optimizer.state)


@contextmanager
def _optimizers(patient: Patient) -> Iterator[list[Used]]:
    """Yield the optimizers that take a step on the patient's parameters."""
    seen: list[Used] = []
    own = {id(p) for p in patient.trained.values()}

    def note(optimizer: torch.optim.Optimizer, *_: object) -> None:
        if any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
            seen.append((optimizer, not optimizer.state))

    handle = register_optimizer_step_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def _gradients_pile_up(make: Make) -> bool:
    """Tell whether a step's gradient is added to that of the step before, which is made huge to be recognised."""
    patient, generator = made(make), seeded()

    def gradient() -> Tensor | None:
        """Return the gradient that is there after a step, as one vector; None, if no optimizer has taken it."""
        with _optimizers(patient) as seen:
            patient.step(patient.batch(generator))
        grads = [p.grad for p in patient.trained.values() if p.is_leaf]
        if len(seen) != 1 or any(g is None for g in grads):
            return None
        vector = torch.cat([g.detach().flatten().double() for g in grads])
        for g in grads:
            g.detach().mul_(1e6)
        return vector

    first, both = gradient(), gradient()
    if first is None or both is None:
        return False
    return bool((both - 1e6 * first).norm() < 1e3 * first.norm())


@examination("parameters", "step", "batch")
def one_batch(make: Make) -> Found:
    """Train on one batch over and over. The loss has to become small, and the predictions on that batch right.

    Of a batch of tasks, only the first is taken, as a batch of one. "Small" is a third of the first loss, measured from
    the `floor`: softmax twice leaves more of it. A sound learner may be stuck on one batch, so that three are tried.

    Shows: a model or a loss that cannot fit even what it has seen many times, and a training whose network is not the
    one that predicts.

    Cannot show: whether it learns anything that carries over to other batches: a learner that memorises does well here;
    and predictions from an old copy of the network, if they are right on that batch without training. Three kinds of
    sound learners may be called ill. The training ends when the loss is small, and by then a slow running mean of the
    weights, if that predicts, has not followed; nor has a mean that is predicted together with a variance, if the
    targets are much larger than 1, because at first only the variance grows. A step that needs several tasks, for
    instance to split its batch, stops with an error, because a batch of tasks is cut down to one.
    """
    tried: list[Found] = []
    for seed in range(3):
        tried.append(_on_one_batch(made(make), seed))
        if tried[-1][0] != "ill":
            return tried[-1]
    return tried[0]


def _on_one_batch(patient: Patient, seed: int) -> Found:
    """Return what training on one batch shows."""
    batch = patient.batch(seeded(seed))
    if tasks := tasks_of(batch):  # one task, because tasks contradict one another for a learner that does not adapt
        tasks, batch = tasks[:1], batch[:1]
    before = _quality(patient, tasks[0]) if tasks and patient.predict else None
    losses = [number(patient.step(batch), "step")]
    if losses[0] <= patient.floor:
        return "open", (
            f"The first loss is {losses[0]:.3g}, and so not above the floor {patient.floor:.3g}: there is nothing to "
            "learn, or the loss can become lower than the floor that was given."
        )
    low = 0.1 * (losses[0] - patient.floor) + patient.floor
    while len(losses) < 800 and losses[-1] > low and math.isfinite(losses[-1]):
        losses.append(number(patient.step(batch), "step"))
    moved = (
        f"the loss goes from {losses[0]:.3g} to {losses[-1]:.3g} within {len(losses)} steps on one and the same "
        f"{'task' if tasks else 'batch'}"
    )
    if not losses[-1] - patient.floor <= (losses[0] - patient.floor) / 3:
        third, last = sum(losses[400:600]) / 200, sum(losses[600:800]) / 200
        if len(losses) == 800 and third - last > 0.01 * (losses[0] - patient.floor):
            return "open", f"It is slow: {moved}, and still falls. Does a larger learning rate help?"
        return "ill", f"It does not fit: {moved}."
    if before is None:
        return "well", f"It fits: {moved}."
    after = _quality(patient, tasks[0])
    if tasks[0][3].is_floating_point():
        fits = after <= max(0.5 * before, 2 * losses[-1])
        says = f"the mean squared error of its predictions there is {before:.3g} before and {after:.3g} after"
    else:
        chance = 1 / len(tasks[0][1].unique())
        fits = after > chance + 0.4 * (1 - chance)
        says = f"{after:.0%} of its predictions there are right (chance {chance:.0%})"
    return ("well", f"It fits: {moved}, and {says}.") if fits else ("ill", f"In training {moved}, but {says}.")


def _quality(patient: Patient, task: Task) -> float:
    """Return the mean squared error of the predictions on a task, or the share of them that are right."""
    *given, y = task
    found = answers(patient, *given)
    return loss_of(found, y) if y.is_floating_point() else share(found.argmax(1) == y)


@examination("loss", "batch")
def both_parts(make: Make) -> Found:
    """Disturb the queries of a batch of tasks, and then the support sets: the training loss has to change.

    Shows: a training loss that the queries do not enter, because it is taken on the support set, or that the support
    set does not enter, because the adapted weights are not used.

    Cannot show: whether they enter it in the right way; anything for batches that do not consist of tasks; and with
    `adapts=False`, a support set that was forgotten, as against one that is left out on purpose. An output layer that
    starts at zero, and that no inner step moves, hides both parts: it is called ill until training has moved it.
    """
    patient = made(make)
    batch = patient.batch(seeded())
    if not tasks_of(batch):
        return "open", "Its batches do not consist of tasks."

    def loss(batch: Any) -> float:
        seed_all()
        return number(patient.loss(batch), "loss")

    once = loss(batch)
    if loss(batch) != once:
        return "open", "The same batch gives another loss the second time, so that losses cannot be compared."
    others = [_disturbed(batch, part) for part in (2, 0)]
    kept = [_same_inputs(batch, other) for other in others]
    same = [not stays and loss(other) == once for stays, other in zip(kept, others, strict=True)]
    if all(same):
        return "ill", "The training loss depends neither on the queries nor on the support sets."
    if same[0] and patient.order == 1:
        return "open", "The training loss does not depend on the queries, as in Reptile: is it meant so?"
    if same[0]:
        return "ill", "The training loss does not depend on the queries: it does not ask what was learned."
    if same[1] and not patient.adapts:
        return "open", "The training loss does not depend on the support sets, and the answers are not meant to."
    if same[1]:
        return "ill", "The training loss does not depend on the support sets: adaptation is not trained."
    if any(kept):
        what = " and ".join(name for name, stays in zip(("queries", "support sets"), kept, strict=True) if stays)
        return "open", f"The {what} are whole numbers, and turning their order round changed nothing."
    return "well", "The training loss depends on the queries, and on the support sets."


def _disturbed(batch: Any, part: int) -> Any:
    """Return a batch of tasks with other support inputs (part 0) or other query inputs (part 2)."""
    if isinstance(batch, Episode):
        name = {0: "support_x", 2: "query_x"}[part]
        return replace(batch, **{name: _noisy(getattr(batch, name))})
    return _like(batch, [_like(task, [*task[:part], _noisy(task[part]), *task[part + 1 :]]) for task in batch])


def _like(one: Any, items: list) -> Any:
    """Return the items as another one like this: a list, a tuple or a named tuple."""
    return type(one)._make(items) if hasattr(one, "_make") else type(one)(items)


def _same_inputs(batch: Any, other: Any) -> bool:
    """Tell whether two batches of the same size have the same inputs in all their tasks."""
    pairs = zip(tasks_of(batch), tasks_of(other), strict=True)
    return all(torch.equal(one[part], two[part]) for one, two in pairs for part in (0, 2))


def _noisy(x: Tensor) -> Tensor:
    """Return other inputs of the same kind: with noise of their own size, or, for whole numbers, in another order."""
    return x + (x.std(correction=0) + 0.1) * noise_like(x, seeded()) if x.is_floating_point() else x.flip(0)
