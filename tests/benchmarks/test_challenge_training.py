"""The command that trains for the author's challenge: its plan, its tests, its files, and how it goes on."""

import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from fake_gpu import fake_gpu

from benchmarks import __main__ as command
from benchmarks import challenge
from metalab import checkpoint
from metalab.tasks import Characters, glyphs, omniglot
from metalab.train import Diverged

TINY = replace(challenge.Training(), **challenge.QUICK)


def background(side=28):
    """Seven alphabets of 20 characters or more, of which one is held out."""
    drawn = glyphs.draw(alphabets=7, characters=21, drawings=20, seed=0)
    images = F.interpolate(drawn.images.float(), size=(side, side)).to(torch.uint8)
    return Characters(images, drawn.alphabet, drawn.names, drawn.source)


def evaluation(side=28):
    """Noise in the form of the evaluation set."""
    counts = torch.tensor([count for _first, count in omniglot.EVALUATION.alphabets.values()])
    images = torch.randint(256, (659, 20, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Characters(images, torch.arange(20).repeat_interleave(counts), tuple(omniglot.EVALUATION.alphabets), "noise")


@pytest.fixture
def no_omniglot(monkeypatch):
    sets = background(), evaluation()
    monkeypatch.setattr(omniglot, "load", lambda split, *, side: sets)


def measure(file, *more):
    return command.main(["challenge", "--quick", "--seeds", "1", "--json", str(file), *more])


def test_every_part_is_trained_and_tested_as_it_says(no_omniglot, tmp_path, capsys):
    file = tmp_path / "found.json"
    assert measure(file, "--only", "full recipe", "larger pictures") == 0
    found = json.loads(file.read_text())["runs"]
    names = [(run["part"], run["name"]) for run in found]
    assert names == [
        *[("search", name) for name in challenge.CANDIDATES],
        ("final", "alphabets"),
        *[("minimal", name) for name in ("small1", "small2")],
        ("ablation", "full recipe"),
        ("ablation", "larger pictures"),
    ]
    for run in found:
        assert run["steps"] == challenge.QUICK_STEPS
        assert list(run["errors"]) == ["recipe", "without views", "without averaged weights", "without both"]
        for errors in run["errors"].values():
            if run["part"] in ("final", "minimal"):
                assert errors["trials"] == 400
                assert errors["interval"][0] <= errors["errors"] / 400 == errors["share"] <= errors["interval"][1]
            else:
                *alphabets, mean = errors.values()
                assert mean == pytest.approx(sum(alphabets) / len(alphabets))
    saved = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert saved == [f"challenge-{name}-seed0.safetensors" for name in ("alphabets", "small1", "small2")]
    assert "final, alphabets, seed 0: 3 steps in " in capsys.readouterr().out


def test_it_goes_on_where_it_stopped(no_omniglot, tmp_path, monkeypatch):
    file, trained = tmp_path / "found.json", []
    honest = challenge.train

    def counted(*arguments, **options):
        trained.append(options["seed"])
        return honest(*arguments, **options)

    monkeypatch.setattr(challenge, "train", counted)
    assert measure(file, "--part", "final") == 0
    assert measure(file, "--part", "final") == 0
    assert measure(file, "--part", "final", "--seeds", "2") == 0
    assert trained == [0, 1]
    assert measure(file, "--part", "minimal", "--budget", "0.001") == 0
    assert trained == [0, 1]


def test_the_best_candidate_is_the_recipe_of_the_other_parts(no_omniglot, tmp_path):
    runs = [
        {"part": "search", "name": name, "errors": errors}
        for name, errors in (
            ("Muon", {"recipe": {"mean": 0.2}}),
            ("Muon, lower rate", {}),  # it diverged
            ("Adam", {"recipe": {"mean": 0.1}}),
        )
    ]
    assert challenge.best(runs) == "Adam"
    assert challenge.best([]) == "Muon"
    file = tmp_path / "found.json"
    file.write_text(json.dumps({"quick": True, "runs": [{**run, "seed": 0} for run in runs]}))
    assert measure(file, "--part", "final") == 0
    assert not json.loads(file.read_text())["runs"][-1]["recipe"]["muon"]


def test_a_divergence_is_noted_and_the_rest_is_trained(no_omniglot, tmp_path, monkeypatch, capsys):
    def diverge(*_arguments, **_options):
        raise Diverged("the loss is nan")

    monkeypatch.setattr(challenge, "train", diverge)
    assert measure(tmp_path / "found.json", "--part", "search") == 0
    found = json.loads((tmp_path / "found.json").read_text())["runs"]
    assert [run["diverged"] for run in found] == ["the loss is nan"] * len(challenge.CANDIDATES)
    assert "search, Adam, seed 0: the loss is nan" in capsys.readouterr().out


def test_what_is_saved_gives_the_errors_that_are_told(no_omniglot, tmp_path):
    file = tmp_path / "found.json"
    measure(file, "--part", "final")
    [run] = json.loads(file.read_text())["runs"]
    tensors, note = checkpoint.load(tmp_path / "challenge-alphabets-seed0.safetensors")
    assert note["errors"] == run["errors"]["recipe"]["errors"]
    assert note["recipe"] == run["recipe"]
    params = {name: p for name, p in tensors.items() if not name.startswith("stats.")}
    stats = {name.removeprefix("stats."): p for name, p in tensors.items() if name.startswith("stats.")}
    tested = challenge.Tested(TINY, params, background(), TINY.views)
    assert tested.network.learner.stats.keys() == stats.keys()
    for name, value in stats.items():
        torch.testing.assert_close(tested.network.learner.stats[name], value)
    assert tested.challenge(evaluation())["errors"] == note["errors"]


def test_held_out_tasks_are_counted_one_by_one():
    generator = torch.Generator().manual_seed(0)
    characters = background()
    z = F.normalize(torch.randn(147, 20, 3, generator=generator), dim=-1)

    class Given(challenge.Tested):
        def __init__(self):
            pass

        def embed(self, images):
            here = (characters.images.unsqueeze(2).float() / 255 - images[0]).abs().amax((1, 2, 3, 4)).argmin()
            return z[here : here + len(images)]

    found = Given().held_out(characters, subsets=2)
    assert set(found) == {*characters.names, "mean"}
    generator = torch.Generator().manual_seed(0)
    for i, name in enumerate(characters.names):
        wrong = trials = 0
        for _ in range(2):
            some = z[21 * i : 21 * i + 21][torch.randperm(21, generator=generator)[:20]]
            for support in range(20):
                for query in range(20):
                    if support != query:
                        nearest = torch.cdist(some[:, query], some[:, support]).argmin(1)
                        wrong += (nearest != torch.arange(20)).sum().item()
                        trials += 20
        assert found[name] == pytest.approx(wrong / trials)


def test_wilsons_interval_is_wilsons():
    found = challenge.wilson(13, 400)
    for end in found["interval"]:  # where the share lies 1.96 deviations of such a share away
        assert abs(end - 13 / 400) == pytest.approx(1.96 * math.sqrt(end * (1 - end) / 400))


def test_the_time_decides_on_the_number_of_steps():
    trainer, took = challenge.train(TINY, background(), seed=0, seconds=2.0, steps=None)
    assert trainer.steps == took["steps"] > challenge.TRIAL + challenge.TIMED
    assert took["seconds"] < 20


def test_every_ingredient_can_be_left_out():
    for name, changed in challenge.WITHOUT.items():
        training = replace(challenge.Training(), **changed)
        assert (training == challenge.Training()) is (name == "full recipe")


@pytest.mark.parametrize("changed", [{}, {"residual": False}, {"muon": False}, {"same_drawers": False}])
def test_a_step_runs_on_a_gpu_and_can_be_recorded(changed):
    with fake_gpu() as device:
        source = background().to(device)
        trainer, _took = challenge.train(replace(TINY, **changed), source, seed=0, seconds=1.0, steps=3)
        tested = challenge.Tested(replace(TINY, **changed), trainer.averaged(), source, 2)
        assert 0 <= tested.held_out(source.hold_out()[1], 1)["mean"] <= 1


@pytest.mark.parametrize("option", ["--seeds", "--seconds", "--steps", "--budget"])
def test_nothing_at_all_is_refused(option, tmp_path, capsys):
    assert measure(tmp_path / "x.json", option, "0") != 0
    assert f"{option} 0" in capsys.readouterr().err


def test_a_file_that_was_measured_in_another_way_is_kept(tmp_path, capsys):
    file = tmp_path / "found.json"
    file.write_text(before := json.dumps({"quick": False, "runs": []}))
    assert measure(file) != 0
    assert "was measured in another way" in capsys.readouterr().err
    assert file.read_text() == before


@pytest.mark.parametrize(("text", "message"), [("{", "is damaged"), ("[]", "was measured in another way")])
def test_a_file_of_another_kind_is_kept(text, message, tmp_path, capsys):
    file = tmp_path / "found.json"
    file.write_text(text)
    assert measure(file) != 0
    said = capsys.readouterr().err
    assert f"--json {file}" in said
    assert message in said
    assert file.read_text() == text


@pytest.mark.parametrize("device", ["tpu", "cuda:x"])
def test_what_is_no_device_is_refused(device, tmp_path, capsys):
    assert measure(tmp_path / "found.json", "--device", device) != 0
    assert f"--device {device} is no device: it must be cpu or cuda" in capsys.readouterr().err
