import pytest
import torch

from metalab.engine.rollback import Rollback


class Counter:
    """A training whose state is one number, in a tensor that changes in place as a trainer's do."""

    def __init__(self):
        self.w = torch.zeros(1)
        self.rollback = Rollback(lambda: {"w": self.w}, lambda state: self.w.copy_(state["w"]))

    def step(self):
        self.w += 1

    def back(self):
        self.rollback.go_back()
        return self.w.item()


@pytest.fixture
def counter():
    return Counter()


def test_without_a_copy_it_goes_back_to_the_start(counter):
    counter.step()
    counter.step()
    assert counter.back() == 0


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_a_copy_is_good_only_when_the_next_one_is_made(counter, copies):
    for _ in range(copies):
        counter.step()
        counter.rollback.keep()
    counter.step()
    assert counter.back() == copies - 1


def test_it_can_go_back_to_the_same_state_again_and_again(counter):
    for _ in range(3):
        counter.step()
        counter.rollback.keep()
    for _ in range(3):
        counter.w.fill_(torch.nan)
        assert counter.back() == 2


def test_where_it_went_back_to_is_good_whatever_is_copied_next(counter):
    for _ in range(3):
        counter.step()
        counter.rollback.keep()
    assert counter.back() == 2
    counter.w.fill_(torch.nan)
    counter.rollback.keep()
    assert counter.back() == 2


def test_starting_over_forgets_all_that_was_before(counter):
    for _ in range(3):
        counter.step()
        counter.rollback.keep()
    counter.w.fill_(7)
    counter.rollback.start_over()
    counter.step()
    assert counter.back() == 7


def test_the_whole_state_goes_back():
    state = {"w": torch.zeros(2, 3), "steps": torch.tensor(0), "generator": torch.Generator().get_state()}
    loaded = []
    rollback = Rollback(lambda: state, loaded.append)
    expected = {name: tensor.clone() for name, tensor in state.items()}
    for tensor in state.values():
        tensor.fill_(1)
    rollback.go_back()
    assert loaded[0].keys() == expected.keys()
    assert all(torch.equal(loaded[0][name], expected[name]) for name in expected)
