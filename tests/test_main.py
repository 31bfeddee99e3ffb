import json
import os
import re
import shlex
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
from metalab.experiments import first_vs_second_order, scoring
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
    progress, *lines = capsys.readouterr().out.splitlines()
    assert progress.startswith("step 1/3  loss ")
    assert " s left" in progress
    assert lines == [
        f"3 meta-steps in 0 s: {tmp_path / 'sine' / 'checkpoint.safetensors'}",
        f"Plot of the training: {tmp_path / 'sine' / 'curve.png'}",
        f"Test it with: {command.python()} -m metalab evaluate {tmp_path / 'sine'}",
    ]
    assert (tmp_path / "sine" / "curve.png").read_bytes().startswith(b"\x89PNG")

    assert run("evaluate", tmp_path / "sine", "--episodes", 10, "--seed", 7) == 0
    text = capsys.readouterr().out
    assert text.startswith("Trained: tasks sine, algorithm maml, shots 5, queries 5, inner_lr 0.01, ")
    assert max(map(len, text.splitlines())) <= 88

    # The checkpoint itself is as good as its folder.
    checkpoint_file = tmp_path / "sine" / "checkpoint.safetensors"
    assert run("evaluate", checkpoint_file, "--episodes", 10, "--seed", 7) == 0
    assert capsys.readouterr().out == text


def table(text):
    """The lines of a test's table: those of the protocol, and those of the results."""
    protocol, results, covers = text.split("Tested:\n")[1].split("\n\n")
    assert " ".join(covers.split()).startswith(
        "The interval covers the choice of the test tasks, for this one network."
    )
    return protocol.splitlines(), results.splitlines()


def test_a_test_is_a_table_below_its_protocol(tmp_path, capsys):
    assert run("train", "sine", "--steps", 1, "--out", tmp_path) == 0
    capsys.readouterr()
    assert run("evaluate", tmp_path, "--episodes", 10, "--json", tmp_path / "results.json") == 0
    protocol, (columns, *rows) = table(capsys.readouterr().out)
    words = [re.split("  +", line.strip()) for line in protocol]
    assert words == [["shots", "5"], ["query points", "100"], ["test tasks", "10"], ["seed", "1000"]]
    assert columns == "  inner steps  MSE, mean ± 95 % interval"
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert rows == [
        f"  {result['protocol']['inner steps']:<11}  {result['mean']:.2f} ± {result['ci95']:.2f}" for result in results
    ]


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
    protocol, (columns, *lines) = table(capsys.readouterr().out)
    assert [line.split()[0] for line in protocol] == ["split", "shots", "queries", "test", "seed", "rotations", "batch"]
    assert re.split("  +", columns.strip()) == ["ways", "characters of", "accuracy, mean ± 95 % interval"]
    written = json.loads((tmp_path / "new" / "results.json").read_text())
    assert Settings.from_note(written["trained"]) == Settings.of(
        "omniglot", "prototypical", ways=9, steps=2, channels=4
    )
    assert written["trained"]["taken"] == 2
    for line, result, ways in zip(lines, written["results"], (5, 5, 20, 20), strict=True):
        cells = [str(ways), result["protocol"]["characters of"]]
        assert re.split("  +", line.strip()) == [*cells, f"{100 * result['mean']:.1f} ± {100 * result['ci95']:.1f} %"]
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
    assert lines[1:] == [
        f"Plot of the training: {folder / 'curve.png'}",
        f"Continue with: {command.python()} -m metalab train --resume '{folder}'",
    ]
    assert run("train", "--resume", folder) == 0
    assert "\n12 meta-steps in " in capsys.readouterr().out
    assert "has taken its 12 steps: give it more --steps" in fails(capsys, "train", "--resume", folder)
    assert run("train", "--resume", folder, "--steps", 13) == 0


def test_minutes_end_a_run_with_the_command_that_goes_on(tmp_path, capsys):
    assert run("train", "sine", "--minutes", 1e-9, "--out", tmp_path) == 0
    *_, done, _plot, more, test = capsys.readouterr().out.splitlines()
    assert done.startswith("1 meta-step in ")
    assert more == f"Continue with: {command.python()} -m metalab train --resume {tmp_path} --minutes 2e-09"
    assert test == f"Test it with: {command.python()} -m metalab evaluate {tmp_path}"


