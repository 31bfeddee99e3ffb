"""The results page says what the committed measurements say, and nothing else."""

import argparse
import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks import meta_step, report
from benchmarks.challenge import wilson
from metalab.experiments.settings import Settings
from metalab.lessons.learning_to_act import figures as acting

COMMITTED = Path(__file__).parents[2] / "results"
MACHINE = {
    "device": "cpu",
    "name": "Some CPU, 2 cores",
    "python": "3.13.1",
    "versions": {"torch": "2.13.0", "higher": "0.2.1", "torchopt": None},
}


def trained(tasks="omniglot", algorithm="maml", **changed):
    """A checkpoint's note."""
    default = asdict(
        Settings.of(tasks, algorithm, **{name: changed[name] for name in ("ways", "shots") if name in changed})
    )
    how = {"seconds": 1800.4, "processes": 1, "threads": 2, "torch": "2.13.0", "machine": "Some CPU, 2 cores"}
    return {**default, **how, "taken": default["steps"], **changed}


def result(mean, ci95, measure="accuracy", **protocol):
    return {"measure": measure, "mean": mean, "ci95": ci95, "episodes": 600, "protocol": {"test tasks": 600} | protocol}


def contestant(ms, threads=1):
    return {"ms": ms, "min": 0.9 * ms, "max": 1.1 * ms, "threads": threads}


def speed_file(**changed):
    times = {meta_step.OURS: 0.5, meta_step.FIRST_ORDER: 0.3, "higher": 20.0, "vmap": 2.5}
    work = {
        "title": "Sine, 25 tasks",
        "contestants": {name: contestant(ms) for name, ms in times.items()}
        | {"torchopt": {"error": "No module named 'torchopt'"}},
        "ratios": {"higher": 40.0, "vmap": 5.0},
        "goals": [
            meta_step.judge("higher", 40, 0.5, {"higher": 40.0}),
            meta_step.judge("vmap", 5.67, 0.5, {"vmap": 5.0}),
        ],
    }
    first = {"sine": {"import_seconds": 1.52, "step_seconds": 0.014, "processes": 3, "goal": 2.0}}
    settings = {"rounds": 9, "dtype": "float32"}
    return {"machine": MACHINE, "settings": settings, "works": {"sine": work}, "first_step": first, **changed}


def memory_file():
    peaks = {meta_step.OURS: [2**20, 3 * 2**20], meta_step.FIRST_ORDER: [2**20, 2**20], "create_graph": [2**21, 2**24]}
    sizes = {"inner_steps": [1, 50], "peak_bytes": peaks, "adapted_parameters_bytes": 2**19}
    return {"machine": MACHINE, "title": "Omniglot, 8 tasks", **sizes}


def folder(tmp_path, **files):
    """A results folder with these JSON files."""
    (tmp_path / "runs").mkdir()
    for name, data in files.items():
        where = tmp_path / ("runs" if "trained" in data else "")
        (where / f"{name.replace('_', '-')}.json").write_text(json.dumps(data))
    return tmp_path


def write(where):
    assert report.run(argparse.Namespace(folder=where)) == 0
    return (where / "README.md").read_text()


def row(text, *cells):
    return "| " + " | ".join(cells) + " |" in text.splitlines()


def test_the_page_has_the_studies_of_lesson_9(tmp_path):
    text = write(folder(tmp_path))
    returns = acting.of_seeds(acting.load_results(), "maml").mean(0)
    [ours] = [line for line in text.splitlines() if line.startswith("| MAML, ours |")]
    assert [cell.split(" ±")[0] for cell in ours.split(" | ")[1:]] == [f"{value:.1f}" for value in returns.tolist()]
    assert row(text, "optimal", "6.6600")


def test_the_committed_page_is_what_the_command_writes(tmp_path):
    copy = tmp_path / "results"
    shutil.copytree(COMMITTED, copy)
    committed = (copy / "README.md").read_text()
    (copy / "README.md").unlink()
    assert write(copy) == committed


def test_the_committed_figures_are_of_the_committed_measurements():
    measured = [*COMMITTED.glob("bench-*.json"), *COMMITTED.glob("memory-*.json")]
    assert {path.stem for path in measured} == {path.stem for path in COMMITTED.glob("*.svg")}
    for path in measured:
        assert hashlib.sha256(path.read_bytes()).hexdigest() in path.with_suffix(".svg").read_text()


