"""The figures of the lesson on second- and first-order MAML, its playground in the plane, and its steering panel."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeVar

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ...analysis.paired import MARGIN
from ...checkpoint import shipped
from ...learners.maml import MAML
from ...losses import mse
from ...nets import MLP, Params
from ...tasks import Episode, sine
from ..kit import steering
from ..kit.canvas import Canvas, size_of
from ..kit.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    TEXT,
    TITLE,
    VERMILION,
    Label,
    figure,
    finish,
    legend_of_all,
    plain,
    plural,
    smooth,
)
from ..kit.panels import Panel, slider
from ..kit.steering.view import View
from .evidence import Comparison

# The two lines can be told apart without colour: by their dash, and by their name where there is room for it.
ORDER_STYLES = {1: (VERMILION, "--", "first order"), 2: (BLUE, "-", "second order")}
ARROWS = {1: "1st", 2: "2nd"}

# The playground: MAML with two parameters, where everything can be seen

CENTRES = torch.tensor([[-1.2, -0.5], [0.3, 0.9], [1.1, -0.6]], dtype=torch.float64)  # each task's minimum
ANGLES = torch.tensor([-25.0, 10.0, 40.0], dtype=torch.float64).deg2rad()  # the direction of each task's valley
ALONG = torch.stack([ANGLES.cos(), ANGLES.sin()], 1)  # unit vectors [T, 2]
ACROSS = torch.stack([-ANGLES.sin(), ANGLES.cos()], 1)
TORCH = CENTRES, ALONG, ACROSS
NUMPY = tuple(each.numpy() for each in TORCH)
Array = TypeVar("Array", Tensor, np.ndarray)
VIEW = 3.8  # the picture shows −3.8 … 3.8 in both directions
REACH = 2.8  # the start lies within ±REACH, so that no arrow leaves the picture
ARROW = 0.9  # the length of an arrow
FAR = 30.0  # a walk that gets this far is given up
HIGH = 1e12  # a loss above this counts as this
DRAWN = {0.01: "≤ 0.01", 0.1: "0.1", 1.0: "1", 10.0: "10", 100.0: "100", 1000.0: "≥ 1,000"}  # losses, and their ticks
GRID = torch.linspace(-VIEW, VIEW, 96, dtype=torch.float64)  # where the map is computed, in both directions
BANDS = 10  # how many grey levels the map has
STRAIGHT, BENT = 0.0, 0.3
UPDATES = 40
NARROW = 640  # CSS pixels: on a narrower page the curve stands below the plane, and is so high with its labels:
NARROW_CURVE = 370
LARGEST = 380  # CSS pixels of the plane there
LEFT, TOP, BOTTOM, BELOW = 66, 38, 64, 120  # CSS pixels of the margins; the last one has a legend in it
LABEL = torch.tensor([0.35, 0.0])  # from the middle of a task's label to both ends of it, about
# Where the name of an arrow may stand, from its tip
AROUND = torch.tensor(
    [[far * math.cos(k * math.pi / 8), far * math.sin(k * math.pi / 8)] for far in (0.5, 0.8) for k in range(16)]
).double()
# Settings of the playground in which the first-order arrow points more than 90° away from the second-order one.
WRONG_WAY = {"inner_lr": 0.3, "outer_lr": 0.1, "steps": 1, "steepness": 5.0, "bend": STRAIGHT, "x": -0.4, "y": 1.6}


def way_in_words(angle: float) -> str:
    """Say what an angle between the two meta-gradients, in degrees, means for first order.

    Up to 90° a short step along the first-order meta-gradient makes the meta-loss smaller, and beyond 90° larger.
    """
    if angle > 105:
        return "first order walks the wrong way"
    if angle > 90:
        return "just beyond a right angle: first order climbs, though hardly"
    if angle > 75:
        return "nearly at right angles: first order descends, though hardly"
    return "both lead downhill"


@dataclass(frozen=True)
class Valleys:
    """Three tasks, each of which is a valley in the plane: L_t(θ) = ½ (u² + λ (w − b u²)²).

    u and w are θ's coordinates along and across task t's valley, measured from its minimum. Support and query loss are
    the same, as if a task had endless data. With b = 0, the Hessian is the same everywhere: 1 along and λ across.

    Parameters are tensors, or arrays of NumPy, which computes with so few numbers in a fraction of the time.

    Args:
        steepness: λ, the curvature across a valley.
        bend: b. If it is above 0, the valleys are bent and the loss is not convex.
    """

    steepness: float
    bend: float = STRAIGHT

    def loss(self, theta: Array) -> Array:
        """Return each task's loss at its parameters [..., T, 2]: [..., T]."""
        u, r = self._place(theta)
        return 0.5 * (u**2 + self.steepness * r**2)

    def gradient(self, theta: Array) -> Array:
        """Return each task's gradient at its parameters [..., T, 2]: [..., T, 2]."""
        u, r = self._place(theta)
        _, along, across = _constants(theta)
        slope = self.steepness * r
        return (u - 2 * self.bend * u * slope)[..., None] * along + slope[..., None] * across

    def hessian_vector(self, theta: Array, v: Array) -> Array:
        """Return each task's Hessian times its vector [..., T, 2]: [..., T, 2]."""
        u, r = self._place(theta)
        _, along, across = _constants(theta)
        v_u, v_w = (v * along).sum(-1), (v * across).sum(-1)
        mixed = -2 * self.bend * self.steepness * u
        of_u = (1 - 2 * self.bend * (self.steepness * r + u * mixed)) * v_u + mixed * v_w
        of_w = mixed * v_u + self.steepness * v_w
        return of_u[..., None] * along + of_w[..., None] * across

    def _place(self, theta: Array) -> tuple[Array, Array]:
        """Return how far along its valley θ lies, and how far from the valley's floor: [..., T] each."""
        centres, along, across = _constants(theta)
        offset = theta - centres
        u = (offset * along).sum(-1)
        return u, (offset * across).sum(-1) - self.bend * u**2

    def adapt(self, start: Array, inner_lr: float, steps: int) -> list[Array]:
        """Return the trajectory [θ_0, …, θ_K] of each task from one start [..., 2]: [..., T, 2] each."""
        trajectory = [start[..., None, :] + 0 * _constants(start)[0]]  # the same for each task
        for _ in range(steps):
            trajectory.append(trajectory[-1] - inner_lr * self.gradient(trajectory[-1]))
        return trajectory

    def rims(self, loss: float) -> Tensor:
        """Return the closed curve around each task's minimum on which its loss has this value: [T, points, 2]."""
        turn = torch.linspace(0, 2 * torch.pi, 61, dtype=torch.float64).unsqueeze(1)
        u = (2 * loss) ** 0.5 * turn.cos()
        w = (2 * loss / self.steepness) ** 0.5 * turn.sin() + self.bend * u**2
        return CENTRES.unsqueeze(1) + u * ALONG.unsqueeze(1) + w * ACROSS.unsqueeze(1)

    def meta_loss(self, start: Array, inner_lr: float, steps: int) -> Array:
        """Return F(θ), the mean over tasks of the loss after adaptation from `start` [..., 2]: [...]."""
        return self.loss(self.adapt(start, inner_lr, steps)[-1]).mean(-1)

    def meta_gradients(self, start: Array, inner_lr: float, steps: int) -> dict[int, Array]:
        """Return the meta-gradient at `start` [2] by order, 1 and 2: [2] each."""
        *trajectory, adapted = self.adapt(start, inner_lr, steps)
        v = first = self.gradient(adapted)
        for theta in reversed(trajectory):
            v = v - inner_lr * self.hessian_vector(theta, v)
        return {1: first.mean(-2), 2: v.mean(-2)}

    def walks(
        self, start: Tensor, inner_lr: float, steps: int, outer_lr: float, updates: int = UPDATES
    ) -> dict[int, Tensor]:
        """Return the path of `updates` steps along the meta-gradient by order: [updates + 1, 2], or shorter.

        A path ends early where it gets FAR away.
        """
        now = start.expand(2, 2).numpy()  # both orders go at once
        paths = [now]
        with np.errstate(all="ignore"):  # a path may run away
            for _ in range(updates):
                gradients = self.meta_gradients(now, inner_lr, steps)
                now = now - outer_lr * np.stack([gradients[1][0], gradients[2][1]])
                paths.append(now)
        found = {}
        for order, path in zip((1, 2), torch.from_numpy(np.stack(paths, 1)), strict=True):
            far = (~(path.abs().amax(1) < FAR)).nonzero()  # what is not a number is far, too
            found[order] = path[: int(far[0]) + 1] if len(far) else path
        return found

    def walk(
        self, start: Tensor, order: int, inner_lr: float, steps: int, outer_lr: float, updates: int = UPDATES
    ) -> Tensor:
        """Return the path of `walks` along the meta-gradient of one order."""
        return self.walks(start, inner_lr, steps, outer_lr, updates)[order]


