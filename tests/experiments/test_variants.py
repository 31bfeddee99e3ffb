"""The command that compares MAML's variants: what it trains, that it goes on, and that it would run on a GPU."""

import argparse
import contextlib
import json
from dataclasses import replace

import noise
import pytest
import torch
from fake_gpu import fake_gpu

from metalab.experiments import scoring, variants
from metalab.experiments.variants import METHODS, OTHER_TIME, QUICK, Bench
from metalab.learners import MultiStepLoss
from metalab.learners.meta_sgd import RATE
from metalab.learners.sparse_maml import GATE
from metalab.optim import Adam, Descent
from metalab.tasks import omniglot

CHARACTERS = noise.noise(40, 12, seed=0)


def run(tmp_path, part, *options):
    tmp_path.mkdir(exist_ok=True)
    out = tmp_path / f"{part}.json"
    assert variants.main([part, "--quick", "--seeds", "2", "--out", str(out), *options]) == 0
    return json.loads(out.read_text())


def test_it_tunes_and_trains_and_goes_on_where_it_was_cut(tmp_path, capsys):
    data = run(tmp_path, "sine")
    pairs = [(r["method"], r["inner_lr"], r["outer_lr"]) for r in data["tuned"]]
    short, whole = pairs[: 2 * len(METHODS)], pairs[2 * len(METHODS) :]  # two inner rates; for Reptile, two outer ones
    assert len(set(short)) == len(short) == len(whole)
    assert set(short) == set(whole)  # both are finalists
    assert [r["steps"] for r in data["tuned"]] == [2] * len(short) + [16] * len(whole)
    assert {r["seed"] for r in data["tuned"]} == {variants.TUNING_SEED}
    kinds = [(r["seed"], r["method"], r["equal"]) for r in data["runs"]]
    assert len(kinds) == len(set(kinds)) == 2 * (len(METHODS) + len(OTHER_TIME) + 1)
    assert [seed for seed, *_ in kinds] == sorted(seed for seed, *_ in kinds)  # a run that is cut is balanced
    for row in data["runs"]:
        best = variants.chosen(data["tuned"], row["method"])
        assert (row["inner_lr"], row["outer_lr"]) == (best["inner_lr"], best["outer_lr"])
        assert row["curve"][-1][0] == row["steps"]
        relative = data["step_ms"]["maml"] / data["step_ms"][row["method"]]
        share = {"steps": 1, "time": relative, "half": 0.5}[row["equal"]]
        assert row["steps"] == round(share * data["steps"])
    assert data["steps"] == QUICK["sine"].steps

    cut = data | {"runs": data["runs"][:5], "tuned": data["tuned"][:-1]}
    (tmp_path / "sine.json").write_text(json.dumps(cut))
    again = run(tmp_path, "sine")
    assert again["step_ms"] == data["step_ms"]
    for rows in ("tuned", "runs"):  # seeds decide, whatever was trained before
        assert [r | {"seconds": 0} for r in again[rows]] == [r | {"seconds": 0} for r in data[rows]]


def test_the_best_of_the_whole_trainings_is_chosen_and_only_finalists_have_one(tmp_path, monkeypatch, capsys):
    """Pairs that learn fastest at first may be unstable later."""
    problem = replace(QUICK["sine"], inner=(0.01, 0.02, 0.03), finalists=2)
    monkeypatch.setattr(variants, "QUICK", {"sine": problem})
    monkeypatch.setattr(variants, "METHODS", ("maml", "fomaml"))
    monkeypatch.setattr(variants, "OTHER_TIME", ())
    score = {(2, 0.01): 3.0, (2, 0.02): 1.0, (2, 0.03): 2.0, (16, 0.02): None, (16, 0.03): 0.5}
    keep = variants.Comparison.keep

    def judged(comparison, rows, bench, planned, split, tasks):
        keep(comparison, rows, bench, planned, split, tasks)
        if rows == "tuned":
            comparison.data["tuned"][-1]["error"] = score[planned["steps"], planned["inner_lr"]]

    monkeypatch.setattr(variants.Comparison, "keep", judged)
    data = run(tmp_path, "sine")
    tried = [(r["steps"], r["inner_lr"]) for r in data["tuned"] if r["method"] == "fomaml"]
    assert tried == [(2, 0.01), (2, 0.02), (2, 0.03), (16, 0.02), (16, 0.03)]
    assert {r["inner_lr"] for r in data["runs"]} == {0.03}


def test_long_gradients_are_shortened_as_torch_shortens_them():
    ours = torch.tensor([1.0, -2.0, 0.5])
    theirs = ours.clone().requires_grad_()
    adam, witness = variants.ClippedAdam(ours, longest=1.0), torch.optim.Adam([theirs], lr=0.1)
    adam.rate.fill_(0.1)
    for gradient in ([3e6, 4e6, 0.0], [0.3, -0.1, 0.2], [0.0, 0.0, 0.0], [1.0, 2.0, 2.0]):
        adam.step(torch.tensor(gradient))
        theirs.grad = torch.tensor(gradient)
        torch.nn.utils.clip_grad_norm_([theirs], 1.0)
        witness.step()
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-4, atol=1e-5)


