r"""Model-agnostic meta-learning (Finn, Abbeel & Levine 2017), of second and of first order, for T tasks at once.

The inner loop adapts to each task's support set by K gradient steps:

    θ_0 = θ,    θ_{k+1} = θ_k − α ⊙ ∇L_S(θ_k)

The meta-gradient is the query loss's gradient with respect to where the adaptation *started*. With H_k the Hessian
of L_S at θ_k, the chain rule gives a recursion that walks back through the steps:

    v_K = ∇L_Q(θ_K),    v_k = v_{k+1} − H_k (α ⊙ v_{k+1}),    meta-gradient = mean over tasks of v_0

That is exact, and needs the parameters θ_0 … θ_K but no graph from step to step. Variants are choices within it:

    first order (FOMAML)                         H is left out, so v_0 = v_K
    ANIL (Raghu et al. 2020)                     α = 0 but for the head: "almost no inner loop"
    Meta-SGD (Li et al. 2017)                    α is learned, for every parameter: ∂/∂α = − Σ_k ∇L_S(θ_k) ⊙ v_{k+1}
    sparse-MAML (von Oswald et al. 2021)         α ⊙ 1[m ≥ 0] in place of α: which parameters adapt is learned by their
                                                 gates m, as if the step 1[·] had slope 1: ∂/∂m = α ⊙ ∂/∂α
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..engine.cores import in_parts
from ..engine.derivatives import Derivatives, differentiate, is_by_hand
from ..losses import accuracy, cross_entropy
from ..nets import Net, Params, for_tasks
from ..tasks import Episode

RATE, GATE = "rate.", "gate."  # what is learned of the inner step lies beside the parameters, under these prefixes
GATES_WITHIN = 0.1  # where gates start, half of them open: √(6 / (9 · 64)), as for Conv4 in the code of sparse-MAML


@dataclass(frozen=True)
class MAML:
    """Defaults are the paper's for 5-way Omniglot: one inner step of 0.4, second order, transductive batch norm.

    Args:
        net: the network that is adapted.
        loss: predictions [T, B, out] and targets to one loss per task [T].
        inner_lr: α, the inner learning rate, for a *mean* loss. A tensor without axes may be changed in place, and
            a training captured on a GPU follows.
        inner_steps: K; 0 is plain joint training on the query sets of all tasks.
        order: 2 for the exact meta-gradient, 1 for FOMAML, which leaves out the Hessian.
        transductive: True normalises a query batch by its own statistics, so that queries see each other, as the
            paper's code does; False by the support set's.
        adapts: names of the parameters that the inner loop changes: `("head", "bias")` makes Conv4 ANIL. None: all.
        learn_rates: Meta-SGD: every parameter has an inner learning rate of its own, starts at `inner_lr`, and is
            learned with the rest. The paper draws the starts from 0.005 … 0.1.
        learn_gates: sparse-MAML: every parameter has a gate m, learned with the rest, and adapts where m ≥ 0. The
            paper's code takes order 1 by default.
    """

    net: Net
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy
    inner_lr: float | Tensor = 0.4
    inner_steps: int = 1
    order: int = 2
    transductive: bool = True
    adapts: tuple[str, ...] | None = None
    learn_rates: bool = False
    learn_gates: bool = False

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise ValueError(f"order={self.order!r} must be 1 (first-order MAML) or 2 (MAML)")
        if self.inner_steps < 0:
            raise ValueError(f"inner_steps={self.inner_steps} must be 0 or more")
        if not isinstance(self.inner_lr, Tensor) and not self.inner_lr >= 0:
            raise ValueError(f"inner_lr={self.inner_lr} must be 0 or more")
        if self.learn_rates and self.learn_gates:
            raise ValueError("learn_rates=True and learn_gates=True: choose one, Meta-SGD or sparse-MAML")

    def init(self, generator: torch.Generator) -> Params:
        """Fresh parameters, and their rates or gates where those are learned."""
        params = self.net.init(generator)
        unknown = set(self.adapts or ()) - set(params)
        if unknown:
            raise ValueError(f"adapts={self.adapts} names {sorted(unknown)}; the net has {list(params)}")
        adapted = {name: params[name] for name in (params if self.adapts is None else self.adapts)}
        if self.learn_rates:
            params |= {RATE + name: torch.full_like(p, self.inner_lr) for name, p in adapted.items()}
        if self.learn_gates:
            params |= {GATE + name: _uniform_like(p, generator) for name, p in adapted.items()}
        return params

    def rates(self, params: Params) -> dict[str, float | Tensor]:
        """The inner learning rate of each parameter: one number, or a tensor like it where rates or gates are learned.

        It is 0 where nothing adapts.
        """

        def rate(name: str) -> float | Tensor:
            if self.adapts is not None and name not in self.adapts:
                return 0.0
            if self.learn_gates:
                return self.inner_lr * (params[GATE + name] >= 0).to(params[name].dtype)
            return params[RATE + name] if self.learn_rates else self.inner_lr

        return {name: rate(name) for name in params if not name.startswith((RATE, GATE))}

    def adapt(self, params: Params, episode: Episode, *, steps: int | None = None) -> list[Params]:
        """The trajectory [θ_0, …, θ_K] of each task's parameters [T, ...]; `steps` overrides K, at test say."""
        theta, rates = self._start(params, episode.tasks)
        trajectory = [theta]
        for _ in range(self.inner_steps if steps is None else steps):
            trajectory.append(_step(trajectory[-1], rates, self._support(trajectory[-1], episode).gradient()))
        return trajectory

    def meta_gradient(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """The gradient of the mean query loss with respect to `params`, and the metrics after adaptation."""
        sums = in_parts(lambda part: self._sums(params, part), episode)
        grads, metrics = ({name: total / episode.tasks for name, total in kind.items()} for kind in sums)
        return grads, metrics

    def _sums(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """The sums over an episode's tasks of the meta-gradients and the metrics."""
        by_hand = self.transductive and is_by_hand(self.net, self.loss, episode.support_x)
        with torch.inference_mode(by_hand):  # a tenth faster than no_grad for a small net
            return self._recursion(params, episode)

    def _recursion(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        theta, rates = self._start(params, episode.tasks)
        learned = [name for name in theta if RATE + name in params or GATE + name in params]
        back = self.order == 2 or learned  # whether to walk back through the inner steps
        trajectory, support = [], None
        for _ in range(self.inner_steps):
            support = self._support(theta, episode)
            if back:
                trajectory.append(theta)
            theta = _step(theta, rates, support.gradient())

        query = differentiate(
            self.net, self.loss, theta, episode.query_x, episode.query_y, context=self._context(episode)
        )
        v = query.gradient()
        rate_grads = {name: torch.zeros_like(v[name]) for name in learned}
        for theta in reversed(trajectory):
            support = support or self._support(theta, episode)  # that of the last step is still at hand
            if learned:
                g = support.gradient()
                rate_grads = {name: total - g[name] * v[name] for name, total in rate_grads.items()}
            if self.order == 2 and (learned or self.adapts):
                product = support.hessian_vector({name: rates[name] * v[name] for name in v})
                v = {name: v[name] - product[name] for name in v}
            elif self.order == 2:  # one number for all: H (α v) = α H v, which saves a pass over v
                v = _step(v, rates, support.hessian_vector(v))
            support = None

        if self.learn_gates:
            v |= {GATE + name: self.inner_lr * g for name, g in rate_grads.items()}
        else:
            v |= {RATE + name: g for name, g in rate_grads.items()}
        metrics = {"loss": query.losses().sum()}
        if self.loss is cross_entropy:
            metrics["accuracy"] = accuracy(query.outputs, episode.query_y).sum()
        return {name: g.sum(0) for name, g in v.items()}, metrics

    def predict(self, params: Params, episode: Episode, *, steps: int | None = None) -> Tensor:
        """The adapted networks' answers to the queries: [T, Q, out]."""
        return self.query(self.adapt(params, episode, steps=steps)[-1], episode)

    @torch.no_grad()
    def query(self, theta: Params, episode: Episode) -> Tensor:
        """What networks of parameters θ [T, ...] answer to the queries: [T, Q, out]."""
        return self.net(theta, episode.query_x, context=self._context(episode))

    def _start(self, params: Params, tasks: int) -> tuple[Params, dict[str, float | Tensor]]:
        """θ_0 [T, ...], and α by name."""
        rates = self.rates(params)
        return for_tasks({name: params[name] for name in rates}, tasks), rates

    def _support(self, theta: Params, episode: Episode) -> Derivatives:
        return differentiate(self.net, self.loss, theta, episode.support_x, episode.support_y)

    def _context(self, episode: Episode) -> Tensor | None:
        return None if self.transductive else episode.support_x


def _step(theta: Params, rates: dict[str, float | Tensor], grads: Params) -> Params:
    """θ − α ⊙ gradient."""

    def moved(p: Tensor, rate: float | Tensor, g: Tensor) -> Tensor:
        if isinstance(rate, Tensor):
            return torch.addcmul(p, rate, g, value=-1)
        return torch.add(p, g, alpha=-rate)

    return {name: moved(p, rates[name], grads[name]) for name, p in theta.items()}


def _uniform_like(p: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers between ± GATES_WITHIN, of the shape of p."""
    return GATES_WITHIN * (2 * torch.rand(p.shape, generator=generator, device=p.device) - 1)
