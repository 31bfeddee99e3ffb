"""Times of several actions, measured in turn so that they can be compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

WARM = 3  # rounds that do not count, because code is loaded and memory is reserved in them


def medians_in_turn(
    actions: dict[str, Callable[[], Any]], *, rounds: int = 9, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the median time of each action in milliseconds.

    The actions take turns, so that a disturbance of the machine affects all of them alike.

    Args:
        actions: the actions to time, by name.
        rounds: the number of times that each action is timed.
        clock: returns the time in seconds; `time.process_time` does not count the time that other programs take.

    Raises:
        ValueError: `rounds` is less than 1.
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
