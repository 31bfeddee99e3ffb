"""How fast is the engine, and how much memory does it need? Its meta-step is compared with other implementations.

python -m benchmarks meta-step             # time of a meta-step, next to four other implementations
python -m benchmarks meta-step --memory    # peak memory of 1 to 50 inner steps, next to create_graph

Every contestant gets the same episode, the same starting weights and the same Adam. It is timed only if its
meta-gradient equals ours in float64. The pictures are random noise, because the time does not depend on what they show.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.peers import BACKWARDS, PEERS, as_module, in_our_layout
from metalab.analysis.second_order import meta_loss
from metalab.experiments import machine
from metalab.files import replace_file
from metalab.learners.maml import MAML
from metalab.losses import cross_entropy, mse
from metalab.nets import MLP, Conv4, Params
from metalab.tasks import Characters, Episode, sine
from metalab.train import Trainer

OURS, FIRST_ORDER, SAMPLING = "metalab", "metalab, first order", "metalab, with sampling"
FLOOR = "matrix products alone"  # of our meta-gradient, on tensors of the same shapes
BY_AUTOGRAD = "metalab, by autograd"  # the same recursion without `engine.layers`: are they worth their lines?
SECONDS = 0.3  # of work per round for each contestant, unless one meta-step takes longer
OUTER_LR = 1e-6  # so small that the weights hardly move and every step is the same work for everybody
TakeSteps = Callable[[int], None]  # takes the given number of meta-steps
TOLERANCE = 1e-8  # relative, in float64
LOSSES = {mse: F.mse_loss, cross_entropy: F.cross_entropy}  # our losses, and the same losses for one task
FIRST_STEP_GOAL = 2.0  # seconds on the CPU, not counting the import
INNER_STEPS = (1, 2, 5, 10, 20, 50)  # for the measurement of memory


# The work


@dataclass(frozen=True)
class WithoutChain:
    """A network as it is, but without layers whose derivatives are written out: autograd differentiates it."""

    net: MLP | Conv4

    def init(self, generator: torch.Generator) -> Params:
        """Draw the network's parameters."""
        return self.net.init(generator)

    def __call__(self, params: Params, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """Return the network's outputs."""
        return self.net(params, x, context=context)

    def chain(self, x: Tensor) -> None:
        """Return None: there are no such layers."""
        return None


@dataclass(frozen=True)
class Work:
    """One second-order MAML meta-step, and the goals for its speed.

    For each kind of device, `goals` holds the factors by which our step should be faster than each peer's. Under "ms"
    stands the time in milliseconds that our step should not exceed, and under `FLOOR` how many times as long as its
    matrix products alone it may take.
    """

    title: str
    net: MLP | Conv4
    loss: Callable[[Tensor, Tensor], Tensor]
    inner_lr: float
    inner_steps: int
    tasks: int
    shots: int
    queries: int  # per class
    ways: int = 1
    goals: dict[str, dict[str, float]] = field(default_factory=dict)

    def learner(self, order: int = 2) -> MAML:
        """Return our learner for this work."""
        return MAML(self.net, self.loss, self.inner_lr, self.inner_steps, order=order)

    def learner_by_autograd(self) -> MAML:
        """Return our learner for this work, with a network whose derivatives are not written out."""
        return replace(self.learner(), net=WithoutChain(self.net))

    def sampler(self, generator: torch.Generator, *, characters: int = 40) -> Callable[[torch.Generator], Episode]:
        """Return a function that draws this work's episodes on the generator's device.

        Args:
            generator: source of randomness for the characters' pictures.
            characters: the number of characters, whose pictures are random ink.
        """
        if isinstance(self.net, MLP):
            return lambda g: sine.sample(self.tasks, self.shots, self.queries, g)
        ink = torch.rand(characters, 20, 28, 28, generator=generator, device=generator.device) < 0.15
        alphabet = torch.zeros(characters, dtype=torch.long, device=generator.device)
        noise = Characters(ink.to(torch.uint8) * 255, alphabet, ("noise",), "noise")
        return lambda g: noise.sample(self.tasks, self.ways, self.shots, self.queries, g)

    def start(self, generator: torch.Generator) -> tuple[Params, Episode]:
        """Draw the parameters to start from, and an episode."""
        return self.net.init(generator), self.sampler(generator)(generator)


SINE = Work(
    "Sine, 25 tasks, 10 shots, 10 queries, 1 inner step",
    MLP(),
    mse,
    inner_lr=0.01,
    inner_steps=1,
    tasks=25,
    shots=10,
    queries=10,
    goals={"cpu": {"higher": 40, "torchopt": 25, "vmap": 3.4 / 0.6}, "cuda": {"higher": 100}},
)
OMNIGLOT = Work(
    "Omniglot 5-way 1-shot, 1 query per class, 32 tasks, 1 inner step",
    Conv4(5),
    cross_entropy,
    inner_lr=0.4,
    inner_steps=1,
    tasks=32,
    ways=5,
    shots=1,
    queries=1,
    goals={"cpu": {"torchopt": 4, "vmap": 2, FLOOR: 1.5}, "cuda": {"higher": 200, "ms": 1.5}},
)
WORKS = {
    "sine": SINE,
    "sine-5-steps": replace(SINE, title=SINE.title.replace("1 inner step", "5 inner steps"), inner_steps=5, goals={}),
    "omniglot": OMNIGLOT,
    "omniglot-15-queries": replace(
        OMNIGLOT,
        title=OMNIGLOT.title.replace("1 query", "15 queries"),
        queries=15,
        goals={"cpu": {"torchopt": 2.5, FLOOR: 1.5}, "cuda": {"higher": 100}},
    ),
    "omniglot-20-way": replace(
        OMNIGLOT,
        title="Omniglot 20-way 1-shot, 1 query per class, 16 tasks, 5 inner steps",
        net=Conv4(20),
        inner_lr=0.1,
        inner_steps=5,
        tasks=16,
        ways=20,
        goals={"cpu": {"torchopt": 2, FLOOR: 1.5}, "cuda": {"higher": 100, "ms": 10}},
    ),
}
MEMORY = replace(OMNIGLOT, title="Omniglot 5-way 1-shot, 1 query per class, 8 tasks", tasks=8)


def small(work: Work) -> Work:
    """Return the same work with two tasks, a narrow network and no goals, to try the command out."""
    net = replace(work.net, channels=4) if isinstance(work.net, Conv4) else work.net
    return replace(work, title=f"Tiny, only to try: {work.title}", tasks=2, net=net, goals={})


# The contestants


def with_us(
    work: Work,
    params: Params,
    sample: Callable[[torch.Generator], Episode],
    device: torch.device,
    learner: MAML | None = None,
) -> TakeSteps:
    """Take meta-steps by our trainer.

    On a GPU it replays a CUDA graph, and takes all the steps before it reads the loss.
    """
    trainer = Trainer(learner or work.learner(), sample, outer_lr=OUTER_LR, params=params, device=device)

    def run(steps: int) -> None:
        for _ in trainer.run(steps, every=steps if device.type == "cuda" else 1):
            pass

    return run


class Products(TorchDispatchMode):
    """A context that notes the shapes and the strides of all matrix products in it."""

    KINDS: ClassVar = {"mm": torch.mm, "bmm": torch.bmm, "baddbmm": torch.bmm, "baddbmm_": torch.bmm}

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[tuple[torch.Size, tuple[int, ...]], ...]]] = []

    def __torch_dispatch__(self, function: Any, types: Any, arguments: tuple = (), options: dict | None = None) -> Any:
        name = function.overloadpacket.__name__
        if name in self.KINDS:
            self.found.append((name, tuple((factor.shape, factor.stride()) for factor in arguments[-2:])))
        return function(*arguments, **(options or {}))


