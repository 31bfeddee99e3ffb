"""What a task is scored by: one number per task, so that tasks stay separate until the meta-gradient averages them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits [T, B, N] and labels [T, B], per task: [T]."""
    return F.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(1)


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of two [T, B, out], per task: [T]."""
    return (prediction - target).square().mean((1, 2))


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of rows whose true class has the highest logit, per task: [T], from [T, B, N] and [T, B].

    A tie between n classes counts 1/n: an `argmax` would give it to class 0, and a network that says the same of
    everything could score 100 %. A row of NaN counts 0.
    """
    best = logits == logits.amax(2, keepdim=True)
    hit = best.gather(2, labels[..., None]).squeeze(2)
    return (hit / best.sum(2).clamp(min=1)).mean(1)
