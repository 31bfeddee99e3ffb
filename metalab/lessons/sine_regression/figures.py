"""The figures and panels of the sine lesson."""

from __future__ import annotations

import math
from dataclasses import replace

import ipywidgets as widgets
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from ...learners.maml import MAML
from ...losses import mse
from ...nets import MLP, Params, for_tasks
from ...tasks import Episode
from ...tasks.sine import AMPLITUDE, X_RANGE, Sine, sample
from ...train import Diverged, Step, Trainer
from ..kit import panels, steering
from ..kit.canvas import Canvas
from ..kit.figures import (
    BLACK,
    BLUE,
    GREEN,
    LOOKS,
    VERMILION,
    figure,
    finish,
    legend_below,
    legend_of_all,
    plural,
    smooth,
)
from ..kit.panels import LivePicture, Panel, grid, log_slider, panel_box, paragraph, show_widget, slider
from ..kit.steering.view import View

GRID = torch.linspace(*X_RANGE, 201).view(1, -1, 1)  # the inputs at which curves are drawn
STYLES = [(BLUE, "-"), (VERMILION, "-."), (GREEN, ":")]
HALF = (X_RANGE[0], 0.0)


def one_task(amplitude: float, phase: float) -> Sine:
    """Return a batch of one task, the wave of this amplitude and of this phase in radians."""
    return Sine(torch.tensor([amplitude]), torch.tensor([phase]))


def support_points(task: Sine, shots: int, *, half: bool = False, seed: int = 0) -> Episode:
    """Return an episode of one task with `shots` support points [1, shots, 1], and with GRID as its query points.

    It is on the CPU, like the task: pictures show it, and a network on a GPU is given `episode.to(device)`.

    The support points are the first ones of a fixed row, so that a task with more shots keeps the points it had.

    Args:
        task: one task.
        shots: how many support points there are, at most 20.
        half: whether the support points lie in the left half of the range only.
        seed: the seed of the row.
    """
    x_range = HALF if half else X_RANGE
    row = task.episode(20, 1, torch.Generator().manual_seed(seed), support_range=x_range)
    return Episode(row.support_x[:, :shots], row.support_y[:, :shots], GRID, task(GRID))


def draw_tasks(task: Sine, title: str) -> Figure:
    """Draw all waves of a batch of tasks in one picture."""
    fig, ax = figure(height=4.2)
    task = Sine(task.amplitude.cpu(), task.phase.cpu())
    x = GRID.expand(task.amplitude.shape[0], -1, -1)
    for i, (line, a, p) in enumerate(zip(task(x), task.amplitude, task.phase, strict=True)):
        color, dash = LOOKS[i % len(LOOKS)]
        ax.plot(GRID.flatten(), line.flatten(), color=color, linestyle=dash, label=f"A = {a:.1f}, φ = {p:.1f}")
    finish(ax, title, "x", "y", legend=True)
    return fig


def average_wave() -> Tensor:
    """Return the mean of all waves of the family over the grid: [201], on the CPU.

    The mean of sin(x − φ) over φ from 0 to π is −(2/π) cos x, and the mean amplitude is the middle of AMPLITUDE.
    """
    return -2 / torch.pi * sum(AMPLITUDE) / 2 * GRID.flatten().cos()


def draw_average(params: Params, tasks: int = 12) -> tuple[Figure, str]:
    """Draw the average wave next to what a network answers without adaptation, and some waves of the family.

    Args:
        params: the parameters of the network.
        tasks: how many waves are drawn in grey.

    Returns:
        The figure, and its description in words.
    """
    network, average = joint_prediction(params), average_wave()
    waves = Sine.draw(tasks, torch.Generator().manual_seed(0))(GRID.expand(tasks, -1, -1)).squeeze(-1)
    fig, ax = figure(height=4.2)
    x = GRID.flatten()
    ax.plot(x, waves.T, color="#C4C4C4", linewidth=1)
    ax.lines[0].set_label(f"{tasks} waves of the family")
    ax.plot(x, average, color=BLACK, linestyle="--", linewidth=2.5, label="the average wave")
    ax.plot(x, network, color=BLUE, linewidth=2.5, label="the network")
    finish(ax, "one network for all tasks draws the average wave", "x", "y", legend=True)
    distance = (network - average).square().mean().sqrt().item()
    words = f"The network's curve and the average wave, over {tasks} waves of the family in grey. "
    return fig, words + f"The typical distance between the two is {distance:.2f}."


