r"""A recurrent learner (Hochreiter, Younger & Conwell 2001; Santoro et al. 2016): a state that each example changes.

A gated recurrent unit (Cho et al. 2014) reads one example v = (x_k, y_k) after another. With σ the logistic function,

    z = σ(W_z v + U_z s + b_z),    r = σ(W_r v + U_r s + b_r),    c = tanh(W_c v + r ⊙ (U_c s) + b_c),
    s ← (1 − z) ⊙ c + z ⊙ s,       f(x | examples) = g(s, x)

Learning a task is here the change of the state s, from s = 0, by rules that the weights have learned. The answers
depend on the order of the examples, unless the training makes the network forget it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments
from ..nets import Params, normal
from .in_context import InContext, apply_layers, draw_layers


@dataclass(frozen=True)
class RecurrentLearner(InContext):
    """A gated recurrent unit that reads examples, and a decoder of three layers that answers."""

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters: W and U of the three gates next to one another, their biases, and the decoder's."""
        arguments.generator(generator)
        n_in, width = self.inputs + self.outputs, self.width
        params = {
            "input": normal(n_in, 3 * width, fan_in=n_in, gain=1.0, generator=generator),
            "state": normal(width, 3 * width, fan_in=width, gain=1.0, generator=generator),
            "bias": torch.zeros(3 * width, device=generator.device),
        }
        return params | draw_layers("decode", (width + self.inputs, width, width, self.outputs), generator)

    def read(self, params: Params, x: Tensor, y: Tensor, query_x: Tensor) -> tuple[Tensor, Tensor]:
        """Read the examples one after another; arguments and results as in `InContext.read`."""
        inputs = torch.cat([x, y], 2) @ params["input"] + params["bias"]  # [T, K, 3 W]
        state = x.new_zeros(len(x), self.width)
        states = [state]
        for gates in inputs.unbind(1):
            state = next_state(params, gates, state)
            states.append(state)
        before = torch.stack(states[:-1], 1)
        return self._answer(params, before, x), self._answer(
            params, state[:, None].expand(-1, query_x.shape[1], -1), query_x
        )

    def _answer(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        return apply_layers(params, "decode", torch.cat([state, x], 2))


def next_state(params: Params, inputs: Tensor, state: Tensor) -> Tensor:
    """Return the state [T, W] that follows a state, from what the three gates get of an example, W v + b [T, 3 W]."""
    keep, reset, candidate = inputs.chunk(3, 1)
    of_keep, of_reset, of_candidate = (state @ params["state"]).chunk(3, 1)
    keep, reset = torch.sigmoid(keep + of_keep), torch.sigmoid(reset + of_reset)
    return torch.tanh(candidate + reset * of_candidate).lerp(state, keep)
