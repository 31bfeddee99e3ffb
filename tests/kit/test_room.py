"""How much room a page has for a picture."""

import pytest

from metalab.lessons.kit import room as module
from metalab.lessons.kit.room import Room


def told(room, *page):
    room._told({"new": list(page)})
    return room


def test_without_a_page_a_picture_has_the_size_that_it_was_made_for():
    assert Room().size(900, 360) == (900, 360, 1.0)


@pytest.mark.parametrize(
    ("page", "size"),
    [
        ((1300, 1000, 1.0), (900, 360, 1.0)),
        ((1300, 600, 1.0), (900, 330, 1.0)),  # 55 % of the window
        ((500, 1000, 1.0), (500, 360, 1.0)),
        ((513, 1000, 1.5), (500, 360, 1.5)),  # a zoom of 150 %
        ((1300, 1000, 3.0), (900, 360, 2.0)),
        ((1300, 300, 1.0), (900, 220, 1.0)),
    ],
)
def test_a_picture_fits_its_page(page, size):
    assert told(Room(), *page).size(900, 360) == pytest.approx(size)


def test_who_draws_is_told_when_the_size_has_changed():
    calls = []
    room = Room(lambda: calls.append(1))
    for page in ((1300, 1000, 1.0), (1301, 1000, 1.0), (1300, 1000, 2.0)):
        told(room, *page)
    assert len(calls) == 2, "a pixel more changes nothing"


@pytest.mark.parametrize("page", [[], [1, 2], ["a", 1, 1], [None, None, None], [float("nan"), 1, 1]])
def test_a_page_that_tells_nonsense_changes_nothing(page):
    assert told(Room(), *page).size(900, 360)[:2] == (900, 360)


def test_without_the_package_for_the_script_a_panel_does_without(monkeypatch):
    monkeypatch.setattr(module, "anywidget", None)
    room = Room()
    assert "<style>" in room.widget.value
    assert room.size(900, 360) == (900, 360, 1.0)
