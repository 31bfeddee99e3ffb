"""Learn meta-learning by doing: algorithms, tasks and lessons."""

import os

# While other programs keep the cores busy, a thread that waits by spinning takes the time of the thread it waits for: a
# training step then takes several times as long. The OpenMP library that PyTorch brings reads this when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
