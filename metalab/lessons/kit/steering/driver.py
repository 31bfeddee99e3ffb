"""A training whose settings can change while it runs. Nothing here depends on notebooks or widgets."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ....arguments import function, one_of, real, shown, whole
from ....engine.rollback import Rollback
from ....files import replace_file
from ....learners import Learner
from ....optim import Adam, Optimizer
from ....train import Diverged, Step, Trainer

RECENT = 10  # a training's loss is the mean of this many steps, because a single step's loss is mostly chance
FACTOR = 100  # a loss of this many times the best one is a divergence
HEALTHY = 10  # parameters are good if the loss after them is at most this many times the best one
FLOOR = 1e-3  # the best loss counts as at least this share of the first ones, or none after a loss of 0 could be kept
KEEP = 20  # how many steps there are from one copy of the training's state to the next
MOST = torch.finfo(torch.float32).max  # a larger setting would be infinite in a tensor of single precision
KEPT_RUNS = 4  # how many of the runs before a reset are kept, to compare the next one with them
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

    def check(self) -> None:
        """Check every field: its type, its range, and whether it fits the others.

        Raises:
            ValueError: no training can have had this history. The message names the field, its value, and what would
                be right.
        """
        try:
            whole(least=0, seed=self.seed)
            for name, kind in (("start", dict), ("changes", list), ("losses", list)):
                if not isinstance(value := getattr(self, name), kind):
                    raise TypeError(f"{name}={shown(value)} must be a {kind.__name__}")
            if "outer_lr" not in self.start:
                raise ValueError(f"start={shown(self.start)} must have an outer_lr")
            real(least=0, most=MOST, **{f"start[{name!r}]": value for name, value in self.start.items()})
            real(**{f"losses[{i}]": loss for i, loss in enumerate(self.losses)})
            step, most = 1, len(self.losses) + 1
            for i, change in enumerate(self.changes):
                if not isinstance(change, Change):
                    raise TypeError(f"changes[{i}]={shown(change)} must be a Change")
                # The changes are in the order of their steps, and the last one may come after the last loss.
                whole(least=step, most=most, **{f"changes[{i}].step": change.step})
                one_of(self.start, **{f"changes[{i}].name": change.name})
                real(least=0, most=MOST, **{f"changes[{i}].value": change.value})
                step = change.step
        except TypeError as error:
            raise ValueError(f"{error}") from None

    def save(self, path: str | Path) -> None:
        """Write the history as JSON. A file that is already at `path` is replaced only by a complete one.

        Raises:
            OSError: the file cannot be written.
            ValueError: `check` rejects the history.
        """
        self.check()
        replace_file(path, f"{json.dumps(asdict(self), indent=1, allow_nan=False)}\n".encode())

    @classmethod
    def load(cls, path: str | Path) -> History:
        """Read a history that `save` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is not a saved history. The message names the file and what is wrong in it.
        """
        path = Path(path)
        try:
            if path.exists() and not path.is_file():  # reading a pipe could wait for ever
                raise ValueError("it is no regular file")
            read = _of_fields(cls, json.loads(path.read_bytes().decode()), "the file")
            if isinstance(read["changes"], list):
                changes = (_of_fields(Change, change, f"changes[{i}]") for i, change in enumerate(read["changes"]))
                read["changes"] = [Change(**change) for change in changes]
            history = cls(**read)
            history.check()
        except RecursionError:
            raise ValueError(f"{path} is not a saved history: it is nested too deeply") from None
        except ValueError as error:  # no UTF-8 and no JSON are ValueErrors too
            raise ValueError(f"{path} is not a saved history: {error}") from None
        return history


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
        earlier: the last KEPT_RUNS runs that a reset ended, the latest last.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `values` has no `outer_lr`, the learner has no field of a name in it, a value is none that the
            setting can have, or a field holds a tensor whose number cannot be changed.
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
        whole(least=0, seed=seed)
        function(sample=sample, optimizer=optimizer)
        if not is_dataclass(learner) or isinstance(learner, type):
            raise TypeError(f"learner={shown(learner)} must be a learner, and a dataclass")
        if not isinstance(values, Mapping) or "outer_lr" not in values:
            raise ValueError(f"values={shown(values)} must have an outer_lr")
        types = {each.name: each.type for each in fields(learner)}
        held = {name: getattr(learner, name) for name in values if name in types}
        for name in values:
            if name != "outer_lr" and name not in types:
                raise ValueError(f"values={shown(values)}: {type(learner).__name__} has no {name}")
            tensor = held.get(name)
            if isinstance(tensor, Tensor) and (tensor.dim() or tensor.dtype not in (torch.float32, torch.float64)):
                raise ValueError(
                    f"{name} of {type(learner).__name__} is a tensor of shape {list(tensor.shape)} and {tensor.dtype}; "
                    "it must have no axes, and float32 or float64"
                )
        self._fields = [name for name, value in held.items() if not isinstance(value, Tensor)]
        self._whole = {name for name in self._fields if types[name] in (int, "int")}
        self.values: dict[str, float] = dict(values)
        self.values, settled = self._settled(values.items(), learner)
        self.seed = seed
        self._new = lambda seed: Trainer(
            learner, sample, seed=seed, optimizer=optimizer, device=device, recordings=RECORDINGS
        )
        self.trainer = self._new(seed)
        self._rollback = Rollback(self.trainer.state, self.trainer.load_state)
        self._learners: dict[tuple, Learner] = {}
        self._put(self.values, settled)
        self._begin()
        self.earlier: list[History] = []

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
        values, learner = self._settled([(name, value)], self.trainer.learner)
        if values[name] != self.values[name]:
            self._put(values, learner)
            self._log(name, values[name])

    def check(self, values: Mapping[str, float]) -> None:
        """Check that settings can have these values now, without a change.

        Raises:
            ValueError: there is no such setting, or it cannot have this value.
        """
        self._settled(values.items(), self.trainer.learner)

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
        # As long as all losses are 0, none is large. A negative loss has no multiple that is worse, so that there the
        # best one is taken to be as large as the first ones were.
        if scale := max(map(abs, losses[:RECENT])) or abs(losses[-1]):
            self._best = min(self._best, max(recent, FLOOR * scale) if recent >= 0 else scale)
        if recent >= FACTOR * self._best:
            raise self._go_back(losses[-1])
        if self.steps % KEEP == 0 and recent <= HEALTHY * self._best:
            self._rollback.keep()
        return step

    def reset(self, seed: int | None = None) -> None:
        """Go back to before the first step, with the current settings. The tensors stay the same and get fresh numbers.

        Args:
            seed: the new seed; None for the same as before.

        Raises:
            TypeError: the seed is no whole number.
            ValueError: the seed is out of range. Nothing has changed then.
        """
        seed = self.seed if seed is None else seed
        whole(least=0, seed=seed)
        fresh = self._new(seed).state()
        try:
            self.trainer.load_state(fresh)
        except BaseException:  # for example an interrupt; half a reset cannot be replayed
            self._rewind()
            raise
        if self.steps:
            self.earlier = [*self.earlier, self.history][-KEPT_RUNS:]
        self.seed = seed
        self._begin()

    def replay(self, history: History) -> Iterator[Step]:
        """Reset the training, and repeat a history step by step.

        Raises:
            TypeError: it is no history.
            ValueError: `check` rejects the history, or its settings are not those of this training, or cannot have the
                values that they have there. Nothing has changed then.
        """
        if not isinstance(history, History):
            raise TypeError(f"history={shown(history)} must be a History; History.load(path) reads one")
        history.check()
        if history.start.keys() != self.values.keys():
            raise ValueError(
                f"the history has the settings {', '.join(history.start)}, but this training has "
                f"{', '.join(self.values)}"
            )
        start, first = self._settled(history.start.items(), self.trainer.learner)
        learner = first
        for change in history.changes:
            _values, learner = self._settled([(change.name, change.value)], learner)
        return self._replayed(history, start, first)

    def _replayed(self, history: History, start: dict[str, float], learner: Learner) -> Iterator[Step]:
        """Repeat a history that was checked, which starts with these settings and with the learner that has them."""
        self._put(start, learner)
        self.reset(history.seed)
        changes = _by_step(history.changes)
        for number in range(1, len(history.losses) + 2):
            for change in changes.get(number, ()):  # the last ones can come after the last step
                self.set(change.name, change.value)
            if number <= len(history.losses):
                yield self.step()

    def _settled(self, values: Iterable[tuple[str, Any]], learner: Learner) -> tuple[dict[str, float], Learner]:
        """Return settings as plain numbers, and the learner with those of its fields that hold no tensor.

        Raises:
            ValueError: there is no such setting, or it cannot have this value.
        """
        numbers: dict[str, float] = {}
        try:
            for name, value in values:
                if name not in list(self.values):
                    raise ValueError(f"{name}={shown(value)}: the settings are {', '.join(self.values)}")
                if name in self._whole:
                    whole(least=0, **{name: value})
                    numbers[name] = operator.index(value)
                else:
                    real(least=0, most=MOST, **{name: value})
                    numbers[name] = float(value)
            ours = {name: number for name, number in numbers.items() if name in self._fields}
            return numbers, replace(learner, **ours) if ours else learner
        except TypeError as error:
            raise ValueError(f"{error}") from None

    def _put(self, values: dict[str, float], learner: Learner) -> None:
        """Give settings their values, in the trainer and in its learner."""
        for name, value in values.items():
            if name == "outer_lr":
                self.trainer.outer_lr = value
            elif name not in self._fields:
                getattr(learner, name).fill_(value)
        key = tuple(getattr(learner, name) for name in self._fields)
        self.trainer.learner = self._learners.setdefault(key, learner)
        self.values |= values

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
        best = "" if not math.isfinite(loss) else f", more than {FACTOR} times the best"
        low = ", where its loss was still low" if self.steps else ""
        return WentBack(
            f"The training diverged: at meta-step {number} the loss was {loss:.3g}{best}. It is back at meta-step "
            f"{self.steps}{low}. Move the {label(name)} to the left, then go on.",
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


def _of_fields(kind: type, value: object, where: str) -> dict[str, Any]:
    """Return what JSON has of a dataclass.

    Raises:
        ValueError: it does not have the fields of the dataclass, or has others.
    """
    names = [each.name for each in fields(kind)]
    if not isinstance(value, dict):
        raise ValueError(f"{where} holds {shown(value)}; it must hold an object with {', '.join(names)}")
    if value.keys() != set(names):
        raise ValueError(f"{where} has {shown(list(value))}; it must have {', '.join(names)}")
    return value


def _recent(losses: list[float]) -> float:
    last = losses[-RECENT:]
    return sum(last) / len(last) if last else math.nan


def _by_step(changes: list[Change]) -> dict[int, list[Change]]:
    grouped: dict[int, list[Change]] = {}
    for change in changes:
        grouped.setdefault(change.step, []).append(change)
    return grouped
