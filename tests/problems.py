"""Small problems in double precision, for MAML and its relatives."""

from functools import partial

import torch

from metalab.learners import MAML, MetaSGD, SparseMAML
from metalab.losses import mse
from metalab.nets import MLP, Conv4
from metalab.tasks import Characters, sine


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sine_problem(kind=MAML, **options):
    """A learner of three sine tasks; parameters of its network, and an episode."""
    learner = kind(MLP((1, 12, 12, 1)), mse, inner_lr=0.05, **options)
    episode = sine.sample(3, 5, 6, seeded(1)).to(torch.float64)
    # As large as after training: MLP's own start is so small that an inner step changes hardly anything.
    params = {name: 60 * p.double() for name, p in learner.net.init(seeded()).items()}
    return learner, params, episode


def character_problem(kind=MAML, pool="stride", **options):
    """A learner of three tasks with five characters each; parameters of its network, and an episode."""
    learner = kind(Conv4(outputs=5, channels=6, pool=pool), inner_lr=0.4, **options)
    ink = (torch.rand(9, 4, 28, 28, generator=seeded(2)) < 0.15).to(torch.uint8) * 255
    characters = Characters(ink, torch.zeros(9, dtype=torch.long), ("noise",), "noise")
    params = {name: p.double() for name, p in learner.net.init(seeded()).items()}
    return learner, params, characters.sample(3, 5, 1, 2, seeded(3)).to(torch.float64)


PROBLEMS = {
    "sine": sine_problem,
    "conv4": character_problem,
    "conv4, max pooling": partial(character_problem, pool="max"),
    "conv4, inductive": partial(character_problem, transductive=False),
}


def meta_sgd_problem(of=sine_problem, **options):
    """A problem of Meta-SGD's; some of its rates are learned to be negative."""
    learner, params, episode = of(MetaSGD, **options)
    return learner, params | {f"rate.{n}": learner.inner_lr * p for n, p in uneven(params).items()}, episode


def sparse_maml_problem(of=sine_problem, **options):
    """A problem of sparse-MAML's; some of its gates lie on the step itself."""
    learner, params, episode = of(SparseMAML, **options)
    return learner, params | {f"gate.{n}": p.where(p.abs() > 0.1, 0) for n, p in uneven(params).items()}, episode


def uneven(params):
    """Values from −0.2 to 0.8 in the shapes of the parameters."""
    return {
        name: torch.rand(p.shape, generator=seeded(10 + i), dtype=torch.float64) - 0.2
        for i, (name, p) in enumerate(params.items())
    }
