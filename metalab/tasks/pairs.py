"""Same or different? Pairs of drawings, made from groups of two characters with two drawings each.

pairs = as_pairs(Groups(test, characters=2, drawings=2)(1000, generator))  # 500 of one character, 500 of two
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments


@dataclass(frozen=True)
class Pairs:
    """B pairs of drawings, floating-point numbers in [0, 1], 1 = ink.

    Raises:
        TypeError: one of the three is no tensor.
        ValueError: their shapes do not fit one another, or one holds numbers of a wrong type.
    """

    first: Tensor  # [B, 1, H, W]
    second: Tensor  # [B, 1, H, W]
    same: Tensor  # [B] bool: whether both show the same character

    def __post_init__(self) -> None:
        arguments.shapes(first=(self.first, "B 1 H W"), second=(self.second, "B 1 H W"), same=(self.same, "B"))
        arguments.floats(first=self.first, second=self.second)
        if self.same.dtype != torch.bool:
            raise ValueError(f"same has the dtype {self.same.dtype}; it must be torch.bool")


def as_pairs(groups: Tensor) -> Pairs:
    """Make one pair from each of B groups [B, 2, 2, 1, H, W], alternately of one character and of two.

    There are as many pairs of one kind as of the other, and a pair of one character is never one drawing twice.

    Raises:
        TypeError: `groups` is no tensor.
        ValueError: the groups are not of that shape, hold no floating-point numbers, or B is odd.
    """
    arguments.shapes(groups=(groups, "B 2 2 1 H W"))
    arguments.floats(groups=groups)
    if len(groups) % 2:
        raise ValueError(f"groups has the shape {list(groups.shape)}; its first axis must be even, half for each kind")
    same = torch.arange(len(groups), device=groups.device) % 2 == 0
    second = torch.where(same[:, None, None, None], groups[:, 0, 1], groups[:, 1, 1])
    return Pairs(groups[:, 0, 0], second, same)
