"""The lesson on learning in context: its results were measured as they say, and its panels say what they show."""

import json
import math

import pytest
import torch

from metalab.experiments import in_context as study
from metalab.learners import MAML, CausalTransformer
from metalab.lessons.learning_in_context import figures as lesson
from metalab.losses import mse
from metalab.nets import MLP
from metalab.tasks import linear

RESULTS = lesson.load_results()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_shipped_results_are_whole_and_were_measured_with_todays_settings():
    assert RESULTS["protocol"] == json.loads(json.dumps(study.protocol()))
    for method in (*study.IN_CONTEXT, *study.GRADIENT):
        seeds = [run["seed"] for run in RESULTS["runs"] if run["method"] == method]
        assert len(seeds) == len(set(seeds)) >= 3, method
    for run in RESULTS["runs"]:
        assert run["steps"] == study.protocol()["steps"][run["method"]]


def test_the_limits_are_those_that_the_command_computes():
    for shots in (1, 5):
        episode = study.test_episode(shots)
        known = lesson.SinePosterior.of(episode.support_x, episode.support_y, noise=study.NOISE)
        found = study.summary(known.mean(episode.query_x), episode)
        assert found == pytest.approx(RESULTS["limits"]["exact"][str(shots)], rel=1e-3)


def test_nobody_is_below_the_limit():
    for method in lesson.LOOKS:
        for shots in study.SHOTS:
            ratio = lesson.ratio(RESULTS, method, shots)
            assert ratio is None or ratio.mean > 0.99, (method, shots)


def test_a_mean_that_diverged_is_none_and_the_others_are_counted():
    episode = study.test_episode(2)
    answers = episode.query_y.clone()
    answers[3] = math.inf
    assert study.summary(answers, episode) == {"mean": None, "median": 0.0, "failed": 1}


def test_the_shipped_transformer_has_the_errors_that_the_results_have():
    params = lesson.load_linear()
    found = study.linear_errors(lambda e: study.LINEAR.predict(params, e), "none")
    (of_seed_0,) = (r["errors"]["none"] for r in RESULTS["runs"] if (r["method"], r["seed"]) == ("linear", 0))
    for shots, error in found.items():  # it is shipped in half precision
        assert error == pytest.approx(of_seed_0[shots], rel=0.1)


def test_the_rivals_on_linear_functions_against_a_loop():
    episode = linear.sample(4, 7, 3, seeded())
    for t in range(4):
        x, y, q = episode.support_x[t], episode.support_y[t], episode.query_x[t]
        w = torch.linalg.lstsq(x, y).solution
        torch.testing.assert_close(study.least_squares(episode)[t], q @ w, rtol=1e-3, atol=1e-3)
        for i in range(3):
            near = (x - q[i]).square().sum(1).argsort()[:3]
            torch.testing.assert_close(study.three_nearest(episode)[t, i], y[near].mean(0))
        weights = sum(a * b for a, b in zip(x, y, strict=True)) / 7
        torch.testing.assert_close(study.averaging(episode)[t, :, 0], q @ weights)


def test_prefix_answers_are_those_of_each_prefix():
    episode = linear.sample(3, 8, 1, seeded(), noise=0.5)
    x, y = episode.support_x.double(), episode.support_y.double()
    found = lesson.prefix_answers(x, y[:, :, 0], 0.5)
    for k in range(8):
        a = x[:, :k].mT @ x[:, :k] + 0.25 * torch.eye(5, dtype=x.dtype)
        w = torch.linalg.inv(a) @ x[:, :k].mT @ y[:, :k]
        torch.testing.assert_close(found[:, k], (x[:, k : k + 1] @ w)[:, 0, 0])


@pytest.fixture
def panel():
    learner = CausalTransformer(width=8, layers=1)
    maml = MAML(MLP(), mse, inner_lr=0.01, inner_steps=10)
    learners = {
        "transformer": (learner, learner.init(seeded())),
        "MAML, 10 steps": (maml, maml.init(seeded())),
    }
    return lesson.context_panel(learners)


