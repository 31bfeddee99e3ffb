import pytest
import torch

from metalab.lessons.kit import curve as module
from metalab.lessons.kit.curve import Curve


def test_a_loop_of_ones_own_has_its_curve(monkeypatch):
    shown = []
    monkeypatch.setattr(module, "show_widget", lambda *_: None)
    monkeypatch.setattr(module, "show", lambda fig, text: shown.append((fig, text)))
    curve = Curve(12, title="my own loop")
    for step in curve:
        curve.add(torch.tensor(12.0 - step))
    assert curve.losses == [float(n) for n in range(11, -1, -1)]
    [(fig, text)] = shown
    assert text == "my own loop: step 12 of 12, loss 4.50."  # the mean of the last ten, 0 … 9
    each, mean = fig.axes[0].get_lines()
    assert list(each.get_ydata()) == curve.losses
    assert mean.get_ydata()[-1] == pytest.approx(4.5)


def test_a_loop_that_adds_nothing_draws_nothing(monkeypatch):
    monkeypatch.setattr(module, "show_widget", lambda *_: None)
    monkeypatch.setattr(module, "show", lambda *_: pytest.fail("there is nothing to draw"))
    assert list(Curve(3, title="nothing")) == [1, 2, 3]
    with pytest.raises(ValueError, match="steps=0"):
        Curve(0, title="nothing")
