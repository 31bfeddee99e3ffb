"""The command that trains MAML to act: it goes on where it was, and what is shipped is whole and can be had again."""

import json

import pytest
import torch

from metalab.experiments import navigation as study
from metalab.lessons.learning_to_act import figures as lesson

RESULTS = lesson.load_results()


@pytest.fixture
def tiny(monkeypatch):
    for name, value in {"TASKS": 2, "TRAJECTORIES": 3, "GOALS": 3, "TRIALS": 4, "RATES": (0.1, 0.5)}.items():
        monkeypatch.setattr(study, name, value)


def test_a_second_call_goes_on_where_the_first_was_cut(tiny, tmp_path):
    out = tmp_path / "found.json"
    command = ["--steps", "2", "--seeds", "1", "--json", str(out), "--params", str(tmp_path / "p.safetensors")]
    assert study.main(command) == 0
    whole = json.loads(out.read_text())
    assert [(run["method"], run["seed"]) for run in whole["runs"]] == [(method, 0) for method in study.METHODS]
    out.write_text(json.dumps(whole | {"runs": whole["runs"][1:]}))
    assert study.main(command) == 0
    again = {run["method"]: run["returns"] for run in json.loads(out.read_text())["runs"]}
    assert again == {run["method"]: run["returns"] for run in whole["runs"]}


def test_a_file_of_other_settings_is_refused(tmp_path, capsys):
    out = tmp_path / "found.json"
    out.write_text(json.dumps({"steps": 7, "runs": []}))
    with pytest.raises(SystemExit):
        study.main(["--steps", "2", "--json", str(out)])
    assert "other settings" in capsys.readouterr().err


def test_the_pretrained_policy_is_trained_without_a_step_and_the_random_one_not_at_all(tiny):
    assert study.trainer("maml", 0).learner.inner_steps == 1
    assert study.trainer("pretrained", 0).learner.inner_steps == 0
    run, params = study.measure("random", 3)
    assert run["rate"] in study.RATES
    fresh = study.trainer("pretrained", 3).params
    assert all(torch.equal(params[name], fresh[name]) for name in fresh)


def test_shipped_results_are_whole_and_were_measured_with_todays_settings():
    assert RESULTS["steps"] == study.META_STEPS
    for method in study.METHODS:
        assert lesson.of_seeds(RESULTS, method).shape == (3, study.ROUNDS)
    for run in RESULTS["runs"]:
        assert len(run["returns"]) == study.GOALS
        assert run["rate"] == study.LEARNER.inner_lr if run["method"] == "maml" else run["rate"] in study.RATES


def test_the_shipped_policy_gets_what_the_results_say():
    """It is shipped in half precision, which moves single goals more than their mean."""
    found = study.returns(lesson.trained(), study.LEARNER.inner_lr).mean(0).tolist()
    assert found == pytest.approx(lesson.of_seeds(RESULTS, "maml")[0].tolist(), rel=0.1, abs=1)


def test_the_random_policy_of_the_results_is_todays():
    run = next(run for run in RESULTS["runs"] if (run["method"], run["seed"]) == ("random", 0))
    found = study.returns(study.trainer("pretrained", 0).params, run["rate"]).mean(0)
    assert found.tolist() == pytest.approx(torch.tensor(run["returns"]).mean(0).tolist(), rel=0.02)
