"""The exercises of the sine lesson that put its steps to use: the training loop, a longer inner loop, and a fair test.

The first three exercises are in `exercises.py`, which lists these too.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..kit.comparing import Case, Misconception, Trial, Wrong, agree, describe, number, with_help
from ..kit.exercise import Exercise
from . import solutions
from .checks import (
    ADVICE,
    NAMES,
    Task,
    alone,
    and_,
    change_of,
    compare_gradients,
    expect_graph,
    expect_lists_kept,
    expect_params_untouched,
    fresh_params,
    fresh_task,
    in_pairs,
    meta_gradient,
    mse,
)

# meta_train


class Draw:
    """Draws fresh tasks at each call, as the lesson does, and counts the calls."""

    def __init__(self, tasks: int, shots: int, queries: int, seed: int) -> None:
        self.sizes, self.generator = (shots, queries), torch.Generator().manual_seed(seed)
        self.tasks, self.calls = tasks, 0

    def __call__(self) -> list[Task]:
        self.calls += 1
        return [fresh_task(*self.sizes, torch.float64, self.generator) for _ in range(self.tasks)]


class Watch:
    """Keeps the losses that it is told."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def __call__(self, loss: Any) -> None:
        if isinstance(loss, Tensor) and loss.requires_grad:
            raise Wrong(
                "It hands the loss to `watch` as a tensor with its graph. All the graphs would be kept in memory, one "
                "of each meta-step. Hand over the number, loss.item()."
            )
        self.losses.append(number(loss, "The loss that `watch` is told"))


MetaTraining = tuple[list[Tensor], Draw, int, float, float, Watch]  # the arguments of meta_train


def _meta_loss(
    params: list[Tensor], tasks: list[Task], inner_lr: float, *, create_graph: bool = True, adapted: bool = True
) -> Tensor:
    losses = []
    for support_x, support_y, query_x, query_y in tasks:
        new = params
        if adapted:
            gradients = torch.autograd.grad(mse(params, support_x, support_y), params, create_graph=create_graph)
            new = [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]
        losses.append(mse(new, query_x, query_y))
    return torch.stack(losses).mean()


def _on_the_support(params: list[Tensor], tasks: list[Task], inner_lr: float) -> Tensor:
    return torch.stack([mse(params, *task[:2]) for task in tasks]).mean()


def _adam(params: list[Tensor], rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, lr=rate)


