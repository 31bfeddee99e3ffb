"""Every drawing here carries its class and its number in its pixels, so that a group can be read back."""

import pytest
import torch
from wrong import NO_GENERATOR, NO_TENSOR, NO_WHOLE_NUMBER, Elsewhere, seeded

from metalab.tasks import Characters, Groups, Pairs, as_episode, as_pairs


def coded(sizes=(4, 6, 10, 2), drawings=5):
    """Alphabets of these sizes. Pixel (0, 0) is the class, pixel (0, 1) the drawing's number."""
    classes = sum(sizes)
    images = torch.randint(256, (classes, drawings, 3, 3), generator=seeded(9), dtype=torch.uint8)
    images[:, :, 0, 0] = torch.arange(classes, dtype=torch.uint8)[:, None]
    images[:, :, 0, 1] = torch.arange(drawings, dtype=torch.uint8)
    alphabet = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return Characters(images, alphabet, tuple(f"alphabet {i}" for i in range(len(sizes))), "code")


def decode(pictures):
    """Classes and drawings of pictures [..., 1, H, W]."""
    pixels = (pictures[..., 0, 0, :2] * 255).round().long()
    return pixels[..., 0], pixels[..., 1]


def test_groups_are_the_drawings_with_ink_1():
    source = coded()
    images = Groups(source, 3, 2)(7, seeded())
    assert (images.shape, images.dtype) == ((7, 3, 2, 1, 3, 3), torch.float32)
    classes, drawings = decode(images)
    torch.testing.assert_close(
        images.squeeze(3).double(), source.images[classes, drawings].double() / 255, atol=1e-7, rtol=0
    )
    assert images.max() > 0.9


@pytest.mark.parametrize("within_alphabet", [False, True])
def test_characters_and_drawings_of_a_group_are_distinct(within_alphabet):
    classes, drawings = decode(Groups(coded(), 4, 5, within_alphabet=within_alphabet)(200, seeded()))
    assert (classes == classes[:, :, :1]).all(), "a row of drawings is of one character"
    assert all(len(set(row)) == 4 for row in classes[:, :, 0].tolist())
    assert all(sorted(row) == [0, 1, 2, 3, 4] for row in drawings.flatten(0, 1).tolist())


def test_groups_follow_the_generator_alone():
    groups = Groups(coded(), 3, 2, within_alphabet=True)
    torch.manual_seed(1)
    first = groups(20, seeded(5))
    torch.manual_seed(2)
    assert torch.equal(first, groups(20, seeded(5)))
    assert not torch.equal(first, groups(20, seeded(6)))


def test_all_characters_and_drawings_are_as_likely():
    source = coded()
    classes, drawings = decode(Groups(source, 2, 2)(4400, seeded()))
    times = torch.bincount(classes[:, :, 0].flatten(), minlength=22)  # 400 expected, deviation 19
    assert ((times - 400).abs() < 100).all()
    times = torch.bincount(drawings.flatten(), minlength=5)  # 3520 expected
    assert ((times - 3520).abs() < 270).all()
    alphabets = source.alphabet[classes[:, :, 0]]
    assert (alphabets[:, 0] != alphabets[:, 1]).double().mean() > 0.5, "from anywhere: mostly of two alphabets"


def test_within_alphabet_means_one_alphabet_that_is_large_enough():
    source = coded()
    classes, _ = decode(Groups(source, 4, 1, within_alphabet=True)(2000, seeded()))
    alphabets = source.alphabet[classes[:, :, 0]]
    assert (alphabets == alphabets[:, :1]).all()
    times = torch.bincount(alphabets[:, 0], minlength=4).tolist()
    assert times[3] == 0  # it has two characters
    # The others alike: 667 expected of each, deviation 21. In proportion to their sizes it would be 400, 600, 1000.
    assert all(abs(count - 667) < 105 for count in times[:3])
    assert set(classes.flatten().tolist()) == set(range(20))


def test_an_alphabet_that_was_left_without_characters_does_no_harm():
    source = coded()
    source = source.select(source.alphabet != 1)
    classes, _ = decode(Groups(source, 2, 1, within_alphabet=True)(300, seeded()))
    assert set(classes.flatten().tolist()) == {0, 1, 2, 3, *range(10, 22)}


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((23, 1), {}, "characters=23 must be .* at most 22, the characters of the source"),
        ((0, 1), {}, "characters=0 must be a whole number of at least 1"),
        ((11, 1), {"within_alphabet": True}, "characters=11 must be .* at most 10, the characters of its largest"),
        ((2, 6), {}, "drawings=6 must be .* at most 5, the drawings of a character"),
        ((2, 0), {}, "drawings=0 must be a whole number of at least 1"),
    ],
)
def test_groups_that_cannot_be_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        Groups(coded(), *arguments, **options)


