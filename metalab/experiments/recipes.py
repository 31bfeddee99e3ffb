"""The table of recipes: which algorithm trains on which tasks, and the settings that its paper uses.

To add an algorithm, add a row to `RECIPES`: `python -m metalab train` then trains it, and `evaluate` tests it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from ..learners import (
    ANIL,
    MAML,
    ALPaCA,
    CausalTransformer,
    ConditionalNeuralProcess,
    Contrastive,
    DeepKernelTransfer,
    Koch,
    Learner,
    MatchingNet,
    MetaSGD,
    MultiStepLoss,
    NeighbourhoodComponents,
    NPair,
    PerStepRates,
    PrototypicalNet,
    RecurrentLearner,
    Reptile,
    SparseMAML,
    SupervisedContrastive,
    Triplet,
)
from ..losses import cross_entropy, mse
from ..nets import MLP, Conv4, Tanh
from ..optim import Adam, Descent, Optimizer
from ..residual import Residual

RunSettings = Any  # a `metalab.experiments.settings.Settings`, whose module imports this table
HEAD = {"sine": ("w3", "b3"), "omniglot": ("head", "bias")}  # the last layer of each network, which ANIL adapts
MINIBATCH_SHOTS = {"sine": 50, "omniglot": 10}  # Reptile trains with these, whatever the shots of its test are


# The papers' settings: functions of ways and shots, None for the paper's first experiment. A setting that is left out
# does not apply. What all have in common is in `COMMON`.


def finn_sine(_ways: int | None, shots: int | None) -> dict[str, Any]:
    """Finn et al. 2017, section 5.1. Their code takes 25 tasks, and as many query points as shots."""
    shots = shots or 5
    task = {"shots": shots, "queries": shots, "meta_batch": 25, "steps": 70_000}
    return task | {"inner_lr": 0.01, "inner_steps": 1, "halve_every": None, "schedule": "halving"}


def finn_omniglot(ways: int | None, shots: int | None) -> dict[str, Any]:
    """Finn et al. 2017, section 5.2, as their code's commands have it: one set of numbers for 5-way, one for 20-way."""
    ways, shots = ways or 5, shots or 1
    large = ways >= 20
    inner = {
        "inner_lr": 0.1 if large else 0.4,
        "inner_steps": 5 if large else 1,
        "halve_every": None,
        "schedule": "halving",
    }
    task = {"ways": ways, "shots": shots, "queries": shots, "meta_batch": 16 if large else 32, "steps": 60_000}
    return CHARACTERS | inner | task | {"pool": "stride"}


def nichol_sine(_ways: int | None, shots: int | None) -> dict[str, Any]:
    """Nichol et al. 2018 have no such table for sines: 50 points, and the rest as for their characters."""
    inner = {"inner_lr": 0.01, "inner_steps": 5, "outer_lr": 1.0}
    return inner | {"shots": shots or 5, "meta_batch": 5, "steps": 70_000}


def nichol_omniglot(ways: int | None, shots: int | None) -> dict[str, Any]:
    """Nichol et al. 2018, as their code's commands have it: one set of numbers for 5-way, another one for 20-way."""
    ways, shots = ways or 5, shots or 1
    large = ways >= 20
    inner = {"inner_lr": 5e-4 if large else 1e-3, "inner_steps": 10 if large else 5, "outer_lr": 1.0}
    task = {"ways": ways, "shots": shots, "meta_batch": 5, "steps": 200_000 if large else 100_000}
    return CHARACTERS | inner | task | {"pool": "stride"}


def snell_omniglot(ways: int | None, shots: int | None) -> dict[str, Any]:
    """Snell et al. 2017, section 3.1. They stop by validation; 20,000 episodes are ten halvings of the rate."""
    task = {"ways": ways or 60, "shots": shots or 1, "queries": 5, "meta_batch": 1, "steps": 20_000}
    return CHARACTERS | task | {"halve_every": 2000, "schedule": "halving", "pool": "max", "network": "conv4"}


