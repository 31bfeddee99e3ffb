"""The command that lets a transformer read pictures: quick trainings on glyphs, and what its file holds."""

import json

import pytest

from metalab.experiments import pictures_in_context as study
from metalab.tasks import glyphs


@pytest.fixture
def characters(monkeypatch):
    train, test = (glyphs.draw(alphabets=2, seed=seed) for seed in (0, 1))
    monkeypatch.setattr(study.omniglot, "load", lambda: (train, test))


def test_a_run_is_resumed_and_its_file_is_whole(characters, tmp_path, capsys):
    out = tmp_path / "found.json"
    assert study.main(["--quick", "--seeds", "1", "--json", str(out)]) == 0
    data = json.loads(out.read_text())
    assert [(run["method"], run["seed"]) for run in data["runs"]] == [("prototypes", 0), ("transformer", 0)]
    for run in data["runs"]:
        assert run["accuracy"].keys() == {"1", "5"}
        assert all(0 <= number <= 1 for number in [*run["accuracy"].values(), *run["learned"]])
        for shots, right in run["right"].items():  # of the 25 queries of each episode
            assert len(right) == study.EPISODES // 300
            assert run["accuracy"][shots] == pytest.approx(sum(right) / len(right) / 25, abs=1e-5)
    capsys.readouterr()
    out.write_text(json.dumps(data | {"runs": data["runs"][:1]}))
    assert study.main(["--quick", "--seeds", "1", "--json", str(out)]) == 0
    again = json.loads(out.read_text())["runs"]
    assert capsys.readouterr().out.count("seed 0") == 1
    assert [run["accuracy"] for run in again] == [run["accuracy"] for run in data["runs"]]


def test_a_file_with_other_settings_is_left_alone(characters, tmp_path, capsys):
    out = tmp_path / "found.json"
    out.write_text(json.dumps({"protocol": {}, "runs": []}))
    with pytest.raises(SystemExit):
        study.main(["--quick", "--json", str(out)])
    assert "holds trainings with other settings" in capsys.readouterr().err
