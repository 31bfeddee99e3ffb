r"""Random affine distortions: a training set of one person's drawings becomes one of many people's.

A drawing is turned, sheared, stretched and moved, each by chance, with the ranges of Koch, Zemel & Salakhutdinov 2015
("Siamese neural networks for one-shot image recognition", section 3.2):

    p ↦ R(θ) · [1 tan ρ_x; tan ρ_y 1] · diag(s_x, s_y) · p + t        p from the picture's middle, x right and y down

θ in ±10°, ρ in ±0.3, s in 0.8 … 1.2, t in ±2 pixels of a drawing of 105; each of the seven is left out half the time.
The paper gives ρ no unit: here it is an angle in radians.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ROTATION = 10.0  # degrees
SHEAR = 0.3  # radians
STRETCH = 0.2
SHIFT = 2 / 105  # widths of the picture
CHANCE = 0.5


def distort(images: Tensor, generator: torch.Generator, *, strength: float = 1.0) -> Tensor:
    """Each picture under a distortion of its own.

    Args:
        images: [..., 1, H, W] float, 0 = paper: what comes in from outside is paper too.
        generator: source of randomness, on the device of the images.
        strength: factor on all ranges, 0 … 4; 1 is the paper's.

    Returns:
        Pictures of the same shape, on the same device.

    Raises:
        ValueError: strength is out of its range.
    """
    if not 0 <= strength <= 4:
        raise ValueError(f"strength={strength} must be in 0 … 4: beyond, a picture could shrink to nothing")
    pictures = images.flatten(0, -4)  # [B, 1, H, W]
    matrix, shift = draw_affine(len(pictures), generator, strength=strength)
    return warp(pictures, matrix.to(images.dtype), shift.to(images.dtype)).view(images.shape)


def draw_affine(count: int, generator: torch.Generator, *, strength: float = 1.0) -> tuple[Tensor, Tensor]:
    """`count` random maps p ↦ matrix · p + shift: [B, 2, 2], and [B, 2] in widths of the picture."""
    amount, chance = torch.rand(2, 7, count, generator=generator, device=generator.device)
    amount = strength * (2 * amount - 1) * (chance < CHANCE)  # in -1 … 1, or 0
    angle = math.radians(ROTATION) * amount[0]
    shear_x, shear_y = (SHEAR * amount[1:3]).tan()
    stretch_x, stretch_y = 1 + STRETCH * amount[3:5]
    rotate = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    rest = torch.stack([stretch_x, shear_x * stretch_y, shear_y * stretch_x, stretch_y], 1).view(-1, 2, 2)
    return rotate @ rest, SHIFT * amount[5:7].T


def warp(images: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """Move the ink of images [B, 1, H, W] at p to matrix · p + shift, shift in widths; bilinear, paper around."""
    # A new pixel asks where it came from, so the map is inverted; the grid's own unit is half a width.
    (a, b), (c, d) = matrix.permute(1, 2, 0)
    inverse = torch.stack([d, -b, -c, a], 1).view(-1, 2, 2) / (a * d - b * c)[:, None, None]
    theta = torch.cat([inverse, -inverse @ (2 * shift)[:, :, None]], 2)  # [B, 2, 3]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
