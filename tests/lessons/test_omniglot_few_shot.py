import asyncio
from dataclasses import replace

import pytest
import torch
from matplotlib.colors import to_rgba

from metalab.evaluate import Score
from metalab.learners import MAML
from metalab.lessons.kit import panels
from metalab.lessons.kit.characters import load_characters
from metalab.lessons.kit.figures import GREEN, VERMILION, png
from metalab.lessons.omniglot_few_shot import concepts, watching
from metalab.lessons.omniglot_few_shot import figures as lesson
from metalab.lessons.omniglot_few_shot.figures import Game, draw_answers, episode_panel, print_game_scores
from metalab.losses import accuracy
from metalab.nets import Conv4
from metalab.tasks import Characters, glyphs, omniglot
from metalab.train import Trainer


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(classes=8, drawings=7, side=8, seed=1):
    ink = (torch.rand(classes, drawings, side, side, generator=seeded(seed)) < 0.3).to(torch.uint8) * 255
    return Characters(ink, torch.arange(classes) // -(-classes // 2), ("first_alphabet", "second"), "noise")


def words(thing):
    return thing.picture.text.value


def titles(fig):
    return [ax.get_title() for ax in fig.axes]


def perfect(episode):
    """Knows the truth: logits that are right for every query."""
    return torch.nn.functional.one_hot(episode.query_y, episode.ways).float()


def constant(episode):
    """Says the same of everything."""
    return torch.zeros(*episode.query_y.shape, episode.ways)


# The data


def small_glyphs(monkeypatch):
    draw = glyphs.draw
    monkeypatch.setattr(glyphs, "draw", lambda *, alphabets, seed: draw(alphabets=alphabets, characters=2, seed=seed))


def test_omniglot_is_used_where_it_can_be_had(monkeypatch, capsys):
    sets = noise(), noise(seed=2)
    monkeypatch.setattr(omniglot, "load", lambda: sets)
    assert load_characters() == sets
    assert capsys.readouterr().out.splitlines() == [
        "train on    8 characters of 2 alphabets (noise)",
        "test on     8 characters of 2 alphabets (noise)",
    ]


def test_without_omniglot_the_lesson_runs_on_glyphs_and_says_how_to_get_it(monkeypatch, capsys):
    def load():
        raise omniglot.OmniglotNotFound("Nothing in any of the places looked at.")

    monkeypatch.setattr(omniglot, "load", load)
    small_glyphs(monkeypatch)
    train, test = load_characters()
    out = capsys.readouterr().out
    assert out.startswith("Omniglot could not be loaded, so this lesson runs on glyphs")
    assert "python -m metalab data" in out
    assert "Nothing in any of the places looked at." not in out, "the list of places is for `metalab data`"
    assert all(len(line) <= 88 for line in out.splitlines())
    assert "characters of 30 alphabets (glyphs)" in out
    assert "characters of 20 alphabets (glyphs)" in out
    assert train.source == test.source == "glyphs"
    assert (len(set(train.names)), len(set(test.names))) == (30, 20)
    assert not set(train.names) & set(test.names)
    assert not (train.images[:40] == test.images).all(), "test characters are other characters"
    assert int(test.alphabet.max()) == len(test.names) - 1


def test_data_that_are_refused_are_not_passed_over(monkeypatch):
    def load():
        raise omniglot.OmniglotRefused("the file you named is damaged")

    monkeypatch.setattr(omniglot, "load", load)
    with pytest.raises(omniglot.OmniglotRefused, match="the file you named is damaged"):
        load_characters()


# Pictures


def test_alphabets_are_drawn_a_row_each():
    characters = noise(classes=7)  # four of the first alphabet, three of the second
    fig = lesson.draw_alphabets(characters, [1, 0], count=4)
    rows = [fig.axes[:4], fig.axes[4:]]
    assert [row[0].texts[0].get_text() for row in rows] == ["second", "first alphabet"]
    shown = [[ax.get_images()[0].get_array() for ax in row if ax.get_images()] for row in rows]
    assert [len(row) for row in shown] == [3, 4]
    for pictures, start in zip(shown, (4, 0), strict=True):
        for i, picture in enumerate(pictures):
            assert torch.equal(1 - torch.tensor(picture), characters.images[start + i, 0].float() / 255)
    assert "2 alphabets (noise)" in fig.get_suptitle()


def labels(fig):
    """What stands above the drawings, column by column."""
    return [text.get_text() for text in fig.axes[0].texts]


def frames(fig):
    [collection] = fig.axes[0].collections
    return collection


def borders(fig):
    """The colours around the drawings, column by column."""
    colors = frames(fig).get_edgecolors()
    return [tuple(color) for color in colors] * (len(frames(fig).get_paths()) // len(colors))


def corners(fig):
    """The pixels from which to which each drawing goes, column by column: left, top, right, bottom."""
    return [[round(x + 0.5) for x in path.get_extents().extents] for path in frames(fig).get_paths()]


def drawings(fig):
    """What is drawn inside each border, column by column."""
    image = 1 - torch.tensor(fig.axes[0].get_images()[0].get_array())
    return [image[top:bottom, left:right] for left, top, right, bottom in corners(fig)]


def test_answers_are_marked_right_and_wrong_by_more_than_colour():
    episode = noise().sample(2, 3, 2, 1, seeded())
    logits = torch.full((2, 3, 3), -50.0)
    logits[0, 0, 0] = 0.0  # right, and sure of it
    logits[0, 1, 2] = 0.0  # class 2 taken for class 3
    logits[0, 2] = torch.tensor([0.0, 0.0, 1.0])  # right, with a probability of e/(e + 2)
    fig = draw_answers(episode, logits, "title")
    png(fig)  # every sign is in the font: a missing one would warn
    assert labels(fig) == ["class 1", "✓ 100%", "class 2", "✗ 3 (100%)", "class 3", "✓ 58%"]
    assert borders(fig)[1::2] == [to_rgba(GREEN), to_rgba(VERMILION), to_rgba(GREEN)]
    assert set(borders(fig)[::2]) == {to_rgba("#BBBBBB")}
    assert fig.axes[0].get_title() == "title"
    support, query = episode.support_x[0, :, 0].view(3, 2, 8, 8), episode.query_x[0, :, 0]
    for n, (squares, answered) in enumerate(zip(drawings(fig)[::2], drawings(fig)[1::2], strict=True)):
        blank = torch.zeros(4, 16)
        assert torch.equal(squares, torch.cat([blank, torch.cat([*support[n]], 1), blank])), "both share a square"
        assert torch.equal(answered[::2, ::2], query[n]), "twice as large"


def test_many_classes_stand_in_bands(figures):
    episode = noise(classes=20).sample(1, 20, 1, 1, seeded())
    fig = draw_answers(episode, perfect(episode), "title")
    assert len({top for _left, top, _right, _bottom in corners(fig)}) == 4, "two bands of classes with a query each"
    expected = torch.stack([episode.support_x[0, :, 0], episode.query_x[0, :, 0]], 1).flatten(0, 1)
    assert all(torch.equal(*both) for both in zip(drawings(fig), expected, strict=True))


def test_without_answers_the_queries_are_just_shown():
    fig = draw_answers(noise().sample(1, 2, 1, 2, seeded()), None, "title")
    assert labels(fig) == ["class 1", "query", "", "class 2", "", ""]
    assert set(borders(fig)) == {to_rgba("#BBBBBB")}


# Live training


class Counter:
    """A learner whose only parameter falls by the learning rate in each step."""

    def init(self, generator):
        return {"w": torch.zeros(1)}

    def meta_gradient(self, params, batch):
        return {"w": torch.ones(1)}, {"loss": 2.0 + params["w"].sum() / 10}


def test_a_training_is_validated_at_even_distances_and_on_axes_of_its_own(figures, monkeypatch):
    shown, scored = [], []
    monkeypatch.setattr(panels, "show_widget", lambda *_: None)
    monkeypatch.setattr(panels, "show", lambda fig, text: shown.append((fig, text)))

    def score(params):
        scored.append(params["w"].item())
        return Score(mean=len(scored) / 10, ci95=0.01, episodes=5)

    trainer = Trainer(Counter(), lambda generator: None, outer_lr=1.0)
    found = watching.train_with_validation(trainer, 17, score, title="MAML", tests=4, unit="episode")
    assert scored == pytest.approx([-4, -8, -13, -17])  # Adam moves w by the learning rate
    assert {step: s.mean for step, s in found.items()} == pytest.approx({4: 0.1, 8: 0.2, 13: 0.3, 17: 0.4})
    [(fig, text)] = shown
    assert text == "MAML: episode 17 of 17; on validation alphabets 40.0 ± 1.0 %."
    left, right = fig.axes
    assert left.get_lines()[0].get_ydata()[0] == pytest.approx(2.0)
    assert (left.get_xlabel(), left.get_ylabel()) == ("episode", "cross-entropy")
    means, _caps, [bars] = right.containers[0]
    assert list(means.get_xdata()) == [4, 8, 13, 17]
    assert means.get_ydata() == pytest.approx([10, 20, 30, 40])
    assert bars.get_segments()[0][:, 1] == pytest.approx([9, 11])
    assert right.get_ylabel() == "accuracy (%)"


# Concepts


def test_an_episode_is_drawn_with_the_labels_of_its_support_only():
    x = torch.arange(3.0)[:, None, None].expand(3, 28, 28) / 3
    fig = concepts.draw_episode(x, torch.tensor([2, 0, 1]), x[:2], torch.tensor([1, 0]), "title")
    png(fig)
    support, query = [ax for ax in fig.axes if ax.get_images()][:3], [ax for ax in fig.axes if ax.get_images()][3:]
    assert [ax.get_xlabel() for ax in support] == ["label 0", "label 1", "label 2"]
    inks = [1 - float(ax.get_images()[0].get_array().mean()) for ax in support]
    assert inks == pytest.approx([1 / 3, 2 / 3, 0])  # in the order of the labels
    assert [ax.get_xlabel() for ax in query] == ["?", "?"]
    fig = concepts.draw_episode(x, torch.tensor([2, 0, 1]), x[:2], torch.tensor([1, 0]), "title", answers=True)
    assert [ax.get_xlabel() for ax in fig.axes if ax.get_images()][3:] == ["label 1", "label 0"]


def test_the_query_of_the_drawn_embedding_belongs_to_class_1():
    fig = concepts.draw_prototypes()
    png(fig)
    lines = [torch.tensor(line.get_xydata()) for line in fig.axes[0].get_lines()]
    lengths = [(line[0] - line[1]).norm() for line in lines]
    assert min(range(3), key=lengths.__getitem__) == 1


def test_the_shapes_of_a_conv4_are_those_that_it_makes():
    net = Conv4(channels=(2, 3, 4, 5))
    fig = concepts.draw_conv4(net.widths)
    png(fig)
    said = [text.get_text() for text in fig.axes[0].texts]
    blocks = ["block 1\n2 × 14 × 14", "block 2\n3 × 7 × 7", "block 3\n4 × 4 × 4", "block 4\n5 × 2 × 2"]
    assert [words for words in said if words.startswith(("picture", "block", "embedding"))] == [
        *("picture\n1 × 28 × 28", *blocks, "embedding\n5 numbers")
    ]
    params = net.init(seeded())
    x = torch.rand(3, 1, 28, 28)
    for i, (channels, side) in enumerate([(2, 14), (3, 7), (4, 4), (5, 2)], start=1):
        weight = params[f"conv{i}"].unflatten(0, (3, 3, -1)).permute(3, 2, 0, 1)
        x = torch.nn.functional.conv2d(x, weight, stride=2, padding=1)
        assert x.shape[1:] == (channels, side, side)


def test_accuracies_come_in_the_order_of_the_seeds():
    runs = [{"training": "a", "seed": seed, "validation": {"way": seed / 10}} for seed in (3, 1, 2)]
    runs.append({"training": "b", "seed": 1, "validation": {"way": 0.9}})
    assert concepts.accuracies({"runs": runs}, "a", "way").tolist() == [0.1, 0.2, 0.3]
    for wrong in (("c", "way"), ("a", "other")):
        with pytest.raises(ValueError, match="were not measured"):
            concepts.accuracies({"runs": runs}, *wrong)


def test_runs_and_seeds_are_drawn_at_one_scale():
    runs = {name: {10: Score(0.5, 0.1, 9), 20: Score(mean, 0.1, 9)} for name, mean in {"a": 0.6, "b": 0.7}.items()}
    fig = concepts.draw_runs(runs, "title", floor={"pixels": 0.4})
    png(fig)
    assert [bar[0].get_ydata()[-1] for bar in fig.axes[0].containers] == pytest.approx([60, 70])
    assert fig.axes[0].get_lines()[-1].get_ydata()[0] == pytest.approx(40)
    fig = concepts.draw_seeds({"a": torch.tensor([0.5, 0.6]), "b": torch.tensor([0.7, 0.9])}, "title")
    png(fig)
    assert [text.get_text() for text in fig.axes[0].texts] == ["55.0", "80.0"]


def test_a_table_fits_a_page(capsys):
    concepts.print_table({"first": {"a": "1", "b": "2"}, "second": {"b": "3"}})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["a", "b"], ["first", "1", "2"], ["second", "3"]]
    assert max(map(len, lines)) <= 88


def test_the_table_of_students_t_begins_with_one_degree_of_freedom():
    table = concepts.student()
    assert table[0].isinf()
    assert table[[1, 4, 10]].tolist() == [12.706, 2.776, 2.228]


# The game


@pytest.fixture
def game():
    return Game(noise(), ways=(2, 3), rounds=4, seed=0)


def play(game, rights):
    """Answer the questions of this level, rightly or wrongly as asked."""
    for right in rights:
        truth = game.question.truth + 1
        game.answer(truth if right else truth % game.level.value + 1)
        game.go_on()


def test_the_question_shown_is_one_of_the_episode(game):
    question = game.question
    episode, query = question.episode, question.query
    assert torch.equal(question.asked[0], episode.query_x[0, query])
    assert torch.equal(torch.stack([*question.drawings]), episode.support_x[0])
    assert question.truth == episode.query_y[0, query]
    assert question.choices == ["drawing 1", "drawing 2"]
    pictures = [ax.get_images()[0].get_array() for ax in game.still().axes if ax.get_images()]
    expected = [episode.query_x[0, query, 0], *episode.support_x[0, :, 0]]
    assert all(torch.equal(1 - torch.tensor(p), e) for p, e in zip(pictures, expected, strict=True))
    assert "noise" in game.still().get_suptitle()


def test_the_drawings_are_pressed(game):
    game.choices.children[game.question.truth].click()
    assert game.score(2) == (1, 1)


def test_the_seed_decides_the_questions():
    first, again, other = (Game(noise(), ways=(2,), rounds=3, seed=s) for s in (0, 0, 1))
    for a, b in zip(first.questions[2], again.questions[2], strict=True):
        assert torch.equal(a.episode.support_x, b.episode.support_x)
        assert a.query == b.query
    assert not torch.equal(first.questions[2][0].episode.support_x, other.questions[2][0].episode.support_x)


def test_playing_again_has_other_questions(game):
    play(game, [True] * 4)
    game.go_on()
    first, again = game.questions[2][:4], game.questions[2][4:]
    assert len(again) == 4
    assert not any(torch.equal(a.episode.support_x, b.episode.support_x) for a, b in zip(first, again, strict=True))


def test_the_new_drawing_is_of_any_class():
    game = Game(noise(), ways=(3,), rounds=60)
    assert {question.truth for question in game.questions[3]} == {0, 1, 2}


def test_networks_play_the_questions_and_ties_do_not_count(game):
    assert game.rival_score(lesson.player(perfect), 3) == (4, 4)
    assert game.rival_score(lesson.player(constant), 3) == (0, 4)
    truths = [question.truth for question in game.questions[2]]
    second = lesson.player(lambda e: torch.tensor([0.0, 1.0]).expand(1, 2, 2))
    assert game.rival_score(second, 2) == (truths.count(1), 4)


def test_the_results_show_the_networks(game):
    game.compare({"perfect": perfect})
    play(game, [True, False, True, True])
    assert "<th scope='row'>you</th><td>✓</td><td>✗</td><td>✓</td><td>✓</td><td>3 of 4</td>" in game.asked.value
    assert "<th scope='row'>perfect</th>" in game.asked.value
    assert "<td>4 of 4</td>" in game.asked.value


def test_scores_are_printed_side_by_side(game, capsys):
    play(game, [True, False])
    print_game_scores(game, {"perfect": perfect, "constant": constant})
    assert capsys.readouterr().out.splitlines() == [
        " 2 characters: you 1 of 2; perfect 2 of 2, constant 0 of 2",
        " 3 characters: you have not played yet; perfect 4 of 4, constant 0 of 4",
    ]


# Panels


def maml(**options):
    learner = MAML(Conv4(outputs=3, channels=4), inner_lr=0.4, **options)
    return learner, learner.net.init(seeded())


def test_the_adaptation_panel_steps_through_the_inner_loop(figures):
    learner, params = maml()
    episode = noise(side=28).sample(1, 3, 2, 2, seeded())
    panel = lesson.adaptation_panel(learner, params, episode, steps=4)
    assert (panel.controls["step"].value, panel.controls["step"].max) == (0, 4)
    for step in (0, 1, 4):
        panel.controls["step"].value = step
        probability = replace(learner, inner_steps=step).predict(params, episode).softmax(2)[0]
        right = (probability.argmax(1) == episode.query_y[0]).float().mean()
        sure = torch.stack([probability[i, y] for i, y in enumerate(episode.query_y[0])]).mean()
        noun = "step" if step == 1 else "steps"
        assert f"After {step} inner {noun}: {right:.0%} of the queries right; " in words(panel)
        assert f"probability given to the true class: {sure:.0%} on average." in words(panel)
        marks = "".join(labels(figures[-1])).count("✓")
        assert marks == round(6 * right.item())


def panel_of_episodes(**options):
    learner, params = maml()
    return episode_panel(noise(side=28), learner, params, perfect, episodes=6, **options), learner, params


def answered(episode, logits):
    return int((logits.argmax(2) == episode.query_y).sum())


@pytest.mark.parametrize("chosen", [{"ways": 2}, {"shots": 3}, {"inner_lr": 1.2}, {"steps": 3}])
def test_the_episode_panel_answers_to_each_control(chosen, figures):
    panel, learner, params = panel_of_episodes(seed=5)
    now = {"ways": 3, "shots": 1, "inner_lr": 0.4, "steps": 1} | chosen
    for name, value in now.items():
        panel.controls[name].value = value
    changed = replace(learner, inner_lr=now["inner_lr"], inner_steps=now["steps"])
    one, many = (noise(side=28).sample(n, now["ways"], now["shots"], 1, seeded(5)) for n in (1, 6))
    logits = changed.predict(params, one)
    counts = f"prototypes {now['ways']}, MAML {answered(one, logits)}."
    assert f"Queries answered correctly, of {now['ways']}: {counts}" in words(panel)
    assert "Accuracy" not in words(panel), "that takes long, so it is to be asked for"
    panel.controls["measured"].value = True
    score = Score.of(accuracy(changed.predict(params, many), many.query_y))
    expected = f"Accuracy over 6 episodes of unseen characters: prototypes 100.0 ± 0.0 %, MAML {score.percent()}."
    assert expected in words(panel)
    title = f"{now['ways']}-way {now['shots']}-shot: one episode, answers by MAML"
    alone = draw_answers(one, logits, title)
    assert labels(figures[-1]) == labels(alone)
    assert borders(figures[-1]) == borders(alone)
    assert all(torch.equal(*both) for both in zip(drawings(figures[-1]), drawings(alone), strict=True))
    assert figures[-1].axes[0].get_title() == title


def test_above_its_outputs_maml_is_not_asked(figures):
    panel, _learner, _params = panel_of_episodes()
    assert panel.controls["ways"].value == 5
    assert "of 5: prototypes 5. MAML's last layer was trained for 3 ways, so it is not asked at 5:" in words(panel)
    for name, value in {"inner_lr": 0.1, "steps": 3}.items():
        panel.controls[name].value = value
        assert "α and the inner steps, which only MAML has, change nothing here." in words(panel)
    assert "answers by prototypes" in figures[-1].axes[0].get_title()
    panel.controls["ways"].value = 3
    assert "not asked" not in words(panel)


def test_a_diverging_adaptation_names_the_slider_to_move(figures):
    learner, params = maml()
    params["head"] = params["head"] * 1e24  # the gradient of the layers below is too large for a float
    panel = episode_panel(noise(side=28), learner, params, perfect, episodes=6)
    panel.controls["ways"].value = 3
    panel.controls["steps"].value = 10
    panel.controls["inner_lr"].value = 10.0
    assert "MAML's adaptation diverged: move the inner learning rate (now 10) to the left." in words(panel)
    panel.controls["steps"].value = 0
    assert "diverged" not in words(panel)
    assert "Without an inner step MAML does not adapt, so α changes nothing here." in words(panel)


# Steering


def test_a_training_that_is_steered_shows_its_answers():
    characters = Characters(
        (torch.rand(8, 7, 28, 28, generator=seeded()) < 0.3).to(torch.uint8) * 255,
        torch.arange(8) // 4,
        ("a", "b"),
        "n",
    )
    panel = lesson.training_panel(characters, characters)
    learner = panel.driver.trainer.learner
    losses = asyncio.run(panel.train(4, script={3: {"inner_lr": 0.01, "outer_lr": 1e-4}}))
    assert len(losses) == 4
    assert {(change.step, change.name) for change in panel.history.changes} == {(3, "inner_lr"), (3, "outer_lr")}
    assert panel.driver.trainer.learner is learner  # so a GPU would record nothing anew
    assert learner.inner_lr.item() == pytest.approx(0.01)
    picture = panel.view.picture
    surest, answers = learner.predict(panel.driver.trainer.params, picture.episode)[0].softmax(1).max(1)
    truth = picture.episode.query_y[0]
    right = (answers == truth).tolist()
    told = [label.get_text() for label in picture.answers.labels]
    assert [label[0] for label in told] == ["✓" if r else "✗" for r in right]
    assert all(f"{p:.0%}" in label for p, label in zip(surest, told, strict=True))
    colors = picture.answers.frames.get_edgecolors()[picture.answers.asked]
    assert [tuple(color) for color in colors] == [to_rgba(GREEN if r else VERMILION) for r in right]
    assert f"{sum(right)} of 10 queries are right" in panel.readout.value
