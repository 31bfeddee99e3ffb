r"""Random affine distortions: drawings by a few people become as varied as drawings by many people.

A drawing is turned, sheared, stretched and moved at random, within the ranges of Koch, Zemel & Salakhutdinov 2015
("Siamese neural networks for one-shot image recognition", section 3.2). A point p is measured from the middle of the
picture, with x to the right and y down:

    p ↦ R(θ) · [1 tan ρ_x; tan ρ_y 1] · diag(s_x, s_y) · p + t

Here θ is in ±10°, each ρ is in ±0.3, each s is in 0.8 … 1.2, and each component of t is in ±2 pixels of a drawing that
is 105 pixels wide. Each of these seven numbers is left out half of the time. The paper gives ρ no unit; here it is an
angle in radians.
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


def distort(images: Tensor, generator: torch.Generator, *, strength: float = 1.0) -> Tensor:
    """Distort each picture at random, independently of the others.

    Args:
        images: square pictures [..., 1, H, H] float, 0 = paper. What comes in from outside the picture is paper too.
        generator: source of randomness, on the device of the images.
        strength: a factor on all the ranges, in 0 … 4; 1 gives the paper's ranges.

    Returns:
        Pictures of the same shape, on the same device.

    Raises:
        TypeError: `images` is no tensor, `generator` is no generator, or `strength` is no number.
        ValueError: the images are not of that shape or not floating-point, the generator is on another device, or
            `strength` is outside 0 … 4.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"images={arguments.shown(images)} must be a tensor of shape [..., 1, H, H]")
    *_, channels, height, width = 0, 0, 0, *images.shape
    if channels != 1 or height != width or not images.numel():
        raise ValueError(f"images has the shape {list(images.shape)}; it must be [..., 1, H, H], square and not empty")
    arguments.generator(generator, images.device)
    pictures = images.reshape(-1, 1, height, width)
    matrix, shift = draw_affine(len(pictures), generator, strength=strength)
    return warp(pictures, matrix.to(images.dtype), shift.to(images.dtype)).view(images.shape)


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


def warp(images: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """Move the ink of images [B, 1, H, H] from each point p to matrix · p + shift.

    Args:
        images: square pictures, 0 = paper. They are interpolated bilinearly, and surrounded by paper.
        matrix: [B, 2, 2]. Each can be inverted.
        shift: [B, 2], in widths of the picture.

    Returns:
        Pictures [B, 1, H, H].

    Raises:
        TypeError: one of the three is no tensor.
        ValueError: their shapes do not fit one another, or not all are floating-point numbers of one precision.
    """
    arguments.shapes(images=(images, "B 1 H H"), matrix=(matrix, "B 2 2"), shift=(shift, "B 2"))
    arguments.floats(images=images, matrix=matrix, shift=shift)
    # Each new pixel is looked up at the point where its ink came from, so the map is inverted. The unit of the grid is
    # half a width.
    (a, b), (c, d) = matrix.permute(1, 2, 0)
    inverse = torch.stack([d, -b, -c, a], 1).view(-1, 2, 2) / (a * d - b * c)[:, None, None]
    theta = torch.cat([inverse, -inverse @ (2 * shift)[:, :, None]], 2)  # [B, 2, 3]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
