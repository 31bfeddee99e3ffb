import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields
from types import SimpleNamespace

import noise
import pytest
import torch

from metalab import checkpoint
from metalab.experiments import runs
from metalab.experiments.runs import Interrupted, Run
from metalab.experiments.settings import BadSetting, Settings
from metalab.tasks import omniglot
from metalab.train import Diverged


@pytest.fixture
def small_omniglot(monkeypatch):
    monkeypatch.setattr(omniglot, "load", noise.small_omniglot)


def sines(**given):
    return Settings.of("sine", **{"meta_batch": 3, "steps": 25} | given)


def saved(folder):
    """Every tensor of a run's checkpoint, and its lines of metrics without what a clock says."""
    tensors, _note = checkpoint.load(folder / "checkpoint.safetensors")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return tensors, [{k: v for k, v in line.items() if k not in ("rate", "seconds")} for line in lines]


def assert_same(folder, other):
    (tensors, lines), (others, other_lines) = saved(folder), saved(other)
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[name], others[name]) for name in tensors)
    assert lines == other_lines


def stop_after(run, steps, number=signal.SIGINT):
    """Let `run` take so many steps, and send it a signal, Ctrl-C's by default, during the last."""
    draw = run.trainer.sample

    def sample(generator):
        if run.trainer.steps == steps - 1:
            signal.raise_signal(number)
        return draw(generator)

    run.trainer.sample = sample
    with pytest.raises(Interrupted):
        run.train()


