import pytest

from metalab.experiments.timing import WARM, medians_in_turn


def test_medians_of_actions_that_take_turns():
    now, done = [0.0], []

    def lasting(name, seconds):
        """An action that takes the next of these times at each call, of which the first ones do not count."""
        left = [100.0] * WARM + seconds

        def action():
            done.append(name)
            now[0] += left.pop(0)

        return action

    actions = {"a": lasting("a", [0.001, 0.009, 0.002]), "b": lasting("b", [0.005, 0.004, 0.006])}
    found = medians_in_turn(actions, rounds=3, clock=lambda: now[0])
    assert found == pytest.approx({"a": 2.0, "b": 5.0})
    assert done == ["a", "b"] * (WARM + 3)


def test_no_round_is_refused():
    with pytest.raises(ValueError, match="rounds=0 must be at least 1"):
        medians_in_turn({}, rounds=0)
