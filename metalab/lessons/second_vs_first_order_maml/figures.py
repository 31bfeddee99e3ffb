"""The figures of the lesson on second- and first-order MAML, its playground in the plane, and its measured results."""

from __future__ import annotations

import json
import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ...experiments import first_vs_second_order
from ...experiments.recipes import RECIPES
from ...learners.maml import MAML
from ...losses import mse
from ...nets import MLP
from ...tasks import Episode, sine
from ..kit import steering
from ..kit.figures import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, figure, finish, smooth
from ..kit.panels import WIDE, Panel, slider
from ..kit.steering.view import Canvas, View

# The two lines can be told apart without colour: by their dash, and by their name where there is room for it.
ORDER_STYLES = {1: (VERMILION, "--", "first order"), 2: (BLUE, "-", "second order")}
ARROWS = {1: ("1st", 1.25), 2: ("2nd", 1.55)}  # the names of the arrows, and how far from the start they stand

# The playground: MAML with two parameters, where everything can be seen

CENTRES = torch.tensor([[-1.2, -0.5], [0.3, 0.9], [1.1, -0.6]], dtype=torch.float64)  # each task's minimum
ANGLES = torch.tensor([-25.0, 10.0, 40.0], dtype=torch.float64).deg2rad()  # the direction of each task's valley
ALONG = torch.stack([ANGLES.cos(), ANGLES.sin()], 1)  # unit vectors [T, 2]
ACROSS = torch.stack([-ANGLES.sin(), ANGLES.cos()], 1)
VIEW = 3.0  # the picture shows −3 … 3 in both directions
FAR = 10 * VIEW  # a walk that gets this far is given up
HIGH = 1e12  # a loss above this counts as this
GRID = torch.linspace(-VIEW, VIEW, 121, dtype=torch.float64)  # where the map is computed, in both directions
BANDS = 10  # how many grey levels the map has
STRAIGHT, BENT = 0.0, 0.3
UPDATES = 40
# Settings of the playground in which the first-order arrow points more than 90° away from the second-order one.
WRONG_WAY = {"inner_lr": 0.3, "outer_lr": 0.1, "steps": 1, "steepness": 5.0, "bend": STRAIGHT, "x": -0.4, "y": 1.6}