def test_the_panel_of_points_follows_each_control(panel):
    pictures = {panel.picture.image.value}
    for name, value in {"points": 3, "x1": 1.0, "y3": -1.0}.items():
        panel.controls[name].value = value
        pictures.add(panel.picture.image.value)
    assert len(pictures) == 4
    assert "3 points. Typical distance from the exact answer: transformer" in panel.picture.text.value


def test_the_panel_says_it_when_gradient_steps_diverge():
    maml = MAML(MLP(), mse, inner_lr=1e3, inner_steps=10)
    params = {name: 100 * p for name, p in maml.init(seeded()).items()}
    panel = lesson.context_panel({"MAML, 10 steps": (maml, params)})
    assert "Not drawn: MAML, 10 steps, whose gradient steps diverged" in panel.picture.text.value


def test_the_panel_says_it_when_a_curve_leaves_the_picture():
    class High:
        def predict(self, params, episode):
            return torch.full_like(episode.query_x, 8.0)

    panel = lesson.context_panel({"transformer": (High(), {})})
    assert "Partly outside of the picture: transformer." in panel.picture.text.value


def test_more_examples_leave_the_predictions_of_the_panel_of_shifts_as_they_are():
    picture = lesson._ShiftPicture()
    ends = []
    for most in (7, 12):
        _canvas, words = picture(scale=1.0, noise=0.5, most=most)
        line = picture._lines["transformer"]
        assert list(line.get_xdata()) == list(range(most + 1))
        assert f"After {most} examples" in words
        ends.append(line.get_ydata()[:8])
    torch.testing.assert_close(*ends)


def test_ratios_in_words_name_the_seeds_that_diverged():
    assert lesson.ratios_in_words(RESULTS, "MAML, 10 steps", 1) == "diverged"
    assert lesson.ratios_in_words(RESULTS, "MAML, 10 steps", 3) == "40 … diverged"
    assert lesson.ratios_in_words(RESULTS, "nearest neighbour", 1) == "7.6"
    assert lesson.ratios_in_words(RESULTS, "transformer, longer", 1) == "1.0"  # by all seeds


def test_the_panel_of_shifts_follows_each_control():
    panel = lesson.shift_panel()
    assert "After 10 examples, inputs × 1 and noise 0: transformer" in panel.picture.text.value
    first = panel.picture.text.value
    for name, value in {"scale": 3.0, "noise": 1.0, "most": 40}.items():
        panel.controls[name].value = value
        assert panel.picture.text.value != first
        first = panel.picture.text.value


def test_every_picture_comes_with_its_description():
    episode = lesson.Episode(torch.zeros(1, 2, 1), torch.ones(1, 2, 1), lesson.GRID, lesson.GRID.sin())
    pictures = [
        lesson.draw_two_ways(),
        lesson.draw_posterior(episode, [0, 2]),
        lesson.draw_mask(torch.ones(5, 5).tril().bool(), 2),
        lesson.draw_errors(RESULTS, list(lesson.LOOKS), "errors"),
        lesson.draw_linear(RESULTS),
        lesson.draw_fits(episode, {"transformer": lesson.GRID}, "fits"),
    ]
    for figure, words in pictures:
        figure.canvas.draw()
        assert all(ax.get_title() for ax in figure.axes)
        assert len(words) > 25


def test_the_shipped_results_on_pictures_were_measured_with_todays_settings():
    pictures = lesson.load_pictures()
    assert pictures["protocol"] == json.loads(json.dumps(lesson.pictures.protocol()))
    done = {(run["method"], run["seed"]) for run in pictures["runs"]}
    assert done == {(method, seed) for method in lesson.pictures.LEARNERS for seed in range(3)}
    assert all(len(right) == lesson.pictures.EPISODES for run in pictures["runs"] for right in run["right"].values())
    figure, words = lesson.draw_pictures(pictures)
    assert figure.axes[0].get_title()
    assert "prototypes 94% … 95%, transformer 92% … 94%" in words
