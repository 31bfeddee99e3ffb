"""Learn meta-learning by doing: algorithms, tasks and lessons."""

__version__ = "0.1.0"