def draw_fit(
    ax: Axes, episode: Episode, curves: dict[str, Tensor], title: str, *, legend: bool = True
) -> dict[str, Artist]:
    """Draw the true wave, the support points, and each named curve [201] over the grid. The episode is on the CPU.

    Returns:
        What was drawn, by its name in the legend.
    """
    limit = max(5.5, 1.3 * episode.query_y.abs().max().item())
    ax.plot(GRID.flatten(), episode.query_y.flatten(), color=BLACK, linestyle="--", linewidth=1.5, label="the task")
    for (name, curve), (color, dash) in zip(curves.items(), STYLES, strict=False):
        ax.plot(GRID.flatten(), curve.cpu().flatten(), color=color, linestyle=dash, linewidth=2.5, label=name)
    ax.plot(
        episode.support_x.flatten(), episode.support_y.flatten(), "o", color=BLACK, markersize=8, label="support points"
    )
    finish(ax, title, "x", "y", legend=legend)
    ax.set_ylim(-limit, limit)
    return {line.get_label(): line for line in ax.get_lines()}


def adaptation_panel(starts: dict[str, Params], *, inner_lr: float = 0.01) -> Panel:
    """Return a panel with sliders for the inner loop and the task.

    All starts adapt to the same support points, and their fits are drawn side by side.

    Args:
        starts: the parameters to start from, by name.
        inner_lr: the first value of the inner learning rate.
    """

    fig, axes = figure(height=4.2, ncols=len(starts), sharey=True, squeeze=False)
    drawn = {}
    for ax, name in zip(axes[0], starts, strict=True):
        flat = dict.fromkeys(("before", "after"), torch.zeros_like(GRID.flatten()))
        drawn[name] = draw_fit(ax, support_points(one_task(5.0, 0.0), 1), flat, name, legend=False)
        ax.label_outer()
    legend_of_all(fig, list(drawn[name].values()))
    canvas = Canvas(fig, [line for lines in drawn.values() for line in lines.values()])

    def redraw(
        inner_lr: float, steps: int, shots: int, amplitude: float, phase: float, half: bool
    ) -> tuple[Canvas, str]:
        episode = support_points(one_task(amplitude, phase), shots, half=half)
        learner = MAML(MLP(), mse, inner_lr=inner_lr, inner_steps=steps)
        errors = []
        for name, params in starts.items():
            there = episode.to(_device_of(params))
            trajectory = learner.adapt(params, there)
            before, after = (learner.answer(theta, there).cpu() for theta in (trajectory[0], trajectory[-1]))
            error = mse(after, episode.query_y).item()
            lines = drawn[name]
            lines["support points"].set_data(episode.support_x.flatten().numpy(), episode.support_y.flatten().numpy())
            for label, curve in {"the task": episode.query_y, "before": before, "after": after}.items():
                lines[label].set_ydata(curve.flatten().clamp(-99, 99).numpy())
            errors.append(
                f"{name}: mean squared error {mse(before, episode.query_y).item():.3g} → {error:.3g} "
                f"after {plural(steps, 'step')}"
            )
            if not error < 1e3:
                errors[-1] += (
                    f" — the adaptation diverged: α = {inner_lr:.2g} overshoots. "
                    "Move the inner learning rate to the left"
                )
        words = "; ".join(errors) + "."
        if steps == 0:
            words += " Without an inner step nothing adapts, so α and the support points change no curve."
        return canvas, words

    controls = {
        "inner_lr": log_slider("inner learning rate α", inner_lr, -4, 0),
        "steps": slider("inner steps", 1, 0, 20, 1),
        "shots": slider("shots K", 10, 1, 20, 1),
        "amplitude": slider("amplitude A", 3.0, 0.1, 5.0, 0.1),
        "phase": slider("phase φ (radians)", 1.0, 0.0, 3.1, 0.1),
        "half": widgets.Checkbox(value=False, description="left half only (x < 0)"),
    }
    names = " and ".join(starts)
    return Panel(controls, redraw, alt=f"Panel: sliders for the inner loop and the task; how {names} adapt to it.")


def draw_losses(ax: Axes, runs: dict[str, list[float]], title: str, *, first: int = 1) -> None:
    """Draw loss curves on a log scale, each in its own colour and dash, and the last one thicker.

    Args:
        ax: the axes.
        runs: the losses of each run, by what the legend calls it.
        title: the title of the axes.
        first: the number of the first run. A run of the same number always looks the same.
    """
    for i, (name, losses) in enumerate(runs.items(), start=first - 1):
        color, dash = LOOKS[i % len(LOOKS)]
        thick = 2.5 if i == first + len(runs) - 2 else 1.5
        ax.plot(range(1, len(losses) + 1), smooth(losses), color=color, linestyle=dash, linewidth=thick, label=name)
    ax.set_yscale("log")
    finish(ax, title, "meta-step (loss: mean of the last 50)", "query loss (MSE)")
    if len(runs) > 1:
        legend_below(ax)


