import math

import numpy as np
import pytest
import torch

from metalab.analysis.roc import decide, roc


def random_pairs(seed, count=60, values=12):
    """Whole-numbered scores, so that many are equal, a little higher for the same pairs."""
    generator = torch.Generator().manual_seed(seed)
    same = torch.rand(count, generator=generator) < 0.4
    scores = torch.randint(values, (count,), generator=generator) + 4 * same
    return scores.float(), same


def mann_whitney(scores, same):
    """Couples of a same and a different pair: in how many the same pair wins, a tie being half a win."""
    couples = [(p > n) + (p == n) / 2 for p in scores[same].tolist() for n in scores[~same].tolist()]
    return sum(couples) / len(couples)


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_the_mann_whitney_statistic(seed):
    scores, same = random_pairs(seed)
    assert len(scores.unique()) < len(scores) / 2
    assert roc(scores, same).auc == pytest.approx(mann_whitney(scores, same), abs=1e-12)
    scores = torch.randn(60, generator=torch.Generator().manual_seed(seed))  # no ties
    assert roc(scores, same).auc == pytest.approx(mann_whitney(scores, same), abs=1e-12)


def test_each_point_is_what_its_threshold_does():
    scores, same = random_pairs(7)
    curve = roc(scores, same)
    assert curve.threshold.tolist() == [math.inf, *sorted(set(scores.tolist()), reverse=True)]
    for threshold, false_positive, true_positive in zip(*(v.tolist() for v in vars(curve).values()), strict=True):
        accepted = [score >= threshold for score in scores.tolist()]
        hits = sum(a and s for a, s in zip(accepted, same.tolist(), strict=True))
        alarms = sum(a and not s for a, s in zip(accepted, same.tolist(), strict=True))
        assert true_positive == pytest.approx(hits / same.sum().item(), abs=1e-12)
        assert false_positive == pytest.approx(alarms / (~same).sum().item(), abs=1e-12)


def test_the_order_of_the_pairs_does_not_matter():
    scores, same = random_pairs(3)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    for one, other in zip(
        vars(roc(scores, same)).values(), vars(roc(scores[order], same[order])).values(), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("scores", "same", "auc", "equal_error_rate"),
    [
        ([3, 2, 1, 0], [1, 1, 0, 0], 1, 0),
        ([3, 2, 1, 0], [0, 0, 1, 1], 0, 1),
        ([5, 5, 5, 5], [1, 0, 1, 0], 0.5, 0.5),  # a tie tells nothing
        ([5, 5, 5], [1, 0, 0], 0.5, 0.5),
        ([3, 2, 1, 0], [1, 0, 1, 0], 0.75, 0.5),
        ([1, 0], [1, 0], 1, 0),
        # Accepting 4 gets ½ of the same pairs; accepting 2 too gets them all, and ⅔ of the others: 1 − t/2 = 2t/3 … at
        # t = 3/7 of the way from (0, ½) to (⅔, 1).
        ([4, 2, 2, 2, 0], [1, 1, 0, 0, 0], 5 / 6, 2 / 7),
    ],
)
def test_curves_that_can_be_drawn_by_hand(scores, same, auc, equal_error_rate):
    curve = roc(torch.tensor(scores), torch.tensor(same).bool())
    assert curve.auc == pytest.approx(auc, abs=1e-12)
    assert curve.equal_error_rate == pytest.approx(equal_error_rate, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_at_the_equal_error_rate_the_errors_are_equal(seed):
    curve = roc(*random_pairs(seed))
    rate = curve.equal_error_rate
    assert 0.05 < rate < 0.5
    # On a vertical step of the curve the recall at this rate is an interval.
    below = np.interp(rate - 1e-9, curve.false_positive, curve.true_positive)
    above = np.interp(rate + 1e-9, curve.false_positive, curve.true_positive)
    assert below - 1e-6 <= 1 - rate <= above + 1e-6


def test_decide_counts():
    scores = torch.tensor([0.9, 0.8, 0.8, 0.3, 0.1])
    same = torch.tensor([True, False, True, True, False])
    decision = decide(scores, same, 0.8)  # accepts three, at the threshold too
    assert (decision.precision, decision.recall) == pytest.approx((2 / 3, 2 / 3))
    assert decision.accuracy == pytest.approx(3 / 5)
    everything = decide(scores, same, -1)
    assert (everything.precision, everything.recall, everything.accuracy) == pytest.approx((0.6, 1, 0.6))
    nothing = decide(scores, same, 1.5)
    assert math.isnan(nothing.precision)
    assert (nothing.recall, nothing.accuracy) == pytest.approx((0, 0.4))


def test_a_threshold_of_the_curve_does_what_the_curve_says():
    scores = torch.randn(50, generator=torch.Generator().manual_seed(1))  # single precision, compared in double
    same = torch.arange(50) % 3 == 0
    curve = roc(scores, same)
    for i in (1, 20, 50):
        assert decide(scores, same, curve.threshold[i].item()).recall == pytest.approx(curve.true_positive[i].item())


def test_no_other_threshold_has_errors_nearer_to_equal():
    generator = torch.Generator().manual_seed(3)
    same = torch.rand(200, generator=generator) < 0.3
    scores = torch.randn(200, generator=generator) + same

    def gap(threshold):
        accepted = scores.double() >= threshold
        return abs((accepted & ~same).sum() / (~same).sum() - (~accepted & same).sum() / same.sum())

    chosen = roc(scores, same).equal_error_threshold
    assert gap(chosen) == min(gap(threshold) for threshold in scores.double())


@pytest.mark.parametrize("call", [roc, lambda scores, same: decide(scores, same, 0.5)])
@pytest.mark.parametrize(
    ("scores", "same", "message"),
    [
        (torch.rand(4), torch.ones(4).bool(), "same is True for 4 of 4 pairs: both kinds are needed"),
        (torch.rand(4), torch.zeros(4).bool(), "same is True for 0 of 4 pairs"),
        (torch.rand(0), torch.zeros(0).bool(), r"scores has the shape \[0\]"),
        (
            torch.rand(4),
            torch.tensor([True, False]),
            r"same has the shape \[2\]; it must be \[B\] with B = 4",
        ),
        (torch.rand(2, 2), torch.eye(2).bool(), r"scores has the shape \[2, 2\]; it must be \[B\]"),
        (torch.rand(2), torch.tensor([1, 0]), "same has the type torch.int64, which must be torch.bool"),
        (torch.tensor([math.nan, 1.0]), torch.tensor([True, False]), "scores has 1 values that are NaN"),
    ],
)
def test_what_cannot_be_scored_is_named(call, scores, same, message):
    with pytest.raises(ValueError, match=message):
        call(scores, same)
