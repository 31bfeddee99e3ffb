"""Meta-gradients whose kernels `torch.compile` has fused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Compiled:
    """Keeps the compiled meta-gradient of the learner that was asked for last."""

    def __init__(self) -> None:
        self._kept: tuple[Any, Callable[..., Any]] | None = None

    def of(self, learner: Any) -> Callable[..., Any]:
        """Return the learner's `meta_gradient`, compiled for the shapes that it is called with."""
        if self._kept is None or self._kept[0] is not learner:
            self._kept = learner, torch.compile(learner.meta_gradient, dynamic=False)
        return self._kept[1]
