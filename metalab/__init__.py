"""Learn meta-learning by doing: algorithms, tasks and lessons."""

import os

# While other programs keep the cores busy, a thread that waits by spinning takes the time of the thread it waits for,
# and a training step then takes several times as long. A thread that sleeps at once is slow on a quiet machine, where
# waking it can take longer than the work. So a thread looks two thousand times, some twenty microseconds, and then
# sleeps. This number was chosen by hand on one machine, for lesson 2's meta-step (medians of three runs each): it took
# 19 ms on two quiet cores and 40 ms beside two busy processes; with a thousand looks 29 and 35 ms, with three thousand
# 15 and 46, and with none 36 and 25. `python -m benchmarks busy` measures what it means for the panels.
# The OpenMP library that PyTorch brings reads this when it is loaded: GNU's reads both, and others only the first.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")

__version__ = "0.1.0"