def test_a_divergence_says_which_knobs_to_turn(tmp_path, capsys):
    assert run("train", "sine", "--steps", 50, "--inner-lr", 1e18, "--out", tmp_path) == 1
    reason, rates, done, _plot, more = capsys.readouterr().err.splitlines()
    assert reason.startswith("the loss is ")
    assert reason.endswith("Try a smaller inner or outer learning rate.")
    assert rates == "The rates are --outer-lr 0.001, --inner-lr 1e+18."
    assert done == f"0 meta-steps in 0 s: {tmp_path / 'checkpoint.safetensors'}"
    resume = f"train --resume {tmp_path} --outer-lr 0.0001 --inner-lr 1e+17"
    assert more == f"Continue with smaller rates: {command.python()} -m metalab {resume}"

    assert run(*resume.split()) == 1  # still too large
    assert run("train", "--resume", tmp_path, "--inner-lr", 0.01) == 0
    capsys.readouterr()
    assert run("evaluate", tmp_path, "--episodes", 2, "--json", tmp_path / "results.json") == 0
    told = "diverged and back at meta-step 0; outer lr 0.001 → 0.0001, inner lr 1e+18 → 1e+17 at meta-step 0; "
    told += "diverged and back at meta-step 0; inner lr 1e+17 → 0.01 at meta-step 0"
    assert f"history {told}" in " ".join(capsys.readouterr().out.split())
    trained = json.loads((tmp_path / "results.json").read_text())["trained"]
    assert (trained["outer_lr"], trained["inner_lr"], trained["taken"]) == (0.0001, 0.01, 50)
    assert len(trained["history"]) == 4


def test_a_folders_name_can_be_pasted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("train", "sine", "--steps", 1, "--out=-odd $name") == 0
    assert capsys.readouterr().out.endswith(" -m metalab evaluate './-odd $name'\n")
    assert run("evaluate", "./-odd $name", "--episodes", 2) == 0


def test_the_python_that_is_named_is_this_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shlex.split(command.python()) == [sys.executable]
    (tmp_path / "python3").touch(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    assert command.python() == "python3"


@pytest.mark.parametrize("more", [["sine"], ["--seed", "1"], ["--out", "x"], ["--steps", "9", "--ways", "5"]])
def test_a_resumed_run_keeps_its_settings(more, tmp_path, capsys):
    err = fails(capsys, "train", "--resume", tmp_path, *more)
    allowed = "only --steps, --minutes, --outer-lr and --inner-lr may be given with it"
    assert f"--resume takes all other settings from the checkpoint: {allowed}" in err


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
    assert "text is no folder" in fails(capsys, "train", "sine", "--out", tmp_path / "text")
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
        ("evaluate RUN --episodes 10 --seed -1", "--seed -1 must be at least 0, and below 2^63"),
        ("evaluate RUN --json RUN", " is a folder"),
        ("evaluate RUN --json RUN/checkpoint.safetensors/x", "File exists"),
        ("evaluate RUN --json PIPE", "pipe is a pipe, a socket or a disk, and no file"),
        ("orders --out PIPE", "pipe is a pipe, a socket or a disk, and no file"),
        ("orders --out /dev/null", "/dev/null is no regular file, which could be read and continued"),
        ("train sine --out PIPE", "pipe is no folder, and a run needs one"),
        ("train omniglot --ways 22", "--ways 22 cannot be tested: there are only 21 test characters"),
        ("orders --out RUN", " is a folder"),
        ("orders --first-seed -1", "--first-seed -1 must be at least 0"),
    ],
)
def test_what_cannot_be_done_is_told_before_it_begins(words, says, tmp_path, capsys, small_omniglot):
    assert run("train", "sine", "--steps", 1, "--out", tmp_path / "run") == 0
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    words = words.replace("RUN", str(tmp_path / "run")).replace("PIPE", str(tmp_path / "pipe")).split()
    out = ["--out", tmp_path / "never"] if words[0] == "train" and "--out" not in words else []
    capsys.readouterr()
    assert run(*words, *out) == 2
    _out, err = capsys.readouterr()
    assert err.startswith("metalab: ")
    assert says in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipe", "run"]


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
    assert r"machine \x1b[2Jgone\x07\r" in " ".join(out.split())
    assert r"\x1b[1mbold ü" in " ".join(out.split())


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


