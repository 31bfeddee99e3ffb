"""The lesson on variants: its results were measured as they say, and its panel and tables conclude as `paired` does."""

import math

import numpy as np
import pytest

from metalab.analysis.paired import MARGIN, Interval, compare
from metalab.experiments import variants
from metalab.lessons.variants_and_evidence import figures as lesson

RESULTS = lesson.load_results()
FEWEST = {"sine": 5, "omniglot": 4}  # seeds of a method: these trainings were cut by the clock


@pytest.mark.parametrize("part", lesson.PARTS)
def test_shipped_results_are_whole_and_were_measured_with_todays_settings(part, tmp_path):
    out = tmp_path / "copy.json"
    out.write_bytes((lesson.Path(lesson.__file__).with_name(f"measured_{part}.json")).read_bytes())
    comparison = object.__new__(variants.Comparison)  # without Omniglot
    comparison.name, comparison.out, comparison.device = part, out, "cpu"
    comparison.problem = variants.PROBLEMS[part]
    assert comparison._read() == RESULTS[part]  # or it raises
    kinds = [(method, "steps") for method in variants.METHODS]
    kinds += [(method, "time") for method in variants.OTHER_TIME] + [("maml", "half")]
    assert list(lesson.TITLES) == list(variants.METHODS)
    for method, equal in kinds:
        assert len(lesson.errors(RESULTS[part], method, equal)) >= FEWEST[part], (method, equal)
    short = comparison._read()["steps"] // variants.TUNING
    for method in variants.METHODS:
        tried = {
            (r["inner_lr"], r["outer_lr"])
            for r in RESULTS[part]["tuned"]
            if (r["method"], r["steps"]) == (method, short)
        }
        inner, outer = (comparison.problem.inner, comparison.problem.outer)
        if method == "reptile":
            inner, outer = comparison.problem.reptile
        assert tried == {(a, b) for a in inner for b in outer}
        best = variants.chosen(RESULTS[part]["tuned"], method)
        rates = {(r["inner_lr"], r["outer_lr"]) for r in RESULTS[part]["runs"] if r["method"] == method}
        assert rates == {(best["inner_lr"], best["outer_lr"])}


def test_the_first_attempt_differs_from_the_second_in_clipping_and_in_its_length():
    first, second = lesson.load_unclipped(), RESULTS["sine"]
    assert first["protocol"] == second["protocol"] | {"longest": None}
    assert (first["steps"], second["steps"]) == (3000, 1500)
    assert all(len(lesson.errors(first, method)) == variants.SEEDS for method in variants.METHODS)


def test_verdicts_are_of_the_same_seeds_against_maml():
    found = lesson.verdicts(RESULTS["sine"])
    assert ("maml", "steps") not in found
    assert {key for key in found if key[1] == "time"} == {(method, "time") for method in variants.OTHER_TIME}
    own, base = (lesson.errors(RESULTS["sine"], *kind) for kind in (("fomaml", "time"), ("maml", "steps")))
    assert found["fomaml", "time"] == compare(own, base)
    mean = math.exp(np.mean([math.log(own[seed] / base[seed]) for seed in own]))
    assert found["fomaml", "time"].ratio.mean == pytest.approx(mean)


def made_up(ratios):
    """Results of one part in which FOMAML has these ratios to MAML, and the other methods are MAML."""
    runs = []
    for method in lesson.TITLES:
        for seed, ratio in enumerate(ratios):
            times = {"maml": 1.0, "fomaml": ratio}.get(method, 1 + 0.001 * seed)
            runs.append({"method": method, "equal": "steps", "seed": seed, "error": 0.1 * (seed + 1) * times})
    return {"runs": runs}


def test_evidence_is_told_in_words_and_a_star_asks_for_more_than_five_percent():
    (line,) = lesson.evidence({"sine": made_up([2.0, 2.1, 1.9, 2.05])}, "fomaml")
    assert line.startswith("sine     equal steps: 2.01 (")
    assert line.endswith("× MAML's* (4 seeds): more errors, by more than matters")
    (line,) = lesson.evidence({"sine": made_up([1.5, 1.05, 1.3, 1.4])}, "fomaml")
    assert "× MAML's (4 seeds): " in line  # p is above 5 % divided by the number of comparisons


