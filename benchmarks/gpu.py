"""Everything that only a GPU can tell, in one command: is it right, how fast is it, what do the papers' runs reach?

python -m benchmarks gpu                          # under nine minutes on one H100, into build/gpu
python -m benchmarks gpu --device cpu --quick     # tries the command out: tiny sizes, half a minute

The parts are done in order, and each writes its file before the next one starts, so that a run that is cut still
counts. A second run with the same --out keeps the parts that are done, and continues the trainings.

    check    is it right?  recorded against eager against CPU           check-cuda.json
    speed    how fast?     `benchmarks meta-step`, kernels, TF32        bench-cuda.json, kernels-cuda.json
    memory   peak memory over inner steps                               memory-cuda.json
    compiled the step after torch.compile, which takes two minutes      compiled-cuda.json
    table    the papers' Omniglot table, as far as the time goes        runs/*.json, and a checkpoint for each
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import meta_step
from metalab import __main__ as command_line
from metalab import checkpoint
from metalab.experiments import machine
from metalab.experiments.recipes import RECIPES
from metalab.experiments.runs import CHECKPOINT
from metalab.experiments.settings import Settings
from metalab.files import replace_file
from metalab.learners import MAML
from metalab.losses import mse
from metalab.nets import MLP, Conv4
from metalab.tasks import Characters, Episode, glyphs, omniglot, sine
from metalab.train import Diverged, Trainer

PARTS = ("check", "speed", "memory", "compiled", "table")
FILES = ("check", "bench", "kernels", "memory", "compiled")  # the kinds of files, but for the trained networks
ROUNDS, SECONDS = 5, 0.1  # of the speed part: rounds, and seconds of work in each for each contestant
EXACT = 1e-9  # relative difference of two computations in float64, of which one was made elsewhere
ROUNDED_RATE = 1e-6  # likewise after some steps: a GPU's Adam has its rate in float32
SINGLE = 10.0  # times the CPU's error in float32: a GPU adds in another order
STEPS = 10

# The table's rows: the options of `python -m metalab train omniglot`, and a share of the time, in the order of what one
# would miss most. The shares are what an H100 needs for all steps of the first two rows; the 20-way
# rows get the same time, so that their rates can be compared. (The paper's code has an inner loss of N times the mean,
# so that its rate of 0.1 is 2.0 for a mean: see results/notes.md.) Rows without a share have what others leave over.
ROWS: dict[str, tuple[str, float]] = {
    "omniglot_maml_5way_1shot": ("--split random", 0.42),
    "omniglot_prototypical_1shot": ("--algorithm prototypical --split random", 0.14),
    "omniglot_maml_20way_1shot_lr2.0": ("--ways 20 --inner-lr 2.0 --split random", 0.18),
    "omniglot_maml_20way_1shot_lr0.1": ("--ways 20 --split random", 0.18),
    "omniglot_prototypical_5shot": ("--algorithm prototypical --shots 5 --split random", 0.08),
    "omniglot_maml_5way_5shot": ("--shots 5 --split random", 0.0),
    "omniglot_maml_20way_5shot_lr2.0": ("--ways 20 --shots 5 --inner-lr 2.0 --split random", 0.0),
}
LEAST = 5.0  # seconds, with less of which no row is begun


# Is it right?


class Checks:
    """Collects checks. Each compares a number with the most that it may be; one that breaks off has failed too."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def most(self, name: str, limit: float, value: Callable[[], float]) -> None:
        """Check that `value()` is at most `limit`, and print the outcome."""
        try:
            reached: float | str = value()
            passed = reached <= limit
        except Exception as error:  # whatever it is, the other checks are worth having
            reached, passed = f"{type(error).__name__}: {error}".splitlines()[0][:300], False
        self.found.append({"check": name, "value": reached, "most": limit, "passed": passed})
        shown = reached if isinstance(reached, str) else f"{reached:.1e}"
        print(f"  {'passed' if passed else 'FAILED'}  {name}: {shown} (at most {limit:g})", flush=True)


def vector(params: dict[str, Tensor]) -> Tensor:
    """Return all parameters as one vector on the CPU in double precision."""
    return torch.cat([p.detach().double().cpu().flatten() for p in params.values()])


