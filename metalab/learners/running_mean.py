r"""Nearest mean, kept up example by example: a learner of streams that cannot forget.

A class is the mean of its features, as in a prototypical network (Snell et al. 2017), and all that is kept of a stream
are the sums and the numbers of the classes (Mensink et al. 2013):

    s_n ← s_n + φ(x),    c_n ← c_n + 1    for an example x of class n,        answer: the n with the nearest s_n / c_n

A sum does not depend on the order of its terms, so the result is the same for every order of the stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments


@dataclass(frozen=True)
class RunningMean:
    """What a stream has left. `RunningMean.empty` begins, and `updated` goes on.

    Args:
        sums: the sum of the features of each class [N, E].
        counts: the number of examples of each class [N], in the precision of the sums.
    """

    sums: Tensor
    counts: Tensor

    @classmethod
    def empty(cls, ways: int, like: Tensor) -> RunningMean:
        """Return the state before the first example, for N classes and features like these [..., E].

        Raises:
            TypeError, ValueError: `ways` is no whole number above 0, or `like` holds no decimal numbers.
        """
        arguments.whole(ways=ways)
        arguments.floats(like=like)
        return cls(like.new_zeros(ways, like.shape[-1]), like.new_zeros(ways))

    def updated(self, z: Tensor, y: Tensor) -> RunningMean:
        """Return the state after the examples with features z [B, E] and labels y [B].

        Raises:
            TypeError, ValueError: they are no tensors of these shapes, or a label is not 0 … N − 1.
        """
        arguments.shapes(sums=(self.sums, "N E"), z=(z, "B E"), y=(y, "B"))
        arguments.floats(sums=self.sums, z=z)
        arguments.labels(len(self.counts), y=y)
        return RunningMean(self.sums.index_add(0, y, z), self.counts.index_add(0, y, torch.ones_like(z[:, 0])))

    def logits(self, z: Tensor) -> Tensor:
        """Return −(squared distance) of features z [B, E] to each class's mean: [B, N]; −∞ for a class not yet met.

        Raises:
            TypeError, ValueError: z is no tensor of that shape.
        """
        arguments.shapes(sums=(self.sums, "N E"), z=(z, "B E"))
        means = self.sums / self.counts.clamp(min=1)[:, None]
        return (-torch.cdist(z, means).square()).masked_fill(self.counts == 0, -torch.inf)
