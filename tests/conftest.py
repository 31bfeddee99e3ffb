"""What several test files share."""

import pytest
import torch

from metalab.lessons import live


@pytest.fixture(autouse=True)
def threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def figures(monkeypatch):
    """The figures drawn, in order, kept instead of turned into pictures (which takes most of the time)."""
    drawn = []
    monkeypatch.setattr(live, "png", lambda fig: drawn.append(fig) or b"picture %d" % len(drawn))
    return drawn