def difference(a: Tensor, b: Tensor) -> float:
    """Return ‖a − b‖ / ‖b‖."""
    return ((a - b).norm() / b.norm()).item()


def moved(batch: Episode | Tensor, *targets: Any) -> Any:
    """Return a training batch on another device, or in another precision."""
    for target in targets:
        batch = batch.to(target)
    return batch


def small_settings() -> Iterator[tuple[str, Settings]]:
    """Yield small settings for every algorithm on every kind of tasks."""
    for algorithm, recipe in RECIPES.items():
        for tasks in recipe.papers:
            names = recipe.papers[tasks](None, None)
            size = {"meta_batch": 1 if recipe.draws == "groups" else 3, "channels": 16, "ways": 5, "queries": 2}
            if recipe.tested == "by distance":
                size["ways"] = 8
            given = {name: value for name, value in size.items() if name in names}
            yield f"{algorithm} on {tasks}", Settings.of(tasks, algorithm, **given)


def after(steps: int, learner: Any, sample: Callable[[torch.Generator], Any], device: Any, **options: Any) -> Tensor:
    """Return a trainer's parameters after some meta-steps as one vector."""
    trainer = Trainer(learner, sample, seed=0, device=device, **options)
    trainer.step(steps)
    return vector(trainer.params)


def check(characters: Characters, device: torch.device) -> list[dict[str, Any]]:
    """Compare recorded, eager and CPU computations; nothing may differ by more than its precision allows."""
    checks = Checks()
    cpu, gpu = characters.to("cpu"), characters.to(device)
    torch.backends.cudnn.deterministic = True  # as in a run
    with tf32(False):  # PyTorch lets convolutions use it otherwise
        for name, settings in small_settings():
            everyone(checks, name, settings, cpu, gpu, device)
        of_the_recording(checks, gpu, device)
    return checks.found


def everyone(
    checks: Checks, name: str, settings: Settings, cpu: Characters, gpu: Characters, device: torch.device
) -> None:
    """Check one learner: its meta-gradient in both precisions, and ten meta-steps."""
    on_sines = settings.tasks == "sine"
    learner, optimizer = settings.learner(), settings.recipe.optimizer
    batch = settings.sampler(None if on_sines else cpu)(torch.Generator().manual_seed(0))
    params = learner.init(torch.Generator().manual_seed(0))
    double = {n: p.double() for n, p in params.items()}
    exact, _ = learner.meta_gradient(double, moved(batch, torch.float64))

    def gradient(where: torch.device, dtype: torch.dtype) -> float:
        here = {n: p.to(where, dtype) for n, p in params.items()}
        return difference(vector(learner.meta_gradient(here, moved(batch, where, dtype))[0]), vector(exact))

    def single() -> float:
        least = (
            1e-3 if settings.algorithm == "reptile" else 1e-6
        )  # Reptile's Adam divides rounding errors by themselves
        return gradient(device, torch.float32) / max(least, gradient(torch.device("cpu"), torch.float32))

    def steps_from_the_cpu() -> float:
        there, here = (moved(batch, where, torch.float64) for where in ("cpu", device))
        of = {"optimizer": optimizer, "params": double}
        return difference(
            after(STEPS, learner, lambda _g: here, device, **of), after(STEPS, learner, lambda _g: there, "cpu", **of)
        )

    def recorded() -> float:
        sample = settings.sampler(None if on_sines else gpu)
        of = {"optimizer": optimizer}
        return difference(
            after(STEPS, learner, sample, device, **of), after(STEPS, learner, sample, device, recordings=0, **of)
        )

    checks.most(f"{name}: meta-gradient, float64, from the CPU's", EXACT, lambda: gradient(device, torch.float64))
    checks.most(f"{name}: meta-gradient, float32, error over the CPU's", SINGLE, single)
    checks.most(f"{name}: {STEPS} recorded steps, float64, from the CPU's", ROUNDED_RATE, steps_from_the_cpu)
    checks.most(f"{name}: {STEPS} recorded steps with their own draws, from eager ones", 1e-5, recorded)


