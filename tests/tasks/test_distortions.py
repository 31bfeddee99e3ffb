import math

import pytest
import torch
from wrong import NO_GENERATOR, NO_TENSOR, NO_WHOLE_NUMBER, Elsewhere, seeded

from metalab.tasks.distortions import _between_knots, distort, draw_affine, draw_field, thicken, warp


def pictures(*shape, seed=1):
    """Random grey in the middle, paper around."""
    images = torch.zeros(*shape, 1, 28, 28)
    images[..., 8:20, 8:20] = torch.rand(*shape, 1, 12, 12, generator=seeded(seed))
    return images


def blob(x, y):
    """A round spot [1, 1, 28, 28] at (x, y) pixels from the middle, smooth enough for bilinear sampling."""
    axis = torch.arange(28, dtype=torch.float64) - 13.5
    return torch.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) / 8)[None, None]


def centre(image):
    """Where the ink of [1, 1, 28, 28] lies: (x, y) from the middle."""
    axis, ink = torch.arange(28, dtype=torch.float64) - 13.5, image[0, 0] / image.sum()
    return torch.stack([(ink.sum(0) * axis).sum(), (ink.sum(1) * axis).sum()])


def test_nothing_is_changed_without_strength():
    images = pictures(5)
    torch.testing.assert_close(distort(images, seeded(), strength=0), images, atol=1e-5, rtol=0)


def test_a_quarter_turn_is_a_quarter_turn():
    images = pictures(2)
    turn = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]]).expand(2, 2, 2)  # right becomes down
    torch.testing.assert_close(warp(images, turn, torch.zeros(2, 2)), images.rot90(-1, (2, 3)), atol=1e-5, rtol=0)


def test_a_shift_is_in_widths_and_brings_paper_in():
    images = 1 - pictures(1)
    moved = warp(images, torch.eye(2)[None], torch.tensor([[3 / 28, -1 / 28]]))
    torch.testing.assert_close(moved[..., :-1, 3:], images[..., 1:, :-3], atol=1e-5, rtol=0)
    assert (moved[..., :3] < 1e-5).all()
    assert (moved[..., -1, :] < 1e-5).all()


def test_ink_goes_where_the_map_says():
    matrix, shift = (part.double() for part in draw_affine(20, seeded()))
    assert (matrix - torch.eye(2)).abs().amax((1, 2)).gt(0.05).sum() > 10  # most of them do something
    for one, by in zip(matrix, shift, strict=True):
        for spot in ([3.0, -2.0], [-1.0, 4.0]):
            where = centre(warp(blob(*spot), one[None], by[None]))
            torch.testing.assert_close(where, one @ torch.tensor(spot).double() + 28 * by, atol=0.05, rtol=0)  # pixels


def test_maps_are_composed_as_the_paper_has_it():
    count = 50
    amount, chance = torch.rand(2, 7, count, generator=seeded(3))
    matrix, shift = draw_affine(count, seeded(3))
    for i in range(count):
        u = [2 * a - 1 if c < 0.5 else 0.0 for a, c in zip(amount[:, i].tolist(), chance[:, i].tolist(), strict=True)]
        angle = u[0] * 10 * math.pi / 180
        rotate = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        shear = torch.tensor([[1, math.tan(0.3 * u[1])], [math.tan(0.3 * u[2]), 1]])
        scale = torch.diag(torch.tensor([1 + 0.2 * u[3], 1 + 0.2 * u[4]]))
        torch.testing.assert_close(matrix[i], rotate @ shear @ scale, atol=1e-6, rtol=0)
        torch.testing.assert_close(shift[i], torch.tensor([u[5], u[6]]) * 2 / 105, atol=1e-7, rtol=0)