def test_on_sines_all_gradients_are_clipped_but_reptiles_whose_outer_step_is_none(tmp_path, capsys):
    def optimizers(problem):
        benches = {m: Bench("sine", problem, m, 0.01, None, "cpu") for m in METHODS}
        return {method: type(bench._trainer._optimizer) for method, bench in benches.items()}

    clipped = dict.fromkeys(METHODS, variants.ClippedAdam) | {"reptile": Descent}
    assert optimizers(QUICK["sine"]) == clipped
    assert optimizers(replace(QUICK["sine"], longest=None)) == dict.fromkeys(METHODS, Adam) | {"reptile": Descent}
    plain, short = run(tmp_path / "plain", "sine", "--unclipped"), run(tmp_path, "sine")
    assert (plain["protocol"]["longest"], short["protocol"]["longest"]) == (None, 1.0)
    assert plain["command"] == short["command"] + " --unclipped"


def test_files_of_others_are_refused(tmp_path, capsys):
    out = tmp_path / "sine.json"
    for text, complaint in (("{", "is damaged"), ('{"protocol": {}, "runs": []}', "other settings")):
        out.write_text(text)
        with pytest.raises(SystemExit):
            variants.main(["sine", "--out", str(out)])
        assert complaint in capsys.readouterr().err
        assert out.read_text() == text
    with pytest.raises(SystemExit):
        variants.main(["sine", "--seeds", "1"])
    assert "--seeds=1 must be a whole number of at least 2" in capsys.readouterr().err


def test_a_training_that_is_started_again_is_a_fresh_one():
    bench = Bench("sine", QUICK["sine"], "multi_step", 0.03, None, "cpu")
    first = bench.train(3, 0.01, 6)
    assert bench._learner.importance.tolist() == pytest.approx([0.01, 0.01, 0.98])
    assert bench.train(4, 0.01, 6) != first
    assert bench.train(3, 0.01, 6) == first


def test_rates_fall_to_zero_and_weights_are_annealed():
    bench = Bench("sine", QUICK["sine"], "multi_step", 0.03, None, "cpu")
    assert isinstance(bench._learner, MultiStepLoss)
    bench.start(0, 0.2, 1000)
    assert [bench._trainer.outer_lr(n) for n in (1, 501, 1001)] == pytest.approx([0.2, 0.1, 0])
    bench._trainer.outer_lr(51)  # half of the annealing
    assert bench._learner.importance.tolist() == pytest.approx([1 / 6, 1 / 6, 2 / 3])


def test_trainings_next_to_one_another_end_as_those_that_take_turns(tmp_path, capsys):
    """On a GPU they share it; here the threads share nothing but the file."""
    ends = []
    for together in (1, 4):
        out = tmp_path / f"{together}.json"
        options = argparse.Namespace(
            unclipped=False, out=out, device="cpu", seeds=2, steps=16, minutes=None, quick=True, together=1
        )
        comparison = variants.Comparison("sine", options)
        comparison.data["step_ms"] = dict.fromkeys(METHODS, 1.0)
        comparison.together = together
        comparison.tune()
        comparison.train()
        ends.append({(r["seed"], r["method"], r["equal"]): r["error"] for r in json.loads(out.read_text())["runs"]})
    assert ends[0] == ends[1]


def test_a_divergence_is_recorded():
    found = Bench("sine", QUICK["sine"], "maml", 1e18, None, "cpu").train(0, 0.1, 6)
    assert found["diverged_after"] < 6


def test_what_was_learned_is_told_by_layer():
    params = {"w": torch.zeros(3), RATE + "w": torch.arange(101.0), GATE + "b": torch.tensor([-1.0, 0.0, 2.0, 3.0])}
    assert variants.learned("meta_sgd", params) == {"learned": {"w": [5, 25, 50, 75, 95], "b": 0.75}}
    assert variants.learned("per_step", {RATE + "w": torch.tensor([1.0, 2.0])}) == {"learned": {"w": [1, 2]}}
    assert variants.learned("maml", {"w": torch.zeros(3)}) == {}


@pytest.fixture
def gpu(monkeypatch):
    """`fake_gpu`, which knows no streams."""
    torch.set_num_threads(1)
    monkeypatch.setattr(torch.cuda, "Stream", object)
    monkeypatch.setattr(torch.cuda, "stream", lambda _stream: contextlib.nullcontext())
    with fake_gpu() as device:
        yield str(device)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("part", QUICK)
def test_benches_stand_on_a_gpu(gpu, part, method, monkeypatch):
    monkeypatch.setattr(scoring, "REPTILE_STEPS", 2)
    characters = CHARACTERS.to(gpu) if part == "omniglot" else None
    bench = Bench(part, QUICK[part], method, QUICK[part].inner[0], characters, gpu)
    curve = bench.train(0, 1e-3, 2)["curve"]
    assert [number for number, _error in curve] == [1, 2]
    assert bench.test("test", 4, characters).mean >= 0
    variants.learned(method, bench.params)


def test_characters_are_tuned_and_trained_and_the_length_fits_the_time(tmp_path, capsys, monkeypatch):
    three = replace(CHARACTERS, alphabet=torch.arange(40) % 8, names=tuple("abcdefgh"))
    monkeypatch.setattr(omniglot, "load", lambda: (three, three))
    monkeypatch.setattr(scoring, "REPTILE_STEPS", 2)
    monkeypatch.setattr(variants, "PILOT", 8)
    monkeypatch.setattr(variants, "METHODS", ("maml", "fomaml"))
    monkeypatch.setattr(variants, "OTHER_TIME", ("fomaml",))
    data = run(tmp_path, "omniglot", "--minutes", "0.001")
    assert data["steps"] == 8  # the least that is chosen by time
    assert all(0 <= r["error"] <= 1 for r in data["runs"])
    assert len(data["runs"]) == 2 * 4
