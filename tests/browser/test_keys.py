"""The measurement of keys presses one each way in every panel, and each of them shows something new."""

import pytest

from benchmarks import keys
from benchmarks.panels import answering
from tools.browser import ALL


@pytest.mark.skipif(not ALL, reason="it takes a minute or two; METALAB_TEST_ALL runs it")
def test_each_panel_that_trains_nothing_answers_a_key():
    found = keys.measure(presses=1)
    assert list(found) == list(answering())
    silent = {name: times for name, times in found.items() if len(times) < 2}
    assert silent == {}
    assert all(time > 0 for times in found.values() for time in times)
