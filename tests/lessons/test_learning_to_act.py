"""The lesson on learning to act: its pictures say what they show, and its panel moves with the goal."""

import pytest
import torch

from metalab.experiments import navigation as study
from metalab.lessons.learning_to_act import bandit_figures as of_bandits
from metalab.lessons.learning_to_act import figures as lesson
from metalab.tasks import navigation

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
        assert f"{value:.1f} after {k}" in words
        assert f"{value:.1f}" in ax.get_title()
        paths = [line for line in ax.lines if len(line.get_xdata()) == navigation.STEPS + 1]
        assert len(paths) == 3
        assert paths[0].get_xydata()[-1].tolist() == pytest.approx(walked.last[1, 0].tolist())


def test_the_picture_of_returns_has_a_line_for_each_seed_and_the_authors_data():
    fig, words = lesson.draw_returns(RESULTS)
    ours, theirs = fig.axes
    assert len(ours.lines) == 3 * len(study.METHODS)
    assert len(theirs.containers) == len(study.METHODS)
    after = lesson.of_seeds(RESULTS, "maml").mean(0)[3].item()
    assert f"MAML {after:.1f} after 3 steps" in words


def test_the_picture_of_the_loss_says_where_it_ends():
    fig, words = lesson.draw_loss([0.5] * 20 + [0.2] * 20)
    assert len(fig.axes[0].lines[0].get_xdata()) == 40
    assert "at the end 0.20" in words


def test_the_panel_moves_with_the_goal():
    panel = lesson.goal_panel(lesson.trained())
    for name, value in (("x", -0.4), ("y", 0.1)):
        before = panel.picture.text.value
        panel.controls[name].value = value
        assert panel.picture.text.value != before, name


def test_the_picture_of_rewards_names_every_player():
    shown = {of_bandits.NETWORK: [0.5] * 10, "greedy": [0.5] * 10}
    fig, words = of_bandits.draw_rewards(shown)
    drawn = [text.get_text() for ax in fig.axes for text in (*ax.texts, *(ax.get_legend() or fig).findobj())
             if hasattr(text, "get_text")]  # fmt: skip
    for name in shown:
        assert any(name in text for text in drawn), name
    assert words
