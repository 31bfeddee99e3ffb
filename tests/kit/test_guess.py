"""Guesses without a page: they are kept, compared, and nobody has to make one."""

import math

import pytest
import torch

from metalab.lessons.kit import guess, panels

OPTIONS = ["one wave", "the average wave", "a flat line"]
SCALE = [1, 2, 5, 10, 20, 50, 100, 200]


@pytest.fixture(autouse=True)
def displayed(monkeypatch):
    """What is displayed in a kernel that is new."""
    bundles = []
    monkeypatch.setattr(panels, "display", lambda bundle, *, raw, metadata: bundles.append(bundle))
    monkeypatch.setattr(guess, "_made", {})
    return bundles


def told(capsys):
    return " ".join(capsys.readouterr().out.split())


def curve():
    return guess.choice("Which curve?", OPTIONS)


def steps():
    return guess.number("How many steps?", SCALE, "steps")


def wave():
    return guess.sketch("Which wave?", x=(-4, 4), y=(-2, 2), points=5)


def move(asked, *heights):
    for slider, height in zip(asked._panel.controls.values(), heights, strict=True):
        slider.value = height


# A choice


def test_nothing_is_chosen_at_first(displayed):
    asked = curve()
    assert asked.made is asked.control.value is None
    assert "No guess yet" in asked._status.value
    [bundle] = displayed
    assert bundle["text/plain"] == (
        "Your guess: Which curve? Choose one: “one wave”, “the average wave”, “a flat line”. To use it, run this cell."
    )


@pytest.mark.parametrize(
    ("index", "says"),
    [
        (None, "You made no guess. The answer is “the average wave”. It is best."),
        (0, "You guessed “one wave”. The answer is “the average wave”. It is best."),
        (1, "✓ You guessed “the average wave”. That is right. It is best."),
    ],
)
def test_a_choice_is_compared_with_the_answer(index, says, capsys):
    asked = curve()
    asked.control.index = index
    assert asked.compare("the average wave", because="It is best.") is None
    assert told(capsys) == says


def test_a_choice_can_be_changed_and_is_announced():
    asked = curve()
    asked.control.index = 0
    assert "Your guess is “one wave”." in asked._status.value
    asked.control.index = 2
    assert asked.made == "a flat line"
    assert "<p role='status'>Your guess is “a flat line”." in asked._status.value


def test_an_option_may_be_a_sentence(capsys):
    asked = guess.choice("What will happen?", ["It diverges.", "It converges."])
    asked.control.index = 0
    asked.compare("It converges.")
    assert told(capsys) == "You guessed “It diverges”. The answer is “It converges”."


# A number


def test_a_number_starts_at_no_guess_and_can_go_back_there():
    asked = steps()
    assert asked.control.label == "no guess"
    assert asked.made is None
    asked.control.label = "1 step"
    assert asked.made == 1
    assert "Your guess is 1 step." in asked._status.value
    asked.control.index = 0
    assert asked.made is None
    assert "No guess yet" in asked._status.value


@pytest.mark.parametrize(
    ("made", "answer", "says"),
    [
        (None, 134, "You made no guess. The answer is 134 steps."),
        ("20 steps", 134, "You guessed 20 steps. The answer is 134 steps."),
        ("100 steps", 134, "✓ You guessed 100 steps. The answer is 134 steps, and no other choice is closer."),
        (
            "2 steps",
            torch.tensor(2.25),
            "✓ You guessed 2 steps. The answer is 2.25 steps, and no other choice is closer.",
        ),
        ("2 steps", 12345.6, "You guessed 2 steps. The answer is 12,346 steps."),
        ("20 steps", "It took more than 100.", "You guessed 20 steps. It took more than 100."),
        (None, "It took more than 100.", "You made no guess. It took more than 100."),
    ],
)
def test_a_number_is_compared_with_the_answer(made, answer, says, capsys):
    asked = steps()
    if made:
        asked.control.label = made
    asked.compare(answer)
    assert told(capsys) == says


def test_a_scale_can_be_any_and_its_unit_none():
    assert guess.number("How many?", range(0, 101, 25), "%").control.options == (
        ("no guess", "0 %", "25 %", "50 %", "75 %", "100 %")
    )
    assert guess.number("How large?", [0.001, 1, 1000]).control.options == ("no guess", "0.001", "1", "1,000")
    assert guess.number("How long?", [1, 2], "ms").control.options == ("no guess", "1 ms", "2 ms")


# A sketch


def test_a_sketch_is_none_until_a_slider_moves(capsys, displayed):
    asked = wave()
    assert asked.x.tolist() == [-4, -2, 0, 2, 4]
    assert asked.made is None
    assert "No sketch yet" in asked._panel.picture.text.value
    assert asked.compare(torch.zeros(5), because="It is flat.") is None
    assert told(capsys) == "You made no sketch. It is flat."
    assert "A slider for each of 5 points" in displayed[0]["text/plain"]
    before = asked._panel.picture.image.value
    move(asked, 0, 0, 0, 0, 1)
    assert asked.made[:, 1].tolist() == [0, 0, 0, 0, 1]
    assert asked._panel.picture.image.value != before
    assert "from left to right: 0, 0, 0, 0, 1." in asked._panel.picture.text.value
    move(asked, 0, 0, 0, 0, 0)
    assert asked.made[:, 1].tolist() == [0, 0, 0, 0, 0], "a flat line is a sketch too"


