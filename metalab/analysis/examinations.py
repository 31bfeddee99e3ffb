"""Examine a learner that may be broken. A falling loss does not show that it is healthy: most broken ones have one.

An examination is handed a function that makes the learner anew, because examining it may change it:

    def mine():
        network = Network()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        def step(tasks): ...
        def predict(support_x, support_y, query_x): ...
        return Patient(parameters=network, step=step, batch=draw_tasks, predict=predict, task=draw_task)

    print(alone(mine))  # one examination
    print(examine(mine))  # all that the patient's functions allow

Each examination says in its docstring what it shows and what it cannot show. None of them proves that a learner is
healthy: "well" means that this one found nothing.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import combinations, pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arguments import flag, shown, whole
from ..arguments import function as check_function
from .diagnosis import Problem, Task, diagnose
from .roc import roc

Make = Callable[[], "Patient"]
Classes = Mapping[Any, Sequence[tuple[str, str]]]  # for each class, the characters in it: (alphabet, character)
SURE = 5.0  # standard errors from chance; a healthy learner is further away by luck in less than one of a million cases


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A learner, by what an examination may ask of it. Leave out what yours does not have.

    Args:
        parameters: its parameters: a module, or a list of tensors.
        step: takes one training step on a batch, and returns the loss before it.
        batch: draws a batch from a generator: whatever `step` and `loss` take. A batch that is a list of tasks, each
            (support x, support y, query x, query y), can also be predicted.
        loss: the training loss of a batch as a tensor that can be differentiated by the parameters.
        predict: answers the queries of one task, from support x [S, ...], support y [S] or [S, out] and query x
            [Q, ...]: scores [Q, classes], of which the largest wins, or values [Q, out].
        task: draws one task from a generator.
        meta_loss: as `diagnose` takes it: (params, tasks, inner_lr) to the meta-loss, for any list of parameters.
        order: the order of the meta-gradient that is meant; 1 for first-order MAML and the like.
        loss_after: the loss of one and the same task after K inner steps, as a tensor with its graph.
        distance: the distances [B] of pairs of inputs a [B, ...] and b [B, ...].
        pairs: draws pairs from a generator: a, b, and same [B], which is True where both show the same class.
        splits: the classes of each split by name, and for each class the characters in it as (alphabet, character).
        new_alphabets: whether the splits are meant to share no alphabet. Else, they are meant to share no character.
        transductive: whether an answer is meant to depend on the other queries of its batch.

    Raises:
        TypeError, ValueError: an argument is of another type, or `order` is neither 1 nor 2.
    """

    parameters: nn.Module | Sequence[Tensor] = ()
    step: Callable[[Any], Any] | None = None
    batch: Callable[[torch.Generator], Any] | None = None
    loss: Callable[[Any], Tensor] | None = None
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

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if "Callable" in str(field.type) and value is not None:
                check_function(**{field.name: value})
        whole(most=2, order=self.order)
        flag(new_alphabets=self.new_alphabets, transductive=self.transductive)
        if not isinstance(self.parameters, nn.Module) and not (
            isinstance(self.parameters, list | tuple) and all(isinstance(p, Tensor) for p in self.parameters)
        ):
            raise TypeError(f"parameters={shown(self.parameters)} must be a torch.nn.Module or a list of tensors")
        if self.splits is not None and not isinstance(self.splits, Mapping):
            raise TypeError(f"splits={shown(self.splits)} must be a dictionary: for each split, its classes")

    @property
    def named(self) -> dict[str, Tensor]:
        """Return the parameters by name."""
        if isinstance(self.parameters, nn.Module):
            return dict(self.parameters.named_parameters())
        return {f"parameter {i}": p for i, p in enumerate(self.parameters)}

    @property
    def state(self) -> list[Tensor]:
        """Return copies of the parameters, and of a module's buffers."""
        module = self.parameters if isinstance(self.parameters, nn.Module) else None
        return [t.detach().clone() for t in (*self.named.values(), *(module.buffers() if module else ()))]


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
        shows: what an abnormal finding means.
        cannot: what a normal finding does not show.
        run: does it.
    """

    name: str
    needs: tuple[str, ...]
    shows: str
    cannot: str
    run: Callable[[Make], tuple[str, str]]

    @property
    def question(self) -> str:
        """Return what it does, in a sentence."""
        return (self.run.__doc__ or "").strip().splitlines()[0]

    def fits(self, patient: Patient) -> bool:
        """Tell whether a patient has all that this examination needs."""
        return all(_has(patient, name) for name in self.needs)

    def __call__(self, make: Make) -> Finding:
        """Examine the patient that `make` makes.

        Errors that the patient's functions raise pass through, except in `several_steps`, which reports them.

        Raises:
            TypeError: `make` is no function, or does not return a `Patient`.
            ValueError: the patient lacks something that this examination needs.
        """
        patient = _made(make)
        if missing := [name for name in self.needs if not _has(patient, name)]:
            raise ValueError(f"{self.name} needs a patient with {' and '.join(missing)}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Finding(self.name, *self.run(make))


EXAMINATIONS: dict[str, Examination] = {}


def _examination(*needs: str, shows: str, cannot: str) -> Callable[[Callable], Examination]:
    def register(run: Callable[[Make], tuple[str, str]]) -> Examination:
        name = run.__name__.replace("_", " ")
        EXAMINATIONS[name] = Examination(name, needs, shows, cannot, run)
        EXAMINATIONS[name].__dict__["__doc__"] = f"{run.__doc__}\n\nShows: {shows}\n\nCannot show: {cannot}\n"
        return EXAMINATIONS[name]

    return register


def examine(make: Make) -> Report:
    """Do every examination that the patient's functions allow.

    Raises:
        TypeError: `make` is no function, or does not return a `Patient`.
    """
    patient = _made(make)
    return Report(e(make) for e in EXAMINATIONS.values() if e.fits(patient))


def _made(make: Make) -> Patient:
    check_function(make=make)
    patient = make()
    if not isinstance(patient, Patient):
        raise TypeError(f"make={shown(make)} returned {shown(patient)}; it must return a Patient")
    return patient


def _has(patient: Patient, name: str) -> bool:
    return bool(patient.named) if name == "parameters" else getattr(patient, name) is not None


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _answer(patient: Patient, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
    """Return the predictions, with the same random numbers whenever the learner draws from the global generator."""
    torch.manual_seed(0)
    return torch.as_tensor(patient.predict(support_x, support_y, query_x)).detach()


def _differ(a: Tensor, b: Tensor, tolerance: float = 1e-3) -> bool:
    """Tell whether two predictions differ by more than rounding, measured by how much they vary among themselves."""
    return not torch.allclose(a, b, rtol=0, atol=tolerance * float(a.std() + b.std()) + 1e-12)


def _loss(predictions: Tensor, y: Tensor) -> float:
    """Return the cross-entropy of scores, or the mean squared error of values."""
    if y.is_floating_point():
        return F.mse_loss(predictions, y).item()
    return F.cross_entropy(predictions.double(), y).item()


def _t(values: Sequence[float]) -> float:
    """Return how many standard errors the mean is away from 0."""
    v = torch.tensor(values, dtype=torch.float64)
    error = v.std() / math.sqrt(len(v))
    return float(v.mean() / error) if error > 0 else math.copysign(math.inf, v.mean()) if v.mean() else 0.0


# The training step


@_examination(
    "parameters",
    "step",
    "batch",
    shows="a crash at a later call, a loss that is not finite, parameters that nothing moves, and an optimizer that is "
    "made anew at every step, so that its moments are lost",
    cannot="whether the steps lead anywhere",
)
def several_steps(make: Make) -> tuple[str, str]:
    """Take six training steps on different batches, and look at how the parameters move."""
    patient, generator = make(), _generator()
    even = []  # for each late step, whether all parameters moved by the same amount
    start = before = patient.state
    for number in range(1, 7):
        try:
            loss = float(patient.step(patient.batch(generator)))
        except Exception as error:  # whatever is wrong with it, the finding says so
            lines = str(error).strip().splitlines() or [""]
            which = {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")
            return "ill", f"The {which} step stops with {type(error).__name__}: {lines[0]}"
        if not math.isfinite(loss):
            return "ill", f"The loss of step {number} is {loss}."
        after = patient.state
        moves = torch.cat([(a - b).abs().flatten().double() for a, b in zip(after, before, strict=True)])
        moves = moves[moves > 0]
        if number > 2 and moves.numel() > 1:
            even.append(bool(((moves / moves.median() - 1).abs() < 0.01).double().mean() > 0.95))
        before = after
    names = list(patient.named)
    still = [name for name, a, b in zip(names, before, start, strict=False) if torch.equal(a, b)]
    if len(still) == len(names):
        return "ill", "No parameter has moved after six steps."
    if still:
        return "ill", f"Of {len(names)} parameters, these have not moved after six steps: {', '.join(still)}."
    if even and all(even):
        return "ill", (
            "At every step, all parameters move by the same amount. Adam does so at its first step only: this "
            "optimizer is made anew each time, so that it never has a mean of gradients to go by."
        )
    return "well", f"Six steps pass, and each of the {len(names)} parameters moves."


@_examination(
    "parameters",
    "loss",
    "batch",
    shows="a graph that is cut between the loss and some parameters (None), and dead units (zero)",
    cannot="whether a gradient that arrives is the right one",
)
def gradients(make: Make) -> tuple[str, str]:
    """Differentiate the training loss by every parameter: None, zero, or a number that is not finite?"""
    patient = make()
    named = {name: p for name, p in patient.named.items() if p.requires_grad}
    if not named:
        return "ill", "No parameter requires a gradient."
    loss = patient.loss(patient.batch(_generator()))
    if not (isinstance(loss, Tensor) and loss.requires_grad):
        return "ill", "The loss has no graph: every gradient is None, and nothing can be learned."
    found = dict(zip(named, torch.autograd.grad(loss, list(named.values()), allow_unused=True), strict=True))
    parts = []
    for what, names in (
        ("None (no path leads from it to the loss)", [n for n, g in found.items() if g is None]),
        ("zero", [n for n, g in found.items() if g is not None and not g.any()]),
        ("not finite", [n for n, g in found.items() if g is not None and not g.isfinite().all()]),
    ):
        if names:
            parts.append(f"{what}: {', '.join(names)}")
    if parts:
        return "ill", f"Of {len(found)} gradients, {'; '.join(parts)}."
    return "well", f"All {len(found)} gradients are there, finite, and not zero."


@_examination(
    "parameters",
    "step",
    "batch",
    shows="a model or a loss that cannot fit even what it has seen many times, and a training whose network is not the "
    "one that predicts",
    cannot="whether it learns anything that carries over to other batches: a learner that memorises does well here",
)
def one_batch(make: Make) -> tuple[str, str]:
    """Train on one batch over and over. The loss has to become small, and the predictions on that batch right."""
    patient = make()
    batch = patient.batch(_generator())
    losses = [float(patient.step(batch))]
    while len(losses) < 800 and losses[-1] > 0.1 * losses[0] and math.isfinite(losses[-1]):
        losses.append(float(patient.step(batch)))
    steps = f"{len(losses)} steps on one and the same batch"
    moved = f"the loss goes from {losses[0]:.3g} to {losses[-1]:.3g} within {steps}"
    if not losses[-1] <= 0.5 * losses[0]:
        return "ill", f"It does not fit one batch: {moved}."
    if patient.predict is not None and _are_tasks(batch):
        says, right = _on_its_tasks(patient, batch, losses[-1])
        if not right:
            return "ill", f"In training {moved}, but its predictions on these very tasks {says}."
        return "well", f"It fits one batch: {moved}, and its predictions there {says}."
    return "well", f"It fits one batch: {moved}."


def _are_tasks(batch: object) -> bool:
    return isinstance(batch, list) and all(
        isinstance(t, list | tuple) and len(t) == 4 and all(isinstance(part, Tensor) for part in t) for t in batch
    )


def _on_its_tasks(patient: Patient, tasks: list[Task], loss: float) -> tuple[str, bool]:
    """Return how good the predictions on tasks are, in words, and whether that goes with their training loss."""
    answers = [(_answer(patient, sx, sy, qx), qy) for sx, sy, qx, qy in tasks]
    if tasks[0][3].is_floating_point():
        error = sum(_loss(p, y) for p, y in answers) / len(answers)
        return f"have a mean squared error of {error:.3g}", error <= 2 * loss
    share = sum((p.argmax(1) == y).double().mean().item() for p, y in answers) / len(answers)
    chance = 1 / max(len(y.unique()) for _, y in answers)
    return f"are right in {share:.0%} (chance {chance:.0%})", share > chance + 0.4 * (1 - chance)


# The gradient


@_examination(
    "parameters",
    "loss",
    "batch",
    shows="a gradient that is not the slope of the loss: first order, a graph that is cut in some place, weights that "
    "are changed on the way",
    cannot="whether the loss is the right one to descend; and in single precision, deviations of a few per cent",
)
def finite_differences(make: Make) -> tuple[str, str]:
    """Compare the gradient of the training loss with its slope: the loss a little further on minus a little before.

    The slope is taken along the gradient of each parameter tensor; a tensor without gradient is moved at random.
    """
    patient, generator = make(), _generator()
    batch = patient.batch(generator)

    def value() -> float:
        torch.manual_seed(0)
        return float(torch.as_tensor(patient.loss(batch)).detach())

    once, twice = value(), value()
    if once != twice and abs(once - twice) > 1e-6 * abs(once):
        return "ill", f"The same batch gives the loss {once:.6g}, and then {twice:.6g}: computing it changes something."
    torch.manual_seed(0)
    loss = patient.loss(batch)
    if not loss.requires_grad:
        return "ill", "The loss has no graph, so there is no gradient."
    tensors = [p for p in patient.named.values() if p.requires_grad]
    slopes = [
        torch.zeros_like(p) if g is None else g.detach()
        for p, g in zip(tensors, torch.autograd.grad(loss, tensors, allow_unused=True), strict=True)
    ]
    size = math.sqrt(sum(float(g.double().square().sum()) for g in slopes))
    double = all(p.dtype == torch.float64 for p in tensors)
    worst, at = 0.0, 0.0
    wrong = []
    for name, p, g in zip([n for n, p in patient.named.items() if p.requires_grad], tensors, slopes, strict=True):
        along = g if g.any() else torch.randn(p.shape, generator=generator, dtype=p.dtype)
        along = along / along.norm()
        h = (1e-5 if double else 1e-3) * max(1.0, float(p.detach().norm()))
        wide, narrow = (_slope(value, p, along, step) for step in (h, h / 2))
        claimed = float((g * along).sum())
        noise = abs(wide - narrow) + (1e-15 if double else 1e-6) * abs(once) / h
        gap = abs(claimed - narrow)
        if gap > (1e-4 if double else 0.05) * size + 4 * noise:
            wrong.append(name)
            if gap > worst:
                worst, at = gap, narrow
                says = f"along {name} the gradient promises {claimed:.3g} and the loss changes by {at:.3g}"
    if wrong:
        return "ill", f"The gradient is not the slope of the loss: {says} for each unit of length."
    return "well", f"The gradient is the slope of the loss, along each of {len(tensors)} parameters."


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


@_examination(
    "meta_loss",
    shows="which meta-gradient it is: second order, first order, or which mistake",
    cannot="anything about the data, the outer step or the prediction: it asks the function about a small problem of "
    "its own",
)
def order_of_the_gradient(make: Make) -> tuple[str, str]:
    """Ask for a meta-gradient and compare it with the right ones and the usual wrong ones (`diagnose`)."""
    patient = make()
    steps = [diagnose(patient.meta_loss, Problem.sine(inner_steps=k)) for k in (1, 2, 5)]
    found = next((d for d in steps if d.order is not None), steps[0])  # the number of inner steps is the patient's
    if found.order is None:
        return "ill", found.says
    return ("well" if found.order == patient.order else "ill"), found.says


@_examination(
    "loss_after",
    shows="with second order, a graph that is cut between the inner steps; with first order, one that is kept in vain",
    cannot="whether what is kept is used rightly; and nothing for code that needs no graph",
)
def memory_over_inner_steps(make: Make) -> tuple[str, str]:
    """Count the bytes that autograd keeps for the gradient of the loss after 1, 2, 4 and 8 inner steps."""
    patient = make()
    kept = []
    for steps in (1, 2, 4, 8):
        with _kept_by_autograd() as alive:
            loss = patient.loss_after(steps)
            kept.append(sum(alive.values()))
        del loss
    per_step = (kept[3] - kept[0]) / 7
    says = f"{', '.join(f'{b / 1024:.0f}' for b in kept)} KiB after 1, 2, 4 and 8 inner steps"
    grows = per_step > 0.05 * max(kept[0], 1)
    if patient.order == 2 and not grows:
        return "ill", f"It keeps {says}: the inner steps leave no graph behind, as second order needs one."
    if patient.order == 1 and grows:
        return "ill", f"It keeps {says}: first order needs no graph of the steps before."
    return "well", f"It keeps {says}, as order {patient.order} does."


@contextmanager
def _kept_by_autograd() -> Iterator[dict[int, int]]:
    """Yield the bytes of the tensors that graphs keep alive, by the address of their memory."""
    alive: dict[int, int] = {}

    class Kept:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor

    counts: dict[int, int] = {}

    def drop(key: int) -> None:
        counts[key] -= 1
        if not counts[key]:
            alive.pop(key, None)

    def pack(tensor: Tensor) -> Kept:
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        alive[key] = storage.nbytes()
        counts[key] = counts.get(key, 0) + 1
        kept = Kept(tensor.detach())  # the tensor itself would keep its graph alive for ever
        weakref.finalize(kept, drop, key)
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        yield alive


@_examination(
    "step",
    "batch",
    shows="losses or graphs that are stored and never let go, so that a long training runs out of memory",
    cannot="memory that is held by anything but autograd",
)
def memory_over_training(make: Make) -> tuple[str, str]:
    """Count the bytes that autograd still keeps after each of six training steps."""
    patient, generator = make(), _generator()
    kept = []
    with _kept_by_autograd() as alive:
        for _ in range(6):
            float(patient.step(patient.batch(generator)))
            kept.append(sum(alive.values()))
    says = f"{kept[1] / 1024:.0f} KiB are kept after two steps, and {kept[-1] / 1024:.0f} after six"
    if all(b > a for a, b in pairwise(kept[1:])):
        return "ill", f"{says}: each step leaves its graph behind. Is a loss stored with its graph?"
    return "well", f"{says}: nothing piles up."


# The prediction


@_examination(
    "predict",
    "task",
    shows="a learner that does not adapt: it answers the same, whatever examples it is given; or one that adapts in "
    "the wrong direction",
    cannot="whether it adapts well",
)
def another_support_set(make: Make) -> tuple[str, str]:
    """Answer the queries of 30 tasks after their own support set, and after that of another task."""
    patient, generator = make(), _generator()
    tasks = [patient.task(generator) for _ in range(30)]
    own, other, same = [], [], True
    for (sx, sy, qx, qy), (ox, oy, *_) in zip(tasks, tasks[1:] + tasks[:1], strict=True):
        a, b = _answer(patient, sx, sy, qx), _answer(patient, ox, oy, qx)
        same = same and not _differ(a, b, 1e-6)
        own.append(_loss(a, qy))
        other.append(_loss(b, qy))
    if same:
        return "ill", "The answers do not depend on the support set: with that of another task they are the same."
    mean = [sum(values) / len(values) for values in (own, other)]
    says = f"the mean query loss is {mean[0]:.3g} after the task's own support set, {mean[1]:.3g} after another's"
    if _t([a - b for a, b in zip(own, other, strict=True)]) > SURE:
        return "ill", f"It adapts the wrong way: {says}."
    return "well", f"It reads its support set: {says}."


@_examination(
    "predict",
    "task",
    shows="answers that are right although the labels of the support set were shuffled: they come from something else, "
    "such as the order of the queries, the class that is always the right one, or a support set that holds the queries",
    cannot="anything for a learner that is at chance with the right labels too",
)
def shuffled_labels(make: Make) -> tuple[str, str]:
    """Shuffle the support labels of 100 classification tasks: the share of right answers has to fall to chance."""
    patient, generator = make(), _generator()
    right, shuffled, chances = [], [], []
    for _ in range(100):
        sx, sy, qx, qy = patient.task(generator)
        if sy.is_floating_point():
            return "open", "These tasks have no labels: it is for classification."
        mixed = sy[torch.randperm(len(sy), generator=generator)]
        for labels, shares in ((sy, right), (mixed, shuffled)):
            shares.append((_answer(patient, sx, labels, qx).argmax(1) == qy).double().mean().item())
        chances.append(1 / len(sy.unique()))
    chance = sum(chances) / 100
    says = f"{sum(right):.0f} % right, and {sum(shuffled):.0f} % with shuffled labels (chance {chance:.0%})"
    if _t([s - chance for s in shuffled]) > SURE:
        return "ill", f"{says}: its answers come from something other than the labels."
    if not _t([r - chance for r in right]) > 3:
        return "open", f"{says}: it is at chance anyway."
    return "well", f"{says}."


@_examination(
    "predict",
    "task",
    shows="a network that says the same to everything, or so many ties that argmax, which takes the first class, "
    "decides",
    cannot="whether answers that differ are right",
)
def constant_output(make: Make) -> tuple[str, str]:
    """Compare the answers to all queries of 20 tasks with each other, and look for ties between classes."""
    patient, generator = make(), _generator()
    constant, tied, share, fair = 0, [], [], []
    for _ in range(20):
        sx, sy, qx, qy = patient.task(generator)
        answers = _answer(patient, sx, sy, qx)
        if len(answers) < 2:
            return "open", "A task has one query only: give it several."
        spread = (answers - answers[:1]).abs().max()
        constant += bool(spread <= 1e-6 * answers.abs().max())
        if not qy.is_floating_point():
            best = answers >= answers.max(1, keepdim=True).values
            tied.append((best.sum(1) > 1).double().mean().item())
            share.append((answers.argmax(1) == qy).double().mean().item())
            fair.append((best[torch.arange(len(qy)), qy] / best.sum(1)).double().mean().item())
    if tied and sum(tied) > 0.2 * len(tied):
        return "ill", (
            f"In {sum(tied) / len(tied):.0%} of its answers, several classes have the largest score. By argmax, which "
            f"takes the first, {sum(share) / len(share):.0%} are right; counted as what a guess among them would get, "
            f"{sum(fair) / len(fair):.0%}."
        )
    if constant > 1:
        return "ill", f"In {constant} of 20 tasks, all queries get the same answer."
    return "well", "Different queries get different answers, without ties."


@_examination(
    "predict",
    "task",
    shows="an answer that depends on which other queries are asked with it, as with batch norm over the query batch, "
    "or on its place among them",
    cannot="whether that helps or hurts. If it is meant, say `transductive=True`, and report it with the results",
)
def alone(make: Make) -> tuple[str, str]:
    """Ask each query of 10 tasks together with the others, alone, and in the opposite order."""
    patient, generator = make(), _generator()
    changed, turned, total = 0, 0, 0
    for _ in range(10):
        sx, sy, qx, _qy = patient.task(generator)
        together = _answer(patient, sx, sy, qx)
        scale = together.std() if len(together) > 1 else together.abs().mean()
        if not patient.transductive:
            single = torch.cat([_answer(patient, sx, sy, one[None]) for one in qx])
            changed += int(((single - together).abs().flatten(1).amax(1) > 0.01 * scale + 1e-12).sum())
        back = _answer(patient, sx, sy, qx.flip(0)).flip(0)
        turned += int(((back - together).abs().flatten(1).amax(1) > 0.01 * scale + 1e-12).sum())
        total += len(qx)
    if turned:
        return "ill", f"{turned} of {total} answers change when the queries come in the opposite order."
    if changed:
        return "ill", (
            f"{changed} of {total} answers change when a query is asked alone: it sees the other queries of its batch, "
            "and with them how often each class is asked."
        )
    if patient.transductive:
        return "open", "It is meant to be transductive, so that its answers may depend on the other queries."
    return "well", f"All {total} answers stay the same when each query is asked alone."


@_examination(
    "parameters",
    "predict",
    "task",
    shows="adaptation that changes the start itself: tasks then begin where the task before ended",
    cannot="what training does: a step has to change the parameters",
)
def same_start(make: Make) -> tuple[str, str]:
    """Answer task A, then task B, and compare: do the parameters stay, and is B answered as without A before it?"""
    patient, generator = make(), _generator()
    a, b = patient.task(generator), patient.task(generator)
    before = patient.state
    first = _answer(patient, *b[:3])
    if any(not torch.equal(x, y) for x, y in zip(before, patient.state, strict=True)):
        return "ill", "After one task was answered, the parameters are others: the next task starts from them."
    _answer(patient, *a[:3])
    if _differ(first, _answer(patient, *b[:3]), 1e-6):
        return "ill", "A task gets another answer when another task was answered before it."
    return "well", "Answering a task leaves the parameters as they were, and changes no other answer."


# The data


@_examination(
    "task",
    shows="tasks that give their answers away: a query that is also a support example, a single class, a right class "
    "that always has the same label; and tasks that are no tasks, because a query's class has no example",
    cannot="whether training and test share classes",
)
def support_and_queries(make: Make) -> tuple[str, str]:
    """Draw 50 tasks, and compare support sets and queries with each other."""
    patient, generator = make(), _generator()
    tasks = [patient.task(generator) for _ in range(50)]
    shared = sum(int(_seen(qx, sx).sum()) for sx, _, qx, _ in tasks)
    total = sum(len(qx) for _, _, qx, _ in tasks)
    if shared:
        return "ill", f"{shared} of {total} queries are also in the support set of their task."
    if all(torch.equal(tasks[0][0], t[0]) for t in tasks):
        return "ill", "All 50 tasks have the same support set."
    labelled = not tasks[0][1].is_floating_point()
    if labelled and (one := sum(len(sy.unique()) < 2 for _, sy, _, _ in tasks)):
        return "ill", f"In {one} of 50 tasks all examples have the same label: there is nothing to tell apart."
    if labelled and (lost := sum(int((~torch.isin(qy, sy)).sum()) for _, sy, _, qy in tasks)):
        return "ill", f"{lost} of {total} queries are of a class that has no example in the support set."
    if labelled and len({int(y) for _, _, _, qy in tasks for y in qy}) == 1:
        return "ill", f"The right label is always {int(tasks[0][3][0])}: whoever says so is always right."
    return "well", f"None of {total} queries is in its support set" + (
        ", and all of their classes are." if labelled else "."
    )


def _seen(x: Tensor, among: Tensor) -> Tensor:
    """Tell which of x [Q, ...] are also in [S, ...], up to their shape: [Q]."""
    return (x.reshape(len(x), 1, -1) == among.reshape(1, len(among), -1)).all(2).any(1)


@_examination(
    "splits",
    shows="classes that training and test share, alphabets that they share although new ones were meant, and classes "
    "that are no characters but whole alphabets",
    cannot="whether the drawings are what their labels say",
)
def classes_across_splits(make: Make) -> tuple[str, str]:
    """Compare the characters and alphabets of every two splits, and count the characters in each class."""
    patient = make()
    inside = {name: {c for members in classes.values() for c in members} for name, classes in patient.splits.items()}
    for name, classes in patient.splits.items():
        for label, members in classes.items():
            if len(set(members)) > 1:
                return "ill", (
                    f"In {name}, the class {label} holds {len(set(members))} characters, as {members[0][1]} and "
                    f"{members[1][1]} of {members[0][0]}: to know the class is not to know the character."
                )
    for one, other in combinations(inside, 2):
        if both := inside[one] & inside[other]:
            return "ill", f"{one} and {other} share {len(both)} characters, as {' '.join(reversed(min(both)))}."
        alphabets = {a for a, _ in inside[one]} & {a for a, _ in inside[other]}
        if alphabets and patient.new_alphabets:
            return "ill", f"{one} and {other} share {len(alphabets)} alphabets, as {min(alphabets)}."
    sizes = ", ".join(f"{name} {len(members)}" for name, members in inside.items())
    what = "alphabet" if patient.new_alphabets else "character"
    return "well", f"No two splits share an {what}, and each class is one character ({sizes})."


# Verification


@_examination(
    "distance",
    "pairs",
    shows='a network that learned the opposite, because the label 1 means "same" in one place and "different" in '
    "another",
    cannot="whether its distances are good ones",
)
def side_of_the_pairs(make: Make) -> tuple[str, str]:
    """Compare the distances of pairs of the same class with those of different classes."""
    patient = make()
    a, b, same = patient.pairs(_generator())
    area = roc(-torch.as_tensor(patient.distance(a, b)).detach(), same.bool()).auc
    few = min(int(same.sum()), int((~same.bool()).sum()))
    says = f"a pair of the same class is nearer than one of different classes in {area:.0%} of all comparisons"
    if 0.5 - area > SURE * 0.6 / math.sqrt(few):  # the standard error of the area at 0.5 is below 0.6 / √few
        return "ill", f"{says[0].upper()}{says[1:]}: it learned the opposite."
    return "well", f"{says[0].upper()}{says[1:]} (50 % would be chance)."
