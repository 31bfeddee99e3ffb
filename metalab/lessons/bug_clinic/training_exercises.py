"""The exercises of the bug clinic that repair a training step: its gradient, its loss, its network, its optimizer.

Any correct repair is accepted. What is still wrong is named by `diagnose` where it is a meta-gradient, by a table of
mistakes where it is a number, and by what the step does to the weights where it is a training step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...analysis.diagnosis import FIRST_TASK, FIRST_TOO, IN_PLACE, LAST_TASK, UNKNOWN, Problem, Task, diagnose, mlp
from ..kit.comparing import Case, Misconception, Numbers, Wrong, agree, combined, describe, number, single
from ..kit.exercise import Exercise
from ..kit.isolation import TimeLimit
from ..kit.lists import (
    FIVE,
    GRAD_LEFT,
    OF_LISTS,
    THREE,
    TWO,
    WORDS,
    Shapes,
    draw_tensors,
    equal_grads,
    grads_of,
    numbers_of,
    of_one_shape,
    tip_for,
)
from . import solutions

NO_GRAPH = "no_grad, detach, .data, item or torch.tensor"


def _with_tips(attempt: Callable, tips: Mapping[str, str]) -> Callable:
    """Wrap the reader's function, so that an error that stops it gets a tip."""

    def tried(*arguments: Any) -> Any:
        try:
            return attempt(*arguments)
        except Wrong as stopped:
            says = str(stopped)
            if says.startswith("It stopped with") and (tip := tip_for(says, tips)):
                says += f". {tip}"
            raise Wrong(says) from None

    return tried


def _loss_of(result: Any, what: str = "The loss") -> float:
    """Return a loss as a plain number. Raise `Wrong` for what is none, or still has its graph."""
    value = number(result, what)
    if isinstance(result, Tensor) and result.requires_grad:
        raise Wrong(
            f"{what} comes back with its graph. Whoever keeps the losses of a training in a list then keeps every "
            "graph, until the memory is full. Return a plain number: loss.item()."
        )
    return value


# descend


def _descend_case(shapes: Shapes, lr: float, dtype: torch.dtype) -> Case:
    def make() -> tuple[list[Tensor], list[Tensor], float]:
        weights, grads = ([t.to(dtype) for t in draw_tensors(shapes, seed)] for seed in (3, 4))
        return weights, grads, lr

    return Case(what=WORDS[shapes], make=make, sizes={"lr": lr, "the number of tensors": len(shapes)})


DESCEND_CASES = [
    _descend_case(TWO, 0.3, torch.float64),
    _descend_case(THREE, 0.07, torch.float64),
    _descend_case(FIVE, 0.12, torch.float32),
]


def _each(new: Callable[[Tensor, Tensor, float], Tensor]) -> Callable:
    return lambda weights, grads, lr: [new(w, g, lr) for w, g in zip(weights, grads, strict=True)]


def _with_other(choose: Callable[[list[Tensor]], list[Tensor]]) -> Callable:
    """Return a descent with the gradients of other tensors, where all shapes are the same."""

    def descend(weights: list[Tensor], grads: list[Tensor], lr: float) -> list[Tensor]:
        chosen = choose(grads) if of_one_shape(weights) else grads
        return [w - lr * g for w, g in zip(weights, chosen, strict=True)]

    return descend


OTHERS = (
    "A weight tensor moves by the gradient of another one. Where the shapes fit, PyTorch does not complain. Each "
    "weight belongs to the gradient in the same place of the other list; zip over both lists gives these pairs."
)
DESCEND_MISTAKES: list[Misconception] = [
    (
        "It climbs: the gradient is added, and each step makes the loss larger. Which way does the loss fall?",
        _each(lambda w, g, lr: w + lr * g),
    ),
    (
        "The learning rate is missing: each weight moves by its whole gradient.",
        _each(lambda w, g, lr: w - g),
    ),
    (
        "It divides the gradient by the learning rate, so that a small rate, meant to be careful, makes a huge step.",
        _each(lambda w, g, lr: w - g / lr),
    ),
    (
        "The learning rate comes in twice: the step is shortened by lr squared.",
        _each(lambda w, g, lr: w - lr * lr * g),
    ),
    (
        "It returns the change alone, minus lr times the gradient. What is it added to?",
        _each(lambda w, g, lr: -lr * g),
    ),
    (
        "It returns lr times the gradient, which is how far each weight goes. Where each weight arrives is asked for.",
        _each(lambda w, g, lr: lr * g),
    ),
    (
        "Weights and gradients have changed places: lr times the weight is subtracted from the gradient.",
        _each(lambda w, g, lr: g - lr * w),
    ),
    (
        "The learning rate multiplies the whole difference, the weight too: lr * (w - g). It belongs to the gradient.",
        _each(lambda w, g, lr: lr * (w - g)),
    ),
    (
        "The weights come back as they were. (A loop that gives its own variable a new value changes no list.)",
        _each(lambda w, g, lr: w),
    ),
    (
        "Only the sign of the gradient is used: every entry moves equally far, whether its slope is steep or flat.",
        _each(lambda w, g, lr: w - lr * g.sign()),
    ),
    (
        "Each gradient is divided by its length, so that every tensor moves equally far, near the minimum too.",
        _each(lambda w, g, lr: w - lr * g / g.norm()),
    ),
    (
        "All entries of a tensor move by the same amount, the sum or the mean of its gradient. Each entry has a slope "
        "of its own.",
        _each(lambda w, g, lr: w - lr * g.mean()),
    ),
    (
        "All entries of a tensor move by the same amount, the sum or the mean of its gradient. Each entry has a slope "
        "of its own.",
        _each(lambda w, g, lr: w - lr * g.sum()),
    ),
    (OTHERS, _with_other(lambda grads: grads[:1] * len(grads))),
    (OTHERS, _with_other(lambda grads: grads[-1:] * len(grads))),
    (OTHERS, _with_other(lambda grads: grads[::-1])),
    (
        "The gradients of all tensors are added up, and each weight moves by the sum. Is it a loop inside a loop? Each "
        "weight has one gradient: zip goes over both lists side by side.",
        _with_other(lambda grads: [torch.stack(grads).sum(0)] * len(grads)),
    ),
    (
        "Only the first tensor moves; the others stay. Does the update go over the whole list?",
        lambda weights, grads, lr: [weights[0] - lr * grads[0], *weights[1:]],
    ),
]