CHARACTERS = {"channels": 64, "split": "alphabets", "side": 28, "distort": 0.0, "within": 0}
COMMON = {"outer_lr": 1e-3, "minutes": None, "device": "cpu", "seed": 0, "save_every": 30.0}
Defaults = Callable[[int | None, int | None], dict[str, Any]]
FINN: dict[str, Defaults] = {"sine": finn_sine, "omniglot": finn_omniglot}
NICHOL: dict[str, Defaults] = {"sine": nichol_sine, "omniglot": nichol_omniglot}
SNELL: dict[str, Defaults] = {"omniglot": snell_omniglot}


def but(defaults: dict[str, Defaults], **changed: Any) -> dict[str, Defaults]:
    """Return the same settings with some changed, and without those that are changed to None: they do not apply."""

    def altered(settings: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in (settings | changed).items() if name not in changed or value is not None}

    return {tasks: lambda ways, shots, of=of: altered(of(ways, shots)) for tasks, of in defaults.items()}


# The rows


def scheduled(settings: RunSettings, step: int) -> float:
    """The outer learning rate of a meta-step, counted from 1: halved every `halve_every`, or along half a cosine."""
    if settings.schedule == "cosine":  # Loshchilov & Hutter 2017, without restarts
        return settings.outer_lr * (1 + math.cos(math.pi * (step - 1) / settings.steps)) / 2
    halvings = (step - 1) // settings.halve_every if settings.halve_every else 0
    return settings.outer_lr * 0.5**halvings


def falling(settings: RunSettings, step: int) -> float:
    """The outer learning rate of a meta-step, counted from 1: it falls to 0 in a straight line."""
    return settings.outer_lr * (1 - (step - 1) / settings.steps)


@dataclass(frozen=True)
class Recipe:
    """How an algorithm is trained and tested.

    Args:
        title: its name on the results page.
        learner: makes the learner from the settings of a run.
        papers: for each kind of tasks it can be trained on, its paper's settings as a function of ways and shots.
        draws: what a training batch is: an episode; an episode whose support set comes as minibatches; or groups of
            drawings.
        tested: how it meets a test: it adapts by gradient steps; it trains on minibatches; it compares by a learned
            distance, with batch-norm statistics of training drawings; or it takes in the examples without a gradient
            step, in context or by a formula.
        optimizer: makes the outer step.
        rate: the outer learning rate of a meta-step.
    """

    title: str
    learner: Callable[[RunSettings], Learner]
    papers: dict[str, Defaults]
    draws: Literal["episodes", "minibatches", "groups"] = "episodes"
    tested: Literal["adapted", "on minibatches", "by distance", "in context"] = "adapted"
    optimizer: Callable[[Tensor], Optimizer] = Adam
    rate: Callable[[RunSettings, int], float] = scheduled


def _inner(s: RunSettings) -> dict[str, Any]:
    """Return the arguments that MAML and its variants share."""
    net, loss = (MLP(), mse) if s.tasks == "sine" else (_conv4(s, s.ways), cross_entropy)
    return {"net": net, "loss": loss, "inner_lr": s.inner_lr, "inner_steps": s.inner_steps or 0}


def _conv4(s: RunSettings, outputs: int | None = None) -> Conv4:
    return Conv4(outputs, channels=s.channels, pool=s.pool)


def _embedding(s: RunSettings) -> Conv4 | Residual:
    if s.network == "conv4":
        return _conv4(s)
    return Residual(tuple(s.channels * times for times in (1, 2, 4, 4)), halve_first=s.side > 40)


def _reptile(s: RunSettings) -> Reptile:
    return Reptile(**_inner(s), inner_batch=10 if (s.ways or 1) < 20 else 20)


def _contrastive(s: RunSettings) -> Contrastive:
    return Contrastive(_embedding(s), margin=s.margin, hardest=s.hardest or None)