def products_alone(work: Work, params: Params, episode: Episode) -> TakeSteps:
    """Do the matrix products of our meta-gradient and nothing else: no engine of such products can be faster.

    Products of the same shapes take their factors from the same memory, so that they find them in the cache.
    """
    with Threads(1), Products() as products:  # with several threads, others than this one would do some of them
        work.learner().meta_gradient(params, episode)
    factors: dict[Any, Tensor] = {}
    calls = []
    for name, shapes in products.found:
        for i, (size, stride) in enumerate(shapes):
            if (i, size, stride) not in factors:
                once = [n if step else 1 for n, step in zip(size, stride, strict=True)]  # weights that all tasks share
                factor = torch.empty_strided(once, stride, device=episode.support_x.device).uniform_(-1, 1)
                factors[i, size, stride] = factor.expand(size)
        calls.append((Products.KINDS[name], *(factors[i, *about] for i, about in enumerate(shapes))))

    def run(steps: int) -> None:
        for _ in range(steps):
            for product, a, b in calls:
                product(a, b)

    return run


def peer(name: str, work: Work, params: Params, episode: Episode) -> tuple[nn.Module, dict[str, Callable[[], None]]]:
    """Return a peer's model, and for each way to go backward a function that leaves the gradient in its `.grad`."""
    model = as_module(work.net, params)
    task_losses = PEERS[name](model, LOSSES[work.loss], episode, work.inner_lr, work.inner_steps)
    return model, {way: partial(backward, model, episode.tasks, task_losses) for way, backward in BACKWARDS.items()}