def _new_weights(result: Any, arguments: tuple) -> Numbers:
    weights = arguments[0]
    if isinstance(result, Tensor) and result.dim() == 1 and len(result) == sum(w.numel() for w in weights):
        raise Wrong(
            f"It returns one flat tensor with all {len(result)} numbers. The layers need their weights in their own "
            f"shapes: return a list of {len(weights)} tensors, like `weights`."
        )
    if isinstance(result, list | tuple) and len(result) == len(weights) ** 2 > len(weights):
        raise Wrong(
            f"It returns {len(result)} tensors, where {len(weights)} are asked for: each weight has met each gradient, "
            "as in a loop inside a loop. zip goes over two lists side by side."
        )
    try:
        return numbers_of(result, weights, "the new weights")
    except Wrong as wrong:
        raise Wrong(str(wrong).replace("`params`", "`weights`")) from None


def _examine_descend(attempt: Callable) -> None:
    attempt = _with_tips(attempt, OF_LISTS)
    agree(
        attempt,
        name="descend",
        cases=DESCEND_CASES,
        right=solutions.descend,
        numbers=_new_weights,
        mistakes=DESCEND_MISTAKES,
    )
    weights, grads, lr = DESCEND_CASES[0].make()
    leaves = [t.requires_grad_() for t in (*weights, *grads)]
    new = attempt([w * 1 for w in weights], [g * 1 for g in grads], lr)
    if any(new_w is w for new_w in new for w in weights):
        raise Wrong(MOVED)
    total = sum(t.sum() for t in new)
    slopes = torch.autograd.grad(total, leaves, allow_unused=True) if total.requires_grad else [None] * len(leaves)
    of_weights, of_grads = (all(s is None for s in half) for half in (slopes[: len(weights)], slopes[len(weights) :]))
    lost = "The numbers are right, but no gradient flows back from the new weights to "
    if of_weights and of_grads:
        raise Wrong(
            f"{lost}where they came from: the graph is cut. A meta-gradient is the derivative by the weights before "
            f"the step. Look for {NO_GRAPH}."
        )
    if of_weights:
        raise Wrong(
            f"{lost}the old weights, though one flows to the gradients. The start of the step is then never learned. "
            f"Look for {NO_GRAPH} on `weights`."
        )
    if any(s is None for s in slopes):
        raise Wrong(
            f"{lost}`grads`, though one flows to the old weights. That makes it first-order, for good: the step "
            f"should leave to its caller what is differentiated. Look for {NO_GRAPH} on `grads`."
        )


MOVED = (
    "It changes the weights in place, as -= and sub_ do. Whoever needs the start again, as the next task does, finds "
    "the moved weights there. Make new tensors: w - lr * g."
)

descend = Exercise(
    answer=solutions.descend,
    difficulty="easy",
    minutes=4,
    statement="Return the list of weights after one step of gradient descent, as new tensors.",
    hints=(
        "A list is no vector: Python multiplies and subtracts tensors, not lists of them.",
        "zip(weights, grads) goes over both lists side by side, one pair of tensors at a time.",
        "For each pair the new tensor is w - lr * g. A list comprehension collects them: [… for w, g in zip(…)].",
    ),
    cases=DESCEND_CASES,
    examine=_examine_descend,
    in_place=MOVED,
)


# adapted_loss


def _small_mlp(hidden: int, dtype: torch.dtype) -> list[Tensor]:
    tensors = draw_tensors([(1, hidden), (hidden,), (hidden, 1), (1,)], seed=hidden)
    return [(0.7 * t).to(dtype).requires_grad_() for t in tensors]


def _waves(count: int, points: int, dtype: torch.dtype) -> list[Task]:
    """Return tasks of different sizes of wave; a support set has one point more than a query set."""
    generator = torch.Generator().manual_seed(count)
    tasks = []
    for n in range(count):
        sx, qx = (
            2 * torch.randn(k, 1, generator=generator, dtype=torch.float64).to(dtype) for k in (points + 1, points)
        )
        tasks.append((sx, (1 + n) * torch.sin(sx - n), qx, (1 + n) * torch.sin(qx - n)))
    return tasks


def _adapted_loss_case(count: int, points: int, hidden: int, inner_lr: float, dtype: torch.dtype) -> Case:
    return Case(
        what=f"{count} tasks",
        make=lambda: (_small_mlp(hidden, dtype), _waves(count, points, dtype), inner_lr),
        sizes={"the number of tasks": count, "inner_lr": inner_lr, "the number of query points": points},
    )


ADAPTED_LOSS_CASES = [
    _adapted_loss_case(3, 4, 6, 0.03, torch.float64),
    _adapted_loss_case(5, 7, 8, 0.015, torch.float32),
]


def _one_loss(result: Any, _arguments: tuple = ()) -> Numbers:
    if isinstance(result, tuple | list):
        raise Wrong(f"It should return one loss, the mean over the tasks; yours is {describe(result)}.")
    return {"the loss": torch.tensor(number(result, "the loss"), dtype=torch.float64)}


FIRST_ORDER = (
    "The numbers are right, but the gradient is first-order: the graph does not go back through the inner gradient. "
    "Is create_graph=True missing where the inner gradient is taken, or is that gradient detached?"
)

COPY_IN_PLACE = (
    "It changes tensors in place that the gradient still needs, such as a clone of a parameter, by -= or sub_. "
    "`params` themselves stay as they are, but autograd cannot go back through such a step. Make new tensors: "
    "p - inner_lr * g."
)


