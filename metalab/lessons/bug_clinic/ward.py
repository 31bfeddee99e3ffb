"""The ward of the bug clinic: what a patient needs besides its own code, and the table at which it is examined.

The data and the small networks are made here, so that a cell of the lesson shows what is sick and little else. All of
it is plain PyTorch on the CPU.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from ...analysis.diagnosis import Task, mlp
from ...analysis.examinations import EXAMINATIONS, Finding, Make, Patient
from ...tasks import Characters, sine
from ..kit.figures import BLACK, LOOKS, figure, finish, smooth
from ..kit.panels import paragraph, show_widget
from ..kit.reader import say

INNER_LR, OUTER_LR = 0.01, 3e-3  # of the learners on sines
TASKS, SHOTS, QUERIES = 10, 5, 10

# Data


def sine_tasks(generator: torch.Generator) -> list[Task]:
    """Draw a meta-batch of ten tasks of lesson 1, each with 5 support points and 10 queries, [5, 1] and [10, 1].

    All is in double precision, in which finite differences are exact to many digits.
    """
    e = sine.sample(TASKS, SHOTS, QUERIES, generator)
    return list(zip(*(t.double() for t in (e.support_x, e.support_y, e.query_x, e.query_y)), strict=True))


def sine_task(generator: torch.Generator) -> Task:
    """Draw one such task."""
    return sine_tasks(generator)[0]


def sine_points(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw 50 points of the one wave y = 2 sin x: x [50, 1] and y [50, 1]."""
    x = 10 * torch.rand(50, 1, generator=generator) - 5
    return x, 2 * torch.sin(x)


def character_task(
    characters: Characters, ways: int = 5, shots: int = 1, queries: int = 4
) -> Callable[[torch.Generator], Task]:
    """Return a function that draws a task of characters: support [ways × shots, 1, 28, 28] with labels, and queries."""

    def draw(generator: torch.Generator) -> Task:
        e = characters.sample(1, ways, shots, queries, generator)
        return e.support_x[0], e.support_y[0], e.query_x[0], e.query_y[0]

    return draw


def names(characters: Characters) -> list[tuple[str, str]]:
    """Return the name of each character, as (alphabet, character)."""
    counts: dict[str, int] = {}
    found = []
    for index in characters.alphabet.tolist():
        alphabet = characters.names[index]
        counts[alphabet] = counts.get(alphabet, 0) + 1
        found.append((alphabet, f"character {counts[alphabet]}"))
    return found