def test_a_killed_run_goes_on_to_the_same_parameters(tmp_path):
    """The kill comes while the run saves after every step, so it can hit a step, a line, or a save."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "metalab", "train", "sine", "--meta-batch", "3", "--save-every", "0"]
    process = subprocess.Popen([*command, "--steps", "1000000", "--out", killed], stdout=subprocess.DEVNULL)
    try:
        metrics = killed / "metrics.jsonl"
        while not metrics.exists() or metrics.read_text().count("\n") < 3:
            assert process.poll() is None
            time.sleep(0.001)
    finally:
        process.kill()
        process.wait()
    assert checkpoint.load(killed / "checkpoint.safetensors")[1]["taken"] >= 29

    steps = checkpoint.load(killed / "checkpoint.safetensors")[1]["taken"] + 25
    Run.resume(killed, steps=steps).train()
    Run.start(sines(steps=steps), whole).train()
    assert_same(killed, whole)


@pytest.mark.parametrize(
    "settings",
    [
        {"tasks": "sine", "algorithm": "meta_sgd", "meta_batch": 3, "halve_every": 5},
        {"tasks": "omniglot", "algorithm": "anil", "meta_batch": 2, "channels": 4},
        {"tasks": "omniglot", "algorithm": "prototypical", "ways": 6, "channels": 4},
    ],
    ids=lambda settings: settings["algorithm"],
)
def test_an_interrupted_run_goes_on_to_the_same_parameters(settings, tmp_path, small_omniglot):
    settings = Settings.of(**settings, steps=23)
    Run.start(settings, tmp_path / "whole").train()
    run = Run.start(settings, tmp_path / "cut")
    stop_after(run, 4)  # between two lines of metrics
    stop_after(Run.resume(tmp_path / "cut"), 20)  # and on one
    assert checkpoint.load(tmp_path / "cut" / "checkpoint.safetensors")[1]["taken"] == 20
    Run.resume(tmp_path / "cut").train()
    assert_same(tmp_path / "cut", tmp_path / "whole")


def test_more_steps_make_the_run_that_had_them_from_the_start(tmp_path):
    Run.start(sines(steps=13), tmp_path / "longer").train()
    Run.resume(tmp_path / "longer", steps=25).train()
    Run.start(sines(steps=25), tmp_path / "whole").train()
    assert_same(tmp_path / "longer", tmp_path / "whole")


def test_a_line_of_metrics_is_the_mean_of_ten_steps(tmp_path):
    Run.start(sines(), tmp_path / "run").train()
    trainer = Run.start(sines(), tmp_path / "twin").trainer
    losses = [step.metrics["loss"] for step in trainer.run(25)]
    _tensors, lines = saved(tmp_path / "run")
    assert lines == [
        {"step": 10, "loss": pytest.approx(sum(losses[:10]) / 10, rel=1e-12)},
        {"step": 20, "loss": pytest.approx(sum(losses[10:20]) / 10, rel=1e-12)},
    ]
    *_, last = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(last)["seconds"] >= 0
    assert json.loads(last)["rate"] > 0


def test_lines_after_the_checkpoint_are_dropped_and_so_is_half_a_line(tmp_path):
    """A killed run has lines of steps that its checkpoint does not know."""
    run = Run.start(sines(steps=50), tmp_path / "run")
    stop_after(run, 15)
    path = tmp_path / "run" / "metrics.jsonl"
    first = path.read_text()
    path.write_text(first + first.replace('"step": 10', '"step": 20') + first[:12])
    Run.resume(tmp_path / "run")
    assert path.read_text() == first
    path.unlink()
    Run.resume(tmp_path / "run")
    assert path.read_text() == ""


def test_lines_that_cannot_be_read_stay_and_so_do_all_others(tmp_path, capsys):
    run = Run.start(sines(steps=50), tmp_path)
    stop_after(run, 25)
    path = tmp_path / "metrics.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    later = second.replace(b'"step": 20', b'"step": 30')
    odd = b'\0\0\xff\n{"step": "x"}\n' + b"[" * 100_000 + b"\n"
    path.write_bytes(first + odd + second + later[:-1])  # the last line lacks its end, and nothing else
    assert [content and content["step"] for _line, content in runs.lines_of(path)] == [10, None, None, None, 20, 30]
    Run.resume(tmp_path)._unlock()
    assert path.read_bytes() == first + odd + second
    assert f"{path} has lines that cannot be read, and they were left as they are: 2, 3, 4" in capsys.readouterr().err
    Run.resume(tmp_path).train()
    assert path.read_bytes().startswith(first + odd + second)
    assert [content["step"] for _line, content in runs.lines_of(path) if content] == [10, 20, 30, 40, 50]


def test_metrics_that_are_a_pipe_are_refused(tmp_path):
    Run.start(sines(), tmp_path)._unlock()
    (tmp_path / "metrics.jsonl").unlink()
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(OSError, match=r"metrics\.jsonl is a pipe"):
        Run.resume(tmp_path)


def test_a_second_ctrl_c_stops_at_once_and_the_handlers_are_put_back(tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run = Run.start(sines(), tmp_path)

    def sample(generator):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)

    run.trainer.sample = sample
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert checkpoint.load(tmp_path / "checkpoint.safetensors")[1]["taken"] == 0


def test_a_divergence_saves_the_last_good_parameters(tmp_path):
    run = Run.start(sines(inner_lr=1e18), tmp_path)
    with pytest.raises(Diverged, match="the loss is"):
        run.train()
    tensors, note = checkpoint.load(tmp_path / "checkpoint.safetensors")
    assert note["taken"] == run.trainer.steps < 25
    assert all(torch.isfinite(p).all() for p in tensors.values())
    assert Run.resume(tmp_path).trainer.steps == run.trainer.steps


def test_a_run_goes_on_with_another_rate_and_its_note_says_so(tmp_path):
    run = Run.start(sines(), tmp_path / "run")
    stop_after(run, 10)
    Run.resume(tmp_path / "run", outer_lr=0.01, inner_lr=0.01).train()  # the inner rate is the old one
    _tensors, note = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")
    assert note["history"] == [{"step": 10, "outer_lr": [0.001, 0.01]}]
    assert (note["outer_lr"], note["inner_lr"]) == (0.01, 0.01)
    assert Run.resume(tmp_path / "run", steps=26).history == note["history"]

    trainer = Run.start(sines(), tmp_path / "twin").trainer
    trainer.step(10)
    trainer.outer_lr = 0.01
    trainer.step(15)
    tensors, _note = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")
    assert all(torch.equal(tensors[name], p) for name, p in trainer.params.items())


def test_a_divergence_is_in_the_note_and_a_smaller_rate_goes_on_from_there(tmp_path):
    run = Run.start(sines(inner_lr=1e18), tmp_path)
    with pytest.raises(Diverged):
        run.train()
    assert run.rates == {"outer_lr": 0.001, "inner_lr": 1e18}
    run = Run.resume(tmp_path, inner_lr=0.01)
    assert run.history == [{"step": 0, "diverged": True}, {"step": 0, "inner_lr": [1e18, 0.01]}]
    run.train()
    assert checkpoint.load(tmp_path / "checkpoint.safetensors")[1]["taken"] == 25
    assert [runs.in_words(event) for event in run.history] == [
        "diverged and back at meta-step 0",
        "inner lr 1e+18 → 0.01 at meta-step 0",
    ]


def test_a_run_on_which_nothing_happened_has_no_history(tmp_path):
    Run.start(sines(steps=2), tmp_path).train()
    assert "history" not in checkpoint.load(tmp_path / "checkpoint.safetensors")[1]


def test_what_cannot_be_changed_is_told(tmp_path):
    Run.start(sines(algorithm="meta_sgd"), tmp_path / "learned")._unlock()
    with pytest.raises(BadSetting, match=r"inner_lr=0\.5 is only where the rates of algorithm=meta_sgd started"):
        Run.resume(tmp_path / "learned", inner_lr=0.5)
    assert Run.resume(tmp_path / "learned", outer_lr=0.5).rates == {"outer_lr": 0.5}
    with pytest.raises(BadSetting, match="shots cannot be changed when a run continues"):
        Run.resume(tmp_path / "learned", shots=3)


@pytest.mark.parametrize(
    "history", [[{}], [1], 3, [{"step": -1}], [{"step": 1, "outer_lr": [1]}], [{"step": 1, "inner_lr": ["a", "b"]}]]
)
def test_a_damaged_history_is_told(history, tmp_path):
    with pytest.raises(ValueError, match="the note of the run is damaged: history, "):
        runs.history({"history": history})


def test_a_fresh_run_leaves_a_run_that_is_there_alone(tmp_path):
    Run.start(sines(), tmp_path).train()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    message = f"{tmp_path} holds a run already: resume it (--resume {tmp_path}), or name another folder (--out)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Run.start(sines(seed=1), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_cannot_be_resumed_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"there are no parameters at {tmp_path}"):
        Run.resume(tmp_path)
    Run.start(sines(), tmp_path).train()
    with pytest.raises(BadSetting, match=r"has taken its 25 steps: give it more steps$") as caught:
        Run.resume(tmp_path)
    assert caught.value.for_the_command_line().endswith("has taken its 25 steps: give it more --steps")
    with pytest.raises(ValueError, match="has taken its 25 steps"):
        Run.resume(tmp_path, steps=25)
    with pytest.raises(ValueError, match=r"^steps=0 must be above 0, and below 2"):
        Run.resume(tmp_path, steps=0)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"{path} is damaged"):
        Run.resume(tmp_path)


ANOTHER = """
import sys, time
from pathlib import Path
from metalab.experiments.runs import Run
from metalab.experiments.settings import Settings
run = Run.start(Settings.of("sine", meta_batch=3, steps=25), Path(sys.argv[1]))
print("started", flush=True)
time.sleep(60)
"""


def test_only_one_process_trains_in_a_folder_and_a_killed_one_gives_it_back(tmp_path):
    folder = tmp_path / "run"
    other = subprocess.Popen([sys.executable, "-c", ANOTHER, folder], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "started\n"
        with pytest.raises(ValueError, match=r"another process is training in .*run: wait for it"):
            Run.resume(folder)
    finally:
        other.kill()
        other.communicate()
    Run.resume(folder).train()
    Run.start(sines(), tmp_path / "whole").train()
    assert_same(folder, tmp_path / "whole")


def test_of_two_that_start_in_one_folder_at_the_same_time_one_trains(tmp_path):
    """The lock is taken after the first look at the folder; so both have found it free."""
    command = [sys.executable, "-m", "metalab", "train", "sine", "--meta-batch", "3", "--steps", "400"]
    both = [
        subprocess.Popen([*command, "--out", tmp_path / "run", "--seed", seed], stderr=subprocess.PIPE, text=True)
        for seed in "12"
    ]
    told = [process.communicate(timeout=120)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2]
    [loser] = [said for process, said in zip(both, told, strict=True) if process.returncode == 2]
    assert "holds a run already" in loser or "another process is training in" in loser
    _tensors, note = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")
    assert str(note["seed"]) == "12"[[process.returncode for process in both].index(0)]
    assert [line["step"] for line in saved(tmp_path / "run")[1]] == list(range(10, 401, 10))


def test_a_folder_is_free_again_after_the_training_and_after_a_refusal(tmp_path):
    Run.start(sines(steps=3), tmp_path).train()
    with pytest.raises(BadSetting, match="has taken its 3 steps"):
        Run.resume(tmp_path)
    Run.resume(tmp_path, steps=5).train()


@pytest.mark.parametrize("name", ["metrics.jsonl", "curve.png"])
def test_files_that_no_run_wrote_are_not_replaced(name, tmp_path):
    (tmp_path / name).write_text("precious")
    with pytest.raises(ValueError, match=f"holds a {re.escape(name)} without a run, which would be lost"):
        Run.start(sines(), tmp_path)
    assert (tmp_path / name).read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_the_first_meta_gradient_refuses_is_refused_before_anything_is_written(tmp_path, small_omniglot):
    settings = Settings.of("omniglot", "contrastive", ways=4, channels=4, hardest=999)
    with pytest.raises(ValueError, match="hardest=999 must be"):
        Run.start(settings, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_another_number_of_threads_is_told(tmp_path, capsys, small_omniglot):
    settings = Settings.of("omniglot", "prototypical", ways=4, channels=4, steps=1)
    Run.start(settings, tmp_path).train()
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        Run.resume(tmp_path, steps=2).train()
    finally:
        torch.set_num_threads(threads)
    assert f"This run had {threads} threads before and has {threads + 1} now" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there are no terminals that hang up here")
def test_the_end_of_the_terminal_saves(tmp_path):
    run = Run.start(sines(), tmp_path)
    stop_after(run, 4, signal.SIGHUP)
    assert checkpoint.load(tmp_path / "checkpoint.safetensors")[1]["taken"] == 4


ODD = [None, -1, 0, 1.5, float("nan"), float("inf"), True, "2", [], [1], {}, {"a": 1}, 10**30, [[[[]]]]]


@pytest.mark.parametrize(
    "of", [*(f.name for f in fields(Settings)), "taken", "seconds", "sums", "machine", "threads", "history"]
)
def test_an_edited_note_goes_on_or_is_told_to_be_damaged(of, tmp_path):
    """With a checksum of its own, so that only its content can be told from that of a run."""
    Run.start(sines(steps=2), tmp_path).train()
    path = tmp_path / "checkpoint.safetensors"
    tensors, note = checkpoint.load(path)
    told = []
    for value in [*ODD, "left out"]:
        edited = {key: part for key, part in note.items() if key != of} if value == "left out" else note | {of: value}
        checkpoint.save(path, tensors, edited)
        try:
            Run.resume(tmp_path, steps=3)._unlock()
        except ValueError as fault:
            told.append(str(fault))
    assert all(len(says) < 400 and "\n" not in says for says in told)


def test_a_folder_may_have_any_name(tmp_path):
    folder = tmp_path / "{steps} of {a run}"
    Run.start(sines(), folder).train()
    with pytest.raises(BadSetting) as caught:
        Run.resume(folder)
    for said in (str(caught.value), caught.value.for_the_command_line()):
        assert said.startswith(f"the run in {folder} has taken its 25 steps")


def test_shipped_parameters_are_not_a_run(tmp_path):
    params, note = checkpoint.shipped("sine_maml_5shot")
    checkpoint.save(tmp_path / "checkpoint.safetensors", params, note)
    with pytest.raises(ValueError, match=r"state has no trainer\.mean"):
        Run.resume(tmp_path, steps=80_000)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"device": "gpu"}, "device=gpu must be cpu or cuda"),
        ({"device": "cuda:99"}, "device=cuda:99 must be a GPU that PyTorch finds here, or cpu"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(given, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Run.start(sines(**given), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_episodes_that_cannot_be_drawn_are_refused_before_anything_is_written(tmp_path, small_omniglot):
    with pytest.raises(ValueError, match="ways=40 is more than the 32 characters"):
        Run.start(Settings.of("omniglot", ways=40), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("algorithm", "given", "message"),
    [
        ("maml", {"ways": 22}, "ways=22 cannot be tested: there are only 21 test characters"),
        ("reptile", {"ways": 22}, "ways=22 cannot be tested"),
        ("maml", {"shots": 7, "queries": 1}, "shots=7 cannot be tested: a character's 7 drawings would leave no query"),
        ("prototypical", {"ways": 6, "shots": 7}, "shots=7 cannot be tested"),
    ],
)
def test_what_could_be_trained_but_not_tested_is_refused(algorithm, given, message, tmp_path, monkeypatch):
    monkeypatch.setattr(omniglot, "load", lambda split, side: (noise.noise(8, 12, seed=1), noise.noise(21, 7, seed=2)))
    with pytest.raises(BadSetting, match=message):
        Run.start(Settings.of("omniglot", algorithm, channels=2, **given), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by a second whenever the run looks at it: once a step, and once a save."""
    now = iter(range(10_000))
    monkeypatch.setattr(runs, "time", SimpleNamespace(monotonic=lambda: float(next(now))))


