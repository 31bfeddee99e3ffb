"""What several test files share."""

import metalab  # noqa: F401, I001 - before torch, which reads what this sets

import base64
import signal

import pytest
import torch

from metalab.lessons.kit.canvas import Canvas
from metalab.lessons.kit.isolation import TimeLimit

SMALL = base64.b64decode(  # a PNG of one white pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"
)


@pytest.fixture(autouse=True)
def threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """Ctrl-C raises its error. A shell starts its background jobs deaf to it, and another test may have left it so."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def no_hurry(monkeypatch):
    """Checks with time enough for right answers on a busy machine, where the first torch.func.linearize takes long."""
    of_an_attempt = TimeLimit.__init__
    monkeypatch.setattr(TimeLimit, "__init__", lambda limit, seconds: of_an_attempt(limit, 10 * seconds))


@pytest.fixture
def figures(monkeypatch):
    """The figures drawn, in order, kept instead of turned into pictures (which takes most of the time)."""
    drawn = []

    def keep(canvas):
        drawn.append(canvas.figure)
        return b"picture %d" % len(drawn)

    monkeypatch.setattr(Canvas, "jpeg", keep)
    monkeypatch.setattr(Canvas, "png", lambda canvas: SMALL)
    return drawn
