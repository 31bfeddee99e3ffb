"""Glyphs: invented handwriting, so that every lesson runs without a network and without data.

The model simplifies that of Lake et al. 2015 ("Human-level concept learning through probabilistic program induction",
Science 350). An alphabet has a taste: it has places where its strokes like to start, turn and stop, and it is more or
less square, round, bent, cursive, joined and busy. A character is a plan in that taste: one to four strokes that pass
through some of the places. A drawing is the result when a person carries out the plan: the places slip, the strokes
come loose from each other, and the whole is zoomed, stretched, slanted and shifted, partly by a habit that the person
keeps in the whole alphabet.

Lengths are in widths of the paper, with x to the right and y down. The numbers below were chosen by comparison with
Omniglot's background set: with its pen, its amount of ink, the size of its characters, the spread between its drawings,
and how well a small network that was trained on glyphs tells its characters apart. Omniglot's evaluation set was not
used for this, and no glyph contains a drawing of Omniglot.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from .. import arguments
from .characters import Characters

SIZE = 28  # pixels
FINE = 3  # dots per pixel along each side: the pen moves on a grid of 84 × 84 dots
PEN = 4  # the pen is a square of 4 × 4 dots, or 1.33 pixels; this matches Omniglot's pen of 5 pixels in 105
COLUMNS, ROWS = 3, 4  # A = 12 places
STROKES = 4  # S, the largest number of strokes in a character
POINTS = 5  # P, the largest number of places in a stroke
ATTRIBUTES = (  # of a character, as `draw_described` returns them
    "strokes",  # how many
    "pieces",  # how many, in all strokes
    "length",  # of all pieces, straight from place to place, in widths of the paper
    "round",  # the share of the pieces in strokes that turn on a smooth curve
    "bent",  # the mean bulge of a piece, either way, in lengths of the piece
    "level",  # the mean of cos 2θ, weighted by length, for a piece at the angle θ: 1 if all are level, −1 if upright
    "falling",  # the mean of sin 2θ: 1 if all fall to the right at 45°
    "joints",  # how often a place is visited again
    "width",  # from the leftmost place that is visited to the rightmost
    "height",
    "start x",  # where the first stroke starts; 0 is the middle of the paper
    "start y",
    "middle x",  # the mean of the pieces' middles, weighted by length
    "middle y",
)
STEPS = 40  # dots in a piece, which leads from one place to the next; enough dots to leave no gap


class Plan(NamedTuple):
    """The plans of an alphabet's C characters, before a person draws them."""

    places: Tensor  # [C, A, 2]: where the places are; 0 is the middle of the paper
    route: Tensor  # [C, S, P] int64: the places that each stroke visits
    pieces: Tensor  # [C, S, P-1] bool: whether the piece exists; some strokes are shorter than P, and some do not exist
    roundness: Tensor  # [C, S]: 0 where a stroke turns at corners, 1 where it turns on a smooth curve
    bend: Tensor  # [C, S, P-1]: how far a piece bulges sideways, in lengths of the piece


def draw(*, alphabets: int = 30, characters: int = 30, drawings: int = 20, seed: int = 0) -> Characters:
    """Invent alphabets and draw their characters. The same arguments give the same drawings.

    Every seed invents its own alphabets, so that two seeds share no character: train on `draw(seed=0)` and test on
    `draw(seed=1)`. With the same seed, a larger number of alphabets begins with the alphabets of a smaller number.

    Args:
        alphabets: the number of alphabets, each with a taste of its own.
        characters: the number of characters in each alphabet, so that C = alphabets * characters.
        drawings: D, the number of drawings of each character. Person d of an alphabet makes drawing d.
        seed: the seed of all randomness, at least 0; the global generator is not used.

    Returns:
        Characters with images uint8 [C, D, 28, 28], 0 = paper and 255 = ink, ordered by alphabet.

    Raises:
        TypeError: one of the arguments is no whole number.
        ValueError: `alphabets`, `characters` or `drawings` is less than 1, or `seed` is less than 0.
    """
    return draw_described(alphabets=alphabets, characters=characters, drawings=drawings, seed=seed)[0]


