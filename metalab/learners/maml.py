r"""Model-agnostic meta-learning, MAML (Finn, Abbeel & Levine 2017), of second and of first order, for T tasks at once.

The inner loop adapts to each task's support set by K gradient steps:

    θ_0 = θ,    θ_{k+1} = θ_k − α ∇L_S(θ_k)

The meta-gradient is the gradient of the query loss with respect to where the adaptation *started*. With H_k the Hessian
of L_S at θ_k, the chain rule gives a recursion that walks back through the steps:

    v_K = ∇L_Q(θ_K),    v_k = v_{k+1} − H_k (α v_{k+1}),    meta-gradient = mean over tasks of v_0

This is exact. It needs the parameters θ_0 … θ_K, but no graph from one step to the next. First-order MAML (FOMAML)
leaves the Hessian out, so that v_0 = v_K.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments
from ..engine.cores import sum_over_tasks
from ..engine.derivatives import Derivatives, differentiate, is_by_hand
from ..losses import accuracy, cross_entropy
from ..nets import Net, Params, for_tasks
from ..tasks import Episode
from .learner import check_episode, check_net

Rates = float | Tensor | dict[str, float | Tensor]  # α: one for all parameters, or one for each by name


@dataclass(frozen=True)
class MAML:
    """MAML. The defaults are those of the paper's code for 5-way Omniglot: one inner step of 0.4, second order,
    transductive. (The inner loss of that code is N times the mean, N being the ways; see results/notes.md.)

    Args:
        net: the network that is adapted.
        loss: maps predictions [T, B, out] and targets to one loss per task [T], a mean over its examples.
        inner_lr: α, the inner learning rate. A tensor without axes may be changed in place while a training runs;
            a meta-step that was recorded on a GPU then follows.
        inner_steps: K, the number of inner steps. 0 is joint training on the query sets of all tasks.
        order: 2 for the exact meta-gradient, 1 for first-order MAML.
        transductive: True normalises a query batch by its own statistics, so that queries see one another, as the
            paper's code does; False normalises it by the statistics of the support set.

    Raises:
        TypeError, ValueError: an argument is of another type, the order is neither 1 nor 2, or the inner steps or the
            inner learning rate are negative or not finite.
    """

    net: Net
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy
    inner_lr: float | Tensor = 0.4
    inner_steps: int = 1
    order: int = 2
    transductive: bool = True

    def __post_init__(self) -> None:
        check_net(self.net)
        arguments.function(loss=self.loss)
        arguments.real(least=0, inner_lr=self.inner_lr)
        arguments.whole(least=0, inner_steps=self.inner_steps)
        arguments.one_of((1, 2), order=self.order)
        arguments.flag(transductive=self.transductive)

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters of the network."""
        return self.net.init(generator)

    def rates(self, params: Params, step: int = 0) -> Rates:
        """Return α of an inner step, counted from 0: one learning rate for all parameters, or one for each."""
        return self.inner_lr

    def weights(self, params: Params) -> Params:
        """Return those of `params` that the network has, without what is learned about the inner step."""
        return params

    def adapt(self, params: Params, episode: Episode) -> list[Params]:
        """Take the inner steps on each task's support set: the trajectory [θ_0, …, θ_K], each [T, ...].

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner.
        """
        self._check(params, episode)
        trajectory = [for_tasks(self.weights(params), episode.tasks)]
        for step in range(self.inner_steps):
            theta = trajectory[-1]
            trajectory.append(descend(theta, self.rates(params, step), self._support(theta, episode).gradient()))
        return trajectory

    def predict(self, params: Params, episode: Episode) -> Tensor:
        """Adapt to each task's support set, then answer its queries: [T, Q, out]; errors as in `adapt`."""
        return self.answer(self.adapt(params, episode)[-1], episode)

    @torch.no_grad()
    def answer(self, theta: Params, episode: Episode) -> Tensor:
        """Answer the queries with networks of parameters θ [T, ...], as they are: [T, Q, out].

        Raises:
            TypeError, ValueError: θ and the episode do not fit the network.
        """
        if not isinstance(episode, Episode):
            raise TypeError(f"episode={arguments.shown(episode)} must be an Episode")
        if not isinstance(theta, dict) or not theta:
            raise TypeError(f"theta={arguments.shown(theta)} must be a dictionary of tensors [T, ...]")
        return self.net(theta, episode.query_x, context=self._context(episode))

    def meta_gradient(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """Return the gradient of the mean query loss with respect to `params`, and the metrics after adaptation.

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner.
        """
        self._check(params, episode)
        sums = sum_over_tasks(lambda some: self._sums(params, some), episode)
        gradient, metrics = ({name: total / episode.tasks for name, total in sum_.items()} for sum_ in sums)
        return gradient, metrics

    def _check(self, params: Params, episode: Episode) -> None:
        check_episode(self, params, episode, outputs=getattr(self.net, "outputs", None))

    def _sums(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """Return the sums over an episode's tasks of the meta-gradients and of the metrics."""
        by_hand = self.transductive and is_by_hand(self.net, self.loss, episode.support_x)
        # A tenth faster than no_grad for a small network; a compiler does not take it.
        with torch.inference_mode(by_hand and not torch.compiler.is_compiling()):
            return self._recursion(params, episode)

    def _recursion(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        theta = for_tasks(self.weights(params), episode.tasks)
        steps = []  # θ_0 … θ_{K−1}; of the last one the derivatives too, which are still at hand on the way back
        for k in range(1, self.inner_steps + 1):
            support = self._support(theta, episode)
            if self._walks_back:
                steps.append((theta, support if k == self.inner_steps else None))
            theta = descend(theta, self.rates(params, k - 1), support.gradient())

        query = self._query(theta, episode)
        v = self._from_end(query)
        while steps:
            theta, support = steps.pop()
            v = self._step_back(v, support or self._support(theta, episode), params, len(steps))
            v = self._passing(v, theta, episode, len(steps))

        metrics = {"loss": query.losses().sum()}
        if self.loss is cross_entropy:
            metrics["accuracy"] = accuracy(query.outputs, episode.query_y).sum()
        return {name: g.sum(0) for name, g in v.items()}, metrics

    @property
    def _walks_back(self) -> bool:
        """Whether the inner steps contribute to the meta-gradient."""
        return self.order == 2

    def _from_end(self, query: Derivatives) -> Params:
        """Return v_K, given the derivatives of the query loss at θ_K."""
        return query.gradient()

    def _step_back(self, v: Params, support: Derivatives, params: Params, step: int) -> Params:
        """Return v_k from v_{k+1}, given the derivatives of the support loss at θ_k; `step` is k."""
        return through_step(v, support, self.rates(params, step)) if self.order == 2 else v

    def _passing(self, v: Params, theta: Params, episode: Episode, step: int) -> Params:
        """Return v_k with what the loss at θ_k itself adds to it, which for MAML is nothing; `step` is k."""
        return v

    def _support(self, theta: Params, episode: Episode) -> Derivatives:
        return differentiate(self.net, self.loss, theta, episode.support_x, episode.support_y)

    def _query(self, theta: Params, episode: Episode) -> Derivatives:
        context = self._context(episode)
        return differentiate(self.net, self.loss, theta, episode.query_x, episode.query_y, context=context)

    def _context(self, episode: Episode) -> Tensor | None:
        return None if self.transductive else episode.support_x


def descend(theta: Params, rates: Rates, gradient: Params) -> Params:
    """Return θ − α ⊙ gradient, out of place."""

    def moved(p: Tensor, rate: float | Tensor, g: Tensor) -> Tensor:
        if isinstance(rate, Tensor):
            return torch.addcmul(p, rate, g, value=-1)
        return torch.add(p, g, alpha=-rate)

    return {name: moved(p, rate_of(rates, name), gradient[name]) for name, p in theta.items()}


def through_step(v: Params, support: Derivatives, rates: Rates) -> Params:
    """Return v − H (α ⊙ v): the gradient with respect to θ_k, from the gradient v with respect to θ_{k+1}."""
    if not isinstance(rates, dict):  # one number for all: v − α H v, which saves a pass over v
        return descend(v, rates, support.hessian_vector(v))
    product = support.hessian_vector({name: rates[name] * v[name] for name in rates})
    return {name: v[name] - product[name] for name in rates}


def rate_of(rates: Rates, name: str) -> float | Tensor:
    """Return α of one parameter."""
    return rates[name] if isinstance(rates, dict) else rates
