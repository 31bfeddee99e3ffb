import asyncio
import statistics

import numpy as np
import pytest
import torch

from metalab import checkpoint
from metalab.analysis.roc import roc
from metalab.evaluate import Score
from metalab.learners import Contrastive
from metalab.lessons.kit import panels
from metalab.lessons.siamese_contrastive_loss import concepts
from metalab.lessons.siamese_contrastive_loss import figures as lesson
from metalab.nets import Conv4
from metalab.tasks import Characters, Groups, as_pairs
from metalab.train import Trainer


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(classes=8, drawings=7, seed=1):
    ink = (torch.rand(classes, drawings, 28, 28, generator=seeded(seed)) < 0.3).to(torch.uint8) * 255
    return Characters(ink, torch.arange(classes) // -(-classes // 2), ("first", "second"), "noise")


def words(panel):
    return panel.picture.text.value


def titles(fig):
    return [ax.get_title() for ax in fig.axes]


def some_pairs(count=6):
    return as_pairs(Groups(noise(), 2, 2)(count, seeded()))


# Pairs


def labels(fig):
    return [ax.get_title(loc="left") for ax in fig.axes if ax.get_title(loc="left")]


def test_pairs_say_what_they_are():
    assert labels(lesson.draw_pairs(some_pairs(2), "t")) == ["same", "different"]


def test_pairs_say_where_a_network_is_right():
    distance = torch.tensor([0.5, 0.5, 1.0, 1.5])  # of a same and a different pair, by turns; the threshold counts
    shown = labels(lesson.draw_pairs(some_pairs(4), "t", distance=distance, threshold=1.0))
    assert shown == ["✓ same\nd = 0.50", "✗ different\nd = 0.50", "✓ same\nd = 1.00", "✓ different\nd = 1.50"]


def test_the_drawings_of_a_pair_stand_side_by_side():
    pairs = some_pairs(8)
    drawn = [1 - torch.tensor(ax.get_images()[0].get_array()) for ax in lesson.draw_pairs(pairs, "t").axes]
    expected = torch.stack([pairs.first[:, 0], pairs.second[:, 0]], 1).flatten(0, 1)
    assert all(torch.equal(*both) for both in zip(drawn, expected, strict=True))


@pytest.fixture
def game():
    one = Characters(noise().images, torch.zeros(8, dtype=torch.int64), ("first", "second"), "noise")
    return lesson.PairsGame({"any": Groups(noise(), 2, 2), "one": Groups(one, 2, 2, within_alphabet=True)}, seed=3)


def test_half_of_the_pairs_are_the_same_in_random_order(game):
    for kind in ("any", "one"):
        truths = [question.truth for question in game.questions[kind]]
        assert sorted(truths) == [0] * 6 + [1] * 6
        assert truths != [0, 1] * 6
        pairs = game.pairs(kind)
        assert pairs.same.tolist() == [truth == 0 for truth in truths]
        for question, first, second in zip(game.questions[kind], pairs.first, pairs.second, strict=True):
            assert torch.equal(question.asked[0], first)
            assert torch.equal(question.asked[1], second)


def test_the_label_of_a_pair_is_true():
    """Each drawing of a character holds the number of the character."""
    level = torch.arange(6)[:, None, None, None].expand(6, 4, 28, 28).to(torch.uint8)
    numbered = Characters(level, torch.zeros(6, dtype=torch.int64), ("first",), "noise")
    game = lesson.PairsGame({"any": Groups(numbered, 2, 2)})
    for question in game.questions["any"]:
        assert torch.equal(*question.asked) == (question.choices[question.truth] == "the same character")


def test_nothing_tells_the_answer_before_the_guess(game):
    assert "Do these two drawings show the same character? Score: 0 of 0." in game.readout.value
    assert "Right" not in game.readout.value
    assert [button.description for button in game.choices.children] == ["the same character", "different characters"]
    truth = game.question.truth
    game.choices.children[truth].click()
    assert f"✓ Right: {game.CHOICES[truth]}." in game.readout.value
    assert game.score("any") == (1, 1)


def test_networks_guess_the_same_pairs(game):
    game.compare({"all the same": lambda pairs: torch.ones_like(pairs.same), "knows": lambda pairs: pairs.same})
    for _ in range(12):
        game.answer(1)
        game.go_on()
    assert game.asked.value.count("<td>6 of 12</td>") == 2  # the reader, and the first network
    assert game.asked.value.count("<td>12 of 12</td>") == 1


def test_the_seed_decides_the_pairs():
    first, again, other = (lesson.PairsGame({"any": Groups(noise(), 2, 2)}, seed=s).pairs("any") for s in (0, 0, 1))
    assert torch.equal(first.first, again.first)
    assert not torch.equal(first.first, other.first)


# The margin


def test_the_margin_panel_says_what_a_pair_costs():
    panel = lesson.margin_panel()
    panel.controls["margin"].value, panel.controls["at"].value = 1.5, 0.5
    assert "at distance 0.5 costs 0.25 if they are the same and 1.00 if they are different" in words(panel)
    panel.controls["at"].value = 2.0
    assert "Beyond the margin a different pair is left alone" in words(panel)
    panel.controls["margin"].value = 0.0
    assert "nothing pushes" in words(panel)


def test_the_margin_panel_draws_the_readers_loss():
    asked = []

    def loss(distance, same, margin):
        asked.append((len(distance), bool(same[0]), margin))
        return distance

    lesson.margin_panel(loss)
    assert asked == [(301, True, 1.0), (1, True, 1.0), (301, False, 1.0), (1, False, 1.0)]


# The map


def groups(characters=3, drawings=4):
    return torch.arange(characters * drawings).view(characters, drawings, 1, 1, 1) * torch.ones(1, 28, 28)


def test_two_dimensions_are_shown_as_they_are():
    z = torch.randn(12, 2, generator=seeded())
    shown = lesson.Map(groups(), lambda params, x: z)
    shown.add(0, {})
    torch.testing.assert_close(shown.points[0], (z - z.mean(0)).view(3, 4, 2))
    assert shown.shares == [1.0]


def test_more_dimensions_are_seen_where_they_vary_most():
    z = torch.randn(12, 5, generator=seeded()) * torch.tensor([0.1, 3.0, 0.1, 5.0, 0.1])
    shown = lesson.Map(groups(), lambda params, x: z)
    shown.add(0, {})
    true = torch.pdist(z[:, [1, 3]])
    torch.testing.assert_close(torch.pdist(shown.points[0].flatten(0, 1)), true, rtol=0.1, atol=0.1)
    assert 0.99 < shown.shares[0] < 1


def test_a_turned_embedding_gives_the_same_picture():
    """What only the choice of axes changes must not move: else the eye follows what no training did."""
    z = torch.randn(12, 4, generator=seeded()) * torch.tensor([4.0, 2.0, 0.1, 0.1])
    turn, _ = torch.linalg.qr(torch.randn(4, 4, generator=seeded(1)))
    shown = lesson.Map(groups(), lambda params, x: z @ params["turn"])
    shown.add(0, {"turn": torch.eye(4)})
    shown.add(1, {"turn": turn})
    torch.testing.assert_close(*shown.points, rtol=1e-3, atol=1e-3)


def test_spread_against_plain_loops():
    z = torch.randn(12, 2, generator=seeded())
    shown = lesson.Map(groups(), lambda params, x: z)
    shown.add(0, {})
    points = shown.points[0]
    within = [(points[p, i] - points[p, j]).norm() for p in range(3) for i in range(4) for j in range(4) if i != j]
    between = [(points[p].mean(0) - points[q].mean(0)).norm() for p in range(3) for q in range(3) if p != q]
    assert shown.spread() == pytest.approx((float(sum(within)) / 36, float(sum(between)) / 6), rel=1e-5)


def test_all_pictures_have_one_scale():
    shown = lesson.Map(groups(), lambda params, x: params["size"] * torch.eye(12)[:, :2])
    for step, size in enumerate((1.0, 10.0, 0.1)):
        shown.add(step, {"size": torch.tensor(size)})
    assert len({shown.draw(moment).axes[0].get_xlim() for moment in range(3)}) == 1


def test_everything_in_one_point_can_be_drawn():
    shown = lesson.Map(groups(), lambda params, x: torch.zeros(12, 3))
    shown.add(0, {})
    shown.add(1, {})
    shown.draw()
    assert shown.spread() == (0, 0)


def test_the_slider_goes_back(figures):
    shown = lesson.Map(groups(), lambda params, x: params["size"] * torch.eye(12)[:, :2])
    for step in (0, 10, 20):
        shown.add(step, {"size": torch.tensor(1.0 + step)})
    panel = shown.panel()
    assert "Step 20:" in words(panel)
    panel.controls["moment"].value = 1
    assert "Step 10:" in words(panel)
    seen, expected = figures[-1].axes[0], shown.draw(1).axes[0]
    assert seen.get_title() == expected.get_title() == "unseen characters, step 10"
    for letters, alone in zip(seen.collections, expected.collections, strict=True):
        assert letters.get_offsets().tolist() == alone.get_offsets().tolist()


def test_more_characters_than_letters_are_refused():
    with pytest.raises(ValueError, match="groups has 9 characters: at most 8"):
        lesson.Map(groups(9), lambda params, x: x)


# Training


def test_training_is_drawn_and_remembered(monkeypatch):
    monkeypatch.setattr(panels.LivePicture, "due", lambda self: False)  # only the last picture
    learner = Contrastive(Conv4(outputs=2, channels=2))
    images = noise().batch(20, seeded())[0]
    shown = lesson.Map(
        Groups(noise(), 3, 4)(1, seeded())[0],
        lambda params, x: learner.with_statistics(params, images).embed(params, x),
    )
    trainer = Trainer(learner, lambda g: Groups(noise(), 4, 2)(1, g))
    asked = []

    def score(params):
        asked.append(trainer.steps)
        return Score(0.5, 0.1, 10)

    steps = lesson.train_with_embedding(trainer, 40, shown, title="t", score=score)
    assert [step.number for step in steps] == list(range(1, 41))
    assert shown.steps == [0, *range(2, 41, 2)]
    assert asked == [10, 20, 30, 40]


# Verification


def test_the_threshold_panel_follows():
    distance, same = torch.tensor([0.2, 0.4, 0.6, 1.0]), torch.tensor([True, False, True, False])
    panel = lesson.threshold_panel(distance, same, title="t")
    panel.controls["threshold"].value = 0.61
    said = words(panel)
    assert "Of the same pairs 0.0% are missed, of the different pairs 50.0% are accepted; 75.0% of all" in said
    assert f"AUC {roc(-distance, same).auc:.4f}" in said
    panel.controls["threshold"].value = 0.0
    assert "Of the same pairs 100.0% are missed, of the different pairs 0.0% are accepted; 50.0%" in words(panel)


def test_pairs_of_one_kind_only_are_refused():
    with pytest.raises(ValueError, match="both kinds are needed"):
        lesson.threshold_panel(torch.rand(4), torch.ones(4, dtype=torch.bool), title="t")


def test_the_base_rate_panel_counts_by_bayes():
    distance = torch.tensor([0.1, 0.2, 0.3, 0.9, 0.4, 0.6, 0.7, 0.8])
    same = torch.tensor([True] * 4 + [False] * 4)
    panel = lesson.base_rate_panel(distance, same, threshold=0.5, title="t")
    panel.controls["threshold"].value = 0.5
    panel.controls["share"].value = 0.01
    said = words(panel)
    assert "1,000 are same, and 750 of these are called same (75.0%)" in said
    assert "99,000 different pairs, 24,750 are called same, too (25.00%)" in said
    assert "750 of 25,500 pairs that are called same are same: precision 2.9%" in said
    panel.controls["threshold"].value = 0.0
    assert "the precision is not defined" in words(panel)


def test_precision_is_that_of_a_stream_that_is_counted():
    generator = seeded()
    same = torch.rand(200_000, generator=generator) < 0.03
    called = torch.where(same, torch.rand(200_000, generator=generator) < 0.9, torch.rand(200_000) < 0.05)
    counted = (called & same).sum() / called.sum()
    assert lesson.precision(0.9, 0.05, 0.03) == pytest.approx(counted.item(), abs=0.01)


def test_letters_stand_out_from_the_paper():
    """WCAG asks for a contrast of 4.5 between text and its background."""

    def luminance(color):
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    assert len(set(lesson.COLORS)) == len(lesson.LETTERS)
    assert all(1.05 / (luminance(color) + 0.05) >= 4.5 for color in lesson.COLORS)


# The family


def results():
    """Made-up accuracies whose means and differences are known."""
    kinds = ("5-way, any", "20-way, any", "5-way, one", "20-way, one")

    def run(learner, seed, accuracy):
        return {
            "learner": learner,
            "seed": seed,
            "validation": dict.fromkeys(kinds, accuracy),
            "test": dict.fromkeys(kinds, accuracy - 0.1),
        }

    first, second = (0.9, 0.8, 0.7), (0.85, 0.74, 0.66)
    both = {"b": second, "a": first}
    return {"runs": [run(name, 2 - s, values[2 - s]) for name, values in both.items() for s in range(3)]}


def test_differences_are_taken_seed_by_seed():
    score = concepts.difference(results(), "a", "b", "20-way, any")
    gaps = [0.05, 0.06, 0.04]
    assert score.mean == pytest.approx(0.05)
    assert score.ci95 == pytest.approx(4.30265 * statistics.stdev(gaps) / 3**0.5)
    assert concepts.points(score) == "+5.0 ± 2.5 points"
    assert concepts.accuracies(results(), "a", "5-way, one", "test").tolist() == pytest.approx([0.8, 0.7, 0.6])


def test_the_family_is_printed(capsys):
    concepts.print_family(results(), ["a", "b"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split()[0] == "a"
    assert lines[2].count("80.0 ± 24.8 %") == 4
    assert max(map(len, lines)) <= 88


def test_the_older_network_for_the_challenge_is_shipped():
    about = concepts.challenge()
    params, _note = checkpoint.shipped(about["older"])
    assert params
    assert all(0 < rival["error"] < 1 for rival in about["rivals"].values())


@pytest.mark.parametrize(
    ("errors", "rival", "says"),
    [
        (25, {"error": 0.08, "trials": 400}, "undecided"),
        (25, {"error": 0.045, "trials": None}, "undecided"),
        (60, {"error": 0.08, "trials": 400}, "worse"),
        (60, {"error": 0.045, "trials": None}, "worse"),
        (4, {"error": 0.08, "trials": 400}, "better"),
        (4, {"error": 0.045, "trials": None}, "better"),
        (11, {"error": 0.08, "trials": 400}, "better"),
        (11, {"error": 0.045, "trials": None}, "undecided"),
        (11, {"error": 0.033, "trials": 400}, "undecided"),
    ],
)
def test_a_rival_is_beaten_only_if_the_interval_says_so(errors, rival, says):
    low, high, verdict = concepts.compare_errors(errors, 400, rival)
    assert verdict == says
    assert (low < 0 < high) == (says == "undecided")


def test_errors_are_printed_with_intervals_where_there_are_trials(capsys):
    rivals = {"Koch": {"error": 0.08, "trials": 400}, "people": {"error": 0.045, "trials": None}}
    concepts.print_errors({"ours": 11}, 400, rivals)
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert rows[1:] == ["ours 11 2.75% 1.54% … 4.86%", "Koch 8.00% 5.72% … 11.08%", "people 4.50%"]


# Steering


def test_a_training_that_is_steered_moves_the_letters():
    panel = lesson.training_panel(noise(classes=32, drawings=9), noise(classes=8, drawings=9))
    losses = asyncio.run(panel.train(6, script={4: {"margin": 0.0}}))
    assert len(losses) == 6
    assert [(change.step, change.name, change.value) for change in panel.history.changes] == [(4, "margin", 0.0)]
    assert panel.driver.trainer.learner.margin == 0
    picture = panel.view.picture
    shown = torch.stack([torch.as_tensor(np.asarray(letter.get_offsets())) for letter in picture.letters])
    torch.testing.assert_close(shown.float(), picture.shown.points[-1])
    assert f"{picture.shown.spread()[0]:.2f} apart" in panel.readout.value
