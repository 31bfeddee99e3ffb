r"""Random affine distortions: drawings by a few people become as varied as drawings by many people.

A drawing is turned, sheared, stretched and moved at random, within the ranges of Koch, Zemel & Salakhutdinov 2015
("Siamese neural networks for one-shot image recognition", section 3.2). A point p is measured from the middle of the
picture, with x to the right and y down:

    p ↦ R(θ) · [1 tan ρ_x; tan ρ_y 1] · diag(s_x, s_y) · p + t

Here θ is in ±10°, each ρ is in ±0.3, each s is in 0.8 … 1.2, and each component of t is in ±2 pixels of a drawing that
is 105 pixels wide. Each of these seven numbers is left out half of the time. The paper gives ρ no unit; here it is an
angle in radians.

Two more kinds, which the paper does not have, are off by default. `elastic` bends a drawing by a smooth random field
(Simard, Steinkraus & Platt 2003), and `strokes` makes its strokes thicker or thinner.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import arguments

ROTATION = 10.0  # degrees
SHEAR = 0.3  # radians
STRETCH = 0.2  # a factor in 1 ± 0.2
SHIFT = 2 / 105  # widths of the picture
LARGEST = 4.0  # strength: beyond it, a picture could shrink to nothing
CHANCE = 0.5  # that one of the seven numbers is used
BEND = 0.03  # widths of the picture: the standard deviation of a knot's shift
KNOTS = 5  # along each side, the outer ones in the corners; between them the field is smooth
PEN = 1 / 56  # widths of the picture: how far strokes grow or shrink on each side at the most


def distort(
    images: Tensor, generator: torch.Generator, *, strength: float = 1.0, elastic: float = 0.0, strokes: float = 0.0
) -> Tensor:
    """Distort each picture at random, independently of the others.

    Args:
        images: square pictures [..., 1, H, H] float, 0 = paper. What comes in from outside the picture is paper too.
        generator: source of randomness, on the device of the images.
        strength: a factor on all the paper's ranges, in 0 … 4; 1 gives the paper's ranges.
        elastic: how much the drawing is bent, in 0 … 4; at 1, the knots of the field move by 3 % of the width.
        strokes: how much thicker or thinner strokes become, in 0 … 1; at 1, each edge moves by up to 1/56 of the width.

    Returns:
        Pictures of the same shape, on the same device.

    Raises:
        TypeError: `images` is no tensor, `generator` is no generator, or one of the three is no number.
        ValueError: the images are not of that shape or not floating-point, the generator is on another device, or one
            of the three is out of its range.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"images={arguments.shown(images)} must be a tensor of shape [..., 1, H, H]")
    *_, channels, height, width = 0, 0, 0, *images.shape
    if channels != 1 or height != width or not images.numel():
        raise ValueError(f"images has the shape {list(images.shape)}; it must be [..., 1, H, H], square and not empty")
    arguments.generator(generator, images.device)
    arguments.real(least=0, most=LARGEST, elastic=elastic)
    arguments.real(least=0, most=1, strokes=strokes)
    pictures = images.reshape(-1, 1, height, width)
    matrix, shift = draw_affine(len(pictures), generator, strength=strength)
    field = draw_field(len(pictures), height, generator, strength=elastic).to(images.dtype) if elastic else None
    if strokes:
        amount = strokes * (2 * torch.rand(len(pictures), generator=generator, device=images.device) - 1)
        pictures = thicken(pictures, amount.to(images.dtype))
    return warp(pictures, matrix.to(images.dtype), shift.to(images.dtype), field).view(images.shape)


def draw_affine(count: int, generator: torch.Generator, *, strength: float = 1.0) -> tuple[Tensor, Tensor]:
    """Draw B = `count` random maps p ↦ matrix · p + shift.

    Returns:
        The matrices [B, 2, 2], and the shifts [B, 2] in widths of the picture.

    Raises:
        TypeError: `count` is no whole number, `generator` is no generator, or `strength` is no number.
        ValueError: `count` is less than 1, or `strength` is outside 0 … 4.
    """
    arguments.whole(count=count)
    arguments.generator(generator)
    arguments.real(least=0, most=LARGEST, strength=strength)
    amount, chance = torch.rand(2, 7, count, generator=generator, device=generator.device)
    amount = strength * (2 * amount - 1) * (chance < CHANCE)  # in -1 … 1, or 0
    angle = math.radians(ROTATION) * amount[0]
    shear_x, shear_y = (SHEAR * amount[1:3]).tan()
    stretch_x, stretch_y = 1 + STRETCH * amount[3:5]
    rotate = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    rest = torch.stack([stretch_x, shear_x * stretch_y, shear_y * stretch_x, stretch_y], 1).view(-1, 2, 2)
    return rotate @ rest, SHIFT * amount[5:7].T