def test_a_sketch_returns_its_points_and_tells_how_far_it_is(capsys):
    asked = wave()
    move(asked, 1, 1, 1, 1, 1)
    points = asked.compare(torch.tensor([0.0, 2.0, 0.0, 2.0, 0.0], dtype=torch.float64, requires_grad=True))
    assert points.tolist() == [[-4, 1], [-2, 1], [0, 1], [2, 1], [4, 1]]
    assert told(capsys) == "Your sketch is 1 away from the answer (the root of the mean squared difference)."


def test_each_slider_says_where_it_is():
    sliders = guess.sketch("?", (-5, 5), (0, 1))._panel.controls.values()
    names = [slider.description for slider in sliders]
    assert names == [f"y at x = {x}" for x in ("-5", "-3.33", "-1.67", "0", "1.67", "3.33", "5")]


def test_a_sketch_starts_within_its_range():
    assert [s.value for s in guess.sketch("?", (0, 1), (2, 3), 2)._panel.controls.values()] == [2, 2]
    assert [s.value for s in guess.sketch("?", (0, 1), (-3, -2), 2)._panel.controls.values()] == [-2, -2]


# Running a cell again


def test_a_guess_outlives_a_rerun_of_its_cell():
    curve().control.index = 2
    steps().control.label = "50 steps"
    move(wave(), 1, 0, -1, 0, 1)
    assert curve().made == curve().control.value == "a flat line"
    assert steps().made == 50
    assert steps().control.label == "50 steps"
    again = wave()
    assert again.made[:, 1].tolist() == [1, 0, -1, 0, 1]
    assert [slider.value for slider in again._panel.controls.values()] == [1, 0, -1, 0, 1]
    assert again.compare(again.made[:, 1]).tolist() == again.made.tolist()


def test_a_guess_belongs_to_its_question_and_its_answers():
    curve().control.index = 2
    assert guess.choice("Which other curve?", OPTIONS).made is None
    assert guess.choice("Which curve?", OPTIONS[:2]).made is None
    move(wave(), 1, 0, -1, 0, 1)
    assert guess.sketch("Which wave?", x=(-4, 4), y=(-9, 9), points=5).made is None


# What cannot be asked


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: guess.choice(3, OPTIONS), "question=3 must be a text"),
        (lambda: guess.choice("?", "ab"), "options='ab' must be a list of texts"),
        (lambda: guess.choice("?", None), "options=None must be a list of texts"),
        (lambda: guess.choice("?", ["a", 2]), "options=.* must be a list of texts"),
        (lambda: guess.choice("?", []), r"options=\[\] must be at least two"),
        (lambda: guess.choice("?", ["a", "a"]), "options=.* must be at least two, all of them different"),
        (lambda: guess.choice("?", ["a", "b" * 61]), "options: 'bbb.* is longer than 60 characters"),
        (lambda: guess.number("?", 5), "values=5 must be a list of numbers"),
        (lambda: guess.number("?", [1]), r"values=\[1\] must be at least two numbers"),
        (lambda: guess.number("?", [2, 1]), "values=.* must be at least two numbers in increasing order"),
        (lambda: guess.number("?", [1, "2"]), r"values\[1\]='2' must be a finite number"),
        (lambda: guess.number("?", [1, math.nan]), r"values\[1\]=nan must be a finite number"),
        (lambda: guess.number("?", [1, 2], 3), "unit=3 must be a text"),
        (lambda: guess.sketch(None, (0, 1), (0, 1)), "question=None must be a text"),
        (lambda: guess.sketch("?", 3, (0, 1)), "x=3 must be two numbers"),
        (lambda: guess.sketch("?", (1, 1), (0, 1)), r"x\[1\]=1 must be a finite number, above 1"),
        (lambda: guess.sketch("?", (0, 1), ("0", 1)), r"y\[0\]='0' must be a finite number"),
        (lambda: guess.sketch("?", (0, 1), (0, math.inf)), r"y\[1\]=inf must be"),
        (lambda: guess.sketch("?", (0, 1), (0, 1), 1), "points=1 must be a whole number of at least 2 and at most 12"),
        (lambda: guess.sketch("?", (0, 1), (0, 1), 99), "points=99 must be"),
        (lambda: curve().compare("a straight line"), "answer='a straight line' must be 'one wave', 'the average"),
        (lambda: curve().compare("one wave", because=3), "because=3 must be a text"),
        (lambda: steps().compare(None), "answer=None must be a finite number"),
        (lambda: steps().compare(math.nan), "answer=nan must be a finite number"),
        (lambda: steps().compare(3, 4), "because=4 must be a text"),
        (lambda: wave().compare(None), "heights=None must be a tensor"),
        (lambda: wave().compare(torch.zeros(4)), r"heights has the shape \[4\]; it must be \[5\]"),
        (lambda: wave().compare(torch.zeros(5, dtype=torch.int64)), "heights has the dtype torch.int64"),
        (lambda: wave().compare(torch.zeros(5), None), "because=None must be a text"),
    ],
)
def test_what_cannot_be_asked_or_answered_is_told_by_name(ask, message, displayed):
    with pytest.raises((TypeError, ValueError), match=message):
        ask()
