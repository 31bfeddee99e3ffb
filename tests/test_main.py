import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import noise
import pytest
import torch

import metalab
import metalab.__main__ as command
from metalab import checkpoint
from metalab.experiments.runs import Run
from metalab.experiments.settings import BadSetting, Settings
from metalab.tasks import omniglot, sine


@pytest.fixture
def small_omniglot(monkeypatch):
    monkeypatch.setattr(omniglot, "load", noise.small_omniglot)


def run(*arguments):
    return command.main([str(argument) for argument in arguments])


def fails(capsys, *arguments):
    """The one line of complaint of a command that cannot be done."""
    capsys.readouterr()
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("metalab: ")
    assert err.count("\n") == 1
    return err


def test_sine_is_trained_and_evaluated(tmp_path, capsys):
    assert run("train", "sine", "--steps", 3, "--meta-batch", 4, "--out", tmp_path / "sine") == 0
    progress, last = capsys.readouterr().out.splitlines()
    assert progress.startswith("step 1/3  loss ")
    assert last == f"3 meta-steps in 0 s: {tmp_path / 'sine' / 'checkpoint.safetensors'}"

    assert run("evaluate", tmp_path / "sine", "--episodes", 10, "--seed", 7) == 0
    trained, *lines = capsys.readouterr().out.splitlines()
    assert trained.startswith("trained: tasks sine, algorithm maml, shots 5, queries 5, inner_lr 0.01, ")
    assert len(lines) == 4
    assert all(line.startswith("MSE ") for line in lines)

    # The checkpoint itself is as good as its folder.
    checkpoint_file = tmp_path / "sine" / "checkpoint.safetensors"
    assert run("evaluate", checkpoint_file, "--episodes", 10, "--seed", 7) == 0
    assert capsys.readouterr().out.splitlines()[1:] == lines


def test_the_command_line_decides(tmp_path):
    arguments = "--algorithm fomaml --shots 10 --queries 7 --inner-lr 0.02 --inner-steps 2 --outer-lr 0.01 --seed 4"
    arguments += " --meta-batch 3 --steps 2 --minutes 5 --halve-every 6 --save-every 9"
    assert run("train", "sine", *arguments.split(), "--out", tmp_path) == 0
    given = {"shots": 10, "queries": 7, "inner_lr": 0.02, "inner_steps": 2, "outer_lr": 0.01, "seed": 4}
    given |= {"meta_batch": 3, "steps": 2, "minutes": 5.0, "halve_every": 6, "save_every": 9.0}
    note = checkpoint.load(tmp_path / "checkpoint.safetensors")[1]
    assert Settings.from_note(note) == Settings.of("sine", "fomaml", **given)


def test_the_folder_is_named_by_what_is_trained(tmp_path, monkeypatch, capsys, small_omniglot):
    monkeypatch.chdir(tmp_path)
    assert run("train", "sine", "--steps", 1) == 0
    assert run("train", "sine", "--steps", 1, "--seed", 1) == 0
    assert run("train", "omniglot", "--steps", 1, "--channels", 2, "--meta-batch", 1, "--shots", 2) == 0
    assert {path.name for path in (tmp_path / "build").iterdir()} == {
        "sine_maml_5shot_seed0",
        "omniglot_maml_5way_2shot_seed0",
        "sine_maml_5shot_seed1",
    }
    assert "build/sine_maml_5shot_seed0 holds a run already" in fails(capsys, "train", "sine", "--steps", 2)


def test_results_are_written_as_json(tmp_path, capsys, small_omniglot):
    train = "train omniglot --algorithm prototypical --ways 9 --steps 2 --channels 4 --out"
    assert run(*train.split(), tmp_path / "run") == 0
    capsys.readouterr()
    assert run("evaluate", tmp_path / "run", "--episodes", 4, "--json", tmp_path / "new" / "results.json") == 0
    _trained, *lines = capsys.readouterr().out.splitlines()
    written = json.loads((tmp_path / "new" / "results.json").read_text())
    assert Settings.from_note(written["trained"]) == Settings.of(
        "omniglot", "prototypical", ways=9, steps=2, channels=4
    )
    assert written["trained"]["taken"] == 2
    for line, result, ways in zip(lines, written["results"], (5, 5, 20, 20), strict=True):
        assert line.startswith(f"accuracy {100 * result['mean']:.1f} ± {100 * result['ci95']:.1f} %: ways {ways}, ")
        assert result["protocol"]["ways"] == ways
        assert result["episodes"] == 4


