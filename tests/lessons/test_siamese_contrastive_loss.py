import asyncio
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from metalab.analysis.roc import roc
from metalab.evaluate import Score
from metalab.experiments.settings import Settings
from metalab.learners import MAML, Contrastive
from metalab.learners.siamese import distances
from metalab.lessons.kit import panels
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
    assert "precision 66.7%; recall 100.0%, accuracy 75.0%" in said
    assert f"AUC {roc(-distance, same).auc:.4f}" in said
    panel.controls["threshold"].value = 0.0
    assert "precision not defined, because no pair is that near" in words(panel)


def test_pairs_of_one_kind_only_are_refused():
    with pytest.raises(ValueError, match="both kinds are needed"):
        lesson.threshold_panel(torch.rand(4), torch.ones(4, dtype=torch.bool), title="t")


# The family


def member(algorithm, **given):
    usual = {"ways": 4, "queries": 1, "channels": 2, "pool": "stride"}
    settings = Settings.of("omniglot", algorithm, **usual | given)
    return lesson.Member(settings.learner().init(seeded()), {**asdict(settings), "taken": 10})


def test_the_family_answers_the_same_episodes(capsys):
    characters = noise(classes=48)
    images = characters.batch(30, seeded())[0]
    characters = Characters(characters.images, torch.arange(48) // 24, characters.names, "noise")
    family = {name: member(name) for name in ("contrastive", "triplet", "koch", "prototypical", "matching")}
    family["maml"] = member("maml", meta_batch=2, ways=5)
    found = lesson.print_family(family, characters, characters, images, episodes=6)
    kinds = [(5, False), (20, False), (5, True), (20, True)]
    assert {name: list(scores) for name, scores in found.items()} == dict.fromkeys(found, kinds) | {
        "maml": [(5, False), (5, True)]
    }
    # At one shot a prototype is the support drawing, and a net's nearest by any distance is the nearest.
    same = {name: member("prototypical") for name in ("a", "b")}
    again = lesson.print_family(same, characters, characters, images, episodes=6)
    assert again["a"] == again["b"] == found["prototypical"]
    _, header, *lines = capsys.readouterr().out.splitlines()[:8]
    assert "to train" in header
    assert [line.split()[0] for line in lines] == list(family)
    assert lines[-1].count("–") == 2


def test_a_member_answers_as_its_learner_does():
    characters = noise()
    images = characters.batch(30, seeded())[0]
    episode = characters.sample(2, 4, 1, 1, seeded())
    one = member("contrastive")
    learner = replace(one.settings.learner(), stats=one.settings.learner().net.statistics(one.params, images))
    z = learner.embed(one.params, episode.support_x), learner.embed(one.params, episode.query_x)
    torch.testing.assert_close(one.tested(images).predict(one.params, episode), -distances(z[1], z[0]))


def test_a_member_that_adapts_takes_three_steps_by_the_support_sets_statistics():
    characters = noise()
    one = member("maml", inner_lr=0.1)
    learner = MAML(Conv4(4, channels=2), inner_lr=0.1, inner_steps=3, transductive=False)
    assert one.tested(characters.batch(30, seeded())[0]) == learner


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