def test_minutes_end_a_run_and_more_of_them_go_on(tmp_path, clock):
    run = Run.start(sines(minutes=0.1), tmp_path)
    run.train()
    assert (run.trainer.steps, run.seconds) == (6, 6.0)
    with pytest.raises(BadSetting, match=r"has had its 0\.1 minutes: give it more minutes$") as caught:
        Run.resume(tmp_path, steps=100)
    assert caught.value.for_the_command_line().endswith("has had its 0.1 minutes: give it more --minutes")
    run = Run.resume(tmp_path, minutes=0.2)
    run.train()
    assert (run.trainer.steps, run.seconds) == (12, 12.0)
    Run.resume(tmp_path, minutes=10.0).train()
    assert checkpoint.load(tmp_path / "checkpoint.safetensors")[1]["taken"] == 25


def test_it_is_saved_at_the_start_and_as_often_as_asked_and_at_the_end(tmp_path, clock, monkeypatch):
    taken = []
    monkeypatch.setattr(checkpoint, "save", lambda path, params, about: taken.append(about["taken"]))
    Run.start(sines(save_every=10.0, steps=24), tmp_path).train()
    assert taken == [0, 10, 20, 24]


def test_the_note_says_how_the_run_came_about(tmp_path):
    settings = sines()
    Run.start(settings, tmp_path).train()
    _tensors, note = checkpoint.load(tmp_path / "checkpoint.safetensors")
    assert Settings.from_note(note) == settings
    assert (note["taken"], note["processes"], note["torch"]) == (25, 1, torch.__version__)


