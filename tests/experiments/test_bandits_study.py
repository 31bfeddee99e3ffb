"""The command that trains recurrent policies on bandits: it goes on where it was, and what is shipped is whole."""

import json

import pytest
import torch

from metalab import checkpoint
from metalab.analysis import bandits as rivals
from metalab.experiments import bandits as study
from metalab.lessons.learning_to_act import bandit_figures as lesson
from metalab.tasks import bandits


def test_a_second_call_goes_on_where_the_first_was_cut(tmp_path):
    out, kept = tmp_path / "found.json", tmp_path / "p.safetensors"
    command = ["--quick", "--json", str(out), "--params", str(kept), "--seeds"]
    assert study.main([*command, "2"]) == 0
    whole, params = json.loads(out.read_text()), checkpoint.load(kept)[0]
    for file in (out, kept):
        file.unlink()
    assert study.main([*command, "1"]) == 0
    assert study.main([*command, "2"]) == 0
    again = {run["seed"]: run["by pull"] for run in json.loads(out.read_text())["runs"]}
    assert again == {run["seed"]: run["by pull"] for run in whole["runs"]}
    assert checkpoint.load(kept)[0].keys() == params.keys()
    with pytest.raises(SystemExit):
        study.main(["--json", str(out)])


def test_the_exact_rewards_are_those_of_many_drawn_games():
    params = lesson.load_network(1)
    games = bandits.sample(40_000, torch.Generator().manual_seed(5))
    chances = study.LEARNER.predict(params, games).double()
    error = chances.std(0) / len(chances) ** 0.5
    assert ((chances.mean(0) - study.exact(params)).abs() < 4.5 * error).all()


def test_shipped_results_are_whole_and_were_measured_with_todays_settings():
    results = lesson.load_results()
    assert results["protocol"] == study.protocol()
    seeds = [run["seed"] for run in results["runs"]]
    assert len(seeds) == len(set(seeds)) >= 3
    for name, policy in study.POLICIES.items():
        assert results["exact"][name] == pytest.approx(rivals.expected_rewards(policy).tolist(), abs=1e-9)
    for run in results["runs"]:  # where two arms are nearly equal, rounding may choose the other one
        assert run["by pull"] == pytest.approx(study.exact(lesson.load_network(run["seed"])).tolist(), abs=1e-3)


def test_a_pull_of_an_arm_that_does_not_look_best_is_exploring():
    arms, rewards = torch.tensor([[0, 0, 1], [0, 1, 1]]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    assert lesson.explored(arms, rewards) == [0, 0, 0]  # after 1 of 2 paid, arm 0 looks as good as an unknown one
    assert lesson.explored(arms, 1 - rewards) == [0, 1, 0.5]


def test_a_network_has_the_same_states_when_it_reads_its_own_games():
    params, games = lesson.load_network(), bandits.sample(50, torch.Generator().manual_seed(1))
    game = study.LEARNER.play(params, games)
    torch.testing.assert_close(lesson.states_in(params, game), game.states)


def test_a_linear_function_reads_what_is_there_and_nothing_else():
    games = bandits.sample(2000, torch.Generator().manual_seed(2))
    game = study.LEARNER.play(lesson.load_network(), games)
    means = lesson.means_before(game.arms, game.rewards)[:, 5]
    mixed = means @ torch.randn(5, 48, generator=torch.Generator().manual_seed(0)).double()
    share, values = lesson.read_off(mixed, means)
    assert share > 0.99
    torch.testing.assert_close(values, means[1000:], atol=0.02, rtol=0)
    noise = torch.randn(game.states[:, 5].shape, generator=torch.Generator().manual_seed(0))
    assert lesson.read_off(noise, means)[0] < 0.1
    wins = (game.rewards * (game.arms == 0))[:, :5].sum(1)
    tries = (game.arms == 0)[:, :5].sum(1)
    torch.testing.assert_close(means[:, 0], ((wins + 1) / (tries + 2)).double())
