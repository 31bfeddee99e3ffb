"""Same or different? How well scores tell the pairs of one character from the others.

A pair is accepted, "they are the same", if its score is at least the threshold. Scores are higher for more alike: of
distances, give the negatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Roc:
    """What each threshold does, from "accept none" to "accept all": M + 1 points for M different scores."""

    threshold: Tensor  # [M+1] float64, falling, the first is infinite
    false_positive: Tensor  # [M+1] float64: share of the different pairs that are accepted
    true_positive: Tensor  # [M+1] float64: share of the same pairs that are accepted, which is the recall

    @property
    def auc(self) -> float:
        """Area under the curve: the chance that a same pair scores higher than a different one, a tie counting half.

        That is the Mann–Whitney statistic divided by the number of such couples.
        """
        return torch.trapezoid(self.true_positive, self.false_positive).item()

    @property
    def equal_error_rate(self) -> float:
        """Where as large a share of the different pairs is accepted as of the same ones is refused.

        Between two thresholds the curve is a straight line: accepting some of the ties by lot gets there.
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
        """Of accepted different pairs over refused same ones: rises from −1 to 1, and is 0 at equal errors."""
        return self.false_positive + self.true_positive - 1


@dataclass(frozen=True)
class Decision:
    """What accepting all pairs from a threshold on gets right."""

    precision: float  # share of the accepted pairs that are the same; NaN if none is accepted
    recall: float  # share of the same pairs that are accepted
    accuracy: float  # share of all pairs that are judged rightly


def roc(scores: Tensor, same: Tensor) -> Roc:
    """The ROC curve of scores [B] and labels `same` [B], bool.

    Raises:
        ValueError: shapes, labels or scores that cannot be, or pairs of one kind only.
    """
    scores, same = _checked(scores, same)
    scores, order = scores.sort(descending=True)
    accepted_same = same[order].double().cumsum(0)
    accepted = torch.arange(1, len(scores) + 1, dtype=torch.float64)
    # Equal scores are accepted together: of each run of ties the last counts.
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
    """Precision, recall and accuracy when pairs with scores of at least `threshold` are accepted; errors as `roc`'s."""
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
    """Scores as float64 and labels, both on the CPU."""
    if scores.dim() != 1 or scores.shape != same.shape:
        shapes = f"{tuple(scores.shape)} and {tuple(same.shape)}"
        raise ValueError(f"scores and same have the shapes {shapes}: give one score and one label a pair, both [B]")
    if same.dtype != torch.bool:
        raise ValueError(f"same has the type {same.dtype}, which must be torch.bool: True for one character")
    scores, same = scores.detach().double().cpu(), same.cpu()
    if scores.isnan().any():
        raise ValueError(f"scores has {int(scores.isnan().sum())} values that are NaN, which cannot be compared")
    positive = int(same.sum())
    if positive in (0, len(same)):
        raise ValueError(f"same is True for {positive} of {len(same)} pairs: both kinds are needed")
    return scores, same