def test_a_run_beside_the_published_number(tmp_path):
    run = {
        "trained": trained(minutes=30.0, taken=7000),
        "results": [
            result(0.9512, 0.0061, ways=5, shots=1, **{"inner steps": 1}),
            result(0.9634, 0.005, ways=5, shots=1, **{"inner steps": 3}),
        ],
    }
    text = write(folder(tmp_path, maml=run))
    command = "`python -m metalab train omniglot --minutes 30`"
    where = "Some CPU, 2 cores, 2 threads, PyTorch 2.13.0"
    assert row(text, "MAML, 5-way 1-shot", command, "7,000 of 60,000", "30 min", where)
    assert row(text, "MAML, 5-way 1-shot", "1", "95.1 ± 0.6 %", "")
    assert row(text, "MAML, 5-way 1-shot", "3", "96.3 ± 0.5 %", "98.7 ± 0.4 %")
    assert "(mean ± 95 % confidence interval); test tasks: 600, ways: 5, shots: 1." in text
    assert report.FINN in text
    assert report.SNELL not in text


def test_sine_runs_have_a_table_of_their_own(tmp_path):
    sine = {
        "trained": trained("sine", seconds=240.0),
        "results": [result(0.7, 0.04, "MSE", shots=5, **{"inner steps": steps}) for steps in (0, 1)],
    }
    proto = {"trained": trained(algorithm="prototypical"), "results": [result(0.96, 0.004, ways=20, shots=1)]}
    text = write(folder(tmp_path, sine=sine, proto=proto))
    sines, characters = text.split("### Omniglot")
    assert row(sines, "MAML, 5-shot", "0", "0.70 ± 0.04", "")
    assert row(sines, "MAML, 5-shot", "1", "0.70 ± 0.04", "0.67")
    assert row(
        sines,
        "MAML, 5-shot",
        "`python -m metalab train sine`",
        "70,000",
        "4 min",
        "Some CPU, 2 cores, 2 threads, PyTorch 2.13.0",
    )
    assert row(characters, "prototypical network, 60-way 1-shot", "96.0 ± 0.4 %", "96.0 %")


@pytest.mark.parametrize(
    ("note", "label", "command"),
    [
        (trained(), "MAML, 5-way 1-shot", "python -m metalab train omniglot"),
        (
            trained(ways=20, inner_lr=2.0),
            "MAML, 20-way 1-shot, inner lr 2.0",
            "python -m metalab train omniglot --inner-lr 2.0 --ways 20",
        ),
        (
            trained(algorithm="fomaml", shots=5, steps=100, seed=3, device="cuda"),
            "first-order MAML, 5-way 5-shot, seed 3",
            "python -m metalab train omniglot --algorithm fomaml --device cuda --seed 3 --shots 5 --steps 100",
        ),
        (
            trained("sine", "joint"),
            "one network for all tasks, 5-shot",
            "python -m metalab train sine --algorithm joint",
        ),
        (
            trained(processes=2, split="random"),
            "MAML, 5-way 1-shot, split random",
            "torchrun --nproc-per-node 2 -m metalab train omniglot --split random",
        ),
        (
            trained(
                outer_lr=0.01,
                history=[
                    {"step": 7, "diverged": True},
                    {"step": 7, "outer_lr": [0.1, 0.03]},
                    {"step": 9, "outer_lr": [0.03, 0.01], "inner_lr": [0.4, 0.4]},
                ],
            ),
            "MAML, 5-way 1-shot, outer lr 0.1, diverged and back at meta-step 7, "
            "outer lr 0.1 → 0.03 at meta-step 7, outer lr 0.03 → 0.01, inner lr 0.4 → 0.4 at meta-step 9",
            "python -m metalab train omniglot --outer-lr 0.1",
        ),
    ],
)
def test_a_runs_name_and_command(note, label, command):
    assert report.label(note) == label
    words = report.command(note).split()
    start = words.index("train") + 2
    options = lambda words: {tuple(words[i : i + 2]) for i in range(start, len(words), 2)}  # noqa: E731
    assert words[:start] == command.split()[:start]
    assert options(words) == options(command.split())


