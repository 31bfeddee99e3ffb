"""`make keys` finds a key to press in each panel that trains nothing, and sees what it changes."""

import pytest

from benchmarks import keys, panels
from tools.browser import ALL


@pytest.mark.skipif(not ALL, reason="it opens a notebook for each panel, which takes a minute")
def test_a_key_changes_something_in_each_panel():
    found = keys.measure(presses=1)
    assert list(found) == list(panels.answering())
    for name, times in found.items():
        assert len(times) >= 2, f"{name}: {keys.summary(times)}"
        assert all(ms > 0 for ms in times)
