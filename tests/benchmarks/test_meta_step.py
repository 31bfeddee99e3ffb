"""The benchmark: everybody does the same work, and the figures mean what the table says."""

import argparse
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from benchmarks import meta_step
from benchmarks.peers import PEERS
from metalab.engine.derivatives import is_by_hand
from metalab.experiments import machine
from metalab.learners.maml import MAML

CPU = torch.device("cpu")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def options(*arguments):
    parser = argparse.ArgumentParser()
    meta_step.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("work", meta_step.WORKS)
def test_every_peer_does_the_same_work(name, work):
    work = meta_step.small(meta_step.WORKS[work])
    assert meta_step.difference(name, work, *work.start(seeded())) < meta_step.TOLERANCE


def test_another_meta_gradient_would_be_seen():
    """The start is one at which a wrong learning rate or a missing Hessian changes the meta-gradient."""
    for work in (meta_step.SINE, meta_step.small(meta_step.OMNIGLOT)):
        params, episode = work.start(seeded())
        wrong = replace(work, inner_lr=1.01 * work.inner_lr)
        grads, _ = wrong.learner().meta_gradient(params, episode)
        first, _ = work.learner(order=1).meta_gradient(params, episode)
        second, _ = work.learner().meta_gradient(params, episode)

        def error(grads, second=second):
            a, b = (torch.cat([g[n].flatten() for n in second]) for g in (grads, second))
            return ((a - b).norm() / b.norm()).item()

        assert error(grads) > 1e4 * meta_step.TOLERANCE
        assert error(first) > 1e-3


def test_a_peer_that_does_other_work_is_not_timed(monkeypatch):
    honest = PEERS["vmap"]
    monkeypatch.setitem(PEERS, "vmap", lambda m, loss, e, inner_lr, steps: honest(m, loss, e, 2 * inner_lr, steps))
    result = meta_step.compare(meta_step.small(meta_step.SINE), CPU, rounds=1, seconds=0.0)
    assert result["contestants"]["vmap"]["error"].startswith("its meta-gradient differs from ours by ")
    assert "ms" not in result["contestants"]["vmap"]
    assert set(result["ratios"]) == {meta_step.BY_AUTOGRAD, "higher", "torchopt", "create_graph loop", meta_step.FLOOR}


def test_a_peer_that_is_not_installed_is_named_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "higher", None)
    work = replace(meta_step.small(meta_step.SINE), goals={"cpu": {"higher": 40, "torchopt": 1e-9}})
    result = meta_step.compare(work, CPU, rounds=1, seconds=0.0)
    assert "higher" in result["contestants"]["higher"]["error"]
    assert result["goals"][0] == {"of": "higher", "goal": 40, "reached": None, "met": False}
    assert result["goals"][1]["met"]
    assert meta_step.table(result).endswith("goal: at least 40 times higher: not measured\n" + last_line(result))


def last_line(result):
    return f"  goal: at least 1e-09 times torchopt: {result['ratios']['torchopt']:.3g}, reached"


def test_turns_alternate_and_the_median_counts(monkeypatch):
    """Three rounds of 9, 1 and 2 ms for everybody, but higher's are ten times as long."""
    turns = []

    def enter(name, work, params, episode, device):
        return {None: lambda steps: turns.append((name, steps))}

    times = {}

    def seconds_per_step(run, steps, device):
        run(steps)
        name = turns[-1][0]
        times[name] = times.get(name, 0) + 1
        since_prepared = times[name] - 1 - prepared
        return (10 if name == "higher" else 1) * [9, 1, 2][max(since_prepared, 0)] / 1e3

    monkeypatch.setattr(meta_step, "enter", enter)
    monkeypatch.setattr(meta_step, "seconds_per_step", seconds_per_step)
    with meta_step.Threads(1):
        prepared = 1
        result = meta_step.compare(meta_step.SINE, CPU, rounds=3, seconds=0.0)
    names = [meta_step.OURS, meta_step.FIRST_ORDER, meta_step.BY_AUTOGRAD, *PEERS, meta_step.FLOOR]
    assert [name for name, _ in turns[-24:]] == 3 * names
    assert result["contestants"]["higher"]["rounds"] == pytest.approx([90, 10, 20])
    assert [result["contestants"]["higher"][k] for k in ("ms", "min", "max")] == pytest.approx([20, 10, 90])
    assert result["ratios"]["higher"] == pytest.approx(10)
    assert result["goals"][0] == {"of": "higher", "goal": 40, "reached": pytest.approx(10), "met": False}


