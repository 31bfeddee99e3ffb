r"""sparse-MAML (von Oswald, Zhao, Kobayashi, Schug, Caccia, Zucchet & Sacramento 2021): learn *which* weights adapt.

Every parameter has a gate m. It adapts where its gate is open,

    θ_{k+1} = θ_k − α 1[m ≥ 0] ⊙ ∇L_S(θ_k),    ∂L_Q/∂m = − α Σ_k ∇L_S(θ_k) ⊙ v_{k+1}

where the gradient of m is taken as if the step function 1[·] had slope 1 (a straight-through estimate), and v is as in
MAML's recursion.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..engine.derivatives import Derivatives
from ..nets import Params
from ..tasks import Episode
from .maml import MAML, Rates

GATE = "gate."  # the gate of the parameter "w1" is the parameter "gate.w1"
WITHIN = 0.1  # gates start uniform in ±0.1, half of them open: √(6 / (9 · 64)), as for Conv4 in the authors' code


@dataclass(frozen=True)
class SparseMAML(MAML):
    """sparse-MAML, with MAML's arguments. The authors' code takes order 1 by default; here it is MAML's, 2."""

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters of the network, and a gate for each."""
        params = super().init(generator)

        def gates(like: Tensor) -> Tensor:
            return WITHIN * (2 * torch.rand(like.shape, generator=generator, device=like.device) - 1)

        return params | {GATE + name: gates(p) for name, p in params.items()}

    def weights(self, params: Params) -> Params:
        """Return those of `params` that are not gates."""
        return {name: p for name, p in params.items() if not name.startswith(GATE)}

    def rates(self, params: Params) -> Rates:
        """Return α where a gate is open and 0 where it is closed, by the names of the parameters."""
        return {
            name: self.inner_lr * (params[GATE + name] >= 0).to(p.dtype) for name, p in self.weights(params).items()
        }

    _walks_back = True  # at order 1 too: the gates' gradient comes from every step

    def _step_back(self, v: Params, support: Derivatives, rates: Rates) -> Params:
        g = support.gradient()
        slopes = {GATE + name: v.get(GATE + name, 0.0) - self.inner_lr * (g[name] * v[name]) for name in rates}
        return super()._step_back(v, support, rates) | slopes

    def meta_gradient(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """Return MAML's meta-gradient, and that of the gates, with the metrics after adaptation.

        Raises:
            ValueError: there are no inner steps, so that no gate could be learned.
        """
        if self.inner_steps < 1:
            raise ValueError(f"inner_steps={self.inner_steps} must be 1 or more: without a step no gate is learned")
        return super().meta_gradient(params, episode)
