"""A training whose settings change while it runs. Nothing here knows of notebooks or widgets."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ....checkpoint import replace_file
from ....train import Adam, Diverged, Learner, Optimizer, Step, Trainer

RECENT = 10  # a training's loss is the mean of so many steps: of one step it is mostly chance
FACTOR = 100  # so many times the best loss is a divergence
HEALTHY = 10  # parameters are good if the steps after them had at most so many times the best loss
FLOOR = 1e-3  # of the first loss: no best counts as smaller, or a loss of 0 could never be kept
KEEP = 20  # steps from one copy of the training's state to the next

LABELS = {"inner_lr": "inner learning rate", "outer_lr": "outer learning rate"}


def label(name: str) -> str:
    """What a setting is called in words."""
    return LABELS.get(name, name.replace("_", " "))


@dataclass(frozen=True)
class Change:
    """From meta-step `step` on, counted from 1, the setting `name` was `value`."""

    step: int
    name: str
    value: float


@dataclass(frozen=True)
class Gone:
    """A stretch of training that was taken back: its losses, the first of them of meta-step `step`."""

    step: int
    losses: list[float]


@dataclass
class History:
    """All that a training needs to be repeated number for number, and the losses it had.

    Args:
        seed: of the initial parameters and of what is sampled.
        start: the settings before the first step.
        changes: in the order of their steps.
        losses: one a meta-step.
    """

    seed: int
    start: dict[str, float]
    changes: list[Change] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def save(self, path: str | Path) -> None:
        """Write it as JSON, all or nothing: a file already at `path` is replaced only by a whole one."""
        replace_file(path, f"{json.dumps(asdict(self), indent=1, allow_nan=False)}\n".encode())

    @classmethod
    def load(cls, path: str | Path) -> History:
        """What `save` wrote.

        Raises:
            ValueError: the file is not a history.
        """
        try:
            read = json.loads(Path(path).read_text())
            return cls(read["seed"], read["start"], [Change(**change) for change in read["changes"]], read["losses"])
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a saved history: {type(error).__name__}: {error}") from None


class WentBack(Diverged):
    """A training diverged and was taken back to where it was good.

    Attributes:
        name: the setting that most likely did it.
    """

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


class Driver:
    """A meta-training that is steered: settings change between two steps, and every change is logged.

    A setting is `outer_lr`, or the name of a field of the learner. Where that field holds a tensor without axes, the
    number in it is changed and the learner stays the same, so that a step recorded on a GPU follows; for any other
    field the learner is replaced, and a GPU records the step when the learner is first used: going back is free.

    Args:
        learner: what is trained; a dataclass.
        sample: draws what the learner trains on, from a generator.
        values: the settings that can be changed, and where they start. `outer_lr` is one of them.
        seed: of the initial parameters and of everything that is sampled.
        optimizer: makes the step.
        device: where to train, and where a learner's tensors must be.

    Attributes:
        trainer: the training itself.
        values: the settings as they are now.
        history: what was done so far.
        gone: the stretch that the last divergence took back.
        earlier: the losses before the last reset.
    """

    def __init__(
        self,
        learner: Learner,
        sample: Callable[[torch.Generator], Any],
        values: dict[str, float],
        *,
        seed: int = 0,
        optimizer: type[Optimizer] = Adam,
        device: str | torch.device = "cpu",
    ) -> None:
        if "outer_lr" not in values:
            raise ValueError(f"values={values} must have an outer_lr")
        for name in values:
            if name != "outer_lr" and not hasattr(learner, name):
                raise ValueError(f"values={values}: {type(learner).__name__} has no {name}")
        self.seed = seed
        self._new = lambda seed: Trainer(learner, sample, seed=seed, optimizer=optimizer, device=device)
        self.trainer = self._new(seed)
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
        self._kept = self._good = self._copy()

    @property
    def steps(self) -> int:
        """How many meta-steps were taken."""
        return len(self.history.losses)

    @property
    def loss(self) -> float:
        """The mean loss of the last RECENT steps."""
        return _recent(self.history.losses)

    def set(self, name: str, value: float) -> None:
        """Change a setting: the next step is the first with the new value.

        Raises:
            ValueError: there is no such setting, or its value is not one it can have. Nothing has changed then.
        """
        if name not in self.values:
            raise ValueError(f"{name}={value!r}: the settings are {', '.join(self.values)}")
        _check(name, value)
        if value != self.values[name]:
            self._put(name, value)
            self._log(name, value)

    def step(self) -> Step:
        """Take a meta-step.

        Raises:
            WentBack: the loss was not finite, or FACTOR times its best. Parameters, optimizer, random numbers and
                history are then those of the last good step; the settings stay as they are, for somebody to change.
        """
        try:
            step = self.trainer.step()
        except Diverged:
            raise self._go_back(math.nan) from None
        except BaseException:  # an interrupt, say: half a step cannot be replayed
            self._rewind()
            raise
        losses = self.history.losses
        losses.append(step.metrics["loss"])
        recent = self.loss
        self._best = min(self._best, max(recent, FLOOR * losses[0]))
        if recent >= FACTOR * self._best:
            raise self._go_back(losses[-1])
        if self.steps % KEEP == 0 and recent <= HEALTHY * self._best:
            self._good, self._kept = self._kept, self._copy()
        return step

    def reset(self, seed: int | None = None) -> None:
        """Back to before the first step, with the settings as they are now: the same tensors, with fresh numbers."""
        self.seed = self.seed if seed is None else seed
        self.trainer.load_state(self._new(self.seed).state())
        self.earlier = self.history.losses
        self._begin()

    def replay(self, history: History) -> Iterator[Step]:
        """Begin anew and repeat a history, step by step."""
        for name, value in history.start.items():
            self.set(name, value)
        self.reset(history.seed)
        changes = _by_step(history.changes)
        for number in range(1, len(history.losses) + 1):
            for change in changes.get(number, ()):
                self.set(change.name, change.value)
            yield self.step()

    def _put(self, name: str, value: float) -> None:
        if name == "outer_lr":
            self.trainer.outer_lr = value
        elif isinstance(now := getattr(self.trainer.learner, name), Tensor):
            now.fill_(value)
        else:
            new = replace(self.trainer.learner, **{name: value})
            fields = (getattr(new, field) for field in self._fields)
            self.trainer.learner = self._learners.setdefault(tuple(fields), new)
        self.values[name] = value

    def _log(self, name: str, value: float) -> None:
        """Only the last value at a step counts, and none if it is the one before."""
        self.history.changes = [c for c in self.history.changes if (c.step, c.name) != (self.steps + 1, name)]
        if value != self._logged()[name]:
            self.history.changes.append(Change(self.steps + 1, name, value))

    def _logged(self) -> dict[str, float]:
        """The settings after all changes in the log."""
        return self.history.start | {change.name: change.value for change in self.history.changes}

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.trainer.state().items()}

    def _go_back(self, loss: float) -> WentBack:
        """Return to the last good step, and say so."""
        at, name = self.steps + (not math.isfinite(loss)), self._suspect()
        losses = self.history.losses
        self._rewind()
        self.gone = Gone(self.steps + 1, losses[self.steps :])
        best = "" if not math.isfinite(loss) else f", {FACTOR} times the best"
        return WentBack(
            f"The training diverged: at meta-step {at} the loss was {loss:.3g}{best}. It is back at meta-step "
            f"{self.steps}, where it was well. Move the {label(name)} to the left (it is {self.values[name]:.3g}), "
            "then go on.",
            name,
        )

    def _rewind(self) -> None:
        """Return to the last good step, as if what came after had not been; the settings stay."""
        history = self.history
        self.trainer.load_state(self._good)
        self._kept = self._good
        back = self.trainer.steps
        history.losses = history.losses[:back]
        history.changes = [change for change in history.changes if change.step <= back]
        logged = self._logged()
        history.changes += [Change(back + 1, name, v) for name, v in self.values.items() if v != logged[name]]

    def _suspect(self) -> str:
        """The setting that was raised last, or else the outer learning rate."""
        values, found = dict(self.history.start), "outer_lr"
        for change in self.history.changes:
            if change.value > values[change.name] and change.name != "order":
                found = change.name
            values[change.name] = change.value
        return found


def _check(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{name}={value!r} must be a finite number of at least 0")


def _recent(losses: list[float]) -> float:
    last = losses[-RECENT:]
    return sum(last) / len(last) if last else math.nan


def _by_step(changes: list[Change]) -> dict[int, list[Change]]:
    found: dict[int, list[Change]] = {}
    for change in changes:
        found.setdefault(change.step, []).append(change)
    return found
