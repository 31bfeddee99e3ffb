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
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ..derivatives import Derivatives, differentiate, is_by_hand
from ..losses import accuracy, cross_entropy
from ..nets import Net, Params, for_tasks
from ..tasks import Episode

IN_CACHE = 80 * 28 * 28  # input numbers, at which Conv4 was fastest: 8 tasks of 10 pictures
SMALL = 28 * 28  # fewer input numbers in all are not worth a second thread
RATE = "rate."  # Meta-SGD's learned rates lie beside the parameters, under this prefix


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
    """

    net: Net
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy
    inner_lr: float | Tensor = 0.4
    inner_steps: int = 1
    order: int = 2
    transductive: bool = True
    adapts: tuple[str, ...] | None = None
    learn_rates: bool = False

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise ValueError(f"order={self.order!r} must be 1 (first-order MAML) or 2 (MAML)")
        if self.inner_steps < 0:
            raise ValueError(f"inner_steps={self.inner_steps} must be 0 or more")
        if not isinstance(self.inner_lr, Tensor) and not self.inner_lr >= 0:
            raise ValueError(f"inner_lr={self.inner_lr} must be 0 or more")

    def init(self, generator: torch.Generator) -> Params:
        """Fresh parameters, and with `learn_rates` their rates."""
        params = self.net.init(generator)
        unknown = set(self.adapts or ()) - set(params)
        if unknown:
            raise ValueError(f"adapts={self.adapts} names {sorted(unknown)}; the net has {list(params)}")
        if self.learn_rates:
            adapted = params if self.adapts is None else self.adapts
            params |= {RATE + name: torch.full_like(params[name], self.inner_lr) for name in adapted}
        return params

    def adapt(self, params: Params, episode: Episode, *, steps: int | None = None) -> list[Params]:
        """The trajectory [θ_0, …, θ_K] of each task's parameters [T, ...]; `steps` overrides K, at test say."""
        theta, rates = self._start(params, episode.tasks)
        trajectory = [theta]
        for _ in range(self.inner_steps if steps is None else steps):
            trajectory.append(_step(trajectory[-1], rates, self._support(trajectory[-1], episode).gradient()))
        return trajectory

    def meta_gradient(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """The gradient of the mean query loss with respect to `params`, and the metrics after adaptation."""
        sums = _in_parts(lambda part: self._sums(params, part), episode)
        grads, metrics = ({name: total / episode.tasks for name, total in kind.items()} for kind in sums)
        return grads, metrics

    def _sums(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """The sums over an episode's tasks of the meta-gradients and the metrics."""
        by_hand = self.transductive and is_by_hand(self.net, self.loss, episode.support_x)
        with torch.inference_mode(by_hand):  # a tenth faster than no_grad for a small net
            return self._recursion(params, episode)

    def _recursion(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        theta, rates = self._start(params, episode.tasks)
        back = self.order == 2 or self.learn_rates  # whether to walk back through the inner steps
        trajectory, support = [], None
        for _ in range(self.inner_steps):
            support = self._support(theta, episode)
            trajectory += [theta] * back
            theta = _step(theta, rates, support.gradient())

        query = differentiate(
            self.net, self.loss, theta, episode.query_x, episode.query_y, context=self._context(episode)
        )
        v = query.gradient()
        rate_grads = {name: torch.zeros_like(v[name]) for name in v if RATE + name in params}  # Meta-SGD's
        for theta in reversed(trajectory):
            support = support or self._support(theta, episode)  # that of the last step is still at hand
            if self.learn_rates:
                g = support.gradient()
                rate_grads = {name: total - g[name] * v[name] for name, total in rate_grads.items()}
            if self.order == 2:
                product = support.hessian_vector({name: rates[name] * v[name] for name in v})
                v = {name: v[name] - product[name] for name in v}
            support = None

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
        """θ_0 [T, ...], and α by name: one number for all, 0 where nothing adapts, or what Meta-SGD has learned."""
        theta = {name: p for name, p in params.items() if not name.startswith(RATE)}

        def rate(name: str) -> float | Tensor:
            if self.adapts is not None and name not in self.adapts:
                return 0.0
            return params[RATE + name] if self.learn_rates else self.inner_lr

        return for_tasks(theta, tasks), {name: rate(name) for name in theta}

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


def _in_parts(work: Callable[[Episode], tuple[Params, ...]], episode: Episode) -> tuple[Params, ...]:
    """The sum of what `work` gives for parts of an episode: all of it at once on a GPU, and on a CPU so few tasks at a
    time that what they touch stays in cache, each core at parts of its own."""
    cores = torch.get_num_threads()
    numbers = (episode.support_x.numel() + episode.query_x.numel()) // episode.tasks  # of one task's inputs
    size = max(1, min(IN_CACHE // numbers, -(-episode.tasks // cores)))
    if episode.support_x.is_cuda or numbers * episode.tasks < SMALL:
        return work(episode)
    parts = [episode[start : start + size] for start in range(0, episode.tasks, size)]
    done = list((_pool(cores).map if cores > 1 else map)(work, parts))
    torch.set_num_threads(cores)  # what `_pool` sets would hold for threads that others start later
    return tuple({name: sum(part[name] for part in kind) for name in kind[0]} for kind in zip(*done, strict=True))


@cache
def _pool(cores: int) -> ThreadPoolExecutor:
    """Threads whose tensor operations stay on one core: that divides memory traffic too, which OpenMP does not."""
    return ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))
