"""The meta-training loop. `Trainer._meta_step` is all of it:

    batch = sample(generator)                                  tasks
    gradient, metrics = learner.meta_gradient(params, batch)   how the start should change
    optimizer.step(gradient)                                   the outer step

The rest lets a training be watched, interrupted, continued, recorded on a GPU, and taken back when it diverges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .arguments import device as check_device
from .arguments import flag, floats, function, real, shown, tensors, trusted, whole
from .engine import processes
from .engine.compiled import Compiled
from .engine.cores import keep_freed_memory
from .engine.cuda_graph import Recordings
from .engine.rollback import Rollback
from .learners import Learner
from .nets import Params
from .optim import AVERAGE, Adam, Optimizer

STATE = "trainer."  # in a trainer's state, everything but the parameters has a name that starts with this


def _is_scalar(value: object) -> bool:
    return getattr(value, "shape", None) == ()


class Diverged(RuntimeError):
    """The training met a loss that is not a finite number; the trainer is back where its losses were finite."""


@dataclass(frozen=True)
class Step:
    """One meta-step: its number, counted from 1, and the metrics it was taken on.

    If several were taken at once, it has the number of the last one and the mean of their metrics.
    """

    number: int
    metrics: dict[str, float]


class Trainer:
    """A meta-training that can be stepped, watched, stopped and continued.

    On a GPU, the whole meta-step is recorded once as a CUDA graph, sampling included, and then replayed. The recording
    follows `outer_lr`. If `learner` or `sample` is replaced by another, a new recording is made at the next step.

    Args:
        learner: draws the first parameters and computes the meta-gradient.
        sample: draws what the learner trains on, from a generator.
        outer_lr: the optimizer's learning rate, or a function of the number of the meta-step (from 1) for a schedule.
        optimizer: the kind of optimizer that makes the step.
        seed: seed of the first parameters and of everything that is sampled.
        params: the parameters to start from, if not fresh ones.
        device: where to train.
        recordings: how many recordings of the meta-step are kept on a GPU, for learners that are used again. With 0,
            nothing is recorded: the meta-step runs as it does on a CPU, which is slower, and can be debugged.
        compiled: whether `torch.compile` fuses the kernels of the meta-gradient, which takes a minute or several at the
            first step. It pays for long trainings on a GPU of learners whose derivatives are written out.

    Attributes:
        params: the parameters; they are the same tensors throughout.
        steps: the number of meta-steps taken so far.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """

    def __init__(
        self,
        learner: Learner,
        sample: Callable[[torch.Generator], Any],
        *,
        outer_lr: float | Callable[[int], float] = 1e-3,
        optimizer: Callable[[Tensor], Optimizer] = Adam,
        seed: int = 0,
        params: Params | None = None,
        device: str | torch.device = "cpu",
        recordings: int = 4,
        compiled: bool = False,
    ) -> None:
        for method in ("init", "meta_gradient"):
            if not callable(getattr(learner, method, None)):
                raise TypeError(f"learner={shown(learner)} must be a learner: it has no method `{method}`")
        function(sample=sample, optimizer=optimizer)
        whole(least=0, seed=seed)
        whole(least=0, recordings=recordings)
        flag(compiled=compiled)
        check_device(device=device)
        if not callable(outer_lr):
            real(least=0, outer_lr=outer_lr)
        self.learner = learner
        self.sample = sample
        self.outer_lr = outer_lr
        self.steps = 0
        self.generator = torch.Generator(device).manual_seed(seed)
        fresh = learner.init(self.generator)
        if params is not None:
            tensors(fresh, params=params, dtypes=False, finite=True)
            floats(**params)
        start = {name: (params or fresh)[name].detach().to(device) for name in fresh}
        # All parameters are parts of one vector, so that the optimizer's step is one operation.
        self._vector = torch.cat([p.flatten() for p in start.values()])
        self._shapes = {name: (p.shape, p.dtype) for name, p in start.items()}
        self.params: Params = self._parts(self._vector)
        self._compiled = Compiled() if compiled else None
        self._looked: object = None  # the learner and the sampler whose first batch was checked
        self._optimizer = optimizer(self._vector)
        self._rollback = Rollback(self.state, self._load)
        self._recordings = Recordings(self.generator, [self._vector, *self._optimizer.state.values()], most=recordings)
        keep_freed_memory()

    def _meta_step(self) -> dict[str, Tensor]:
        """Take one meta-step and return its metrics. Nothing is read back from the device: a CUDA graph can hold it."""
        batch = self.sample(self.generator)
        kind = (id(self.learner), id(self.sample))
        with trusted(self._looked == kind):  # later batches are like the first of their kind, which is checked
            meta_gradient = self.learner.meta_gradient
            if self._compiled and self._looked == kind:  # a compiler would stumble over the checks of the first batch
                meta_gradient = self._compiled.of(self.learner)
            gradient, metrics = processes.averaged(meta_gradient, self.params, batch)
        self._looked = kind
        if not isinstance(gradient, dict) or {name: (g.shape, g.dtype) for name, g in gradient.items()} != self._shapes:
            raise ValueError(self._wrong(gradient))
        if not isinstance(metrics, dict) or "loss" not in metrics or not all(map(_is_scalar, metrics.values())):
            raise ValueError(f"the learner's metrics are {shown(metrics)}; they must be scalars, one called 'loss'")
        self._optimizer.step(torch.cat([gradient[name].flatten() for name in self.params]))
        return metrics

    def step(self, count: int = 1) -> Step:
        """Take `count` meta-steps, and read their metrics only then, so that a GPU need not wait in between.

        Raises:
            Diverged: a loss is not finite. The trainer is then as it was before, at the last state from which the
                losses were finite; `steps` says where.
            ValueError: the learner's gradient does not have the shapes of its parameters, its metrics are not numbers
                of which one is called "loss", or the outer learning rate is negative or not finite.
        """
        whole(count=count)
        meta_step = self._recordings.of(self._meta_step, self.learner, self.sample)
        first = self.steps + 1
        totals: dict[str, Any] = {}  # sums, because a recording returns the same tensors every time
        for _ in range(count):
            number = self.steps + 1
            rate = self.outer_lr(number) if callable(self.outer_lr) else self.outer_lr
            if not isinstance(rate, float) or not 0 <= rate < math.inf:  # a plain float needs no closer look
                real(least=0, outer_lr=rate)
            self._optimizer.rate.fill_(rate)
            totals = {name: totals.get(name, 0) + value for name, value in meta_step().items()}
            self.steps = number
        means = (torch.stack(list(totals.values())) / count).tolist()
        metrics = dict(zip(totals, means, strict=True))
        if not math.isfinite(metrics["loss"]):
            self._go_back(metrics["loss"], first)
        self._rollback.keep()
        return Step(self.steps, metrics)

    def run(self, steps: int, *, every: int = 1) -> Iterator[Step]:
        """Take `steps` meta-steps, `every` at a time: `for step in trainer.run(1000): ...`.

        Raises:
            TypeError, ValueError: `steps` is negative, or `every` is less than 1.
            Diverged: as `step` does.
        """
        whole(least=0, steps=steps)
        whole(every=every)
        return (self.step(min(every, steps - taken)) for taken in range(0, steps, every))

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next steps depend on: the parameters, and tensors named "trainer.…".

        All but the number of steps and the generator's state are the trainer's own tensors: they change with it.
        """
        return {
            **self.params,
            **{STATE + name: tensor for name, tensor in self._optimizer.state.items()},
            f"{STATE}steps": torch.tensor(self.steps),
            f"{STATE}generator": self.generator.get_state(),
        }

    def averaged(self) -> Params:
        """Return the parameters averaged over the steps, which `metalab.optim.Averaged` keeps. They change with it.

        Raises:
            ValueError: the optimizer is another one.
        """
        if AVERAGE not in self._optimizer.state:
            raise ValueError("optimizer keeps no average: train with optimizer=Averaged, of metalab.optim")
        return self._parts(self._optimizer.state[AVERAGE])

    def _parts(self, vector: Tensor) -> Params:
        """Return the parts of a vector of all parameters [P], by name and in their shapes."""
        parts = vector.split([shape.numel() for shape, _dtype in self._shapes.values()])
        return {name: part.view(self._shapes[name][0]) for name, part in zip(self._shapes, parts, strict=True)}

    def good_state(self) -> dict[str, Tensor]:
        """Return the state to which a divergence would return: the last one from which the losses were finite."""
        return dict(self._rollback.good)

    def go_on(self, state: dict[str, Tensor], good: dict[str, Tensor]) -> None:
        """Continue where a trainer was that had this `state()` and this `good_state()`.

        Raises:
            TypeError, ValueError: as in `load_state`, but that the parameters of `state` need not be finite: a
                training may be saved before its divergence is noticed.
        """
        self._check_state("state", state, finite=False)
        self._check_state("good", good, finite=True)
        self._load(state)
        self._rollback.go_on(good)

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue where the trainer that returned `state` was. Learner, sample and outer_lr must be the same.

        Raises:
            TypeError, ValueError: it is not the state of such a trainer. Nothing has changed then.
        """
        self._check_state("state", state, finite=True)
        self._load(state)

    def _check_state(self, argument: str, state: dict[str, Tensor], *, finite: bool) -> None:
        if isinstance(state, dict):  # a run's checkpoint has more tensors; but "trainer." is ours
            state = {name: tensor for name, tensor in state.items() if name in self.state()}
        try:
            tensors(self.state(), finite=finite, **{argument: state})
            whole(least=0, steps=state[f"{STATE}steps"].item())
            torch.Generator(self.generator.device).set_state(state[f"{STATE}generator"])
        except (ValueError, RuntimeError) as fault:
            raise ValueError(f"{argument} is not the state of such a training: {fault}") from None

    def _load(self, state: dict[str, Tensor]) -> None:
        own = self.state()
        self.steps = int(state[f"{STATE}steps"])
        self.generator.set_state(state[f"{STATE}generator"])
        for name in own.keys() - {f"{STATE}steps", f"{STATE}generator"}:
            own[name].copy_(state[name])
        self._rollback.start_over()

    def _wrong(self, gradient: Params) -> str:
        """Say how a gradient differs from the parameters."""
        if not isinstance(gradient, dict):
            return f"the learner's gradient is {shown(gradient)}; it must be a dictionary of {', '.join(self._shapes)}"
        for name, (shape, dtype) in self._shapes.items():
            if name not in gradient:
                return f"the learner's gradient has no {name}; it must have {', '.join(self._shapes)}"
            if gradient[name].shape != shape:
                got = list(gradient[name].shape)
                return f"the learner's gradient of {name} has the shape {got}, and the parameter has {list(shape)}"
            if gradient[name].dtype != dtype:
                return f"the learner's gradient of {name} is {gradient[name].dtype}, and the parameter is {dtype}"
        surplus = [name for name in gradient if name not in self._shapes]
        return f"the learner's gradient has {surplus[0]}, which is no parameter: {', '.join(self._shapes)}"

    def _go_back(self, loss: float, first: int) -> None:
        """Return to the last good state, and raise `Diverged`; `first` is the first step of this call."""
        where = f"meta-step {first}" if first == self.steps else f"one of the meta-steps {first} to {self.steps}"
        self._rollback.go_back()
        raise Diverged(
            f"the loss is {loss} at {where}: the training is back at meta-step {self.steps}. "
            "Try a smaller inner or outer learning rate."
        )
