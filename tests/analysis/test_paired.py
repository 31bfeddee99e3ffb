"""Verdicts on made-up methods whose true errors are known: how often intervals cover, and how often verdicts err."""

import math
import statistics

import numpy as np
import pytest

from metalab.analysis.paired import Interval, Verdict, compare, holm, t_probability, t_quantile

# Quantiles of Student's t from printed tables.
TABLE = {(0.975, 1): 12.706, (0.975, 4): 2.776, (0.975, 19): 2.093, (0.95, 1): 6.314, (0.95, 4): 2.132, (0.9, 9): 1.383}
EXPERIMENTS = 4000


@pytest.mark.parametrize(("probability", "freedom"), TABLE)
def test_quantiles_are_those_of_the_tables(probability, freedom):
    assert t_quantile(probability, freedom) == pytest.approx(TABLE[probability, freedom], abs=6e-4)
    assert t_quantile(1 - probability, freedom) == pytest.approx(-TABLE[probability, freedom], abs=6e-4)
    assert t_probability(t_quantile(probability, freedom), freedom) == pytest.approx(probability, abs=1e-12)


def test_one_degree_of_freedom_is_cauchys_and_many_are_gausss():
    assert t_probability(1.0, 1) == pytest.approx(0.75, abs=1e-12)
    assert t_quantile(0.975, 100_000) == pytest.approx(1.95996, abs=1e-4)


def test_an_interval_by_hand():
    found = Interval.of([1.0, 2.0, 4.0])
    half = 4.3027 * statistics.stdev([1, 2, 4]) / math.sqrt(3)
    assert (found.mean, found.low, found.high) == pytest.approx((7 / 3, 7 / 3 - half, 7 / 3 + half), rel=1e-4)


def made_up(ratio, seeds, *, spread=0.1, common=1.0, seed=0):
    """Errors of two methods in many experiments. Seeds differ much between each other (`common`), pairs little."""
    random = np.random.default_rng(seed)
    base = np.exp(common * random.standard_normal((EXPERIMENTS, seeds)))
    ours = ratio * base * np.exp(spread * random.standard_normal((EXPERIMENTS, seeds)))
    for a, b in zip(ours, base, strict=True):
        yield dict(enumerate(a.tolist())), dict(enumerate(b.tolist()))


def share(values):
    values = list(values)
    return sum(values) / len(values)


def near(rate, wanted):
    """Within three standard deviations of a rate that is measured in so many experiments."""
    return abs(rate - wanted) <= 3 * math.sqrt(wanted * (1 - wanted) / EXPERIMENTS)


@pytest.mark.parametrize("seeds", [2, 5, 10])
def test_intervals_cover_the_true_ratio_in_95_and_90_of_100_experiments(seeds):
    found = [compare(*pair) for pair in made_up(1.3, seeds)]
    assert near(share(v.ratio.low < 1.3 < v.ratio.high for v in found), 0.95)
    assert near(share(v.narrow.low < 1.3 < v.narrow.high for v in found), 0.90)


@pytest.mark.parametrize("seeds", [2, 5])
def test_a_difference_that_is_not_there_is_found_in_5_of_100(seeds):
    found = [compare(*pair) for pair in made_up(1.0, seeds)]
    assert near(share(v.different for v in found), 0.05)
    assert near(share(v.p < 0.05 for v in found), 0.05)
    assert all(v.different == (v.p < 0.05) for v in found)


def test_equivalence_at_the_margin_is_claimed_in_5_of_100_at_most():
    found = [compare(*pair) for pair in made_up(1.2, 8)]
    assert near(share(v.equivalent for v in found), 0.05)
    assert share(v.matters for v in found) <= 0.025 + 3 * math.sqrt(0.025 / EXPERIMENTS)


def test_few_and_noisy_seeds_show_no_equivalence():
    """An interval that contains 1 is no sign of it: here nearly all of them do, and they are undecided."""
    found = [compare(*pair) for pair in made_up(1.0, 3, spread=0.5)]
    assert share(v.equivalent for v in found) < 0.05
    assert share(str(v) == "undecided" for v in found) > 0.85


def test_pairs_take_out_what_seeds_share():
    # Seeds differ tenfold, and methods by exactly a half.
    found = compare({0: 1.5, 1: 15.0, 2: 0.15, 9: 1.0}, {0: 1.0, 1: 10.0, 2: 0.1, 3: 5.0})
    assert (found.ratio.mean, found.ratio.low, found.ratio.high) == pytest.approx((1.5, 1.5, 1.5))
    assert found.seeds == 3


@pytest.mark.parametrize(
    ("wide", "narrow", "says"),
    [
        ((1.5, 1.3, 1.7), (1.5, 1.35, 1.65), "more errors, by more than matters"),
        ((0.7, 0.6, 0.8), (0.7, 0.62, 0.78), "fewer errors, by more than matters"),
        ((1.0, 0.9, 1.1), (1.0, 0.92, 1.08), "equivalent"),
        ((1.1, 1.05, 1.15), (1.1, 1.06, 1.14), "more errors, by less than matters"),
        ((0.9, 0.85, 0.95), (0.9, 0.86, 0.94), "fewer errors, by less than matters"),
        ((1.0, 0.5, 2.0), (1.0, 0.6, 1.7), "undecided"),
        ((1.0, 0.8, 1.25), (1.0, 0.84, 1.19), "equivalent"),  # it is the 90 % interval that counts
        ((1.2, 1.1, 1.3), (1.2, 1.12, 1.28), "more errors, how many is open"),
    ],
)
def test_verdicts(wide, narrow, says):
    assert str(Verdict(Interval(*wide), Interval(*narrow), 0.1, 1.2, 5)) == says


def test_holm_errs_in_5_of_100_families_and_single_tests_in_many_more():
    random = np.random.default_rng(0)
    families = random.random((EXPERIMENTS, 14))  # p of 14 differences that are not there
    assert share((family < 0.05).any() for family in families) > 0.45
    assert near(share(any(holm(family.tolist())) for family in families), 1 - (1 - 0.05 / 14) ** 14)


def test_holm_by_hand():
    assert holm([0.04, 0.001, 0.02, 0.03]) == [False, True, False, False]  # 0.02 > 0.05 / 3
    assert holm([0.04, 0.001, 0.015, 0.02]) == [True] * 4
    assert holm([]) == []


def test_what_cannot_be_compared_is_named():
    with pytest.raises(ValueError, match="have 1 seeds in common"):
        compare({0: 1.0, 1: 2.0}, {0: 1.0})
    with pytest.raises(ValueError, match=r"ours\[1\]=0.0 must be a finite number, above 0"):
        compare({0: 1.0, 1: 0.0}, {0: 1.0, 1: 1.0})
    with pytest.raises(ValueError, match="values has 1"):
        Interval.of([1.0])