def one_each(classes: Sequence[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
    """Return each of the classes with the one character that is in it."""
    return {" ".join(reversed(c)): [c] for c in classes}


# Networks and learners


def sine_params(seed: int = 0) -> list[Tensor]:
    """Draw the parameters [w1, b1, w2, b2, w3, b3] of a network 1-40-40-1, as leaf tensors in double precision."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(1, 40), (40,), (40, 40), (40,), (40, 1), (1,)]
    draws = [torch.randn(s, generator=generator) / s[0] ** 0.5 if len(s) == 2 else torch.zeros(s) for s in shapes]
    return [p.double().requires_grad_() for p in draws]


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Return a new module whose first parameters depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def sine_network() -> nn.Module:
    """Return a network from [B, 1] to [B, 1] with two hidden layers of 40, in double precision."""

    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1)).double()

    return seeded(make)


def small_network() -> nn.Module:
    """Return a network from [B, 1] to [B, 1] with one hidden layer of 40."""
    return seeded(lambda: nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 1)))


def embedding() -> nn.Module:
    """Return a small convolutional network with batch norm, from [B, 1, 28, 28] to [B, 144]."""

    def make() -> nn.Module:
        blocks: list[nn.Module] = []
        for inputs in (1, 16, 16):
            blocks += [nn.Conv2d(inputs, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*blocks, nn.Flatten())

    return seeded(make)


def meta_learner(
    meta_loss: Callable[[list[Tensor], list[Task], float], Tensor], *, order: int = 2
) -> Callable[[], Patient]:
    """Return the maker of a patient on sines that trains by `meta_loss`, and adapts by one gradient step.

    Args:
        meta_loss: (params, tasks, inner_lr) to the loss of a meta-batch.
        order: the order that is meant.
    """

    def make() -> Patient:
        params = sine_params()
        optimizer = torch.optim.Adam(params, lr=OUTER_LR)

        def step(tasks: list[Task]) -> float:
            loss = meta_loss(params, tasks, INNER_LR)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()

        def predict(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
            loss = F.mse_loss(mlp(params, support_x), support_y)
            grads = torch.autograd.grad(loss, params)
            return mlp([p - INNER_LR * g for p, g in zip(params, grads, strict=True)], query_x)

        return Patient(
            parameters=params,
            step=step,
            batch=sine_tasks,
            loss=lambda tasks: meta_loss(params, tasks, INNER_LR),
            predict=predict,
            task=sine_task,
            meta_loss=meta_loss,
            order=order,
        )

    return make


def train(make: Callable[[], Patient], steps: int) -> tuple[Patient, list[float]]:
    """Make a patient and train it for some steps. Return it, and the loss of each step."""
    patient, generator = make(), torch.Generator().manual_seed(1)
    return patient, [float(patient.step(patient.batch(generator))) for _ in range(steps)]


def falls(losses: Sequence[float]) -> bool:
    """Tell whether the last 20 training losses are below 90 % of the first 20, in the mean."""
    return sum(losses[-20:]) < 0.9 * sum(losses[:20])


def accuracy(patient: Patient, tasks: int = 100, seed: int = 2) -> float:
    """Return the share of right answers to the queries of fresh tasks."""
    generator = torch.Generator().manual_seed(seed)
    shares = []
    for _ in range(tasks):
        support_x, support_y, query_x, query_y = patient.task(generator)
        scores = patient.predict(support_x, support_y, query_x).detach()
        shares.append((scores.argmax(1) == query_y).double().mean().item())
    return sum(shares) / tasks


# What is seen


def draw_losses(
    curves: Mapping[str, Sequence[float]], title: str, *, floor: tuple[str, float] | None = None
) -> tuple[Figure, str]:
    """Draw training losses, smoothed, and a line to compare them with. Return the figure and its description.

    Args:
        curves: the losses of each step, by the name of the curve.
        title: the title.
        floor: the name and the height of a horizontal line.
    """
    fig, ax = figure(7, 3.4)
    for (name, losses), (colour, dash) in zip(curves.items(), LOOKS, strict=False):
        ax.plot(range(1, len(losses) + 1), smooth(list(losses), 20), dash, color=colour, linewidth=2, label=name)
    words = [f"{name}: from {losses[0]:.3g} to {sum(losses[-20:]) / 20:.3g}" for name, losses in curves.items()]
    if floor:
        ax.axhline(floor[1], color=BLACK, linestyle=":", linewidth=1.5, label=floor[0])
        words.append(f"{floor[0]}: {floor[1]:.3g}")
    ax.set_ylim(bottom=0)
    ax.set_ylim(top=1.06 * ax.get_ylim()[1])  # a curve that stays flat is not at the frame
    finish(ax, title, "training step", "training loss", legend=True)
    return fig, f"Training loss over the steps. {'; '.join(words)}."


def tell(*findings: Finding) -> None:
    """Print findings, in lines that fit a page."""
    for finding in findings:
        say(str(finding))


class Table:
    """The examination table: a button for each examination that a patient allows, and the findings below.

    Args:
        name: the patient's name.
        make: makes the patient.
    """

    def __init__(self, name: str, make: Make) -> None:
        self.name, self.make = name, make
        self.done: dict[str, Finding] = {}
        patient = make()
        self.allowed = [e for e in EXAMINATIONS.values() if e.fits(patient)]
        self._status, self._list = widgets.HTML(), widgets.HTML()
        self.buttons = {e.name: widgets.Button(description=e.name, tooltip=e.question) for e in self.allowed}
        for button in self.buttons.values():
            button.layout.width = "auto"
            button.on_click(lambda pressed: self.examine(pressed.description))
        row = widgets.HBox(list(self.buttons.values()), layout=widgets.Layout(flex_flow="row wrap"))
        self.box = widgets.VBox([self._status, row, self._list])
        self._tell()

    def examine(self, name: str) -> None:
        """Do one examination, and show what it found below the others."""
        self._status.value = paragraph(f"Examining: {name} …", "status")
        try:
            found = EXAMINATIONS[name](self.make)
        except Exception as error:  # a patient may break in any way, and the page shows no traceback of a button
            message = (str(error).strip().splitlines() or [""])[0]
            found = Finding(name, "ill", f"It stops with {type(error).__name__}: {message}")
        self.done[name] = found
        self._tell()

    def show(self) -> None:
        """Display the table."""
        words = f"The examination table for {self.name}, with a button for each of {len(self.allowed)} examinations."
        show_widget(self.box, b"", words)

    def _tell(self) -> None:
        count = len(self.done)
        self._status.value = paragraph(
            f"{self.name}: choose an examination."
            if not count
            else f"{self.name}: {count} of {len(self.allowed)} examinations done.",
            "status",
        )
        self._list.value = "".join(paragraph(str(finding)) for finding in self.done.values())


def examination_table(name: str, make: Make) -> Table:
    """Show the table at which the reader examines a patient."""
    table = Table(name, make)
    table.show()
    return table


def toolbox() -> Iterator[tuple[str, str]]:
    """Yield the name of each examination and what it does."""
    for e in EXAMINATIONS.values():
        yield e.name, e.question


def print_toolbox() -> None:
    """Print the name of each examination and what it does."""
    widest = max(len(name) for name in EXAMINATIONS)
    for name, does in toolbox():
        lines = textwrap.wrap(does, 86 - widest)
        print("\n".join(f"{name if not i else '':{widest}}  {line}" for i, line in enumerate(lines)))


def attempt(function: Callable[..., Any], *arguments: Any) -> str:
    """Call a function, and return what it stopped with, in one line; "It ran through." if it did not stop."""
    try:
        function(*arguments)
    except Exception as error:  # whatever it is, the lesson shows it
        return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    return "It ran through."
