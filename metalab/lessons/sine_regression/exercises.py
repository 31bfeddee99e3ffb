"""The exercises of the sine lesson: draw a task, take an inner step, and use both in the loss of MAML.

The learner's functions see the network only as `params`, a list of tensors, and as `forward(params, x)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..kit.exercise import Exercise, Misconception, Wrong, compare, describe, number
from . import solutions
from .solutions import forward

__all__ = ["forward", "inner_step", "meta_loss", "sample_task"]

NAMES = ("w1", "b1", "w2", "b2", "w3", "b3")
INNER_LR = 0.02  # chosen with POINTS and TASKS, so that no two mistakes scale a step or a loss by the same factor
POINTS = 5  # how many support points each task has, and how many query points
TASKS = 3  # how many tasks the check of meta_loss has
DRAWS = 2000  # how many tasks the check of sample_task draws


# The network and the data of the checks


def _params(generator: torch.Generator) -> list[Tensor]:
    shapes = [(1, 8), (8,), (8, 8), (8,), (8, 1), (1,)]
    return [(torch.randn(shape, generator=generator) * 0.6).requires_grad_() for shape in shapes]


def _points(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw the support x, y and the query x, y of one sine task, each [POINTS, 1]."""
    amplitude, phase = solutions.sample_task(generator)
    x = torch.rand(2 * POINTS, 1, generator=generator) * 10 - 5
    y = amplitude * torch.sin(x - phase)
    return x[:POINTS], y[:POINTS], x[POINTS:], y[POINTS:]


def _inner_step_inputs() -> tuple[list[Tensor], Tensor, Tensor, float]:
    generator = torch.Generator().manual_seed(0)
    return _params(generator), *_points(generator)[:2], INNER_LR


def _meta_loss_inputs() -> tuple[list[Tensor], list[tuple[Tensor, ...]], float]:
    generator = torch.Generator().manual_seed(0)
    return _params(generator), [_points(generator) for _ in range(TASKS)], INNER_LR


# Parts that the checks and the mistakes share


