"""Where episodes come from."""

from .characters import Characters
from .episode import Episode

__all__ = ["Characters", "Episode"]
