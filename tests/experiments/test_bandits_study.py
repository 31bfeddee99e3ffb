"""The command that trains recurrent policies on bandits: it goes on where it was, and what is shipped is whole."""

import json
from dataclasses import replace

import pytest
import torch

from metalab.analysis import bandits as rivals
from metalab.experiments import bandits as study
from metalab.lessons.learning_to_act import bandit_figures as lesson


def test_a_second_call_goes_on_where_the_first_was_cut(tmp_path):
    out = tmp_path / "found.json"
    command = ["--quick", "--seeds", "2", "--json", str(out), "--params", str(tmp_path / "p.safetensors")]
    assert study.main(command) == 0
    whole = json.loads(out.read_text())
    out.write_text(json.dumps(whole | {"runs": whole["runs"][1:]}))
    assert study.main(command) == 0
    again = {run["seed"]: run["reward"] for run in json.loads(out.read_text())["runs"]}
    assert again == {run["seed"]: run["reward"] for run in whole["runs"]}
    with pytest.raises(SystemExit):
        study.main(["--json", str(out)])


def test_shipped_results_are_whole_and_were_measured_with_todays_settings():
    results = lesson.load_results()
    assert results["protocol"] == study.protocol()
    seeds = [run["seed"] for run in results["runs"]]
    assert len(seeds) == len(set(seeds)) >= 3
    for name, policy in study.POLICIES.items():
        assert results["exact"][name] == pytest.approx(rivals.expected_rewards(policy).tolist(), abs=1e-9)


def test_the_shipped_network_gets_what_the_results_say():
    results, games = lesson.load_results(), study.games_of_test(20_000)
    chances = study.LEARNER.predict(lesson.load_network(), games).sum(1)
    (of_seed_0,) = (run["reward"] for run in results["runs"] if run["seed"] == 0)
    assert chances.mean().item() == pytest.approx(of_seed_0, abs=4.5 * chances.std().item() / 20_000**0.5)


def test_a_linear_function_reads_what_is_there_and_nothing_else():
    games = study.games_of_test(2000)
    game = study.LEARNER.play(lesson.load_network(), games)
    noise = torch.randn(game.states.shape, generator=torch.Generator().manual_seed(0))
    assert max(lesson.readable(replace(game, states=noise))) < 0.1