def test_ctrl_c_saves_and_prints_the_command_that_goes_on(tmp_path, capsys, monkeypatch):
    calls = []
    sine_sample = sine.sample

    def sample(*arguments):
        calls.append(arguments)
        if len(calls) == 4:  # the first is a trial
            signal.raise_signal(signal.SIGINT)
        return sine_sample(*arguments)

    monkeypatch.setattr(sine, "sample", sample)
    folder = tmp_path / "a run"
    assert run("train", "sine", "--steps", 12, "--out", folder) == 130
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Interrupted. 3 meta-steps in ")
    assert lines[1] == f"Continue with: python -m metalab train --resume '{folder}'"
    assert run("train", "--resume", folder) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("12 meta-steps in ")
    assert "has taken its 12 steps: give it more --steps" in fails(capsys, "train", "--resume", folder)
    assert run("train", "--resume", folder, "--steps", 13) == 0


def test_minutes_end_a_run_with_the_command_that_goes_on(tmp_path, capsys):
    assert run("train", "sine", "--minutes", 1e-9, "--out", tmp_path) == 0
    *_, done, more = capsys.readouterr().out.splitlines()
    assert done.startswith("1 meta-steps in ")
    assert more == f"Continue with: python -m metalab train --resume {tmp_path} --minutes 2e-09"


def test_a_divergence_says_which_knobs_to_turn(tmp_path, capsys):
    assert run("train", "sine", "--steps", 50, "--inner-lr", 1e18, "--out", tmp_path) == 1
    [err] = capsys.readouterr().err.splitlines()
    assert "the loss is " in err
    assert "Try a smaller inner or outer learning rate. The rates are --outer-lr 0.001, --inner-lr 1e+18." in err
    assert f"meta-steps in 0 s: {tmp_path / 'checkpoint.safetensors'}" in err


@pytest.mark.parametrize("more", [["sine"], ["--seed", "1"], ["--out", "x"], ["--steps", "9", "--ways", "5"]])
def test_a_resumed_run_keeps_its_settings(more, tmp_path, capsys):
    err = fails(capsys, "train", "--resume", tmp_path, *more)
    assert "--resume takes all settings from the checkpoint: only --steps and --minutes may be given with it" in err


def test_data_says_what_there_is_and_where(capsys, monkeypatch):
    monkeypatch.setattr(omniglot, "load_from", lambda: (noise.small_omniglot(), "a folder"))
    assert run("data") == 0
    assert capsys.readouterr().out == "Omniglot: 8 training and 21 test characters, from a folder\n"


def test_missing_data_are_told_in_a_line(capsys, monkeypatch):
    def load():
        raise omniglot.OmniglotNotFound("Omniglot was not found")

    monkeypatch.setattr(omniglot, "load_from", load)
    assert fails(capsys, "data") == "metalab: Omniglot was not found\n"


