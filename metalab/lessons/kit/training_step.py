"""Exercises on a training step: what their checks share."""

from __future__ import annotations

from collections.abc import Callable
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


def take_step(
    compute: Callable[[], Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    clear: bool = True,
    step: str = "once",
    returned: str = "before",
) -> Tensor:
    """Take a training step, or what `STEP_MISTAKES` makes of it, and return the loss.

    Args:
        compute: returns the loss, a scalar, of the current parameters.
        optimizer: of the parameters.
        clear: whether the gradients of an earlier batch are cleared first.
        step: "once", or a mistake with the step.
        returned: "before", or "after": the loss is computed again when the step has been taken.
    """
    if step == "stale":
        optimizer.step()
    loss = compute()
    if step == "late":
        optimizer.step()
    if clear:
        optimizer.zero_grad()
    (-loss if step == "up" else loss).backward()
    for _ in range({"once": 1, "up": 1, "twice": 2}.get(step, 0)):
        optimizer.step()
    if returned == "after":
        with torch.no_grad():
            loss = compute()
    return loss.detach()


# What to say of each mistake that `take_step` can make, by its keyword.
STEP_MISTAKES = {
    "clear": {
        False: "The old gradients are not cleared: backward() adds to what an earlier batch has left in .grad, so "
        "the step goes in a mixture of directions. Call optimizer.zero_grad() before backward().",
    },
    "step": {
        "none": "The loss is right, but the parameters do not change. Either optimizer.step() is missing, or "
        "zero_grad() clears the gradients between backward() and step().",
        "twice": "The optimizer steps twice with the same gradient. One step belongs to one backward().",
        "up": "The step climbs: it makes the loss larger. Call loss.backward(), without a minus.",
        "stale": "The step comes before backward(), so it uses the gradient that an earlier batch has left.",
        "late": "The step comes between the loss and backward(), so it uses the gradient that an earlier batch "
        "has left. First backward(), then step().",
    },
    "returned": {
        "after": "The step is right, but the loss is computed again after it. Return the loss that the step was "
        "taken on, which costs nothing.",
    },
}


def taken_step(result: Any, arguments: tuple) -> Numbers:
    """Return the loss, and how the parameters changed. Raise `Wrong` for what is no loss."""
    loss = torch.tensor(number(result, "The loss"))
    embed = arguments[0]
    return {"the loss": loss.float(), "the change of the parameters": embed.weight.detach() - embed.start}