def with_peer(name: str, work: Work, params: Params, episode: Episode) -> dict[str, TakeSteps]:
    """Take the same meta-steps by a peer, for each way to go backward."""
    model, ways = peer(name, work, params, episode)
    optimizer = torch.optim.Adam(model.parameters(), lr=OUTER_LR, fused=True)

    def run(meta_gradient: Callable[[], None], steps: int) -> None:
        for _ in range(steps):
            meta_gradient()
            optimizer.step()

    return {way: partial(run, meta_gradient) for way, meta_gradient in ways.items()}


def difference(name: str, work: Work, params: Params, episode: Episode) -> float:
    """Return the relative difference between a peer's meta-gradient and ours, for two of the tasks in float64."""
    params, episode = {n: p.double() for n, p in params.items()}, episode[:2].to(torch.float64)
    grads, _metrics = work.learner().meta_gradient(params, episode)
    ours = torch.cat([grads[n].flatten() for n in params])
    model, ways = peer(name, work, params, episode)
    errors = []
    for meta_gradient in ways.values():
        meta_gradient()
        theirs = torch.cat([in_our_layout(p.grad).flatten() for p in model.parameters()])
        errors.append(((theirs - ours).norm() / ours.norm()).item())
    return max(errors)


def enter(name: str, work: Work, params: Params, episode: Episode, device: torch.device) -> dict[str | None, TakeSteps]:
    """Return the functions by which a contestant takes meta-steps.

    A peer has one for each way to go backward. Our own contestants have one, under None.
    """
    if name in PEERS:
        return with_peer(name, work, params, episode)
    if name == SAMPLING:
        # Omniglot has about as many characters for training, if rotations are included.
        sample = work.sampler(torch.Generator(device).manual_seed(1), characters=4400)
    else:
        sample = lambda _generator: episode  # noqa: E731
    if name == FLOOR:
        return {None: products_alone(work, params, episode)}
    learners = {FIRST_ORDER: work.learner(order=1), BY_AUTOGRAD: work.learner_by_autograd()}
    return {None: with_us(work, params, sample, device, learners.get(name))}


# Timing


def seconds_per_step(run: TakeSteps, steps: int, device: torch.device) -> float:
    """Take `steps` meta-steps, and return the mean time of one in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run(steps)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps


@dataclass
class Entry:
    """A contestant that is ready to be timed, in the way and with the number of threads that suit it best."""

    run: TakeSteps
    way: str | None  # a peer's way to go backward
    threads: int
    steps: int  # per round
    rounds: list[float] = field(default_factory=list)  # each round's time of a meta-step, in milliseconds

    @classmethod
    def prepare(cls, runs: dict[str | None, TakeSteps], device: torch.device, *, seconds: float) -> Entry:
        """Warm up, then choose the fastest way and number of threads, and as many steps as take `seconds`."""
        everybody = torch.get_num_threads()
        times = {}
        for way, run in runs.items():
            run(1)  # not timed, because code is loaded and memory is reserved in it
            for threads in {1, everybody} if device.type == "cpu" else {everybody}:
                with Threads(threads):
                    once = seconds_per_step(run, 1, device)
                    steps = round(seconds / once)
                    times[way, threads] = seconds_per_step(run, steps, device) if steps > 1 else once
        way, threads = min(times, key=times.get)
        return cls(runs[way], way, threads, max(1, round(seconds / times[way, threads])))

    def round(self, device: torch.device) -> None:
        """Time one round."""
        with Threads(self.threads):
            self.rounds.append(1e3 * seconds_per_step(self.run, self.steps, device))

    def result(self) -> dict[str, Any]:
        """Return the median, the fastest and the slowest round, in milliseconds a meta-step, and what was chosen."""
        ms = self.rounds
        chosen = {"backward": self.way, "threads": self.threads, "steps_per_round": self.steps}
        return {"ms": statistics.median(ms), "min": min(ms), "max": max(ms), "rounds": ms, **chosen}


class Threads:
    """A context in which PyTorch uses the given number of threads; afterwards it uses as many as before."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def __enter__(self) -> None:
        self.before = torch.get_num_threads()
        torch.set_num_threads(self.threads)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.before)