def test_published_numbers_are_those_of_the_test_not_of_the_training():
    protocol = {"ways": 20, "shots": 5}
    assert report.published("omniglot", "prototypical", protocol).score == "98.9 %"
    assert report.published("omniglot", "prototypical", protocol | {"characters of": "any alphabets"}).score == "98.9 %"
    assert report.published("omniglot", "prototypical", protocol | {"characters of": "one alphabet"}) is None
    assert report.published("omniglot", "maml", protocol | {"inner steps": 5}).score == "98.9 ± 0.2 %"
    assert report.published("omniglot", "maml", protocol | {"inner steps": 3}) is None
    assert report.published("omniglot", "fomaml", protocol | {"inner steps": 3}).score == "97.9 ± 0.1 %"
    assert report.published("omniglot", "meta_sgd", protocol | {"inner steps": 1}) is None
    assert {known.source for known in report.PUBLISHED} == set(report.HOW_PUBLISHED)


def test_the_benchmark(tmp_path):
    text = write(folder(tmp_path, bench_cpu=speed_file()))
    assert row(text, "Sine, 25 tasks", "metalab", "0.5", "0.45 … 0.55", "1", "", "")
    assert row(text, "", "higher", "20", "18 … 22", "1", "40.0", "≥ 40: reached")
    assert row(text, "", "vmap", "2.5", "2.25 … 2.75", "1", "5.0", "≥ 5.67: missed")
    assert row(text, "", "torchopt", "No module named 'torchopt'", "", "", "", "")
    assert "0.01 s (goal: 2 s), after 1.5 s that the import takes" in text
    assert "Python 3.13.1, torch 2.13.0, higher 0.2.1. This is one second-order" in text
    assert "![How many times as long as metalab others take for a meta-step. Sine, 25 tasks: higher 40.0, vmap" in text
    assert "](bench-cpu.svg)" in text
    assert "We had no GPU" in text
    drawn = (tmp_path / "bench-cpu.svg").read_text()
    assert hashlib.sha256((tmp_path / "bench-cpu.json").read_bytes()).hexdigest() in drawn


def test_a_gpus_goal_is_judged_with_sampling(tmp_path):
    data = speed_file(machine=MACHINE | {"device": "cuda", "name": "Some GPU"}, first_step={})
    work = data["works"]["sine"]
    work["contestants"][meta_step.SAMPLING] = contestant(1.0)
    work["goals"] = [meta_step.judge("ms", 1.5, 1.0, {})]
    text = write(folder(tmp_path, bench_cuda=data))
    assert row(text, "", meta_step.SAMPLING, "1", "0.9 … 1.1", "1", "", "≤ 1.5 ms: reached")
    assert "No GPU" not in text
    assert "The benchmark has not been run on a CPU." in text


def test_memory(tmp_path):
    text = write(folder(tmp_path, memory_cpu=memory_file()))
    assert row(text, "inner steps", "1", "50")
    assert row(text, "metalab", "1", "3")
    assert row(text, "create_graph", "2", "16")
    assert "0.5 MiB a step" in text
    assert "At 50 inner steps: metalab 3 MiB, metalab, first order 1 MiB, create_graph 16 MiB." in text
    assert (tmp_path / "memory-cpu.svg").exists()


def test_what_panels_cost(tmp_path):
    training = {"steps": 100, "ms": [1.25, 1.5, 1.0], "share": [0.8, 0.93, 0.95], "frames": [8.4, 8.2, 9.0]}
    goals = {"share": 0.9, "frames": 8.0, "ms": 100.0}
    data = {"machine": MACHINE, "goals": goals, "trainings": {"1: sine": training}, "answers": {"1: two": [7, 90, 9]}}
    text = write(folder(tmp_path, panels_cpu=data))
    assert row(text, "lesson 1: sine", "1.25", "93% (80% … 95%)", "8.4")
    assert row(text, "lesson 1: two", "9", "90")
    assert "medians of 3 rounds (lowest … highest). Goals: 90% of the speed at least, and 8 pictures a second" in text


def test_how_soon_a_picture_follows_a_key(tmp_path):
    goals = {"median": 60.0, "95 of 100": 100.0}
    keys = {"1: two": [20.0] * 19 + [300.0], "2: one": [20.0] * 10 + [120.0] * 10}
    text = write(folder(tmp_path, keys_cpu={"machine": MACHINE, "goals": goals, "keys": keys}))
    assert row(text, "lesson 1: two", "20", "34", "20", "reached")
    assert row(text, "lesson 2: one", "70", "120", "20", "missed")
    assert "Goals: a median of 60, and 100 for 95 of 100 keys." in text