@dataclass(frozen=True)
class Valleys:
    """Three tasks, each of which is a valley in the plane: L_t(θ) = ½ (u² + λ (w − b u²)²).

    u and w are θ's coordinates along and across task t's valley, measured from its minimum. Support and query loss are
    the same, as if a task had endless data. With b = 0, the Hessian is the same everywhere: 1 along and λ across.

    Args:
        steepness: λ, the curvature across a valley.
        bend: b. If it is above 0, the valleys are bent and the loss is not convex.
    """

    steepness: float
    bend: float = STRAIGHT

    def loss(self, theta: Tensor) -> Tensor:
        """Return each task's loss at its parameters [..., T, 2]: [..., T]."""
        u, r = self._place(theta)
        return 0.5 * (u**2 + self.steepness * r**2)

    def gradient(self, theta: Tensor) -> Tensor:
        """Return each task's gradient at its parameters [..., T, 2]: [..., T, 2]."""
        u, r = self._place(theta)
        slope = self.steepness * r
        return (u - 2 * self.bend * u * slope).unsqueeze(-1) * ALONG + slope.unsqueeze(-1) * ACROSS

    def hessian_vector(self, theta: Tensor, v: Tensor) -> Tensor:
        """Return each task's Hessian times its vector [..., T, 2]: [..., T, 2]."""
        u, r = self._place(theta)
        v_u, v_w = (v * ALONG).sum(-1), (v * ACROSS).sum(-1)
        mixed = -2 * self.bend * self.steepness * u
        along = (1 - 2 * self.bend * (self.steepness * r + u * mixed)) * v_u + mixed * v_w
        across = mixed * v_u + self.steepness * v_w
        return along.unsqueeze(-1) * ALONG + across.unsqueeze(-1) * ACROSS

    def _place(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return how far along its valley θ lies, and how far from the valley's floor: [..., T] each."""
        offset = theta - CENTRES
        u = (offset * ALONG).sum(-1)
        return u, (offset * ACROSS).sum(-1) - self.bend * u**2

    def adapt(self, start: Tensor, inner_lr: float, steps: int) -> list[Tensor]:
        """Return the trajectory [θ_0, …, θ_K] of each task from one start [..., 2]: [..., T, 2] each."""
        trajectory = [start.unsqueeze(-2).expand(*start.shape[:-1], *CENTRES.shape)]
        for _ in range(steps):
            trajectory.append(trajectory[-1] - inner_lr * self.gradient(trajectory[-1]))
        return trajectory

    def rims(self, loss: float) -> Tensor:
        """Return the closed curve around each task's minimum on which its loss has this value: [T, points, 2]."""
        turn = torch.linspace(0, 2 * torch.pi, 61, dtype=torch.float64).unsqueeze(1)
        u = (2 * loss) ** 0.5 * turn.cos()
        w = (2 * loss / self.steepness) ** 0.5 * turn.sin() + self.bend * u**2
        return CENTRES.unsqueeze(1) + u * ALONG.unsqueeze(1) + w * ACROSS.unsqueeze(1)

    def meta_loss(self, start: Tensor, inner_lr: float, steps: int) -> Tensor:
        """Return F(θ), the mean over tasks of the loss after adaptation from `start` [..., 2]: [...]."""
        return self.loss(self.adapt(start, inner_lr, steps)[-1]).mean(-1)

    def meta_gradients(self, start: Tensor, inner_lr: float, steps: int) -> dict[int, Tensor]:
        """Return the meta-gradient at `start` [2] by order, 1 and 2: [2] each."""
        *trajectory, adapted = self.adapt(start, inner_lr, steps)
        v = first = self.gradient(adapted)
        for theta in reversed(trajectory):
            v = v - inner_lr * self.hessian_vector(theta, v)
        return {1: first.mean(-2), 2: v.mean(-2)}

    def walk(
        self, start: Tensor, order: int, inner_lr: float, steps: int, outer_lr: float, updates: int = UPDATES
    ) -> Tensor:
        """Return the path of `updates` steps along the meta-gradient of an order: [updates + 1, 2], or shorter.

        The path ends early where it gets FAR away.
        """
        path = [start]
        while len(path) <= updates and path[-1].abs().max() < FAR:
            path.append(path[-1] - outer_lr * self.meta_gradients(path[-1], inner_lr, steps)[order])
        return torch.stack(path)


def angle(a: Tensor, b: Tensor) -> float:
    """Return the angle between two vectors [2], in degrees."""
    return math.degrees(torch.atan2(a[0] * b[1] - a[1] * b[0], a @ b).abs().item())


class Plane:
    """The picture of the playground: the loss after adaptation as a map, and both meta-gradients with their paths.

    The picture is drawn once, and `update` moves only what depends on the settings.
    """

    def __init__(self) -> None:
        self.figure, (plane, curve) = figure(9.5, 5, ncols=2)
        self.figure.set_layout_engine(None)
        plane.set_position((0.07, 0.12, 0.42, 0.8))  # a square, so that angles look right
        curve.set_position((0.6, 0.12, 0.38, 0.8))
        blank = torch.zeros(len(GRID), len(GRID)).numpy()
        view = (-VIEW, VIEW, -VIEW, VIEW)
        self.map = plane.imshow(blank, "Greys", origin="lower", extent=view, vmin=0, vmax=1.6, interpolation="nearest")
        self.rims = [plane.plot([], [], color=ORANGE, linewidth=1.2)[0] for _ in CENTRES]
        self.inner = [plane.plot([], [], ".-", color=BLACK, linewidth=0.9, markersize=4)[0] for _ in CENTRES]
        self.moving: list[Artist] = [self.map, *self.rims, *self.inner]
        for task, centre in enumerate(CENTRES.tolist()):
            self.moving.append(plane.text(*centre, f"task {task + 1}", fontsize=10, ha="center", va="center"))
        self.paths, self.arrows, self.tags, self.losses = {}, {}, {}, {}
        for order, (color, dash, name) in ORDER_STYLES.items():
            (self.paths[order],) = plane.plot([], [], dash, color=color, linewidth=2)
            arrow = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.012, "zorder": 3}
            self.arrows[order] = plane.quiver([0.0], [0.0], [0.0], [0.0], color=color, **arrow)
            centred = {"ha": "center", "va": "center", "clip_on": True}
            self.tags[order] = plane.text(0, 0, ARROWS[order][0], color=color, fontsize=13, weight="bold", **centred)
            (self.losses[order],) = curve.plot([], [], dash, color=color, linewidth=2, label=name)
        (self.start,) = plane.plot([], [], "o", color=BLACK, markersize=8)
        self.title = plane.text(0, VIEW + 0.15, "", fontsize=13, ha="center")
        for artists in (self.paths, self.arrows, self.tags, self.losses):
            self.moving += artists.values()
        self.moving += [self.start, self.title]
        finish(plane, "", "first parameter", "second parameter")
        plane.set(xlim=(-VIEW, VIEW), ylim=(-VIEW, VIEW))
        curve.set(yscale="log", xlim=(0, UPDATES), ylim=(1e-2, 1e3))
        finish(curve, "where each leads", "updates of the start", "loss after adaptation", legend=True)

    def update(
        self, x: float, y: float, inner_lr: float, steps: int, outer_lr: float, steepness: float, bend: float
    ) -> str:
        """Show the picture for these settings, and return its description in words."""
        valleys = Valleys(steepness, bend)
        start = torch.tensor([x, y], dtype=torch.float64)
        gradients = valleys.meta_gradients(start, inner_lr, steps)
        between = angle(gradients[1], gradients[2])

        grid = torch.stack(torch.meshgrid(GRID, GRID, indexing="xy"), -1)
        heights = valleys.meta_loss(grid, inner_lr, steps).nan_to_num(HIGH).clamp(max=HIGH)
        ranks = heights.flatten().argsort().argsort().view_as(heights) / heights.numel()
        self.map.set_data(((BANDS * ranks).floor() / BANDS).numpy())  # each grey level has the same area
        for line, rim in zip(self.rims, valleys.rims(0.4), strict=True):
            line.set_data(*rim.T)
        for line, path in zip(self.inner, torch.stack(valleys.adapt(start, inner_lr, steps), -2), strict=True):
            line.set_data(*path.T.numpy())

        ends = []
        for order, (_color, _dash, name) in ORDER_STYLES.items():
            path = valleys.walk(start, order, inner_lr, steps, outer_lr)
            losses = valleys.meta_loss(path, inner_lr, steps).nan_to_num(HIGH).clamp(max=HIGH)
            leads = "leads" if len(path) > UPDATES else "runs away"
            ends.append(f"{name} {leads} from a loss of {losses[0]:.3g} to {losses[-1]:.3g}")
            self.paths[order].set_data(*path.T.numpy())
            self.losses[order].set_data(range(len(losses)), losses)
            arrow = -gradients[order] / gradients[order].norm().clamp_min(1e-12)
            self.arrows[order].set_offsets([start.tolist()])
            self.arrows[order].set_UVC(*arrow.unsqueeze(1).tolist())
            self.tags[order].set_position((start + ARROWS[order][1] * arrow).tolist())
        self.start.set_data([x], [y])
        self.title.set_text(f"the two arrows are {between:.0f}° apart")
        wrong = " More than 90°: first order walks the wrong way." if between > 90 else ""
        return f"The arrows are {between:.0f}° apart.{wrong} In {UPDATES} updates of {outer_lr:g}, {'; '.join(ends)}."


