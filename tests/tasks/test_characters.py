"""Every drawing here carries its class and its number in its pixels, so that an episode can be read back."""

import numpy as np
import pytest
import torch
from wrong import NO_GENERATOR, NO_TENSOR, NO_WHOLE_NUMBER, Elsewhere, seeded

from metalab.tasks import Characters, Groups


def coded(classes=7, drawings=5, side=3):
    """Pixel (0, 0) is the class, pixel (0, 1) the drawing's number, the rest is random."""
    images = torch.randint(256, (classes, drawings, side, side), generator=seeded(9), dtype=torch.uint8)
    images[:, :, 0, 0] = torch.arange(classes, dtype=torch.uint8)[:, None]
    images[:, :, 0, 1] = torch.arange(drawings, dtype=torch.uint8)
    alphabet = torch.arange(classes) // 4
    return Characters(images, alphabet, tuple(f"alphabet {i}" for i in range(2)), "code")


def decode(x, rows_per_class):
    """Classes and drawings of pictures [T, N*R, 1, H, W]: two [T, N, R]."""
    pixels = (x[:, :, 0, 0, :2] * 255).round().long().unflatten(1, (-1, rows_per_class))
    return pixels[..., 0], pixels[..., 1]


def test_shapes_types_and_labels():
    episode = coded().sample(4, 3, 2, 3, seeded())
    assert episode.support_x.shape == (4, 6, 1, 3, 3)
    assert episode.query_x.shape == (4, 9, 1, 3, 3)
    assert episode.support_x.dtype == episode.query_x.dtype == torch.float32
    assert episode.support_y.dtype == episode.query_y.dtype == torch.int64
    assert episode.support_y.tolist() == [[0, 0, 1, 1, 2, 2]] * 4
    assert episode.query_y.tolist() == [[0, 0, 0, 1, 1, 1, 2, 2, 2]] * 4
    assert (episode.tasks, episode.ways) == (4, 3)


def test_pictures_are_the_drawings_with_ink_1():
    characters = coded()
    episode = characters.sample(4, 3, 2, 3, seeded())
    for x, rows in ((episode.support_x, 2), (episode.query_x, 3)):
        classes, drawings = decode(x, rows)
        original = characters.images[classes, drawings].double() / 255
        torch.testing.assert_close(x.unflatten(1, (3, rows)).squeeze(3).double(), original, rtol=0, atol=1e-7)
    assert torch.cat([episode.support_x, episode.query_x], 1).max() > 0.9


def test_classes_are_distinct_and_a_class_keeps_its_rows():
    episode = coded().sample(200, 5, 2, 3, seeded())
    support, _ = decode(episode.support_x, 2)
    query, _ = decode(episode.query_x, 3)
    assert (support == support[:, :, :1]).all()
    assert (query == support[:, :, :1]).all(), "a query's label must be that of its class's support"
    assert all(len(set(classes)) == 5 for classes in support[:, :, 0].tolist())


def test_no_drawing_is_dealt_twice():
    episode = coded().sample(200, 4, 2, 3, seeded())  # 2 + 3 of 5 drawings: each exactly once
    drawings = torch.cat([decode(episode.support_x, 2)[1], decode(episode.query_x, 3)[1]], 2)
    assert (drawings.sort(2).values == torch.arange(5)).all()


def test_labels_are_dealt_anew():
    classes, _ = decode(coded(classes=3).sample(300, 3, 1, 1, seeded()).support_x, 1)
    orders = {tuple(order) for order in classes[:, :, 0].tolist()}
    assert len(orders) == 6, "each of the 3! ways to label three classes must come up"


def test_every_class_and_drawing_comes_up_in_support_and_query():
    episode = coded(classes=6, drawings=4).sample(500, 2, 1, 1, seeded())
    for x in (episode.support_x, episode.query_x):
        seen = torch.stack(decode(x, 1), -1).flatten(0, 2).tolist()
        assert {tuple(pair) for pair in seen} == {(c, d) for c in range(6) for d in range(4)}


