"""The command that trains MAML to act: it goes on where it was, and what is shipped is whole and can be had again."""

import json

import pytest
import torch

from metalab import checkpoint
from metalab.experiments import navigation as study
from metalab.lessons.learning_to_act import figures as lesson

RESULTS = lesson.load_results()
SEEDS = len(lesson.of_seeds(RESULTS, "maml"))


@pytest.fixture
def tiny(monkeypatch):
    few = {"TASKS": 2, "TRAJECTORIES": 3, "GOALS": 3, "TRIALS": 4, "RATES": (0.1, 0.5), "LATER": (1.0, 0.5)}
    for name, value in few.items():
        monkeypatch.setattr(study, name, value)


def test_a_second_call_goes_on_where_the_first_was_cut(tiny, tmp_path):
    out, kept = tmp_path / "found.json", tmp_path / "p.safetensors"
    command = ["--steps", "2", "--json", str(out), "--params", str(kept), "--seeds"]
    assert study.main([*command, "2"]) == 0
    whole, params = json.loads(out.read_text()), checkpoint.load(kept)[0]
    for file in (out, kept):
        file.unlink()
    assert study.main([*command, "1"]) == 0
    assert study.main([*command, "2"]) == 0
    assert json.loads(out.read_text()) == whole
    assert {name.rsplit(".", 1)[0] for name in params} == {f"{m}.{seed}" for m in study.METHODS for seed in (0, 1)}
    assert all(torch.equal(p, params[name]) for name, p in checkpoint.load(kept)[0].items())


def test_a_file_of_other_settings_is_refused(tmp_path, capsys):
    out = tmp_path / "found.json"
    out.write_text(json.dumps({"steps": 7, "runs": []}))
    with pytest.raises(SystemExit):
        study.main(["--steps", "2", "--json", str(out)])
    assert "other settings" in capsys.readouterr().err


def test_the_pretrained_policy_is_trained_without_a_step():
    assert study.trainer("maml", 0).learner.inner_steps == 1
    assert study.trainer("pretrained", 0).learner.inner_steps == 0


def test_the_rates_are_those_that_are_best_on_validation_goals_for_each_number_of_steps(tiny, monkeypatch):
    """Returns that depend on the rates alone: the test goals would choose others."""
    best = torch.tensor([[9.0, 9.0], [0.1, 1.0], [0.5, 1.0], [0.5, 0.5]])  # after 0 to 3 steps

    def returns(_params, rate, later=1.0, seed=study.TEST_SEED):
        gap = (torch.tensor([rate, later]) - best).abs().sum(1)
        return (-gap if seed == study.VALIDATION_SEED else gap).expand(3, 4)

    monkeypatch.setattr(study, "returns", returns)
    pairs = study.chosen([{"tried": study.tried("pretrained", {})}] * 2)
    torch.testing.assert_close(torch.tensor(pairs), best[1:])
    assert study.tested({}, pairs)[:, 1:].abs().max() < 1e-6, "each is tested with what was chosen for it"
    assert {row[0] for row in study.tried("maml", {})} == {study.LEARNER.inner_lr}


def test_the_choice_is_that_of_all_seeds_together():
    runs = [{"tried": [[0.1, 1.0, 0, -5, -5, -5], [0.5, 1.0, 0, second, -4, -4]]} for second in (-1, -10)]
    assert study.chosen(runs)[0] == [0.1, 1.0]
    assert study.chosen(runs[:1])[0] == [0.5, 1.0]


def test_shipped_results_are_whole_and_were_measured_with_todays_settings():
    assert RESULTS["steps"] == study.META_STEPS
    for method in study.METHODS:
        runs = lesson.runs_of(RESULTS, method)
        assert len(runs) == SEEDS >= 3
        rates = [study.LEARNER.inner_lr] if method == "maml" else study.RATES
        for run in runs:
            assert torch.tensor(run["returns"]).shape == (study.GOALS, study.ROUNDS)
            assert [each[:2] for each in run["tried"]] == [[rate, later] for rate in rates for later in study.LATER]
        assert RESULTS["chosen"][method] == study.chosen(runs)


@pytest.mark.parametrize("method", study.METHODS)
def test_the_shipped_policies_get_what_the_results_say(method):
    """Another processor rounds differently, which moves single goals more than their mean."""
    found = study.tested(lesson.trained(method, SEEDS - 1), RESULTS["chosen"][method]).mean(0).tolist()
    assert found == pytest.approx(lesson.of_seeds(RESULTS, method)[SEEDS - 1].tolist(), rel=0.1, abs=1)