def train_with_fit(trainer: Trainer, steps: int, *, title: str) -> list[float]:
    """Take `steps` meta-steps, and draw the loss and the fit to an unseen task as the training goes.

    Returns:
        The loss of each meta-step.
    """
    episode = support_points(one_task(3.0, 1.0), 10)
    there = episode.to(trainer.generator.device)

    def draw(done: list[Step]) -> tuple[Figure, str]:
        losses = [step.metrics["loss"] for step in done]
        fig, (left, right) = figure(height=4.4, ncols=2)
        draw_losses(left, {"training": losses}, title)
        fits = {
            f"after {plural(k, 'step')}": replace(trainer.learner, inner_steps=k).predict(trainer.params, there)
            for k in (0, 1, 10)
        }
        draw_fit(right, episode, fits, "an unseen task")
        loss = smooth(losses)[-1].item()
        return fig, f"{title}: meta-step {trainer.steps} of {steps}, loss {loss:.2f} (mean of the last 50)."

    done = panels.train_and_draw(
        trainer, steps, draw, alt="The loss and an unseen task's fit, drawn while the network trains."
    )
    return [step.metrics["loss"] for step in done]


def _device_of(params: Params) -> torch.device:
    """Return the device of parameters, which are all on one."""
    return next(iter(params.values())).device


class RetrainPanel:
    """A panel to choose the outer learning rate and the order, to train, and to compare the run with earlier ones.

    Every run starts from the same seed, so that runs differ only in what the reader chose. The picture shows the last
    RUNS of them, and calls each by the settings in which they differ.

    Args:
        steps: the first value of the number of meta-steps.
        inner_lr: the inner learning rate of all runs.
        seed: the seed of all runs.
        device: where to train.

    Attributes:
        runs: the losses of each run, by name.
        params: the parameters of the last run; None before the first one.
    """

    RUNS = 7  # there are as many looks of curves

    def __init__(
        self, *, steps: int = 1500, inner_lr: float = 0.01, seed: int = 0, device: str | torch.device = "cpu"
    ) -> None:
        self.inner_lr, self.seed, self.device = inner_lr, seed, device
        self.outer_lr = log_slider("outer learning rate", 1e-3, -5, 0)
        self.order = widgets.ToggleButtons(
            options=[("second order", 2), ("first order", 1)], description="meta-gradient"
        )
        self.steps = slider("meta-steps", steps, 100, 5000, 100)
        self.button = widgets.Button(description="Train", icon="play")
        self.button.on_click(lambda _button: self.train())
        self.note = widgets.HTML()
        self.picture = LivePicture()
        train = widgets.HBox([self.button, self.note], layout=widgets.Layout(flex_flow="row wrap"))
        self.box = panel_box([grid([self.outer_lr, self.steps, self.order]), train, self.picture.box])
        self.runs: dict[str, list[float]] = {}
        self._chosen: list[tuple[str, str, str]] = []  # the settings of each run, in words
        self.params: Params | None = None
        for control in (self.outer_lr, self.order, self.steps):
            control.observe(self._on_choice, names="value")
        self._on_choice()
        self._draw("Nothing has been trained yet.")

    def train(self) -> list[float]:
        """Train with the current values of the controls. Return the losses, and keep the parameters in `params`."""
        learner = MAML(MLP(), mse, inner_lr=self.inner_lr, order=self.order.value)
        chosen = self._settings()
        name = f"run {len(self.runs) + 1}: {', '.join(chosen)}"
        losses = self.runs[name] = []
        self._chosen.append(chosen)
        options = {"outer_lr": self.outer_lr.value, "seed": self.seed, "device": self.device}
        trainer = Trainer(learner, lambda g: sample(25, 10, 10, g), **options)
        self.button.disabled = True
        message = f"{name}: done."
        try:
            with self.picture.up_to_date():
                try:
                    for step in panels.meta_steps(trainer, self.steps.value):
                        losses.append(step.metrics["loss"])
                        if self.picture.due():
                            self._draw(f"{name}: meta-step {trainer.steps} of {self.steps.value}.")
                except Diverged as error:
                    message = f"{name} stopped: {error} Move the outer learning rate to the left."
                except KeyboardInterrupt:
                    message = f"{name}: interrupted at meta-step {trainer.steps}."
                self.params = trainer.params
                final = smooth(losses)[-1].item() if losses else float("nan")
                self._draw(f"{message} Loss {final:.3g} (mean of the last 50 meta-steps).")
        finally:
            self.button.disabled = False
        return losses

    def _settings(self) -> tuple[str, str, str]:
        order = {1: "1st order", 2: "2nd order"}[self.order.value]
        return f"rate {self.outer_lr.value:.2g}", order, f"{self.steps.value:,} steps"

    def _on_choice(self, _change: dict | None = None) -> None:
        """Say what the choices are for, because no curve changes before the next run."""
        self.note.value = paragraph(f"Press Train for a run with {', '.join(self._settings())}.")

    def _labels(self) -> list[str]:
        """Return what the legend calls the runs in the picture: by the settings in which they differ, or by all."""
        chosen = self._chosen[-self.RUNS :]
        differ = [len(set(values)) > 1 for values in zip(*chosen, strict=True)]
        differ = differ if any(differ) else [True] * len(differ)
        first = len(self._chosen) - len(chosen) + 1
        return [
            f"run {number}: {', '.join(value for value, tell in zip(values, differ, strict=True) if tell)}"
            for number, values in enumerate(chosen, start=first)
        ]

    def _draw(self, caption: str) -> None:
        fig, ax = figure(height=4.4)
        labels, losses = self._labels(), list(self.runs.values())[-self.RUNS :]
        title = "loss after one inner step, each run from the same start"
        if labels and any(losses):
            first = len(self.runs) - len(losses) + 1
            draw_losses(ax, dict(zip(labels, losses, strict=True)), title, first=first)
        else:
            finish(ax, "the loss curve will be drawn here", "meta-step", "query loss (MSE)")
        self.picture.draw(fig, caption)

    def show(self) -> None:
        """Display the panel."""
        show_widget(self.box, self.picture.still(), "Panel: outer learning rate, order, and a Train button.")


