r"""Conditional neural processes (Garnelo et al. 2018): the examples are encoded one by one, and averaged.

An encoder h turns each example into a vector, and their mean r is all that is kept of them. A decoder g answers:

    r = 1/K · Σ_k h(x_k, y_k),    f(x | examples) = g(r, x)

A mean does not depend on the order of its terms, so neither do the answers (Zaheer et al. 2017 show that sums of this
kind are all that is needed for functions of sets). Without an example, r is 0.

The paper's decoder also gives a variance, and maximises a likelihood. This one answers with the mean alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments
from ..nets import Params
from .in_context import InContext, apply_layers, draw_layers


@dataclass(frozen=True)
class ConditionalNeuralProcess(InContext):
    """A conditional neural process. Encoder and decoder have three layers each, of the width of the paper's (128)."""

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters: the encoder's are called `encode.…`, and the decoder's `decode.…`."""
        arguments.generator(generator)
        width = self.width
        encoder = draw_layers("encode", (self.inputs + self.outputs, width, width, width), generator)
        return encoder | draw_layers("decode", (width + self.inputs, width, width, self.outputs), generator)

    def read(self, params: Params, x: Tensor, y: Tensor, query_x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode and average the examples; arguments and results as in `InContext.read`."""
        codes = apply_layers(params, "encode", torch.cat([x, y], 2))  # [T, K, W]
        seen = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)[:, None]
        means = codes.cumsum(1) / seen  # after 1, 2, … K examples
        before = torch.cat([torch.zeros_like(means[:, :1]), means[:, :-1]], 1)
        return self._answer(params, before, x), self._answer(
            params, means[:, -1:].expand(-1, query_x.shape[1], -1), query_x
        )

    def _answer(self, params: Params, r: Tensor, x: Tensor) -> Tensor:
        return apply_layers(params, "decode", torch.cat([r, x], 2))
