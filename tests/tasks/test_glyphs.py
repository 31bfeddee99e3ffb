import pytest
import torch
from torch.nn.functional import avg_pool2d
from wrong import NO_WHOLE_NUMBER

from metalab.tasks import glyphs


@pytest.fixture(scope="module")
def small():
    return glyphs.draw(alphabets=4, characters=10, drawings=6, seed=0)


@pytest.fixture(scope="module")
def whole():
    return glyphs.draw()


def test_shape_type_and_range(small):
    assert small.images.shape == (40, 6, 28, 28)
    assert small.images.dtype == torch.uint8
    # Paper is 0, a pixel the pen covers is 255, and an edge may lie between.
    assert set(small.images.unique().tolist()) == {round(255 * dots / 9) for dots in range(10)}
    assert small.source == "glyphs"


def test_defaults_are_about_as_many_as_omniglot(whole):
    assert whole.images.shape == (900, 20, 28, 28)
    assert len(whole.names) == 30


def test_alphabets_in_order_with_a_name_each(small):
    assert small.alphabet.dtype == torch.int64
    assert small.alphabet.tolist() == [a for a in range(4) for _ in range(10)]
    assert small.names == ("glyphs 1", "glyphs 2", "glyphs 3", "glyphs 4")


def test_same_seed_same_drawings(small):
    assert torch.equal(glyphs.draw(alphabets=4, characters=10, drawings=6, seed=0).images, small.images)


def test_more_alphabets_begin_with_the_fewer(small):
    fewer = glyphs.draw(alphabets=2, characters=10, drawings=6, seed=0)
    assert torch.equal(fewer.images, small.images[:20])


def test_another_seed_shares_no_drawing(small):
    other = glyphs.draw(alphabets=4, characters=10, drawings=6, seed=1)
    both = torch.cat([small.images, other.images]).flatten(0, 1).flatten(1)
    assert len(both.unique(dim=0)) == 2 * 40 * 6


def test_number_of_threads_does_not_matter(small):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if before > 1 else 2)
        again = glyphs.draw(alphabets=4, characters=10, drawings=6, seed=0)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(again.images, small.images)


def test_global_generator_is_left_alone():
    before = torch.get_rng_state()
    glyphs.draw(alphabets=1, characters=2, drawings=2, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_drawing_has_ink_and_mostly_paper(whole):
    ink = whole.images.float().mean((2, 3)) / 255  # [C, D]; in Omniglot's background set 0.002 to 0.226, mean 0.078
    assert ink.min() > 0.005
    assert ink.max() < 0.4
    assert 0.065 < ink.mean() < 0.095


def test_pen_is_as_wide_as_omniglots():
    """A straight stroke down the paper is 4 / 3 pixels wide, wherever between two pixels it runs."""
    y = torch.linspace(0.2, 0.8, glyphs.STEPS)
    for x in (0.5, 0.51, 0.52):
        image = glyphs._render(torch.stack([torch.full_like(y, x), y], 1)[None], torch.tensor([0]), 1)[0]
        width = image[10:18].float().sum(1) / 255
        torch.testing.assert_close(width, torch.full((8,), 4 / 3), atol=0.01, rtol=0)


def test_ink_beyond_the_paper_is_lost():
    """It must not come back in on the other side, nor in another drawing."""
    outside = [[1.5, 0.5], [-0.5, 0.5], [0.5, 1.5], [0.5, -0.5]]
    partly = [[0.99, 0.5], [0.01, 0.5], [0.5, 0.99], [0.5, 0.01]]  # the pen is whole or not at all
    ink = torch.tensor(outside + partly)[:, None]  # [8, 1, 2]
    assert glyphs._render(ink, torch.ones(8, dtype=torch.int64), 3).sum() == 0


def test_pen_in_the_last_corner_stays_on_its_paper():
    images = glyphs._render(torch.tensor([[[0.975, 0.975]]]), torch.tensor([1]), 3).float()  # three papers
    assert images[1].sum() == pytest.approx(255 * 16 / 9, abs=2)  # all 16 dots of the pen
    assert images[[0, 2]].sum() == 0


def test_drawings_of_a_character_differ_but_are_nearer_than_other_characters():
    data = glyphs.draw(alphabets=10, characters=10, drawings=5, seed=2)
    blurred = avg_pool2d(data.images.float() / 255, 3, stride=1, padding=1).flatten(2).flatten(0, 1)  # [500, 784]
    distance = torch.cdist(blurred, blurred)
    character, drawing = torch.arange(500) // 5, torch.arange(500)
    same = character[:, None] == character
    within, between = distance[same & (drawing[:, None] != drawing)], distance[~same]
    assert within.min() > 0
    assert 0.7 < within.mean() / between.mean() < 0.87  # 0.83 in Omniglot's background set


def test_a_person_has_habits():
    """Person d shifts all characters of an alphabet alike, and not those of another alphabet."""
    data = glyphs.draw(alphabets=20, characters=20, drawings=10, seed=4)
    ink = data.images.float()
    column = torch.arange(28.0)
    x = (ink * column).sum((2, 3)) / ink.sum((2, 3))  # [400, 10]
    x = (x - x.mean(1, keepdim=True)).view(20, 20, 10)  # alphabets, characters, persons
    one_half, other_half = x[:, :10].mean(1), x[:, 10:].mean(1)
    correlation = lambda a, b: torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]  # noqa: E731
    assert correlation(one_half, other_half) > 0.5
    assert correlation(one_half, one_half.roll(1, 0)).abs() < 0.3