def test_the_generator_alone_decides():
    characters, before = coded(), torch.random.get_rng_state()
    first, second = (characters.sample(4, 3, 1, 1, seeded(5)) for _ in range(2))
    other = characters.sample(4, 3, 1, 1, seeded(6))
    assert torch.equal(first.support_x, second.support_x)
    assert torch.equal(first.query_x, second.query_x)
    assert not torch.equal(first.support_x, other.support_x)
    characters.batch(10, seeded())
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2, 1, 1), "tasks=0 must be a whole number of at least 1"),
        ((1, 0, 1, 1), "ways=0 must be a whole number of at least 1"),
        ((1, 2, 0, 1), "shots=0 must be a whole number of at least 1"),
        ((1, 2, 1, -1), "queries=-1 must be a whole number of at least 1"),
        ((1, 8, 1, 1), "ways=8 is more than the 7 characters of the set"),
        ((1, 2, 18, 15), "shots=18 leaves 2 of 20 drawings for 15 queries"),
        ((1, 2, 25, 1), "shots=25 leaves 0 of 20 drawings for 1 queries"),
    ],
)
def test_bad_arguments_are_named_with_their_numbers(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        coded(drawings=20).sample(*arguments, seeded())


@pytest.mark.parametrize("wrong", NO_WHOLE_NUMBER)
def test_numbers_of_another_type_are_named(wrong):
    numbers = {"tasks": 1, "ways": 2, "shots": 1, "queries": 1}
    for name in numbers:
        with pytest.raises(TypeError, match=f"{name}=.* must be a whole number"):
            coded().sample(**{**numbers, name: wrong}, generator=seeded())
    with pytest.raises(TypeError, match=r"size=.* must be a whole number"):
        coded().batch(wrong, seeded())


@pytest.mark.parametrize("wrong", NO_GENERATOR)
def test_what_is_no_generator_is_named(wrong):
    for call in (lambda: coded().sample(1, 2, 1, 1, wrong), lambda: coded().batch(1, wrong)):
        with pytest.raises(TypeError, match=r"generator=.* must be a torch.Generator"):
            call()


def test_a_generator_elsewhere_and_a_batch_of_nothing_are_named():
    for call in (lambda: coded().sample(1, 2, 1, 1, Elsewhere()), lambda: coded().batch(1, Elsewhere())):
        with pytest.raises(ValueError, match="generator is on cuda, and must be on cpu"):
            call()
    with pytest.raises(ValueError, match="size=0 must be a whole number of at least 1"):
        coded().batch(0, seeded())


RIGHT = {
    "images": torch.zeros(4, 5, 3, 3, dtype=torch.uint8),
    "alphabet": torch.tensor([0, 0, 1, 1]),
    "names": ("a", "b"),
    "source": "code",
}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("images", torch.zeros(4, 5, 3, 3), "images has the dtype torch.float32; it must be torch.uint8"),
        ("images", torch.zeros(4, 5, 9, dtype=torch.uint8), "images has the shape"),
        ("images", torch.zeros(4, 0, 3, 3, dtype=torch.uint8), "images has the shape"),
        ("images", torch.zeros(3, 5, 3, 3, dtype=torch.uint8), "alphabet has the shape"),
        ("alphabet", torch.zeros(4), "alphabet has the dtype torch.float32"),
        ("alphabet", torch.zeros(4, 1, dtype=torch.int64), "alphabet has the shape"),
        ("alphabet", torch.tensor([0, 1, 2, 1]), r"alphabet has labels from 0 to 2; they must lie in 0 … 1"),
        ("alphabet", torch.tensor([0, -1, 1, 1]), r"alphabet has labels from -1 to 1"),
        ("names", (), "alphabet has labels from 0 to 1"),
    ],
)
def test_characters_that_cannot_be_are_named(name, value, message):
    with pytest.raises(ValueError, match=message):
        Characters(**{**RIGHT, name: value})


def test_parts_of_another_type_are_named():
    Characters(**RIGHT)
    wrong = {"images": NO_TENSOR, "alphabet": NO_TENSOR, "names": [["a", "b"], "ab", None, (1, 2)], "source": [None, 1]}
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(TypeError, match=f"{name}=.* must be a"):
                Characters(**{**RIGHT, name: value})


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (torch.tensor([0, 7]), "index has labels from 0 to 7; they must lie in 0 … 6"),
        (torch.tensor([-1]), "index has labels from -1 to -1"),
        (torch.tensor([0.0]), "index has the dtype torch.float32"),
        (torch.tensor([[0, 1]]), "index has the shape"),
        (torch.zeros(0, dtype=torch.int64), "index has the shape"),
        (torch.ones(6, dtype=torch.bool), "index has the shape"),
        (torch.zeros(7, dtype=torch.bool), "index selects no character"),
    ],
)
def test_a_selection_that_cannot_be_is_named(index, message):
    with pytest.raises(ValueError, match=message):
        coded().select(index)


@pytest.mark.parametrize("index", [3, [0, 1], slice(2), None])
def test_a_selection_of_another_type_is_named(index):
    with pytest.raises(TypeError, match=r"index=.* must be a tensor"):
        coded().select(index)


def test_only_square_pictures_can_be_turned():
    with pytest.raises(ValueError, match="the pictures have 3 x 2 pixels; only square ones can be turned"):
        Characters(**{**RIGHT, "images": torch.zeros(4, 5, 3, 2, dtype=torch.uint8)}).with_rotations()


@pytest.mark.parametrize(
    ("device", "error"), [("mps", ValueError), ("nowhere", ValueError), (None, TypeError), (torch.float32, TypeError)]
)
def test_another_device_is_named(device, error):
    with pytest.raises(error, match=r"device=.* must be"):
        coded().to(device)


def test_as_many_ways_and_drawings_as_there_are():
    episode = coded().sample(1, 7, 2, 3, seeded())
    assert sorted(decode(episode.support_x, 2)[0][0, :, 0].tolist()) == list(range(7))