def test_bad_values_and_files_are_told_in_a_line(capsys, tmp_path, small_omniglot):
    out = ["--out", tmp_path / "never"]
    assert "name what to train on, sine or omniglot" in fails(capsys, "train")
    assert "mnist is not known: choose one of sine, omniglot" in fails(capsys, "train", "mnist")
    assert "--algorithm sgd is not known for sine" in fails(capsys, "train", "sine", "--algorithm", "sgd")
    assert "--shots 0 must be above 0" in fails(capsys, "train", "sine", "--shots", 0, *out)
    assert "--ways 40 is more than the 32 characters" in fails(capsys, "train", "omniglot", "--ways", 40, *out)
    assert "--device gpu must be cpu or cuda" in fails(capsys, "train", "sine", "--device", "gpu", *out)
    assert "there are no parameters at" in fails(capsys, "evaluate", tmp_path / "nowhere")
    assert "there are no parameters at" in fails(capsys, "train", "--resume", tmp_path)
    (tmp_path / "text").write_text("not parameters")
    assert "damaged or not a file of metalab's" in fails(capsys, "evaluate", tmp_path / "text")
    assert "Not a directory" in fails(capsys, "train", "sine", "--out", tmp_path / "text" / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text"]


@pytest.mark.parametrize(
    ("words", "tasks", "arguments", "flags", "names"),
    [
        ("sine --inner-lr -1", "sine", {"inner_lr": -1.0}, "--inner-lr -1.0 must be", "inner_lr=-1.0 must be"),
        ("sine --ways 5", "sine", {"ways": 5}, "--ways does not apply", "ways does not apply"),
        ("sine --algorithm sgd", "sine", {"algorithm": "sgd"}, "--algorithm sgd is not", "algorithm=sgd is not"),
        ("mnist", "mnist", {}, "mnist is not known", "tasks=mnist is not known"),
        (
            "omniglot --within 40",
            "omniglot",
            {"within": 40},
            "--within 40 is more than the 32 tasks of --meta-batch",
            "within=40 is more than the 32 tasks of meta_batch",
        ),
        (
            "omniglot --shots 8 --queries 5",
            "omniglot",
            {"shots": 8, "queries": 5},
            "--shots 8 and --queries 5: a character has only",
            "shots=8 and queries=5: a character has only",
        ),
        ("sine --device gpu", "sine", {"device": "gpu"}, "--device gpu must be", "device=gpu must be"),
    ],
)
def test_one_complaint_names_flags_here_and_arguments_in_the_library(
    words, tasks, arguments, flags, names, tmp_path, capsys, small_omniglot
):
    assert fails(capsys, "train", *words.split(), "--out", tmp_path / "never").startswith(f"metalab: {flags}")
    with pytest.raises(BadSetting) as caught:
        Run.start(Settings.of(tasks, **arguments), tmp_path / "never")
    assert str(caught.value).startswith(names)
    assert caught.value.for_the_command_line().startswith(flags)


def test_bad_evaluations_are_told_in_a_line(capsys, tmp_path):
    assert run("train", "sine", "--steps", 1, "--out", tmp_path) == 0
    capsys.readouterr()
    assert run("evaluate", tmp_path, "--episodes", 0) == 2
    err = capsys.readouterr().err
    assert err == "metalab: --episodes 0 gives no confidence interval: at least 2 are needed\n"
    assert "--device gpu must be cpu or cuda" in fails(capsys, "evaluate", tmp_path, "--device", "gpu")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("train sine --meta-batch 1000000000000", "--meta-batch 1000000000000 is too large: it needs "),
        ("train sine --inner-steps 1000000000000", "--inner-steps 1000000000000 is too large: it needs "),
        ("train omniglot --channels 100000", "--channels 100000 is too large: it needs "),
        ("evaluate RUN --episodes 1000000000000", "--episodes 1000000000000 is too large: their scores alone need "),
        ("evaluate RUN --episodes 10 --seed -1", "seed=-1 must be a whole number of at least 0"),
        ("evaluate RUN --json RUN", " is a folder"),
        ("evaluate RUN --json RUN/checkpoint.safetensors/x", "File exists"),
        ("orders --out RUN", " is a folder"),
        ("orders --first-seed -1", "--first-seed -1 must be at least 0"),
    ],
)
def test_what_cannot_be_done_is_told_before_it_begins(words, says, tmp_path, capsys, small_omniglot):
    assert run("train", "sine", "--steps", 1, "--out", tmp_path / "run") == 0
    words = words.replace("RUN", str(tmp_path / "run")).split()
    out = ["--out", tmp_path / "never"] if words[0] == "train" else []
    capsys.readouterr()
    assert run(*words, *out) == 2
    _out, err = capsys.readouterr()
    assert err.startswith("metalab: ")
    assert says in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_memory_that_gives_out_is_told_in_a_line(error, monkeypatch, capsys, tmp_path):
    def no_room(*_):
        raise error

    monkeypatch.setattr(sine, "sample", no_room)
    assert fails(capsys, "train", "sine", "--out", tmp_path) == f"metalab: {command.TOO_LARGE}\n"


def test_a_note_cannot_control_the_terminal(tmp_path, capsys):
    assert run("train", "sine", "--steps", 1, "--out", tmp_path) == 0
    path = tmp_path / "checkpoint.safetensors"
    tensors, note = checkpoint.load(path)
    checkpoint.save(path, tensors, note | {"machine": "\033[2Jgone\a\r", "\033[1mbold": "ü"})
    capsys.readouterr()
    assert run("evaluate", tmp_path, "--episodes", 2) == 0
    out = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in out)
    assert r"machine \x1b[2Jgone\x07\r" in out
    assert r"\x1b[1mbold ü" in out


