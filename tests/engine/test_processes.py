"""Two processes on the CPU, started by torchrun, against one."""

import json
import subprocess
import sys

import pytest
import torch
from problems import sine_problem

import metalab.__main__ as command
from metalab import checkpoint
from metalab.engine import processes

# Each of the two processes runs this. The sines of the last run send process 0 a Ctrl-C, and only that one.
SCRIPT = """
import signal
from metalab.engine import processes
from metalab.__main__ import main
from metalab.tasks import sine

processes.start("cpu")
leave = processes.stop
processes.stop = lambda: None  # one group for all these commands: a process cannot join a second one safely

def train(*arguments):
    code = main(["train", *arguments])
    assert code == expected, code

expected = 0
train("sine", "--meta-batch", "5", "--steps", "23", "--out", "whole")
train("sine", "--meta-batch", "5", "--steps", "7", "--out", "longer")
train("--resume", "longer", "--steps", "23")
expected = 2
train("sine", "--meta-batch", "5", "--steps", "23", "--out", "whole")
train("sine", "--meta-batch", "1", "--out", "few")

expected, drawn, sample = 130, [], sine.sample
def interrupting(*arguments):
    drawn.append(arguments)
    if len(drawn) == 5 and processes.rank() == 0:
        signal.raise_signal(signal.SIGINT)
    return sample(*arguments)

sine.sample = interrupting
train("sine", "--meta-batch", "5", "--steps", "23", "--out", "cut")
assert len(drawn) == 5
leave()  # or the group's own thread may still run when the process ends, which aborts it
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes have trained, with all that they printed."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "script.py").write_text(SCRIPT)
    torchrun = [sys.executable, "-W", "error", "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, "script.py"], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (folder / "out").write_text(done.stdout)
    (folder / "err").write_text(done.stderr)
    return folder


def test_two_processes_train_what_one_does(folder, tmp_path):
    """To rounding: what each adds up is another part of the same sum."""
    assert command.main(["train", "sine", "--meta-batch", "5", "--steps", "23", "--out", str(tmp_path)]) == 0
    two, note = checkpoint.load(folder / "whole" / "checkpoint.safetensors")
    one, _note = checkpoint.load(tmp_path / "checkpoint.safetensors")
    assert note["processes"] == 2
    torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-6)
    by_two, by_one = (
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (folder / "whole", tmp_path)
    )
    assert [line["step"] for line in by_two] == [line["step"] for line in by_one] == [10, 20]
    assert [line["loss"] for line in by_two] == pytest.approx([line["loss"] for line in by_one], rel=1e-5)


def test_two_processes_go_on_bit_for_bit(folder):
    longer, whole = (checkpoint.load(folder / run / "checkpoint.safetensors")[0] for run in ("longer", "whole"))
    assert all(torch.equal(longer[name], whole[name]) for name in whole)


def test_one_process_alone_prints(folder):
    out, err = (folder / "out").read_text(), (folder / "err").read_text()
    assert out.count("23 meta-steps in 0 s: whole/checkpoint.safetensors") == 1
    assert err.count("a meta-batch of 1 cannot be shared by 2 processes: start fewer") == 1
    assert err.count("whole holds a run already") == 1
    assert not (folder / "few").exists()


def test_both_stop_after_the_same_step_and_are_told_how_to_go_on(folder):
    err = (folder / "err").read_text()
    assert "Interrupted. 4 meta-steps in 0 s: cut/checkpoint.safetensors" in err
    again = "-m torch.distributed.run --nproc-per-node 2 -m metalab train --resume cut"
    assert f"Continue with: {command.python()} {again}\n" in err
    assert err.count("curve.png") == 1


@pytest.mark.parametrize(("tasks", "count"), [(5, 2), (7, 3), (4, 4)])
def test_every_task_is_somebodys(tasks, count, monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: count)
    shared = []
    for rank in range(count):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        part = list(range(tasks))[processes.share(tasks)]
        assert part
        shared += part
    assert shared == list(range(tasks))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_averages_of_all_processes_add_up_to_the_whole(count, monkeypatch):
    learner, params, episode = sine_problem()
    whole, whole_metrics = learner.meta_gradient(params, episode)
    monkeypatch.setattr(processes, "count", lambda: count)
    monkeypatch.setattr(processes, "total", lambda part: part)  # what one process would send
    asked, sums = [], []

    def meta_gradient(params, some):
        asked.append(some.tasks)
        return learner.meta_gradient(params, some)

    for rank in range(count):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        gradient, metrics = processes.averaged(meta_gradient, params, episode)
        assert list(gradient) == list(whole)
        assert list(metrics) == list(whole_metrics)
        sums.append(gradient | metrics)
    assert asked == {1: [3], 2: [1, 2], 3: [1, 1, 1]}[count]
    for name, value in (whole | whole_metrics).items():
        torch.testing.assert_close(sum(part[name] for part in sums), value, rtol=1e-12, atol=1e-14)


def test_alone_there_is_nothing_to_agree_on():
    assert (processes.start("cpu"), processes.rank(), processes.count()) == ("cpu", 0, 1)
    assert processes.share(3) == slice(0, 3)
    assert [processes.agreed(answer, torch.device("cpu")) for answer in (True, False)] == [True, False]
    assert processes.total(torch.ones(2)).tolist() == [1, 1]