def test_an_alphabet_has_a_style():
    """Characters of an alphabet are alike in ink: alphabets differ more than chance makes them."""
    ink = glyphs.draw(alphabets=40, characters=20, drawings=2, seed=6).images.float().mean((1, 2, 3)).view(40, 20)
    chance = ink.var(1).mean() / 20  # variance of an alphabet's mean, were its characters anyone's
    assert ink.mean(1).var() > 4 * chance


def test_no_two_drawings_are_the_same(whole):
    assert len(whole.images.flatten(0, 1).flatten(1).unique(dim=0)) == 900 * 20


def test_episodes_can_be_dealt(small):
    episode = small.sample(3, 5, 1, 2, torch.Generator().manual_seed(0))
    assert episode.support_x.shape == (3, 5, 1, 28, 28)
    assert episode.query_x.shape == (3, 10, 1, 28, 28)
    assert episode.support_x.dtype == torch.float32
    assert episode.support_x.min() == 0
    assert episode.support_x.max() == 1


@pytest.mark.parametrize("name", ["alphabets", "characters", "drawings"])
@pytest.mark.parametrize("value", [0, -3])
def test_bad_number_is_named(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} must be a whole number of at least 1"):
        glyphs.draw(**{name: value})


@pytest.mark.parametrize("name", ["alphabets", "characters", "drawings", "seed"])
@pytest.mark.parametrize("value", NO_WHOLE_NUMBER)
def test_a_number_of_another_type_is_named(name, value):
    with pytest.raises(TypeError, match=f"{name}=.* must be a whole number"):
        glyphs.draw(**{name: value})


@pytest.mark.parametrize("seed", [-1, 2**63, 10**400])
def test_a_seed_out_of_range_is_named(seed):
    with pytest.raises(ValueError, match=r"seed=.* must be"):
        glyphs.draw(seed=seed)


def test_one_of_everything():
    assert glyphs.draw(alphabets=1, characters=1, drawings=1).images.shape == (1, 1, 28, 28)


def test_attributes_of_a_character_that_is_planned_by_hand():
    """An L that is drawn in two strokes, a long one down and a short one to the right, from the same place."""
    route = torch.zeros(1, glyphs.STROKES, glyphs.POINTS, dtype=torch.int64)
    route[0, 0, 1:] = 1
    route[0, 1] = 1
    route[0, 1, 1:] = 2
    pieces = torch.zeros(1, glyphs.STROKES, glyphs.POINTS - 1, dtype=torch.bool)
    pieces[0, :2, 0] = True
    places = torch.zeros(1, 12, 2)
    places[0, :3] = torch.tensor([[-0.1, -0.3], [-0.1, 0.3], [0.2, 0.3]])
    roundness = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    bend = torch.full(pieces.shape, 7.0)  # what does not exist does not count
    bend[0, :2, 0] = torch.tensor([-0.2, 0.4])
    found = dict(
        zip(
            glyphs.ATTRIBUTES,
            glyphs._describe(glyphs.Plan(places, route, pieces, roundness, bend))[0].tolist(),
            strict=True,
        )
    )
    assert found == pytest.approx(
        {
            "strokes": 2,
            "pieces": 2,
            "length": 0.9,
            "round": 0.5,
            "bent": 0.3,
            "level": (0.3 - 0.6) / 0.9,
            "falling": 0,
            "joints": 1,
            "width": 0.3,
            "height": 0.6,
            "start x": -0.1,
            "start y": -0.3,
            "middle x": (-0.1 * 0.6 + 0.05 * 0.3) / 0.9,
            "middle y": 0.3 * 0.3 / 0.9,
        },
        abs=1e-6,
    )


def test_described_characters_are_those_that_are_drawn(small):
    drawn, attributes = glyphs.draw_described(alphabets=4, characters=10, drawings=6, seed=0)
    assert torch.equal(drawn.images, small.images)
    assert attributes.shape == (40, len(glyphs.ATTRIBUTES))
    ink = drawn.images.float().mean((1, 2, 3))
    assert torch.corrcoef(torch.stack([ink, attributes[:, 2]]))[0, 1] > 0.8  # longer characters have more ink
    columns = drawn.images.float().sum((1, 2)).gt(0).sum(1)  # columns with ink in any of the drawings
    assert torch.corrcoef(torch.stack([columns.float(), attributes[:, 8]]))[0, 1] > 0.7