def test_ranges_and_chances_are_the_papers():
    matrix, shift = draw_affine(20000, seeded())
    still = (shift == 0).double().mean(0)
    torch.testing.assert_close(still, torch.full((2,), 0.5).double(), atol=0.02, rtol=0)
    assert 0.0189 < shift.amax().item() <= 2 / 105 + 1e-9
    assert -0.0189 > shift.amin().item() >= -2 / 105 - 1e-9
    assert 0.55 < torch.linalg.det(matrix).amin() < 0.66  # 0.64 by scale alone, 0.9 of that by shear
    assert 1.43 < torch.linalg.det(matrix).amax() < 1.59
    untouched = (matrix == torch.eye(2)).all(2).all(1) & (shift == 0).all(1)
    assert abs(untouched.sum().item() - 20000 / 2**7) < 65  # 156 expected, deviation 12


def test_each_picture_has_a_distortion_of_its_own_whatever_the_shape():
    images = pictures(1).expand(2, 3, 4, 1, 28, 28)
    changed = distort(images, seeded())
    assert changed.shape == images.shape
    assert len(changed.flatten(0, 2).flatten(1).unique(dim=0)) > 20
    one_by_one = distort(pictures(1).expand(24, 1, 28, 28), seeded())
    assert torch.equal(changed.flatten(0, 2), one_by_one)


def test_distortions_follow_the_generator_alone():
    torch.manual_seed(1)
    first = distort(pictures(6), seeded(5))
    torch.manual_seed(2)
    assert torch.equal(first, distort(pictures(6), seeded(5)))
    assert not torch.equal(first, distort(pictures(6), seeded(6)))


def test_ink_stays_in_its_range_and_type():
    changed = distort(pictures(50).double(), seeded(), strength=2.0)
    assert changed.dtype == torch.float64
    assert changed.min() >= 0
    assert changed.max() <= 1 + 1e-6


def test_a_field_moves_ink_as_it_says():
    field = torch.tensor([2.0, -1.0]).double().expand(1, 28, 28, 2) / 28  # each pixel looks 2 to the right, 1 up
    still = torch.eye(2)[None].double(), torch.zeros(1, 2).double()
    moved = warp(blob(1.0, 2.0), *still, field)
    torch.testing.assert_close(centre(moved), torch.tensor([-1.0, 3.0]).double(), atol=0.01, rtol=0)


def test_a_field_is_as_strong_as_it_says_at_the_knots_and_smooth_between_them():
    field = draw_field(4000, 29, seeded())  # the 5 knots are 7 pixels apart
    assert field.shape == (4000, 29, 29, 2)
    knots = field[:, ::7, ::7]
    torch.testing.assert_close(knots.std((0, 3)), torch.full((5, 5), 0.03), atol=1.5e-3, rtol=0)
    assert (knots[:, 0, 0] * knots[:, 0, 1]).mean().abs() < 5e-5  # neighbours are independent
    assert field.diff(dim=1).abs().amax() < 0.05
    torch.testing.assert_close(draw_field(3, 29, seeded(1), strength=2.0), 2 * draw_field(3, 29, seeded(1)))


def test_a_field_between_knots_is_bicubic():
    """Cubic convolution with a = −1/2 is exact for parabolas (Keys 1981)."""
    weights = _between_knots(29, torch.device("cpu")).double()
    knots = torch.arange(5).double()
    inner = slice(7, 22)  # where no knot beyond the border counts
    for power in (0, 1, 2):
        expected = torch.linspace(0, 4, 29).double() ** power
        torch.testing.assert_close((weights @ knots**power)[inner], expected[inner], atol=1e-5, rtol=0)


def test_strokes_grow_and_shrink_by_a_pixel_of_the_least_and_the_most():
    images = pictures(3)
    amount = torch.tensor([1.0, -1.0, 0.5])
    changed = thicken(images, amount)
    for y, x in ((8, 8), (15, 12), (19, 20)):
        around = images[:, 0, y - 1 : y + 2, x - 1 : x + 2]
        middle = images[2, 0, y, x]
        expected = [around[0].max(), around[1].min(), middle + (around[2].max() - middle) / 2]
        torch.testing.assert_close(changed[:, 0, y, x], torch.stack(expected))
    assert torch.equal(thicken(images, torch.zeros(3)), images)


