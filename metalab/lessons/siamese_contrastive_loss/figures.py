"""The figures and panels of the Siamese lesson."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from ...analysis.roc import decide, roc
from ...arguments import real
from ...evaluate import Score
from ...learners import Contrastive
from ...learners.contrastive import contrastive_loss
from ...nets import Conv4, Params
from ...tasks import Characters, Groups, Pairs, as_pairs
from ...train import Step, Trainer
from ..kit import panels, steering
from ..kit.canvas import TWO_COLUMNS, Canvas
from ..kit.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    TEXT,
    TITLE,
    VERMILION,
    draw_character,
    figure,
    finish,
    smooth,
)
from ..kit.guessing import Guesses, Question
from ..kit.panels import Panel, log_slider, slider
from ..kit.steering.view import View

LETTERS = "ABCDEFGH"
COLORS = ["#0072B2", "#A63A00", "#00664B", "#7A4F00", "#8C2D6B", "#4B3F99", BLACK, GREY]  # dark, as letters are thin
PAIRS_IN_A_ROW = 6
LETTER = TEXT**2  # the area of a letter that stands for a drawing, in square points


class PairsGame(Guesses):
    """The game of lesson 3 for the reader: do two drawings show the same character?

    Args:
        kinds: the samplers of groups of two characters with two drawings each, by the name of the kind of pairs. Each
            kind is a level of its own.
        pairs: how many pairs a game has, an even number. One half shows the same character, in random order.
        seed: the seed of the pairs.
    """

    CHOICES = ("the same character", "different characters")

    def __init__(self, kinds: Mapping[str, Groups], *, pairs: int = 12, seed: int = 0) -> None:
        sources = {groups.source.source for groups in kinds.values()}
        generators = {
            kind: torch.Generator(groups.source.images.device).manual_seed(seed + number)
            for number, (kind, groups) in enumerate(kinds.items())
        }

        def deal(kind: str) -> list[Question]:
            generator = generators[kind]
            dealt = as_pairs(kinds[kind](pairs, generator))
            order = torch.randperm(pairs, generator=generator, device=generator.device).tolist()
            truths = (~dealt.same).long().tolist()
            return [Question([dealt.first[i], dealt.second[i]], self.CHOICES, truths[i]) for i in order]

        super().__init__(
            {kind: kind for kind in kinds},
            deal,
            asking="Do these two drawings show the same character?",
            source=", ".join(sorted(sources)),
            alt="A game: guess whether two drawings show the same character.",
        )

    def pairs(self, kind: str) -> Pairs:
        """Return all pairs of a kind that have been dealt, in the order of the questions."""
        return _as_pairs(self.questions[kind])

    def compare(self, rivals: Mapping[str, Callable[[Pairs], Tensor]]) -> None:
        """Let networks guess the same pairs. The results then show their answers next to the reader's.

        Args:
            rivals: what maps B pairs to whether it takes each for one character, [B] bool, by name.
        """

        def player(says_same: Callable[[Pairs], Tensor]) -> Callable[[Question], int]:
            return lambda question: 0 if says_same(_as_pairs([question])).item() else 1

        super().compare({name: player(says_same) for name, says_same in rivals.items()})


def _as_pairs(questions: list[Question]) -> Pairs:
    first, second = (torch.stack([question.asked[i] for question in questions]) for i in (0, 1))
    return Pairs(first, second, torch.tensor([question.truth == 0 for question in questions], device=first.device))


def draw_pairs(pairs: Pairs, title: str, *, distance: Tensor | None = None, threshold: float = 0.0) -> Figure:
    """Draw each pair side by side, PAIRS_IN_A_ROW in a row, with its label above.

    If there are distances, the figure also shows what a network decides. A right decision has a green frame and ✓, a
    wrong one an orange frame and ✗.

    Args:
        pairs: B pairs.
        title: the title of the figure.
        distance: the distance of each pair [B], if a network has measured it.
        threshold: the largest distance at which two drawings are taken for one character.
    """
    count = len(pairs.same)
    lines = -(-count // PAIRS_IN_A_ROW)
    fig = figure(height=(1.25 if distance is None else 1.5) * lines + 0.4)[0]
    fig.clear()
    fig.get_layout_engine().set(w_pad=0.02, wspace=0.0)
    # Each pair has two columns, and a narrow one for the space to the next pair.
    grid = fig.add_gridspec(lines, 3 * PAIRS_IN_A_ROW, width_ratios=[1, 1, 0.15] * PAIRS_IN_A_ROW)
    for i, (first, second, same) in enumerate(zip(pairs.first, pairs.second, pairs.same.tolist(), strict=True)):
        label, frame = ("same" if same else "different"), None
        if distance is not None:
            right = (distance[i].item() <= threshold) == same
            label = f"{'✓' if right else '✗'} {label}\nd = {distance[i]:.2f}"
            frame = GREEN if right else VERMILION
        row, column = i // PAIRS_IN_A_ROW, 3 * (i % PAIRS_IN_A_ROW)
        for shift, drawing in enumerate((first, second)):
            ax = fig.add_subplot(grid[row, column + shift])
            draw_character(ax, drawing, frame=frame)
            if shift == 0:
                ax.set_title(label, fontsize=TEXT, loc="left")
    fig.suptitle(title, fontsize=TITLE)
    return fig


def margin_panel(loss: Callable[[Tensor, Tensor, float], Tensor] = contrastive_loss) -> Panel:
    """Return a panel with the loss of one pair over its distance, for both kinds of pairs, and a slider for the margin.

    Args:
        loss: maps distances [B], labels [B] and the margin to losses [B].
    """
    distance = torch.linspace(0, 3, 301)
    fig, ax = figure(height=4)
    drawn = {}
    for same, color, dash in ((True, BLUE, "-"), (False, VERMILION, "--")):
        label = "same character: d²" if same else "different: max(0, m − d)²"
        [line] = ax.plot(distance, torch.zeros(301), dash, color=color, linewidth=2.5, label=label)
        drawn[same] = line, *ax.plot([0], [0], "o", color=color, markersize=9)
    line_of_margin = ax.axvline(0, color=GREY, linestyle=":", label="margin m")
    ax.set_ylim(-0.2, 4.2)
    finish(ax, "the loss of one pair", "distance d of the pair", "loss", legend=True)
    canvas = Canvas(fig, [line_of_margin, *(artist for artists in drawn.values() for artist in artists)])

    def redraw(margin: float, at: float) -> tuple[Canvas, str]:
        costs = []
        for same, (line, point) in drawn.items():
            line.set_ydata(loss(distance, torch.full((301,), same), margin).numpy())
            value = loss(torch.tensor([at]), torch.tensor([same]), margin).item()
            point.set_data([at], [value])
            costs.append(f"{value:.2f} if they are {'the same' if same else 'different'}")
        line_of_margin.set_xdata([margin, margin])
        text = f"A pair at distance {at:.1f} costs {' and '.join(costs)}."
        if margin == 0:
            text += " Without a margin a different pair costs nothing anywhere: nothing pushes."
        elif at >= margin:
            text += " Beyond the margin a different pair is left alone."
        return canvas, text

    controls = {
        "margin": slider("margin m", 1.0, 0.0, 2.0, 0.1),
        "at": slider("distance d of a pair", 0.7, 0.0, 3.0, 0.1),
    }
    return Panel(controls, redraw, alt="Panel: the contrastive loss over distance, with a slider for the margin.")


class Map:
    """Flat pictures of where a network places a few characters that it has never seen, one for each moment of training.

    An embedding of more than two dimensions is shown along its two principal components, in which it varies most. Each
    picture is rotated so that it agrees with the picture before as well as possible.

    Args:
        groups: the drawings [P, K, 1, H, W], K drawings of each of P characters. P is at most 8.
        embed: maps parameters and drawings [B, 1, H, W] to embeddings [B, E].

    Attributes:
        steps: the meta-step of each picture.
        points: where the drawings lie in each picture, [P, K, 2] on the CPU.
        shares: the share of the embedding's variance that each picture shows.

    Raises:
        ValueError: there are more than 8 characters.
    """

    def __init__(self, groups: Tensor, embed: Callable[[Params, Tensor], Tensor]) -> None:
        if len(groups) > len(LETTERS):
            raise ValueError(f"groups has {len(groups)} characters: at most {len(LETTERS)} can be told apart")
        self.groups = groups
        self.embed = embed
        self.steps: list[int] = []
        self.points: list[Tensor] = []
        self.shares: list[float] = []

    def add(self, step: int, params: Params) -> None:
        """Add a picture of the embedding with these parameters, at this meta-step."""
        z = self.embed(params, self.groups.flatten(0, 1)).cpu()
        z = (z - z.mean(0)).nan_to_num(0, 0, 0)  # SVD rejects what a network that has diverged returns
        flat, share = z, 1.0
        if z.shape[1] > 2:
            _u, sizes, axes = torch.linalg.svd(z, full_matrices=False)
            flat = z @ axes[:2].T
            share = (sizes[:2].square().sum() / sizes.square().sum().clamp(min=1e-30)).item()
        if self.points:  # the rotation that brings it closest to the picture before (Procrustes)
            u, _sizes, v = torch.linalg.svd(flat.T @ self.points[-1].flatten(0, 1))
            flat = flat @ (u @ v)
        self.steps.append(step)
        self.points.append(flat.view(*self.groups.shape[:2], 2))
        self.shares.append(share)

    def draw_on(self, ax: Axes, moment: int = -1) -> None:
        """Draw the picture of a moment. All pictures have the same scale, so that shrinking is visible."""
        limit = 1.1 * max(points.abs().max().item() for points in self.points) or 1.0
        for points, letter, color in zip(self.points[moment], LETTERS, COLORS, strict=False):
            ax.scatter(*points.T, s=LETTER, marker=f"${letter}$", color=color)
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit))
        ax.set_aspect("equal")
        finish(ax, self._title(moment), "embedding, units of d", "embedding, units of d")

    def _title(self, moment: int) -> str:
        return f"unseen characters, step {self.steps[moment]}"

    def spread(self, moment: int = -1) -> tuple[float, float]:
        """Return two mean distances in the picture: of two drawings of a character, and of the characters' centres."""
        points = self.points[moment]
        within = torch.cdist(points, points).sum() / (points.shape[1] - 1) / points.shape[:2].numel()
        middles = points.mean(1)
        between = torch.cdist(middles, middles).sum() / len(middles) / (len(middles) - 1)
        return within.item(), between.item()

    def draw(self, moment: int = -1) -> Figure:
        """Return the picture of a moment, with one drawing of each character and its letter next to it."""
        fig = figure(height=4.6)[0]
        fig.clear()
        grid = fig.add_gridspec(4, 5)
        self.draw_on(fig.add_subplot(grid[:, :3]), moment)
        self._draw_key(fig, [grid[i % 4, 3 + i // 4] for i in range(len(self.groups))])
        return fig

    def panel(self) -> Panel:
        """Return a panel with a slider through the moments of the training."""
        fig = self.draw()
        ax = fig.axes[0]
        canvas = Canvas(fig, [ax.title, *ax.collections], narrowest=TWO_COLUMNS)

        def redraw(moment: int) -> tuple[Canvas, str]:
            ax.title.set_text(self._title(moment))
            for letters, points in zip(ax.collections, self.points[moment], strict=True):
                letters.set_offsets(points.numpy())
            within, between = self.spread(moment)
            caption = (
                f"Step {self.steps[moment]}: in this picture two drawings of one character are {within:.2f} apart on "
                f"average, the middles of two characters {between:.2f}. It shows {self.shares[moment]:.0%} of the "
                "embedding's variance."
            )
            return canvas, caption

        last = len(self.steps) - 1
        controls = {"moment": slider("moment of training", last, 0, last, 1)}
        return Panel(controls, redraw, alt="Panel: a slider back through the training, and where characters were.")

    def _draw_key(self, fig: Figure, places: list) -> None:
        for place, group, letter, color in zip(places, self.groups, LETTERS, COLORS, strict=False):
            ax = fig.add_subplot(place)
            draw_character(ax, group[0], frame=color)
            ax.set_title(letter, color=color, fontsize=TEXT, loc="left", pad=2)


def train_with_embedding(
    trainer: Trainer, steps: int, shown: Map, *, title: str, score: Callable[[Params], Score] | None = None
) -> list[Step]:
    """Take `steps` steps. Draw the pairs' distances, the accuracies, and where unseen characters lie as training goes.

    Args:
        trainer: the training of a Siamese learner.
        steps: the budget. It is counted in steps and not in seconds, so that a slower machine gets the same result. The
            curves are means of the last 25 steps, and of fewer in a short training, which would otherwise be mostly
            the way of its first steps out of the mean.
        shown: receives 21 pictures, the first before the training.
        title: the title of the figure.
        score: returns the score of the current parameters on unseen characters. It is called four times. If it is
            None, no accuracies are drawn.

    Returns:
        The steps that were taken.
    """
    tests: dict[int, Score] = {}
    window = max(1, min(25, steps // 40))
    shown.add(trainer.steps, trainer.params)

    def draw(done: list[Step]) -> tuple[Figure, str]:
        fig = figure(height=4.9 if score else 4.2)[0]
        fig.clear()
        places = [["distance", "map"], ["accuracy", "map"]] if score else [["distance", "map"]]
        axes = fig.subplot_mosaic(places, width_ratios=(5, 6))
        numbers = [step.number for step in done]
        for name, color, dash in (("same", BLUE, "-"), ("different", VERMILION, "--")):
            means = smooth([-step.metrics[name] for step in done], window)
            axes["distance"].plot(numbers, means, dash, color=color, linewidth=2, label=f"{name} pairs")
        finish(axes["distance"], title, "" if score else "step", "distance d", legend=True)
        axes["distance"].set_ylim(bottom=0)
        shown.draw_on(axes["map"])
        metrics = done[-1].metrics
        caption = (
            f"{title}: step {trainer.steps} of {steps}; loss {metrics['loss']:.3f}; distance of a same pair "
            f"{-metrics['same']:.2f}, of a different pair {-metrics['different']:.2f}"
        )
        if score:
            share = 100 * smooth([step.metrics["accuracy"] for step in done], window)
            axes["accuracy"].plot(numbers, share, color=BLUE, label="training")
        if tests:
            means, bars = zip(*((100 * s.mean, 100 * s.ci95) for s in tests.values()), strict=True)
            axes["accuracy"].errorbar(
                list(tests), means, bars, color=VERMILION, fmt="o--", capsize=4, label="unseen, 5-way 1-shot"
            )
            caption += f"; unseen characters, 5-way 1-shot {list(tests.values())[-1].percent()}"
        if score:
            finish(axes["accuracy"], "", "step", "accuracy (%)", legend=True)
        return fig, caption + "."

    def after(step: Step) -> None:
        if step.number % max(1, steps // 20) == 0:
            shown.add(step.number, trainer.params)
        if score and (step.number % max(1, steps // 4) == 0 or step.number == steps):
            tests[step.number] = score(trainer.params)

    alt = f"{title}: distances, accuracy and the embedding of unseen characters, drawn while the network trains."
    return panels.train_and_draw(trainer, steps, draw, alt=alt, after=after, per_second=1, narrowest=TWO_COLUMNS)


def threshold_panel(distance: Tensor, same: Tensor, *, title: str) -> Panel:
    """Return a panel with the histograms of pairs' distances, a threshold to drag, and the ROC curve it moves along.

    Args:
        distance: the distance of each pair [B].
        same: whether each pair shows one character [B], bool.
        title: the title of the histograms.

    Raises:
        ValueError: `metalab.analysis.roc.roc` rejects the distances or the labels, or the largest distance is not a
            finite number above 0.
    """
    distance, same = distance.double().cpu(), same.cpu()  # double, because the threshold is a double too
    curve = roc(-distance, same)
    threshold = _threshold_slider(distance)  # first, because it rejects distances that cannot be drawn
    bins = torch.linspace(0, threshold.max, 61).tolist()

    fig, (left, right) = figure(height=4.4, ncols=2, width_ratios=(4, 3))
    for name, values, color, dash in (
        ("same", distance[same], BLUE, "-"),
        ("different", distance[~same], VERMILION, "--"),
    ):
        left.hist(values.tolist(), bins, histtype="stepfilled", alpha=0.25, color=color)
        left.hist(values.tolist(), bins, histtype="step", color=color, linestyle=dash, linewidth=2, label=name)
    line = left.axvline(0, color=BLACK, linewidth=2.5, label="threshold")
    finish(left, title, "distance d of a pair", "pairs", legend=True)
    right.plot(curve.false_positive, curve.true_positive, color=BLUE, linewidth=2.5, label="ROC curve")
    right.plot([0, 1], [1, 0], color=GREY, linestyle=":", label="equal errors")
    [point] = right.plot([0], [0], "o", color=BLACK, markersize=9, label="this threshold")
    finish(right, f"AUC {curve.auc:.3f}", "different pairs accepted (share)", "same pairs accepted", legend=True)
    canvas = Canvas(fig, [line, point], narrowest=TWO_COLUMNS)

    def redraw(threshold: float) -> tuple[Canvas, str]:
        false, true = _accepted(distance, same, threshold)
        line.set_xdata([threshold, threshold])
        point.set_data([false], [true])
        decision = decide(-distance, same, -threshold)
        caption = (
            f"Pairs up to {threshold:.2f} apart are called same. Of the same pairs {1 - true:.1%} are missed, of the "
            f"different pairs {false:.1%} are accepted; {decision.accuracy:.1%} of all these pairs are judged rightly. "
            f"AUC {curve.auc:.4f}, equal error rate {curve.equal_error_rate:.1%}."
        )
        return canvas, caption

    alt = "Panel: distances of same and different pairs, a threshold, the ROC curve."
    return Panel({"threshold": threshold}, redraw, alt=alt)


def _threshold_slider(distance: Tensor) -> widgets.FloatSlider:
    """Return a slider from 0 to the largest of the distances, in steps with few digits.

    Raises:
        ValueError: the largest distance is not a finite number above 0.
    """
    top = distance.max().item()
    real(above=0, **{"the largest distance": top})
    step = float(f"{top / 200:.1g}")
    top = step * math.ceil(top / step)
    return slider("threshold (distance)", round(top / 2 / step) * step, 0.0, top, step)


def _accepted(distance: Tensor, same: Tensor, threshold: float) -> tuple[float, float]:
    """Return the shares of the different and of the same pairs that are called same."""
    taken = distance <= threshold
    return taken[~same].double().mean().item(), taken[same].double().mean().item()


def precision(true: float | Tensor, false: float | Tensor, share: float | Tensor) -> Any:
    """Return how probable it is that a pair which is called same is a same pair, by Bayes' rule.

    Args:
        true: the share of the same pairs that are called same, the recall.
        false: the share of the different pairs that are called same.
        share: the share of same pairs among all pairs, the base rate.
    """
    return share * true / (share * true + (1 - share) * false)


STREAM = 100_000  # pairs, in which the panel below counts


def base_rate_panel(distance: Tensor, same: Tensor, *, threshold: float, title: str) -> Panel:
    """Return a panel that counts what is called same in a stream of pairs, with sliders for threshold and base rate.

    The two error rates are measured on the pairs that are given. How many of the pairs that are called same are the
    same follows from them and from the share of same pairs in the stream, which is another one than that of the pairs.

    Args:
        distance: the distance of each pair [B].
        same: whether each pair shows one character [B], bool.
        threshold: where the slider for the threshold begins.
        title: the title of the curve.

    Raises:
        ValueError: as in `threshold_panel`.
    """
    distance, same = distance.double().cpu(), same.cpu()
    roc(-distance, same)  # rejects what cannot be judged
    control = _threshold_slider(distance)
    control.value = threshold
    shares = torch.logspace(-4, math.log10(0.5), 100, dtype=torch.float64)

    fig, (left, right) = figure(height=4.4, ncols=2, width_ratios=(3, 4))
    bars = left.bar(["same", "different"], [1, 1], color=[BLUE, VERMILION], hatch=["", "//"], edgecolor="white")
    left.set(ylim=(0, 1))
    finish(left, "what is called same", "what it is", "share of the pairs called same")
    [line] = right.plot(shares, torch.zeros(100), color=BLUE, linewidth=2.5, label="at this threshold")
    [point] = right.plot([0.5], [0], "o", color=BLACK, markersize=9, label="this base rate")
    right.set(xscale="log", ylim=(0, 1.02))
    finish(right, title, "base rate: share of same pairs", "precision", legend=True)
    canvas = Canvas(fig, [*bars, line, point], narrowest=TWO_COLUMNS)

    def redraw(threshold: float, share: float) -> tuple[Canvas, str]:
        false, true = _accepted(distance, same, threshold)
        here = precision(true, false, share) if false or true else math.nan
        line.set_ydata(precision(true, false, shares) if false or true else torch.full_like(shares, math.nan))
        point.set_data([share], [here])
        for bar, height in zip(bars, (here, 1 - here), strict=True):
            bar.set_height(height if math.isfinite(here) else 0)
        alike = round(STREAM * share)
        found, taken = round(alike * true), round((STREAM - alike) * false)
        caption = (
            f"Of {STREAM:,} pairs, {alike:,} are same, and {found:,} of these are called same ({true:.1%}). Of the "
            f"{STREAM - alike:,} different pairs, {taken:,} are called same, too ({false:.2%}). "
        )
        if math.isfinite(here):
            caption += f"So {found:,} of {found + taken:,} pairs that are called same are same: precision {here:.1%}."
        else:
            caption += "No pair is that near, so the precision is not defined."
        return canvas, caption

    controls = {"threshold": control, "share": log_slider("base rate", 0.5, -4, math.log10(0.5))}
    alt = "Panel: how the precision depends on the threshold and on the share of same pairs."
    return Panel(controls, redraw, alt=alt)


class MapPicture:
    """A `Map` that is shown next to the loss curve of a training that is steered."""

    LIMIT = 3.0

    def __init__(self, shown: Map) -> None:
        self.shown = shown

    def look(self, driver: steering.Driver) -> Tensor:
        """Return where the drawings lie now: [P, K, 2] on the CPU."""
        self.shown.add(driver.steps, driver.trainer.params)
        return self.shown.points[-1]

    def draw(self, figure: SubFigure) -> list[Artist]:
        """Draw the axes, and return the letters that move."""
        ax = figure.subplots()
        self.letters = [
            ax.scatter([], [], s=LETTER, marker=f"${letter}$", color=color)
            for letter, color, _group in zip(LETTERS, COLORS, self.shown.groups, strict=False)
        ]
        ax.set(xlim=(-self.LIMIT, self.LIMIT), ylim=(-self.LIMIT, self.LIMIT))
        ax.set_aspect("equal")
        finish(ax, "unseen characters", "embedding, units of d", "embedding, units of d")
        return self.letters

    def update(self, data: Tensor) -> str:
        """Show the drawings where `look` found them, and return their mean distances in words."""
        for artist, points in zip(self.letters, data, strict=True):
            artist.set_offsets(points.numpy())
        within, between = self.shown.spread()
        return (
            f"In the picture two drawings of one unseen character are {within:.2f} apart, the middles of two "
            f"characters {between:.2f}."
        )


def training_panel(train: Characters, unseen: Characters, *, seed: int = 0) -> steering.SteeringPanel:
    """Return a panel that steers a contrastive training: `await training_panel(train, validation).train(300)`.

    Its map shows characters of `unseen`. It trains where the characters are: on a GPU with the papers' 64 filters.
    """
    device = train.images.device
    net = Conv4(channels=32 if device.type == "cpu" else 64)
    learner = Contrastive(net, margin=torch.tensor(2.0, device=device), hardest=5)  # it changes without a new learner
    rotated = Groups(train.with_rotations(), characters=30, drawings=2)
    images = train.batch(100, torch.Generator(device).manual_seed(seed))[0]  # few, because every picture embeds them
    some = Groups(unseen, characters=8, drawings=8)(1, torch.Generator(device).manual_seed(seed))[0]
    shown = Map(some, lambda params, x: learner.with_statistics(params, images).embed(params, x))
    values = {"margin": 2.0, "outer_lr": 1e-3}
    driver = steering.Driver(learner, lambda g: rotated(1, g), values, seed=seed, device=device)
    picture = MapPicture(shown)
    controls = {
        "margin": slider("margin m", 2.0, 0.0, 3.0, 0.1),
        "outer_lr": log_slider("outer learning rate", 1e-3, -5, 0),
    }
    view = View(picture, loss="contrastive loss", between=(0.1, 10.0))
    alt = "Panel: sliders that steer the contrastive loss while it trains; its loss, and where unseen characters lie."
    presets = {"No margin": {"margin": 0.0}, "Narrow margin": {"margin": 0.5}, "Rate of 1": {"outer_lr": 1.0}}
    return steering.SteeringPanel(driver, view, look=picture.look, controls=controls, presets=presets, alt=alt)