def _cleared_before_use(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()


def _usual(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _without_clearing(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    loss.backward()
    optimizer.step()


def _twice(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    _usual(optimizer, loss)
    optimizer.step()


def _clipped(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
    optimizer.step()


def _train_variant(
    params: list[Tensor],
    draw: Draw,
    steps: int,
    inner_lr: float,
    outer_lr: float,
    watch: Watch,
    *,
    optimizer: Callable[[list[Tensor], float], torch.optim.Optimizer] = _adam,
    renewed: bool = False,
    rates: Callable[[float, float], tuple[float, float]] = lambda inner_lr, outer_lr: (inner_lr, outer_lr),
    loss: Callable[[list[Tensor], list[Task], float], Tensor] = _meta_loss,
    sign: int = 1,
    update: Callable[[torch.optim.Optimizer, Tensor], None] = _usual,
    told: Callable[[list[float]], float] = lambda losses: losses[-1],
    told_late: bool = False,
    moving: tuple[int, ...] = (0, 1, 2, 3, 4, 5),
    returned: Callable[[list[list[Tensor]], list[float]], list[Tensor]] = lambda path, losses: path[-1],
) -> list[Tensor]:
    """Train as MAML does, unless a switch makes it wrong.

    Args:
        params, draw, steps, inner_lr, outer_lr, watch: the arguments of the exercise.
        optimizer: makes the optimizer from the parameters and its rate.
        renewed: whether each meta-step has a new optimizer.
        rates: the inner and the outer rate that are used.
        loss: the loss of parameters on tasks.
        sign: −1 climbs.
        update: what is done with the optimizer and the loss.
        told: what `watch` is told, from the losses so far.
        told_late: whether `watch` is told the loss after the step.
        moving: the numbers of the parameters that the optimizer is given.
        returned: what comes back, from the parameters before each meta-step and after the last, and the losses.
    """
    params = [p.detach().clone().requires_grad_() for p in params]
    inner, outer = rates(inner_lr, outer_lr)
    trained = [params[i] for i in moving]
    adam = optimizer(trained, outer)
    path, losses = [[p.detach().clone() for p in params]], []
    for _ in range(steps):
        if renewed:
            adam = optimizer(trained, outer)
        tasks = draw()
        value = loss(params, tasks, inner)
        update(adam, sign * value)
        losses.append((loss(params, tasks, inner) if told_late else value).item())
        watch(told(losses))
        path.append([p.detach().clone() for p in params])
    return returned(path, losses)


def _kind(kind: Callable[..., torch.optim.Optimizer], **options: Any) -> Callable:
    return lambda params, rate: kind(params, lr=rate, **options)


OTHER_OPTIMIZER = (
    "{} takes the outer steps, and the lesson uses Adam. The curves of the two cannot be compared. Use {}."
)
ADAM = "torch.optim.Adam(params, lr=outer_lr)"
FIXED = "The outer rate {} is used whatever outer_lr is. Hand outer_lr over to the optimizer, as lr=outer_lr."
META_TRAIN_SWITCHES: dict[str, dict[Any, str]] = {
    "optimizer": {
        _kind(torch.optim.SGD): OTHER_OPTIMIZER.format("Plain gradient descent (SGD)", ADAM),
        _kind(torch.optim.SGD, momentum=0.9): OTHER_OPTIMIZER.format("Gradient descent with momentum", ADAM),
        _kind(torch.optim.AdamW): OTHER_OPTIMIZER.format("AdamW, which shrinks the parameters in each step,", ADAM),
        _kind(torch.optim.RMSprop): OTHER_OPTIMIZER.format("RMSprop", ADAM),
        _kind(torch.optim.Adagrad): OTHER_OPTIMIZER.format("Adagrad", ADAM),
        _kind(torch.optim.Adam, amsgrad=True): OTHER_OPTIMIZER.format("Adam's variant AMSGrad", ADAM),
        **{
            (lambda params, rate, fixed=fixed: torch.optim.Adam(params, lr=fixed)): FIXED.format(fixed)
            for fixed in (0.001, 0.01, 0.1)
        },
    },
    "renewed": {
        True: "Each meta-step makes a new optimizer, and Adam loses its memory: the running means of the gradient and "
        "of its square. Make the optimizer once, before the loop.",
    },
    "rates": {
        lambda inner, outer: (outer, inner): "The two learning rates are exchanged. The inner rate belongs to "
        "meta_loss, and the outer rate to Adam.",
        lambda inner, outer: (inner, inner): "Adam is given the inner learning rate. The outer steps have a rate of "
        "their own, outer_lr.",
        lambda inner, outer: (outer, outer): "The inner steps are taken with the outer learning rate. Hand inner_lr "
        "over to meta_loss.",
        lambda inner, outer: (0.01, outer): "The inner rate 0.01 is written into the code, so it is used whatever "
        "inner_lr is. Use the argument.",
    },
    "loss": {
        functools.partial(_meta_loss, create_graph=False): "The meta-gradient is that of first-order MAML: the inner "
        "gradients were constants for autograd. Call meta_loss from above, which keeps their graph.",
        functools.partial(_meta_loss, adapted=False): "The loss is that of the unadapted parameters, on the query "
        "sets. That is joint training, in which no inner step has a part. Call meta_loss.",
        _on_the_support: "The loss is that of the unadapted parameters, on the support sets. MAML minimises the query "
        "loss after adapting. Call meta_loss.",
        lambda params, tasks, inner_lr: len(tasks) * _meta_loss(params, tasks, inner_lr): "The losses of the tasks are "
        "added up and not averaged, so the curve depends on how many there are. Call meta_loss, which takes the mean.",
        lambda params, tasks, inner_lr: _meta_loss(params, tasks[:1], inner_lr): "Only the first task of each draw is "
        "used. Hand the whole list that draw() returns to meta_loss.",
        lambda params, tasks, inner_lr: _meta_loss(params, tasks[-1:], inner_lr): "Only the last task of each draw is "
        "used. Hand the whole list that draw() returns to meta_loss.",
    },
    "sign": {-1: "It climbs: the steps make the meta-loss larger. Is there a minus before the loss?"},
    "update": {
        _without_clearing: "The gradients of all meta-steps so far add up, because backward() adds to what is in "
        ".grad. Clear it in each meta-step, with optimizer.zero_grad().",
        _cleared_before_use: "Nothing is learned: the start comes back as it went in. Is the gradient cleared between "
        "backward() and step(), or is step() never called?",
        _twice: "The optimizer takes two steps in each meta-step, along the same gradient. Call step() once.",
        _clipped: "The meta-gradient is clipped. The lesson does not clip it, and the curves could not be compared. "
        "Leave it as backward() makes it.",
    },
    "told": {
        lambda losses: sum(losses): "`watch` is told the sum of all losses so far. Tell it the loss of this meta-step.",
        lambda losses: sum(losses) / len(losses): "`watch` is told the mean of all losses so far. Tell it the loss of "
        "this meta-step: the curve is smoothed where it is drawn.",
        lambda losses: losses[0]: "`watch` is told the first loss in every meta-step. Tell it the newest.",
        lambda losses: min(losses): "`watch` is told the lowest loss so far. Tell it the loss of this meta-step.",
        lambda losses: losses[-1] ** 0.5: "`watch` is told the root of the loss. Tell it the loss itself.",
    },
    "told_late": {
        True: "`watch` is told the loss after the outer step, on the tasks that this step has just learned from. That "
        "flatters the curve. Tell it the loss that the step was made from.",
    },
    "moving": {
        (
            0,
            2,
            4,
        ): "Only the weights are trained, and the biases stay as they were. Hand all of the parameters to Adam.",
        (4, 5): "Only the last layer is trained. Hand all of the parameters to Adam.",
        (0, 1, 2, 3): "The last layer is not trained. Hand all of the parameters to Adam.",
    },
    "returned": {
        lambda path, losses: path[
            -2
        ]: "The last meta-step is missing from what comes back. Return the parameters after the loop.",
        lambda path, losses: path[min(range(len(losses)), key=losses.__getitem__)]: "The parameters with the lowest "
        "loss come back. That loss was low because its tasks were easy, too. Return the parameters after the last "
        "meta-step.",
        lambda path, losses: [torch.stack(ps).mean(0) for ps in zip(*path, strict=True)]: "The mean of the parameters "
        "over the training comes back. Return those after the last meta-step.",
        lambda path, losses: [new - old for new, old in zip(path[-1], path[0], strict=True)]: "The change of the "
        "parameters comes back. Return the trained parameters themselves.",
    },
}
# A training that changes nothing but tells other losses is known by the losses, so these pairs can be told apart.
LIKELY_PAIRS = {
    name: dict(list(META_TRAIN_SWITCHES[name].items())[:count])
    for name, count in {"optimizer": 1, "renewed": 1, "rates": 3, "loss": 3, "update": 1, "told": 3}.items()
}


def _one_task_after_another(
    params: list[Tensor], draw: Draw, steps: int, inner_lr: float, outer_lr: float, watch: Watch
) -> list[Tensor]:
    params = [p.detach().clone().requires_grad_() for p in params]
    adam = _adam(params, outer_lr)
    for _ in range(steps):
        losses = []
        for task in draw():
            losses.append(_meta_loss(params, [task], inner_lr))
            _usual(adam, losses[-1])
        watch(sum(loss.item() for loss in losses) / len(losses))
    return params


def _fine_tuned_in_turn(
    params: list[Tensor], draw: Draw, steps: int, inner_lr: float, outer_lr: float, watch: Watch
) -> list[Tensor]:
    for _ in range(steps):
        tasks = draw()
        watch(_meta_loss(params, tasks, inner_lr).item())
        for task in tasks:
            params = [p.detach().requires_grad_() for p in solutions.inner_step(params, *task[:2], inner_lr)]
    return params


META_TRAIN_NAMED: list[Misconception] = [
    (
        "It takes an outer step for each task. A meta-step is one step, along the mean over all the tasks that draw() "
        "returns. Hand the whole list to meta_loss.",
        _one_task_after_another,
    ),
    (
        "The start itself moves by inner steps, from one task to the next. That is fine-tuning in turn, and the start "
        "ends wherever the last tasks pulled it. It should move along the meta-gradient, by Adam.",
        _fine_tuned_in_turn,
    ),
]
META_TRAIN_MISTAKES: list[Misconception] = alone(_train_variant, META_TRAIN_SWITCHES) + META_TRAIN_NAMED
META_TRAIN_PAIRS: list[Misconception] = in_pairs(_train_variant, LIKELY_PAIRS)


def _meta_train_case(
    steps: int, tasks: int, shots: int, queries: int, widths: tuple[int, int], rates: tuple[float, float], seed: int
) -> Case:
    inner_lr, outer_lr = rates

    def make() -> MetaTraining:
        params = fresh_params(widths, 0.4, torch.float64, torch.Generator().manual_seed(seed))
        return params, Draw(tasks, shots, queries, seed + 1), steps, inner_lr, outer_lr, Watch()

    sizes = {"the number of meta-steps": steps, "the number of tasks": tasks}
    return Case(what=f"{steps} meta-steps of {tasks} tasks", make=make, sizes=sizes)


META_TRAIN_CASES = [
    _meta_train_case(5, 3, 6, 4, (7, 6), (0.03, 0.02), seed=3),
    _meta_train_case(7, 4, 5, 8, (5, 9), (0.05, 0.007), seed=8),
]


def _training(trained: Any, arguments: MetaTraining) -> dict[str, Tensor]:
    """Return the losses that `watch` was told, and the change of each parameter."""
    _params, draw, steps, _inner_lr, _outer_lr, watch = arguments
    wanted = f"The training should have {steps} meta-steps"
    if not draw.calls:
        raise Wrong(
            "It never calls draw(), so that there are no tasks to learn from. Draw fresh ones in each meta-step."
        )
    if draw.calls == 1:
        raise Wrong(
            "It calls draw() once only, so that all meta-steps see the same tasks. The start would fit these few waves "
            "and no others. Call draw() inside the loop."
        )
    if draw.calls != steps:
        raise Wrong(
            f"{wanted}, each with tasks of its own, and draw() was called {draw.calls} times. Does the loop run over "
            "range(steps), and does it call draw() once each time?"
        )
    if not watch.losses:
        raise Wrong("It never calls watch(loss), so that no curve is drawn. Call it once in each meta-step.")
    if len(watch.losses) != steps:
        raise Wrong(f"{wanted}, and watch(loss) was called {len(watch.losses)} times. Call it once in each meta-step.")
    losses = torch.tensor(watch.losses, dtype=torch.float64)
    return {"the losses": losses} | change_of(trained, arguments)


def _examine_meta_train(attempt: Callable) -> None:
    advice = ADVICE | {
        "can't optimize a non-leaf": "Adam needs tensors that are not computed from others: p.detach().clone() makes "
        "one of p.",
        "optimizer got an empty parameter list": "The list of parameters was read to its end before. Make a list of "
        "it, not a generator.",
        "modified by an inplace operation": "Is step() called before backward()? The order is zero_grad(), backward(), "
        "step().",
        "'int' object is not iterable": "`steps` is a number. Loop over range(steps).",
        "'Draw' object": "`draw` is a function: draw() returns the tasks of the next meta-step.",
    }

    def watched(*arguments: Any) -> Any:
        result = attempt(*arguments)
        if any(p.grad is not None for p in arguments[0]):
            raise Wrong(
                "The gradients arrive in the given `params` and not in your copies, so that Adam has nothing to work "
                "with. Which list do you hand to meta_loss?"
            )
        expect_params_untouched(arguments[0])
        return result

    # A stop inside `watch` or inside the reader's code says where; what `watch` refuses is told as it is.
    watched = _refusals_told(with_help(expect_lists_kept(watched, meta_train.in_place), advice))
    for case in META_TRAIN_CASES[:1]:
        arguments = case.make()
        _expect_all_trained(_training(watched(*arguments), arguments))
    agree(
        watched,
        name="meta_train",
        cases=META_TRAIN_CASES,
        right=solutions.meta_train,
        numbers=_training,
        mistakes=META_TRAIN_MISTAKES + META_TRAIN_PAIRS,
    )


def _refusals_told(attempt: Callable) -> Callable:
    """Wrap the reader's function, so that what `Watch` raises is told in its own words."""

    def call(*arguments: Any) -> Any:
        try:
            return attempt(*arguments)
        except Wrong as wrong:
            text = str(wrong)
            if text.startswith("It stopped with Wrong: "):
                raise Wrong(text.removeprefix("It stopped with Wrong: ").rpartition(", at line ")[0] or text) from None
            raise

    return call


def _expect_all_trained(numbers: Mapping[str, Tensor]) -> None:
    """Raise `Wrong` if single parameters, but not one of the known groups, stay as they were."""
    fixed = [i for i, name in enumerate(NAMES) if not numbers[f"the change of {name}"].any()]
    known = [tuple(i for i in range(len(NAMES)) if i not in moving) for moving in META_TRAIN_SWITCHES["moving"]]
    if 0 < len(fixed) < len(NAMES) and tuple(fixed) not in known:
        raise Wrong(f"Not all parameters are trained: {and_([NAMES[i] for i in fixed])} stay as they were.")


meta_train = Exercise(
    answer=solutions.meta_train,
    difficulty="medium",
    minutes=10,
    statement=(
        "Write MAML's training loop: in each meta-step, draw tasks, compute the meta-loss, and let Adam move the "
        "starting point along its gradient."
    ),
    hints=(
        "It is the training loop that you know from PyTorch, with meta_loss in the place of the loss, and draw() in "
        "the place of the next batch.",
        "Before the loop, make your own leaves, [p.detach().clone().requires_grad_() for p in params], and one Adam "
        "for them, with lr=outer_lr.",
        "Inside: loss = meta_loss(params, draw(), inner_lr), then zero_grad(), backward(), step(), and "
        "watch(loss.item()). After the loop, return the list.",
    ),
    cases=META_TRAIN_CASES,
    examine=_examine_meta_train,
    in_place=(
        "It trains the very tensors that it was given. The lesson starts another training from them, to compare the "
        "two, and would start from yours. Train copies: p.detach().clone()."
    ),
)


# inner_loop


def _steps_variant(
    params: list[Tensor],
    x: Tensor,
    y: Tensor,
    inner_lr: float,
    steps: int,
    *,
    count: Callable[[int], int] = lambda steps: steps,
    rate: Callable[[float, int, int], float] = lambda inner_lr, step, steps: inner_lr,
    points: Callable[[Tensor, int], Tensor] = lambda x_or_y, step: x_or_y,
    again: bool = False,
    same: bool = False,
    velocity: float = 0.0,
    result: Callable[[list[list[Tensor]]], list[Tensor]] = lambda path: path[-1],
) -> list[Tensor]:
    """Take the steps of an inner loop, which have the right values unless a switch makes them wrong.

    Args:
        params, x, y, inner_lr, steps: the arguments of the exercise.
        count: how many steps are taken.
        rate: the rate of a step, from inner_lr, the step's number from 0, and the number of steps.
        points: which points a step uses.
        again: whether each step sets out from `params`.
        same: whether each step subtracts the gradient of the first.
        velocity: the momentum.
        result: what comes back, from the parameters before each step and after the last.
    """
    first = [p.detach().requires_grad_() for p in params]
    path, gradients, momentum = [first], None, [torch.zeros_like(p) for p in first]
    for step in range(count(steps)):
        start = first if again else path[-1]
        if gradients is None or not same:
            gradients = torch.autograd.grad(mse(start, points(x, step), points(y, step)), start)
        momentum = [velocity * m + g for m, g in zip(momentum, gradients, strict=True)]
        moved = [p - rate(inner_lr, step, steps) * m for p, m in zip(path[-1], momentum, strict=True)]
        if again:
            moved = [p - rate(inner_lr, step, steps) * m for p, m in zip(first, momentum, strict=True)]
        path.append([p.detach().requires_grad_() for p in moved])
    return [p.detach() for p in result(path)]


INNER_LOOP_SWITCHES: dict[str, dict[Any, str]] = {
    "again": {
        True: "Each step sets out from `params` again, so the result is that of one step. Which list does the next "
        "step start from?",
    },
    "count": {
        lambda steps: steps - 1: "It takes one step too few. Does the loop run over range(steps)?",
        lambda steps: steps + 1: "It takes one step too many. Does the loop run over range(steps), and is there a step "
        "outside it?",
        lambda steps: 2 * steps: "It takes twice as many steps as it should.",
        **{
            (lambda steps, fixed=fixed: fixed): f"It takes {fixed} steps, whatever `steps` is. Use the argument."
            for fixed in (2, 5, 10)
        },
        lambda steps: 0: "It returns the parameters as they were: no step was taken, or its result is lost.",
    },
    "rate": {
        lambda lr, step, steps: lr / steps: "The rate is divided by the number of steps. Each step has the whole "
        "inner_lr.",
        lambda lr, step, steps: lr * steps: "The rate is multiplied by the number of steps. Each step has inner_lr.",
        lambda lr, step, steps: lr / (step + 1): "The rate falls from step to step. Each step has the same inner_lr.",
        lambda lr, step, steps: lr * (step + 1): "The rate grows from step to step. Each step has the same inner_lr.",
        lambda lr, step, steps: lr ** (step + 1): "The rate is a higher power of inner_lr in each step. Each step has "
        "inner_lr itself.",
        lambda lr, step, steps: 0.01: "The rate 0.01 is written into the code. Use inner_lr.",
        lambda lr, step, steps: -lr: "It climbs: the steps go along the gradient. inner_step takes care of the sign.",
    },
    "same": {
        True: "Every step subtracts the same gradient, that of the first step. The gradient is another one after each "
        "step: call inner_step each time.",
    },
    "velocity": {
        0.9: "The steps have momentum: the gradients of earlier steps go on pushing. The inner loop is plain "
        "gradient descent.",
        1.0: "The gradients of all steps so far add up, as in a .grad that is never cleared. Each step subtracts its "
        "own gradient.",
    },
    "points": {
        lambda values, step: values[step % len(values)][None]: "Each step uses a single point. Use all points in each "
        "step.",
        lambda values, step: values[
            : step + 1
        ]: "Each step uses one more point than the step before. Use all points in each step.",
    },
    "result": {
        lambda path: (
            path[-2] if len(path) > 1 else path[-1]
        ): "The last step is missing from what comes back. Return the parameters after the loop.",
        lambda path: path[1] if len(path) > 1 else path[0]: "The parameters after the first step come back. Does a "
        "`return` stand inside the loop?",
        lambda path: [torch.stack(ps).mean(0) for ps in zip(*path, strict=True)]: "The mean of the parameters over all "
        "steps comes back. Return those after the last step.",
        lambda path: [new - old for new, old in zip(path[-1], path[0], strict=True)]: "It returns how the parameters "
        "have changed. Return the new parameters.",
    },
}
# With one step a lot is the same: the result after one step is that of `again`, and one step too few that of path[-2].
SAME_AS_ANOTHER = (
    "The parameters after the first step come back. Does a `return` stand inside the loop?",
    "The last step is missing from what comes back. Return the parameters after the loop.",
)


def _inner_loop_case(steps: int, shots: int, widths: tuple[int, int], inner_lr: float, seed: int) -> Case:
    def make() -> tuple[list[Tensor], Tensor, Tensor, float, int]:
        generator = torch.Generator().manual_seed(seed)
        params = fresh_params(widths, 0.5, torch.float64, generator)
        x, y, _, _ = fresh_task(shots, shots, torch.float64, generator)
        return params, x, y, inner_lr, steps

    sizes = {"the number of steps": steps, "the number of points": shots, "inner_lr": inner_lr}
    return Case(what=f"{steps} steps on {shots} points", make=make, sizes=sizes)


INNER_LOOP_CASES = [
    _inner_loop_case(3, 7, (8, 7), 0.03, seed=0),
    _inner_loop_case(4, 12, (9, 6), 0.017, seed=1),
    _inner_loop_case(0, 5, (6, 5), 0.02, seed=2),
]
INNER_LOOP_MISTAKES: list[Misconception] = [
    (message, mistake)
    for message, mistake in alone(_steps_variant, INNER_LOOP_SWITCHES)
    if message not in SAME_AS_ANOTHER
]


def _partly_first_order(keeps: Callable[[int, int], bool]) -> Callable:
    """Return an inner loop that keeps the graph of a step's gradient only where `keeps(step, steps)` says so."""

    def loop(params: list[Tensor], x: Tensor, y: Tensor, inner_lr: float, steps: int) -> list[Tensor]:
        for step in range(steps):
            gradients = torch.autograd.grad(mse(params, x, y), params, create_graph=True)
            if not keeps(step, steps):
                gradients = [g.detach() for g in gradients]
            params = [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]
        return params

    return loop


INNER_LOOP_GRAPHS: list[Misconception] = [
    (
        "The numbers are right, but autograd takes the gradients of all the steps for constants, so that the "
        "meta-gradient would be that of first-order MAML. Call inner_step, which keeps their graph.",
        _partly_first_order(lambda step, steps: False),
    ),
    (
        "The numbers are right, but of the gradients only that of the last step is seen by autograd, and those before "
        "it are constants. Every step has to keep its graph: call inner_step each time.",
        _partly_first_order(lambda step, steps: step == steps - 1),
    ),
    (
        "The numbers are right, but of the gradients only that of the first step is seen by autograd, and those after "
        "it are constants. Every step has to keep its graph: call inner_step each time.",
        _partly_first_order(lambda step, steps: step == 0),
    ),
]


def _examine_inner_loop(attempt: Callable) -> None:
    no_steps = "With 0 steps the loop never runs. What should the function return then?"
    advice = ADVICE | {"local variable": no_steps}
    attempt = expect_lists_kept(with_help(attempt, advice), inner_loop.in_place)

    def numbers(adapted: Any, arguments: tuple) -> dict[str, Tensor]:
        parts = list(adapted) if isinstance(adapted, tuple | list) else []
        if parts and all(isinstance(part, tuple | list) for part in parts):
            raise Wrong(
                f"It returns {len(parts)} lists of parameters, one for each point of the path. Return the list after "
                "the last step alone."
            )
        return change_of(adapted, arguments)

    called = agree(
        attempt,
        name="inner_loop",
        cases=INNER_LOOP_CASES,
        right=solutions.inner_loop,
        numbers=numbers,
        mistakes=INNER_LOOP_MISTAKES,
    )
    trials, known = [], [(message, []) for message, _ in INNER_LOOP_GRAPHS]
    for k, (case, (arguments, adapted)) in enumerate(zip(INNER_LOOP_CASES, called, strict=True)):
        params, x, y, _inner_lr, steps = arguments
        expect_params_untouched(params)
        if not steps:
            continue

        def gradient(new: list[Tensor], params: list[Tensor] = params, x: Tensor = x, y: Tensor = y) -> dict:
            return meta_gradient(mse(new, -x, y), params)  # any loss of the new parameters can be the query loss

        expect_graph(
            mse(adapted, -x, y),
            params,
            "The numbers are right, but the result is cut off from `params`: autograd cannot see that the steps set "
            "out from there, and no start could be learned. Look for detach, .data, no_grad, or new leaves.",
        )
        code = f"exercises.inner_loop.inputs({k or ''}) and a loss of what comes back"
        trials.append(Trial(case.what, code, gradient(adapted), gradient(solutions.inner_loop(*arguments))))
        for (_, results), (_, mistake) in zip(known, INNER_LOOP_GRAPHS, strict=True):
            results.append(gradient(mistake(*arguments)))
    compare_gradients(trials, known)


inner_loop = Exercise(
    answer=solutions.inner_loop,
    difficulty="easy",
    minutes=5,
    statement=(
        "Change MAML: let the inner loop take any number of gradient steps instead of one, each from where the step "
        "before it ended."
    ),
    hints=(
        "You have a function for one step. Which of its arguments has to be another one in the second step?",
        "Loop over range(steps), and let the name `params` stand for the newest list: params = inner_step(params, …).",
        "Return `params` after the loop. With no step at all, that is the list that came in.",
    ),
    cases=INNER_LOOP_CASES,
    examine=_examine_inner_loop,
    in_place=(
        "It changes the shared parameters themselves. The next task would then start from this task's weights. Let "
        "inner_step make new tensors, and leave `params` as they were."
    ),
)


# tune


class Errors:
    """The errors of a start after fine-tuning, by the rate and by the kind of tasks. It remembers what was asked."""

    def __init__(self, validation: Mapping[float, float], test: Mapping[float, float]) -> None:
        self.errors, self.asked = {"validation": validation, "test": test}, []

    def __call__(self, rate: float, split: str) -> float:
        if split not in self.errors:
            raise ValueError(f'the tasks are called "validation" and "test", and not {split!r}')
        if rate not in self.errors[split]:
            raise ValueError(f"{rate!r} is not one of the rates")
        self.asked.append((split, rate))
        return self.errors[split][rate]


Search = tuple[Errors, list[float]]  # the arguments of tune
NAN, INF = math.nan, math.inf


def _tune_case(validation: dict[float, float], test: list[float]) -> Case:
    rates = list(validation)

    def make() -> Search:
        return Errors(validation, dict(zip(rates, test, strict=True))), list(rates)

    return Case(what=f"{len(rates)} rates", make=make, sizes={"the number of rates": len(rates)})


TUNE_CASES = [
    # The test tasks would choose another rate, and the first valley is not the deepest.
    _tune_case({0.001: 3.1, 0.003: 2.2, 0.01: 2.6, 0.03: 1.7, 0.1: 1.9, 0.3: INF}, [3.0, 2.3, 2.5, 1.81, 1.6, INF]),
    # The rates are in no order, and some errors are no numbers.
    _tune_case({0.5: NAN, 0.02: 1.3, 0.2: NAN, 0.05: 1.1, 0.004: 2.4}, [NAN, 1.0, 0.7, 1.05, 2.3]),
    _tune_case({0.02: 1.2, 0.1: 1.9, 0.005: 1.4, 0.4: 2.7}, [1.35, 1.7, 1.15, 2.9]),
]


def _steady(errors: Mapping[float, float]) -> list[float]:
    """Return the rates whose errors are finite numbers, the best first."""
    return sorted((rate for rate, value in errors.items() if value < INF), key=errors.__getitem__)


def _first_valley(rates: list[float], errors: Mapping[float, float]) -> float:
    for rate, following in itertools.pairwise(rates):
        if errors[following] > errors[rate]:
            return rate
    return rates[-1]


def _search(
    choose: Callable[[list[float], dict[float, float]], float] = lambda rates, errors: _steady(errors)[0],
    report: Callable[[float, float, float], tuple[float, float]] = lambda rate, validation, test: (rate, test),
) -> Callable:
    """Return a search that is right unless `choose`, or `report`, makes it wrong.

    `choose` is given the rates and their validation errors, and `report` the chosen rate with both of its errors.
    """

    def search(error: Errors, rates: list[float]) -> tuple[float, float]:
        errors = {rate: error(rate, "validation") for rate in rates}
        best = choose(rates, errors)
        return report(best, errors[best], error(best, "test"))

    return search


TUNE_MISTAKES: list[Misconception] = [
    (
        "It chooses a rate whose validation error is not a number, because adaptation diverged there. Every comparison "
        "with nan is false, so min() stays with a nan that comes first. Leave out the errors that are not less than "
        "infinity.",
        _search(lambda rates, errors: min(rates, key=errors.__getitem__)),
    ),
    (
        "It chooses the rate with the largest validation error. The error should be small: use min.",
        _search(lambda rates, errors: _steady(errors)[-1]),
    ),
    (
        "It chooses the rate with the second smallest validation error. In a sorted list the smallest comes first.",
        _search(lambda rates, errors: _steady(errors)[1]),
    ),
    (
        "It stops at the first rate after which the validation error rises. A later rate can be better still: look at "
        "all of them.",
        _search(_first_valley),
    ),
    (
        "It takes the largest rate, whatever the errors are. Compare the validation errors.",
        _search(lambda r, _: max(r)),
    ),
    (
        "It takes the smallest rate, whatever the errors are. Compare the validation errors.",
        _search(lambda r, _: min(r)),
    ),
    ("It takes the first rate of the list, whatever the errors are.", _search(lambda rates, _: rates[0])),
    ("It takes the last rate of the list, whatever the errors are.", _search(lambda rates, _: rates[-1])),
    (
        "It takes the rate in the middle of the list, whatever the errors are.",
        _search(lambda rates, _: rates[len(rates) // 2]),
    ),
    (
        "It leaves out the first rate of the list, and chooses among the others.",
        _search(lambda rates, errors: next(rate for rate in _steady(errors) if rate != rates[0])),
    ),
    (
        "The two numbers have changed places. The rate comes first, and its test error second.",
        _search(report=lambda rate, validation, test: (test, rate)),
    ),
    (
        "It asks for the test error, and reports the validation error all the same. That one was chosen for being the "
        "least of several, so it is too good. Report the test error.",
        _search(report=lambda rate, validation, test: (rate, validation)),
    ),
    (
        "It reports the mean of the validation error and the test error. The validation error was chosen for being the "
        "least of several, so it is too good. Report the test error alone.",
        _search(report=lambda rate, validation, test: (rate, (validation + test) / 2)),
    ),
    (
        "It reports the difference of the test error and the validation error. Report the test error itself.",
        _search(report=lambda rate, validation, test: (rate, test - validation)),
    ),
    (
        "It reports the smaller of the validation error and the test error. Report the test error.",
        _search(report=lambda rate, validation, test: (rate, min(validation, test))),
    ),
]


def _found(result: Any, arguments: Search) -> dict[str, Tensor]:
    """Return the rate and the error that a search has found, if it has asked for what it may ask for."""
    error, _rates = arguments
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong(
            f"It should return two numbers, the rate and its error on the test tasks; yours is {describe(result)}."
        )
    rate, reported = (number(value, name) for value, name in zip(result, ("The rate", "The test error"), strict=True))
    tested = {rate for split, rate in error.asked if split == "test"}
    if len(tested) > 1:
        raise Wrong(
            f"It asks for the test errors of {len(tested)} rates. Once they are known, nobody can choose without them, "
            "and the least of several errors is too good. Choose on the validation tasks, and test the chosen rate "
            "alone."
        )
    if not tested:
        raise Wrong(
            "It never asks for a test error. The least of several validation errors is too good, because it was chosen "
            'for being the least. Report error(best, "test").'
        )
    if not any(split == "validation" for split, _rate in error.asked):
        raise Wrong('It asks for no validation error, so it cannot choose. Ask for error(rate, "validation").')
    return {
        "the rate": torch.tensor(rate, dtype=torch.float64),
        "the test error": torch.tensor(reported, dtype=torch.float64),
    }


def _examine_tune(attempt: Callable) -> None:
    advice = {
        "unhashable": "Ask for the error of one rate at a time.",
        "'Errors' object": "`error` is a function: error(rate, split) returns one number.",
        "empty": "Is there no rate left after some were left out?",
    }
    attempt = with_help(attempt, advice)
    agree(
        attempt,
        name="tune",
        cases=TUNE_CASES,
        right=solutions.tune,
        numbers=_found,
        mistakes=TUNE_MISTAKES,
    )


tune = Exercise(
    answer=solutions.tune,
    difficulty="medium",
    minutes=10,
    statement=(
        "Design a fair test: choose the inner learning rate on validation tasks, and report its error on test tasks."
    ),
    hints=(
        "There are two steps. Which of the two kinds of tasks may the first one look at, and which the second?",
        "Ask for the validation error of every rate, and keep the errors by rate in a dictionary. Which rate has the "
        "least? And what if an error is nan?",
        'A comparison with nan is false, so `errors[rate] < float("inf")` leaves out what diverged. Then '
        'min(…, key=errors.get) is the rate, and one call error(best, "test") gives what to report.',
    ),
    cases=TUNE_CASES,
    examine=_examine_tune,
)
