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

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters of the network, and give each a rate of its own."""
        params = super().init(generator)
        return params | {RATE + name: torch.full_like(p, self.inner_lr) for name, p in params.items()}

    def weights(self, params: Params) -> Params:
        """Return those of `params` that are not rates."""
        return {name: p for name, p in params.items() if not name.startswith(RATE)}

    def rates(self, params: Params) -> Rates:
        """Return the learned rates, by the names of the parameters that they belong to."""
        return {name: params[RATE + name] for name in self.weights(params)}

    _walks_back = True  # at order 1 too: the rates' gradient comes from every step

    def _step_back(self, v: Params, support: Derivatives, rates: Rates) -> Params:
        g = support.gradient()
        slopes = {RATE + name: v.get(RATE + name, 0.0) - g[name] * v[name] for name in rates}
        return super()._step_back(v, support, rates) | slopes

    def meta_gradient(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """Return MAML's meta-gradient, and that of the rates, with the metrics after adaptation.

        Raises:
            ValueError: there are no inner steps, so that no rate could be learned.
        """
        if self.inner_steps < 1:
            raise ValueError(f"inner_steps={self.inner_steps} must be 1 or more: without a step no rate is learned")
        return super().meta_gradient(params, episode)