def test_the_better_way_and_thread_count_are_chosen(monkeypatch):
    seconds = {("slow", 1): 3.0, ("slow", 2): 2.0, ("fast", 1): 0.01, ("fast", 2): 0.02}
    runs = {way: (lambda steps, way=way: way) for way in ("slow", "fast")}
    monkeypatch.setattr(
        meta_step, "seconds_per_step", lambda run, steps, device: seconds[run(1), torch.get_num_threads()]
    )
    with meta_step.Threads(2):
        entry = meta_step.Entry.prepare(runs, CPU, seconds=0.3)
        assert (entry.way, entry.threads, entry.steps) == ("fast", 1, 30)
        assert torch.get_num_threads() == 2


@pytest.mark.parametrize("name", meta_step.WORKS)
def test_the_floor_is_all_products_of_the_meta_gradient_and_nothing_else(name):
    work = meta_step.small(meta_step.WORKS[name])
    params, episode = work.start(seeded())
    with meta_step.Threads(1), meta_step.Products() as ours:
        work.learner().meta_gradient(params, episode)
    with meta_step.Products() as floor:
        meta_step.products_alone(work, params, episode)(1)
    assert len(ours.found) > 5
    assert [shapes for _, shapes in floor.found[len(ours.found) :]] == [shapes for _, shapes in ours.found]


def test_a_goal_over_the_floor_is_a_bound_from_above():
    judged = [meta_step.judge(meta_step.FLOOR, 1.5, 3.0, {meta_step.FLOOR: ratio}) for ratio in (0.5, 0.8)]
    assert [(goal["reached"], goal["met"]) for goal in judged] == [(2.0, False), (1.25, True)]
    assert meta_step.goal_text(judged[0]) == "at most 1.5 times matrix products alone: 2, missed"


def test_by_autograd_no_derivative_is_written_out_and_the_meta_gradient_is_the_same():
    work = meta_step.small(meta_step.OMNIGLOT)
    params, episode = work.start(seeded())
    learners = work.learner(), work.learner_by_autograd()
    assert [is_by_hand(learner.net, learner.loss, episode.support_x) for learner in learners] == [True, False]
    params, episode = {name: p.double() for name, p in params.items()}, episode.to(torch.float64)
    ours, theirs = (learner.meta_gradient(params, episode)[0] for learner in learners)
    for name in params:
        torch.testing.assert_close(theirs[name], ours[name], rtol=1e-9, atol=1e-12)


def test_the_trainer_takes_the_steps():
    work = meta_step.small(meta_step.OMNIGLOT)
    params, episode = work.start(seeded())
    before = {name: p.clone() for name, p in params.items()}
    trainers = []
    for order in (1, 2):
        run = meta_step.with_us(work, params, lambda _generator: episode, CPU, work.learner(order))
        run(3)
        (trainer,) = [cell.cell_contents for cell in run.__closure__ if hasattr(cell.cell_contents, "learner")]
        trainers.append(trainer)
    assert [(t.steps, t.learner.order, t.learner.inner_lr) for t in trainers] == [(3, 1, 0.4), (3, 2, 0.4)]
    assert all(torch.equal(params[name], before[name]) for name in params)


@pytest.mark.parametrize(
    ("goal", "text"),
    [
        (meta_step.judge("torchopt", 4, 1.0, {"torchopt": 4.81}), "at least 4 times torchopt: 4.81, reached"),
        (meta_step.judge("vmap", 3.4 / 0.6, 1.0, {"vmap": 5.5}), "at least 5.67 times vmap: 5.5, missed"),
        (meta_step.judge("ms", 1.5, 1.2, {}), "at most 1.5 ms: 1.2, reached"),
        (meta_step.judge("ms", 1.5, 1.6, {}), "at most 1.5 ms: 1.6, missed"),
        (meta_step.judge("higher", 40, 1.0, {}), "at least 40 times higher: not measured"),
    ],
)
def test_goals_in_words(goal, text):
    assert meta_step.goal_text(goal) == text