def test_rotations_are_classes_of_their_own():
    characters = coded(classes=3)
    turned = characters.with_rotations()
    assert len(turned) == 12
    for k in range(4):
        for c in range(3):
            for d in range(5):
                assert np.array_equal(turned.images[3 * k + c, d], np.rot90(characters.images[c, d], k))
    alphabets = len(characters.names)
    assert turned.alphabet.tolist() == [a + alphabets * k for k in range(4) for a in characters.alphabet.tolist()]
    assert len(turned.names) == len(set(turned.names)) == 4 * alphabets
    assert turned.names[:alphabets] == characters.names
    assert turned.names[-1] == f"{characters.names[-1]}, turned by 270°"
    assert turned.source == characters.source


def test_select_by_index_and_by_mask():
    characters = coded()
    some = characters.select(torch.tensor([5, 1]))
    assert torch.equal(some.images, characters.images[[5, 1]])
    assert some.alphabet.tolist() == [1, 0]
    masked = characters.select(characters.alphabet == 1)
    assert masked.images[:, 0, 0, 0].tolist() == [4, 5, 6]
    assert masked.names == characters.names


def test_batch_gives_any_drawings_with_their_classes():
    characters = coded(classes=4, drawings=3)
    images, labels = characters.batch(500, seeded())
    assert images.shape == (500, 1, 3, 3)
    assert images.dtype == torch.float32
    codes = (images[:, 0, 0, :2] * 255).round().long()
    assert torch.equal(codes[:, 0], labels)
    original = characters.images[labels, codes[:, 1]].double() / 255
    torch.testing.assert_close(images[:, 0].double(), original, rtol=0, atol=1e-7)
    assert {tuple(pair) for pair in codes.tolist()} == {(c, d) for c in range(4) for d in range(3)}


def test_episode_moves_its_floats_alone():
    episode = coded().sample(1, 2, 1, 1, seeded()).to(torch.float64)
    assert episode.support_x.dtype == episode.query_x.dtype == torch.float64
    assert episode.support_y.dtype == episode.query_y.dtype == torch.int64


def test_no_alphabet_is_in_both_parts_of_a_split():
    images = torch.arange(14, dtype=torch.uint8)[:, None, None, None].expand(14, 2, 3, 3)
    many = Characters(images, torch.arange(14) // 2, tuple(f"alphabet {i}" for i in range(7)), "code")
    train, validation = many.hold_out(3)
    assert validation.names == ("alphabet 2", "alphabet 5")
    assert train.names == tuple(f"alphabet {i}" for i in (0, 1, 3, 4, 6))
    for part in (train, validation):  # a character keeps its alphabet, and no alphabet is without characters
        classes = part.images[:, 0, 0, 0]
        assert [part.names[i] for i in part.alphabet] == [f"alphabet {c // 2}" for c in classes.tolist()]
        assert (part.alphabet_sizes() == 2).all()
    assert len(train) + len(validation) == len(many)


@pytest.mark.parametrize(
    ("every", "error"), [(1, ValueError), (3, ValueError), *((v, TypeError) for v in NO_WHOLE_NUMBER)]
)
def test_a_split_needs_alphabets_in_both_parts(every, error):
    with pytest.raises(error, match="every"):
        coded().hold_out(every)


def test_a_group_of_one_drawer_a_column_has_the_same_columns_for_all_characters():
    characters, generator = coded(drawings=6), seeded(4)
    for same in (True, False):
        groups = Groups(characters, 4, 3, within_alphabet=True, same_drawers=same)(20, generator)
        classes, drawings = decode(groups.flatten(1, 2), 3)
        assert all(len(set(row)) == 3 for group in drawings.tolist() for row in group)
        assert (classes == classes[:, :, :1]).all()
        assert (drawings == drawings[:, :1]).all().item() is same
    seen = {tuple(row) for row in drawings[:, 0].tolist()}
    assert len(seen) > 10
    with pytest.raises(TypeError, match="same_drawers=1 must be True or False"):
        Groups(characters, 4, 3, same_drawers=1)


def test_alphabets_by_name():
    characters = coded(7)
    second = characters.of(("alphabet 1",))
    assert (second.names, second.alphabet.tolist()) == (("alphabet 1",), [0, 0, 0])
    assert torch.equal(second.images, characters.images[4:])
    assert characters.of(("alphabet 1", "alphabet 0")).names == characters.names  # in their order there
    with pytest.raises(ValueError, match="names='alphabet 2' must be 'alphabet 0' or 'alphabet 1'"):
        characters.of(("alphabet 0", "alphabet 2"))
    for wrong in ("alphabet 0", ["alphabet 0"], (0,), None):
        with pytest.raises(TypeError, match=r"names=.* must be a tuple of strings"):
            characters.of(wrong)
    with pytest.raises(ValueError, match=r"names=\(\) selects no alphabet"):
        characters.of(())