def compare(work: Work, device: torch.device, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Time all contestants at `work` in turn, and compare the ratios of their times with the goals.

    Returns:
        The result or the error of each contestant, by name; the time of each peer as a multiple of ours (on a GPU,
        of ours with sampling); and the goals for this kind of device, each with the value reached.
    """
    params, episode = work.start(torch.Generator(device).manual_seed(0))
    names = [OURS, FIRST_ORDER, BY_AUTOGRAD, *PEERS, SAMPLING if device.type == "cuda" else FLOOR]
    entries: dict[str, Entry] = {}
    results: dict[str, dict[str, Any]] = {name: {} for name in names}
    for name in names:
        try:
            if name in PEERS:
                results[name]["difference"] = error = difference(name, work, params, episode)
                if not error <= TOLERANCE:
                    raise RuntimeError(f"its meta-gradient differs from ours by {error:.1e}: not timed")
            entries[name] = Entry.prepare(enter(name, work, params, episode, device), device, seconds=seconds)
        except (ImportError, RuntimeError) as reason:  # not installed, or it cannot do this work
            results[name]["error"] = str(reason).splitlines()[0]
    for _ in range(rounds):  # round by round, so that a disturbance affects all alike
        for entry in entries.values():
            entry.round(device)
    for name, entry in entries.items():
        results[name] |= entry.result()

    ms = {name: result["ms"] for name, result in results.items() if "ms" in result}
    ours = ms.get(SAMPLING, ms.get(OURS))
    ratios = {name: time / ours for name, time in ms.items() if name in (BY_AUTOGRAD, *PEERS, FLOOR)} if ours else {}
    return {
        "title": work.title,
        "inner_lr": work.inner_lr,
        "contestants": results,
        "ratios": ratios,
        "goals": [judge(of, goal, ours, ratios) for of, goal in work.goals.get(device.type, {}).items()],
    }


# The kinds of work of PyTorch's operators, by patterns of their names
KINDS = {
    "matrix products": r"(b|add|badd)?b?mm_?|mv|dot|_mkldnn.*",
    "copies": r"copy_|clone|contiguous|cat|stack|im2col|col2im|index.*|gather|scatter.*|.*pad.*|.*unfold.*",
    "zeros": r"zero_|zeros.*|fill_|full.*|new_zeros|masked_fill.*",
    "sums": r"sum|mean|amax|max.*|norm|var.*|.*logsumexp|.*log_softmax.*|_?softmax",
    "numbers one by one": r"(add|sub|mul|div|neg|sqrt|rsqrt|pow|addcmul|addcdiv|where|eq|ne|gt|ge|lt|le|relu|clamp|lerp"
    r"|square|reciprocal|exp|log|maximum|threshold.*|clamp_min|rsub)_?",
}


def where_the_time_goes(work: Work, device: torch.device, *, steps: int = 5) -> dict[str, float]:
    """Profile our meta-gradient, and return the share of each kind of work in the time that operators take.

    PyTorch's own profiler measures it. Whatever has none of KINDS is called "other", most of which is views.
    """
    learner, (params, episode) = work.learner(), work.start(torch.Generator(device).manual_seed(0))
    learner.meta_gradient(params, episode)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(steps):
            learner.meta_gradient(params, episode)
    found: dict[str, float] = {}
    for event in profile.key_averages():
        name = event.key.removeprefix("aten::")
        kind = next((kind for kind, pattern in KINDS.items() if re.fullmatch(pattern, name)), "other")
        found[kind] = found.get(kind, 0.0) + event.self_cpu_time_total
    return {kind: found.get(kind, 0.0) / sum(found.values()) for kind in [*KINDS, "other"]}


def judge(of: str, goal: float, ours: float | None, ratios: dict[str, float]) -> dict[str, Any]:
    """Compare a goal with the value reached.

    Args:
        of: a peer, whose time should be at least `goal` times ours; "ms": our time should be at most `goal`; or
            `FLOOR`: our time should be at most `goal` times its.
        goal: the goal.
        ours: our time in milliseconds, or None if it was not measured.
        ratios: the times of the peers as multiples of ours.
    """
    reached = ours if of == "ms" else ratios.get(of)
    if of == FLOOR and reached is not None:
        reached = 1 / reached
    met = reached is not None and (reached <= goal if of in ("ms", FLOOR) else reached >= goal)
    return {"of": of, "goal": goal, "reached": reached, "met": met}


FIRST_STEP = """
import sys, time
start = time.perf_counter()
from benchmarks import meta_step
imported = time.perf_counter()
meta_step.first_meta_step(sys.argv[1], sys.argv[2])
print(imported - start, time.perf_counter() - imported)
"""


def first_meta_step(name: str, device: str) -> None:
    """Take one meta-step of a work from `WORKS`."""
    work, device = WORKS[name], torch.device(device)
    params, episode = work.start(torch.Generator(device).manual_seed(0))
    seconds_per_step(with_us(work, params, lambda _generator: episode, device), 1, device)


def from_a_standing_start(name: str, device: torch.device, *, times: int = 3) -> dict[str, Any]:
    """Measure the start of fresh processes.

    Returns:
        The medians, in seconds, of the time to import this package and torch, and of the time from there to the end of
        the first meta-step.
    """
    runs = []
    for _ in range(times):
        arguments = [sys.executable, "-c", FIRST_STEP, name, str(device)]
        printed = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True).stdout
        runs.append([float(seconds) for seconds in printed.split()])
    imports, steps = zip(*runs, strict=True)
    about = {"import_seconds": statistics.median(imports), "step_seconds": statistics.median(steps)}
    return about | {"processes": times, "goal": FIRST_STEP_GOAL if device.type == "cpu" else None}


# Memory


def graph_over_tasks(work: Work, params: Params, episode: Episode) -> Callable[[], None]:
    """Return what we compare memory with: all tasks at once by the same network, the graph kept through all steps."""
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    return lambda: meta_loss(work.learner(), leaves, episode).backward()


def meta_gradient_by(method: str, work: Work, params: Params, episode: Episode) -> Callable[[], Any]:
    """Return a function that computes the meta-gradient by one of `MEMORY_METHODS`."""
    if method == "create_graph":
        return graph_over_tasks(work, params, episode)
    return partial(work.learner(1 if method == FIRST_ORDER else 2).meta_gradient, params, episode)


MEMORY_METHODS = (OURS, FIRST_ORDER, "create_graph")


def resident_peak() -> int:
    """Return the largest number of bytes that this process has had in memory so far."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, `getrusage` starts from the peak of the process that started this one
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return 1024 * int(line.split()[1])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # this is in bytes on macOS


def peak_of(method: str, work: Work, device: torch.device) -> int:
    """Return the bytes that one meta-gradient needs at its peak, beyond those in use before.

    On a CPU this can be measured only once in a process.
    """
    params, episode = work.start(torch.Generator(device).manual_seed(0))
    tiny = replace(small(work), inner_steps=1)
    meta_gradient_by(method, tiny, *tiny.start(torch.Generator(device).manual_seed(0)))()  # loads all code
    meta_gradient = meta_gradient_by(method, work, params, episode)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        meta_gradient()
        return torch.cuda.max_memory_allocated(device) - before
    before = resident_peak()
    meta_gradient()
    return resident_peak() - before


PEAK = """
import sys, torch
from dataclasses import replace
from benchmarks import meta_step
method, inner_steps, quick = sys.argv[1:]
work = meta_step.small(meta_step.MEMORY) if quick == "quick" else meta_step.MEMORY
print(meta_step.peak_of(method, replace(work, inner_steps=int(inner_steps)), torch.device("cpu")))
"""


def memory(device: torch.device, *, quick: bool = False) -> dict[str, Any]:
    """Measure the peak memory of each method and number of inner steps; on a CPU, each in a process of its own."""

    def peak(method: str, work: Work) -> int:
        if device.type == "cuda":
            return peak_of(method, work, device)
        arguments = [sys.executable, "-c", PEAK, method, str(work.inner_steps), "quick" if quick else "full"]
        return int(subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True).stdout)

    inner_steps = INNER_STEPS[:1] if quick else INNER_STEPS
    work = small(MEMORY) if quick else MEMORY
    peaks: dict[str, list[int]] = {method: [] for method in MEMORY_METHODS}
    for steps in inner_steps:
        for method in MEMORY_METHODS:
            peaks[method].append(peak(method, replace(work, inner_steps=steps)))
            print(f"{steps:3} inner steps  {method:22} {peaks[method][-1] / 2**20:8.1f} MiB", flush=True)
    numbers = sum(p.numel() for p in work.net.init(torch.Generator()).values())
    return {
        "title": work.title,
        "inner_steps": list(inner_steps),
        "peak_bytes": peaks,
        "adapted_parameters_bytes": 4 * work.tasks * numbers,  # of all tasks, for one inner step
    }


