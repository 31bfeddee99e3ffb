"""Same or different? Pairs of drawings, made from groups of two characters with two drawings each.

pairs = as_pairs(Groups(test, characters=2, drawings=2)(1000, generator))  # 500 of one character, 500 of two
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pairs:
    """B pairs of drawings, float32 in [0, 1], 1 = ink."""

    first: Tensor  # [B, 1, H, W]
    second: Tensor  # [B, 1, H, W]
    same: Tensor  # [B] bool: whether both show the same character


def as_pairs(groups: Tensor) -> Pairs:
    """Make one pair from each of B groups [B, 2, 2, 1, H, W], alternately of one character and of two.

    There are as many pairs of one kind as of the other, and a pair of one character is never one drawing twice.

    Raises:
        ValueError: the groups are not of that shape, or B is odd.
    """
    if groups.dim() != 6 or groups.shape[1:3] != (2, 2) or len(groups) % 2:
        raise ValueError(f"groups of shape {tuple(groups.shape)} must be [B, 2, 2, 1, H, W] with an even B")
    same = torch.arange(len(groups), device=groups.device) % 2 == 0
    second = torch.where(same[:, None, None, None], groups[:, 0, 1], groups[:, 1, 1])
    return Pairs(groups[:, 0, 0], second, same)
