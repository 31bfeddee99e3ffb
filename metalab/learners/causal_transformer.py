r"""A small causal transformer that learns in context (Garg, Tsipras, Liang & Valiant 2022).

Each example becomes two tokens: a question, which has its x, and the example itself, which has x and y. They stand in
the order in which they come, and the queries' questions stand at the end:

    x_1, (x_1, y_1), x_2, (x_2, y_2), … x_K, (x_K, y_K),    x_q, x_q', …

A token may look at itself and at the tokens before it, and a query at no other query. So the answer read off at the
question x_k depends on examples 1 … k−1 alone, and one pass over the sequence answers all questions. A layer is

    h ← h + W_o · Σ_j softmax_j( q_i · k_j / √d ) v_j,    h ← h + MLP(h)

with q, k, v linear in the normalised h, and j running over the tokens that token i may look at (Vaswani et al. 2017).

Garg et al. put x and y into tokens of their own and tell places apart by learned position vectors. Here an example's
token has both, and there are no positions: more examples than in training are then at least possible.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import arguments
from ..nets import Params, normal
from .in_context import InContext


@dataclass(frozen=True)
class CausalTransformer(InContext):
    """A causal transformer, of the size of Garg et al.'s smallest model: 3 layers, 2 heads, width 64.

    Args:
        width: the length of a token.
        layers: the number of layers.
        heads: the number of attention heads, which share the width.

    Raises:
        TypeError, ValueError: a number is no whole number of at least 1, or the width is no multiple of the heads.
    """

    width: int = 64
    layers: int = 3
    heads: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        arguments.whole(layers=self.layers, heads=self.heads)
        if self.width % self.heads:
            raise ValueError(f"width={self.width} must be a multiple of heads={self.heads}")

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters: those that make and read tokens, and those of each layer."""
        arguments.generator(generator)
        width, n_in = self.width, self.inputs + self.outputs + 1

        def weight(n_in: int, n_out: int, gain: float = 1.0) -> Tensor:
            return normal(n_in, n_out, fan_in=n_in, gain=gain, generator=generator)

        params = {"token": weight(n_in, width)}
        for i in range(1, self.layers + 1):
            small = 1 / (2 * self.layers)  # so that the sum of all layers is as large as one token
            params |= {
                f"attend{i}": weight(width, 3 * width),
                f"mix{i}": weight(width, width, small),
                f"up{i}": weight(width, 4 * width, 2.0),
                f"up_bias{i}": torch.zeros(4 * width, device=generator.device),
                f"down{i}": weight(4 * width, width, small),
                f"down_bias{i}": torch.zeros(width, device=generator.device),
            }
        return params | {"out": weight(width, self.outputs), "bias": torch.zeros(self.outputs, device=generator.device)}

    def read(self, params: Params, x: Tensor, y: Tensor, query_x: Tensor) -> tuple[Tensor, Tensor]:
        """Read all tokens in one pass; arguments and results as in `InContext.read`."""
        examples = x.shape[1]
        asked = self._tokens(params, torch.cat([x, query_x], 1), None)  # [T, K + Q, W]
        told = self._tokens(params, x, y)
        pairs = torch.stack([asked[:, :examples], told], 2).flatten(1, 2)  # [T, 2 K, W], in turn
        h = torch.cat([pairs, asked[:, examples:]], 1)
        may_look = self.may_look(examples, query_x.shape[1], x.device)
        for i in range(1, self.layers + 1):
            h = h + self._attention(params, i, _normalised(h), may_look)
            h = h + self._feed_forward(params, i, _normalised(h))
        answers = _normalised(h) @ params["out"] + params["bias"]
        return answers[:, : 2 * examples : 2], answers[:, 2 * examples :]

    def may_look(self, examples: int, queries: int, device: torch.device) -> Tensor:
        """Return which token may look at which; a variant may say otherwise. See `sequence_mask`."""
        return sequence_mask(examples, queries, device)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, may_look: Tensor) -> Tensor:
        """Return what tokens read from those that they may look at, [T, heads, tokens, W / heads] as q, k and v are."""
        return F.scaled_dot_product_attention(q, k, v, attn_mask=may_look)

    def _tokens(self, params: Params, x: Tensor, y: Tensor | None) -> Tensor:
        """Return tokens of inputs [T, K, inputs], with their outputs if they are told.

        A last number says whether they are: 1 or −1. It must not be 0, because a question's token would then be x times
        a vector, of which the normalisation leaves little but the sign of x: the answers would have a step at x = 0.
        """
        known = torch.full_like(x[:, :, :1], -1.0 if y is None else 1.0)
        y = x.new_zeros(*x.shape[:2], self.outputs) if y is None else y
        return torch.cat([x, y, known], 2) @ params["token"]

    def _attention(self, params: Params, i: int, h: Tensor, may_look: Tensor) -> Tensor:
        heads = (h @ params[f"attend{i}"]).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = heads  # [T, heads, tokens, W / heads] each
        return self.attend(q, k, v, may_look).transpose(1, 2).flatten(2) @ params[f"mix{i}"]

    def _feed_forward(self, params: Params, i: int, h: Tensor) -> Tensor:
        hidden = (h @ params[f"up{i}"] + params[f"up_bias{i}"]).relu()
        return hidden @ params[f"down{i}"] + params[f"down_bias{i}"]


def sequence_mask(examples: int, queries: int, device: torch.device | str = "cpu") -> Tensor:
    """Return which token (row) may look at which (column): [2 K + Q, 2 K + Q] of True and False.

    Args:
        examples: K; each has two tokens, a question and the example itself.
        queries: Q; each has one token, at the end. Q may be 0.
        device: where the mask is.

    Raises:
        TypeError, ValueError: the numbers are no whole numbers, or out of range.
    """
    arguments.whole(examples=examples)
    arguments.whole(least=0, queries=queries)
    arguments.device(device=device)
    tokens = 2 * examples + queries
    mask = torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril()
    mask[2 * examples :, 2 * examples :] = torch.eye(queries, dtype=torch.bool, device=device)
    return mask


def _normalised(h: Tensor) -> Tensor:
    return F.layer_norm(h, h.shape[-1:])