# The command


def speed(names: list[str], device: torch.device, *, rounds: int, quick: bool = False) -> dict[str, Any]:
    """Time the named works and the first meta-step of a fresh process, and print each result at once."""
    rounds, seconds = (1, 0.0) if quick else (rounds, SECONDS)
    works, first = {}, {}
    for name in names:
        works[name] = compare(small(WORKS[name]) if quick else WORKS[name], device, rounds=rounds, seconds=seconds)
        if device.type == "cpu":
            works[name]["time"] = where_the_time_goes(small(WORKS[name]) if quick else WORKS[name], device)
        print(table(works[name]), flush=True)
    for name in [name for name in ("sine", "omniglot") if name in names]:
        first[name] = from_a_standing_start(name, device, times=1 if quick else 3)
        words = "{step_seconds:.2f} s after {import_seconds:.2f} s of import".format(**first[name])
        print(f"first meta-step, {name}: {words}", flush=True)
    return {"settings": settings(rounds=rounds, seconds=seconds), "works": works, "first_step": first}


def settings(*, rounds: int, seconds: float) -> dict[str, Any]:
    """Return how the works were timed, for the results page."""
    return {"rounds": rounds, "seconds_per_round": seconds, "dtype": "float32", "outer_lr": OUTER_LR}


def table(result: dict[str, Any]) -> str:
    """Return the result of one work as text."""
    lines = [result["title"], f"  {'':22} {'ms':>9} {'min':>9} {'max':>9} {'threads':>8} {'times ours':>11}"]
    for name, r in result["contestants"].items():
        if "error" in r:
            lines.append(f"  {name:22} {r['error']}")
        else:
            ratio = f"{result['ratios'][name]:11.1f}" if name in result["ratios"] else ""
            lines.append(
                f"  {name:22} {r['ms']:9.3f} {r['min']:9.3f} {r['max']:9.3f} {r['threads']:8} {ratio}".rstrip()
            )
    lines += [f"  goal: {goal_text(goal)}" for goal in result["goals"]]
    if "time" in result:
        lines.append(f"  our time goes into {', '.join(f'{kind} {s:.0%}' for kind, s in result['time'].items())}")
    return "\n".join(lines)


