"""Exercises on a training step: what their checks share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .comparing import Numbers, number


class Embedding(torch.nn.Module):
    """A small embedding with a batch norm, whose parameters still carry the gradient of a batch before.

    Args:
        pixels: of a picture.
        size: of an embedding.
        height: no number of an embedding is larger; it decides how far two embeddings can be apart.
    """

    def __init__(self, pixels: int, size: int, height: float) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(size)
        start, stale = (torch.randn(pixels, size, generator=generator, dtype=torch.float32) for _ in range(2))
        self.start, self.height = start, height
        self.weight = torch.nn.Parameter(start.clone())
        self.weight.grad = 0.1 * stale

    def forward(self, x: Tensor) -> Tensor:
        """Embed pictures [B, 1, H, W]: [B, size]. Each number is normalised over the batch.

        Raises:
            ValueError: they have another shape.
        """
        if x.dim() != 4 or x.shape[1] != 1:
            raise ValueError(f"embed takes a batch of pictures [B, 1, H, W], and was given {list(x.shape)}")
        h = x.flatten(1) @ self.weight
        h = (h - h.mean(0)) * (h.var(0, correction=0) + 1e-3).rsqrt()
        return self.height * h.tanh()


def taken_step(result: Any, arguments: tuple) -> Numbers:
    """Return the loss, and how the parameters changed. Raise `Wrong` for what is no loss."""
    loss = torch.tensor(number(result, "The loss"))
    embed = arguments[0]
    return {"the loss": loss.float(), "the change of the parameters": embed.weight.detach() - embed.start}
