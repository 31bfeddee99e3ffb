"""A training whose settings can change while it runs. Nothing here depends on notebooks or widgets."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ....engine.rollback import Rollback
from ....files import replace_file
from ....learners import Learner
from ....optim import Adam, Optimizer
from ....train import Diverged, Step, Trainer

RECENT = 10  # a training's loss is the mean of this many steps, because a single step's loss is mostly chance
FACTOR = 100  # a loss of this many times the best one is a divergence
HEALTHY = 10  # parameters are good if the loss after them is at most this many times the best one
FLOOR = 1e-3  # the best loss counts as at least this share of the first; otherwise a loss of 0 could never be kept
KEEP = 20  # how many steps there are from one copy of the training's state to the next
RECORDINGS = 22  # how many recorded meta-steps a GPU keeps: the sliders offer 0 to 10 inner steps of two orders

LABELS = {"inner_lr": "inner learning rate", "outer_lr": "outer learning rate"}


def label(name: str) -> str:
    """Return the name of a setting in words."""
    return LABELS.get(name, name.replace("_", " "))


@dataclass(frozen=True)
class Change:
    """A change of a setting: from meta-step `step` on, counted from 1, the setting `name` has the value `value`."""

    step: int
    name: str
    value: float


@dataclass(frozen=True)
class Gone:
    """A stretch of training that was taken back: its losses, the first of which belongs to meta-step `step`."""

    step: int
    losses: list[float]


@dataclass
class History:
    """Everything that is needed to repeat a training number for number, and the losses it had.

    Args:
        seed: the seed of the initial parameters and of everything that is sampled.
        start: the settings before the first step.
        changes: the changes of settings, in the order of their steps.
        losses: one loss per meta-step.
    """

    seed: int
    start: dict[str, float]
    changes: list[Change] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def save(self, path: str | Path) -> None:
        """Write the history as JSON. A file that is already at `path` is replaced only by a complete one.

        Raises:
            OSError: the file cannot be written.
        """
        replace_file(path, f"{json.dumps(asdict(self), indent=1, allow_nan=False)}\n".encode())

    @classmethod
    def load(cls, path: str | Path) -> History:
        """Read a history that `save` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is not a saved history.
        """
        try:
            read = json.loads(Path(path).read_text())
            return cls(read["seed"], read["start"], [Change(**change) for change in read["changes"]], read["losses"])
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a saved history: {type(error).__name__}: {error}") from None


class WentBack(Diverged):
    """A training diverged and was taken back to its last good step.

    Attributes:
        name: the setting that most likely caused the divergence.
    """

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


class Driver:
    """A meta-training that is steered: settings can change between two steps, and every change is logged.

    A setting is `outer_lr`, or the name of a field of the learner. If the field holds a tensor without axes, its number
    is changed in place and the learner stays the same, so that a step recorded on a GPU follows. For any other field,
    the learner is replaced by another one. A GPU records the step when it first uses a learner, and keeps the
    recording, so that going back to a learner costs nothing.

    Args:
        learner: what is trained; it is a dataclass.
        sample: draws what the learner trains on, from a generator.
        values: the settings that can be changed, with their first values. `outer_lr` must be one of them.
        seed: the seed of the initial parameters and of everything that is sampled.
        optimizer: makes the optimizer, as in `Trainer`.
        device: where to train. The learner's tensors must be there too.

    Attributes:
        trainer: the training itself.
        values: the current settings.
        history: what has been done so far.
        gone: the stretch that the last divergence took back; None if there was no divergence.
        earlier: the losses before the last reset.

    Raises:
        ValueError: `values` has no `outer_lr`, the learner has no field of a name in it, or a value is not a finite
            number of at least 0.
    """

    def __init__(
        self,
        learner: Learner,
        sample: Callable[[torch.Generator], Any],
        values: dict[str, float],
        *,
        seed: int = 0,
        optimizer: Callable[[Tensor], Optimizer] = Adam,
        device: str | torch.device = "cpu",
    ) -> None:
        if "outer_lr" not in values:
            raise ValueError(f"values={values} must have an outer_lr")
        for name in values:
            if name != "outer_lr" and not hasattr(learner, name):
                raise ValueError(f"values={values}: {type(learner).__name__} has no {name}")
        self.seed = seed
        self._new = lambda seed: Trainer(
            learner, sample, seed=seed, optimizer=optimizer, device=device, recordings=RECORDINGS
        )
        self.trainer = self._new(seed)
        self._rollback = Rollback(self.trainer.state, self.trainer.load_state)
        self.values: dict[str, float] = {}
        self._fields = [n for n in values if n != "outer_lr" and not isinstance(getattr(learner, n), Tensor)]
        self._learners = {tuple(getattr(learner, name) for name in self._fields): learner}
        for name, value in values.items():
            _check(name, value)
            self._put(name, value)
        self._begin()
        self.earlier: list[float] = []

    def _begin(self) -> None:
        self.history = History(self.seed, dict(self.values))
        self.gone: Gone | None = None
        self._best = math.inf
        self._rollback.start_over()

    @property
    def steps(self) -> int:
        """Return how many meta-steps have been taken."""
        return len(self.history.losses)

    @property
    def loss(self) -> float:
        """Return the mean loss of the last RECENT steps; nan before the first step."""
        return _recent(self.history.losses)

    def set(self, name: str, value: float) -> None:
        """Change a setting. The next step is the first one with the new value.

        Raises:
            ValueError: there is no such setting, or it cannot have this value. Nothing has changed then.
        """
        if name not in self.values:
            raise ValueError(f"{name}={value!r}: the settings are {', '.join(self.values)}")
        _check(name, value)
        if value != self.values[name]:
            self._put(name, value)
            self._log(name, value)

    def step(self) -> Step:
        """Take one meta-step.

        Raises:
            WentBack: the loss was not finite, or the mean of the recent losses reached FACTOR times its best value.
                Parameters, optimizer, random numbers and history are then those of the last good step. The settings
                stay as they are, so that the reader can change them.
        """
        try:
            step = self.trainer.step()
        except Diverged:
            raise self._go_back(math.nan) from None
        except BaseException:  # for example an interrupt; half a step cannot be replayed
            self._rewind()
            raise
        losses = self.history.losses
        losses.append(step.metrics["loss"])
        recent = self.loss
        self._best = min(self._best, max(recent, FLOOR * losses[0]))
        if recent >= FACTOR * self._best:
            raise self._go_back(losses[-1])
        if self.steps % KEEP == 0 and recent <= HEALTHY * self._best:
            self._rollback.keep()
        return step

    def reset(self, seed: int | None = None) -> None:
        """Go back to before the first step, with the current settings. The tensors stay the same and get fresh numbers.

        Args:
            seed: the new seed; None for the same as before.
        """
        self.seed = self.seed if seed is None else seed
        self.trainer.load_state(self._new(self.seed).state())
        self.earlier = self.history.losses
        self._begin()

    def replay(self, history: History) -> Iterator[Step]:
        """Reset the training, and repeat a history step by step."""
        for name, value in history.start.items():
            self.set(name, value)
        self.reset(history.seed)
        changes = _by_step(history.changes)
        for number in range(1, len(history.losses) + 1):
            for change in changes.get(number, ()):
                self.set(change.name, change.value)
            yield self.step()

    def _put(self, name: str, value: float) -> None:
        """Give a setting a value, in the trainer or in its learner."""
        if name == "outer_lr":
            self.trainer.outer_lr = value
        elif isinstance(tensor := getattr(self.trainer.learner, name), Tensor):
            tensor.fill_(value)
        else:
            new = replace(self.trainer.learner, **{name: value})
            fields = (getattr(new, field) for field in self._fields)
            self.trainer.learner = self._learners.setdefault(tuple(fields), new)
        self.values[name] = value

    def _log(self, name: str, value: float) -> None:
        """Log a change. Only the last value at a step counts, and none does if it equals the value before the step."""
        self.history.changes = [c for c in self.history.changes if (c.step, c.name) != (self.steps + 1, name)]
        if value != self._logged()[name]:
            self.history.changes.append(Change(self.steps + 1, name, value))

    def _logged(self) -> dict[str, float]:
        """Return the settings after all the changes in the log."""
        return self.history.start | {change.name: change.value for change in self.history.changes}

    def _go_back(self, loss: float) -> WentBack:
        """Go back to the last good step, and return the error that says so."""
        number, name = self.steps + (not math.isfinite(loss)), self._suspect()
        losses = self.history.losses
        self._rewind()
        self.gone = Gone(self.steps + 1, losses[self.steps :])
        best = "" if not math.isfinite(loss) else f", {FACTOR} times the best"
        return WentBack(
            f"The training diverged: at meta-step {number} the loss was {loss:.3g}{best}. It is back at meta-step "
            f"{self.steps}, where its loss was still low. Move the {label(name)} to the left (it is "
            f"{self.values[name]:.3g}), then go on.",
            name,
        )

    def _rewind(self) -> None:
        """Go back to the last good step, as if the later steps had not been taken. The settings stay as they are."""
        history = self.history
        self._rollback.go_back()
        back = self.trainer.steps
        history.losses = history.losses[:back]
        history.changes = [change for change in history.changes if change.step <= back]
        logged = self._logged()
        history.changes += [Change(back + 1, name, v) for name, v in self.values.items() if v != logged[name]]

    def _suspect(self) -> str:
        """Return the setting that was raised last, or the outer learning rate if none was raised."""
        values, suspect = dict(self.history.start), "outer_lr"
        for change in self.history.changes:
            if change.value > values[change.name] and change.name != "order":
                suspect = change.name
            values[change.name] = change.value
        return suspect


def _check(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{name}={value!r} must be a finite number of at least 0")


def _recent(losses: list[float]) -> float:
    last = losses[-RECENT:]
    return sum(last) / len(last) if last else math.nan


def _by_step(changes: list[Change]) -> dict[int, list[Change]]:
    grouped: dict[int, list[Change]] = {}
    for change in changes:
        grouped.setdefault(change.step, []).append(change)
    return grouped
