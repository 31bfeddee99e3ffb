"""The lesson on uncertainty: its results are those of today's command, and its panel and game do what they say."""

import pytest
import torch

from metalab.experiments import uncertainty as study
from metalab.lessons.fast_learning_with_uncertainty import figures as lesson
from metalab.lessons.fast_learning_with_uncertainty import solutions
from metalab.tasks import sine

RESULTS = lesson.load_results()
SEEDS = 4


def test_shipped_results_are_whole_and_were_measured_with_todays_settings():
    assert RESULTS["noise"] == study.NOISE
    assert RESULTS["tasks"] == study.TASKS
    assert RESULTS["steps"] == {name: method.steps for name, method in study.METHODS.items()}
    ways = {f"in range, {shots}" for shots in study.SHOTS} | {"out of range", "beyond"}
    assert set(RESULTS["exact"]) == ways
    for method in (*study.JUDGED, "ensemble"):
        assert len(lesson.over_seeds(RESULTS, method, "beyond", "nll")) == SEEDS
    for method in study.TASK_METHODS:
        for tasks in (*study.FEW, None):
            assert len(lesson.with_few(RESULTS, method, tasks, "error")) == SEEDS


def test_the_exact_answer_of_the_results_is_todays():
    for way, shots in (("in range", 5), ("beyond", 5)):
        key = f"{way}, {shots}" if way == "in range" else way
        found = study.judge(study.exact, study.exam(way, shots))
        for measure, value in RESULTS["exact"][key].items():
            assert found[measure] == pytest.approx(value, abs=2e-3), (way, measure)


def test_the_shipped_members_are_the_first_ensemble_of_the_results():
    found = study.judge(study.ensemble(lesson.members()), study.exam("in range", 5))
    first = next(r for r in RESULTS["runs"] if (r["method"], r["seed"]) == ("ensemble", 0))["in range, 5"]
    assert found["error"] == pytest.approx(first["error"], rel=0.02)  # the members are shipped in half precision


def test_no_normal_answer_has_a_better_likelihood_than_the_exact_one():
    """Its mean and variance are the true ones, and so the best on average; 30,000 queries leave little chance."""
    for way, exact in RESULTS["exact"].items():
        for run in RESULTS["runs"]:
            assert run[way]["nll"] > exact["nll"] - 0.01, (way, run["method"])


def test_a_level_of_coverage_is_found_by_its_name():
    run = next(run for run in RESULTS["runs"] if run["method"] == "alpaca")["beyond"]
    assert lesson._of(run, "0.9") == run["coverage"][8]
    assert lesson._of(run, "0.5") == run["coverage"][4]


def test_a_median_over_four_seeds_lies_between_the_two_in_the_middle():
    seeds = sorted(lesson.with_few(RESULTS, "maml", 10, "error"))
    _figure, words = lesson.draw_few(RESULTS, ["maml"])
    assert f"maml, new waves: {(seeds[1] + seeds[2]) / 2:.3f}," in words


def test_bands_in_pictures_are_those_of_90_percent():
    assert abs(lesson.REACH - 1.6449) < 1e-4


def test_the_panel_shows_two_methods_and_says_what_it_shows():
    panel = lesson.bands_panel({"ensemble": study.ensemble(lesson.members()), "exact": study.exact})
    first = panel.picture.text.value
    assert "exact: the band is" in first
    assert "ensemble: the band is" in first
    for name, value in (("wave", 2), ("points", 5), ("last", 8.0), ("left", "ensemble")):
        before = panel.picture.text.value
        panel.controls[name].value = value
        assert panel.picture.text.value != before, name
    assert "exact" not in panel.picture.text.value  # both sides show the ensemble


def test_the_game_counts_measurements_and_wins():
    game = lesson.QuestionGame(study.exact)
    rivals = [x.item() for x in game.rivals]
    assert rivals[0] == game.yours[0].item()
    for x in rivals[1:]:
        assert "Choose the next x" in game.picture.text.value
        game.where.value = x
        game.ask.click()
    assert game.errors(game.yours) == pytest.approx(game.errors(game.rivals), rel=1e-3)
    assert "You were nearer on 0 of 1 waves" in game.picture.text.value
    game.ask.click()  # nothing is left to measure
    assert len(game.yours) == game.points
    game.next.click()
    assert len(game.yours) == 1
    worst = game.yours[0].item()
    for _ in range(3):
        game.measure(worst)  # the same place again
    assert game.scores[1][0] > game.scores[1][1]


def test_on_a_narrow_page_nothing_of_a_picture_is_cut_off():
    panel = lesson.bands_panel({"ensemble": study.ensemble(lesson.members()), "exact": study.exact})
    for live in (panel.picture, lesson.QuestionGame(study.exact).picture):
        live.room.page = (560.0, 900.0, 1.0)  # CSS pixels of the panel's width and of the window's height, and dots
        live._fit()
        figure = live._last.figure
        legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
        assert legends
        for part in (*legends, *(ax.title for ax in figure.axes)):
            box = part.get_window_extent()
            assert max(-box.x0, box.x1 - figure.bbox.width) < 3, part  # a legend has an empty rim


def test_the_rival_measures_where_the_variance_is_largest():
    game = lesson.QuestionGame(study.exact)
    _mean, variance = game._answers(game.rivals[:1])
    assert game.rivals[1].item() == pytest.approx(game.at[0, variance.argmax()].item())


def test_two_forms_of_our_solutions_agree():
    """The linear layer point by point, and the Gaussian process with its kernel."""
    generator = torch.Generator().manual_seed(0)
    phi = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(5, generator=generator, dtype=torch.float64)
    mean, covariance = torch.zeros(3).double(), torch.eye(3).double()
    for features, value in zip(phi, y, strict=True):
        mean, covariance = solutions.update(mean, covariance, features, value, 0.4)
    query = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    own = query.square().sum(1)
    gp = solutions.gp_posterior(phi @ phi.T, query @ phi.T, own, y, 0.4)
    torch.testing.assert_close(query @ mean, gp[0])
    torch.testing.assert_close(((query @ covariance) * query).sum(1) + 0.4**2, gp[1])


def test_every_picture_comes_with_its_description():
    at = lesson.line()
    wave = sine.Sine(torch.tensor([2.0]), torch.tensor([1.0]))
    x = torch.tensor([[-1.0], [2.0]])
    y = wave(x[None])[0]
    answer = study.exact(lesson.asked(x, y, at))
    judged = study.judge(study.exact, study.exam("in range", 2, tasks=20))
    pictures = [
        lesson.draw_waves(at, {"one": wave(at)}, x, y, "a wave"),
        lesson.draw_bands({"one": answer, "another": answer, "third": answer}, at, (x, y), wave(at), seen=5),
        lesson.draw_losses({"one": [2.0] * 60}, "training"),
        lesson.draw_calibration({"in range": {"one": judged["coverage"]}}),
        lesson.draw_few(RESULTS, ["alpaca", "maml"]),
        lesson.draw_error_over_points({"one": torch.rand(5, 3) + 0.1}, "error"),
    ]
    for figure, words in pictures:
        figure.canvas.draw()
        assert all(ax.get_title() for ax in figure.axes if ax.axison)
        assert len(words) > 20