def _named(says: str) -> str:
    """Return a diagnosis, with what may be behind it in a loop over tasks."""
    if says == IN_PLACE:  # of params themselves, their comparison before and after a call has told already
        return COPY_IN_PLACE
    if says.startswith((LAST_TASK, FIRST_TASK)):
        return f"{says} Or does a zero_grad() inside the loop wipe out what other tasks have left?"
    return says


def _examine_adapted_loss(attempt: Callable) -> None:
    attempt = _with_tips(attempt, OF_LISTS)
    params, tasks, inner_lr = ADAPTED_LOSS_CASES[0].make()
    result = attempt(params, tasks, inner_lr)
    _one_loss(result)
    if any(p.grad is not None for p in params):
        raise Wrong(GRAD_LEFT)
    if not isinstance(result, Tensor):
        raise Wrong(
            f"It returns {describe(result)}. A plain number has no graph, and nothing can be learned from it. Return "
            "the loss as a tensor."
        )
    found = diagnose(attempt)
    of_length = found.says.startswith("This points exactly along")  # which the loss itself tells better
    if found.order is None and found.says != UNKNOWN and not of_length:
        raise Wrong(_named(found.says))
    if "added up" in found.says:
        raise Wrong(
            "The losses of the tasks are added up, not averaged. With twice as many tasks, each outer step would be "
            "twice as long. Divide by the number of tasks."
        )
    agree(
        attempt,
        name="adapted_loss",
        cases=ADAPTED_LOSS_CASES,
        right=solutions.adapted_loss,
        numbers=_one_loss,
        tolerance=1e-5,
    )
    if found.order == 1:
        raise Wrong(FIRST_ORDER)
    if found.order is None:
        raise Wrong(found.says)


adapted_loss = Exercise(
    answer=solutions.adapted_loss,
    difficulty="medium",
    minutes=8,
    statement=(
        "Return the mean over the tasks of the query loss after one inner step from `params`, as a tensor whose "
        "gradient is second-order."
    ),
    hints=(
        "Follow the adapted weights through the code: who reads them after they were computed?",
        "The outer loss is that of the adapted weights on the query set. mlp takes any list of weights.",
        "mse_loss(mlp(adapted, query_x), query_y), averaged over the tasks. For the second order, the inner gradient "
        "needs create_graph=True.",
    ),
    cases=ADAPTED_LOSS_CASES,
    examine=_examine_adapted_loss,
    in_place=(
        "It changes `params`, or the data, in place. The next task then starts from weights that this one has moved. "
        "Make new tensors in the inner step."
    ),
    imports="from metalab.analysis.diagnosis import mlp",
)


# meta_step


