r"""MAML for acting (Finn, Abbeel & Levine 2017, section 4.2): an inner step by the score-function policy gradient.

A policy π_θ(a | s) is a normal distribution, whose mean is a network of the state. A task's expected return J(θ) is
known from trials alone, because the learner sees rewards and no goal. One inner step makes N trajectories and follows

    θ' = θ + α ĝ,    ĝ = mean over trajectories and steps of ∇ log π_θ(a_t | s_t) Â_t

with the advantage Â_t: the discounted reward from t on, minus a baseline, centred and divided by its standard
deviation. The baseline is the paper's, a linear function of 1, s, s², t, t² and t³ that is fitted to the trajectories.

Meta-training maximises the return after each of the K steps, averaged over the steps. While it trains, the simulator
can be differentiated: with the noise held fixed, states, rewards and ĝ are functions of θ, and the meta-gradient is
the derivative of all of them by the chain rule. This is the *pathwise* gradient. It includes what θ does to the
trajectories that ĝ is computed from. (The authors estimate the meta-gradient from returns too, by TRPO.) Adaptation
to a new task needs rewards only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments
from ..nets import MLP, Params, for_tasks, normal
from ..tasks.navigation import STEPS, Attempts, Policy, Trajectories
from .learner import check_params

RIDGE = 1e-4  # is added to the diagonal of the baseline's normal equations


class _Network(MLP):
    """The network of the mean, with tanh between its layers."""

    between = staticmethod(torch.tanh)


@dataclass(frozen=True)
class PolicyMAML:
    """MAML with inner steps by the score-function policy gradient, trained by the pathwise gradient.

    The standard deviation of the actions is learned by the meta-training, and left as it is by the inner steps.

    Args:
        width: the units of each of the two hidden layers.
        inner_lr: α. A tensor without axes may be changed in place while a training runs.
        later: the steps after the first have this share of α.
        inner_steps: K. With 0, the mean return over all tasks is maximised without adaptation (joint training).
        discount: of the rewards in the advantages.
        deviation: the standard deviation of the actions at the start, in units of the highest speed.
        longest: a task's meta-gradient that is longer is shortened to this length, and one that is not finite is left
            out; the loss is the mean of −reward over the steps. A few tasks would else decide each outer step.

    Raises:
        TypeError, ValueError: an argument is of another type or out of its range.
    """

    width: int = 64
    inner_lr: float | Tensor = 0.5
    later: float = 1.0
    inner_steps: int = 1
    discount: float = 0.99
    deviation: float = 0.6
    longest: float = 0.3

    def __post_init__(self) -> None:
        arguments.whole(width=self.width)
        arguments.whole(least=0, inner_steps=self.inner_steps)
        arguments.real(least=0, inner_lr=self.inner_lr, later=self.later)
        arguments.real(above=0, most=1, discount=self.discount)
        arguments.real(above=0, deviation=self.deviation, longest=self.longest)

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters: w1 … w3 and b1 … b3 of the mean's network, and the logarithm of the deviation."""
        arguments.generator(generator)
        params, device = {}, generator.device
        for i, (n_in, n_out) in enumerate(((2, self.width), (self.width, self.width), (self.width, 2)), start=1):
            gain = 0.01 if i == 3 else 1.0  # at first, the point stays about where it is
            params[f"w{i}"] = normal(n_in, n_out, fan_in=n_in, gain=gain, generator=generator)
            params[f"b{i}"] = torch.zeros(n_out, device=device)
        return params | {"log_deviation": torch.full((2,), math.log(self.deviation), device=device)}

    def policy(self, theta: Params) -> Policy:
        """Return what maps states [T, B, 2] to the mean of the actions [T, B, 2] and their deviation [T, 1, 2]."""
        net, deviation = _Network((2, self.width, self.width, 2)), theta["log_deviation"].exp()[:, None]
        return lambda states: (net(theta, states), deviation)

    def inner_gradient(self, theta: Params, walked: Trajectories, *, create_graph: bool = False) -> Params:
        """Return ĝ for the parameters [T, ...] that made the trajectories, but for the deviation."""
        tasks, trials, steps, _ = walked.states.shape
        with torch.enable_grad():
            if not create_graph:
                theta, walked = {name: p.detach().requires_grad_() for name, p in theta.items()}, walked.detach()
            # The trajectories depend on θ too. The score is the derivative where they are held fixed, so it is taken
            # with respect to copies, which they do not depend on.
            theta = {name: p.clone() if create_graph else p for name, p in theta.items()}
            mean, deviation = self.policy(theta)(walked.states.flatten(1, 2))
            z = (walked.actions.flatten(1, 2) - mean) / deviation
            log_p = (-0.5 * z.square() - deviation.log()).sum(2).view(tasks, trials, steps)
            each = (log_p * advantages(walked, self.discount)).sum((1, 2)) / walked.under_way.sum((1, 2))
            adapted = {name: p for name, p in theta.items() if name != "log_deviation"}
            grads = torch.autograd.grad(each.sum(), list(adapted.values()), create_graph=create_graph)
        return dict(zip(adapted, grads, strict=True))

    def _step(self, theta: Params, walked: Trajectories, k: int, *, create_graph: bool = False) -> Params:
        """Return the parameters [T, ...] after the inner step k, counted from 0, by the trajectories that they made."""
        rate = self.inner_lr * (self.later if k else 1.0)
        grads = self.inner_gradient(theta, walked, create_graph=create_graph)
        return theta | {name: theta[name] + rate * g for name, g in grads.items()}

    @torch.no_grad()
    def adapt(self, params: Params, attempts: Attempts) -> tuple[list[Params], list[Trajectories]]:
        """Adapt to T goals by the rewards, in the published environment: a step after each round but the last.

        Args:
            params: the parameters, without a task axis.
            attempts: the goals, and the noise of R rounds.

        Returns:
            The parameters [T, ...] of each round, and its trajectories.

        Raises:
            TypeError, ValueError: the arguments do not fit this learner.
        """
        self._check(params, attempts, rounds=1)
        thetas, walks = [for_tasks(params, attempts.tasks)], []
        for k in range(attempts.rounds):
            walks.append(attempts.walk(self.policy(thetas[-1]), k))
            if k + 1 < attempts.rounds:
                thetas.append(self._step(thetas[-1], walks[-1], k))
        return thetas, walks

    def predict(self, params: Params, attempts: Attempts) -> Tensor:
        """Return the mean returns of each goal before and after each step [T, R]; errors as in `adapt`."""
        return torch.stack([walked.returns().mean(1) for walked in self.adapt(params, attempts)[1]], 1)

    def loss(self, theta: Params, attempts: Attempts) -> Tensor:
        """Return −reward for each step after adaptation, the mean of the K rounds: [T], with a graph."""
        losses = []
        for k in range(self.inner_steps + 1):
            walked = attempts.walk(self.policy(theta), k, ends=False)
            if k > 0 or self.inner_steps == 0:
                losses.append(-walked.rewards.mean((1, 2)))
            if k < self.inner_steps:
                theta = self._step(theta, walked, k, create_graph=True)
        return torch.stack(losses).mean(0)

    def meta_gradient(self, params: Params, attempts: Attempts) -> tuple[Params, dict[str, Tensor]]:
        """Return the pathwise gradient of the loss, the mean over the tasks, and the metrics.

        Raises:
            TypeError, ValueError: parameters and attempts do not fit this learner.
        """
        self._check(params, attempts, rounds=self.inner_steps + 1)
        theta = {name: p.clone().requires_grad_() for name, p in for_tasks(params, attempts.tasks).items()}
        with torch.enable_grad():
            losses = self.loss(theta, attempts)
            found = torch.autograd.grad(losses.sum(), list(theta.values()), materialize_grads=True)
        grads = [g.nan_to_num(0, 0, 0).flatten(1) for g in found]
        length = sum(g.square().sum(1) for g in grads).sqrt()
        share = (self.longest / length.clamp(min=self.longest))[:, None]
        means = {name: (share * g).mean(0).view(p.shape) for (name, p), g in zip(params.items(), grads, strict=True)}
        return means, {"loss": losses.detach().mean()}

    def _check(self, params: Params, attempts: Attempts, rounds: int) -> None:
        if arguments.is_trusted():
            return
        if not isinstance(attempts, Attempts):
            raise TypeError(f"attempts={arguments.shown(attempts)} must be Attempts, as navigation.sample draws")
        if attempts.rounds < rounds:
            raise ValueError(f"attempts has {attempts.rounds} rounds; this learner needs at least {rounds}")
        check_params(self, params, attempts.goal)


