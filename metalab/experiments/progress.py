"""The progress of a training: one line that is rewritten in place on a terminal, or a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

TERMINAL, ELSEWHERE = 0.2, 10.0  # seconds between two lines


def duration(seconds: float) -> str:
    """Return a duration in words: 42 s, 12 min, 3 h 05 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def words(metrics: dict[str, float]) -> str:
    """Return metrics in words: `loss 0.123  accuracy 98.7 %`."""
    return "  ".join(
        f"accuracy {100 * value:.1f} %" if name == "accuracy" else f"{name} {value:.4g}"
        for name, value in metrics.items()
    )


class Progress:
    """A line that shows how far a training is, printed no more often than it can be read.

    Args:
        out: the stream that the line goes to; standard output by default.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.in_place = self.out is not None and self.out.isatty()
        self._due = 0.0

    def show(self, step: int, steps: int, metrics: dict[str, float], *, per_second: float, left: float) -> None:
        """Show the progress, unless the last line was printed a moment ago.

        Args:
            step: the number of the current step, counted from 1.
            steps: the number of all steps.
            metrics: the metrics to show, by name.
            per_second: the speed, in steps per second.
            left: the time left, in seconds.
        """
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + (TERMINAL if self.in_place else ELSEWHERE)
        rate = f"{per_second:.0f}" if per_second >= 10 else f"{per_second:.2g}"
        line = f"step {step}/{steps}  {words(metrics)}  {rate} steps/s  {duration(left)} left"
        # The escape sequence clears what remains of a longer line.
        self._print(f"\r{line}\033[K" if self.in_place else f"{line}\n")

    def end(self) -> None:
        """End the line, so that the next output does not overwrite it."""
        if self.in_place and self._due:
            self._print("\n")

    def _print(self, text: str) -> None:
        try:
            if self.out is not None:
                self.out.write(text)
                self.out.flush()
        except (OSError, ValueError):  # nobody reads any more, which is no reason to end a training
            self.out, self.in_place = None, False
