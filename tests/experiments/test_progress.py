import io
from types import SimpleNamespace

import pytest

from metalab.experiments import progress
from metalab.experiments.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that shows `clock.now`."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def show(shown, step, *, loss=0.5):
    shown.show(step, 60_000, {"loss": loss, "accuracy": 0.9876}, per_second=12.345, left=4864.0)


def test_elsewhere_there_is_a_line_every_ten_seconds(clock):
    out = io.StringIO()
    shown = Progress(out)
    for step in range(1, 25):
        show(shown, step)
        clock.now += 1
    shown.end()
    lines = out.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["1/60000", "11/60000", "21/60000"]
    assert lines[0] == "step 1/60000  loss 0.5  accuracy 98.8 %  12 steps/s  81 min left"


def test_on_a_terminal_one_line_is_rewritten(clock):
    out = Terminal()
    shown = Progress(out)
    for step in (1, 2, 3):
        show(shown, step)
        clock.now += 0.1
    line = "\rstep {}/60000  loss 0.5  accuracy 98.8 %  12 steps/s  81 min left\x1b[K"
    assert out.getvalue() == line.format(1) + line.format(3)
    shown.end()
    assert out.getvalue().endswith("\x1b[K\n")


@pytest.mark.parametrize(("per_second", "words"), [(1234.5, "1234"), (9.87, "9.9"), (0.4567, "0.46")])
def test_rates_read_well(per_second, words):
    out = io.StringIO()
    Progress(out).show(1, 2, {}, per_second=per_second, left=1)
    assert f"  {words} steps/s  " in out.getvalue()


def test_nothing_shown_leaves_no_line():
    out = Terminal()
    Progress(out).end()
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (99, "99 s"), (101, "2 min"), (5400, "90 min"), (6300, "1 h 45 min"), (36_180, "10 h 03 min")],
)
def test_durations_read_well(seconds, words):
    assert duration(seconds) == words
