import math

import pytest
import torch

from metalab.analysis.paired import Interval
from metalab.experiments.intervals import difference_of_shares, over_seeds, share_over_seeds, wilson


def test_a_mean_over_seeds_by_hand():
    score = over_seeds(torch.tensor([0.8, 0.9]))
    assert score.mean == pytest.approx(0.85)
    assert score.ci95 == pytest.approx(12.7062 * 0.1 / math.sqrt(2) / math.sqrt(2), rel=1e-6)
    assert score.episodes == 2


def test_the_interval_over_seeds_covers_the_mean_in_95_of_100():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(4000, 4, generator=generator)
    hits = sum(abs(score.mean) <= score.ci95 for score in map(over_seeds, samples))
    assert hits / 4000 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000))


def test_a_share_over_seeds_is_a_t_interval_where_its_spread_is_small():
    shares = [0.70, 0.71, 0.705, 0.69]
    ours, theirs = share_over_seeds(shares), Interval.of(shares)
    assert (ours.mean, ours.low, ours.high) == pytest.approx((theirs.mean, theirs.low, theirs.high), abs=5e-4)


def test_a_share_over_seeds_stays_within_0_and_1():
    """Student's interval of these would reach beyond 1, or below 0."""
    near_1 = [0.96, 1.0, 1.0, 0.98, 1.0]
    assert Interval.of(near_1).high > 1
    found = share_over_seeds(near_1)
    assert 0.95 < found.low < found.mean < found.high <= 1
    found = share_over_seeds([1 - share for share in near_1])
    assert 0 <= found.low < found.mean < found.high < 0.05
    assert share_over_seeds([1.0, 1.0]) == Interval(1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"shares\[1\]=1.2"):
        share_over_seeds([0.5, 1.2])


def test_a_share_over_seeds_covers_the_chance_in_about_95_of_100():
    """Five seeds of 50 questions each."""
    generator = torch.Generator().manual_seed(0)
    for chance in (0.05, 0.5, 0.9, 0.95):
        shares = (torch.rand(2000, 5, 50, generator=generator) < chance).double().mean(2)
        found = [share_over_seeds(row) for row in shares.tolist()]
        hits = sum(one.low <= chance <= one.high for one in found) / len(found)
        assert hits == pytest.approx(0.95, abs=0.025)


def test_wilsons_interval_holds_the_rates_that_the_count_does_not_reject():
    """Its ends are where the count is 1.96 standard errors of the rate away."""
    for count, trials in ((25, 400), (1, 3), (390, 400)):
        for rate in wilson(count, trials):
            off = abs(count / trials - rate)
            assert off == pytest.approx(1.959964 * math.sqrt(rate * (1 - rate) / trials), rel=1e-6)


def test_wilsons_interval_stays_within_0_and_1():
    assert wilson(0, 400) == pytest.approx((0, 0.009513), abs=1e-5)
    assert wilson(400, 400) == pytest.approx((1 - 0.009513, 1), abs=1e-5)


def test_a_difference_of_shares_is_newcombes():
    """The first examples of Newcombe's 1998 table II, method 10."""
    assert difference_of_shares(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert difference_of_shares(9, 10, 3, 10) == pytest.approx((0.1705, 0.8090), abs=1e-4)
    assert difference_of_shares(5, 56, 0, 29) == pytest.approx((-0.0381, 0.1926), abs=1e-4)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="the number of seeds=1"):
        over_seeds(torch.ones(1))
    with pytest.raises(ValueError, match="count=5 must be"):
        wilson(5, 4)
