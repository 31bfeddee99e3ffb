"""Same or different? How well scores tell pairs of one character from pairs of two characters.

A pair is accepted as "the same" if its score is at least the threshold. More similar drawings must have higher scores,
so pass the negatives of distances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments


@dataclass(frozen=True)
class Roc:
    """The shares of pairs that each threshold accepts, from none to all: M + 1 points for M different scores."""

    threshold: Tensor  # [M+1] float64, falling; the first is infinite
    false_positive: Tensor  # [M+1] float64: the share of the different pairs that are accepted
    true_positive: Tensor  # [M+1] float64: the share of the same pairs that are accepted, which is the recall

    @property
    def auc(self) -> float:
        """The area under the curve: the chance that a same pair scores higher than a different one. A tie counts half.

        This is the Mann–Whitney statistic divided by the number of couples of a same and a different pair.
        """
        return torch.trapezoid(self.true_positive, self.false_positive).item()

    @property
    def equal_error_rate(self) -> float:
        """The error rate where the share of different pairs that are accepted equals the share of same pairs refused.

        Between two thresholds the curve is a straight line, because any point on it can be reached by accepting some of
        the tied pairs at random.
        """
        excess = self._excess
        after = int((excess >= 0).to(torch.uint8).argmax())  # at least 1
        low, high = excess[after - 1], excess[after]
        rate = torch.lerp(self.false_positive[after - 1], self.false_positive[after], -low / (high - low))
        return rate.item()

    @property
    def equal_error_threshold(self) -> float:
        """The threshold, among the scores, at which the two kinds of error are nearest to equal."""
        return self.threshold[self._excess.abs().argmin()].item()

    @property
    def _excess(self) -> Tensor:
        """The share of different pairs accepted minus the share of same pairs refused.

        It rises from −1 to 1, and is 0 where the errors are equal.
        """
        return self.false_positive + self.true_positive - 1


@dataclass(frozen=True)
class Decision:
    """How often it is right to accept the pairs with scores of at least a threshold, and to refuse the others."""

    precision: float  # the share of the accepted pairs that are the same; NaN if no pair is accepted
    recall: float  # the share of the same pairs that are accepted
    accuracy: float  # the share of all pairs that are judged rightly


def roc(scores: Tensor, same: Tensor) -> Roc:
    """Return the ROC curve.

    Args:
        scores: the score of each pair [B], higher for more similar drawings.
        same: whether each pair shows one character [B] bool.

    Raises:
        TypeError: an argument is no tensor.
        ValueError: the shapes differ, `same` is not bool, a score is NaN, or all pairs are of one kind.
    """
    scores, same = _checked(scores, same)
    scores, order = scores.sort(descending=True)
    accepted_same = same[order].double().cumsum(0)
    accepted = torch.arange(1, len(scores) + 1, dtype=torch.float64)
    # Equal scores are accepted together, so that only the last pair of each run of ties counts.
    last = torch.cat([scores[1:] != scores[:-1], torch.tensor([True])])
    true_positive = accepted_same / accepted_same[-1]
    different = accepted - accepted_same
    false_positive = different / different[-1]
    start = torch.zeros(1, dtype=torch.float64)
    return Roc(
        threshold=torch.cat([start + torch.inf, scores[last]]),
        false_positive=torch.cat([start, false_positive[last]]),
        true_positive=torch.cat([start, true_positive[last]]),
    )


def decide(scores: Tensor, same: Tensor, threshold: float) -> Decision:
    """Return the precision, recall and accuracy when pairs with scores of at least `threshold` are accepted.

    Args:
        scores: the score of each pair [B], higher for more similar drawings.
        same: whether each pair shows one character [B] bool.
        threshold: the lowest score that is accepted.

    Raises:
        TypeError, ValueError: as `roc` does, or the threshold is not a number.
    """
    if not isinstance(threshold, float) or abs(threshold) != math.inf:
        arguments.real(threshold=threshold)
    scores, same = _checked(scores, same)
    accepted = scores >= threshold
    hits = (accepted & same).sum().item()
    count = accepted.sum().item()
    return Decision(
        precision=hits / count if count else float("nan"),
        recall=hits / same.sum().item(),
        accuracy=(accepted == same).double().mean().item(),
    )


def _checked(scores: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores as float64 and the labels, both on the CPU, after checking them as `roc` says."""
    arguments.shapes(scores=(scores, "B"), same=(same, "B"))
    if same.dtype != torch.bool:
        raise ValueError(f"same has the type {same.dtype}, which must be torch.bool: True for one character")
    scores, same = scores.detach().double().cpu(), same.cpu()
    if scores.isnan().any():
        raise ValueError(f"scores has {int(scores.isnan().sum())} values that are NaN, which cannot be compared")
    positive = int(same.sum())
    if positive in (0, len(same)):
        raise ValueError(f"same is True for {positive} of {len(same)} pairs: both kinds are needed")
    return scores, same