def _constants(like: Array) -> tuple[Array, Array, Array]:
    """Return the tasks' minima, and the directions along and across their valleys: tensors or arrays [T, 2] each."""
    return TORCH if isinstance(like, Tensor) else NUMPY


def angle(a: Tensor, b: Tensor) -> float:
    """Return the angle between two vectors [2] in degrees, or nan if one of them has no direction."""
    a, b = direction(a), direction(b)
    return math.degrees(torch.atan2(a[0] * b[1] - a[1] * b[0], a @ b).abs().item())


def direction(vector: Tensor) -> Tensor:
    """Return the vector [2] at length 1; it has no direction, and becomes nan, if it is zero or not finite."""
    vector = vector / vector.abs().max()  # so that no square is too large
    return vector / vector.norm()


class PlaneCanvas(Canvas):
    """The playground's pictures, next to each other, or on a narrow page below each other, with room for all labels."""

    def fit(self, width: float, height: float, ratio: float = 1.0) -> None:
        """Draw the figure for a place of `width` × `height` CSS pixels; a narrow one becomes as high as is needed."""
        height = min(width, LARGEST + LEFT) + NARROW_CURVE if width < NARROW else height
        super().fit(width, height, ratio)
        place(self.figure)


def place(fig: Figure) -> None:
    """Give the playground's two axes their places: the plane is a square, so that angles look right."""
    width, height = size_of(fig)
    plane, curve = fig.axes
    if width < NARROW:
        side = min(width - LEFT - 14, LARGEST)
        boxes = (LEFT, height - TOP - side, side, side), (LEFT + 48, BELOW, side - 48, NARROW_CURVE - BELOW - 48)
    else:
        side = min(height - TOP - BOTTOM, 0.45 * (width - LEFT))
        begin = 2 * LEFT + side + 50
        boxes = (LEFT, height - TOP - side, side, side), (begin, BELOW, width - begin - 14, height - TOP - BELOW)
    for ax, (x, y, w, h) in zip((plane, curve), boxes, strict=True):
        ax.set_position((x / width, y / height, w / width, h / height))


