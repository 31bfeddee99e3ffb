"""The margins of the lessons' checks: a lesson's comparisons are measured as they stand, with other seeds."""

import ast
import json
import math
from pathlib import Path

import nbformat
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import margins
from metalab.learners import MAML
from metalab.losses import mse
from metalab.nets import MLP
from metalab.tasks import sine
from metalab.train import Trainer

LESSON = """
from metalab.learners import MAML
from metalab.losses import mse
from metalab.nets import MLP
from metalab.tasks import sine
from metalab.train import Trainer

training = Trainer(MAML(MLP(), mse, 0.01), lambda g: sine.sample(2, 3, 3, g), seed=7)
start = training.params["w2"].sum().item()
"""


def lesson(*cells, folder=None):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    if folder:
        nbformat.write(notebook, folder / "small.ipynb")
    return notebook


def slacks_of(source, **names):
    record = margins.Slacks()
    exec(margins.measured(source, 3), names | {margins.RECORD: record})
    return record.least


def test_the_slack_is_how_far_a_check_is_from_failing():
    assert slacks_of("assert a < 5", a=2) == {"[3] a < 5": 3}
    assert slacks_of("assert a >= 5", a=2) == {"[3] a >= 5": -3}  # it fails, and the lesson goes on
    assert slacks_of("assert 1 < a < b", a=2, b=6) == {"[3] 1 < a": 1, "[3] a < b": 4}
    assert slacks_of("assert min(a) > (0.5 if b else 0)", a=[1, 2], b=True) == {"[3] min(a) > (0.5 if b else 0)": 0.5}


def test_a_training_that_repeats_the_reader_s_loop_keeps_its_seed(monkeypatch):
    monkeypatch.setattr(Trainer, "__init__", Trainer.__init__)  # which is put back after the test
    record = margins.with_other_seeds(5, torch.get_num_threads())
    arguments = MAML(MLP(), mse, 0.01), lambda g: sine.sample(2, 3, 3, g)
    kept, other = record.with_its_seed(*arguments, seed=7), Trainer(*arguments, seed=7)
    want = MLP().init(torch.Generator().manual_seed(7))
    assert torch.equal(kept.params["w2"], want["w2"])
    assert not torch.equal(other.params["w2"], want["w2"])


def test_sets_have_no_slack():
    assert slacks_of("assert {1} <= a and b < 2", a={1, 2}, b=1) == {"[3] b < 2": 1}
    with pytest.raises(AssertionError):
        slacks_of("assert {3} <= a", a={1, 2})


def test_a_claim_is_measured_like_an_assert():
    told = []
    assert slacks_of("claim(a > 5, f'{a > 9}')", a=2, claim=lambda *what: told.append(what)) == {"[3] a > 5": -3}
    assert told == [(True, "False")]


def test_of_several_pairs_the_least_slack_counts():
    assert slacks_of("assert all(x > 1 for x in a)", a=[3, 2, 5]) == {"[3] x > 1": 1}
    assert slacks_of("assert (a > 1).all()", a=torch.tensor([3.0, 2.0, 5.0])) == {"[3] a > 1": 1}


@pytest.mark.parametrize("source", ["assert a == 3", "assert not set(b) & {a}", "assert (a > 3).all()"])
def test_what_is_no_order_of_two_numbers_must_hold(source):
    with pytest.raises(AssertionError):
        slacks_of(source, a=torch.tensor([1.0]) if "all" in source else 2, b=[2])


def test_code_without_checks_is_left_as_it_is():
    source = "x = 1  # a comment\nif x < 2:\n    await y"
    assert margins.measured(source, 1) is source


def test_every_lessons_cells_can_be_measured():
    for path in Path("notebooks").glob("*.ipynb"):
        notebook = margins.measuring(nbformat.read(path, as_version=4), offset=3, threads=1)
        text = "\n".join(cell.source for cell in notebook.cells)
        assert text.count(f"{margins.RECORD}(") > 3
        ast.parse(text)


def test_a_training_has_another_seed_and_is_measured(tmp_path, capsys):
    lesson(LESSON, "assert start < 100\nassert 3 < 4", folder=tmp_path)
    file = tmp_path / "margins.json"
    arguments = ["margins", str(tmp_path / "small.ipynb"), "--seeds", "1", "--threads", "1", "--json", str(file)]
    assert command.main(arguments) == 0
    assert command.main([*arguments, "--first-seed", "5"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("done") == 2
    runs = json.loads(file.read_text())["runs"]  # it went on from what was there
    assert [(run["seed"], run["threads"]) for run in runs] == [(0, 1), (5, 1)]
    for run in runs:
        trainer = Trainer(MAML(MLP(), mse, 0.01), lambda g: sine.sample(2, 3, 3, g), seed=7 + run["seed"])
        assert run["slacks"]["[2] start < 100"] == pytest.approx(100 - trainer.params["w2"].sum().item())
    assert command.main(arguments) == 0  # nothing is run again
    assert "done" not in capsys.readouterr().out
    lesson(LESSON, "assert start < 100", folder=tmp_path)  # but what belongs to another state of the lesson is dropped
    assert command.main(arguments) == 0
    assert len(json.loads(file.read_text())["runs"]) == 1


def test_a_cell_that_fails_is_told(tmp_path, capsys):
    lesson("x = 1", "raise ValueError(x)", folder=tmp_path)
    assert command.main(["margins", str(tmp_path / "small.ipynb"), "--seeds", "1", "--threads", "1"]) == 1
    assert "FAILED with seeds + 0, threads 1: cell 2: ValueError: 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "wide"),
    [
        ([1.0, 1.0], True),  # it does not depend on the seed
        ([0.0, 0.0], True),
        ([-1.0, -1.0], False),
        ([4.0, 5.0, 6.0], True),  # five standard deviations
        ([1.0, 2.0, 3.0], False),  # two
        ([2.0], True),
        ([math.inf], True),  # a loss that was to become large
        ([math.inf, 4.0, 5.0, 6.0], True),
        ([math.inf, -1.0], False),
        ([-math.inf, 1.0], False),
        ([math.nan, 1.0], False),
    ],
)
def test_a_margin_is_three_standard_deviations(values, wide):
    assert margins.judge(values)[0] == wide
