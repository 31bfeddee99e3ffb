"""What several test files share."""

import metalab  # noqa: F401, I001 - before torch, which reads what this sets

import pytest
import torch

from metalab.lessons.kit import panels
from metalab.lessons.kit.steering.view import Canvas


@pytest.fixture(autouse=True)
def threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def figures(monkeypatch):
    """The figures drawn, in order, kept instead of turned into pictures (which takes most of the time)."""
    drawn = []

    def keep(fig):
        drawn.append(fig)
        return b"picture %d" % len(drawn)

    monkeypatch.setattr(panels, "png", keep)
    monkeypatch.setattr(Canvas, "png", lambda canvas: keep(canvas.figure))
    return drawn