def of_the_recording(checks: Checks, gpu: Characters, device: torch.device) -> None:
    """Check what a recording must not break: draws, rates, resuming, divergence, and learners in turn."""
    maml = MAML(Conv4(5, channels=16))
    tasks: list[Callable[[torch.Generator], Episode]] = [
        lambda g: gpu.sample(4, 5, 1, 1, g),
        lambda g: gpu.sample(4, 5, 1, 2, g),
    ]

    def draws() -> float:
        """The share of replays whose loss is that of an earlier one, which none should be."""
        trainer = Trainer(maml, tasks[0], outer_lr=0.0, seed=0, device=device)
        losses = [trainer.step().metrics["loss"] for _ in range(50)]
        return 1 - len(set(losses)) / len(losses)

    def rates() -> float:
        ends = []
        for recordings in (0, 4):
            rate = torch.tensor(0.4, device=device)
            options = {"outer_lr": lambda n: 1e-3 / n, "recordings": recordings}
            trainer = Trainer(replace(maml, inner_lr=rate), tasks[0], seed=0, device=device, **options)
            for now in (0.4, 0.1, 1.0):
                rate.fill_(now)
                trainer.step(3)
            ends.append(vector(trainer.params))
        return difference(*ends)

    def resumed() -> float:
        straight = Trainer(maml, tasks[0], seed=0, device=device)
        straight.step(STEPS)
        other = Trainer(maml, tasks[0], seed=1, device=device)
        other.step(3)
        other.load_state({name: tensor.clone() for name, tensor in straight.state().items()})
        straight.step(STEPS)
        other.step(STEPS)
        return difference(vector(other.params), vector(straight.params))

    def in_turn() -> float:
        ends = []
        for recordings in (0, 4):
            trainer = Trainer(maml, tasks[0], seed=0, device=device, recordings=recordings)
            for turn in range(6):
                trainer.learner, trainer.sample = replace(maml, order=1 + turn % 2), tasks[turn % 2]
                trainer.step(2)
            ends.append(vector(trainer.params))
        return difference(*ends)

    def diverged() -> float:
        """0 if a divergence is noticed, taken back, and the training goes on; else 1."""
        rate = torch.tensor(0.01, device=device)
        learner = MAML(MLP(), mse, inner_lr=rate)
        trainer = Trainer(learner, lambda g: sine.sample(25, 10, 10, g), seed=0, device=device)
        trainer.step(STEPS)
        rate.fill_(1e30)
        try:
            trainer.step(STEPS)
        except Diverged:
            rate.fill_(0.01)
            finite = all(p.isfinite().all() for p in trainer.params.values())
            return 0.0 if finite and math.isfinite(trainer.step(STEPS).metrics["loss"]) else 1.0
        return 1.0

    checks.most("replays that draw what an earlier one drew", 0, draws)
    checks.most("rates that change between replays: recorded from eager", 1e-5, rates)
    checks.most("resumed from another trainer's state: from one that went on", 1e-6, resumed)
    checks.most("two learners and two samplers in turn: recorded from eager", 1e-5, in_turn)
    checks.most("a divergence is noticed and taken back (0: yes)", 0, diverged)


# How fast?