def draw_field(count: int, side: int, generator: torch.Generator, *, strength: float = 1.0) -> Tensor:
    """Draw B = `count` smooth random fields of shifts, in widths of the picture: [B, side, side, 2].

    Random shifts at 5 × 5 knots are interpolated bicubically.

    Raises:
        TypeError: `count` or `side` is no whole number, `generator` is no generator, or `strength` is no number.
        ValueError: `count` or `side` is less than 1, or `strength` is outside 0 … 4.
    """
    arguments.whole(count=count, side=side)
    arguments.generator(generator)
    arguments.real(least=0, most=LARGEST, strength=strength)
    knots = torch.randn(2 * count, KNOTS, KNOTS, generator=generator, device=generator.device) * BEND * strength
    smooth = _between_knots(side, generator.device)
    return (smooth @ knots @ smooth.T).view(count, 2, side, side).permute(0, 2, 3, 1)


def _between_knots(side: int, device: torch.device) -> Tensor:
    """Return the matrix [side, KNOTS] that interpolates values at the knots for each pixel, by cubic convolution.

    It is Keys' kernel with a = −1/2 (1981). Beyond the outer knots, their values go on.
    """
    place = torch.linspace(0, KNOTS - 1, side, device=device)
    far = (place[:, None] - torch.arange(-1, KNOTS + 1, device=device)).abs()  # [side, KNOTS + 2]
    near = (1.5 * far - 2.5) * far.square() + 1
    beyond = ((-0.5 * far + 2.5) * far - 4) * far + 2
    weight = torch.where(far <= 1, near, torch.where(far < 2, beyond, 0))
    inner = weight[:, 1:-1].clone()
    inner[:, 0] += weight[:, 0]
    inner[:, -1] += weight[:, -1]
    return inner


def thicken(images: Tensor, amount: Tensor) -> Tensor:
    """Make the strokes of images [B, 1, H, H] thicker (amount > 0) or thinner (amount < 0).

    At 1, each pixel becomes the darkest within 1/56 of the width, or at least within a pixel; at −1, the lightest; and
    in between, a mixture with the pixel itself (a dilation or an erosion, in words of image processing).

    Args:
        images: square pictures in [0, 1], 0 = paper.
        amount: [B], each in −1 … 1.

    Returns:
        Pictures [B, 1, H, H].

    Raises:
        TypeError: one of the two is no tensor.
        ValueError: their shapes do not fit one another, or not both are floating-point numbers of one precision.
    """
    arguments.shapes(images=(images, "B 1 H H"), amount=(amount, "B"))
    arguments.floats(images=images, amount=amount)
    reach = max(1, round(PEN * images.shape[-1]))
    amount = amount.view(-1, 1, 1, 1)
    sign = torch.where(amount < 0, -1.0, 1.0)
    extreme = sign * F.max_pool2d(sign * images, 2 * reach + 1, stride=1, padding=reach)
    return images + amount.abs() * (extreme - images)


def warp(images: Tensor, matrix: Tensor, shift: Tensor, field: Tensor | None = None) -> Tensor:
    """Move the ink of images [B, 1, H, H] from each point p to matrix · p + shift.

    Args:
        images: square pictures, 0 = paper. They are interpolated bilinearly, and surrounded by paper.
        matrix: [B, 2, 2]. Each can be inverted.
        shift: [B, 2], in widths of the picture.
        field: [B, H, H, 2], in widths of the picture: by how much further each pixel looks for its ink.

    Returns:
        Pictures [B, 1, H, H].

    Raises:
        TypeError: one of them is no tensor.
        ValueError: their shapes do not fit one another, or not all are floating-point numbers of one precision.
    """
    given = {"images": (images, "B 1 H H"), "matrix": (matrix, "B 2 2"), "shift": (shift, "B 2")}
    if field is not None:
        given["field"] = (field, "B H H 2")
    arguments.shapes(**given)
    arguments.floats(**{name: value for name, (value, _axes) in given.items()})
    # Each new pixel is looked up at the point where its ink came from, so the map is inverted. The unit of the grid is
    # half a width.
    (a, b), (c, d) = matrix.permute(1, 2, 0)
    inverse = torch.stack([d, -b, -c, a], 1).view(-1, 2, 2) / (a * d - b * c)[:, None, None]
    theta = torch.cat([inverse, -inverse @ (2 * shift)[:, :, None]], 2)  # [B, 2, 3]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    if field is not None:
        grid = grid + 2 * field
    return F.grid_sample(images, grid, align_corners=False)
