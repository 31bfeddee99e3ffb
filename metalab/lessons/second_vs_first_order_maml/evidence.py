"""What longer measurements found, as shipped with the lesson.

`orders` reads the trainings of both orders that `python -m metalab orders` measured, and nothing else in this lesson
knows the form of its file. `over_training` reads what `python -m metalab.experiments.order_over_training` measured.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...analysis.paired import Interval, Verdict, compare

ORDERS = Path(__file__).with_name("measured.json")
OVER_TRAINING = Path(__file__).with_name("over_training.json")
SETTINGS = {  # the comparisons of the file that the lesson speaks of, in its words
    "sine": "sines, one step of 0.01",
    "sine, small steps": "sines, five steps of 0.001",
    "omniglot": "characters, one step of 0.4",
    "omniglot, several steps": "characters, three steps of 0.1",
    "omniglot, large steps": "characters, one step of 2",
}
TIMES = ("start", "middle", "end")
Quantiles = list[float]  # 5, 50 and 95 %


@dataclass(frozen=True)
class Comparison:
    """First order's test error as a multiple of second order's, in one setting.

    Args:
        steps: the comparison where both orders were given as many meta-steps.
        time: the comparison where first order was given as much time, and so more meta-steps.
        meta_steps: how many meta-steps second order was given.
        longer: the error of first order with more meta-steps, minus that with fewer.
    """

    steps: Verdict
    time: Verdict
    meta_steps: int
    longer: Interval

    def __getitem__(self, equal: str) -> Verdict:
        return self.steps if equal == "steps" else self.time


def orders() -> tuple[str, dict[str, Comparison]]:
    """Return the command that measured the orders, and for each setting of SETTINGS what it found."""
    data = json.loads(ORDERS.read_text())
    found = {}
    for name, words in SETTINGS.items():
        measured = data["comparisons"][name]

        def errors(algorithm: str, equal: str, runs: list[dict[str, Any]] = measured["runs"]) -> dict[int, float]:
            return {r["seed"]: r["error"] for r in runs if (r["algorithm"], r["equal"]) == (algorithm, equal)}

        second, first, longer = errors("maml", "steps"), errors("fomaml", "steps"), errors("fomaml", "time")
        found[words] = Comparison(
            compare(first, second),
            compare(longer, second),
            measured["steps"],
            Interval.of([longer[seed] - first[seed] for seed in sorted(first.keys() & longer.keys())]),
        )
    return data["command"], found


@dataclass(frozen=True)
class OverTraining:
    """What was seen of the two meta-gradients at several times of several trainings."""

    data: dict[str, Any]

    def quantiles(self, tasks: str, method: str, when: str, what: str) -> Quantiles:
        """Return the quantiles of a quantity over batches, averaged over the seeds."""
        return [statistics.mean(each) for each in zip(*self._rows(tasks, method, when, what).values(), strict=True)]

    def table(self, tasks: str, what: str) -> dict[str, dict[str, Quantiles]]:
        """Return `quantiles` for each method and each of TIMES."""
        methods = dict.fromkeys(row["method"] for row in self.data["seen"] if row["tasks"] == tasks)
        return {method: {when: self.quantiles(tasks, method, when, what) for when in TIMES} for method in methods}

    def difference(self, tasks: str, one: str, other: str, what: str, when: str = "end") -> Interval:
        """Return the median of one method minus that of another, over pairs of the same seed."""
        a, b = (self._rows(tasks, method, when, what) for method in (one, other))
        return Interval.of([a[seed][1] - b[seed][1] for seed in sorted(a.keys() & b.keys())])

    def seeds(self, tasks: str) -> int:
        """Return how many trainings there are of each method."""
        return len({row["seed"] for row in self.data["seen"] if row["tasks"] == tasks})

    def _rows(self, tasks: str, method: str, when: str, what: str) -> dict[int, Quantiles]:
        kind = (tasks, method, when)
        rows = self.data["seen"]
        return {row["seed"]: row[what] for row in rows if (row["tasks"], row["method"], row["when"]) == kind}


def over_training() -> OverTraining:
    """Read what `python -m metalab.experiments.order_over_training` measured."""
    return OverTraining(json.loads(OVER_TRAINING.read_text()))
