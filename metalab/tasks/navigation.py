"""2-D navigation (Finn et al. 2017, section 5.3.1): a point walks from the origin to a goal that it does not know.

Each task is one goal g, uniform in −0.5 … 0.5 in both coordinates. The state s is the point's position. An action a is
a velocity, in units of the highest one: each of its coordinates is clipped to −1 … 1, and then

    s_{t+1} = s_t + 0.1 · clip(a_t, −1, 1),    reward r_t = −‖s_{t+1} − g‖,    t = 0 … 99

A trajectory ends early where both coordinates are within 0.01 of the goal. This is the authors' environment, as they
call it from their training script: its actions are clipped to ±0.1 coordinate by coordinate, and the wrapper around it
multiplies the policy's numbers by 0.1.

The learner is told the rewards, and never the goal. All randomness is standard normal noise that an `Attempt` holds, so
that the same attempt can be made again with other parameters: what results differs by the parameters alone (common
random numbers). Positions and rewards are differentiable functions of the policy's parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments

GOALS = 0.5  # the largest coordinate of a goal
SPEED = 0.1  # the largest change of a coordinate in a step
STEPS = 100
NEAR = 0.01  # a trajectory ends where both coordinates are as near to the goal as this

Policy = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Trajectories:
    """N trajectories of H steps for each of T tasks.

    Args:
        states: the positions before each step [T, N, H, 2].
        actions: what the policy chose there [T, N, H, 2], before it is clipped.
        rewards: what came of it [T, N, H]; 0 once a trajectory has ended.
        under_way: 1 for the steps that were taken, and 0 for those after the end [T, N, H].
        last: the positions after the last step [T, N, 2].
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor
    under_way: Tensor
    last: Tensor

    def returns(self) -> Tensor:
        """Return the sum of the rewards of each trajectory: [T, N]."""
        return self.rewards.sum(2)

    def detach(self) -> Trajectories:
        """Return the same trajectories as data, of which no derivative is taken."""
        return Trajectories(*(getattr(self, name).detach() for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Attempts:
    """T goals, and the noise of R rounds of N trajectories each: all that decides what a policy meets.

    Args:
        goal: [T, 2].
        noise: standard normal numbers [T, R, N, H, 2].

    Raises:
        TypeError: one of the two is no tensor.
        ValueError: they are not of these shapes, or not floating-point numbers of one precision on one device.
    """

    goal: Tensor
    noise: Tensor

    def __post_init__(self) -> None:
        arguments.shapes(goal=(self.goal, "T 2"), noise=(self.noise, "T R N H 2"))
        arguments.floats(goal=self.goal, noise=self.noise)

    @property
    def tasks(self) -> int:
        """T."""
        return len(self.goal)

    @property
    def rounds(self) -> int:
        """R."""
        return self.noise.shape[1]

    def walk(self, policy: Policy, round_: int = 0, *, ends: bool = True) -> Trajectories:
        """Let a policy walk, with the noise of a round.

        Args:
            policy: maps states [T, N, 2] to the mean of the action [T, N, 2] and its standard deviation [T, 1, 2].
            round_: which noise, from 0.
            ends: whether a trajectory ends near the goal, as published. Without, it takes all steps, and the return is
                a continuous function of the policy's parameters.

        Raises:
            TypeError, ValueError: `policy` is no function, there is no such round, or `ends` is no flag.
        """
        arguments.function(policy=policy)
        arguments.whole(least=0, most=self.rounds - 1, round_=round_)
        arguments.flag(ends=ends)
        noise = self.noise[:, round_]
        goal = self.goal[:, None]
        state = torch.zeros_like(noise[:, :, 0])
        on = torch.ones_like(noise[:, :, 0, 0])
        states, actions, rewards, under_way = [], [], [], []
        for eps in noise.unbind(2):
            mean, deviation = policy(state)
            action = mean + deviation * eps
            states.append(state)
            actions.append(action)
            under_way.append(on)
            state = state + SPEED * action.clamp(-1, 1) * on[..., None]
            rewards.append(-(state - goal).norm(dim=2) * on)
            if ends:
                on = on * ((state.detach() - goal).abs().amax(2) >= NEAR)
        return Trajectories(*(torch.stack(part, 2) for part in (states, actions, rewards, under_way)), state)


def sample(
    tasks: int,
    trajectories: int,
    rounds: int,
    generator: torch.Generator,
    *,
    steps: int = STEPS,
    dtype: torch.dtype = torch.float32,
) -> Attempts:
    """Draw goals and noise.

    Args:
        tasks: T.
        trajectories: N, of each round.
        rounds: R; a learner that takes K inner steps needs K + 1 of them.
        generator: source of randomness; the tensors are on its device.
        steps: H.
        dtype: of the tensors.

    Raises:
        TypeError: a number is no whole number, or `generator` is no generator.
        ValueError: a number is less than 1, or `dtype` is neither float32 nor float64.
    """
    arguments.whole(tasks=tasks, trajectories=trajectories, rounds=rounds, steps=steps)
    arguments.generator(generator)
    arguments.one_of((torch.float32, torch.float64), dtype=dtype)
    at = {"generator": generator, "device": generator.device, "dtype": dtype}
    goal = GOALS * (2 * torch.rand(tasks, 2, **at) - 1)
    return Attempts(goal, torch.randn(tasks, rounds, trajectories, steps, 2, **at))
