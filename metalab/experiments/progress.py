"""How far a training is: one line, rewritten in place on a terminal, and a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

TERMINAL, ELSEWHERE = 0.2, 10.0  # seconds between two lines


def duration(seconds: float) -> str:
    """Seconds in words: 42 s, 12 min, 3 h 05 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def words(metrics: dict[str, float]) -> str:
    return "  ".join(
        f"accuracy {100 * value:.1f} %" if name == "accuracy" else f"{name} {value:.4g}"
        for name, value in metrics.items()
    )


class Progress:
    """Print where a training is, but not more often than can be read."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.in_place = self.out.isatty()
        self._due = 0.0

    def show(self, step: int, steps: int, metrics: dict[str, float], *, per_second: float, left: float) -> None:
        """Step so many of so many; `left` is in seconds."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + (TERMINAL if self.in_place else ELSEWHERE)
        rate = f"{per_second:.0f}" if per_second >= 10 else f"{per_second:.2g}"
        line = f"step {step}/{steps}  {words(metrics)}  {rate} steps/s  {duration(left)} left"
        # The escape sequence clears what a longer line has left.
        self.out.write(f"\r{line}\033[K" if self.in_place else f"{line}\n")
        self.out.flush()

    def end(self) -> None:
        """Leave the line, so that what is printed next does not overwrite it."""
        if self.in_place and self._due:
            self.out.write("\n")
            self.out.flush()