@contextmanager
def tf32(on: bool) -> Iterator[None]:
    """Let matrix products and convolutions of single precision use 10 bits of mantissa (TF32), or forbid it."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def kernels(work: meta_step.Work, device: torch.device, *, rounds: int, steps: int) -> dict[str, Any]:
    """Measure where one meta-step's time goes, sampling and Adam included.

    Returns:
        "kernels" of a step and their time in "kernels_ms"; the step's time "recorded_ms", "eager_ms" and "tf32_ms"
        (recorded, with TF32), medians of the rounds; and the relative errors of a meta-gradient, "float32_error" and
        "tf32_error".
    """
    sample = work.sampler(torch.Generator(device).manual_seed(1), characters=4400 if device.type == "cuda" else 40)

    def trainer(**options: Any) -> Trainer:
        return Trainer(work.learner(), sample, outer_lr=meta_step.OUTER_LR, device=device, **options)

    def ms(trainer: Trainer) -> float:
        return 1e3 * meta_step.seconds_per_step(lambda n: trainer.step(n) and None, steps, device)

    eager, recorded, coarse = trainer(recordings=0), trainer(), trainer()
    times: dict[str, list[float]] = {"eager_ms": [], "recorded_ms": [], "tf32_ms": []}
    eager.step(2)
    recorded.step(2)
    with tf32(True):
        coarse.step(2)
    for _ in range(rounds):
        times["eager_ms"].append(ms(eager))
        times["recorded_ms"].append(ms(recorded))
        with tf32(True):
            times["tf32_ms"].append(ms(coarse))
    found: dict[str, Any] = {"title": work.title}
    if device.type == "cuda":
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            eager.step()
            torch.cuda.synchronize()
        on_gpu = [e for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA]
        found |= {"kernels": len(on_gpu), "kernels_ms": sum(e.time_range.elapsed_us() for e in on_gpu) / 1e3}
        longest: dict[str, float] = {}
        for e in on_gpu:
            longest[e.name[:90]] = longest.get(e.name[:90], 0.0) + e.time_range.elapsed_us() / 1e3
        found["longest"] = dict(sorted(longest.items(), key=lambda item: -item[1])[:12])
    params, episode = work.start(torch.Generator(device).manual_seed(0))
    exact, _ = work.learner().meta_gradient({n: p.double() for n, p in params.items()}, episode.to(torch.float64))
    for name in ("float32_error", "tf32_error"):
        with tf32(name == "tf32_error"):
            found[name] = difference(vector(work.learner().meta_gradient(params, episode)[0]), vector(exact))
    return found | {name: statistics.median(values) for name, values in times.items()}


COMPILED = """
import json, sys, torch
from benchmarks import gpu, meta_step
name, device, quick = sys.argv[1:]
work = meta_step.small(meta_step.WORKS[name]) if quick == "quick" else meta_step.WORKS[name]
gpu.step_of_a_compiled_trainer(work, torch.device(device), rounds=1 if quick == "quick" else gpu.ROUNDS)
"""


def compiled(names: list[str], device: torch.device, *, quick: bool) -> dict[str, Any]:
    """Time the meta-step after `torch.compile`: all works are compiled at once, and timed one after another."""
    words = [str(device), "quick" if quick else "full"]
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", COMPILED, name, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    }
    for process in processes.values():
        process.stdout.readline()  # it has compiled
    found = {}
    for name, process in processes.items():
        printed, _ = process.communicate("now\n")
        found[name] = json.loads(printed or '{"error": "the process failed"}')
        print(name, found[name], flush=True)
    return found


def step_of_a_compiled_trainer(work: meta_step.Work, device: torch.device, *, rounds: int) -> None:
    """Compile, print a line, wait for one, and print the result of timing as JSON: see `compiled`."""
    sample = work.sampler(torch.Generator(device).manual_seed(1))
    begin = time.perf_counter()
    trainer = Trainer(work.learner(), sample, outer_lr=meta_step.OUTER_LR, device=device, compiled=True)
    trainer.step(2)
    seconds = time.perf_counter() - begin
    print("compiled", flush=True)
    input()
    steps = 1 if device.type == "cpu" else 30
    ms = [1e3 * meta_step.seconds_per_step(lambda n: trainer.step(n) and None, steps, device) for _ in range(rounds)]
    print(json.dumps({"title": work.title, "compile_seconds": seconds, "ms": statistics.median(ms)}))


# The papers' table


def table(out: Path, device: str, *, seconds: float, quick: bool) -> None:
    """Train the rows of the table, each for its share of the seconds, and test each as soon as it is trained.

    A row that was begun before is continued. What a row leaves over is for the rows after it.

    Raises:
        ValueError: a row cannot be trained or tested; why is printed.
    """
    deadline = time.monotonic() + seconds
    for i, (name, (words, share)) in enumerate(ROWS.items()):
        later = sum(share for _, share in list(ROWS.values())[i + 1 :])
        left = deadline - time.monotonic()
        mine = left * (share / (share + later) if later else 1.0)
        folder = out / "trained" / name
        if (folder / CHECKPOINT).exists():
            note = checkpoint.load(folder / CHECKPOINT)[1]
            if note["taken"] >= note["steps"]:
                continue
            options = ["--resume", str(folder), "--minutes", str((note["seconds"] + mine) / 60)]
        else:
            tiny = ["--channels", "4", "--steps", "2", "--queries", "1"] if quick else []
            options = ["omniglot", *words.split(), *tiny, "--device", device, "--out", str(folder)]
            options += ["--minutes", str(mine / 60), "--save-every", "60"]
        if mine < LEAST:
            print(f"no time left for {name}")
            continue
        file = out / "runs" / f"{name}_{device}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        tested = ["--episodes", "2" if quick else "600", "--device", device, "--json", str(file)]
        if command_line.main(["train", *options]) == 2 or command_line.main(["evaluate", str(folder), *tested]):
            raise ValueError(f"{name} could not be trained or tested")


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m benchmarks gpu`."""
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--minutes", type=float, default=8.5, help="for everything (default: %(default)s)")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="only these (default: all)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes and one round: tries the command out")
    parser.add_argument("--out", type=Path, default=Path("build/gpu"), help="the folder (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Do the parts that are not done yet. Return 1 if a check failed, else 0.

    Raises:
        ValueError: there is no GPU here, or the minutes are not positive.
    """
    begin = time.monotonic()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: PyTorch finds no GPU here; try the command out with --device cpu --quick")
    if not 0 < options.minutes < math.inf:
        raise ValueError(f"--minutes {options.minutes} must be a number above 0")
    about = machine.about(device, ("torch", "higher", "torchopt"))
    print(f"{about['name']}, Python {about['python']}, PyTorch {about['versions']['torch']}", flush=True)
    failed = 0
    names = list(meta_step.WORKS)
    for part in options.part:
        start = time.monotonic()
        if part == "check":
            data = {"benchmark": "check", "checks": check(pictures(), device)}
            failed = sum(not found["passed"] for found in data["checks"])
            write(options, "check", data, about)
        elif part == "speed":
            quick = {"rounds": 1, "seconds": 0.0} if options.quick else {"rounds": ROUNDS, "seconds": SECONDS}
            where = {}
            for name in names:
                work = meta_step.small(meta_step.WORKS[name]) if options.quick else meta_step.WORKS[name]
                where[name] = kernels(work, device, rounds=quick["rounds"], steps=1 if options.quick else 20)
                print(json.dumps(where[name], indent=1), flush=True)
                write(options, "kernels", {"benchmark": "kernels", "works": where}, about)
            compared = {}
            for name in names:
                work = meta_step.small(meta_step.WORKS[name]) if options.quick else meta_step.WORKS[name]
                compared[name] = meta_step.compare(work, device, **quick)
                print(meta_step.table(compared[name]), flush=True)
                data = {"benchmark": "speed", "settings": meta_step.settings(**quick), "works": compared}
                write(options, "bench", data | {"first_step": {}}, about)
        elif part == "memory":
            write(options, "memory", {"benchmark": "memory"} | meta_step.memory(device, quick=options.quick), about)
        elif part == "compiled":
            works = names[:1] if options.quick else names
            data = {"benchmark": "compiled", "works": compiled(works, device, quick=options.quick)}
            write(options, "compiled", data, about)
        else:
            left = 60 * options.minutes - (time.monotonic() - begin)
            table(options.out, options.device, seconds=1000 if options.quick else left, quick=options.quick)
        print(f"{part}: {time.monotonic() - start:.0f} s", flush=True)
    return 1 if failed else 0


def pictures() -> Characters:
    """Return Omniglot's training characters, or glyphs where it cannot be had: what is checked is the arithmetic."""
    try:
        return omniglot.load()[0]
    except omniglot.OmniglotNotFound as reason:
        print(f"Omniglot could not be loaded, so the checks run on glyphs. {reason}")
        return glyphs.draw(alphabets=10, seed=0)


def write(options: argparse.Namespace, kind: str, data: dict[str, Any], about: dict[str, Any]) -> None:
    """Write a part's file."""
    options.out.mkdir(parents=True, exist_ok=True)
    data = {"benchmark": data["benchmark"], "quick": options.quick, "machine": about} | data
    text = json.dumps(data, indent=1, ensure_ascii=False)
    replace_file(options.out / f"{kind}-{options.device}.json", f"{text}\n".encode())