def goal_text(goal: dict[str, Any]) -> str:
    """Return a goal in words: `at least 4 times torchopt: 4.8, reached`."""
    sign, unit = {"ms": ("at most", " ms"), FLOOR: ("at most", f" times {FLOOR}")}.get(
        goal["of"], ("at least", f" times {goal['of']}")
    )
    what = f"{sign} {goal['goal']:.3g}{unit}"
    if goal["reached"] is None:
        return f"{what}: not measured"
    return f"{what}: {goal['reached']:.3g}, {'reached' if goal['met'] else 'missed'}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m benchmarks meta-step`."""
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=9, help="times that every contestant's turn comes (default 9)")
    parser.add_argument("--work", nargs="+", choices=list(WORKS), default=list(WORKS), help="only these (default: all)")
    parser.add_argument("--memory", action="store_true", help="measure peak memory over inner steps instead of time")
    parser.add_argument("--quick", action="store_true", help="tiny sizes and one round: tries the command out")
    parser.add_argument(
        "--out", type=Path, help="the JSON file to write (default build/bench.json or build/memory.json)"
    )


def run(options: argparse.Namespace) -> int:
    """Measure, print the results and write them to a file.

    Raises:
        ValueError: there is no GPU here, or the number of rounds is less than 1.
    """
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {options.device}: PyTorch finds no such GPU here; leave it out to measure the CPU")
    if options.rounds < 1:
        raise ValueError(f"--rounds {options.rounds} must be at least 1")
    where = machine.about(device, ("torch", "higher", "torchopt"))
    data = {"benchmark": "memory" if options.memory else "speed", "quick": options.quick, "machine": where}
    if options.memory:
        data |= memory(device, quick=options.quick)
    else:
        data |= speed(options.work, device, rounds=options.rounds, quick=options.quick)
    out = options.out or Path("build") / ("memory.json" if options.memory else "bench.json")
    replace_file(out, f"{json.dumps(data, indent=1, ensure_ascii=False)}\n".encode())
    print(f"written to {out}")
    return 0