def _mse(params: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    return ((forward(params, x) - y) ** 2).mean()


def _first_order_step(params: list[Tensor], x: Tensor, y: Tensor, inner_lr: float) -> list[Tensor]:
    gradients = torch.autograd.grad(_mse(params, x, y), params)
    return [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]


def _meta_gradient(loss: Tensor, params: list[Tensor]) -> dict[str, Tensor]:
    gradients = torch.autograd.grad(loss, params, allow_unused=True, materialize_grads=True, retain_graph=True)
    return {f"the gradient of {name}": gradient for name, gradient in zip(NAMES, gradients, strict=True)}


def _expect_graph(loss: Tensor, params: list[Tensor], message: str) -> None:
    """Raise `Wrong(message)` if no gradient at all flows from `loss` back to `params`."""
    if not loss.requires_grad or not any(g.any() for g in _meta_gradient(loss, params).values()):
        raise Wrong(message)


# sample_task


def _examine_sample_task(attempt: Callable) -> None:
    def draw(count: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.tensor([_pair(attempt(generator)) for _ in range(count)], dtype=torch.float64)  # [count, 2]

    if not torch.equal(draw(5), draw(5)):
        raise Wrong(
            "It draws from somewhere else than the generator it is given: the same seed gives other tasks each time. "
            "An experiment that cannot be repeated cannot be compared. Where can the random function be told its "
            "source?"
        )
    tasks = draw(DRAWS)
    amplitude, phase = tasks.T
    if not tasks.isfinite().all():
        raise Wrong("Some amplitudes or phases are not finite numbers.")
    if (tasks == tasks[0]).all():
        raise Wrong(
            "It draws the same task every time: with one task there is nothing to learn across tasks. Does it seed "
            "the generator anew on each call?"
        )
    for name, values in {"amplitude": amplitude, "phase": phase}.items():
        # torch.rand can give 2^24 numbers, so hardly any number should come twice.
        distinct = len(values.unique())
        if distinct < DRAWS // 2:
            raise Wrong(
                f"The {name} takes only {distinct} different values in {DRAWS:,} draws. Tasks from a coarse grid come "
                "again and again, so a network could memorise them; uniform means any real number of the interval."
            )

    # The bounds leave room for rounding, and values from a wrong range are sure to lie beyond them.
    ranges_swapped = _within(amplitude, 0, torch.pi) and _within(phase, 0.1, 5)
    if ranges_swapped and amplitude.min() < 0.099 and phase.max() > torch.pi + 0.001:
        raise Wrong(
            "Amplitude and phase are swapped: the first number has the phase's range and the second the amplitude's. "
            "The sines made from them would be another family of tasks. Look at the order that the docstring asks for."
        )
    if _within(amplitude, 0, 5) and amplitude.min() < 0.099:
        raise Wrong(
            "The amplitude starts at 0 instead of 0.1. Sines that are almost flat teach nothing about adapting, and "
            "the published errors do not count them. Stretch the random number over 4.9 and then move it."
        )
    if _within(amplitude, 0.1, 5.1) and amplitude.max() > 5.001:
        raise Wrong(
            "The amplitude goes up to 5.1 instead of 5.0: the random number is stretched over 5 and then moved up. "
            "Larger sines have larger errors, so results would not compare. How wide is the interval 0.1 … 5.0?"
        )
    if _within(phase, 0, 2 * torch.pi) and phase.max() > torch.pi + 0.001:
        raise Wrong(
            "The phase goes up to 2π instead of π. That is a wider family of tasks, harder to learn than the one "
            "whose errors are published. Halve the interval."
        )
    _expect_uniform(amplitude, "amplitude", 0.1, 5.0)
    _expect_uniform(phase, "phase", 0.0, torch.pi)
    if tasks.T.corrcoef()[0, 1].abs() > 5.5 / DRAWS**0.5:  # 5.5 standard deviations: 4e-8 for independent draws
        raise Wrong(
            "Amplitude and phase are tied together: who knows one can guess the other, as if both came from one "
            "random number. The tasks then lie on a line, and a network can adapt to less than it seems. Draw twice."
        )


def _pair(task: Any) -> list[float]:
    if not isinstance(task, tuple | list | Tensor) or len(task) != 2:
        raise Wrong(f"It should return two numbers, amplitude and phase; yours is {describe(task)}.")
    return [number(value, name) for value, name in zip(task, ("the amplitude", "the phase"), strict=True)]


def _within(values: Tensor, low: float, high: float) -> bool:
    return bool(((values > low - 1e-5) & (values < high + 1e-5)).all())


def _expect_uniform(values: Tensor, name: str, low: float, high: float) -> None:
    """Raise `Wrong` unless the values fill the range from `low` to `high` evenly.

    A right function fails less than once in a million times, in whatever way it uses the generator.
    """
    margin = 0.01 * (high - low)  # the probability of no draw at all in a margin is 0.99^2000 = 2e-9
    if not _within(values, low, high) or values.min() > low + margin or values.max() < high - margin:
        raise Wrong(
            f"The {name} lies in {values.min():.2f} … {values.max():.2f} and should fill {low:.2f} … {high:.2f}: "
            "other tasks than the published ones, so no error made on them can be compared."
        )
    # This is the test of Kolmogorov and Smirnov. The largest gap between the two distribution functions exceeds
    # 3 / sqrt(n) with probability 2 exp(-2 * 3^2) = 3e-8.
    fractions = (values.sort().values - low) / (high - low)
    gap = (fractions - torch.linspace(0, 1, DRAWS, dtype=torch.float64)).abs().max()
    if gap > 3 / DRAWS**0.5:
        raise Wrong(
            f"The {name} has the right range, but some parts of it come more often than others. A network then gets "
            "good at the frequent tasks only. Uniform means that every value is equally likely."
        )


sample_task = Exercise(
    answer=solutions.sample_task,
    difficulty="easy",
    minutes=5,
    statement="Draw a sine task from the generator: an amplitude uniform in 0.1 … 5.0 and a phase uniform in 0 … π.",
    hints=(
        "torch.rand gives numbers uniform in 0 … 1. What do a multiplication and an addition make of that interval?",
        "torch.rand(1, generator=generator).item() is one number. You need two of them, one for each quantity.",
        "The interval low … high is low + (high - low) * u, with u uniform in 0 … 1; π is torch.pi.",
    ),
    inputs=lambda: (torch.Generator().manual_seed(0),),
    examine=_examine_sample_task,
)


# inner_step


def _moved(amount: Callable[[Tensor, float], Tensor]) -> Callable:
    """Return a wrong inner step that adds amount(gradient, inner_lr) to each parameter."""

    def step(params: list[Tensor], x: Tensor, y: Tensor, inner_lr: float) -> list[Tensor]:
        gradients = torch.autograd.grad(_mse(params, x, y), params)
        return [p + amount(g, inner_lr) for p, g in zip(params, gradients, strict=True)]

    return step


def _globally_normalised(params: list[Tensor], x: Tensor, y: Tensor, inner_lr: float) -> list[Tensor]:
    gradients = torch.autograd.grad(_mse(params, x, y), params)
    length = torch.cat([g.flatten() for g in gradients]).norm()
    return [p - inner_lr * g / length for p, g in zip(params, gradients, strict=True)]


NORMALISED = (
    "The gradient is normalised, so every step has the same length. Near a good start a plain gradient step is short "
    "by itself, and MAML learns such starts; yours overshoots them. Use the gradient as autograd returns it."
)
NOT_ADDED = (
    "It returns the change alone, or the gradient, and not the changed parameters. What comes back is used as a "
    "network, so it must start from `params`."
)

INNER_STEP_MISTAKES: list[Misconception] = [
    (
        "It climbs: the new parameters have a larger loss than the old ones. Meta-learning would then look for a "
        "start from which going the wrong way helps. Which way does a gradient point?",
        _moved(lambda g, lr: lr * g),
    ),
    (
        f"The loss is a sum over the points, not a mean, so the step is {POINTS} times too long here and grows with "
        "the number of shots. An inner_lr tuned for 5 shots would blow up at 10. Look at how you reduce the squared "
        "errors.",
        _moved(lambda g, lr: -lr * POINTS * g),
    ),
    (
        "The learning rate is missing: the step is one whole gradient. How far a task may move from the shared start "
        "is what inner_lr decides. Where does it belong?",
        _moved(lambda g, lr: -g),
    ),
    (
        "The learning rate comes in twice, so the step is shrunk by inner_lr squared. Tasks hardly adapt, and the "
        "outer loop learns a start that does without adapting. Find the second place that scales by it.",
        _moved(lambda g, lr: -(lr**2) * g),
    ),
    (
        "The step is half as long as it should be, as with a loss of ½ (prediction - y)². Results at a given inner_lr "
        "would not compare with the published ones. Take the plain mean of the squared errors.",
        _moved(lambda g, lr: -lr * g / 2),
    ),
    (
        "Only the weight matrices move and the biases stay. MAML adapts every parameter: a frozen bias cannot help a "
        "task. Does your update run over the whole list?",
        _moved(lambda g, lr: -lr * g if g.dim() == 2 else torch.zeros_like(g)),
    ),
    (
        "Only the last layer moves. That is another algorithm, ANIL (Raghu et al. 2020); MAML adapts every layer. "
        "Does your update run over the whole list?",
        lambda params, x, y, lr: [*params[:4], *_first_order_step(params, x, y, lr)[4:]],
    ),
    (NORMALISED, _globally_normalised),
    (NORMALISED, _moved(lambda g, lr: -lr * g / g.norm())),
    (
        "Only the sign of the gradient is used, so every parameter moves equally far. That is not gradient descent, "
        "and no second derivative survives a sign: nothing for MAML to differentiate. Use the gradient itself.",
        _moved(lambda g, lr: -lr * g.sign()),
    ),
    (
        "The parameters come back as they went in: no step was taken. Without adapting, every task gets the same "
        "network. Where does the gradient enter?",
        lambda params, x, y, lr: params,
    ),
    (NOT_ADDED, lambda params, x, y, lr: torch.autograd.grad(_mse(params, x, y), params)),
    (
        NOT_ADDED,
        lambda params, x, y, lr: [q - p for p, q in zip(params, _first_order_step(params, x, y, lr), strict=True)],
    ),
]


def _examine_inner_step(attempt: Callable) -> None:
    params, x, y, inner_lr = _inner_step_inputs()
    adapted = attempt(params, x, y, inner_lr)
    if any(p.grad is not None for p in params):
        raise Wrong(
            "It calls backward(), which leaves a gradient in the .grad of the shared parameters. There the tasks add "
            "up, and the outer optimizer would take them for the meta-gradient. Look for the function of "
            "torch.autograd that returns gradients instead."
        )
    if not isinstance(adapted, tuple | list) or not all(isinstance(p, Tensor) for p in adapted):
        raise Wrong(f"It should return the new parameters as a list of tensors; yours is {describe(adapted)}.")
    if len(adapted) != len(params):
        raise Wrong(
            f"It returns {len(adapted)} of the {len(params)} parameters. The network needs all of them, weights and "
            "biases, in the order in which they came."
        )

    def named(values: list[Tensor]) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in zip(NAMES, values, strict=True)}

    arguments = params, x, y, inner_lr
    right = solutions.inner_step(*arguments)
    trial = "exercises.inner_step.inputs()"
    mistakes = ((message, named(wrong(*arguments))) for message, wrong in INNER_STEP_MISTAKES)
    compare(named(adapted), named(right), mistakes=mistakes, inputs=trial)

    # The values are right, and now the graph is checked. Any loss of the new parameters can serve as the query loss.
    loss = _mse(adapted, -x, y)
    _expect_graph(
        loss,
        params,
        "The numbers are right, but the result is cut off from `params`: autograd cannot see that the step started "
        "there. No meta-gradient flows, so the start is never learned. Look for no_grad, detach or .data.",
    )
    first_order = _mse(_first_order_step(*arguments), -x, y)
    message = (
        "The numbers are right, but autograd takes your gradients for constants. The meta-gradient then misses its "
        "second derivatives, and MAML silently becomes first-order MAML. What must autograd be told to keep while it "
        "computes gradients?"
    )
    mistakes = [(message, _meta_gradient(first_order, params))]
    want = _meta_gradient(_mse(right, -x, y), params)
    compare(_meta_gradient(loss, params), want, mistakes=mistakes, inputs=trial + " and a loss through your step")


inner_step = Exercise(
    answer=solutions.inner_step,
    difficulty="medium",
    minutes=10,
    statement=(
        "Take one gradient step on the mean squared error of a task's support set and return the new parameters, so "
        "that an outer loss can be differentiated through the step."
    ),
    hints=(
        "Three lines: the loss of forward(params, x) against y, its gradients, and a list of new tensors.",
        "torch.autograd.grad(loss, params) returns the gradients and touches nothing. Update out of place: a new "
        "list, with p minus something for each p.",
        "The step itself must stay in the graph: give torch.autograd.grad the argument create_graph=True.",
    ),
    inputs=_inner_step_inputs,
    examine=_examine_inner_step,
    in_place=(
        "It changes the shared parameters themselves. The next task then starts from this task's weights instead of "
        "the common start, and no meta-gradient can flow. Make new tensors and leave `params` as they were."
    ),
)


# meta_loss


def _mean_loss(loss_of_task: Callable) -> Callable:
    """Return the mean over tasks of loss_of_task(params, support_x, support_y, query_x, query_y, inner_lr)."""

    def wrong(params: list[Tensor], tasks: list[tuple[Tensor, ...]], inner_lr: float) -> Tensor:
        return torch.stack([loss_of_task(params, *task, inner_lr) for task in tasks]).mean()

    return wrong


def _chained(params: list[Tensor], tasks: list[tuple[Tensor, ...]], inner_lr: float) -> Tensor:
    losses = []
    for support_x, support_y, query_x, query_y in tasks:
        params = solutions.inner_step(params, support_x, support_y, inner_lr)
        losses.append(_mse(params, query_x, query_y))
    return torch.stack(losses).mean()


_step = solutions.inner_step
_first_order_meta_loss = _mean_loss(
    lambda params, sx, sy, qx, qy, lr: _mse(_first_order_step(params, sx, sy, lr), qx, qy)
)

ONE_IN_THE_SUM = (
    "It divides by the number of tasks, but only one task's loss is in the sum. A start learned from one task at a "
    "time chases that task. Is the loss added up, or assigned? Does a `return` stand inside the loop?"
)

META_LOSS_MISTAKES: list[Misconception] = [
    (
        "The outer loss is taken on the support set, the very points the task has just adapted to. That rewards "
        "memorising them; MAML asks how well the adapted network does on points it has not seen. Which points are "
        "those?",
        _mean_loss(lambda params, sx, sy, qx, qy, lr: _mse(_step(params, sx, sy, lr), sx, sy)),
    ),
    (
        "The query loss is that of the unadapted parameters: the inner step has no part in it. Minimising this gives "
        "one network for the average task, which is ordinary training. Whose prediction should be judged?",
        _mean_loss(lambda params, sx, sy, qx, qy, lr: _mse(params, qx, qy)),
    ),
    (
        "It adapts on the query set, then judges on the same points. The answers leak into the adaptation, and at "
        "test time a learner has no query labels to adapt to. Which set is the network allowed to look at?",
        _mean_loss(lambda params, sx, sy, qx, qy, lr: _mse(_step(params, qx, qy, lr), qx, qy)),
    ),
    (
        "Support and query are swapped: it adapts on the query set and judges on the support set. At test time a "
        "learner has no query labels to adapt to. Check the order in which you unpack a task.",
        _mean_loss(lambda params, sx, sy, qx, qy, lr: _mse(_step(params, qx, qy, lr), sx, sy)),
    ),
    (
        "Your update reuses one task's weights for the next task: each starts where the one before it ended. MAML "
        "learns one start for all tasks, so every task must set out from `params`. Which name does your loop assign "
        "to?",
        _chained,
    ),
    (
        "The losses of the tasks are added up, not averaged. The meta-gradient then grows with the number of tasks, "
        "and outer_lr would have to change with it. What turns a sum into a mean?",
        lambda params, tasks, lr: TASKS * solutions.meta_loss(params, tasks, lr),
    ),
    (
        "Only the last task counts; the losses of the others are overwritten. A start learned from one task at a time "
        "chases that task. Where do you keep the earlier losses?",
        lambda params, tasks, lr: solutions.meta_loss(params, tasks[-1:], lr),
    ),
    (
        "Only the first task counts. A start learned from one task at a time chases that task. Does a `return` stand "
        "inside the loop?",
        lambda params, tasks, lr: solutions.meta_loss(params, tasks[:1], lr),
    ),
    (ONE_IN_THE_SUM, lambda params, tasks, lr: solutions.meta_loss(params, tasks[-1:], lr) / TASKS),
    (ONE_IN_THE_SUM, lambda params, tasks, lr: solutions.meta_loss(params, tasks[:1], lr) / TASKS),
]


def _examine_meta_loss(attempt: Callable) -> None:
    params, tasks, inner_lr = _meta_loss_inputs()
    loss = attempt(params, tasks, inner_lr)
    if any(p.grad is not None for p in params):
        raise Wrong(
            "It calls backward(), which leaves gradients in the .grad of the parameters. The lesson's training loop "
            "does that once for the whole loss; here it would count twice. Only compute the loss and return it."
        )
    value = torch.tensor(number(loss, "the meta-loss"))
    arguments = params, tasks, inner_lr
    right = solutions.meta_loss(*arguments)
    trial = "exercises.meta_loss.inputs()"
    mistakes = ((message, {"the meta-loss": wrong(*arguments).detach()}) for message, wrong in META_LOSS_MISTAKES)
    compare({"the meta-loss": value}, {"the meta-loss": right.detach()}, mistakes=mistakes, inputs=trial)

    if not isinstance(loss, Tensor):
        raise Wrong(
            "The number is right, but it is a plain Python number: autograd cannot follow it back to `params`, so "
            "nothing can be learned from it. Return the tensor, without item() or float()."
        )
    _expect_graph(
        loss,
        params,
        "The number is right, but it is cut off from `params`: the meta-gradient is zero, so the start is never "
        "learned. Look for no_grad, detach, item or .data between `params` and the loss.",
    )
    message = (
        "The number is right, but the meta-gradient is the first-order one: the inner gradients have become constants "
        "on the way. That is first-order MAML, cheaper and a little worse. Look for detach, or an inner step that "
        "does not keep its graph."
    )
    mistakes = [(message, _meta_gradient(_first_order_meta_loss(*arguments), params))]
    want = _meta_gradient(right, params)
    compare(_meta_gradient(loss, params), want, mistakes=mistakes, inputs=trial)


meta_loss = Exercise(
    answer=solutions.meta_loss,
    difficulty="medium",
    minutes=10,
    statement=(
        "Compute the loss that MAML minimises: the mean over tasks of the query loss after one inner step on the "
        "support set."
    ),
    hints=(
        "Go through the tasks. For each, adapt with inner_step, then judge the adapted parameters; never the other "
        "way.",
        "Adapt on support_x and support_y, starting from `params` each time. The squared error to average is that of "
        "forward(adapted, query_x) against query_y.",
        "Keep the losses as tensors in a list and return torch.stack(losses).mean().",
    ),
    inputs=_meta_loss_inputs,
    examine=_examine_meta_loss,
    in_place=(
        "It changes the parameters or the tasks it is given, so whatever comes after starts from something else. Adapt "
        "copies, which is what inner_step returns, and leave the arguments as they were."
    ),
)
