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

import gc
import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import combinations, pairwise
from numbers import Real
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ..arguments import flag, real, shown, whole
from ..arguments import function as check_function
from ..tasks import Episode
from .diagnosis import Problem, Task, diagnose
from .roc import roc

Make = Callable[[], "Patient"]
Classes = Mapping[Any, Sequence[tuple[str, str]]]  # for each class, the characters in it: (alphabet, character)
SURE = 5.0  # standard errors from chance; with 100 tasks, luck leads further away in about one of a million cases


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
            [Q, ...]: scores [Q, classes], of which the largest wins, or values [Q, out].
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
        floor: the lowest training loss that there can be. It is above 0 where scores are bounded, as cosines are.

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
    floor: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if str(field.type).startswith("Callable") and value is not None:
                check_function(**{field.name: value})
        whole(most=2, order=self.order)
        real(floor=self.floor)
        flag(new_alphabets=self.new_alphabets, transductive=self.transductive, adapts=self.adapts)
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
    def state(self) -> list[Tensor]:
        """Return copies of the parameters, and of a module's buffers."""
        module = self.parameters if isinstance(self.parameters, nn.Module) else None
        return [t.detach().clone() for t in (*self.named.values(), *(module.buffers() if module else ()))]


def _check_parameters(found: object) -> None:
    values = found.values() if isinstance(found, Mapping) else found
    if not isinstance(found, list | tuple | Mapping) or not all(isinstance(p, Tensor) for p in values):
        raise TypeError(
            f"parameters={shown(found)} must be a torch.nn.Module, a list of tensors, a dictionary of tensors, or a "
            "function that returns one of the latter two"
        )


def _are_splits(splits: object) -> bool:
    return isinstance(splits, Mapping) and all(
        isinstance(classes, Mapping)
        and all(
            isinstance(members, list | tuple) and all(isinstance(m, list | tuple) and len(m) == 2 for m in members)
            for members in classes.values()
        )
        for classes in splits.values()
    )


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

        Afterwards the global random numbers go on as before. If `make` hands out what it also keeps, its parameters
        have the values and the `.grad` that they had before. Errors that the patient's functions raise pass through,
        except in `several_steps`, which reports them.

        Raises:
            TypeError: `make` is no function, does not return a `Patient`, or one of the patient's functions returns
                something that cannot be used.
            ValueError: the patient lacks something that this examination needs.
        """
        with _undisturbed():
            patient = _made(make)
            if missing := [name for name in self.needs if not _has(patient, name)]:
                raise ValueError(
                    f"make={shown(make)} returned a patient without {' and '.join(missing)}; the examination "
                    f'"{self.name}" needs {" and ".join(self.needs)}'
                )
            with _put_back(patient):
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

    One that stops with an error has found something; others that stop with the same error cannot tell.

    Raises:
        TypeError: `make` is no function, or does not return a `Patient`.
    """
    with _undisturbed():
        patient = _made(make)
    report = Report()
    for examination in EXAMINATIONS.values():
        if examination.fits(patient):
            try:
                report.append(examination(make))
            except Exception as error:  # whatever is wrong with it, the finding says so
                words = _in_words(error)
                state = "open" if any(finding.says.endswith(words) for finding in report) else "ill"
                report.append(Finding(examination.name, state, f"It stops with {words}"))
    return report


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let the patient differentiate, and leave the global random numbers as they were."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=devices):
        yield


def _seed(seed: int = 0) -> None:
    """Seed the global random numbers, for a learner that draws from them."""
    if torch.cuda.is_initialized():
        torch.manual_seed(seed)
    else:  # torch.manual_seed would also seed a GPU that is only used later
        torch.default_generator.manual_seed(seed)


@contextmanager
def _put_back(patient: Patient) -> Iterator[None]:
    """Put back values, `.grad`, buffers and modes, which matter where `make` hands out what it also keeps."""
    module = patient.parameters if isinstance(patient.parameters, nn.Module) else None
    tensors = [*patient.named.values(), *(module.buffers() if module else ())]
    values, grads = [t.detach().clone() for t in tensors], [t.grad if t.is_leaf else None for t in tensors]
    grads = [g if g is None else (g, g.detach().clone()) for g in grads]
    modes = [(part, part.training) for part in module.modules()] if module else []
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value, grad in zip(tensors, values, grads, strict=True):
                if not torch.equal(tensor, value):
                    tensor.copy_(value)
                if tensor.is_leaf:
                    tensor.grad = None if grad is None else grad[0].copy_(grad[1])
        for part, training in modes:
            part.training = training


def _in_words(error: Exception) -> str:
    """Return an error's type and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


def _made(make: Make) -> Patient:
    """Return a patient; where its first numbers are drawn from the global generator, always the same."""
    check_function(make=make)
    _seed()
    patient = make()
    if not isinstance(patient, Patient):
        raise TypeError(f"make={shown(make)} returned {shown(patient)}; it must return a Patient")
    return patient


def _has(patient: Patient, name: str) -> bool:
    return bool(patient.named) if name == "parameters" else getattr(patient, name) is not None


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# What the patient's functions return


def _number(value: object, name: str) -> float:
    """Return a loss as a number.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.detach().item()
    if not isinstance(value, Real):
        raise TypeError(f"{name} returned {shown(value)}; it must return the loss, as a number or a tensor")
    return float(value)


