"""metalab: learn meta-learning by doing."""

__version__ = "0.1.0"