def test_stars_are_given_among_the_comparisons_of_all_parts():
    part = made_up([1.5, 1.3, 1.45, 1.25])  # p is 0.0054, and there are 7 comparisons in a part
    assert "× MAML's* (" in lesson.evidence({"sine": part}, "fomaml")[0]
    assert "× MAML's (" in lesson.evidence({"sine": part, "omniglot": part}, "fomaml")[0]


# The panel


def test_what_the_panel_computes_is_what_paired_computes():
    random = np.random.default_rng(0)
    logs = 0.1 + 0.2 * random.standard_normal((30, 8))
    means, half95, half90 = lesson.running(logs)
    names, found = list(lesson.OUTCOMES), lesson.outcomes(means, half95, half90)
    for experiment, row in enumerate(logs):
        for seeds in range(2, 9):
            values = row[:seeds].tolist()
            at = experiment, seeds - 2
            for half, level in ((half95, 0.95), (half90, 0.90)):
                interval = Interval.of(values, level)
                assert (means[at], means[at] - half[at]) == pytest.approx((interval.mean, interval.low))
            verdict = compare({i: math.exp(v) for i, v in enumerate(values)}, dict.fromkeys(range(seeds), 1.0))
            expected = "undecided"
            if verdict.different:
                side = "fewer errors" if verdict.ratio.mean < 1 else "more errors"
                expected = "different, but too little" if verdict.equivalent else side
            elif verdict.equivalent:
                expected = "equivalent"
            assert names[found[at]] == expected


def test_the_panels_shares_are_those_of_the_lesson():
    panel = lesson.seeds_panel()
    panel.controls["ratio"].value, panel.controls["seeds"].value = 1.3, 5
    rates = lesson.outcome_rates(1.3, 0.15, 5)
    words = panel.picture.text.value
    assert sum(rates.values()) == pytest.approx(1)
    for name, share in rates.items():
        assert f"{100 * share:.0f} % end with “{name}”" in words
    assert "With 5 seeds, experiment 1 finds the ratio" in words


def test_equal_methods_are_told_apart_in_5_of_100_experiments_and_by_impatient_people_more_often():
    for seeds in (2, 5, 20):
        rates = lesson.outcome_rates(1.0, 0.3, seeds)
        found = 1 - rates["equivalent"] - rates["undecided"]
        assert abs(found - 0.05) <= 3 * math.sqrt(0.05 * 0.95 / lesson.EXPERIMENTS)
    assert lesson.stopped_early(0.3) > 0.15
    assert lesson.outcome_rates(MARGIN**3, 0.05, 20)["more errors"] == 1


# Pictures


def test_every_picture_comes_with_its_description():
    several = {part: {"w1": [-0.1, 0.0, 0.1, 0.2, 0.3], "w2": [0.1] * 5} for part in lesson.PARTS}
    pictures = [
        lesson.draw_pairs(RESULTS["sine"], "sine", ["maml", "fomaml"]),
        lesson.draw_ratios(RESULTS),
        lesson.draw_curves(RESULTS, ["maml", "reptile"]),
        lesson.draw_rates(several["sine"], 0.1, "rates"),
        lesson.draw_gates({part: {"w1": 0.3, "w2": 1.0} for part in lesson.PARTS}),
        lesson.draw_per_step(several),
        lesson.draw_learning({10: {"w1": [0.1, 0.2]}, 20: {"w1": [0.2, 0.1]}}),
        lesson.draw_similarities({"a": {"conv1": (0.9, 0.1)}, "b": {"conv1": (0.5, 0.1)}}, "alike"),
        lesson.draw_losses({"yours": [2.0] * 60, "ours": [1.0] * 60}, "training"),
    ]
    for figure, words in pictures:
        figure.canvas.draw()
        assert all(ax.get_title() for ax in figure.axes)
        assert len(words) > 30