def help_of(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        command.main([*arguments, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


COMMANDS = ["train", "evaluate", "orders", "data"]


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_a_terminal_and_ends_with_examples(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = help_of(capsys, *name.split())
    assert max(map(len, text.splitlines())) <= 80
    assert "%%" not in text
    assert "%(" not in text
    usage, end = text.split("\nexamples:\n")
    assert 2 <= end.count("python -m metalab ") <= 3
    assert all(name in usage for name in ([] if name else COMMANDS)), usage


def test_help_names_the_default_of_every_option(capsys):
    commands = next(action.choices for action in command.parser()._actions if isinstance(action.choices, dict))
    assert list(commands) == COMMANDS
    for parser in commands.values():
        for action in parser._actions:
            if action.option_strings and action.dest != "help":
                assert "(default: " in action.help, action.dest
                if action.type in (int, float):
                    assert "number" in action.help, action.dest


def test_help_names_the_defaults_that_the_papers_have(capsys):
    text = " ".join(help_of(capsys, "train").split())
    assert (
        "--seed N seed of the first parameters and of all that is sampled; a whole number of at least 0 (default: 0)"
        in text
    )
    meta_batch = "sine: maml 25, neural_process 64, alpaca 10, deep_kernel 10, reptile 5; "
    meta_batch += "omniglot: maml 32, reptile 5, prototypical 1; "
    meta_batch += "omniglot with 20 ways or more: maml 16, reptile 5, prototypical 1"
    assert f"tasks per meta-step; a whole number of at least 1 (default: {meta_batch})" in text
    assert "(default: contrastive 2, triplet 0.2)" in text
    assert "(default: 0, koch 1)" in text


def typed():
    """Every command in the help and in README.md, as it is typed."""
    texts = [*command.EXAMPLES.values(), (Path(metalab.__file__).parents[1] / "README.md").read_text()]
    lines = [line for text in texts for line in text.splitlines()]
    starts = r"(METALAB_DATA=\S+ |\.venv/bin/)?python -m metalab |torchrun --nproc-per-node 2 -m metalab (?!train …)"
    return [line.strip() for line in lines if re.match(starts, line.strip())]


def test_each_example_runs_as_it_is_printed(tmp_path, monkeypatch, capsys):
    """On little data, and with one step in each training."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        omniglot, "load", lambda split, side: (noise.noise(70, 20, seed=1), noise.noise(21, 20, seed=2))
    )
    monkeypatch.setattr(omniglot, "load_from", lambda: (noise.small_omniglot(), "a folder"))
    results = scoring.results
    monkeypatch.setattr(scoring, "results", lambda *of, episodes, seed: results(*of, episodes=2, seed=seed))
    monkeypatch.setattr(Run, "train", lambda run: (run.trainer.step(), run.save(), run._unlock()))
    monkeypatch.setattr(
        first_vs_second_order,
        "measure",
        lambda comparison, planned: {**planned, "error": 1.0, "ci95": 0.1, "measure": "MSE", "seconds": 0.0},
    )
    monkeypatch.setattr(first_vs_second_order, "step_times", lambda comparison: {"maml": 1.0, "fomaml": 1.0})
    lines = typed()
    assert len(lines) > 12
    for line in lines:
        words = shlex.split(line, comments=True)
        words = words[words.index("metalab") + 1 :]
        if "--help" in words:
            help_of(capsys, words[0])
        elif words[:2] == ["train", "sine"] and Path(command.RUN).exists():
            assert command.parser().parse_args(words).tasks == "sine"  # which is in two helps
        else:
            assert run(*words) == 0, line


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


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes of this kind")
def test_a_reader_of_the_output_may_leave_early():
    command = f"{sys.executable} -m metalab data | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], timeout=60, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


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


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "metrics.jsonl", "curve.png"])
def test_results_never_replace_a_file_of_the_run(name, tmp_path, capsys):
    assert run("train", "sine", "--steps", 1, "--out", tmp_path) == 0
    before = (tmp_path / name).read_bytes()
    assert "is a file of a run" in fails(capsys, "evaluate", tmp_path, "--json", tmp_path / name)
    assert (tmp_path / name).read_bytes() == before


def test_a_network_that_broke_down_is_told_by_its_name(tmp_path, capsys):
    assert run("train", "sine", "--steps", 1, "--out", tmp_path) == 0
    path = tmp_path / "checkpoint.safetensors"
    tensors, note = checkpoint.load(path)
    checkpoint.save(path, tensors | {"w2": tensors["w2"] * float("nan")}, note)
    err = fails(capsys, "evaluate", tmp_path, "--json", tmp_path / "results.json")
    assert f"{path} cannot be tested: w2 holds numbers that are not finite" in err
    assert not (tmp_path / "results.json").exists()


def test_a_score_that_is_no_number_is_shown_and_not_written_as_json(tmp_path, capsys):
    assert run("train", "sine", "--steps", 1, "--out", tmp_path) == 0
    path = tmp_path / "checkpoint.safetensors"
    tensors, note = checkpoint.load(path)
    checkpoint.save(path, tensors, note | {"inner_lr": 1e18})
    capsys.readouterr()
    assert run("evaluate", tmp_path, "--episodes", 2, "--json", tmp_path / "results.json") == 2
    out, err = capsys.readouterr()
    assert "  0            " in out  # without a step, all is well
    assert "nan ± nan" in out
    assert f"--json {tmp_path / 'results.json'} was not written: a result is no finite number" in err
    assert not (tmp_path / "results.json").exists()


def test_results_can_go_to_standard_output(tmp_path):
    evaluate = f"{sys.executable} -m metalab evaluate {tmp_path} --episodes 2 --json /dev/stdout"
    assert run("train", "sine", "--steps", 1, "--out", tmp_path) == 0
    done = subprocess.run(f"{evaluate} | cat", shell=True, capture_output=True, text=True, timeout=120)
    assert '"measure": "MSE"' in done.stdout
    assert "MSE, mean ± 95 % interval" in done.stdout


def test_without_matplotlib_a_run_says_why_there_is_no_plot(tmp_path, capsys, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert run("train", "sine", "--steps", 1, "--out", tmp_path) == 0
    _progress, _done, plot, _next = capsys.readouterr().out.splitlines()
    assert plot.startswith("No plot was drawn, because matplotlib cannot be imported (")
    assert plot.endswith("): pip install matplotlib")
    assert not (tmp_path / "curve.png").exists()