def test_the_works_are_the_stated_ones():
    shapes = {}
    for name, work in meta_step.WORKS.items():
        e = work.start(seeded())[1]
        shapes[name] = (tuple(e.support_x.shape[:2]), tuple(e.query_x.shape[:2]), work.inner_steps)
    assert shapes == {
        "sine": ((25, 10), (25, 10), 1),
        "sine-5-steps": ((25, 10), (25, 10), 5),
        "omniglot": ((32, 5), (32, 5), 1),
        "omniglot-15-queries": ((32, 5), (32, 75), 1),
        "omniglot-20-way": ((16, 20), (16, 20), 5),
    }


def test_the_command_writes_what_it_prints(tmp_path, capsys):
    out = tmp_path / "deep" / "bench.json"
    with meta_step.Threads(1):
        assert meta_step.run(options("--quick", "--work", "sine", "--out", str(out))) == 0
    data = json.loads(out.read_text())
    assert (data["benchmark"], data["quick"], data["settings"]["rounds"]) == ("speed", True, 1)
    assert data["machine"]["name"] == machine.name("cpu")
    assert torch.__version__.startswith(data["machine"]["versions"]["torch"])  # it may end in +cpu or +cu130
    sine = data["works"]["sine"]
    assert set(sine["contestants"]) == {
        meta_step.OURS,
        meta_step.FIRST_ORDER,
        meta_step.BY_AUTOGRAD,
        *PEERS,
        meta_step.FLOOR,
    }
    assert sine["ratios"]["higher"] == sine["contestants"]["higher"]["ms"] / sine["contestants"]["metalab"]["ms"]
    start = data["first_step"]["sine"]
    assert start["import_seconds"] > 0
    assert start["step_seconds"] > 0
    assert capsys.readouterr().out.startswith(meta_step.table(sine))


def test_the_memory_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(meta_step, "MEMORY_METHODS", ("create_graph",))
    out = tmp_path / "memory.json"
    assert meta_step.run(options("--memory", "--quick", "--out", str(out))) == 0
    data = json.loads(out.read_text())
    assert (data["benchmark"], data["inner_steps"]) == ("memory", [1])
    ((method, (peak,)),) = data["peak_bytes"].items()
    assert capsys.readouterr().out.startswith(f"  1 inner steps  {method:22} {peak / 2**20:8.1f} MiB\n")
    # Four layers of 4 channels from 1, and a head to 5, for two tasks in float32.
    numbers = 9 * 4 * (1 + 3 * 4) + 4 * 4 + 4 * 5 + 5
    assert data["adapted_parameters_bytes"] == 4 * 2 * numbers


def test_peak_sees_what_is_allocated_and_freed():
    """A child of a process that has had far more in memory, as a test run has."""
    ballast = torch.ones(2**26)  # 256 MiB
    code = (
        "import torch; from benchmarks.meta_step import resident_peak as peak; "
        "before = peak(); x = torch.ones(2**24); del x; after = peak(); y = torch.ones(2**22); "
        "print(before, after - before, peak() - after)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    before, grown, again = map(int, done.stdout.split())
    del ballast
    assert before > 2**20
    assert grown == pytest.approx(2**26, rel=0.05)
    assert again < 2**20


def test_create_graph_over_tasks_has_the_same_meta_gradient():
    work = replace(meta_step.small(meta_step.MEMORY), inner_steps=2)
    params, episode = work.start(seeded())
    params, episode = {n: p.double() for n, p in params.items()}, episode.to(torch.float64)
    backward = meta_step.graph_over_tasks(work, params, episode)
    backward()
    (leaves,) = [cell.cell_contents for cell in backward.__closure__ if isinstance(cell.cell_contents, dict)]
    ours, _ = MAML(work.net, inner_lr=work.inner_lr, inner_steps=2).meta_gradient(params, episode)
    for name, leaf in leaves.items():
        torch.testing.assert_close(leaf.grad, ours[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds 0 must be at least 1"),
        pytest.param(
            ["--device", "cuda"],
            "--device cuda: PyTorch finds no such GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_bad_options_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        meta_step.run(options(*arguments))
