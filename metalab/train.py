"""The meta-training loop: draw episodes, take the learner's meta-gradient, let an optimizer make the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from .engine import processes
from .engine.cuda_graph import record
from .nets import Params

RECORDINGS = 22  # that are kept: as many as ten inner steps, or none, of two orders need
STATE = "trainer."  # what a state holds beside the parameters has names that start so


class Learner(Protocol):
    def init(self, generator: torch.Generator) -> Params: ...

    def meta_gradient(self, params: Params, batch: Any) -> tuple[Params, dict[str, Tensor]]: ...


class Diverged(RuntimeError):
    """Training met a loss that is not a finite number; the trainer is back at its last good parameters."""


@dataclass(frozen=True)
class Step:
    """What a meta-step was: its number, counted from 1, and the metrics it was taken on.

    Where several were taken at once it is the last one's number, and the mean of their metrics.
    """

    number: int
    metrics: dict[str, float]


class Optimizer(Protocol):
    """Changes one vector of parameters [P] in place. All it needs lies on the device: a CUDA graph can hold it."""

    rate: Tensor  # the learning rate, a tensor without axes

    def __init__(self, params: Tensor) -> None: ...

    def step(self, gradient: Tensor) -> None: ...

    def state(self) -> dict[str, Tensor]:
        """What it keeps from step to step, in the tensors that change."""
        ...

    def forget(self) -> None:
        """Be as at the start."""
        ...


class Adam:
    """Adam (Kingma & Ba 2015) on one vector of parameters [P].

    It calls the kernel behind `torch.optim.Adam(fused=True)` directly: the Python around that takes 60 µs, a
    twentieth of a meta-step on sines.
    """

    def __init__(self, params: Tensor) -> None:
        self.params = params
        self.mean, self.square = torch.zeros_like(params), torch.zeros_like(params)  # of the gradients
        self.count = torch.zeros((), device=params.device)
        # The kernel of a GPU takes single precision and no other.
        precision = torch.float64 if params.device.type == "cpu" else torch.float32
        self.rate = torch.zeros((), device=params.device, dtype=precision)

    def step(self, gradient: Tensor) -> None:
        self.count += 1
        vectors = [self.params], [gradient], [self.mean], [self.square], [], [self.count]
        options = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False, "maximize": False}
        torch._fused_adam_(*vectors, lr=self.rate, **options)

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "square": self.square, "count": self.count}

    def forget(self) -> None:
        for tensor in self.state().values():
            tensor.zero_()


class Descent:
    """Plain gradient descent on one vector of parameters [P]: params − rate · gradient."""

    def __init__(self, params: Tensor) -> None:
        self.params = params
        self.rate = torch.zeros((), device=params.device, dtype=params.dtype)

    def step(self, gradient: Tensor) -> None:
        self.params.addcmul_(gradient, self.rate, value=-1)

    def state(self) -> dict[str, Tensor]:
        return {}

    def forget(self) -> None:
        pass


class Trainer:
    """Meta-training that can be stepped, watched, stopped, and gone on with.

    On a GPU the whole meta-step, sampling included, is recorded as a CUDA graph and replayed. The graph follows
    `outer_lr`; another `learner` or `sample` is recorded when it is first used.

    Args:
        learner: gives the fresh parameters and the meta-gradient.
        sample: draws what the learner trains on, from a generator.
        outer_lr: the optimizer's learning rate; a function of the step number (from 1) for a schedule.
        optimizer: makes the step; `Descent` on Reptile's gradient is Reptile's interpolation.
        seed: of the initial parameters and of everything that is sampled.
        params: start from these instead of fresh ones.
        device: where to train.

    Attributes:
        params: the parameters, the same tensors throughout.
        steps: how many meta-steps made them.
    """

    def __init__(
        self,
        learner: Learner,
        sample: Callable[[torch.Generator], Any],
        *,
        outer_lr: float | Callable[[int], float] = 1e-3,
        optimizer: type[Optimizer] = Adam,
        seed: int = 0,
        params: Params | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.learner = learner
        self.sample = sample
        self.outer_lr = outer_lr
        self.generator = torch.Generator(device).manual_seed(seed)
        fresh = learner.init(self.generator)
        start = {name: (params or fresh)[name].detach().to(device) for name in fresh}
        # All parameters are parts of one vector: what is done to all of them takes one operation.
        self._flat = torch.cat([p.flatten() for p in start.values()])
        parts = self._flat.split([p.numel() for p in start.values()])
        self.params: Params = {name: part.view_as(start[name]) for name, part in zip(start, parts, strict=True)}
        self._optimizer = optimizer(self._flat)
        self.steps = 0
        self._good, self._good_steps = self._flat.clone(), 0  # the parameters whose loss was finite last
        self._finite = torch.ones((), dtype=torch.bool, device=device)  # whether all losses of this call are
        self._finite_steps = torch.zeros((), dtype=torch.long, device=device)  # steps until one was not
        self._recordings: dict[tuple[int, int], tuple[Learner, Any, Callable[[], Tensor]]] = {}

    def step(self, count: int = 1) -> Step:
        """Take `count` meta-steps, and read their metrics only then: a GPU need not wait in between.

        Raises:
            Diverged: a loss is not finite. `params` and `steps` are then those of the last finite loss.
        """
        meta_step = self._meta_step if self._flat.device.type != "cuda" else self._recorded()
        self._finite.fill_(True)
        self._finite_steps.fill_(self.steps)
        total = 0
        for _ in range(count):
            self._optimizer.rate.fill_(self.outer_lr(self.steps + 1) if callable(self.outer_lr) else self.outer_lr)
            total = total + meta_step()
            self.steps += 1
        metrics = dict(zip(self._metrics, (total / count).tolist(), strict=True))
        if not math.isfinite(metrics["loss"]):
            raise self._go_back(metrics["loss"])
        self._good_steps = self.steps - 1
        return Step(self.steps, metrics)

    def run(self, steps: int, *, every: int = 1) -> Iterator[Step]:
        """Take `steps` meta-steps, `every` so many each time the caller asks: `for step in trainer.run(1000)`."""
        if every < 1:
            raise ValueError(f"every={every} must be at least 1")
        for taken in range(0, steps, every):
            yield self.step(min(every, steps - taken))

    def state(self) -> dict[str, Tensor]:
        """All that the next steps depend on, in tensors that change with training: `params`, and `trainer.…`."""
        return {
            **self.params,
            **{STATE + name: tensor for name, tensor in self._optimizer.state().items()},
            f"{STATE}good": self._good,
            f"{STATE}steps": torch.tensor([self.steps, self._good_steps]),
            f"{STATE}generator": self.generator.get_state(),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on where the trainer that gave `state` was; learner, sample and outer_lr must be the same.

        Raises:
            ValueError: the state is not that of such a trainer.
        """
        own = self.state()
        for name, tensor in own.items():
            if name not in state or state[name].shape != tensor.shape:
                raise ValueError(
                    f"{name} is missing or not of shape {tuple(tensor.shape)}: it is the state of another training"
                )
        self.steps, self._good_steps = state[f"{STATE}steps"].tolist()
        self.generator.set_state(state[f"{STATE}generator"])
        for name in own.keys() - {f"{STATE}steps", f"{STATE}generator"}:
            own[name].copy_(state[name])

    def _meta_step(self) -> Tensor:
        """One meta-step. It reads nothing back from the device, whose metrics it returns: a CUDA graph may hold it."""
        batch = self.sample(self.generator)
        weight = 1.0
        if processes.count() > 1:
            share = processes.share(batch.tasks)
            weight = (share.stop - share.start) / batch.tasks
            batch = batch[share]
        grads, metrics = self.learner.meta_gradient(self.params, batch)
        self._metrics = tuple(metrics)
        gradient = torch.cat([grads[name].flatten() for name in self.params])
        values = torch.stack(list(metrics.values()))
        if processes.count() > 1:
            both = processes.total(weight * torch.cat([gradient, values.to(gradient.dtype)]))
            gradient, values = both.split([len(gradient), len(values)])
        loss = values[self._metrics.index("loss")]
        self._finite &= loss - loss == 0  # neither infinite nor NaN, in fewer operations than `isfinite` takes
        self._finite_steps += self._finite
        torch.where(self._finite, self._flat, self._good, out=self._good)
        self._optimizer.step(gradient)
        return values

    def _go_back(self, loss: float) -> Diverged:
        """Return to the last good parameters, and say so."""
        number = self._finite_steps.item() + 1  # of the first loss that was not finite
        # The loss before it was of parameters one step younger, if it came since the last time here.
        self.steps = self._good_steps = max(self._good_steps, number - 2)
        self._flat.copy_(self._good)
        self._optimizer.forget()  # moments may hold what made the loss diverge
        return Diverged(
            f"the loss is {loss} at step {number}: the parameters of step {self.steps} are kept. "
            "Try a smaller inner or outer learning rate."
        )

    def _recorded(self) -> Callable[[], Tensor]:
        """The recording of this learner and this way to sample: there is one already when they were used before."""
        key = id(self.learner), id(self.sample)  # of objects that the recording keeps, so no other has them
        if key not in self._recordings:
            if len(self._recordings) == RECORDINGS:
                del self._recordings[next(iter(self._recordings))]
            kept = self._optimizer.state().values()
            changed = [self._flat, *kept, self._good, self._finite, self._finite_steps]
            replay = record(self._meta_step, self.generator, changed)
            self._recordings[key] = self.learner, self.sample, replay
        return self._recordings[key][2]