@pytest.mark.parametrize("odd", ["\033[31mred", "two\nlines", "\a" * 20])
def test_a_complaint_about_a_note_cannot_control_the_terminal_either(odd, tmp_path, capsys):
    assert run("train", "sine", "--steps", 1, "--out", tmp_path) == 0
    path = tmp_path / "checkpoint.safetensors"
    tensors, note = checkpoint.load(path)
    for edited in (note | {"minutes": odd}, note | {"sums": {"steps": 1, odd: 1.0}}, note | {"algorithm": odd}):
        checkpoint.save(path, tensors, edited)
        assert fails(capsys, "train", "--resume", tmp_path, "--steps", 2)[:-1].isprintable()


def test_parameters_of_another_network_are_told(tmp_path, capsys):
    assert run("train", "sine", "--steps", 1, "--out", tmp_path) == 0
    path = tmp_path / "checkpoint.safetensors"
    tensors, note = checkpoint.load(path)
    for altered, says in (
        ({name: tensor for name, tensor in tensors.items() if name != "w1"}, "checkpoint has no w1"),
        (tensors | {"w1": torch.ones(2, 40)}, "w1 of checkpoint has the shape [2, 40]; it must be [1, 40]"),
        (tensors | {"w1": tensors["w1"].double()}, "w1 of checkpoint has the dtype torch.float64"),
        (tensors | {"w9": torch.ones(2)}, "checkpoint has 'w9'"),
    ):
        checkpoint.save(path, altered, note)
        capsys.readouterr()
        assert run("evaluate", tmp_path, "--episodes", 2) == 2
        assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["train", "sine", "--steps", "x"], ["train", "sine", "--wyas", "5"]]
)
def test_wrong_usage_is_told_in_a_line(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("metalab: ")
    assert err.count("\n") == 1
    assert "--help" in err


def test_help_gives_the_commands(capsys):
    for arguments, named in (
        (["--help"], ("train", "evaluate", "data")),
        (["train", "--help"], ("--inner-lr", "--resume", "--minutes", "meta_sgd")),
        (["evaluate", "--help"], ("--json", "95 %")),
    ):
        with pytest.raises(SystemExit) as stop:
            command.main(arguments)
        assert stop.value.code == 0
        out = capsys.readouterr().out
        assert all(name in out for name in named)


def test_the_module_is_a_command():
    done = subprocess.run([sys.executable, "-m", "metalab", "train", "mnist"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "metalab: mnist is not known: choose one of sine, omniglot\n"


def test_a_terminal_may_lack_the_letters_of_a_path(tmp_path):
    arguments = [sys.executable, "-m", "metalab", "train", "sine", "--steps", "1", "--out", tmp_path / "字"]
    done = subprocess.run(arguments, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert rb"\u5b57" in done.stdout
    assert (tmp_path / "字" / "checkpoint.safetensors").exists()


def test_ctrl_c_while_it_starts_is_no_traceback(tmp_path):
    slow = tmp_path / "torch.py"  # stands for PyTorch, whose import takes seconds
    slow.write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    path = os.pathsep.join([str(tmp_path), str(Path(metalab.__file__).parents[1])])
    process = subprocess.Popen(
        [sys.executable, "-m", "metalab", "data"],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=30)
    assert err == ""
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_a_training_goes_on_when_nobody_reads_its_progress(reader, tmp_path):
    command = f"{sys.executable} -m metalab train sine --steps 30000 --minutes 0.25 --out {tmp_path / 'run'} | {reader}"
    subprocess.run(["bash", "-c", command], timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")[1]["taken"] > 1000


def test_a_training_needs_no_standard_output(tmp_path):
    command = f"{sys.executable} -m metalab train sine --steps 20 --out {tmp_path / 'run'} >&-"
    assert subprocess.run(["bash", "-c", command], timeout=120, stderr=subprocess.PIPE, text=True).returncode == 0
    assert checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")[1]["taken"] == 20


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "metrics.jsonl"])
def test_results_never_replace_a_file_of_the_run(name, tmp_path, capsys):
    assert run("train", "sine", "--steps", 1, "--out", tmp_path) == 0
    before = (tmp_path / name).read_bytes()
    assert "is a file of the run" in fails(capsys, "evaluate", tmp_path, "--json", tmp_path / name)
    assert (tmp_path / name).read_bytes() == before
