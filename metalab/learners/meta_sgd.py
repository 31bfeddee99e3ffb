r"""Meta-SGD (Li, Zhou, Chen & Li 2017): every parameter's inner learning rate is learned, together with the start.

    θ_{k+1} = θ_k − α ⊙ ∇L_S(θ_k),    ∂L_Q/∂α = − Σ_k ∇L_S(θ_k) ⊙ v_{k+1}

with v as in MAML's recursion. A learned rate may become negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..engine.derivatives import Derivatives
from ..nets import Params
from ..tasks import Episode
from .maml import MAML, Rates

RATE = "rate."  # the learned rate of the parameter "w1" is the parameter "rate.w1"


@dataclass(frozen=True)
class MetaSGD(MAML):
    """Meta-SGD, with MAML's arguments. All rates start at `inner_lr`; the paper draws the starts from 0.005 … 0.1."""

    _prefix = RATE  # of the names of what is learned about the inner step
    _walks_back = True  # at order 1 too: what is learned about the inner step gets its gradient from every step

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters of the network, and for each what is learned about its inner step."""
        params = super().init(generator)
        return params | {self._prefix + name: self._start(p, generator) for name, p in params.items()}

    def weights(self, params: Params) -> Params:
        """Return those of `params` that are the network's."""
        return {name: p for name, p in params.items() if not name.startswith(self._prefix)}

    def rates(self, params: Params, step: int = 0) -> Rates:
        """Return the inner learning rate of each parameter of the network, by its name."""
        return {name: self._rate(params[self._prefix + name]) for name in self.weights(params)}

    def meta_gradient(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """Return MAML's meta-gradient, and that of what is learned about the inner step, with the metrics.

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner, or there are no inner steps, so that
                nothing could be learned about them.
        """
        if self.inner_steps < 1:
            raise ValueError(
                f"inner_steps={self.inner_steps} must be 1 or more: without a step nothing is learned about it"
            )
        return super().meta_gradient(params, episode)

    def _step_back(self, v: Params, support: Derivatives, params: Params, step: int) -> Params:
        g, learned = support.gradient(), {name: self._prefix + name for name in self.weights(params)}
        slopes = {of: v.get(of, 0.0) - self._slope(g[name] * v[name], step) for name, of in learned.items()}
        return super()._step_back(v, support, params, step) | slopes

    def _start(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Return where the learned tensor of a parameter starts."""
        return torch.full_like(like, self.inner_lr)

    def _rate(self, learned: Tensor) -> Tensor:
        """Return α of a parameter, from its learned tensor."""
        return learned

    def _slope(self, slope: Tensor, step: int) -> Tensor:
        """Return each task's slope in the learned tensor, from that in α of an inner step [T, ...]."""
        return slope
