"""Copies of a training's state, so that a training can return to where it was good."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

State = Mapping[str, Tensor]


class Rollback:
    """Keeps two copies of a training's state: the newest, and the last one that is known to be good.

    Whether the parameters that a step leaves behind are good shows only in the losses that follow. A copy therefore
    counts as good once the training has gone on from it to the next copy.

    Args:
        state: returns the state as it is now.
        load: puts a state back.
    """

    def __init__(self, state: Callable[[], State], load: Callable[[State], None]) -> None:
        self._state, self._load = state, load
        self.start_over()

    @property
    def good(self) -> State:
        """The last state that is known to be good."""
        return self._good

    def go_on(self, good: State) -> None:
        """Take the state as it is now for the newest, and `good` for the last one that is known to be good."""
        self.start_over()
        self._good = {name: tensor.clone() for name, tensor in good.items()}

    def start_over(self) -> None:
        """Take the state as it is now for good, and forget all earlier ones."""
        self._good = self._newest = self._copy()

    def keep(self) -> None:
        """Copy the state as it is now; the newest copy so far is now known to be good."""
        self._good, self._newest = self._newest, self._copy()

    def go_back(self) -> None:
        """Put the last good state back."""
        self._load(self._good)
        self.start_over()

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self._state().items()}
