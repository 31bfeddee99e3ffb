"""The games in which the reader guesses first."""

import re
from html.parser import HTMLParser

import pytest
import torch

from metalab.lessons.kit import guessing
from metalab.lessons.kit.guessing import Guesses, Question


def drawing(level):
    return torch.full((1, 4, 4), level / 100)


def questions(level, count=3, choices=3):
    """New questions of a level, each about another drawing; the truth is 0, 1, 2, 0, …"""
    names = [f"drawing {n}" for n in range(1, choices + 1)]
    pictures = [drawing(n) for n in range(choices)]
    return [Question([drawing(level + i)], names, i % choices, pictures) for i in range(count)]


@pytest.fixture
def game():
    return Guesses({10: "easy", 50: "hard"}, questions, asking="Which one is it?", source="noise", alt="A game.")


def words(game):
    return re.sub("<.*?>", "", game.readout.value)


def names(game):
    return [button.description for button in game.choices.children]


def play(game, rights):
    """Guess, rightly or wrongly as asked, and go on each time."""
    for right in rights:
        truth = game.question.truth
        game.answer(truth + 1 if right else (truth + 1) % 3 + 1)
        game.go_on()


def test_the_answer_is_told_after_the_guess_and_stays_until_next(game):
    first = game.question
    assert words(game) == "Question 1 of 3. Which one is it? Score: 0 of 0."
    assert names(game) == ["drawing 1", "drawing 2", "drawing 3"]
    game.choices.children[0].click()
    assert words(game) == "Question 1 of 3. ✓ Right: drawing 1. Score: 1 of 1."
    assert names(game) == ["✓ drawing 1", "drawing 2", "drawing 3"]
    assert game.question is first
    game.next.click()
    assert words(game) == "Question 2 of 3. Which one is it? Score: 1 of 1."
    game.choices.children[2].click()
    assert words(game) == "Question 2 of 3. ✗ You chose: drawing 3. Right is: drawing 2. Score: 1 of 2."
    assert names(game) == ["drawing 1", "✓ drawing 2", "✗ drawing 3"]


def choices(game):
    return game.choices.children


def rule(game, button):
    """The CSS of a choice."""
    return re.search(rf"\.metalab-{button.model_id}\S* {{(.*?)}}", game._style.value)[1]


def colors(game):
    """The colour of the frame of each choice; None for the usual one."""
    found = [re.search(r"border-color: (#\w+)", rule(game, button)) for button in choices(game)]
    return [color and color[1] for color in found]


def test_right_and_chosen_drawings_have_colours_of_their_own(game):
    assert colors(game) == [None] * 3
    game.answer(2)
    assert colors(game) == [guessing.GREEN, guessing.VERMILION, None]
    game.go_on()
    assert colors(game) == [None] * 3


def test_each_button_shows_its_drawing(game):
    for n, button in enumerate(choices(game)):
        assert f"metalab-{button.model_id}" in button._dom_classes
        assert f"url({guessing._data(drawing(n))})" in rule(game, button)
    assert guessing._data(game.question.asked[0]) in game.asked.value
    assert len(set(re.findall(r"url\((.*?)\)", game._style.value))) == 3


def test_a_second_guess_does_not_count(game):
    game.answer(2)
    game.answer(1)
    assert game.question.answer == 1
    assert game.score(10) == (0, 1)


def test_the_button_in_use_keeps_its_keys(game):
    """The focus of a button that is disabled or gone is JupyterLab's, whose keys fold and delete cells."""
    game.answer(2)
    assert [button.disabled for button in choices(game)] == [True, False, True]
    for _ in range(9):
        assert not game.next.disabled
        assert game.next.layout.display is None
        game.go_on()
        assert game.question is None or not any(button.disabled for button in choices(game))
        game.answer(1)


def test_next_without_a_guess_asks_for_one(game):
    game.next.click()
    assert words(game) == "Guess first: choose an answer. Which one is it? Score: 0 of 0."
    assert game.question is game.questions[10][0]


