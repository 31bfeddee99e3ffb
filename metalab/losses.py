"""Losses and accuracy, one number per task: tasks stay separate until the meta-gradient averages them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .arguments import is_trusted, shapes
from .arguments import labels as check_labels


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return each task's mean cross-entropy [T], in nats, for logits [T, B, N] and labels [T, B] int64.

    Raises:
        TypeError, ValueError: the arguments are no tensors of these shapes, or a label is not 0 … N − 1.
    """
    _check(logits, labels)
    return F.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(1)


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Return each task's mean squared error [T], for predictions and targets [T, B, out].

    Raises:
        TypeError, ValueError: the arguments are no tensors of these shapes.
    """
    if getattr(prediction, "shape", None) != getattr(target, "shape", ()) or prediction.dim() != 3:
        shapes(prediction=(prediction, "T B out"), target=(target, "T B out"))  # [T, B] would be broadcast
    return (prediction - target).square().mean((1, 2))


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the share of each task's examples whose true class has the highest logit: [T].

    If n classes tie for the highest logit and the true class is one of them, the example counts 1/n. An `argmax` would
    give every tie to the first of the classes, and a network that answers every example with the same logits could
    then score 100 %. An example whose logits are NaN counts 0.

    Args:
        logits: [T, B, N].
        labels: [T, B] int64.

    Raises:
        TypeError, ValueError: the arguments are no tensors of these shapes, or a label is not 0 … N − 1.
    """
    _check(logits, labels)
    best = logits == logits.amax(2, keepdim=True)
    hit = best.gather(2, labels[..., None]).squeeze(2)
    return (hit / best.sum(2).clamp(min=1)).mean(1)


def _check(logits: Tensor, labels: Tensor) -> None:
    if is_trusted():
        return
    sizes = shapes(logits=(logits, "T B N"), labels=(labels, "T B"))
    check_labels(sizes["N"], labels=labels)
