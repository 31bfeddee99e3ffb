"""A picture of a run: its loss, and its accuracy if it has one, over the meta-steps."""

from __future__ import annotations

import io
import math
from typing import Any

from ..files import check_replaceable, replace_file
from .runs import CURVE, METRICS, Run, in_words, lines_of
from .settings import Settings

BLUE, VERMILION = "#0072B2", "#D55E00"  # of Okabe & Ito's palette, which colour-blind readers can tell apart
POINTS = 100  # of the smoothed curve, at most


def write(run: Run) -> str:
    """Draw a run's metrics to `curve.png` in its folder. Return a sentence that says where it is, or why it is not.

    A training is finished when this is called, so nothing that goes wrong here is an error.
    """
    try:
        points = [line for _text, line in lines_of(run.folder / METRICS) if line and line["step"] <= run.trainer.steps]
        if run.sums["steps"]:  # the steps since the last line
            points.append({"step": run.trainer.steps, **run.mean()})
        points = [point for point in points if "loss" in point]
        if not points:
            return "No plot was drawn, because the run has no meta-step to show."
        check_replaceable(run.folder / CURVE)
        replace_file(run.folder / CURVE, draw(points, *_names(run.settings), events=run.history))
    except ImportError as missing:
        return f"No plot was drawn, because matplotlib cannot be imported ({missing}): pip install matplotlib"
    except (Exception, KeyboardInterrupt) as fault:
        return f"No plot was drawn: {str(fault) or type(fault).__name__}"
    return f"Plot of the training: {run.folder / CURVE}"


def _names(s: Settings) -> tuple[str, str]:
    """Return the title of a run's plot, and the name of its loss with the unit."""
    title = f"{s.recipe.title} on {s.tasks}, {f'{s.ways}-way ' if s.ways else ''}{s.shots}-shot, seed {s.seed}"
    if s.recipe.draws == "groups":
        return title, "training loss"
    return title, f"training loss\n({'mean squared error' if s.tasks == 'sine' else 'cross-entropy in nats'})"


def draw(points: list[dict[str, float]], title: str, loss: str, *, events: list[dict[str, Any]]) -> bytes:
    """Return the curves as a PNG: the mean of each line of metrics, and means over longer stretches.

    Args:
        points: the lines of metrics, at least one: `{"step": 10, "loss": 0.5, "accuracy": 0.8}`.
        title: stands above the curves.
        loss: names the loss, with its unit.
        events: what happened on the way, see `Run.history`; each is marked.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure  # only the installation for the lessons has it
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

    names = [name for name in ("loss", "accuracy") if name in points[-1]]
    size = (9, 3.5 * len(names) + 0.2 * len(events))  # the legend grows with the events
    fig = Figure(figsize=size, dpi=100, layout="constrained", facecolor="white")
    fig.suptitle(title, fontsize=13)
    for ax, name in zip(fig.subplots(len(names), squeeze=False)[:, 0], names, strict=True):
        scale = 100 if name == "accuracy" else 1
        known = [(p["step"], scale * p[name]) for p in points if name in p]
        ax.plot(*zip(*known, strict=True), color=BLUE, alpha=0.4, label="mean over ten meta-steps", marker=".", ms=3)
        if (each := math.ceil(len(known) / POINTS)) > 1:
            parts = [known[i : i + each] for i in range(0, len(known), each)]
            means = [tuple(sum(axis) / len(part) for axis in zip(*part, strict=True)) for part in parts]
            ax.plot(*zip(*means, strict=True), color="black", label=f"mean over {10 * each:,} meta-steps")
        for event in events:
            ax.axvline(event["step"], color=VERMILION, linestyle="--", label=in_words(event))
        ax.set_xlabel("meta-step", fontsize=12)
        ax.set_ylabel("training accuracy (%)" if name == "accuracy" else loss, fontsize=12)
        values = [value for _step, value in known]
        if name == "loss" and min(values) > 0 and max(values) > 10 * min(values):
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_minor_locator(NullLocator())
            ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))  # plain numbers, no powers of ten
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        ax.tick_params(labelsize=11)
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    fig.legend(*ax.get_legend_handles_labels(), fontsize=11, loc="outside lower center", ncols=2, frameon=False)
    out = io.BytesIO()
    fig.savefig(out, format="png")
    return out.getvalue()