def draw_described(
    *, alphabets: int = 30, characters: int = 30, drawings: int = 20, seed: int = 0
) -> tuple[Characters, Tensor]:
    """Return the drawings of `draw`, and the attributes of the characters [C, 14], which need no drawing.

    They are those of ATTRIBUTES, in this order. Arguments and errors are as in `draw`.
    """
    arguments.whole(alphabets=alphabets, characters=characters, drawings=drawings)
    arguments.whole(least=0, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    images, attributes = [], []
    for _ in range(alphabets):
        plan = _invent(characters, generator)
        images.append(_write(plan, drawings, generator))
        attributes.append(_describe(plan))
    drawn = Characters(
        images=torch.cat(images),
        alphabet=torch.arange(alphabets).repeat_interleave(characters),
        names=tuple(f"glyphs {i + 1}" for i in range(alphabets)),
        source="glyphs",
    )
    return drawn, torch.cat(attributes)


def _describe(plan: Plan) -> Tensor:
    """Return the attributes of planned characters, in the order of ATTRIBUTES: [C, 14]."""
    points = _visit(plan.places, plan.route)  # [C, S, P, 2]
    pieces = plan.pieces.float()
    step = points.diff(dim=2)  # [C, S, P-1, 2]
    length = step.norm(dim=3) * pieces
    angle = 2 * torch.atan2(step[..., 1], step[..., 0])

    def mean(values: Tensor, weight: Tensor) -> Tensor:
        return (values * weight).sum((1, 2)) / weight.sum((1, 2))

    visited = torch.cat([pieces[..., :1], pieces], 2)  # [C, S, P]: a stroke with a piece has a first place
    times = torch.zeros(plan.places.shape[:2]).scatter_add_(1, plan.route.flatten(1), visited.flatten(1))
    inside = visited[..., None] > 0
    low = torch.where(inside, points, torch.inf).amin((1, 2))
    high = torch.where(inside, points, -torch.inf).amax((1, 2))
    middle = (points[:, :, 1:] + points[:, :, :-1]) / 2
    found = [
        plan.pieces.any(2).sum(1),
        pieces.sum((1, 2)),
        length.sum((1, 2)),
        mean((plan.roundness > 0.5).float()[..., None].expand_as(pieces), pieces),
        mean(plan.bend.abs(), pieces),
        mean(angle.cos(), length),
        mean(angle.sin(), length),
        (times - 1).clamp(min=0).sum(1),
        *(high - low).unbind(1),
        *points[:, 0, 0].unbind(1),
        *(mean(middle[..., i], length) for i in range(2)),
    ]
    return torch.stack([values.float() for values in found], 1)


def _invent(characters: int, generator: torch.Generator) -> Plan:
    """Plan the characters of one alphabet."""
    C, S, P = characters, STROKES, POINTS
    rand, randn = partial(torch.rand, generator=generator), partial(torch.randn, generator=generator)
    square, round_, bent, cursive, joined, busy = rand(6)  # the alphabet's taste

    # The places are a distorted grid. The alphabet prefers some places to others, and some moves between places.
    grid = torch.cartesian_prod(torch.linspace(-0.5, 0.5, COLUMNS), torch.linspace(-0.5, 0.5, ROWS))  # [A, 2]
    places = (grid + 0.06 * randn(*grid.shape)) * torch.tensor([0.54, 0.62]) * torch.exp(0.15 * randn(2))
    way = (places[:, None] - places).abs()  # [A, A, 2]
    length = way.norm(dim=2) + 1e-9
    diagonal = way.amin(2) / length  # 0 for a move that is horizontal or vertical
    start = torch.exp(0.6 * randn(len(grid)))  # [A]
    move = torch.exp(0.6 * randn(*length.shape) - 0.8 * (length / 0.33).log() ** 2 - (1.5 + 6 * square) * diagonal)

    # A busy alphabet has more strokes; a cursive one has fewer and longer ones. A character of one stroke turns at
    # least once.
    strokes = (1.2 + 1.9 * busy - 0.4 * cursive + 0.6 * randn(C, 1)).round().clamp(1, S)  # [C, 1]
    points = (2 + (0.8 + busy) * cursive + 0.6 * randn(C, S)).round().clamp(2, P)  # [C, S]
    points = torch.where(strokes == 1, points.clamp(min=3), points)
    pieces = (torch.arange(S) < strokes)[..., None] & (torch.arange(1, P) < points[..., None])

    # Each stroke walks from place to place and prefers new places. A joined stroke starts at a place already visited.
    joins = rand(C, S) < joined
    joins[:, 0] = False
    visits = torch.zeros(C, len(grid))
    here = torch.zeros(C, dtype=torch.int64)
    route = []
    for s in range(S):
        for p in range(P):
            liked = (move[here] if p else start) * 0.1**visits
            weight = liked if p else torch.where(joins[:, s, None], visits, liked)
            there = (weight / -rand(*weight.shape).log()).argmax(1)  # place a has the chance weight[a] / weight.sum()
            goes = pieces[:, s, max(p - 1, 0)]  # strokes without this piece stay where they are
            here = torch.where(goes, there, here)
            visits[torch.arange(C), here] += goes
            route.append(here)
    route = torch.stack(route, 1).view(C, S, P)

    curved = rand(C, S) < 0.1 + 0.8 * round_
    roundness = torch.where(curved, 0.7 + 0.6 * rand(C, S), 0.15 * rand(C, S))
    side = (rand(C, S, 1) - 0.5).sign() * (0.7 - rand(C, S, P - 1)).sign()  # mostly the same side all along a stroke
    bend = torch.where(rand(C, S, P - 1) < 0.05 + 0.6 * bent, side * (0.1 + 0.5 * rand(C, S, P - 1)), 0)

    # Characters are in the middle of the paper and mostly of one size, but small ones stay somewhat small.
    places = places + 0.035 * randn(C, *places.shape)  # [C, A, 2]
    ink = _trace(_curves(_visit(places, route), roundness, bend))  # [C, S, P-1, STEPS, 2]
    low = torch.where(pieces[..., None, None], ink, torch.inf).amin((1, 2, 3))  # [C, 2]
    high = torch.where(pieces[..., None, None], ink, -torch.inf).amax((1, 2, 3))
    size = 0.59 * torch.exp(0.12 * randn(1) + 0.08 * randn(C))  # [C]
    zoom = (size / (high - low).amax(1)) ** 0.7
    places = (places - (low + high)[:, None] / 2) * zoom[:, None, None]
    return Plan(places, route, pieces, roundness, bend)


def _write(plan: Plan, drawings: int, generator: torch.Generator) -> Tensor:
    """Draw each planned character by D people: [C, D, 28, 28] uint8."""
    C, D, S = len(plan.places), drawings, STROKES
    randn = partial(torch.randn, generator=generator)

    def hand(n: int) -> Tensor:
        """Draw n numbers per drawing: a person's habit in the whole alphabet plus a whim, together of variance 1."""
        return 0.6 * randn(1, D, 1, 1, n) + 0.8 * randn(C, D, 1, 1, n)

    # The places slip (strokes that meet at a place still meet), each stroke slips as a whole, and the pieces bend.
    care = torch.exp(0.4 * hand(1))  # [C, D, 1, 1, 1]
    places = plan.places[:, None] + 0.024 * care[..., 0] * randn(C, D, *plan.places.shape[1:])  # [C, D, A, 2]
    points = _visit(places, plan.route[:, None]) + 0.025 * care * randn(C, D, S, 1, 2)  # [C, D, S, P, 2]
    bend = plan.bend[:, None] + 0.08 * care[..., 0] * randn(C, D, *plan.bend.shape[1:])
    # The hand zooms, stretches, slants and shifts the whole.
    points = points * torch.exp(0.11 * hand(1) + 0.05 * hand(2)) + 0.08 * hand(2) * points.flip(-1)
    points = points + 0.49 + 0.038 * hand(2)

    curves = _curves(points, plan.roundness[:, None], bend)
    exists = plan.pieces[:, None].expand(C, D, -1, -1)
    paper = torch.arange(C * D).view(C, D, 1, 1).expand_as(exists)
    return _render(_trace(curves[exists]), paper[exists], C * D).view(C, D, SIZE, SIZE)


def _visit(places: Tensor, route: Tensor) -> Tensor:
    """Return the points of strokes [..., S, P, 2]: the places [..., A, 2] that the route [..., S, P] visits."""
    index = route.flatten(-2)[..., None].expand(*places.shape[:-2], -1, 2)
    return places.gather(-2, index).unflatten(-2, route.shape[-2:])


def _curves(points: Tensor, roundness: Tensor, bend: Tensor) -> Tensor:
    """Return each piece as a cubic Hermite curve, given by its two ends and its directions at them.

    At a place, a round stroke has the mean direction of the pieces on either side (Catmull-Rom), and a square stroke
    has the direction of each piece. A bend turns the directions at the two ends of a piece apart; a bend alone makes
    the piece a parabola.

    Args:
        points: the places that the strokes visit [..., S, P, 2].
        roundness: [..., S], as in `Plan`.
        bend: [..., S, P-1], as in `Plan`.

    Returns:
        [..., S, P-1, 4, 2]: the beginning, the direction there, the end, and the direction there.
    """
    piece = points.diff(dim=-2)  # [..., S, P-1, 2]
    first, inner, last = piece[..., :1, :], (piece[..., 1:, :] + piece[..., :-1, :]) / 2, piece[..., -1:, :]
    smooth = torch.cat([first, inner, last], dim=-2)  # [..., S, P, 2]
    roundness = roundness[..., None, None]
    sideways = 4 * bend[..., None] * torch.stack([-piece[..., 1], piece[..., 0]], dim=-1)
    leave = piece.lerp(smooth[..., :-1, :], roundness) + sideways
    arrive = piece.lerp(smooth[..., 1:, :], roundness) - sideways
    return torch.stack([points[..., :-1, :], leave, points[..., 1:, :], arrive], dim=-2)


def _trace(curves: Tensor) -> Tensor:
    """Return dots of ink along cubic Hermite curves [..., 4, 2]: [..., STEPS, 2]."""
    u = torch.linspace(0, 1, STEPS)[:, None]
    v = 1 - u
    begin, leave, end, arrive = curves[..., None, :].unbind(-3)  # [..., 1, 2]
    return (1 + 2 * u) * v**2 * begin + u * v**2 * leave + (1 + 2 * v) * u**2 * end - v * u**2 * arrive


def _render(ink: Tensor, paper: Tensor, papers: int) -> Tensor:
    """Draw pieces of ink on sheets of paper: [papers, 28, 28] uint8. Ink beyond the edge of a paper is lost.

    Args:
        ink: the dots of n pieces [n, STEPS, 2]; the paper is the square from 0 to 1.
        paper: the number of the paper of each piece [n] int64.
        papers: the number of papers.
    """
    side = FINE * SIZE
    x, y = (ink * side - PEN / 2).round().long().unbind(-1)  # the pen's corner
    on = (x >= 0) & (x <= side - PEN) & (y >= 0) & (y <= side - PEN)
    dots = torch.zeros(papers * side * side, dtype=torch.uint8)
    dots[(paper[:, None] * side * side + y * side + x)[on]] = 1
    for step in (1, 2, side, 2 * side):  # ink grows to 2 dots wide, then 4, then 2 dots high, then 4: the pen's size
        dots[step:] |= dots[:-step].clone()
    dots = dots.view(papers, side, side)
    covered = sum(dots[:, i::FINE, j::FINE] for i in range(FINE) for j in range(FINE))  # how many of a pixel's 9 dots
    return (covered * (255 / FINE**2)).round().to(torch.uint8)
