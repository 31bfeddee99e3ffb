"""The words for numbers that differ are true of them, whatever function they come from."""

import pytest
import torch

from metalab.lessons.kit.comparing import Case, Trial, Wrong, agree, combined, compare, describe, number, with_help


def mean_square(x, y):
    return ((x - y) ** 2).mean(0)


def case(points, dtype=torch.float32):
    def make():
        generator = torch.Generator().manual_seed(points)
        return torch.randn(2, points, 3, generator=generator, dtype=dtype).unbind(0)

    return Case(what=f"{points} points", make=make, sizes={"the number of points": points})


CASES = [case(5), case(7, torch.float64)]


def says(attempt, mistakes=()):
    """What is said of an attempt at the mean square of each column; None if it is right."""
    try:
        agree(
            attempt,
            name="mean_square",
            cases=CASES,
            right=mean_square,
            numbers=lambda result, _arguments: {"the loss": result},
            mistakes=mistakes,
        )
    except Wrong as wrong:
        return str(wrong)
    return None


def test_what_agrees_in_all_cases_is_right():
    assert says(lambda x, y: (x - y).square().sum(0) / len(x)) is None
    assert says(lambda x, y: mean_square(x, y).double()) is None


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (lambda x, y: (1e3 * mean_square(x, y)).round() / 1e3, "Nearly right: the numbers agree to a few"),
        (lambda x, y: -mean_square(x, y), "All the numbers are minus what should be there."),
        (lambda x, y: mean_square(x, y) / 2, "All the numbers are 0.5 times what should be there."),
        (
            lambda x, y: ((x - y) ** 2).sum(0),
            "All the numbers are the number of points times what should be there.",
        ),
        (
            lambda x, y: 3 * ((x - y) ** 2).sum(0) * len(x),
            "All the numbers are 3 times the number of points squared times what should be there.",
        ),
        (
            lambda x, y: mean_square(x, y) / len(x) ** 0.5,
            "All the numbers are 1 / root of the number of points times what should be there.",
        ),
        (
            lambda x, y: ((x - y) ** 2).sum(0) / (len(x) - 1),
            "All the numbers are too large, as if the divisor were the number of points minus 1.",
        ),
        (lambda x, y: ((x - y) ** 2).sum(0) / 5, "Right with 5 points, but wrong with 7 points."),
        (lambda x, y: ((x - y) ** 2).sum(0) / 7, "Right with 7 points, but wrong with 5 points."),
        (lambda x, y: mean_square(x, y) + 1, "Every number is off by the same amount."),
        (lambda x, y: mean_square(x, y).flip(0), "The numbers are right, but they stand in another order."),
        (lambda x, y: 0 * mean_square(x, y), "All the numbers are zero."),
        (lambda x, y: mean_square(x, y) / 0, "Some of the numbers are not finite."),
        (
            lambda x, y: mean_square(x.float(), y.float()),
            "Right with 5 points, but only to a few digits with 7 points.",
        ),
        (lambda x, y: mean_square(x, y)[:2], "With 5 points, the loss has the shape [2]; it should be [3]."),
        (lambda x, y: (x - y).abs().mean(0), "This is not right, and it is not a mistake that we know."),
    ],
)
def test_the_words_are_facts(attempt, words):
    found = says(attempt)
    assert found.startswith(words)
    if "shape" not in words:
        assert "With the arguments exercises.mean_square.inputs(" in found


def test_a_part_that_is_right_is_named():
    want = {"the weight": torch.tensor([1.0, 2]), "the bias": torch.tensor([3.0])}
    with pytest.raises(Wrong, match=r"^Right in the weight, but not in the bias\. The bias is 2 times"):
        compare([Trial("two points", "inputs()", want | {"the bias": torch.tensor([6.0])}, want)])


def variant(x, y, reduce="mean", power=2):
    difference = (x - y).abs() ** power
    return difference.sum(0) if reduce == "sum" else difference.mean(0)


KNOWN = combined(variant, {"reduce": {"sum": "It is a sum."}, "power": {1: "Nothing is squared.", 3: "It is cubed."}})


def test_a_known_mistake_is_named_alone_and_two_of_them_together():
    assert says(lambda x, y: ((x - y) ** 2).sum(0), KNOWN) == "It is a sum."
    assert says(lambda x, y: (x - y).abs().mean(0), KNOWN) == "Nothing is squared."
    both = "Two things are wrong. First: It is a sum. Second: Nothing is squared."
    assert says(lambda x, y: (x - y).abs().sum(0), KNOWN) == both
    assert len(KNOWN) == 3 + 2  # no pair of two values of one switch


def test_a_mistake_has_to_fit_in_all_cases():
    """Five times the mean is the sum with five points only."""
    assert says(lambda x, y: 5 * mean_square(x, y), KNOWN).startswith("All the numbers are 5 times")


@pytest.mark.parametrize(("value", "plain"), [(2, 2.0), (torch.tensor(1.5), 1.5), (torch.tensor([1.5]), 1.5)])
def test_one_number_is_taken_in_many_forms(value, plain):
    assert number(value, "the mean") == plain


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("2", "the text '2'"),
        (True, "the truth value True"),
        (torch.ones(2), "a tensor of shape [2]"),
        ((1, 2), "a tuple of 2"),
        (None, "a NoneType"),
        (object(), "an object"),
    ],
)
def test_what_is_not_one_number_is_described(value, words):
    assert describe(value) == words
    with pytest.raises(Wrong) as wrong:
        number(value, "the mean")
    assert str(wrong.value) == f"the mean should be one number; yours is {words}."


def test_an_error_is_told_with_what_usually_causes_it():
    def stops(message):
        raise Wrong(message)

    helped = with_help(stops, {"size 15": "Take the sizes from the arguments."})
    with pytest.raises(Wrong, match=r"size 15, at line 3: `z\[i\]`\. Take the sizes"):
        helped("It stopped with IndexError: size 15, at line 3: `z[i]`")
    for message in ("It stopped with IndexError: size 4, at line 15: `size 15`", "The size 15 is wrong."):
        with pytest.raises(Wrong) as told:
            helped(message)
        assert str(told.value) == message
