"""How long things take, beside each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

WARM = 3  # rounds that do not count: in them things are loaded and memory is reserved


def medians_in_turn(
    actions: dict[str, Callable[[], Any]], *, rounds: int = 9, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """The median time of each action in milliseconds. They take turns, so that a disturbance hits all alike.

    Args:
        actions: what is timed, by name.
        rounds: how many times each.
        clock: in seconds; `time.process_time` does not count what other programs take.

    Raises:
        ValueError: no round.
    """
    if rounds < 1:
        raise ValueError(f"rounds={rounds} must be at least 1")
    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(WARM + rounds):
        for name, action in actions.items():
            start = clock()
            action()
            if turn >= WARM:
                times[name].append(1e3 * (clock() - start))
    return {name: statistics.median(ms) for name, ms in times.items()}