def _task(patient: Patient, generator: torch.Generator) -> Task:
    """Draw a task.

    Raises:
        TypeError: it is none.
    """
    task = patient.task(generator)
    if not _is_task(task):
        raise TypeError(f"task returned {shown(task)}; it must return (support x, support y, query x, query y)")
    sx, sy, qx, qy = task
    if len(sx) != len(sy) or len(qx) != len(qy) or not len(qx) or not len(sx):
        sizes = ", ".join(str(list(part.shape)) for part in task)
        raise TypeError(f"task returned tensors of the shapes {sizes}; they must be [S, ...], [S], [Q, ...] and [Q]")
    return sx, sy, qx, qy


def _is_task(task: object) -> bool:
    return isinstance(task, list | tuple) and len(task) == 4 and all(isinstance(part, Tensor) for part in task)


def _tasks_of(batch: object) -> list[Task]:
    """Return the tasks of a batch, or none if it does not consist of tasks."""
    if isinstance(batch, Episode):
        return list(zip(batch.support_x, batch.support_y, batch.query_x, batch.query_y, strict=True))
    return list(batch) if isinstance(batch, list | tuple) and all(map(_is_task, batch)) else []


def _answer(patient: Patient, support_x: Tensor, support_y: Tensor, query_x: Tensor, seed: int = 0) -> Tensor:
    """Return the predictions, with the same random numbers whenever the learner draws from the global generator.

    Raises:
        TypeError: they are none.
    """
    _seed(seed)
    answers = patient.predict(support_x, support_y, query_x)
    wanted = "values [Q, out]" if support_y.is_floating_point() else "scores [Q, classes]"
    out = support_y.shape[1:] if support_y.is_floating_point() else None
    if not isinstance(answers, Tensor) or answers.dim() < 1 or len(answers) != len(query_x):
        raise TypeError(f"predict returned {shown(answers)} for {len(query_x)} queries; it must return {wanted}")
    if answers.shape[1:] != out if out is not None else answers.dim() != 2:
        raise TypeError(f"predict returned {shown(answers)} for {len(query_x)} queries; it must return {wanted}")
    return answers.detach().clone()  # a learner may answer into the same memory again


def _spread(answers: Tensor) -> float:
    """Return how much predictions vary among themselves; how large they are, if there is only one number."""
    finite = answers[answers.isfinite()].double()
    spread = float(finite.std()) if finite.numel() > 1 else 0.0
    return spread or float(finite.abs().mean() if finite.numel() else 0)


def _changed(a: Tensor, b: Tensor, tolerance: float) -> Tensor:
    """Tell which queries' predictions differ by more than a share of how much they vary: [Q]."""
    same = (a == b) | (a.isnan() & b.isnan())  # infinite scores may agree, too
    gap = torch.where(same, 0.0, (a - b).abs().double())
    return ~(gap <= tolerance * _spread(torch.cat([a, b])) + 1e-12).flatten(1).all(1)


def _differ(a: Tensor, b: Tensor, tolerance: float = 1e-3) -> bool:
    """Tell whether two predictions differ by more than rounding, measured by how much they vary among themselves."""
    return bool(_changed(a.reshape(1, -1), b.reshape(1, -1), tolerance).any())


def _loss(predictions: Tensor, y: Tensor) -> float:
    """Return the cross-entropy of scores, or the mean squared error of values."""
    if y.is_floating_point():
        return F.mse_loss(predictions.to(y.dtype), y).item()
    return F.cross_entropy(predictions.double(), y).item()


def _above(shares: Sequence[float], chances: Sequence[float]) -> float:
    """Return how many standard errors the mean of shares of right answers is above chance."""
    v = torch.tensor(shares, dtype=torch.float64) - torch.tensor(chances, dtype=torch.float64)
    mean, error = float(v.mean()), float(v.std()) / math.sqrt(len(v))
    if abs(mean) < 1e-9:  # not even the roundings of a mean
        return 0.0
    return mean / error if error > 0 else math.copysign(math.inf, mean)


# The training step