# Their papers have no such table for sines: tasks as MAML's, in the meta-batches of 64 that Garg et al. 2022 take.
READERS = but({"sine": finn_sine}, inner_lr=None, inner_steps=None, meta_batch=64)
# Harrison et al. 2018 take 10 tasks. Their sines have noise, and those of this table have none.
CLOSED_FORM = but(READERS, meta_batch=10)
IN_CONTEXT: dict[str, Any] = {"tested": "in context"}
BY_DISTANCE: dict[str, Any] = {"tested": "by distance"}
ON_GROUPS: dict[str, Any] = {"draws": "groups", "tested": "by distance"}
RECIPES = {
    "maml": Recipe("MAML", lambda s: MAML(**_inner(s)), FINN),
    "fomaml": Recipe("first-order MAML", lambda s: MAML(**_inner(s), order=1), FINN),
    "anil": Recipe("ANIL", lambda s: ANIL(**_inner(s), head=HEAD[s.tasks]), FINN),
    "meta_sgd": Recipe("Meta-SGD", lambda s: MetaSGD(**_inner(s)), but(FINN, inner_steps=1)),
    "sparse_maml": Recipe("sparse-MAML", lambda s: SparseMAML(**_inner(s)), FINN),
    # MAML++ takes five steps; here its two parts are by themselves.
    "multi_step": Recipe("multi-step loss", lambda s: MultiStepLoss(**_inner(s)), but(FINN, inner_steps=5)),
    "per_step": Recipe("per-step rates", lambda s: PerStepRates(**_inner(s)), but(FINN, inner_steps=5)),
    "joint": Recipe(
        "one network for all tasks", lambda s: MAML(**_inner(s)), but({"sine": finn_sine}, inner_steps=None)
    ),
    "neural_process": Recipe("conditional neural process", lambda s: ConditionalNeuralProcess(), READERS, **IN_CONTEXT),
    "recurrent": Recipe("recurrent learner", lambda s: RecurrentLearner(), READERS, **IN_CONTEXT),
    "transformer": Recipe("causal transformer", lambda s: CausalTransformer(), READERS, **IN_CONTEXT),
    "alpaca": Recipe("ALPaCA", lambda s: ALPaCA(Tanh((1, 128, 128, 32))), CLOSED_FORM, **IN_CONTEXT),
    "deep_kernel": Recipe(
        "deep kernel transfer", lambda s: DeepKernelTransfer(MLP((1, 40, 40))), CLOSED_FORM, **IN_CONTEXT
    ),
    "reptile": Recipe("Reptile", _reptile, NICHOL, "minibatches", "on minibatches", optimizer=Descent, rate=falling),
    "prototypical": Recipe("prototypical network", lambda s: PrototypicalNet(_embedding(s)), SNELL, **BY_DISTANCE),
    # The following have no published settings for this network, and are trained as a prototypical network is.
    "matching": Recipe("matching network", lambda s: MatchingNet(_embedding(s)), SNELL, **BY_DISTANCE),
    "neighbours": Recipe(
        "neighbourhood components", lambda s: NeighbourhoodComponents(_embedding(s)), SNELL, **BY_DISTANCE
    ),
    "contrastive": Recipe("contrastive loss", _contrastive, but(SNELL, margin=2.0, hardest=5), **ON_GROUPS),
    "supervised_contrastive": Recipe(
        "supervised contrastive loss", lambda s: SupervisedContrastive(_embedding(s)), SNELL, **ON_GROUPS
    ),
    "n_pair": Recipe("N-pair loss", lambda s: NPair(_embedding(s)), SNELL, **ON_GROUPS),
    "triplet": Recipe(  # the margin of Schroff et al. 2015
        "triplet loss", lambda s: Triplet(_embedding(s), margin=s.margin), but(SNELL, margin=0.2), **ON_GROUPS
    ),
    "koch": Recipe(  # the distortions of Koch et al. 2015, section 3.2
        "Koch's verification network", lambda s: Koch(_embedding(s)), but(SNELL, distort=1.0), **ON_GROUPS
    ),
}
TASKS = ("sine", "omniglot")


def paper(tasks: str, algorithm: str, *, ways: int | None = None, shots: int | None = None) -> dict[str, Any]:
    """Return the paper's settings that apply to an algorithm on such tasks."""
    return COMMON | RECIPES[algorithm].papers[tasks](ways, shots)