@pytest.mark.parametrize("wrong", NO_WHOLE_NUMBER)
def test_numbers_of_another_type_are_named(wrong):
    for name in ("characters", "drawings"):
        with pytest.raises(TypeError, match=f"{name}=.* must be a whole number"):
            Groups(coded(), **{"characters": 2, "drawings": 2, name: wrong})
    with pytest.raises(TypeError, match=r"groups=.* must be a whole number"):
        Groups(coded(), 2, 2)(wrong, seeded())


def test_other_arguments_of_another_type_are_named():
    for wrong in (None, "omniglot", torch.zeros(4, 5, 3, 3, dtype=torch.uint8)):
        with pytest.raises(TypeError, match=r"source=.* must be Characters"):
            Groups(wrong, 2, 2)
    for wrong in (None, 1, "yes", torch.tensor(True)):
        with pytest.raises(TypeError, match=r"within_alphabet=.* must be True or False"):
            Groups(coded(), 2, 2, within_alphabet=wrong)
    for wrong in NO_GENERATOR:
        with pytest.raises(TypeError, match=r"generator=.* must be a torch.Generator"):
            Groups(coded(), 2, 2)(1, wrong)
    with pytest.raises(ValueError, match="generator is on cuda, and must be on cpu"):
        Groups(coded(), 2, 2)(1, Elsewhere())


def test_no_groups_is_named():
    with pytest.raises(ValueError, match="groups=0 must be a whole number of at least 1"):
        Groups(coded(), 2, 2)(0, seeded())


@pytest.mark.parametrize("within_alphabet", [False, True])
def test_pairs_are_what_their_labels_say(within_alphabet):
    source = coded()
    pairs = as_pairs(Groups(source, 2, 2, within_alphabet=within_alphabet)(300, seeded()))
    assert pairs.first.shape == pairs.second.shape == (300, 1, 3, 3)
    (one, drawing), (other, drawing_of_other) = decode(pairs.first), decode(pairs.second)
    assert torch.equal(one == other, pairs.same)
    assert pairs.same.sum() == 150
    assert (drawing != drawing_of_other)[pairs.same].all(), "one drawing twice is no pair"
    if within_alphabet:
        assert torch.equal(source.alphabet[one], source.alphabet[other])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 2, 2, 1, 3, 3), "its first axis must be even"),
        *[
            (shape, r"it must be \[B, 2, 2, 1, H, W\]")
            for shape in [(4, 3, 2, 1, 3, 3), (4, 2, 3, 1, 3, 3), (4, 2, 2, 3, 3), (0, 2, 2, 1, 3, 3), ()]
        ],
    ],
)
def test_groups_that_give_no_pairs_are_named(shape, message):
    with pytest.raises(ValueError, match=f"groups has the shape .*; {message}"):
        as_pairs(torch.zeros(shape))


def test_groups_of_another_type_give_no_pairs():
    for wrong in NO_TENSOR:
        with pytest.raises(TypeError, match=r"groups=.* must be a tensor"):
            as_pairs(wrong)
    with pytest.raises(ValueError, match=r"groups has the dtype torch.int64"):
        as_pairs(torch.zeros(2, 2, 2, 1, 3, 3, dtype=torch.int64))


def test_pairs_that_cannot_be_are_named():
    pictures, same = torch.zeros(4, 1, 3, 3), torch.ones(4, dtype=torch.bool)
    Pairs(pictures, pictures, same)
    for first, second, of, message in [
        (pictures[:3], pictures, same, "second has the shape"),
        (pictures, pictures[..., :2], same, "second has the shape"),
        (pictures, pictures, same[:2], "same has the shape"),
        (pictures[:, 0], pictures[:, 0], same, "first has the shape"),
        (pictures, pictures, same.float(), "same has the dtype torch.float32; it must be torch.bool"),
        (pictures, pictures.double(), same, "second has the dtype torch.float64"),
        (pictures.byte(), pictures.byte(), same, "first has the dtype torch.uint8"),
    ]:
        with pytest.raises(ValueError, match=message):
            Pairs(first, second, of)
    with pytest.raises(TypeError, match="same=None must be a tensor"):
        Pairs(pictures, pictures, None)


def test_no_value_is_read():
    assert as_pairs(torch.zeros(4, 2, 2, 1, 3, 3, device="meta")).same.shape == (4,)


def test_episodes_have_their_rows_class_by_class():
    groups = Groups(coded(), 3, 5, within_alphabet=True)(4, seeded())
    episode = as_episode(groups, shots=2)
    assert (episode.tasks, episode.ways) == (4, 3)
    assert episode.support_y.tolist() == [[0, 0, 1, 1, 2, 2]] * 4
    assert episode.query_y.tolist() == [[0, 0, 0, 1, 1, 1, 2, 2, 2]] * 4
    assert torch.equal(episode.support_x.unflatten(1, (3, 2)), groups[:, :, :2])
    assert torch.equal(episode.query_x.unflatten(1, (3, 3)), groups[:, :, 2:])
