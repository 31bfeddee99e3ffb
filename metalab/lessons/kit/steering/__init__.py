"""Steering a training while it runs: `await panel.train(2000)` shows sliders that act at the next meta-step.

Four parts that know nothing of each other, and `Panel`, which puts them together:

    driver.py    the training: values that can change, a log of the changes, divergence, reset and replay; no widgets
    controls.py  sliders and buttons: values to be read, wishes to be taken
    view.py      pictures of what they are handed; only what moves is drawn again
    kernel.py    lets a notebook's kernel deliver the sliders' messages while a cell runs
"""

from .driver import Change, Driver, History, WentBack
from .panel import Panel
from .view import Picture

__all__ = ["Change", "Driver", "History", "Panel", "Picture", "WentBack"]