def _filled(module: nn.Module, seed: int, scale: float = 0.7) -> nn.Module:
    """Return the module with normal random parameters, the same ones whatever was drawn before."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(scale * torch.randn(p.shape, generator=generator, dtype=torch.float64))
            p.grad = 0.1 * torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
    return module


def _meta_step_case(count: int, points: int, hidden: int, adam: bool, dtype: torch.dtype) -> Case:
    def make() -> tuple[nn.Module, torch.optim.Optimizer, list[Task], float]:
        layers = nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, 1)
        network = _filled(nn.Sequential(*layers).to(dtype), seed=hidden)
        kind = torch.optim.Adam if adam else torch.optim.SGD
        return network, kind(network.parameters(), lr=0.05), _waves(count, points, dtype), 0.04

    return Case(what=f"{count} tasks and {'Adam' if adam else 'SGD'}", make=make)


META_STEP_CASES = [
    _meta_step_case(3, 4, 6, adam=False, dtype=torch.float64),
    _meta_step_case(5, 6, 8, adam=True, dtype=torch.float32),
]

SHARED = (
    "When the optimizer takes its step, the network's weights are no longer those that came in: inner steps have moved "
    "them, so that the second task starts where the first one ended. Adapt a copy (copy.deepcopy, or new tensors with "
    "functional_call), or put the saved weights back before the next task. (Saved means cloned: state_dict() alone "
    "only points to the weights, and follows them.)"
)


def _examine_meta_step(attempt: Callable) -> None:
    for case in META_STEP_CASES:
        _examine_one_meta_step(attempt, case)


def _examine_one_meta_step(attempt: Callable, case: Case) -> None:
    network, optimizer, tasks, inner_lr = case.make()
    params = list(network.parameters())
    start = [p.detach().clone() for p in params]
    stale = [p.grad.clone() for p in params]
    seen: list[tuple[list[Tensor], list[Tensor | None]]] = []

    def look() -> None:
        seen.append(
            (
                [p.detach().clone() for p in params],
                [None if p.grad is None else p.grad.detach().clone() for p in params],
            )
        )

    def look_before(_optimizer: Any, arguments: tuple, options: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
        closure = arguments[1] if len(arguments) > 1 else options.get("closure")
        if closure is None:
            look()
            return None

        def closed() -> Any:  # the step goes along the gradients that the closure leaves
            loss = closure()
            look()
            return loss

        return arguments[:1], {"closure": closed}

    optimizer.register_step_pre_hook(look_before)
    result = attempt(network, optimizer, tasks, inner_lr)
    number(result, "The loss")
    if [id(p) for p in network.parameters()] != [id(p) for p in params]:
        raise Wrong(
            "The network has other parameters afterwards, which the optimizer does not know: its steps would change "
            "tensors that nobody uses. Copy values into the parameters (p.copy_, load_state_dict) and keep them."
        )
    _expect_one_step(seen, [not torch.equal(p, s) for p, s in zip(params, start, strict=True)], len(tasks))
    weights, grads = seen[0]
    if not _all_near(weights, start):
        raise Wrong(SHARED)
    if all(g is None or not g.any() for g in grads):
        raise Wrong(
            "When the optimizer takes its step, the network has no gradients. Either the graph is cut, or the "
            "gradients are those of a copy and were never copied back, or zero_grad() stands between backward() and "
            "step()."
        )
    got = [torch.zeros_like(p) if g is None else g for p, g in zip(params, grads, strict=True)]
    _expect_meta_gradient(got, stale, case)
    ours, its_optimizer, *_ = case.make()
    for p, g in zip(ours.parameters(), got, strict=True):
        p.grad = g
    its_optimizer.step()
    if not _all_near([p.detach() for p in params], [p.detach() for p in ours.parameters()]):
        raise Wrong(
            "The optimizer takes the right step, but the weights are not where it led. Are they set once more after "
            "it, as when saved weights are put back too late?"
        )
    _expect_loss(result, case)


def _all_near(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(some, others, strict=True))


def _expect_one_step(seen: list, moved: list[bool], tasks: int) -> None:
    if len(seen) == 1:
        return
    if not seen:
        raise Wrong(
            "The weights change, but `optimizer` takes no step: what moves them is something else. The outer step is "
            "optimizer.step(), once."
            if any(moved)
            else "The weights do not change at all: `optimizer` takes no step. The outer step is optimizer.step()."
        )
    raise Wrong(
        f"`optimizer` takes {len(seen)} steps with {tasks} tasks. It should take one, along the mean gradient of all "
        "tasks. Does step() stand inside the loop?"
    )


def _expect_meta_gradient(got: list[Tensor], stale: list[Tensor], case: Case) -> None:
    network, _optimizer, tasks, inner_lr = case.make()
    problem = Problem.of_module(network, tasks, inner_lr=inner_lr)
    found = diagnose(lambda *_: got, problem)
    if "added up" in found.says:
        raise Wrong(
            "The step goes along the sum of the tasks' gradients. The mean is asked for: with twice as many tasks, the "
            "step should not become longer. Divide by the number of tasks."
        )
    if found.order is None:
        fresh = diagnose(lambda *_: [g - s for g, s in zip(got, stale, strict=True)], problem)
        if fresh.order is not None:
            raise Wrong(
                "The gradients of the step before are still in .grad, and this step's are added to them. Clear them "
                "with optimizer.zero_grad() before the backward pass."
            )
        raise Wrong(_named(found.says.replace(FIRST_TOO, "")))  # as it may be here


def _expect_loss(result: Any, case: Case) -> None:
    network, _optimizer, tasks, inner_lr = case.make()
    names, params = zip(*network.named_parameters(), strict=True)
    before, after, support = [], [], []
    for sx, sy, qx, qy in tasks:
        loss = F.mse_loss(network(sx), sy)
        moved = [p - inner_lr * g for p, g in zip(params, torch.autograd.grad(loss, params), strict=True)]
        adapted = dict(zip(names, moved, strict=True))
        support.append(loss.item())
        before.append(F.mse_loss(network(qx), qy).item())
        after.append(F.mse_loss(torch.func.functional_call(network, adapted, (qx,)), qy).item())
    mean = {"right": sum(after) / len(after), "before": sum(before) / len(before)}
    mean |= {"sum": sum(after), "support": sum(support) / len(support), "last": after[-1]}
    value = _loss_of(result)
    if abs(value - mean["right"]) <= 1e-5 * mean["right"]:
        return
    words = {
        "before": "that of the queries before adaptation",
        "sum": "the sum over the tasks, not their mean",
        "support": "that of the support sets, and not of the queries",
        "last": "that of the last task alone",
    }
    for what, says in words.items():
        if abs(value - mean[what]) <= 1e-5 * mean[what]:
            raise Wrong(f"The step is right, but the loss that it returns is {says}.")
    raise Wrong(
        f"The step is right, but the loss that it returns is {value:.6g}, with {case.what}. The mean query loss after "
        f"one inner step, and before the outer one, is {mean['right']:.6g}."
    )


meta_step = Exercise(
    answer=solutions.meta_step,
    difficulty="hard",
    minutes=15,
    statement=(
        "Take one step of `optimizer` on the mean query loss of the tasks, each after one inner step from the same "
        "weights, and return that loss as a float. First or second order are both right."
    ),
    hints=(
        "Print a weight of the network at the beginning of each task. Whose weights does the second task start from?",
        "Each task needs weights of its own: new tensors p - inner_lr * g with torch.func.functional_call, or a "
        "copy.deepcopy of the network, whose gradients are then added to those of the network.",
        "With functional_call: collect the query losses of all tasks, and after the loop call zero_grad(), "
        "backward() on their mean, and optimizer.step(), once each.",
    ),
    cases=META_STEP_CASES,
    examine=_examine_meta_step,
    in_place="It changes the tasks' data in place. The next epoch would train on the changed data. Make new tensors.",
)


# make_learner

MAKE_LEARNER_CASES = [
    Case(what="lr = 0.01", make=lambda: (0.01,)),
    Case(what="lr = 0.003", make=lambda: (0.003,)),
]


def _batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    batches = []
    for size in (5, 5, 7, 3, 6, 4):
        x = 2 * torch.randn(size, 1, generator=generator, dtype=torch.float32)
        batches.append((x, torch.sin(x) - 0.5))
    return batches


def _trained(network: nn.Module, lr: float, how: str) -> tuple[list[float], Tensor]:
    """Return the losses, and the parameters at the end, of some steps of Adam with a mistake."""
    params = list(network.parameters())
    make = {
        "SGD": lambda: torch.optim.SGD(params, lr=lr),
        "AdamW": lambda: torch.optim.AdamW(params, lr=lr),
        "momentum": lambda: torch.optim.SGD(params, lr=lr, momentum=0.9),
        "RMSprop": lambda: torch.optim.RMSprop(params, lr=lr),
        "rate": lambda: torch.optim.Adam(params),
    }.get(how, lambda: torch.optim.Adam(params, lr=lr))
    optimizer, losses = make(), []
    for p in params:
        p.grad = None
    for x, y in _batches():
        optimizer = make() if how == "new" else optimizer
        loss = F.mse_loss(network(x), y)
        if how == "absolute":
            loss = F.l1_loss(network(x), y)
        if how == "sum":
            loss = F.mse_loss(network(x), y, reduction="sum")
        if how != "kept":
            optimizer.zero_grad()
        loss.backward()
        for _ in range(2 if how == "twice" else 1):
            optimizer.step()
        losses.append(F.mse_loss(network(x), y).item() if how == "after" else loss.item())
    return losses, torch.cat([p.detach().flatten() for p in params])


OF_STEPS = {
    "new": (
        "The optimizer is made anew in each step. Adam's means of past gradients start at zero again, and every step "
        "is its first one: each weight moves by lr, whatever its gradient. Make it once, outside of `step`."
    ),
    "SGD": "The steps are those of plain SGD. Adam was asked for: torch.optim.Adam.",
    "momentum": "The steps are those of SGD with momentum. Adam was asked for: torch.optim.Adam.",
    "RMSprop": "The steps are those of RMSprop. Adam was asked for: torch.optim.Adam.",
    "AdamW": "The steps are those of AdamW, which also shrinks the weights. Adam was asked for: torch.optim.Adam.",
    "rate": "The learning rate is Adam's default, 0.001, whatever lr is. Hand `lr` over to the optimizer.",
    "kept": "The gradients of all earlier steps are still there and add up. Where does zero_grad() belong?",
    "twice": "Each call takes two steps of the optimizer. One is asked for.",
    "absolute": "The loss is the mean absolute error. The mean squared error is asked for.",
    "sum": (
        "The loss is the sum of the squared errors, so a larger batch has a larger loss. The mean is asked for: it is "
        "mse_loss as it stands."
    ),
    "after": "It returns the loss after the step. The loss that the step was computed from is asked for.",
}


def _examine_make_learner(attempt: Callable) -> None:
    limit = TimeLimit(10.0)
    for case in MAKE_LEARNER_CASES:
        (lr,) = case.make()
        network, step = _pair(attempt(lr))
        _expect_network(network)
        start = copy.deepcopy(network)
        losses = [_call(limit, step, x, y, n) for n, (x, y) in enumerate(_batches(), start=1)]
        _expect_training(start, network, lr, losses, case)
        other, other_step = _pair(attempt(lr))
        if other is network:
            raise Wrong(
                "Called twice, it returns the same network, which the first training has changed already. Make the "
                "network, and its optimizer, inside of make_learner."
            )
        _expect_negative(limit, other, other_step, lr)


def _pair(made: Any) -> tuple[nn.Module, Callable]:
    if not isinstance(made, tuple | list) or len(made) != 2:
        raise Wrong(f"It should return two things, network and step; yours is {describe(made)}.")
    network, step = made
    if isinstance(step, nn.Module) and not isinstance(network, nn.Module):
        raise Wrong("network and step come in the wrong order. The network is the first one.")
    if not isinstance(network, nn.Module):
        raise Wrong(
            f"The first thing that it returns should be a network, a torch.nn.Module; yours is {_kind(network)}."
        )
    if not callable(step):
        raise Wrong(
            f"The second thing that it returns should be the function step itself; yours is {_kind(step)}. Was it "
            "called already?"
        )
    if not list(network.parameters()):
        raise Wrong("The network has no parameters, so that there is nothing to train.")
    return network, step


def _kind(value: Any) -> str:
    return "a function" if callable(value) else describe(value)


def _call(limit: TimeLimit, step: Callable, x: Tensor, y: Tensor, n: int) -> float:
    which = {1: "first", 2: "second", 3: "third"}.get(n, f"{n}th")
    try:
        result = limit.run(step, (x.clone(), y.clone()))
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise Wrong(f"The {which} call of step stops with {type(error).__name__}: {first}") from None
    if result is None:
        raise Wrong("step(x, y) returns nothing. It should return the loss as a float.")
    return _loss_of(result, "What step returns")


def _output(network: nn.Module, x: Tensor) -> Tensor:
    try:
        with torch.no_grad():
            out = network(x)
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise Wrong(f"With x of shape {list(x.shape)}, network(x) stops with {type(error).__name__}: {first}") from None
    if not isinstance(out, Tensor) or out.shape != x.shape:
        raise Wrong(f"With x of shape {list(x.shape)}, network(x) is {describe(out)}; the shape should be the same.")
    return out


def _expect_network(network: nn.Module) -> None:
    _output(network, torch.zeros(3, 1))
    x = torch.linspace(-10, 10, 401)[:, None]
    out = _output(network, x)[:, 0].double()
    bends = (out[2:] - 2 * out[1:-1] + out[:-2]).abs().max()
    if out.abs().max() > 0 and bends <= 1e-5 * out.abs().max():
        raise Wrong(
            "The network is a straight line: its output is a linear function of x, which cannot fit a wave. Is the "
            "ReLU between its layers missing?"
        )


def _expect_training(start: nn.Module, trained: nn.Module, lr: float, losses: list[float], case: Case) -> None:
    end = torch.cat([p.detach().flatten() for p in trained.parameters()])

    def same(how: str) -> tuple[bool, bool]:
        their_losses, their_end = _trained(copy.deepcopy(start), lr, how)
        return (
            torch.allclose(torch.tensor(losses), torch.tensor(their_losses), rtol=1e-4, atol=1e-7),
            torch.allclose(end, their_end, rtol=1e-4, atol=1e-2 * lr),
        )

    loss, steps = same("right")
    if loss and steps:
        return
    if torch.equal(end, torch.cat([p.detach().flatten() for p in start.parameters()])):
        raise Wrong(
            "The network that it returns does not change when step is called. Does the step train another network, or "
            "are the gradients cleared between backward() and the optimizer's step?"
        )
    for how, says in OF_STEPS.items():
        if all(same(how)):
            if _clipped(start):
                says = f"{says} {CLIPPED}"
            raise Wrong(says)
    still = [
        name
        for (name, p), (_, q) in zip(trained.named_parameters(), start.named_parameters(), strict=True)
        if torch.equal(p, q)
    ]
    if still:
        raise Wrong(
            f"Some parameters of the network never move: {', '.join(still)}. The optimizer needs all of "
            "network.parameters()."
        )
    if steps:
        raise Wrong(
            f"The steps are right, but what step returns, {losses[0]:.6g} at first, is not the mean squared error "
            "before the step."
        )
    raise Wrong(
        f"With {case.what}, six calls of step do not lead where six steps of Adam on the mean squared error do."
    )


CLIPPED = (
    "And the network's output is never negative, so that it cannot fit a wave's lower half. Is there a ReLU, or "
    "something like it, after its last layer?"
)


def _clipped(network: nn.Module) -> bool:
    """Tell whether no output is negative, and all targets below zero are out of reach."""
    if list(network.parameters())[-1].numel() != 1:  # its last layer has no bias
        return bool((_output(network, torch.linspace(-10, 10, 401)[:, None]) >= 0).all())
    twin = copy.deepcopy(network)
    with torch.no_grad():
        list(twin.parameters())[-1].fill_(-100.0)  # a bias of the last layer
    return bool((_output(twin, torch.linspace(-10, 10, 401)[:, None]) >= -1).all())


def _expect_negative(limit: TimeLimit, network: nn.Module, step: Callable, lr: float) -> None:
    """Raise `Wrong` unless the network can learn targets below zero."""
    x = torch.linspace(-2, 2, 9)[:, None]
    y = torch.full_like(x, -1.5)
    steps = int(4 / lr)
    for n in range(1, steps + 1):
        loss = _call(limit, step, x, y, n)
        if loss < 0.1:
            return
    out = float(_output(network, x).mean())
    if bool((_output(network, x) >= 0).all()):
        raise Wrong(
            f"After {steps} steps on targets of -1.5, the network's outputs are still {out:.3g} on average, and none "
            "is negative. A ReLU, or something like it, after the last layer cuts off every negative number, and "
            "sends back no gradient from there. Leave it out: the last layer is a linear one."
        )
    raise Wrong(
        f"After {steps} steps on targets of -1.5, the network's outputs are {out:.3g} on average. Does something bound "
        "its output, as a tanh after the last layer would?"
    )


make_learner = Exercise(
    answer=solutions.make_learner,
    difficulty="easy",
    minutes=8,
    statement=(
        "Return a network from [B, 1] to [B, 1] with a hidden layer and ReLU, and a function step(x, y), which takes "
        "one step of one and the same Adam on the mean squared error and returns the loss as a float."
    ),
    hints=(
        "Two lines are in the wrong place: one in the network, and one in the training step. What can the output of "
        "the network be, and how long does the optimizer live?",
        "A wave has negative values, so the last layer is linear, without a ReLU. Adam remembers earlier gradients, so "
        "there is one Adam for all steps.",
        "Make the network and torch.optim.Adam(network.parameters(), lr=lr) first. The inner function step(x, y) uses "
        "both: zero_grad(), backward(), step(), return loss.item().",
    ),
    cases=MAKE_LEARNER_CASES,
    examine=_examine_make_learner,
)


# dense_step


class _Layers(nn.Sequential):
    """Dense layers 784-64-64-10 whose parameters carry the gradient of a batch before, and which know their start."""

    def __init__(self, seed: int) -> None:
        super().__init__(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        _filled(self.float(), seed, scale=0.1)
        self.start = [p.detach().clone() for p in self.parameters()]


def _dense_step_case(batch: int, lr: float, decay: float) -> Case:
    def make() -> tuple[nn.Module, torch.optim.Optimizer, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(batch)
        layers = _Layers(batch)
        pictures = torch.rand(batch, 1, 28, 28, generator=generator, dtype=torch.float32)
        labels = torch.randint(10, (batch,), generator=generator)
        return layers, torch.optim.SGD(layers.parameters(), lr=lr, weight_decay=decay), pictures, labels

    return Case(what=f"{batch} pictures", make=make, sizes={"the number of pictures": batch})


DENSE_STEP_CASES = [_dense_step_case(6, 0.1, decay=0.0), _dense_step_case(9, 0.03, decay=0.2)]


def _dense_step(
    layers: nn.Module,
    optimizer: torch.optim.Optimizer,
    pictures: Tensor,
    labels: Tensor,
    *,
    logits: str = "logits",
    reduction: str = "mean",
    loss: str = "cross-entropy",
    steps: str = "one",
    gradients: str = "cleared",
    returns: str = "before",
    pixels: str = "in order",
) -> float:
    """Take the step, or what comes of the mistakes that the keywords name. Return the loss."""
    x = pictures.flatten(1)
    if pixels == "mixed":
        x = pictures.reshape(784, -1).T
    if pixels == "transposed":
        x = pictures.mT.flatten(1)
    groups = zip(x.split(1), labels.split(1), strict=True) if steps.startswith("each") else [(x, labels)]
    groups = {"first": [(x[:1], labels[:1])], "last": [(x[-1:], labels[-1:])]}.get(steps, groups)

    def value(x: Tensor, labels: Tensor) -> Tensor:
        out = layers(x)
        out = {
            "softmax": lambda: out.softmax(1),
            "over batch": lambda: out.log_softmax(0),
            "sigmoid": lambda: out.sigmoid(),
            "relu": lambda: out.relu(),
            "minus": lambda: -out,
        }.get(logits, lambda: out)()
        if loss == "squared":
            return F.mse_loss(out.softmax(1), F.one_hot(labels, 10).float())
        if loss.startswith("nll"):
            return F.nll_loss(out.softmax(1) if loss == "nll of softmax" else out, labels)
        return F.cross_entropy(out, labels, reduction=reduction)

    values = []
    for part, of in groups:
        if gradients != "added":
            optimizer.zero_grad()
        total = value(part, of)
        total.backward()
        if gradients == "lost":
            optimizer.zero_grad()
        for _ in range({"none": 0, "twice": 2}.get(steps, 1)):
            optimizer.step()
        values.append(total.item())
    if returns == "after":
        with torch.no_grad():
            return value(x, labels).item()
    if steps == "each, sum":
        return sum(values)
    return values[-1] if steps == "each, last" else sum(values) / len(values)


FOR_EACH = (
    "It steps once for each picture, so that later pictures meet other weights than earlier ones, and the noise of "
    "single pictures rules. One step on the whole batch is asked for."
)
_DENSE_STEP: list[Misconception] = combined(
    _dense_step,
    {
        "logits": {
            "softmax": "softmax is applied before the cross-entropy, which applies it again. Twice, it makes all "
            "classes nearly equally likely, and the gradients tiny. cross_entropy takes the logits as they are.",
            "over batch": "The softmax runs over the pictures (dim=0), and not over the classes of each picture.",
            "sigmoid": "A sigmoid squeezes the logits to between 0 and 1 before the cross-entropy. It takes the "
            "logits as they are.",
            "relu": "A ReLU cuts off the negative logits. The output of the last layer is needed as it is.",
            "minus": "The logits have the wrong sign: the class with the largest one becomes the least likely.",
        },
        "loss": {
            "squared": "The loss is the squared error of the probabilities. The cross-entropy is asked for.",
            "nll of softmax": "nll_loss expects logarithms of probabilities and gets the probabilities themselves. "
            "cross_entropy takes the logits, and does both.",
            "nll": "nll_loss expects logarithms of probabilities and gets logits. cross_entropy takes logits.",
        },
        "reduction": {
            "sum": "The loss is a sum over the pictures: a larger batch makes a longer step. The mean is asked for.",
        },
        "gradients": {
            "added": "The gradients of the batch before are still in .grad, and are added. Call zero_grad() before "
            "backward().",
        },
        "steps": {
            **dict.fromkeys(("each", "each, last", "each, sum"), FOR_EACH),
            "twice": "It takes two steps of the optimizer. One is asked for.",
            "first": "Only the first picture is used. The mean goes over all pictures of the batch.",
            "last": "Only the last picture is used. The mean goes over all pictures of the batch.",
            "none": "The weights do not change: no step of the optimizer follows, or its gradients were cleared just "
            "before it.",
        },
        "returns": {
            "after": "It returns the loss after the step. The loss that the step was computed from is asked for.",
        },
        "pixels": {
            "mixed": "The pixels of different pictures are mixed up: reshaping to [784, B] and transposing is not the "
            "same as flattening each picture. flatten(1) keeps the first axis, the pictures.",
            "transposed": "Rows and columns of each picture are exchanged before it is flattened.",
        },
    },
)
DENSE_STEP_MISTAKES: list[Misconception] = single(_DENSE_STEP) + [
    (says, step)
    for says, step in _DENSE_STEP  # the sick version's own two, and its softmax with another's gradients
    if says.startswith("Two things are wrong. First: softmax") and ("each picture, so" in says or "added" in says)
]

OF_PICTURES = {
    "mat1 and mat2 shapes": (
        "A linear layer takes 784 numbers for each picture, and gets pictures with rows and columns. Flatten each "
        "picture, and keep the axis of the batch: pictures.flatten(1)."
    ),
    "Expected floating point type for target": "cross_entropy takes logits [B, 10] first, and then labels [B].",
    "not implemented for 'Long'": "cross_entropy takes logits [B, 10] first, and then labels [B].",
    "Expected target size": "The logits still have more than the two axes [B, 10]. Was each picture flattened?",
}


def _taken(result: Any, arguments: tuple) -> Numbers:
    layers = arguments[0]
    changes = [(p.detach() - s).flatten() for p, s in zip(layers.parameters(), layers.start, strict=True)]
    return {
        "the loss": torch.tensor(_loss_of(result), dtype=torch.float32),
        "the change of the weights": torch.cat(changes),
    }


def _examine_dense_step(attempt: Callable) -> None:
    agree(
        _with_tips(attempt, OF_PICTURES),
        name="dense_step",
        cases=DENSE_STEP_CASES,
        right=solutions.dense_step,
        numbers=_taken,
        mistakes=DENSE_STEP_MISTAKES,
        tolerance=1e-3,
    )


dense_step = Exercise(
    answer=solutions.dense_step,
    difficulty="medium",
    minutes=8,
    statement=(
        "Take one step of `optimizer` on the mean cross-entropy of the whole batch of pictures [B, 1, 28, 28], and "
        "return the loss before the step as a float."
    ),
    hints=(
        "Three things are wrong: the shape that goes in, what happens to the logits, and how many steps are taken.",
        "pictures.flatten(1) makes [B, 784]. cross_entropy applies the softmax itself, and averages over the batch.",
        "loss = cross_entropy(layers(pictures.flatten(1)), labels), then zero_grad(), backward() and step(), once, and "
        "return loss.item().",
    ),
    cases=DENSE_STEP_CASES,
    examine=_examine_dense_step,
    in_place="It changes the pictures or labels in place. The next epoch would train on the changed ones.",
)


# adapt


def _adapt_case(steps: int, points: int, hidden: int, inner_lr: float, dtype: torch.dtype) -> Case:
    def make() -> tuple[list[Tensor], Tensor, Tensor, float, int]:
        x, y, *_ = _waves(3, points, dtype)[1]
        return _small_mlp(hidden, dtype), x, y, inner_lr, steps

    what = f"{steps} steps and {'double' if dtype == torch.float64 else 'single'} precision"
    return Case(what=what, make=make, sizes={"the number of steps": steps, "inner_lr": inner_lr})


ADAPT_CASES = [
    _adapt_case(3, 4, 6, 0.03, torch.float64),
    _adapt_case(4, 6, 8, 0.015, torch.float32),
    _adapt_case(1, 5, 7, 0.02, torch.float64),
]


def _adapt(
    params: list[Tensor],
    x: Tensor,
    y: Tensor,
    inner_lr: float,
    steps: int,
    *,
    sign: int = 1,
    rate: str = "right",
    loss: str = "mean",
    count: int | None = 0,
    which: str = "all",
    restart: bool = False,
    frozen: bool = False,
    result: str = "end",
) -> list[Tensor]:
    """Adapt as asked, or with the mistakes that the keywords name. No graph is kept."""
    theta, first = [p.detach().requires_grad_() for p in params], None
    last, grads = theta, []
    step = {"right": inner_lr, "squared": inner_lr**2, "missing": 1.0, "shared": inner_lr / steps}[rate]
    for _ in range(1 if count is None else steps + count):
        error = {
            "mean": lambda t=theta: F.mse_loss(mlp(t, x), y),
            "sum": lambda t=theta: F.mse_loss(mlp(t, x), y, reduction="sum"),
            "half": lambda t=theta: F.mse_loss(mlp(t, x), y) / 2,
            "absolute": lambda t=theta: F.l1_loss(mlp(t, x), y),
        }[loss]()
        grads = torch.autograd.grad(error, theta)
        first = grads if first is None else first
        used = first if frozen else grads
        if which == "matrices":
            used = [g if g.dim() == 2 else torch.zeros_like(g) for g in used]
        if which == "head":
            used = [torch.zeros_like(g) if i < len(used) - 2 else g for i, g in enumerate(used)]
        last = theta
        start = params if restart else theta
        theta = [(p - sign * step * g).detach().requires_grad_() for p, g in zip(start, used, strict=True)]
    return {"end": theta, "change": [a - b for a, b in zip(theta, params, strict=True)], "gradient": list(grads)}.get(
        result, last
    )


ADAPT_MISTAKES: list[Misconception] = single(
    combined(
        _adapt,
        {
            "sign": {-1: "It climbs: each inner step adds the gradient, and the loss grows."},
            "rate": {
                "squared": "The learning rate comes into each step twice: the steps are far too short.",
                "missing": "The learning rate is missing: each step is one whole gradient.",
                "shared": "The learning rate is divided by the number of steps. Each step has the whole of it.",
            },
            "loss": {
                "sum": "The inner loss is a sum over the points. With more points, the steps become longer. The "
                "mean is asked for.",
                "half": "The inner loss is half the mean squared error, so that each step is half as long.",
                "absolute": "The inner loss is the mean absolute error. The mean squared error is asked for.",
            },
            "count": {
                -1: "It takes one step too few.",
                1: "It takes one step too many.",
                None: "It takes one step only, whatever `steps` is: either there is no loop, or every step starts from "
                "`params` and takes the gradient there.",
            },
            "which": {
                "matrices": "The biases do not adapt, only the weight matrices do. The step goes over all of params.",
                "head": "Only the last layer adapts. That is ANIL, another algorithm: the step goes over all of "
                "params.",
            },
            "restart": {
                True: "Every step starts from `params` again, so that only the last one counts. A step starts "
                "where the step before it ended."
            },
            "frozen": {
                True: "Every step uses the gradient at the start. Compute it anew in each step, at the parameters "
                "of that step."
            },
            "result": {
                "change": "It returns how far the parameters moved. Where they arrived is asked for.",
                "gradient": "It returns the last gradients. The parameters after the steps are asked for.",
            },
        },
    )
)


def _adapted(result: Any, arguments: tuple) -> Numbers:
    return numbers_of(result, arguments[0], "the adapted parameters")


def _examine_adapt(attempt: Callable) -> None:
    def tried(params: list[Tensor], *others: Any) -> Any:
        before = grads_of((params,))
        result = attempt(params, *others)
        if not equal_grads(before, grads_of((params,))):
            raise Wrong(GRAD_LEFT)
        return result

    tried = _with_tips(tried, OF_LISTS)
    agree(tried, name="adapt", cases=ADAPT_CASES, right=solutions.adapt, numbers=_adapted, mistakes=ADAPT_MISTAKES)
    for steps in (1, 2, 3):

        def meta_loss(params: list[Tensor], tasks: list[Task], inner_lr: float, steps: int = steps) -> Tensor:
            losses = [F.mse_loss(mlp(tried(params, sx, sy, inner_lr, steps), qx), qy) for sx, sy, qx, qy in tasks]
            return torch.stack(losses).mean()

        found = diagnose(meta_loss, Problem.sine(inner_steps=steps))
        if found.order == 1:
            raise Wrong(FIRST_ORDER)
        if found.order is None:
            says = COPY_IN_PLACE if found.says == IN_PLACE else found.says
            through = f"{steps} step{'s' if steps > 1 else ''}"
            raise Wrong(f"The numbers are right, but the meta-gradient through {through} is not. {says}")


adapt = Exercise(
    answer=solutions.adapt,
    difficulty="medium",
    minutes=8,
    statement=(
        "Return the parameters after some inner steps, connected to `params` by the graph, so that a loss at the "
        "result gives the second-order meta-gradient."
    ),
    hints=(
        "The numbers are right already. What does autograd still know of how the inner gradient was computed?",
        "A gradient that is to be differentiated again has to be computed with a graph of its own. "
        "torch.autograd.grad has an argument for that.",
        "torch.autograd.grad(loss, params, create_graph=True), and no detach(), .data or no_grad on the way. Each step "
        "makes new tensors.",
    ),
    cases=ADAPT_CASES,
    examine=_examine_adapt,
    in_place=(
        "It changes `params` in place, as an optimizer's step and p -= … do. The start is then gone, and autograd "
        "cannot follow. Make new tensors in each step."
    ),
    imports="from metalab.analysis.diagnosis import mlp",
)
