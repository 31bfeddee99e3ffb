from functools import partial

import pytest
import torch

import metalab.__main__ as command
from metalab import checkpoint
from metalab.nets import MLP, Conv4
from metalab.tasks import Characters, omniglot, sine


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(classes, drawings, seed):
    ink = (torch.rand(classes, drawings, 28, 28, generator=seeded(seed)) < 0.15).to(torch.uint8) * 255
    return Characters(ink, torch.zeros(classes, dtype=torch.long), ("noise",), "noise")


@pytest.fixture
def small_omniglot(monkeypatch):
    """The commands on little data and small networks."""
    monkeypatch.setattr(omniglot, "load", lambda: (noise(8, 6, 1), noise(21, 7, 2)))
    monkeypatch.setattr(command, "Conv4", partial(Conv4, channels=4))


def fails(capsys, *arguments):
    """The one line of complaint of a command that cannot be done."""
    assert command.main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("metalab: ")
    assert err.count("\n") == 1
    return err


def test_sine_is_trained_saved_and_evaluated(tmp_path, capsys):
    file = tmp_path / "sine.safetensors"
    assert command.main(["train", "sine", "--steps", "3", "--meta-batch", "4", "--out", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.count("  loss ") == 3
    assert out.splitlines()[-1].startswith("3 meta-steps in ")
    assert out.endswith(f" s: {file}\n")
    params, about = checkpoint.load(file)
    assert set(params) == {"w1", "b1", "w2", "b2", "w3", "b3"}
    # What the command line leaves out is as in the paper, 5-shot.
    assert about.pop("seconds") >= 0
    assert about == {
        "tasks": "sine", "algorithm": "maml", "shots": 5, "ways": 5, "queries": 5, "inner_lr": 0.01, "inner_steps": 1,
        "outer_lr": 0.001, "halve_every": None, "meta_batch": 4, "steps": 3, "seed": 0, "pool": "max",
    }  # fmt: skip

    assert command.main(["evaluate", str(file), "--episodes", "10", "--seed", "7"]) == 0
    settings, protocol, *lines = capsys.readouterr().out.splitlines()
    assert "algorithm=maml, shots=5" in settings
    assert protocol == "test tasks: 10, the family's own; seed 7; mean ± 95 % confidence interval"
    episode = sine.sample(10, 5, 100, seeded(7))
    expected = []
    for steps in (0, 1, 5, 10):
        errors = (command.build(about).predict(params, episode, steps=steps) - episode.query_y).square().mean((1, 2))
        interval = 1.96 * errors.std().item() / 10**0.5
        expected.append(f"after {steps} step{'' if steps == 1 else 's'}: MSE {errors.mean():.2f} ± {interval:.2f}")
    assert lines == expected


def trained(tmp_path, *arguments):
    file = tmp_path / "file.safetensors"
    assert command.main(["train", *arguments, "--out", str(file)]) == 0
    return checkpoint.load(file)


def test_the_command_line_decides(tmp_path):
    arguments = "sine --algorithm fomaml --shots 10 --queries 7 --inner-lr 0.02 --inner-steps 2 --outer-lr 0.01"
    _params, about = trained(tmp_path, *arguments.split(), "--meta-batch", "3", "--steps", "2", "--seed", "4")
    chosen = {"algorithm": "fomaml", "shots": 10, "queries": 7, "inner_lr": 0.02, "inner_steps": 2, "outer_lr": 0.01}
    assert about.items() >= {**chosen, "meta_batch": 3, "steps": 2, "seed": 4}.items()
    learner = command.build(about)
    assert (learner.order, learner.inner_lr, learner.inner_steps) == (1, 0.02, 2)


@pytest.mark.parametrize(("algorithm", "order", "inner_steps"), [("maml", 2, 1), ("fomaml", 1, 1), ("joint", 2, 0)])
def test_each_sine_algorithm_is_what_its_name_says(algorithm, order, inner_steps, tmp_path):
    _params, about = trained(tmp_path, "sine", "--algorithm", algorithm, "--steps", "1")
    learner = command.build(about)
    assert (learner.order, learner.inner_steps) == (order, inner_steps)


def test_the_outer_learning_rate_is_halved(tmp_path):
    """Adam's first step is as long as its learning rate."""
    start = MLP().init(seeded())
    moved = {}
    for halving in ([], ["--halve-every", "1"]):
        params, _about = trained(
            tmp_path, "sine", "--algorithm", "joint", "--steps", "1", "--outer-lr", "0.01", *halving
        )
        moved[len(halving)] = (params["w2"] - start["w2"]).abs().max().item()
    assert moved[0] == pytest.approx(0.01, rel=1e-3)
    assert moved[2] == pytest.approx(0.005, rel=1e-3)


def test_protonet_is_trained_saved_with_its_statistics_and_evaluated(tmp_path, capsys, small_omniglot):
    file = tmp_path / "protonet.safetensors"
    train = "train omniglot --algorithm protonet --ways 9 --shots 1 --steps 2 --pool stride --out"
    assert command.main([*train.split(), str(file)]) == 0
    params, about = checkpoint.load(file)
    assert about.items() >= {"ways": 9, "shots": 1, "queries": 5, "pool": "stride", "meta_batch": 1}.items()
    assert {name for name in params if name.startswith("stats.")} == {
        f"stats.{name}{i}" for i in range(1, 5) for name in ("mean", "variance")
    }
    capsys.readouterr()
    assert command.main(["evaluate", str(file), "--episodes", "4"]) == 0
    _settings, protocol, five, twenty = capsys.readouterr().out.splitlines()
    assert "test tasks: 4, the author's evaluation alphabets, upright; seed 1000" in protocol
    assert five.startswith("5-way, inductive: ")
    assert twenty.startswith("20-way, inductive: ")
    assert five.endswith(" %")
    assert " ± " in five


def test_maml_on_omniglot(tmp_path, capsys, small_omniglot):
    file = tmp_path / "maml.safetensors"
    train = "train omniglot --shots 2 --steps 1 --meta-batch 2 --out"
    assert command.main([*train.split(), str(file)]) == 0
    assert checkpoint.load(file)[1].items() >= {"ways": 5, "queries": 2, "inner_lr": 0.4, "inner_steps": 1}.items()
    capsys.readouterr()
    assert command.main(["evaluate", str(file), "--episodes", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[2:]] == [
        "5-way, transductive, after 1 steps",
        "5-way, transductive, after 3 steps",
    ]


def test_an_interrupt_saves_what_was_trained(tmp_path, capsys, monkeypatch):
    calls = []

    def sample(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return sine_sample(*arguments)

    sine_sample = sine.sample
    monkeypatch.setattr(sine, "sample", sample)
    _params, about = trained(tmp_path, "sine", "--steps", "50")
    assert about["steps"] == 2
    assert "Stopped at step 2: interrupted" in capsys.readouterr().err


def test_a_divergence_saves_the_last_good_parameters(tmp_path, capsys):
    params, about = trained(tmp_path, "sine", "--steps", "50", "--inner-lr", "1e30")
    assert about["steps"] < 50
    assert all(torch.isfinite(p).all() for p in params.values())
    err = capsys.readouterr().err
    assert f"Stopped at step {about['steps']}: the loss is " in err
    assert "Try a smaller inner or outer learning rate" in err


def test_data_says_what_there_is_and_where(capsys, monkeypatch, small_omniglot):
    monkeypatch.setattr(omniglot, "where", lambda: "a folder")
    assert command.main(["data"]) == 0
    assert capsys.readouterr().out == "Omniglot: 8 training and 21 test characters, from a folder\n"


def test_missing_data_are_told_in_a_line(capsys, monkeypatch):
    def load():
        raise omniglot.OmniglotNotFound("Omniglot was not found")

    monkeypatch.setattr(omniglot, "load", load)
    assert fails(capsys, "data") == "metalab: Omniglot was not found\n"


def test_unknown_algorithms_are_named_with_the_known(capsys):
    message = "metalab: --algorithm sgd is not known for sine: choose one of maml, fomaml, joint\n"
    assert fails(capsys, "train", "sine", "--algorithm", "sgd") == message
    assert "not known for omniglot" in fails(capsys, "train", "omniglot", "--algorithm", "joint")
    assert "not known for sine" in fails(capsys, "train", "sine", "--algorithm", "protonet")


@pytest.mark.parametrize("option", ["--steps", "--meta-batch", "--queries", "--shots", "--halve-every"])
def test_a_zero_is_refused_and_not_taken_for_nothing_said(option, capsys):
    assert "0 must be at least 1" in fails(capsys, "train", "sine", option, "0")


def test_too_few_episodes_are_named(capsys, tmp_path):
    trained(tmp_path, "sine", "--steps", "1")
    capsys.readouterr()
    assert command.main(["evaluate", str(tmp_path / "file.safetensors"), "--episodes", "0"]) == 2
    err = capsys.readouterr().err
    assert err == "metalab: episodes=0 gives no confidence interval: at least 2 are needed\n"


def test_bad_values_and_files_are_told_in_a_line(capsys, tmp_path, small_omniglot):
    assert "shots=0 must be at least 1" in fails(capsys, "train", "sine", "--shots", "0")
    assert "ways=40 is more than the 32 characters" in fails(capsys, "train", "omniglot", "--ways", "40")
    assert "there are no parameters at" in fails(capsys, "evaluate", str(tmp_path / "nowhere"))
    (tmp_path / "text").write_text("not parameters")
    assert "damaged or not a file of metalab's" in fails(capsys, "evaluate", str(tmp_path / "text"))


@pytest.mark.parametrize("arguments", [[], ["fly"], ["train"], ["train", "mnist"], ["train", "sine", "--steps", "x"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code == 2
    assert "usage: python -m metalab" in capsys.readouterr().err


def test_help_gives_the_commands(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("train", "evaluate", "data"))
    with pytest.raises(SystemExit):
        command.main(["evaluate", "--help"])  # argparse formats help by %, and the interval is one of 95 %
