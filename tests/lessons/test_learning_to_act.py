"""The lesson on learning to act: its pictures say what they show, and its panel moves with the goal."""

from dataclasses import replace

import pytest
import torch

from metalab.experiments import navigation as study
from metalab.learners import PolicyMAML
from metalab.lessons.kit.figures import BLUE, VERMILION
from metalab.lessons.learning_to_act import bandit_figures as of_bandits
from metalab.lessons.learning_to_act import figures as lesson
from metalab.tasks import navigation
from metalab.train import Trainer

RESULTS = lesson.load_results()


def a_few_walks():
    attempts = navigation.sample(2, 3, 2, torch.Generator().manual_seed(0))
    return study.LEARNER.adapt(lesson.trained(), attempts)[1], attempts


def test_the_picture_of_walks_shows_each_round_and_says_its_return():
    walks, attempts = a_few_walks()
    fig, words = lesson.draw_walks(walks, attempts.goal[1], task=1)
    assert len(fig.axes) == 2
    for k, (ax, walked) in enumerate(zip(fig.axes, walks, strict=True)):
        value = walked.returns()[1].mean().item()
        assert f"{value:.1f} ({k} inner step" in words
        assert f"{value:.1f}" in ax.get_title()
        paths, star = (next(line for line in ax.lines if line.get_color() == color) for color in (BLUE, VERMILION))
        places = paths.get_xydata().reshape(3, navigation.STEPS + 2, 2)  # and a gap behind each
        assert places[:, :-2].tolist() == walked.states[1].tolist()
        assert places[0, -2].tolist() == pytest.approx(walked.last[1, 0].tolist())
        assert star.get_xydata()[0].tolist() == attempts.goal[1].tolist()


def test_walks_that_leave_the_picture_do_not_change_its_scale_and_are_told():
    walks, attempts = a_few_walks()
    far = replace(walks[1], last=torch.full_like(walks[1].last, 1e30))
    fig, words = lesson.draw_walks([walks[0], far], attempts.goal[0])
    assert fig.axes[1].get_xlim() == (-1, 1)
    assert "(0 inner steps)" in words
    assert "(1 inner step, some leave the picture)" in words
    fig.canvas.draw()


def test_the_picture_of_returns_has_a_line_for_each_seed_and_the_authors_data():
    fig, words = lesson.draw_returns(RESULTS)
    ours, theirs = fig.axes
    assert len(ours.lines) == len(RESULTS["runs"])
    assert len(theirs.containers) == len(lesson.AUTHORS)
    after = lesson.of_seeds(RESULTS, "maml").mean(0)[3].item()
    assert f"MAML {after:.1f} after 3 steps" in words


def test_what_was_tried_is_the_mean_on_validation_goals():
    found = lesson.tried(RESULTS)
    assert list(found) == list(study.LATER)
    params, share = lesson.trained("maml", 0), study.LATER[-1]
    want = study.returns(params, study.LEARNER.inner_lr, share, study.VALIDATION_SEED).mean(0).tolist()
    assert found[share][0].tolist() == pytest.approx(want, rel=0.1, abs=1)


def test_the_panel_moves_with_the_goal_and_the_later_steps():
    panel = lesson.goal_panel(lesson.trained(), study.LEARNER)
    for name, value in (("x", 0.4), ("y", -0.1), ("later", 0.2)):
        before = panel.picture.text.value
        panel.controls[name].value = value
        assert panel.picture.text.value != before, name


def test_the_training_panel_is_the_studys_training_with_more_rounds():
    panel = lesson.training_panel(seed=3)
    assert panel.driver.values == {"inner_lr": 0.5, "outer_lr": 5e-3, "inner_steps": 1}
    twin = Trainer(PolicyMAML(), lambda g: navigation.sample(20, 10, 4, g), outer_lr=5e-3, seed=3)
    assert [panel.driver.step().metrics["loss"] for _ in range(2)] == [s.metrics["loss"] for s in twin.run(2)]


def test_the_training_panels_picture_shows_the_policy_of_now_before_and_after_its_steps():
    panel = lesson.training_panel()
    panel.driver.set("inner_steps", 2)
    panel.driver.set("inner_lr", 0.1)
    walks, goal, task = panel.look(panel.driver)
    noise = navigation.sample(1, 20, 4, torch.Generator().manual_seed(1)).noise[:, :3]
    learner = PolicyMAML(inner_lr=0.1)
    want = learner.predict(panel.driver.trainer.params, navigation.Attempts(goal[None], noise))[0]
    words = panel.view.picture.update((walks, goal, task))
    assert f"{want[0].item():.1f} (before" in words
    assert f"{want[2].item():.1f} (after" in words


def test_the_picture_of_rewards_names_every_player_and_shows_what_those_near_the_optimum_lose():
    shown = {"optimal": [0.5] * 10, of_bandits.NETWORK: [0.499] * 10, "greedy": [0.495] * 10, "Thompson": [0.4] * 10}
    fig, words = of_bandits.draw_rewards(shown)
    left, right = fig.axes
    assert [line.get_label() for line in left.lines] == list(shown)
    gaps = {line.get_label(): line.get_ydata()[0] for line in right.lines}
    assert gaps == pytest.approx({"optimal": 0, of_bandits.NETWORK: -0.001, "greedy": -0.005})
    assert "Thompson 4.00" in words
