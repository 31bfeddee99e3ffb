"""What the tests of both lessons' panels share."""

import pytest

from metalab.lessons import live


@pytest.fixture
def figures(monkeypatch):
    """The figures drawn, in order, kept instead of turned into pictures (which takes most of the time)."""
    drawn = []
    monkeypatch.setattr(live, "png", lambda fig: drawn.append(fig) or b"picture %d" % len(drawn))
    return drawn
