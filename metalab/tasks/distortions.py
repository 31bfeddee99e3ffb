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

ROTATION = 10.0  # degrees
SHEAR = 0.3  # radians
STRETCH = 0.2  # a factor in 1 ± 0.2
SHIFT = 2 / 105  # widths of the picture
CHANCE = 0.5  # that one of the seven numbers is used


def distort(images: Tensor, generator: torch.Generator, *, strength: float = 1.0) -> Tensor:
    """Distort each picture at random, independently of the others.

    Args:
        images: pictures [..., 1, H, W] float, 0 = paper. What comes in from outside the picture is paper too.
        generator: source of randomness, on the device of the images.
        strength: a factor on all the ranges, in 0 … 4; 1 gives the paper's ranges.

    Returns:
        Pictures of the same shape, on the same device.

    Raises:
        ValueError: `strength` is outside 0 … 4.
    """
    if not 0 <= strength <= 4:
        raise ValueError(f"strength={strength} must be in 0 … 4: beyond 4, a picture could shrink to nothing")
    pictures = images.flatten(0, -4)  # [B, 1, H, W]
    matrix, shift = draw_affine(len(pictures), generator, strength=strength)
    return warp(pictures, matrix.to(images.dtype), shift.to(images.dtype)).view(images.shape)


def draw_affine(count: int, generator: torch.Generator, *, strength: float = 1.0) -> tuple[Tensor, Tensor]:
    """Draw B = `count` random maps p ↦ matrix · p + shift.

    Returns:
        The matrices [B, 2, 2], and the shifts [B, 2] in widths of the picture.
    """
    amount, chance = torch.rand(2, 7, count, generator=generator, device=generator.device)
    amount = strength * (2 * amount - 1) * (chance < CHANCE)  # in -1 … 1, or 0
    angle = math.radians(ROTATION) * amount[0]
    shear_x, shear_y = (SHEAR * amount[1:3]).tan()
    stretch_x, stretch_y = 1 + STRETCH * amount[3:5]
    rotate = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    rest = torch.stack([stretch_x, shear_x * stretch_y, shear_y * stretch_x, stretch_y], 1).view(-1, 2, 2)
    return rotate @ rest, SHIFT * amount[5:7].T


def warp(images: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """Move the ink of images [B, 1, H, W] from each point p to matrix · p + shift.

    Args:
        images: pictures, 0 = paper. They are interpolated bilinearly, and surrounded by paper.
        matrix: [B, 2, 2].
        shift: [B, 2], in widths of the picture.

    Returns:
        Pictures [B, 1, H, W].
    """
    # Each new pixel is looked up at the point where its ink came from, so the map is inverted. The unit of the grid is
    # half a width.
    (a, b), (c, d) = matrix.permute(1, 2, 0)
    inverse = torch.stack([d, -b, -c, a], 1).view(-1, 2, 2) / (a * d - b * c)[:, None, None]
    theta = torch.cat([inverse, -inverse @ (2 * shift)[:, :, None]], 2)  # [B, 2, 3]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
