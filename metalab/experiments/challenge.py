"""The network for the author's one-shot challenge: as it is saved and shipped, and how it answers.

`python -m benchmarks challenge` trained it, with the recipe that its note holds. It answers each query by itself: its
batch-norm statistics are those of training pictures, and no query sees another one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import arguments, checkpoint
from ..learners import NPair
from ..nets import Params
from ..residual import Residual
from ..tasks import Characters, distort, one_shot_challenge

SHIPPED = "omniglot_n_pair_challenge"
STATS = "stats."  # what the names of statistics begin with in a file
MILD = {"strength": 0.5, "elastic": 0.5}  # the distortions of a picture's further views


@dataclass(frozen=True)
class Answering:
    """A trained network that meets the challenge.

    Args:
        learner: its learner, with batch-norm statistics.
        params: its parameters.
        side: the pixels of a side of its pictures.
        about: how it was trained.
    """

    learner: NPair
    params: Params = field(repr=False)
    side: int
    about: dict[str, Any] = field(default_factory=dict, repr=False)

    def embed(self, images: Tensor, *, views: int = 1) -> Tensor:
        """Embed pictures [..., 1, side, side], each by itself: [..., E], of length 1.

        Args:
            images: the pictures.
            views: how many views of a picture are embedded and averaged: itself, and mild distortions of it. This takes
                `views` times as long.

        Raises:
            TypeError, ValueError: the images are no such tensor or of another size, or `views` is less than 1.
        """
        arguments.whole(views=views)
        if not isinstance(images, Tensor) or images.shape[-2:] != (self.side, self.side):
            raise ValueError(
                f"images={arguments.shown(images)} must be a tensor of pictures [..., 1, {self.side}, {self.side}]: "
                f"omniglot.load(side={self.side})"
            )
        generator = torch.Generator(images.device).manual_seed(0)
        total = 0
        for view in range(views):
            seen = distort(images, generator, **MILD) if view else images
            total = total + F.normalize(self.learner.embed(self.params, seen), dim=-1)
        return F.normalize(total, dim=-1)

    def wrong(self, evaluation: Characters, *, views: int = 1) -> Tensor:
        """Say of each trial of the challenge whether the answer is wrong: [20 runs, 20 trials] bool.

        Args:
            evaluation: Omniglot's whole evaluation set, the second part of `omniglot.load(side=…)`.
            views: see `embed`.

        Raises:
            TypeError, ValueError: as `one_shot_challenge` and `embed` do.
        """
        trial = one_shot_challenge(evaluation)
        similarity = self.embed(trial.query_x, views=views) @ self.embed(trial.support_x, views=views).mT
        return similarity.argmax(2) != trial.query_y  # [20, 20, 20]; the support is in the order of the labels

    def save(self, path: str | Path) -> None:
        """Save the parameters, in half precision, and the statistics, under names that begin with "stats.".

        Raises:
            OSError: the file cannot be written.
        """
        tensors = {name: p.half() for name, p in self.params.items()}
        stats = {f"{STATS}{name}": s for name, s in (self.learner.stats or {}).items()}
        checkpoint.save(path, tensors | stats, self.about)

    @classmethod
    def of(cls, tensors: Params, about: dict[str, Any]) -> Answering:
        """Return the network whose tensors and note were saved.

        Raises:
            ValueError: they are not such a network's.
        """
        recipe = about.get("recipe")
        if not isinstance(recipe, dict) or not recipe.get("residual"):
            raise ValueError("about has no recipe of a residual network: it is not the note of a network saved here")
        side, widths = recipe["side"], tuple(recipe["widths"])
        net = Residual(widths, halve_first=side > 40)
        for name, *_sizes in net.convolutions():
            for kind in ("conv", "scale", "shift", f"{STATS}mean", f"{STATS}variance"):
                if f"{kind}{name}" not in tensors:
                    raise ValueError(f"tensors has no '{kind}{name}', which a network of this recipe has")
        params = {name: p for name, p in tensors.items() if not name.startswith(STATS)}
        stats = {name.removeprefix(STATS): s for name, s in tensors.items() if name.startswith(STATS)}
        return cls(replace(NPair(net, temperature=recipe["temperature"]), stats=stats), params, side, about)


def shipped(device: str | torch.device = "cpu") -> Answering:
    """Return the network that comes with the package, ready to answer.

    Raises:
        TypeError, ValueError: `device` is no device, or not there.
    """
    return Answering.of(*checkpoint.shipped(SHIPPED, device))
