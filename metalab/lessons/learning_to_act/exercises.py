"""The exercises of the lesson on learning to act: what an action is worth, the score function, and an inner step.

Those on bandits, which the lesson offers too, are in `bandit_exercises`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..kit.comparing import Case, Numbers, Wrong, agree, combined, describe
from ..kit.exercise import Exercise
from . import solutions
from .bandit_exercises import PLAY_GAME_MISTAKES as PLAY_GAME_MISTAKES
from .bandit_exercises import PULL_VALUES_MISTAKES as PULL_VALUES_MISTAKES
from .bandit_exercises import play_game, pull_values

__all__ = ["inner_step", "play_game", "pull_values", "reward_to_go", "score_gradient"]


def _draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _tensor(name: str) -> Callable[[Any, tuple], Numbers]:
    def numbers(result: Any, _arguments: tuple) -> Numbers:
        if not isinstance(result, Tensor):
            raise Wrong(f"It should return a tensor; yours is {describe(result)}.")
        return {name: result.detach()}

    return numbers


# reward_to_go


def _rewards_case(trials: int, steps: int) -> Case:
    sizes = {"the number of trajectories": trials, "the number of steps": steps}
    return Case(
        what=f"{trials} trajectories of {steps} steps",
        make=lambda: (-_draw(trials, steps, seed=steps).abs(),),
        sizes=sizes,
    )


REWARD_CASES = (_rewards_case(3, 4), _rewards_case(7, 5))
REWARD_TO_GO_MISTAKES = [
    ("These are the sums up to each step. An action cannot change the rewards before it: sum from the step on.",
     lambda r: r.cumsum(1)),
    ("The reward of the step itself is missing: it comes after the action, so it counts.",
     lambda r: r.flip(1).cumsum(1).flip(1) - r),
    ("It sums over trajectories. Sum over the steps, the second axis.", lambda r: r.flip(0).cumsum(0).flip(0)),
    ("Each step gets the return of the whole trajectory. Leave out the rewards before the step.",
     lambda r: r.sum(1, keepdim=True).expand_as(r)),
    ("The steps are in reverse order: the sums are right, but have to be flipped back.", lambda r: r.flip(1).cumsum(1)),
    ("The rewards come back as they were.", lambda r: r),
    ("These are means of the rewards to come. The page asks for sums.",
     lambda r: r.flip(1).cumsum(1).flip(1) / torch.arange(r.shape[1], 0, -1)),
    ("This is minus the reward to go.", lambda r: -r.flip(1).cumsum(1).flip(1)),
    ("The last reward is missing in all sums.", lambda r: r.flip(1).cumsum(1).flip(1) - r[:, -1:]),
    ("It adds the trajectories up. Each of them has its own sums: sum over the steps alone.",
     lambda r: r.flip(1).cumsum(1).flip(1).sum(0).expand_as(r)),
]  # fmt: skip


def _examine_reward(attempt: Callable) -> None:
    agree(
        attempt,
        name="reward_to_go",
        cases=REWARD_CASES,
        right=solutions.reward_to_go,
        numbers=_tensor("the reward to go"),
        mistakes=REWARD_TO_GO_MISTAKES,
    )


reward_to_go = Exercise(
    answer=solutions.reward_to_go,
    difficulty="easy",
    minutes=5,
    statement="From the rewards [N, H], return for each step the sum of the rewards from this step on: [N, H].",
    hints=(
        "cumsum sums from the start of an axis. What would make the end of a trajectory its start?",
        "A tensor has flip(1), which reverses the second axis.",
        "Flip, take cumsum(1), and flip back.",
    ),
    cases=REWARD_CASES,
    examine=_examine_reward,
)

# score_gradient


def _score_case(trials: int, steps: int, deviation: float) -> Case:
    def make() -> tuple[Tensor, Tensor, float, Tensor]:
        mean = _draw(2, seed=trials + 2)
        actions = mean + deviation * _draw(trials, steps, 2, seed=trials)
        return actions, mean, deviation, _draw(trials, steps, seed=trials + 1) - 1

    sizes = {"the number of trajectories": trials, "the number of steps": steps, "the deviation": deviation}
    return Case(what=f"{trials} trajectories of {steps} steps", make=make, sizes=sizes)


SCORE_CASES = (_score_case(5, 3, 0.6), _score_case(8, 4, 0.7))


def _score(
    actions: Tensor,
    mean: Tensor,
    deviation: float,
    weights: Tensor,
    *,
    scale: str = "right",
    gap: str = "right",
    reduce: str = "right",
    worth: str = "right",
) -> Tensor:
    """Return the estimate, or what comes of the mistakes that the keywords name."""
    off = {"right": actions - mean, "reversed": mean - actions, "actions": actions}[gap]
    below = {"right": deviation**2, "once": deviation, "none": 1.0, "twice": 2 * deviation**2, "above": deviation**-2}
    totals = weights.sum(1, keepdim=True).expand_as(weights)
    worths = {"right": weights, "none": torch.ones_like(weights), "total": totals}[worth]
    each = off / below[scale] * worths[:, :, None]
    return {
        "right": lambda: each.sum(1).mean(0),
        "mean": lambda: each.mean((0, 1)),
        "sum": lambda: each.sum((0, 1)),
    }[reduce]()


SCORE_GRADIENT_MISTAKES = combined(
    _score,
    {
        "scale": {
            "once": "It divides by σ. The derivative of −(a − μ)² / 2σ² with respect to μ has σ² below.",
            "none": "The division by σ² is missing.",
            "twice": "It divides by 2σ². The derivative of the square has a 2 that cancels the other one.",
            "above": "It multiplies by σ². It should divide by it: the narrower the policy, the larger its score.",
        },
        "worth": {
            "none": "The weights are missing. Without them, good and bad actions count the same.",
            "total": "Each score gets the sum of its trajectory's weights. Each action has a weight of its own.",
        },
        "gap": {
            "reversed": "The sign is wrong: the score is (a − μ) / σ². This would make good actions less likely.",
            "actions": "It multiplies by the actions themselves. The score has a − μ: how far the action was off.",
        },
        "reduce": {
            "mean": "It takes the mean over the steps. A trajectory's log-probability is the sum over its steps.",
            "sum": "It sums over the trajectories. The estimate is their mean.",
        },
    },
)


def _examine_score(attempt: Callable) -> None:
    agree(
        attempt,
        name="score_gradient",
        cases=SCORE_CASES,
        right=solutions.score_gradient,
        numbers=_tensor("the gradient"),
        mistakes=SCORE_GRADIENT_MISTAKES,
    )


score_gradient = Exercise(
    answer=solutions.score_gradient,
    difficulty="medium",
    minutes=10,
    statement="From actions, their mean and deviation, and a weight for each, return the estimate of the gradient [2].",
    hints=(
        "The score of one action is (a − μ) / σ², a vector of two numbers.",
        "Multiply each score by its weight; weights[:, :, None] has the axis that is missing.",
        "Sum over the steps, which are axis 1, and take the mean over the trajectories, which are axis 0.",
    ),
    cases=SCORE_CASES,
    examine=_examine_score,
)

# inner_step


def _step_case(size: int, rate: float) -> Case:
    def make() -> tuple[Tensor, Callable[[Tensor], Tensor], float]:
        goal = _draw(size, seed=size)
        theta = _draw(size, seed=size + 1).requires_grad_()
        return theta, lambda t: -((t - goal) ** 4).sum() - (t * t.roll(1)).sum(), rate

    return Case(what=f"{size} parameters", make=make, sizes={"the number of parameters": size, "the rate": rate})


STEP_CASES = (_step_case(3, 0.03), _step_case(5, 0.07))


def _step(
    theta: Tensor,
    objective: Callable,
    rate: float,
    *,
    sign: int = 1,
    scale: str = "right",
    graph: bool = True,
    steps: int = 1,
    alone: bool = False,
) -> Tensor:
    """Return the parameters after the step, or what comes of the mistakes that the keywords name."""
    after = theta
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(objective(after), after, create_graph=True)
        gradient = gradient if graph else gradient.detach()
        length = {"right": 1.0, "none": 1 / rate, "squared": rate, "normed": 1 / gradient.norm()}[scale]
        after = after + sign * rate * length * gradient
    return after - theta if alone else after


INNER_STEP_MISTAKES = [
    *combined(
        _step,
        {
            "sign": {-1: "It descends. The objective is a return here, which should grow: add the gradient."},
            "scale": {
                "none": "The rate is missing.",
                "squared": "The rate is in it twice.",
                "normed": "The gradient is divided by its length. The page's step is α times the gradient.",
            },
            "graph": {
                False: "The step is right, but its derivative is that of first order: create_graph=True is missing."
            },
            "steps": {2: "It takes two steps. The page asks for one."},
            "alone": {True: "It returns the change alone. Add theta to it."},
        },
    ),
    (
        "It uses the signs of the gradient alone. The page's step is α times the gradient.",
        lambda theta, objective, rate: theta + rate * torch.func.grad(objective)(theta).sign(),
    ),
    (
        "It adds the objective itself. What is to be added is its gradient.",
        lambda theta, objective, rate: theta + rate * objective(theta),
    ),
]


def _step_numbers(result: Any, arguments: tuple) -> Numbers:
    if not isinstance(result, Tensor):
        raise Wrong(f"It should return a tensor; yours is {describe(result)}.")
    theta = arguments[0]
    if result.shape != theta.shape:
        raise Wrong(f"It should return parameters of the shape {list(theta.shape)}; yours is {describe(result)}.")
    if not result.requires_grad:
        raise Wrong("The new parameters do not depend on theta any more. Leave out detach(), and build on theta.")
    direction = torch.linspace(1, 2, len(theta), dtype=theta.dtype)
    (slope,) = torch.autograd.grad(result @ direction, theta, retain_graph=True, allow_unused=True)
    if slope is None:
        raise Wrong("The new parameters do not depend on theta any more. Leave out detach(), and build on theta.")
    return {"the new parameters": result.detach(), "their derivative": slope}


def _examine_step(attempt: Callable) -> None:
    agree(
        attempt,
        name="inner_step",
        cases=STEP_CASES,
        right=solutions.inner_step,
        numbers=_step_numbers,
        mistakes=INNER_STEP_MISTAKES,
    )


inner_step = Exercise(
    answer=solutions.inner_step,
    difficulty="medium",
    minutes=10,
    statement="Return theta after one step of this rate that climbs the objective, so that it can be differentiated.",
    hints=(
        "torch.autograd.grad(objective(theta), theta) returns a tuple with one gradient.",
        "Lesson 1 says what create_graph=True is for: the gradient then has a derivative itself.",
        "theta + rate * gradient, with the sign of a climb.",
    ),
    cases=STEP_CASES,
    examine=_examine_step,
    imports="import torch",
)