@_examination(
    "parameters",
    "step",
    "batch",
    shows="a crash at a later call, a loss that is not finite, parameters that nothing moves, gradients that are never "
    "reset, and an optimizer that is made anew at every step, so that its moments are lost",
    cannot="whether the steps lead anywhere; and it sees gradients and optimizers only where the optimizer is one of "
    "`torch.optim` or derived from it",
)
def several_steps(make: Make) -> tuple[str, str]:
    """Take six training steps on different batches, and look at how the parameters move."""
    patient, generator = _made(make), _generator()
    even = []  # for each late step, whether all parameters moved by the same amount
    batches, used = [], []
    start = before = after = [p.detach().clone() for p in patient.trained.values()]
    for number in range(1, 65):
        if number > 6 and any(not torch.equal(a, b) for a, b in zip(after, start, strict=True)):
            break  # a learner that adds up the gradients of several steps may move late
        batch = patient.batch(generator)
        batches.append(_tensors(batch))
        try:
            with _optimizers(patient) as seen:
                loss = patient.step(batch)
        except Exception as error:  # whatever is wrong with it, the finding says so
            which = {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")
            return "ill", f"The {which} step stops with {_in_words(error)}"
        if not math.isfinite(value := _number(loss, "step")):
            return "ill", f"The loss of step {number} is {value}."
        used += seen[-1:]  # the last one is not of an inner loop
        after = [p.detach().clone() for p in patient.trained.values()]
        moves = torch.cat([(a - b).abs().flatten().double() for a, b in zip(after, before, strict=True)])
        moves = moves[moves > 0]
        if number > 2 and moves.numel() > 1:
            even.append(bool(((moves / moves.median() - 1).abs() < 0.01).double().mean() > 0.95))
        before = after
    names = list(patient.trained)
    still = [name for name, a, b in zip(names, before, start, strict=True) if torch.equal(a, b)]
    if len(still) == len(names):
        return "ill", f"No parameter has moved after {len(batches)} steps."
    still = [name for name in still if _matters(make, name)]
    if still:
        return "ill", f"Of {len(names)} parameters, these have not moved after six steps: {', '.join(still)}."
    if _gradients_pile_up(make):
        return "ill", (
            "At the second step, the optimizer gets the sum of the first step's gradient and the second's: is "
            "zero_grad() missing?"
        )
    # From a gradient that never changes, any Adam makes even steps.
    changing = any(not torch.equal(a, b) for a, b in zip(batches[0], batches[-1], strict=False))
    kept = len(used) > 1 and used[0][0] is used[-1][0]
    if len(even) > 1 and all(even) and changing and not kept:
        says = "At every step, all parameters move by the same amount."
        if not used:
            return "open", f"{says} Is it meant, as in a descent by the gradient's sign? Else its moments are lost."
        return "ill", (
            f"{says} Adam does so at its first step only: this optimizer is made anew each time, so that it never has "
            "a mean of gradients to go by."
        )
    return "well", f"{len(batches)} steps pass, and each of the {len(names)} parameters moves that the loss depends on."


@contextmanager
def _optimizers(patient: Patient) -> Iterator[list[tuple[torch.optim.Optimizer, list[Tensor | None]]]]:
    """Yield the optimizers that take a step on the patient's parameters, each with the gradients that it gets."""
    seen: list[tuple[torch.optim.Optimizer, list[Tensor | None]]] = []
    parameters = list(patient.trained.values())

    def note(optimizer: torch.optim.Optimizer, *_: object) -> None:
        its = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if any(id(p) in its for p in parameters):
            seen.append((optimizer, [None if p.grad is None else p.grad.detach().clone() for p in parameters]))

    handle = register_optimizer_step_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def _gradients_pile_up(make: Make) -> bool:
    """Tell whether the optimizer gets, at the second step, the first step's gradient on top of the second's."""
    patient, generator = _made(make), _generator()
    batches = [patient.batch(generator), patient.batch(generator)]
    got = []
    for batch in batches:
        between = [p.detach().clone() for p in patient.trained.values()]
        with _optimizers(patient) as seen:
            patient.step(batch)
        if len(seen) != 1 or any(g is None for g in seen[0][1]):
            return False
        got.append(torch.cat([g.flatten().double() for g in seen[0][1]]))
    patient = _made(make)  # the second step again, with nothing before it
    with torch.no_grad():
        for p, value in zip(patient.trained.values(), between, strict=True):
            p.copy_(value)
    again = [patient.batch(generator := _generator()), patient.batch(generator)][1]
    with _optimizers(patient) as seen:
        patient.step(again)
    if len(seen) != 1 or any(g is None for g in seen[0][1]):
        return False
    second = torch.cat([g.flatten().double() for g in seen[0][1]])
    return bool((got[1] - second - got[0]).norm() < 1e-3 * got[0].norm() < 0.1 * (got[1] - second).norm())


def _tensors(batch: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, lists, dictionaries and dataclasses, as an `Episode` is one."""
    if is_dataclass(batch):
        batch = vars(batch)
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if isinstance(batch, tuple | list):
        return [tensor for part in batch for tensor in _tensors(part)]
    return [batch.detach().clone()] if isinstance(batch, Tensor) else []


def _matters(make: Make, name: str) -> bool:
    """Tell whether the loss changes when a parameter is changed a lot. Some shifts, for instance, cancel out."""
    losses = []
    for size in (0, 1, 30):
        patient = _made(make)
        batch, p = patient.batch(_generator()), patient.trained[name]
        with torch.no_grad():
            p.add_(
                size * (1 + p.abs().max()) * torch.randn(p.shape, generator=_generator(), dtype=p.dtype).to(p.device)
            )
        _seed()
        losses.append(_number((patient.loss or patient.step)(batch), "loss" if patient.loss else "step"))
    return any(not abs(loss - losses[0]) <= 1e-3 * abs(losses[0]) for loss in losses)


@_examination(
    "parameters",
    "loss",
    "batch",
    shows="a graph that is cut between the loss and some parameters (None), and dead units (zero)",
    cannot="whether a gradient that arrives is the right one",
)
def gradients(make: Make) -> tuple[str, str]:
    """Differentiate the training loss by every parameter: None, zero, or a number that is not finite?"""
    patient = _made(make)
    if patient.gradient is None and not any(p.requires_grad for p in patient.named.values()):
        return "ill", "No parameter requires a gradient."
    found = _gradient(patient, patient.batch(_generator()))
    if isinstance(found, str):
        return "ill", found
    missing = [name for name, g in found.items() if g is None or not g.any()]
    idle = [name for name in missing if len(missing) < len(found) and not _matters(make, name)]
    parts = []
    for what, names in (
        ("None (no path leads from it to the loss)", [n for n in missing if found[n] is None and n not in idle]),
        ("zero", [n for n in missing if found[n] is not None and n not in idle]),
        ("not finite", [n for n, g in found.items() if g is not None and not g.isfinite().all()]),
    ):
        if names:
            parts.append(f"{what}: {', '.join(names)}")
    if parts:
        return "ill", f"Of {len(found)} gradients, {'; '.join(parts)}."
    if idle:
        return "well", f"{len(found) - len(idle)} gradients are there. The loss does not depend on: {', '.join(idle)}."
    return "well", f"All {len(found)} gradients are there, finite, and not zero."


def _gradient(patient: Patient, batch: object) -> dict[str, Tensor | None] | str:
    """Return the gradient of the training loss by name, or say in words why there is none.

    Raises:
        TypeError: the patient's `gradient` or `loss` returns something else.
    """
    _seed()
    named = patient.trained
    if patient.gradient is not None:
        got = patient.gradient(batch)
        grads = got if isinstance(got, Mapping) else dict(zip(named, got, strict=False)) if _is_list(got) else {}
        shapes = {name: g if g is None else getattr(g, "shape", ()) for name, g in grads.items()}
        if len(got if _is_list(got) else grads) != len(named) or any(
            name not in grads or shapes[name] not in (None, p.shape) for name, p in named.items()
        ):
            raise TypeError(f"gradient returned {shown(got)}; it must return a tensor like each of {', '.join(named)}")
        return {name: g if g is None else g.detach() for name, g in grads.items()}
    loss = patient.loss(batch)
    _number(loss, "loss")
    if not (isinstance(loss, Tensor) and loss.requires_grad):
        return "The loss has no graph: every gradient is None, and nothing can be learned."
    try:
        grads = torch.autograd.grad(loss.sum(), list(named.values()), allow_unused=True)
    except RuntimeError as error:
        if "modified by an inplace operation" not in str(error):
            raise
        return "Computing the loss changes parameters in place, so that autograd cannot follow."
    return dict(zip(named, grads, strict=True))


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


@_examination(
    "parameters",
    "step",
    "batch",
    shows="a model or a loss that cannot fit even what it has seen many times, and a training whose network is not the "
    "one that predicts",
    cannot="whether it learns anything that carries over to other batches: a learner that memorises does well here",
)
def one_batch(make: Make) -> tuple[str, str]:
    """Train on one batch over and over. The loss has to become small, and the predictions on that batch right.

    Of a batch of tasks, only the first is taken. "Small" is a third of the first loss, measured from the `floor`:
    softmax twice leaves more of it. A sound learner may be stuck on one batch, so that three are tried.
    """
    tried = [_on_one_batch(_made(make), seed=0)]
    while tried[-1][0] == "ill" and len(tried) < 3:
        tried.append(_on_one_batch(_made(make), seed=len(tried)))
    return tried[0] if tried[-1][0] == "ill" else tried[-1]


def _on_one_batch(patient: Patient, seed: int) -> tuple[str, str]:
    """Return what training on one batch shows."""
    batch = patient.batch(_generator(seed))
    if tasks := _tasks_of(batch):  # one task, because tasks contradict one another for a learner that does not adapt
        tasks, batch = tasks[:1], batch[:1]
    before = _on_its_tasks(patient, tasks) if tasks and patient.predict else None
    losses = [_number(patient.step(batch), "step")]
    low = 0.1 * (losses[0] - patient.floor) + patient.floor
    while len(losses) < 800 and losses[-1] > low and math.isfinite(losses[-1]):
        losses.append(_number(patient.step(batch), "step"))
    moved = f"the loss goes from {losses[0]:.3g} to {losses[-1]:.3g} within {len(losses)} steps on one and the same "
    moved += "task" if tasks else "batch"
    if not losses[-1] - patient.floor <= (losses[0] - patient.floor) / 3:
        third, last = (sum(quarter) / 200 for quarter in (losses[400:600], losses[600:800]))
        if len(losses) == 800 and third - last > 0.01 * (losses[0] - patient.floor):
            return "open", f"It is slow: {moved}, and still falls. Does a larger learning rate help?"
        return "ill", f"It does not fit: {moved}."
    if before is None:
        return "well", f"It fits: {moved}."
    after = _on_its_tasks(patient, tasks)
    if tasks[0][3].is_floating_point():
        says, fits = f"{before:.3g} before and {after:.3g} after", after <= max(0.5 * before, 2 * losses[-1])
        says = f"the mean squared error of its predictions there is {says}"
    else:
        chance = 1 / len(tasks[0][1].unique())
        says, fits = f"{after:.0%} of its predictions there are right", after > chance + 0.4 * (1 - chance)
        says = f"{says} (chance {chance:.0%})"
    if not fits:
        return "ill", f"In training {moved}, but {says}."
    return "well", f"It fits: {moved}, and {says}."


def _on_its_tasks(patient: Patient, tasks: list[Task]) -> float:
    """Return the mean squared error of the predictions on tasks, or the share of them that are right."""
    answers = [(_answer(patient, sx, sy, qx), qy) for sx, sy, qx, qy in tasks]
    good = [_loss(p, y) if y.is_floating_point() else (p.argmax(1) == y).double().mean().item() for p, y in answers]
    return sum(good) / len(good)


@_examination(
    "loss",
    "batch",
    shows="a training loss that the queries do not enter, because it is taken on the support set, or that the support "
    "set does not enter, because the adapted weights are not used",
    cannot="whether they enter it in the right way; and nothing for batches that do not consist of tasks",
)
def both_parts(make: Make) -> tuple[str, str]:
    """Disturb the queries of a batch of tasks, and then the support sets: the training loss has to change."""
    patient = _made(make)
    batch = patient.batch(_generator())
    tasks = _tasks_of(batch)
    if not tasks:
        return "open", "Its batches do not consist of tasks."

    def loss(tasks: list[Task]) -> float:
        _seed()
        if isinstance(batch, Episode):
            changed = dict(zip(PARTS, map(torch.stack, zip(*tasks, strict=True)), strict=True))
            return _number(patient.loss(replace(batch, **changed)), "loss")
        return _number(patient.loss(type(batch)(tasks)), "loss")

    once = loss(tasks)
    if loss(tasks) != once:
        return "open", "The same batch gives another loss the second time, so that losses cannot be compared."
    queries = loss([(sx, sy, _disturbed(qx), qy) for sx, sy, qx, qy in tasks])
    support = loss([(_disturbed(sx), sy, qx, qy) for sx, sy, qx, qy in tasks])
    if queries == support == once:
        return "ill", "The training loss depends neither on the queries nor on the support sets."
    if queries == once and patient.order == 1:
        return "open", "The training loss does not depend on the queries, as in Reptile: is it meant so?"
    if queries == once:
        return "ill", "The training loss does not depend on the queries: it does not ask what was learned."
    if support == once and not patient.adapts:
        return "open", "The training loss does not depend on the support sets, and the answers are not meant to."
    if support == once:
        return "ill", "The training loss does not depend on the support sets: adaptation is not trained."
    return "well", "The training loss depends on the queries, and on the support sets."


PARTS = ("support_x", "support_y", "query_x", "query_y")


def _disturbed(x: Tensor) -> Tensor:
    """Return other inputs of the same kind: with noise of their own size, or, for whole numbers, in another order."""
    if not x.is_floating_point():
        return x.flip(0)
    noise = torch.randn(x.shape, generator=_generator(), dtype=x.dtype).to(x.device)
    return x + (x.std(correction=0) + 0.1) * noise


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
    patient, generator = _made(make), _generator()
    batch = patient.batch(generator)

    def value() -> float:
        _seed()
        return _number(patient.loss(batch), "loss")

    once, twice = value(), value()
    if once != twice and abs(once - twice) > 1e-6 * abs(once):
        return "ill", f"The same batch gives the loss {once:.6g}, and then {twice:.6g}: computing it changes something."
    found = _gradient(patient, batch)
    if isinstance(found, str):
        return "ill", found
    named = patient.trained
    tensors = list(named.values())
    slopes = [torch.zeros_like(p) if found[name] is None else found[name] for name, p in named.items()]
    size = math.sqrt(sum(float(g.double().square().sum()) for g in slopes))
    double = all(p.dtype == torch.float64 for p in tensors)
    worst, at = 0.0, 0.0
    wrong = []
    for name, p, g in zip(named, tensors, slopes, strict=True):
        along = g if g.any() else torch.randn(p.shape, generator=generator, dtype=p.dtype)
        along = along / along.norm()
        h = (1e-5 if double else 1e-3) * max(1.0, float(p.detach().norm()))
        claimed = float((g * along).sum())
        wide, narrow = (_slope(value, p, along, step) for step in (h, h / 2))
        noise = abs(wide - narrow) + (1e-15 if double else 1e-6) * abs(once) / h
        tolerance = (1e-4 if double else 0.05) * size
        gap = abs(claimed - narrow)
        if gap <= tolerance + 4 * noise:
            continue
        # A kink that lies within the step spoils the slope, and is left behind by a smaller step.
        if any(abs(claimed - _slope(value, p, along, h / shrink)) <= tolerance for shrink in (20, 200)):
            continue
        wrong.append(name)
        if gap > worst:
            worst, at = gap, narrow
            says = f"along {name} the gradient promises {claimed:.3g} and the loss changes by {at:.3g}"
    if wrong and patient.order == 1:
        return (
            "open",
            f"The gradient is not the slope of the loss, and is not meant to be: {says} for a unit of length.",
        )
    if wrong:
        return "ill", f"The gradient is not the slope of the loss: {says} for a unit of length."
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
    patient = _made(make)
    first = None
    for steps in (1, 2, 3, 4, 5, 10):  # the number of inner steps is the patient's
        found = diagnose(patient.meta_loss, Problem.sine(inner_steps=steps))
        first = first or found
        if found.order is not None:
            break
    else:
        return "ill", first.says
    return ("well" if found.order == patient.order else "ill"), found.says


@_examination(
    "loss_after",
    shows="with second order, a graph that is cut between the inner steps; with first order, one that is kept in vain",
    cannot="whether what is kept is used rightly; and nothing for code that needs no graph",
)
def memory_over_inner_steps(make: Make) -> tuple[str, str]:
    """Count the bytes that autograd keeps for the gradient of the loss after 1, 2, 4 and 8 inner steps."""
    patient = _made(make)
    kept = []
    try:
        for steps in (1, 2, 4, 8):
            with _kept_by_autograd() as alive:
                loss = patient.loss_after(steps)
                kept.append(sum(alive.values()))
            del loss
    except RuntimeError as error:
        return _not_seen(error)
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
    patient, generator = _made(make), _generator()
    kept = []
    try:
        with _kept_by_autograd() as alive:
            for _ in range(6):
                _number(patient.step(patient.batch(generator)), "step")
                kept.append(sum(alive.values()))
            if _grows(kept):
                gc.collect()  # what refers to itself is let go only then; it is no leak
                kept[-1] = sum(alive.values())
    except RuntimeError as error:
        return _not_seen(error)
    says = f"{kept[1] / 1024:.0f} KiB are kept after two steps, and {kept[-1] / 1024:.0f} after six"
    if _grows(kept):
        return "ill", f"{says}: each step leaves its graph behind. Is a loss stored with its graph?"
    return "well", f"{says}: nothing piles up."


def _grows(kept: list[int]) -> bool:
    return all(b > a for a, b in pairwise(kept[1:]))


def _not_seen(error: RuntimeError) -> tuple[str, str]:
    """Return the finding where autograd does not show what it keeps.

    Raises:
        RuntimeError: the error is another one.
    """
    if "saved tensor hooks" not in str(error):
        raise error
    return "open", "It differentiates by torch.func, which does not show what it keeps."


# The prediction


@_examination(
    "predict",
    "task",
    shows="a learner that does not adapt: it answers the same, whatever examples it is given; or one that adapts in "
    "the wrong direction",
    cannot="whether it adapts well. About 15 of 30 tasks fare better after their own support set by luck alone. Before "
    "training, attention with random weights may go the wrong way without being ill, and on regression tasks a step in "
    "the wrong direction may go unseen",
)
def another_support_set(make: Make) -> tuple[str, str]:
    """Answer the queries of 30 tasks after their own support set, and after that of another task."""
    patient, generator = _made(make), _generator()
    tasks = [_task(patient, generator) for _ in range(30)]
    own, other, same = [], [], True
    for i, (sx, sy, qx, qy) in enumerate(tasks):
        ox, oy = next((t[:2] for t in tasks[i + 1 :] + tasks[:i] if _alike(sy, t[1])), tasks[i - 1][:2])
        a, b = _answer(patient, sx, sy, qx), _answer(patient, ox, oy, qx)
        if a.isnan().any() or b.isnan().any():
            return "open", "Some of its answers are no numbers (nan)."
        same = same and not _differ(a, b, 1e-6)
        own.append(_loss(a, qy))
        other.append(_loss(b, qy))
    if same and not patient.adapts:
        return "open", "The answers do not depend on the support set, and are not meant to."
    if same:
        return "ill", "The answers do not depend on the support set: with that of another task they are the same."
    mean = [sum(values) / len(values) for values in (own, other)]
    says = f"the mean query loss is {mean[0]:.3g} after the task's own support set, {mean[1]:.3g} after another's"
    if (worse := sum(a > b for a, b in zip(own, other, strict=True))) >= 28:  # by luck, in one of two million cases
        return "ill", f"It adapts the wrong way: {says}, and {worse} of 30 tasks fare worse after their own."
    better = sum(a < b for a, b in zip(own, other, strict=True))
    return "well", f"The answers depend on the support set: {says}; {better} of 30 tasks fare better after their own."


def _alike(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tasks have the same classes, by their support labels."""
    return a.is_floating_point() or torch.equal(a.unique(), b.unique())


@_examination(
    "predict",
    "task",
    shows="answers that are right although the labels of the support set were shuffled: they come from something else, "
    "such as the order of the queries, the class that is always the right one, or a support set that holds the queries",
    cannot="anything for a learner that is at chance with the right labels too; and it may miss where few answers, "
    "about one in twenty, come from something else",
)
def shuffled_labels(make: Make) -> tuple[str, str]:
    """Shuffle the support labels of 100 classification tasks: the share of right answers has to fall to chance.

    The names of the classes are shuffled, too. Else, the largest class of an uneven support set would still be right
    more often than others. Where 100 tasks raise a suspicion, up to 1,000 are drawn.
    """
    patient, generator = _made(make), _generator()
    right, shuffled, chances = [], [], []
    enough = 100
    while (count := len(right)) < enough:
        sx, sy, qx, qy = _task(patient, generator)
        if sy.is_floating_point():
            return "open", "These tasks have no labels: it is for classification."
        classes, place = sy.unique(return_inverse=True)
        renamed = classes[torch.randperm(len(classes), generator=generator)][place]
        mixed = renamed[torch.randperm(len(sy), generator=generator)]
        for labels, shares in ((sy, right), (mixed, shuffled)):
            shares.append((_answer(patient, sx, labels, qx).argmax(1) == qy).double().mean().item())
        chances.append(1 / len(sy.unique()))
        if count + 1 == 100 and 1.5 < _above(shuffled, chances) <= SURE:
            enough = 1000
    chance = sum(chances) / count
    says = f"{sum(right) / count:.0%} right, and {sum(shuffled) / count:.0%} with shuffled labels (chance {chance:.0%})"
    if _above(shuffled, chances) > SURE:
        return "ill", f"{says}: its answers come from something other than the labels."
    if not _above(right, chances) > 3:
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
    patient, generator = _made(make), _generator()
    constant, compared, tied, alike, share, fair = 0, 0, [], [], [], []
    for _ in range(20):
        sx, sy, qx, qy = _task(patient, generator)
        answers = _answer(patient, sx, sy, qx)
        if answers.isnan().any():
            return "ill", "Some of its answers are no numbers (nan)."
        if len(qx) > 1 and (qy != qy[:1]).any():  # queries of one class may get the same answer
            compared += 1
            apart = torch.where(answers == answers[:1], 0.0, (answers - answers[:1]).abs())
            constant += bool((apart <= 1e-6 * answers.abs()).all())
        if not qy.is_floating_point():
            best = answers >= answers.max(1, keepdim=True).values
            tied.append((best.sum(1) > 1).double().mean().item())
            alike.append(best.all(1).double().mean().item())
            share.append((answers.argmax(1) == qy).double().mean().item())
            fair.append((best[torch.arange(len(qy)), qy] / best.sum(1)).double().mean().item())
    if many := sum(tied) > 0.2 * len(tied):
        ties = (
            f"In {sum(tied) / len(tied):.0%} of its answers, several classes have the largest score. By argmax, which "
            f"takes the first, {sum(share) / len(share):.0%} are right; counted as what a guess among them would get, "
            f"{sum(fair) / len(fair):.0%}."
        )
        least = 0.2 if answers.shape[1] > 2 else 0.8  # two neighbours that vote for two classes are often at odds
        if sum(alike) > least * len(alike) or _above(share, fair) > SURE:
            return "ill", ties
    says = f"in {constant} of {compared} tasks, all queries get the same answer"
    if constant > 0.8 * compared:
        return "ill", f"{says[0].upper()}{says[1:]}."
    if not compared:
        return "open", "These tasks have no two queries with different right answers: give them several."
    if constant > 1:
        return "open", f"Most tasks' queries get different answers, but {says}: is it right for them?"
    if many:
        return "open", f"{ties} Is it a vote, in which ties are natural?"
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
    patient, generator = _made(make), _generator()
    changed, turned, total = 0, 0, 0
    for _ in range(10):
        sx, sy, qx, _qy = _task(patient, generator)
        together = _answer(patient, sx, sy, qx)
        if _changed(together, _answer(patient, sx, sy, qx), 0.01).any():
            return "open", "The same question gets another answer the second time, so that answers cannot be compared."
        back = _answer(patient, sx, sy, qx.flip(0)).flip(0)
        turned += int(_changed(together, back, 0.01).sum())
        total += len(qx)
        try:
            single = torch.cat([_answer(patient, sx, sy, one[None]) for one in qx])
        except Exception as error:
            if not patient.transductive:
                return "ill", f"Asked for the answer to one query alone, it stops with {_in_words(error)}"
            changed += 1
        else:
            changed += int(_changed(together, single, 0.01).sum())
    if (turned or changed) and _changed(together, _answer(patient, sx, sy, qx, seed=1), 0.01).any():
        return "open", "Its answers are random: with another seed they are others, so that they cannot be compared."
    if turned:
        return "ill", f"{turned} of {total} answers change when the queries come in the opposite order."
    if total == 10:
        return "open", "These tasks have one query only: give them several."
    if changed and patient.transductive:
        return "open", "Its answers depend on the other queries, and are meant to: it is transductive."
    if changed:
        return "ill", (
            f"{changed} of {total} answers change when a query is asked alone: it sees the other queries of its batch, "
            "and with them how often each class is asked."
        )
    return "well", f"All {total} answers stay the same when each query is asked alone."


@_examination(
    "parameters",
    "predict",
    "task",
    shows="adaptation that changes the start itself: tasks then begin where the task before ended",
    cannot="what training does: a step has to change the parameters",
)
def same_start(make: Make) -> tuple[str, str]:
    """Answer task B after task A, and anew after task C: do the parameters stay, and is B answered alike?"""
    answers, moved = [], False
    for seed in (1, 2):
        patient, generator = _made(make), _generator()
        b = _task(patient, generator)
        before, count = patient.state, len(patient.named)
        _answer(patient, *_task(patient, _generator(seed))[:3])
        same = [torch.equal(x, y) for x, y in zip(before, patient.state, strict=True)]
        if not all(same[:count]):
            return "ill", "After one task was answered, the parameters are others: the next task starts from them."
        moved = moved or not all(same)
        answers.append(_answer(patient, *b[:3]))
    if _differ(*answers, 1e-6):
        return "ill", "A task gets another answer when another task was answered before it."
    if moved:
        return "open", (
            "Answering a task changes buffers, such as the running statistics of batch norm, but no other answer. Is "
            "the network in train() on purpose?"
        )
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
    patient, generator = _made(make), _generator()
    tasks = [_task(patient, generator) for _ in range(50)]
    shared = sum(int(_seen(qx, sx).sum()) for sx, _, qx, _ in tasks)
    total = sum(len(qx) for _, _, qx, _ in tasks)
    labelled = not tasks[0][1].is_floating_point()
    if shared:
        says = f"{shared} of {total} queries are also in the support set of their task"
        if any(_repeats(sx, sy if labelled else None) for sx, sy, _, _ in tasks):
            return "open", f"{says}. Support sets repeat an input, too: are there only few different ones?"
        return "ill", f"{says}."
    # A fixed grid of x is fine where the values differ.
    if all(torch.equal(tasks[0][0], t[0]) and torch.equal(tasks[0][1], t[1]) for t in tasks):
        return "ill", "All 50 tasks have the same support set."
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


def _repeats(x: Tensor, labels: Tensor | None) -> bool:
    """Tell whether an input occurs twice in x [S, ...]: with different labels, if there are any."""
    again = (x.flatten(1)[:, None] == x.flatten(1)[None]).all(2).fill_diagonal_(False)
    return bool((again if labels is None else again & (labels[:, None] != labels)).any())


@_examination(
    "splits",
    shows="classes that training and test share, alphabets that they share although new ones were meant, and classes "
    "that are no characters but whole alphabets",
    cannot="whether the drawings are what their labels say",
)
def classes_across_splits(make: Make) -> tuple[str, str]:
    """Compare the characters and alphabets of every two splits, and count the characters in each class."""
    patient = _made(make)
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
            return (
                "ill",
                f"The splits {one} and {other} share {_count(both, 'character')}: {' '.join(reversed(min(both)))}.",
            )
        alphabets = {a for a, _ in inside[one]} & {a for a, _ in inside[other]}
        if alphabets and patient.new_alphabets:
            return "ill", f"The splits {one} and {other} share {_count(alphabets, 'alphabet')}: {min(alphabets)}."
    sizes = ", ".join(f"{name} {len(members)}" for name, members in inside.items())
    what = "an alphabet" if patient.new_alphabets else "a character"
    return "well", f"No two splits share {what}, and each class is one character ({sizes})."


def _count(things: set, what: str) -> str:
    return f"one {what}" if len(things) == 1 else f"{len(things)} {what}s, among them"


# Verification


@_examination(
    "distance",
    "pairs",
    shows='a network that says the opposite, because the label 1 means "same" in one place and "different" in another',
    cannot="whether its distances are good ones",
)
def side_of_the_pairs(make: Make) -> tuple[str, str]:
    """Compare the distances of pairs of the same class with those of different classes."""
    patient = _made(make)
    pairs = patient.pairs(_generator())
    if not _is_list(pairs) or len(pairs) != 3 or not all(isinstance(part, Tensor) for part in pairs):
        raise TypeError(f"pairs returned {shown(pairs)}; it must return a, b, and same [B], which are tensors")
    a, b, same = pairs[0], pairs[1], pairs[2].flatten().bool()
    few = min(int(same.sum()), int((~same).sum()))
    if not len(a) == len(b) == len(same) or not few:
        raise TypeError(f"pairs returned {len(a)}, {len(b)} and {len(same)} rows; they must be as many, of both kinds")
    _seed()
    distance = patient.distance(a, b)
    if not isinstance(distance, Tensor) or distance.numel() != len(same):
        raise TypeError(f"distance returned {shown(distance)} for {len(same)} pairs; it must return a tensor [B]")
    distance = distance.detach().flatten()
    if distance.isnan().any():
        return "ill", "Some of its distances are no numbers (nan)."
    area = roc(-distance, same).auc
    says = f"a pair of the same class is nearer than one of different classes in {area:.0%} of all comparisons"
    other = len(same) - few
    error = math.sqrt((len(same) + 1) / (12 * few * other))  # of the area, for distances without any order
    if 0.5 - area > SURE * error:
        return "ill", f"{says[0].upper()}{says[1:]}: it says the opposite."
    return "well", f"{says[0].upper()}{says[1:]} (50 % would be chance)."
