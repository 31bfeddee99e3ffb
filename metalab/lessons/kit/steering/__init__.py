"""Steer a training while it runs: `await panel.train(2000)` shows sliders that act at the next meta-step.

`SteeringPanel` combines four parts:

    driver.py    the training: settings that can change, a log of the changes, divergence, reset and replay; no widgets
    controls.py  sliders and buttons, which store their values and the buttons pressed until the training reads them
    view.py      pictures of the data that they are given; only what moves is drawn again
    kernel.py    lets a notebook's kernel deliver the sliders' messages while a cell runs
"""

from .driver import Change, Driver, History, WentBack
from .panel import SteeringPanel
from .view import Picture

__all__ = ["Change", "Driver", "History", "Picture", "SteeringPanel", "WentBack"]