def test_on_a_gpu_metrics_are_read_once_a_line(tmp_path, monkeypatch):
    """All steps up to the next line are taken at once, wherever the run was stopped before."""
    run = Run.start(sines(), tmp_path)
    stop_after(run, 4)
    run = Run.resume(tmp_path)
    counts = []
    step = run.trainer.step
    monkeypatch.setattr(run.trainer, "step", lambda count: counts.append(count) or step(count))
    assert run.at_once == 1
    run.at_once = 10  # as on a GPU
    run.train()
    assert counts == [6, 10, 5]
    Run.start(sines(), tmp_path / "whole").train()
    (tensors, lines), (others, other_lines) = saved(tmp_path), saved(tmp_path / "whole")
    # What a divergence would return to is another call's end; all else is the same.
    assert all(torch.equal(tensors[name], others[name]) for name in tensors if not name.startswith(runs.GOOD))
    for line, other in zip(lines, other_lines, strict=True):
        assert line == {"step": other["step"], "loss": pytest.approx(other["loss"], rel=1e-6)}


def test_a_divergence_after_a_resume_still_finds_the_good_parameters(tmp_path):
    """The first step ruins the parameters, which shows in the loss of the second: after a resume, too."""
    wild = Settings.of("sine", steps=1, outer_lr=1e9)
    Run.start(wild, tmp_path).train()
    with pytest.raises(Diverged, match="back at meta-step 0"):
        Run.resume(tmp_path, steps=10).train()
    tensors, _note = checkpoint.load(tmp_path / "checkpoint.safetensors")
    assert all(tensor.abs().max() < 1 for name, tensor in tensors.items() if "." not in name)