class FitPicture:
    """One task that is never trained on, and how well the current start fits it after 0, 1 and 5 inner steps.

    Args:
        device: where the network trains.
    """

    STEPS = (0, 1, 5)

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.episode = support_points(one_task(3.0, 1.0), 10)
        self.there = self.episode.to(device)

    def look(self, driver: steering.Driver) -> dict[int, Tensor]:
        """Return the predictions [201] by the number of inner steps, at the current settings, on the CPU."""
        learner = driver.trainer.learner
        trajectory = replace(learner, inner_steps=max(self.STEPS)).adapt(driver.trainer.params, self.there)
        return {steps: learner.answer(trajectory[steps], self.there).cpu().flatten() for steps in self.STEPS}

    def draw(self, figure: SubFigure) -> list[Artist]:
        """Draw the task, and return the curves that move."""
        ax = figure.subplots()
        flat = {plural(steps, "step"): torch.zeros(len(GRID.flatten())) for steps in self.STEPS}
        drawn = draw_fit(ax, self.episode, flat, "an unseen task after inner steps")
        self.lines = [drawn[name] for name in flat]
        return self.lines

    def update(self, data: dict[int, Tensor]) -> str:
        """Show the predictions that `look` returned, and return their errors in words."""
        errors = []
        for line, prediction in zip(self.lines, data.values(), strict=True):
            drawn = prediction.clamp(-99, 99)  # outside the axes, but not outside what matplotlib can draw
            line.set_ydata(drawn.numpy())  # matplotlib reads a tensor one number at a time
            error = (prediction - self.episode.query_y.flatten()).square().mean().item()
            errors.append(f"{error:.3g}" if math.isfinite(error) else "not a number, because the steps diverge")
        return f"Error on an unseen task after {', '.join(map(str, data))} inner steps: {', '.join(errors)}."


def training_panel(*, seed: int = 0, device: str | torch.device = "cpu") -> steering.SteeringPanel:
    """Return a panel that steers MAML on the sine family while it trains: `await training_panel().train(2000)`."""
    values = {"inner_lr": 0.01, "outer_lr": 1e-3, "inner_steps": 1, "order": 2}
    learner = MAML(MLP(), mse, inner_lr=torch.tensor(0.01, device=device))  # a tensor changes without a new learner
    driver = steering.Driver(learner, lambda g: sample(25, 10, 10, g), values, seed=seed, device=device)
    fit = FitPicture(device)
    alt = "Panel: sliders that steer MAML on sine waves while it trains; its loss, and an unseen task's fit."
    presets = {"Blow it up": {"outer_lr": 1.0}, "Calm it": {"outer_lr": 1e-4}, "First order": {"order": 1}}
    view = View(fit, loss="query loss (MSE)")
    return steering.SteeringPanel(driver, view, look=fit.look, presets=presets, alt=alt)


def joint_prediction(params: Params) -> Tensor:
    """Return the predictions of a network over the grid, without adaptation: [201] on the CPU."""
    with torch.no_grad():
        return MLP()(for_tasks(params, 1), GRID.to(_device_of(params))).cpu().flatten()