def test_further_kinds_of_distortions_are_off_by_default_and_named_when_wrong():
    images = pictures(6)
    plain = distort(images, seeded())
    assert torch.equal(distort(images, seeded(), elastic=0.0, strokes=0.0), plain)
    assert not torch.equal(distort(images, seeded(), elastic=1.0), plain)
    assert not torch.equal(distort(images, seeded(), strokes=1.0), plain)
    both = distort(images.double(), seeded(), strength=2.0, elastic=2.0, strokes=1.0)
    assert both.dtype == torch.float64
    assert both.min() >= 0
    assert both.max() <= 1 + 1e-6
    for name, most in (("elastic", 4), ("strokes", 1)):
        with pytest.raises(ValueError, match=f"{name}=5 must be a finite number, at least 0 and at most {most}"):
            distort(images, seeded(), **{name: 5})


@pytest.mark.parametrize("strength", [-0.1, 4.5, math.nan, math.inf])
def test_a_wrong_strength_is_named(strength):
    message = f"strength={strength} must be a finite number, at least 0 and at most 4"
    for call in (lambda: distort(pictures(1), seeded(), strength=strength), lambda: draw(strength=strength)):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("strength", [True, "1", None, torch.ones(2)])
def test_a_strength_of_another_type_is_named(strength):
    with pytest.raises(TypeError, match=r"strength=.* must be a finite number"):
        distort(pictures(1), seeded(), strength=strength)


def draw(count=1, generator=None, **options):
    return draw_affine(count, generator or seeded(), **options)


def test_one_picture_alone_is_distorted_too():
    images = pictures(1)
    assert torch.equal(distort(images[0], seeded()), distort(images, seeded())[0])


@pytest.mark.parametrize("shape", [(), (28,), (28, 28), (5, 28, 28), (2, 3, 28, 28), (2, 1, 28, 14), (0, 1, 28, 28)])
def test_pictures_of_another_shape_are_named(shape):
    """[5, 28, 28] could be one picture of five channels, and would be distorted as one."""
    with pytest.raises(
        ValueError, match=r"images has the shape .*; it must be \[\.\.\., 1, H, H\], square and not empty"
    ):
        distort(torch.zeros(shape), seeded())


def test_pictures_of_another_type_are_named():
    for wrong in NO_TENSOR:
        with pytest.raises(TypeError, match=r"images=.* must be a tensor"):
            distort(wrong, seeded())
    with pytest.raises(ValueError, match=r"images has the dtype torch.uint8"):
        distort(pictures(1).to(torch.uint8), seeded())


def test_generators_and_counts_that_cannot_be_are_named():
    for wrong in NO_GENERATOR:
        with pytest.raises(TypeError, match=r"generator=.* must be a torch.Generator"):
            distort(pictures(1), wrong)
        with pytest.raises(TypeError, match=r"generator=.* must be a torch.Generator"):
            draw_affine(1, wrong)
    with pytest.raises(ValueError, match="generator is on cuda, and must be on cpu"):
        distort(pictures(1), Elsewhere())
    for wrong in NO_WHOLE_NUMBER:
        with pytest.raises(TypeError, match=r"count=.* must be a whole number"):
            draw(wrong)
    with pytest.raises(ValueError, match="count=0 must be"):
        draw(0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images", torch.zeros(2, 1, 28, 14)),
        ("images", torch.zeros(2, 3, 28, 28)),
        ("images", torch.zeros(2, 1, 28, 28).double()),
        ("matrix", torch.zeros(1, 2, 2)),
        ("matrix", torch.zeros(2, 2, 3)),
        ("shift", torch.zeros(2)),
        ("shift", torch.zeros(2, 2, dtype=torch.int64)),
    ],
)
def test_maps_that_do_not_fit_the_pictures_are_named(name, value):
    right = {"images": torch.zeros(2, 1, 28, 28), "matrix": torch.zeros(2, 2, 2), "shift": torch.zeros(2, 2)}
    with pytest.raises(ValueError, match=" has the "):
        warp(**{**right, name: value})