class Plane:
    """The picture of the playground: the loss after adaptation as a map, and both meta-gradients with their paths.

    The picture is drawn once, and `update` moves only what depends on the settings.
    """

    def __init__(self) -> None:
        self.figure, (plane, self.curve) = figure(height=4.8, ncols=2)
        self.figure.set_layout_engine(None)
        place(self.figure)
        blank = torch.zeros(len(GRID), len(GRID)).numpy()
        view = (-VIEW, VIEW, -VIEW, VIEW)
        self.map = plane.imshow(blank, "Greys", origin="lower", extent=view, vmin=0, vmax=1.6, interpolation="nearest")
        self.rims = [plane.plot([], [], color=ORANGE, linewidth=1.2)[0] for _ in CENTRES]
        self.inner = [plane.plot([], [], ".-", color=BLACK, linewidth=0.9, markersize=4)[0] for _ in CENTRES]
        self.moving: list[Artist] = [self.map, *self.rims, *self.inner]
        for task, (x, y) in enumerate(CENTRES.tolist()):
            name = Label(x, y - 0.2, f"task {task + 1}", fontsize=TEXT, ha="center", va="bottom")
            self.moving.append(plane.add_artist(name))
        self.paths, self.arrows, self.tags, self.losses = {}, {}, {}, {}
        size = {"fontsize": TEXT, "ha": "center", "va": "center"}
        paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
        for order, (color, dash, name) in ORDER_STYLES.items():
            (self.paths[order],) = plane.plot([], [], dash, color=color, linewidth=2)
            arrow = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.012, "zorder": 3}
            self.arrows[order] = plane.quiver([0.0], [0.0], [0.0], [0.0], color=color, **arrow)
            self.tags[order] = plane.text(0, 0, ARROWS[order], color=color, weight="bold", bbox=paper, **size)
            (self.losses[order],) = self.curve.plot([], [], dash, color=color, linewidth=2, label=name)
        self.note = self.curve.add_artist(Label(1, min(DRAWN), fontsize=TEXT, va="bottom"))
        (self.start,) = plane.plot([], [], "o", color=BLACK, markersize=8)
        self.title = plane.add_artist(Label(0, VIEW + 0.1, fontsize=TITLE, ha="center", va="bottom"))
        for artists in (self.paths, self.arrows, self.tags, self.losses):
            self.moving += artists.values()
        self.moving += [self.start, self.title, self.note]
        finish(plane, "", "first parameter", "second parameter")
        plane.set(xlim=(-VIEW, VIEW), ylim=(-VIEW, VIEW), xticks=range(-3, 4), yticks=range(-3, 4))
        self.curve.set(yscale="log", xlim=(0, UPDATES), ylim=(0.8 * min(DRAWN), 1.25 * max(DRAWN)))
        finish(self.curve, "where each leads", "updates of the start", "loss after adaptation", legend=True)
        self.curve.set_yticks(list(DRAWN), list(DRAWN.values()))
        self.curve.minorticks_off()
        self.canvas = PlaneCanvas(self.figure, self.moving)

    def update(
        self, x: float, y: float, inner_lr: float, steps: int, outer_lr: float, steepness: float, bend: float
    ) -> str:
        """Show the picture for these settings, and return its description in words."""
        valleys = Valleys(steepness, bend)
        start = torch.tensor([x, y], dtype=torch.float64)
        gradients = valleys.meta_gradients(start, inner_lr, steps)
        adapted = torch.stack(valleys.adapt(start, inner_lr, steps), -2)  # [T, K + 1, 2]

        self.map.set_data(_grey_levels(inner_lr, steps, steepness, bend))
        for line, rim in zip(self.rims, valleys.rims(0.4), strict=True):
            line.set_data(*rim.T.numpy())
        for line, path in zip(self.inner, adapted, strict=True):
            line.set_data(*path.T.numpy())

        ends, gone = [], []
        for order, path in valleys.walks(start, inner_lr, steps, outer_lr).items():
            name = ORDER_STYLES[order][2]
            losses = valleys.meta_loss(path, inner_lr, steps).nan_to_num(HIGH).clamp(max=HIGH)
            leads = "leads"
            if len(path) <= UPDATES:
                leads = "runs away"
                gone.append(f"{name} runs away in\n{plural(len(path) - 1, 'update')}")
            ends.append(f"{name} {leads} from a loss of {_in_words(losses[0])} to {_in_words(losses[-1])}")
            self.paths[order].set_data(*path.T.numpy())
            self.losses[order].set_data(range(len(losses)), losses.clamp(min(DRAWN), max(DRAWN)).numpy())
        self.note.set_text("\n".join(gone))
        self._point(start, gradients)
        self.start.set_data([x], [y])

        between = angle(gradients[1], gradients[2])
        words = [self._about(between, gradients), f"In {UPDATES} updates of {outer_lr:g}, {'; '.join(ends)}."]
        if inner_lr == 0 or steps == 0:
            words.append("With α = 0 or without an inner step nothing adapts, and the two orders are the same.")
        outside = int((~(adapted.abs().amax((1, 2)) < VIEW)).sum())
        if outside:
            words.append(f"Adaptation leaves the picture for {plural(outside, 'task')}.")
        return " ".join(words)

    def _about(self, between: float, gradients: dict[int, Tensor]) -> str:
        """Set the title, and return what there is to say about the arrows."""
        if math.isnan(between):
            known = torch.cat(list(gradients.values())).isfinite().all()
            why = "a gradient is zero" if known else "the adaptation diverges"
            self.title.set_text(f"no angle: {why}")
            return f"The angle is undefined, because {why}."
        self.title.set_text(f"the two arrows are {between:.0f}° apart")
        return f"The arrows are {between:.0f}° apart: {way_in_words(between)}."

    def _point(self, start: Tensor, gradients: dict[int, Tensor]) -> None:
        """Draw the arrows, each with its name where it covers nothing else."""
        tips = {order: start - ARROW * direction(gradient) for order, gradient in gradients.items()}
        for order, tip in tips.items():
            exists = bool(tip.isfinite().all())
            self.arrows[order].set_visible(exists)
            self.tags[order].set_visible(exists)
            self.arrows[order].set_offsets([start.tolist()])
            self.arrows[order].set_UVC(*(tip - start).unsqueeze(1).tolist())
        covered = [*(CENTRES + LABEL), *(CENTRES - LABEL), start]
        covered += [start + part * (tip - start) for tip in tips.values() for part in (0.5, 1.0)]
        for order, place in zip(tips, _apart(list(tips.values()), torch.stack(covered)), strict=True):
            self.tags[order].set_position(place.tolist())