def draw_plane(**settings: float) -> tuple[Figure, str]:
    """Draw the playground with these settings. Return the figure and its description in words."""
    plane = Plane()
    description = plane.update(**settings)
    return plane.figure, description


def plane_panel() -> Panel:
    """Return the playground, with sliders for the start, both learning rates, the inner steps and the valleys."""
    plane = Plane()
    canvas = Canvas(plane.figure, plane.moving)
    shapes = [("straight", STRAIGHT), ("bent: not convex", BENT)]
    controls = {
        "x": slider("start: first parameter", -1.5, -2.8, 2.8, 0.1),
        "y": slider("start: second parameter", 1.5, -2.8, 2.8, 0.1),
        "inner_lr": slider("inner learning rate α", 0.1, 0.0, 0.5, 0.01),
        "outer_lr": slider("outer learning rate", 0.1, 0.01, 1.0, 0.01),
        "steps": slider("inner steps", 1, 0, 5, 1),
        "steepness": slider("steepness λ (curvature)", 3.0, 1.0, 8.0, 0.1),
        # This is not a Dropdown, because there JupyterLab takes the arrow keys for itself.
        "bend": widgets.RadioButtons(options=shapes, value=STRAIGHT, description="valleys", **WIDE),
    }
    return Panel(
        controls,
        lambda **settings: (canvas, plane.update(**settings)),
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
HATCHES = ["", "///", "...", "xx"]


def draw_lines(ax: Axes, lines: dict[str, dict[float, float]], title: str, x: str, y: str) -> None:
    """Draw named curves, each given as y by x. Markers and dashes tell them apart."""
    for (name, points), (color, dash, marker) in zip(lines.items(), LINES, strict=False):
        ax.plot(points.keys(), points.values(), dash, marker=marker, color=color, linewidth=2, label=name)
    finish(ax, title, x, y, legend=True)


def draw_losses(losses: dict[int, list[float]], title: str) -> Figure:
    """Draw the query losses of trainings by order. Each point is the mean of 50 steps."""
    fig, ax = figure(9, 3.6)
    for order, values in losses.items():
        color, dash, name = ORDER_STYLES[order]
        ax.plot(range(1, len(values) + 1), smooth(values), dash, color=color, linewidth=2, label=name)
    finish(ax, title, "meta-step", "query loss, mean of 50 steps", legend=True)
    return fig


def draw_growth(shares: dict[str, dict[float, float]]) -> Figure:
    """Draw how the Hessian term's share grows with the inner learning rate, one curve per number of inner steps."""
    fig, ax = figure(9, 3.4)
    draw_lines(ax, shares, "what first order leaves out", "inner learning rate α", "Hessian term / meta-gradient")
    ax.set(xscale="log", yscale="log")
    return fig


def draw_costs(milliseconds: dict[str, dict[int, float]], mebibytes: dict[str, dict[int, float]]) -> Figure:
    """Draw the time and the peak memory of a meta-gradient over inner steps, one curve per way to compute it."""
    fig, (left, right) = figure(10, 3.4, ncols=2)
    draw_lines(left, milliseconds, "time of a meta-gradient", "inner steps", "milliseconds")
    draw_lines(right, mebibytes, "peak memory of its tensors", "inner steps", "MiB")
    for ax in (left, right):
        ax.set_ylim(bottom=0)
    return fig


def draw_bars(groups: dict[str, dict[str, float]], title: str, y: str) -> Figure:
    """Draw a cluster of bars for each layer. It has one bar for each group, and the groups differ in their hatching."""
    fig, ax = figure(9, 3.2)
    layers = list(next(iter(groups.values())))
    width = 0.8 / len(groups)
    for i, (name, values) in enumerate(groups.items()):
        places = [place + (i - (len(groups) - 1) / 2) * width for place in range(len(layers))]
        color, hatch = LINES[i % len(LINES)][0], HATCHES[i % len(HATCHES)]
        ax.bar(
            places, [values[layer] for layer in layers], width, color=color, hatch=hatch, edgecolor="white", label=name
        )
    ax.set_xticks(range(len(layers)), layers)
    finish(ax, title, "", y, legend=len(groups) > 1)
    return fig


def draw_rates(rates: dict[str, list[float]], start: float, title: str) -> Figure:
    """Draw the learned inner rates of each layer by five quantiles.

    A thin line goes from 5 to 95 %, a thick line from 25 to 75 %, and a dot marks the median.
    """
    fig, ax = figure(11, 0.36 * len(rates) + 1.2)
    for row, (lowest, low, middle, high, highest) in enumerate(rates.values()):
        ax.plot([lowest, highest], [row, row], "-", color=GREY, linewidth=1.5)
        ax.plot([low, high], [row, row], "-", color=BLUE, linewidth=6, solid_capstyle="butt")
        ax.plot(middle, row, "o", color=BLACK)
    ax.axvline(start, color=VERMILION, linestyle="--", label=f"where all started: {start:g}")
    ax.axvline(0, color=GREY, linewidth=1)
    ax.set_yticks(range(len(rates)), rates)
    ax.invert_yaxis()
    finish(ax, title, "inner learning rate", "", legend=True)
    return fig


def draw_matrices(rates: Tensor, gates: Tensor, title: str) -> Figure:
    """Draw a weight matrix's learned rates (blue where a weight adapts uphill), and its open gates in black."""
    fig, (left, right) = figure(10, 4.2, ncols=2)
    rates, gates = rates.cpu(), gates.cpu()
    limit = rates.abs().max().item()
    shown = left.imshow(rates.T.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
    fig.colorbar(shown, ax=left, label="inner learning rate")
    right.imshow(gates.T.numpy(), cmap="gray_r", vmin=0, vmax=1)
    finish(left, f"Meta-SGD: rates of {title}", "from unit", "to unit")
    finish(right, f"sparse-MAML: open gates of {title} (black)", "from unit", "to unit")
    for ax in (left, right):
        ax.grid(visible=False)
    return fig


MEASURED = Path(__file__).with_name("measured.json")  # a copy of what `python -m metalab orders` wrote


def load_results() -> dict[str, Any]:
    """Read what `python -m metalab orders` measured, as shipped with the package."""
    return json.loads(MEASURED.read_text())


def draw_results(measured: list[dict[str, Any]]) -> Figure:
    """Draw the test errors of comparisons, one plot each: mean and 95 % interval over seeds, and a dot for every seed.

    Circles stand for trainings of equal steps, squares for trainings of equal time.
    """
    rows = max(len(each["step_ms"]) for each in measured)
    fig, axes = figure(11, 1.7 + 0.42 * rows, ncols=len(measured), squeeze=False)
    for ax, comparison in zip(axes[0], measured, strict=True):
        scale, unit = (1, "MSE") if comparison["runs"][0]["measure"] == "MSE" else (100, "error, %")
        for row, name in enumerate(comparison["step_ms"]):
            for equal, marker, color, shift in (("steps", "o", BLUE, 0.0), ("time", "s", VERMILION, 0.3)):
                values = [scale * error for error in first_vs_second_order.errors(comparison, name, equal).values()]
                if not values:
                    continue
                interval = first_vs_second_order.Interval.of(values)
                ax.plot(values, [row + shift] * len(values), marker, color=GREY, markersize=4, markerfacecolor="none")
                ax.plot([interval.low, interval.high], [row + shift] * 2, "-", color=color, linewidth=2)
                label = f"equal {equal}" if name == "fomaml" and ax is axes[0, 0] else None
                ax.plot(interval.mean, row + shift, marker, color=color, label=label)
        ax.set_yticks(range(len(comparison["step_ms"])), [RECIPES[name].title for name in comparison["step_ms"]])
        ax.set_ylim(len(comparison["step_ms"]) - 0.4, -0.6)
        ax.set_xlim(left=0)
        finish(ax, ",\n".join(comparison["title"].rsplit(", ", 1)), f"test {unit} (less is better)")
    fig.legend(loc="outside lower center", ncols=2, fontsize=11)
    return fig


class OrderPicture:
    """What first order leaves out for one batch, by parameter, next to the loss curve of a training that is steered.

    A bar shows the length of the difference of the two meta-gradients, as a share of the second-order one's length.

    Args:
        episode: the batch.
        names: the parameters to show.
    """

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
        ax.set_xlim(0, 1.5)
        finish(ax, "what first order leaves out", "|second − first| / |second|", "parameter")
        return self.bars

    def update(self, data: Tensor) -> str:
        """Show the shares that `look` returned, and return a description in words."""
        *shares, cosine = data.tolist()
        for bar, share in zip(self.bars, shares, strict=True):
            bar.set_width(share)
        largest = max(range(len(shares)), key=shares.__getitem__)
        angle = math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
        most = f"{self.names[largest]} ({shares[largest]:.0%})"
        return f"First and second order are {angle:.0f}° apart; most is left out at {most}."


def training_panel(*, seed: int = 0, device: str | torch.device = "cpu") -> steering.SteeringPanel:
    """Return a panel that steers MAML on the sine family and shows what first order leaves out.

    `await training_panel().train(1000)` trains.
    """
    values = {"inner_lr": 0.01, "outer_lr": 1e-3, "inner_steps": 1, "order": 2}
    learner = MAML(MLP(), mse, inner_lr=torch.tensor(0.01, device=device))  # a tensor changes without a new learner
    driver = steering.Driver(learner, lambda g: sine.sample(25, 10, 10, g), values, seed=seed, device=device)
    episode = sine.sample(25, 10, 10, torch.Generator(device).manual_seed(seed + 1))
    picture = OrderPicture(episode, list(driver.trainer.params))
    alt = "Panel: sliders that steer MAML on sine waves; its loss, and what first order leaves out, by parameter."
    return steering.SteeringPanel(driver, View(picture, loss="query loss (MSE)"), look=picture.look, alt=alt)
