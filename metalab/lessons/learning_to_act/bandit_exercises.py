"""The exercises on bandits: the value of a pull, and the game of a network that reads what it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..kit.comparing import Case, Numbers, Wrong, agree, combined, describe, number, single
from ..kit.exercise import Exercise
from . import bandit_solutions as solutions

__all__ = ["play_game", "pull_values"]


# pull_values


def _value(wins: Sequence[float], losses: Sequence[float]) -> float:
    """Return some value of counts, in which each arm counts differently."""
    return sum(
        (a + 1.5) * (w + 0.3) ** 0.5 + 0.1 * (a + 2) ** 0.5 * n**2
        for a, (w, n) in enumerate(zip(wins, losses, strict=True))
    )


def _counts_case(wins: tuple[int, ...], losses: tuple[int, ...]) -> Case:
    return Case(what=f"{len(wins)} arms", make=lambda: (wins, losses, _value), sizes={"the number of arms": len(wins)})


PULL_VALUES_CASES = (_counts_case((2, 0, 1), (1, 3, 0)), _counts_case((0, 4, 1, 2, 0), (2, 1, 1, 0, 0)))


def _one_more(counts: Sequence[int], arm: int) -> tuple[int, ...]:
    return tuple(n + (i == arm) for i, n in enumerate(counts))


def _pull_values(
    wins: Sequence[int],
    losses: Sequence[int],
    value: Callable,
    *,
    mean: str = "right",
    paid: str = "right",
    failed: str = "right",
    end: str = "right",
) -> list[float]:
    """Return the values of the pulls, or what comes of the mistakes that the keywords name."""
    found = []
    for arm, (w, n) in enumerate(zip(wins, losses, strict=True)):
        m = {
            "right": (w + 1) / (w + n + 2),
            "share": w / max(1, w + n),
            "one": (w + 1) / (w + n + 1),
            "half": 0.5,
            "failures": (n + 1) / (w + n + 2),
        }[mean]
        after_payment = {
            "right": 1 + value(_one_more(wins, arm), losses),
            "no reward": value(_one_more(wins, arm), losses),
            "no later": 1,
            "same": 1 + value(wins, losses),
        }[paid]
        after_failure = {
            "right": value(wins, _one_more(losses, arm)),
            "nothing": 0,
            "reward": 1 + value(wins, _one_more(losses, arm)),
            "same": value(wins, losses),
        }[failed]
        found.append(m * after_payment + (1 - m) * after_failure)
    return found if end == "right" else [max(found)]


_KNOWN_VALUES = combined(
    _pull_values,
    {
        "mean": {
            "share": "The chance of a payment is taken to be the share of the pulls that paid. With the uniform prior "
            "it is (w + 1) / (w + l + 2).",
            "one": "The chance of a payment has w + l + 1 as its divisor. It is (w + 1) / (w + l + 2).",
            "half": "Payment and failure count the same. Weigh them with their chances, m and 1 − m.",
            "failures": "The chances of payment and failure are exchanged: m belongs to the payment.",
        },
        "paid": {
            "no reward": "The reward of the pull itself is missing: a payment brings 1, and then what follows.",
            "no later": "After a payment, only the 1 is counted. What follows is missing: value(…).",
            "same": "After a payment, the value of the old counts is taken. Add 1 to the payments of that arm first.",
        },
        "failed": {
            "nothing": "A failure counts as nothing. It brings no reward, but the pulls that follow do: value(…).",
            "reward": "A failure brings a reward of 1 here. Only a payment does.",
            "same": "After a failure, the value of the old counts is taken. Add 1 to the failures of that arm first.",
        },
        "end": {"max": "This is the largest value alone. Return one for each arm: the lesson takes the largest."},
    },
)
PULL_VALUES_MISTAKES = single(_KNOWN_VALUES)


def _values(result: Any, _arguments: tuple) -> Numbers:
    if isinstance(result, Tensor):
        result = result.tolist()
    if isinstance(result, int | float):  # one value: the shape says it, or a known mistake
        result = [result]
    if not hasattr(result, "__len__") or isinstance(result, str | dict):
        raise Wrong(f"It should return a list with a number for each arm; yours is {describe(result)}.")
    return {"the values": torch.tensor([number(n, "Each value") for n in result], dtype=torch.float64)}


def _examine_values(attempt: Callable) -> None:
    agree(
        attempt,
        name="pull_values",
        cases=PULL_VALUES_CASES,
        right=solutions.pull_values,
        numbers=_values,
        mistakes=_KNOWN_VALUES,
        tolerance=1e-6,
    )


pull_values = Exercise(
    answer=solutions.pull_values,
    difficulty="medium",
    minutes=10,
    statement="From the counts of all arms and the value of later counts, return the value of pulling each arm.",
    hints=(
        "A pull of arm a either pays or does not. Write down how probable each is, and what follows then.",
        "The chance of a payment is m = (wins[a] + 1) / (wins[a] + losses[a] + 2). A payment brings 1, and then the "
        "value of the counts with one more payment of arm a.",
        "m * (1 + value(one_win, losses)) + (1 - m) * value(wins, one_loss), where one_win is wins with "
        "wins[a] + 1 at place a: (*wins[:a], wins[a] + 1, *wins[a + 1:]).",
    ),
    cases=PULL_VALUES_CASES,
    examine=_examine_values,
)


# play_game


def _draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _game_case(tasks: int, arms: int, pulls: int, width: int) -> Case:
    def make() -> tuple:
        read_w, state_w, out_w = _draw(arms + 1, width, seed=1), _draw(width, width, seed=2), _draw(width, arms, seed=3)
        out_w.requires_grad_()  # so that what comes of it has a gradient
        luck = torch.rand(2, tasks, pulls, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        chances = torch.rand(tasks, arms, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

        def step(state: Tensor, read: Tensor) -> tuple[Tensor, Tensor]:
            state = torch.tanh(state @ state_w / width**0.5 + read.double() @ read_w + 0.1)
            return state, (state @ out_w).log_softmax(1)

        def choose(log_p: Tensor, k: int) -> Tensor:
            return (log_p.exp().cumsum(1) <= luck[0, :, k, None]).sum(1).clamp(max=arms - 1)

        def pull(arm: Tensor, k: int) -> Tensor:
            return (luck[1, :, k] < chances.gather(1, arm[:, None])[:, 0]).double()

        return step, choose, pull, torch.zeros(tasks, width, dtype=torch.float64), arms, pulls

    sizes = {"the number of tasks": tasks, "the number of pulls": pulls}
    return Case(what=f"{tasks} tasks of {arms} arms and {pulls} pulls", make=make, sizes=sizes)


PLAY_GAME_CASES = (_game_case(6, 3, 5, 4), _game_case(9, 4, 7, 5))


def _game(
    step: Callable,
    choose: Callable,
    pull: Callable,
    state: Tensor,
    arms: int,
    pulls: int,
    *,
    memory: str = "right",
    reads: str = "right",
    logs: str = "right",
    paid: str = "right",
) -> tuple[Tensor, Tensor]:
    """Return the game, or what comes of the mistakes that the keywords name."""
    start, read = state, state.new_zeros(len(state), arms + 1)
    chosen, rewards = [], []
    for k in range(pulls):
        state, log_p = step(start if memory == "reset" else state, read)
        arm = log_p.argmax(1) if memory == "surest" else choose(log_p, k)
        reward = pull(arm, k)
        one, r = F.one_hot(arm, arms).to(reward), reward[:, None]
        read = {
            "right": lambda: torch.cat([one, r], 1),  # noqa: B023
            "nothing": lambda: torch.zeros_like(read),  # noqa: B023
            "no reward": lambda: torch.cat([one, 0 * r], 1),  # noqa: B023
            "no arm": lambda: torch.cat([0 * one, r], 1),  # noqa: B023
            "order": lambda: torch.cat([r, one], 1),  # noqa: B023
            "probabilities": lambda: torch.cat([log_p.exp(), r], 1),  # noqa: B023
            "logs": lambda: torch.cat([log_p, r], 1),  # noqa: B023
        }[reads]()
        own = log_p.gather(1, arm[:, None])[:, 0]
        chosen.append({"right": own, "probability": own.exp(), "largest": log_p.amax(1), "minus": -own}[logs])
        rewards.append(reward)
    log_ps, got = torch.stack(chosen, 1), torch.stack(rewards, 1)
    return log_ps, {"right": got, "total": got.sum(1), "so far": got.cumsum(1)}[paid]


_KNOWN_GAMES = combined(
    _game,
    {
        "memory": {
            "reset": "The state begins anew at each pull, so that the network forgets what it read. Keep the state "
            "that step returns.",
            "surest": "It pulls the arm with the largest probability. Let choose pick the arm: the score-function "
            "gradient needs arms that are drawn.",
        },
        "reads": {
            "nothing": "The network always reads zeros. It should read the arm it has just pulled, and the reward.",
            "no reward": "The network does not read the reward: the last number that it reads stays 0.",
            "no arm": "The network does not read which arm it pulled: the first numbers that it reads stay 0.",
            "order": "The network reads the reward first. The arm comes first, and the reward last.",
            "probabilities": "The network reads the probabilities. It should read which arm was pulled: one 1, else 0.",
            "logs": "The network reads the log-probabilities. It should read which arm was pulled: one 1, else 0.",
        },
        "logs": {
            "probability": "The first part holds probabilities. It should hold their logarithms.",
            "largest": "The first part holds the largest log-probability, and not that of the arm that was pulled.",
            "minus": "The first part has the wrong sign: it holds minus the log-probabilities.",
        },
        "paid": {
            "total": "The second part is the sum over the pulls. Return the reward of each pull.",
            "so far": "The second part is the running sum of the rewards. Return the reward of each pull.",
        },
    },
)
PLAY_GAME_MISTAKES = single(_KNOWN_GAMES)


def _two(result: Any, _arguments: tuple) -> Numbers:
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong(f"It should return two things, log-probabilities and rewards; yours is {describe(result)}.")
    names = ("the log-probabilities", "the rewards")
    for name, part in zip(names, result, strict=True):
        if not isinstance(part, Tensor):
            raise Wrong(f"{name.capitalize()} should be a tensor; yours is {describe(part)}.")
    if not result[0].requires_grad:
        raise Wrong(
            "The log-probabilities have no gradient, so the training below could not change the network by them. Take "
            "them from what step returns, without detach, no_grad or a copy into numbers."
        )
    return {name: part.detach() for name, part in zip(names, result, strict=True)}


def _examine_game(attempt: Callable) -> None:
    agree(
        attempt,
        name="play_game",
        cases=PLAY_GAME_CASES,
        right=solutions.play_game,
        numbers=_two,
        mistakes=_KNOWN_GAMES,
    )


play_game = Exercise(
    answer=solutions.play_game,
    difficulty="medium",
    minutes=15,
    statement="Let a recurrent network play a game: return the log-probabilities of its arms, and the rewards.",
    hints=(
        "In the loop, four things happen: the network makes a step, an arm is chosen, the arm is pulled, and what "
        "happened becomes what the network reads next.",
        "F.one_hot(arm, arms) has the 1 at the right place, and torch.cat([…, reward[:, None]], 1) puts the reward "
        "behind it. Before the first pull, the network reads zeros.",
        "log_p.gather(1, arm[:, None])[:, 0] are the log-probabilities of the chosen arms. Collect them and the "
        "rewards in lists, and join these with torch.stack(…, 1).",
    ),
    cases=PLAY_GAME_CASES,
    examine=_examine_game,
    imports="import torch\nimport torch.nn.functional as F",
)
