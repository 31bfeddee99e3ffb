"""The command that compares learners in context: it is resumed, and does not take another command's file."""

import json

import pytest

from metalab.experiments import in_context as study


def test_a_run_is_resumed_and_its_file_is_whole(tmp_path, capsys):
    out, params = tmp_path / "found.json", tmp_path / "linear.safetensors"
    assert study.main(["--quick", "--seeds", "1", "--json", str(out), "--params", str(params)]) == 0
    data = json.loads(out.read_text())
    assert [(r["method"], r["seed"]) for r in data["runs"]] == study.plan(1)
    assert params.exists()
    kept = data["runs"][:2]
    out.write_text(json.dumps(data | {"runs": kept}))
    capsys.readouterr()
    assert study.main(["--quick", "--seeds", "1", "--json", str(out)]) == 0
    again = json.loads(out.read_text())["runs"]
    assert again[:2] == kept
    assert capsys.readouterr().out.count("seed 0") == len(study.plan(1)) - 2


def test_a_file_with_other_settings_is_left_alone(tmp_path, capsys):
    out = tmp_path / "found.json"
    out.write_text(json.dumps({"protocol": {}, "runs": []}))
    with pytest.raises(SystemExit):
        study.main(["--quick", "--json", str(out)])
    assert "holds trainings with other settings" in capsys.readouterr().err
    assert json.loads(out.read_text()) == {"protocol": {}, "runs": []}


def test_long_trainings_and_linear_functions_come_last():
    order = [method for method, _seed in study.plan(2)]
    assert order[-4:] == [study.LONGEST, study.LONGEST, "linear", "linear"]
    assert len(order) == len(set(study.plan(2)))