def challenge_file():
    """Trainings for the challenge, and of an ablation on four alphabets, of two seeds at most."""

    def run(part, name, seed=0, **errors):
        how = {"steps": 1234, "seconds": 41.7, "recipe": {"views": 16}}
        return {"part": part, "name": name, "seed": seed, "errors": errors, **how}

    def met(errors):
        return {"errors": errors, "trials": 400, **wilson(errors, 400)}

    def held(*shares, **others):
        def of(shares):
            return dict(zip(("A", "B", "C", "D"), shares, strict=True)) | {"mean": sum(shares) / 4}

        return {"recipe": of(shares)} | {how.replace("_", " "): of(other) for how, other in others.items()}

    runs = [
        run("search", "Muon", **held(0.2, 0.1, 0.3, 0.4)),
        run("search", "Adam"),  # it diverged
        run("final", "alphabets", **{"recipe": met(10), "without views": met(11)}),
        run("minimal", "small2", **{"recipe": met(17), "without views": met(18)}),
        run("ablation", "full recipe", **held(0.1, 0.2, 0.3, 0.4, without_views=(0.12, 0.22, 0.32, 0.42))),
        run("ablation", "full recipe", 1, **held(0.1, 0.2, 0.3, 0.4, without_views=(0.12, 0.22, 0.32, 0.428))),
        run("ablation", "residual network", **held(0.12, 0.21, 0.32, 0.41)),
        run("ablation", "residual network", 1, **held(0.12, 0.21, 0.34, 0.43)),
        run("ablation", "larger pictures", **held(0.12, 0.18, 0.34, 0.38)),
    ]
    return {"machine": MACHINE, "quick": False, "runs": runs}


def test_the_challenge(tmp_path):
    text = write(folder(tmp_path, challenge_cuda=challenge_file()))
    alphabets = "the 30 background alphabets"
    assert row(text, alphabets, "0", "1,234", "42", "2.50 % (1.36 … 4.54)", "2.75 % (1.54 … 4.86)")
    assert row(text, "5 alphabets, small2", "0", "1,234", "42", "4.25 % (2.67 … 6.70)", "4.50 % (2.87 … 7.00)")
    assert row(text, "people", "4.5", "", "Lake, Salakhutdinov & Tenenbaum 2015")
    assert row(text, "search: Muon", "0", "1,234", "42", "20.0", "10.0", "30.0", "40.0", "25.0")
    assert "search: Adam" not in text
    assert row(text, "full recipe", "0", "1,234", "42", "10.0", "20.0", "30.0", "40.0", "25.0")
    assert row(text, "without residual network", "1", "1,234", "42", "12.0", "21.0", "34.0", "43.0", "27.5")
    # Over seeds: 1.5 and 2.5, whose mean is 2 and whose deviation is 0.707; t(1) is 12.71. Over alphabets: 2, 1, 3, 2,
    # of the deviation 0.816; t(3) is 3.18.
    assert row(text, "residual network", "+1.5, +2.5", "+2.0", "6.4", "1.3")
    assert row(text, "larger pictures", "+0.5", "+0.5", "", "4.8")
    assert row(text, "views", "+2.0, +2.2", "+2.1", "1.3", "0.3")
    assert "and the errors are more, without: views. 3 ingredients were looked at" in text
    assert "Not measured: tasks within an alphabet, all distortions," in text


def test_checks_on_a_gpu_that_failed_are_named(tmp_path):
    def check(learner, value):
        return {"check": f"{learner} on sine: recorded", "value": value, "most": 1e-6, "passed": value == 1e-9}

    checks = [check("maml", 1e-9), check("anil", 1e-3), check("alpaca", "RuntimeError: no\nSee elsewhere")]
    text = write(folder(tmp_path, check_cuda={"machine": MACHINE, "quick": False, "checks": checks}))
    assert (
        "1 of 3 checks passed; failed: anil on sine: recorded (0.001); alpaca on sine: recorded (RuntimeError: no)."
        in text
    )
    assert row(text, "recorded", "3", "1.0e-03, 1 broke off", "1e-06")


def test_where_the_time_goes(tmp_path):
    data = speed_file()
    next(iter(data["works"].values()))["time"] = {"matrix products": 0.6, "copies": 0.3, "other": 0.1}
    text = write(folder(tmp_path, bench_cpu=data))
    assert "| 60% | 30% | 10% |" in text