def _apart(tips: list[Tensor], covered: Tensor) -> tuple[Tensor, Tensor]:
    """Return places [2] for the names of two arrows: near the tips, far from what is covered [n, 2] and each other."""
    flat = torch.tensor([1.0, 2.0]).double()  # a name is twice as wide as high
    places = [(tip.nan_to_num() + AROUND).clamp(-VIEW + 0.45, VIEW - 0.45) for tip in tips]
    room = [torch.cdist(each * flat, covered.nan_to_num() * flat).amin(1) for each in places]
    between = torch.cdist(places[0] * flat, places[1] * flat)
    best = torch.minimum(between, torch.minimum(room[0][:, None], room[1])).argmax().item()
    return places[0][best // len(AROUND)], places[1][best % len(AROUND)]


def _in_words(loss: Tensor) -> str:
    if not loss < HIGH:
        return "more than 10¹²"
    value = loss.item()
    return plain(float(f"{value:.3g}")) if value < 1000 else plain(round(value))


@lru_cache(maxsize=8)
def _grey_levels(inner_lr: float, steps: int, steepness: float, bend: float) -> np.ndarray:
    """Return the map of the loss after adaptation in BANDS grey levels of the same area, 0 … 1, light for low."""
    grid = torch.stack(torch.meshgrid(GRID, GRID, indexing="xy"), -1)
    heights = Valleys(steepness, bend).meta_loss(grid, inner_lr, steps).nan_to_num(HIGH).clamp(max=HIGH).flatten()
    # The share of the map that is as low or lower. Places of the same height have the same level.
    share = torch.searchsorted(heights.sort().values, heights, right=True) / len(heights)
    return (((BANDS * share).ceil() - 1) / BANDS).view(len(GRID), len(GRID)).numpy()


def draw_plane(**settings: float) -> tuple[Figure, str]:
    """Draw the playground with these settings. Return the figure and its description in words."""
    plane = Plane()
    description = plane.update(**settings)
    return plane.figure, description


def plane_panel() -> Panel:
    """Return the playground, with sliders for the start, both learning rates, the inner steps and the valleys."""
    plane = Plane()
    shapes = [("straight", STRAIGHT), ("bent: not convex", BENT)]
    controls = {
        "x": slider("start: first parameter", -1.5, -REACH, REACH, 0.1),
        "y": slider("start: second parameter", 1.5, -REACH, REACH, 0.1),
        "inner_lr": slider("inner learning rate α", 0.1, 0.0, 0.5, 0.01),
        "outer_lr": slider("outer learning rate", 0.1, 0.01, 1.0, 0.01),
        "steps": slider("inner steps", 1, 0, 5, 1),
        "steepness": slider("steepness λ (curvature)", 3.0, 1.0, 8.0, 0.1),
        # This is not a Dropdown, because there JupyterLab takes the arrow keys for itself.
        "bend": widgets.RadioButtons(options=shapes, value=STRAIGHT, description="valleys"),
    }
    return Panel(
        controls,
        lambda **settings: (plane.canvas, plane.update(**settings)),
        alt="Playground: three tasks' valleys in a plane, sliders for the start, the learning rates, the inner steps "
        "and the steepness; the first- and second-order meta-gradients as arrows, and where each leads.",
    )


# What a meta-step costs


class PeakMemory(TorchDispatchMode):
    """The peak memory of the tensors that are made inside: `with PeakMemory() as memory: …`, then `memory.peak`.

    Tensors are counted as they come and go, including those that a graph keeps. So the number is the same each time
    and on every machine. The memory that an operation needs for itself while it runs is not counted.

    Attributes:
        peak: the largest number of bytes that the tensors held at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable, types: tuple, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for tensor in _tensors((args, kwargs)):
            self._meet(tensor.untyped_storage(), 0)  # a tensor that is first met here was made outside
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self._meet(tensor.untyped_storage(), tensor.untyped_storage().nbytes())
        return result

    def _meet(self, storage: torch.UntypedStorage, size: int) -> None:
        address = storage.data_ptr()
        if address in self._known:
            return
        self._known.add(address)
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._leave, address, size).atexit = False

    def _leave(self, address: int, size: int) -> None:
        self._known.discard(address)
        self._now -= size


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


# Figures

LINES = [(VERMILION, "--", "s"), (BLUE, "-", "o"), (GREEN, ":", "^"), (PURPLE, "-.", "D")]
METHODS = {"joint training": (GREEN, "^"), "first-order MAML": (VERMILION, "s"), "MAML": (BLUE, "o")}
EQUAL = [("steps", "o", BLUE), ("time", "s", VERMILION)]


def draw_lines(
    ax: Axes, lines: dict[str, dict[float, float]], title: str, x: str, y: str, *, legend: bool = True
) -> None:
    """Draw named curves, each given as y by x. Markers and dashes tell them apart."""
    for (name, points), (color, dash, marker) in zip(lines.items(), LINES, strict=False):
        ax.plot(points.keys(), points.values(), dash, marker=marker, color=color, linewidth=2, label=name)
    finish(ax, title, x, y, legend=legend)


def draw_losses(losses: dict[int, list[float]], title: str) -> Figure:
    """Draw the query losses of trainings by order. Each point is the mean of 50 steps."""
    fig, ax = figure(height=4)
    for order, values in losses.items():
        color, dash, name = ORDER_STYLES[order]
        ax.plot(range(1, len(values) + 1), smooth(values), dash, color=color, linewidth=2, label=name)
    finish(ax, title, "meta-step", "query loss, mean of 50 steps", legend=True)
    return fig


def draw_growth(shares: dict[str, dict[float, float]]) -> Figure:
    """Draw how the Hessian term's share grows with the inner learning rate, one curve per number of inner steps."""
    fig, ax = figure(height=4.2)
    ax.set(xscale="log", yscale="log")
    draw_lines(ax, shares, "what first order leaves out", "inner learning rate α", "Hessian term / meta-gradient")
    return fig


def draw_costs(milliseconds: dict[str, dict[int, float]], mebibytes: dict[str, dict[int, float]]) -> Figure:
    """Draw the time and the peak memory of a meta-gradient over inner steps, one curve per way to compute it."""
    fig, (left, right) = figure(ncols=2)
    draw_lines(left, milliseconds, "time of a meta-gradient", "inner steps", "milliseconds", legend=False)
    draw_lines(right, mebibytes, "peak memory of its tensors", "inner steps", "MiB", legend=False)
    for ax in (left, right):
        ax.set_ylim(bottom=0)
    legend_of_all(fig, left.get_lines())
    return fig


def draw_shares(shares: dict[str, list[float]], title: str) -> Figure:
    """Draw what first order leaves out by parameter, over batches of tasks.

    Args:
        shares: for each parameter, the 5 %, 50 % and 95 % quantiles of the share over batches.
        title: the title.
    """
    fig, ax = figure(height=0.34 * len(shares) + 1.6)
    ax.set_xscale("log")
    for row, (low, middle, high) in enumerate(shares.values()):
        ax.plot([low, high], [row, row], "-", color=BLUE, linewidth=3)
        ax.plot(middle, row, "o", color=BLACK)
    ax.axvline(1, color=GREY, linestyle=":", label="as long as the meta-gradient itself")
    ax.set_yticks(range(len(shares)), shares)
    ax.set_ylim(len(shares) - 0.5, -0.5)
    finish(ax, title, "share: left out / meta-gradient (dot: median, bar: 5 to 95 % of batches)", "", legend=True)
    return fig


def draw_ratios(found: dict[str, Comparison]) -> Figure:
    """Draw first order's test error as a multiple of second order's, with intervals over seeds, for several settings.

    The thin bar is the 95 % interval, and the thick one the 90 % interval. The margin is shaded.

    Args:
        found: what each setting has shown, by its name.
    """
    fig, ax = figure(height=0.62 * len(found) + 1.7)
    ax.set_xscale("log")
    ax.axvspan(1 / MARGIN, MARGIN, color=GREY, alpha=0.18, linewidth=0, label=f"within a factor of {MARGIN}")
    ax.axvline(1, color=GREY, linewidth=1)
    for row, comparison in enumerate(found.values()):
        for (equal, marker, color), shift in zip(EQUAL, (-0.16, 0.16), strict=True):
            verdict = comparison[equal]
            for interval, width in ((verdict.ratio, 1.5), (verdict.narrow, 4.5)):
                ax.plot([interval.low, interval.high], [row + shift] * 2, "-", color=color, linewidth=width)
            label = f"equal {equal}" if row == 0 else None
            ax.plot(verdict.ratio.mean, row + shift, marker, color=color, label=label, markersize=8)
    ax.set_yticks(range(len(found)), found)
    ax.set_ylim(len(found) - 0.5, -0.5)
    finish(ax, "does the order matter?", "error of first order / error of second order", "", legend=True)
    ax.set_xticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    ax.minorticks_off()
    return fig


def draw_over_training(
    rows: dict[str, dict[str, list[float]]], title: str, x: str, *, reference: float | None = None
) -> Figure:
    """Draw a quantity over batches at several times of several trainings.

    Args:
        rows: for each of METHODS and each time ("start") the 5 %, 50 % and 95 % quantiles.
        title: the title.
        x: the name of the quantity.
        reference: a value to mark by a dotted line.
    """
    times = list(next(iter(rows.values())))
    fig, ax = figure(height=0.34 * len(rows) * len(times) + 1.6)
    for number, (name, by_time) in enumerate(rows.items()):
        color, marker = METHODS[name]
        for row, (low, middle, high) in enumerate(by_time.values(), start=number * len(times)):
            ax.plot([low, high], [row, row], "-", color=color, linewidth=3)
            ax.plot(middle, row, marker, color=color, markersize=8, label=name if row % len(times) == 0 else None)
    if reference is not None:
        ax.axvline(reference, color=GREY, linestyle=":")
    ax.set_yticks(range(len(rows) * len(times)), times * len(rows))
    ax.set_ylim(len(rows) * len(times) - 0.5, -0.5)
    ax.set_xlim(left=0)
    finish(ax, title, f"{x} (marker: median, bar: 5 to 95 %)", "", legend=True)
    return fig


def draw_two_terms(counts: dict[str, dict[float, float]], wanted: dict[str, float]) -> Figure:
    """Draw how often AvgGradInner counts in an algorithm's mean update, over the inner rate.

    Args:
        counts: for each algorithm, the measured number by the rate.
        wanted: for each algorithm, the number that the expansion promises.
    """
    fig, ax = figure(height=4)
    ax.set_xscale("log")
    for value in sorted(set(wanted.values())):
        ax.axhline(value, color=GREY, linestyle=":", linewidth=1.5)
    ax.set_ylim(0, 2.3)
    draw_lines(ax, counts, "how often AvgGradInner counts, measured", "inner learning rate α", "times α · AvgGradInner")
    return fig


class OrderPicture:
    """What first order leaves out for one batch, by parameter, next to the loss curve of a training that is steered.

    A bar shows the length of the difference of the two meta-gradients, as a share of the second-order one's length.

    Args:
        episode: the batch.
        names: the parameters to show.
    """

    MOST = 2.5  # where the axis ends

    def __init__(self, episode: Episode, names: list[str]) -> None:
        self.episode, self.names = episode, names

    def look(self, driver: steering.Driver) -> Tensor:
        """Return the shares [P], followed by the cosine of the two whole meta-gradients: [P + 1] on the CPU."""
        learner, params = driver.trainer.learner, driver.trainer.params
        second, first = (replace(learner, order=order).meta_gradient(params, self.episode)[0] for order in (2, 1))
        shares = [(second[n] - first[n]).norm() / second[n].norm().clamp(min=1e-30) for n in self.names]
        whole = [torch.cat([grads[n].flatten() for n in self.names]) for grads in (second, first)]
        return torch.stack([*shares, torch.cosine_similarity(*whole, dim=0)]).cpu()

    def draw(self, figure: SubFigure) -> list[Artist]:
        """Draw a bar for each parameter, and return the bars."""
        ax = figure.subplots()
        self.bars = list(ax.barh(self.names, [0.0] * len(self.names), color=BLUE))
        ax.invert_yaxis()
        ax.set_xlim(0, self.MOST)
        finish(ax, "what first order leaves out", "|second − first| / |second|", "parameter")
        return self.bars

    def update(self, data: Tensor) -> str:
        """Show the shares that `look` returned, and return a description in words."""
        *shares, cosine = data.tolist()
        for bar, share in zip(self.bars, shares, strict=True):
            bar.set_width(share)
        largest = max(range(len(shares)), key=shares.__getitem__)
        angle = math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
        most = f"{self.names[largest]} ({shares[largest]:.0%}{', beyond the axis' * (shares[largest] > self.MOST)})"
        return f"First and second order are {angle:.0f}° apart ({way_in_words(angle)}). Most is left out at {most}."


@dataclass(frozen=True)
class Continued(MAML):
    """MAML whose training begins at parameters that it is given, and not at random ones."""

    begin: Params | None = field(default=None, compare=False, repr=False)

    def init(self, generator: torch.Generator) -> Params:
        """Return copies of the parameters at which the training begins, on the generator's device."""
        if self.begin is None:
            return super().init(generator)
        return {name: p.to(generator.device, copy=True) for name, p in self.begin.items()}


def sample_waves(generator: torch.Generator) -> Episode:
    """Draw what the panel trains on in a meta-step: 25 sine waves with 10 support and 10 query points each."""
    return sine.sample(25, 10, 10, generator)


def training_panel(*, seed: int = 0, device: str | torch.device = "cpu") -> steering.SteeringPanel:
    """Return a panel that steers MAML on the sine family and shows what first order leaves out.

    It begins at lesson 1's trained network, where the order shows in the loss: on the plateau on which a training from
    random parameters begins, the two orders can hardly be told apart. `await training_panel().train(1200)` trains.
    """
    values = {"inner_lr": 0.01, "outer_lr": 1e-3, "inner_steps": 1, "order": 2}
    rate = torch.tensor(0.01, device=device)  # a tensor changes without a new learner
    learner = Continued(MLP(), mse, inner_lr=rate, begin=shipped("sine_maml_5shot", device)[0])
    driver = steering.Driver(learner, sample_waves, values, seed=seed, device=device)
    episode = sample_waves(torch.Generator(device).manual_seed(seed + 1))
    picture = OrderPicture(episode, list(driver.trainer.params))
    alt = "Panel: sliders that steer MAML on sine waves; its loss, and what first order leaves out, by parameter."
    presets = {
        "First order": {"order": 1},
        "Second order": {"order": 2},
        "Large α": {"inner_lr": 0.05},
        "Blow it up": {"outer_lr": 1.0},
    }
    view = View(picture, loss="query loss (MSE)")
    return steering.SteeringPanel(driver, view, look=picture.look, presets=presets, alt=alt)