def rewards_to_go(rewards: Tensor, discount: float = 1.0) -> Tensor:
    """Return Σ_{u ≥ t} discount^(u − t) r_u for rewards [T, N, H]: [T, N, H]."""
    arguments.shapes(rewards=(rewards, "T N H"))
    arguments.real(above=0, most=1, discount=discount)
    total, later = torch.zeros_like(rewards[:, :, 0]), []
    for reward in reversed(rewards.unbind(2)):
        total = reward + discount * total
        later.append(total)
    return torch.stack(later[::-1], 2)


def advantages(walked: Trajectories, discount: float = 0.99) -> Tensor:
    """Return Â [T, N, H]: reward to go minus the linear baseline, of mean 0 and deviation 1 within each task."""
    if not isinstance(walked, Trajectories):
        raise TypeError(f"walked={arguments.shown(walked)} must be Trajectories, as Attempts.walk makes")
    target, on, s = rewards_to_go(walked.rewards, discount), walked.under_way, walked.states
    t = (torch.arange(s.shape[2], device=s.device, dtype=s.dtype) / STEPS).expand_as(target)
    features = torch.stack([*s.unbind(3), *s.square().unbind(3), t, t**2, t**3, torch.ones_like(t)], 3)
    x, y = (features * on[..., None]).flatten(1, 2), (target * on).flatten(1, 2)[..., None]
    ridge = RIDGE * torch.eye(x.shape[2], device=s.device, dtype=s.dtype)
    # Unlike `solve`, `solve_ex` does not wait for a GPU to say whether the matrix is singular; the ridge sees to that.
    weights, _info = torch.linalg.solve_ex(x.mT @ x / x.shape[1] + ridge, x.mT @ y / x.shape[1])
    gap = (y - x @ weights).view_as(target)
    count = on.sum((1, 2), keepdim=True)
    gap = (gap - gap.sum((1, 2), keepdim=True) / count) * on
    return gap / ((gap.square().sum((1, 2), keepdim=True) / count).sqrt() + 1e-8)