def test_the_figures_show_the_numbers():
    measured = report.Measured("bench-cpu", speed_file(), "")
    (ax,) = report.speed_figure(measured).axes
    assert {line.get_label(): list(line.get_xdata()) for line in ax.lines} == {
        "higher": [40.0],
        "vmap": [5.0],
        "metalab": [1, 1],
    }
    (ax,) = report.memory_figure(report.Measured("memory-cpu", memory_file(), "")).axes
    assert {line.get_label(): list(line.get_ydata()) for line in ax.lines} == {
        "metalab": [1, 3],
        "metalab, first order": [1, 1],
        "create_graph": [2, 16],
        "the tasks' parameters of every step": [0.5, 25],
    }
    assert list(ax.lines[0].get_xdata()) == [1, 50]
    assert ax.get_ylabel() == "peak memory, MiB"
    assert ax.figure.get_facecolor() == (1, 1, 1, 1)


def test_findings_are_part_of_the_page(tmp_path):
    where = folder(tmp_path)
    assert "## Findings" not in write(where)
    (where / report.NOTES).write_text("A finding.\n")
    assert "\n\n## Findings\n\nA finding.\n\n## Not measured\n\n" in write(where)


def test_sound_learners_under_examination(tmp_path):
    runs = [
        {"tasks": "sine", "learner": "maml", "seed": seed, "states": {"alone": state}, "alarms": alarms}
        for seed, (state, alarms) in enumerate([("well", {}), ("open", {}), ("ill", {"alone": "It looks around."})])
    ]
    (tmp_path / "false-alarms.json").write_text(json.dumps({"machine": MACHINE, "steps": [0, 20], "runs": runs}))
    text = write(tmp_path)
    assert "1 of 3 patients were called ill." in text
    assert "| alone | 1 | 1 | 1 |" in text


def test_narrow_checks_of_the_lessons_are_named(tmp_path):
    slacks = [{"[3] a < 1": 0.5, "[9] b < 1": narrow} for narrow in (0.1, -0.1, 0.4)]
    runs = [
        {"lesson": "02_x", "seed": seed, "threads": 1, "state": "", "slacks": slack, "failure": None}
        for seed, slack in enumerate(slacks)
    ]
    (tmp_path / "margins-cpu.json").write_text(json.dumps({"machine": MACHINE, "runs": runs}))
    text = write(tmp_path)
    assert "| 02_x | 3 | 1 | 0 | 2 | 1 |" in text
    assert "- 02_x: `[9] b < 1`: 0.133 ± 0.25, 0.5 times; least -0.1." in text
    assert "[3]" not in text


def test_nothing_measured_is_said(tmp_path):
    text = write(folder(tmp_path))
    assert "## Speed" not in text
    assert "No trained network has been evaluated." in text
    assert "Peak memory has not been measured." in text
    assert "What panels cost has not been measured." in text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("bench-cpu.json", "{", "bench-cpu.json is damaged"),
        (
            "memory-cpu.json",
            "{}",
            "has no 'machine': write it by `python -m benchmarks meta-step --memory`",
        ),
        ("challenge-cuda.json", '{"machine": {}}', "has no 'runs': write it by `make challenge`"),
        ("challenge-cuda.json", '{"quick": true, "machine": {}, "runs": []}', "was measured with --quick"),
        ("bench-cpu.json", '{"quick": true, "machine": {}, "works": {}}', "was measured with --quick"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        report.run(argparse.Namespace(folder=tmp_path))
    assert not (tmp_path / "README.md").exists()


def test_a_missing_folder_is_named(tmp_path):
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    assert parser.parse_args([]).folder == Path("results")
    with pytest.raises(ValueError, match="nowhere: there is no such folder"):
        report.run(parser.parse_args(["--folder", str(tmp_path / "nowhere")]))


def test_the_readme_quotes_the_benchmark():
    works = json.loads((COMMITTED / "bench-cpu.json").read_text())["works"]
    readme = (COMMITTED.parent / "README.md").read_text()
    sine, omniglot = works["sine"]["ratios"], works["omniglot"]["ratios"]
    assert f"{sine['higher']:.0f} times as fast as with `higher`, {sine['torchopt']:.0f} times as with" in readme
    assert f"{sine['vmap']:.1f} times as with `torch.func.vmap` on sines" in readme
    quoted = ", ".join(f"{omniglot[name]:.1f}" for name in ("higher", "torchopt"))
    assert f"{quoted} and {omniglot['vmap']:.1f} times as fast on Omniglot" in readme
