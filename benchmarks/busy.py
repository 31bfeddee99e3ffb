"""How much slower do panels answer on a busy machine? Measured with and without a load, in turns, in one run.

python -m benchmarks busy

The load is one process for each core that never rests, so that a panel gets about half of the time of a core. A panel
that answers in twice the time loses nothing but its share; the goal leaves room for a quarter more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.panels import answering, answers

GOAL = 2.5  # times the time, at twice the load
ROUNDS = 5


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Keep so many processes busy while what is inside runs."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def measure(rounds: int = ROUNDS) -> dict[str, list[tuple[float, float]]]:
    """Return for each panel the median milliseconds of its answers, alone and under the load, once in each round."""
    panels = answering()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in panels}
    for panel in panels.values():
        answers(panel)  # the first answers fill caches
    for _ in range(rounds):
        for name, panel in panels.items():
            alone = statistics.median(answers(panel))
            with load(len(os.sched_getaffinity(0))):
                found[name].append((alone, statistics.median(answers(panel))))
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m benchmarks busy`."""
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="with and without the load (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Measure, and print for each panel the median of the ratios, and their smallest and largest."""
    print(f"machine: {len(os.sched_getaffinity(0))} cores, load before: {os.getloadavg()[0]:.1f} processes")
    for name, pairs in measure(options.rounds).items():
        alone, busy = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(loaded / free for free, loaded in pairs)
        middle = statistics.median(ratios)
        verdict = "as it should be" if middle <= GOAL else f"above {GOAL}"
        print(f"{name:34} {alone:6.1f} ms alone, {busy:6.1f} ms at twice the load: ", end="")
        print(f"{middle:.2f} times ({ratios[0]:.2f} … {ratios[-1]:.2f}), {verdict}")
    return 0