def test_each_level_keeps_its_own_questions_and_score(game):
    play(game, [True, False])
    game.level.value = 50
    assert words(game) == "Question 1 of 3. Which one is it? Score: 0 of 0."
    play(game, [True])
    game.level.value = 10
    assert game.question is game.questions[10][2]
    assert (game.score(10), game.score(50)) == ((1, 2), (1, 1))


def test_an_answered_question_is_still_answered_after_another_level(game):
    game.answer(2)
    said = words(game)
    game.level.value = 50
    game.level.value = 10
    assert words(game) == said
    assert names(game)[:2] == ["✓ drawing 1", "✗ drawing 2"]


class Cells(HTMLParser):
    """The rows of a table."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.inside = [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        self.inside = tag in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1].append(data)


def test_at_the_end_are_the_results_next_to_those_of_networks(game):
    game.compare({"always the first": lambda question: 0, "in doubt <b>": lambda question: None})
    play(game, [True, False])
    game.answer(1)
    assert game.next.description == "See the results"
    game.go_on()
    assert words(game) == "All 3 questions are answered. Score: 1 of 3."
    assert Cells(game.asked.value).rows == [
        ["question", "1", "2", "3", "right"],
        ["you", "✓", "✗", "✗", "1 of 3"],
        ["always the first", "✓", "✗", "✗", "1 of 3"],
        ["in doubt <b>", "✗", "✗", "✗", "0 of 3"],
    ]
    assert game.choices.layout.display == "none"
    game.answer(1)  # there is nothing left to answer
    assert game.score(10) == (1, 3)


def test_rivals_that_come_later_are_in_the_results(game):
    play(game, [True] * 3)
    game.compare({"always the first": lambda question: 0})
    assert Cells(game.asked.value).rows[2] == ["always the first", "✓", "✗", "✗", "1 of 3"]


def test_play_again_has_new_questions_and_counts_on(game):
    play(game, [True] * 3)
    assert game.next.description == "Play again"
    game.next.click()
    assert words(game) == "Question 1 of 3. Which one is it? Score: 3 of 3."
    assert game.next.description == "Next"
    assert game.choices.layout.display is None
    play(game, [False] * 3)
    assert Cells(game.asked.value).rows[1] == ["you", "✗", "✗", "✗", "0 of 3"], "of this game"
    assert game.score(10) == (3, 6)
    assert len(game.questions[10]) == 6


def test_a_rival_is_asked_what_the_reader_was_asked(game):
    first = lambda question: 0  # noqa: E731
    assert game.rival_score(first, 10) == (1, 3), "everything, as long as nothing is answered"
    play(game, [True])
    assert game.rival_score(first, 10) == (1, 1)
    play(game, [True])
    assert game.rival_score(first, 10) == (1, 2)


@pytest.mark.parametrize("number", [0, 4, -1])
def test_an_answer_out_of_range_is_named(game, number):
    with pytest.raises(ValueError, match=f"number={number} must be one of 1 … 3"):
        game.answer(number)
    assert game.score(10) == (0, 0)


def test_what_is_no_player_is_refused(game):
    with pytest.raises(TypeError, match=r"rivals\['you'\]=3 must be a function"):
        game.compare({"you": 3})


@pytest.mark.parametrize("error", [IndexError("it is odd"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_question_that_cannot_be_shown_is_told_and_the_game_goes_on(game, error, monkeypatch):
    def fail(*_arguments):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(guessing, "_img", fail)
        with pytest.raises(type(error)):
            game.answer(1)
    assert "What is shown below is out of date (" in words(game)
    game.go_on()
    assert words(game).startswith("Question 2 of 3.")


def test_the_game_is_shown_with_a_picture_for_pages_without_a_kernel(game, monkeypatch):
    shown = []
    monkeypatch.setattr(guessing, "show_widget", lambda *arguments: shown.append(arguments))
    game.show()
    [(box, still, alt)] = shown
    assert box is game.box
    assert alt == "A game."
    assert still.startswith(b"\x89PNG")
    drawn = [ax for ax in game.still().axes if ax.get_images()]
    assert [ax.get_title() for ax in drawn] == ["", "1", "2", "3"]
