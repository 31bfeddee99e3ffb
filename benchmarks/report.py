"""Write the page of results from the files that the commands wrote. No number on the page is typed by hand.

python -m benchmarks meta-step --out results/bench-cpu.json              # these three write the files
python -m benchmarks meta-step --memory --out results/memory-cpu.json
python -m benchmarks gpu --out results                              # on a GPU
python -m benchmarks challenge --device cuda --json results/challenge-cuda.json
python -m metalab evaluate DIR --json results/runs/NAME.json
python -m benchmarks report                                         # this writes results/README.md and its figures
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import mean, median, quantiles
from typing import TYPE_CHECKING, Any

from benchmarks.challenge import PARTS, WITHOUT
from benchmarks.false_alarms import states
from benchmarks.margins import NEEDED, by_lesson, judged
from benchmarks.meta_step import FIRST_ORDER, FLOOR, OURS, PEERS, SAMPLING
from benchmarks.speedrun import LEVELS, SETTINGS, by_setting, spread, to_level
from metalab.analysis.paired import Interval
from metalab.experiments.progress import duration
from metalab.experiments.recipes import RECIPES, paper
from metalab.experiments.runs import RATES, in_words
from metalab.files import replace_file
from metalab.lessons.learning_to_act import bandit_figures as of_bandits
from metalab.lessons.learning_to_act import figures as acting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTES = "notes.md"  # the findings in prose, which are part of the page
NO_MATTER = ("tasks", "algorithm", "ways", "shots", "steps", "minutes", "save_every", "device")


# Published results


@dataclass(frozen=True)
class Published:
    """A score that a paper reports.

    `inner_steps` is the number of inner steps in the test; None if there are none, or if our number may differ from the
    paper's.
    """

    tasks: str
    algorithm: str
    ways: int | None
    shots: int
    inner_steps: int | None
    score: str
    source: str


FINN = "Finn, Abbeel & Levine 2017"
NICHOL = "Nichol, Achiam & Schulman 2018"
RAGHU = "Raghu et al. 2020"
SNELL = "Snell, Swersky & Zemel 2017"
HOW_PUBLISHED = {
    FINN: "MAML. Sine: 70,000 meta-steps. Omniglot: 60,000; training and test characters split at random, not by "
    "alphabet; each class of a task turned by a random multiple of 90°, in tests too; as many queries per class as "
    "shots; each query batch normalised by its own statistics; 600 test tasks. Read in a transcription of the paper "
    "and in its code.",
    NICHOL: "first-order MAML, in the paper on Reptile. Read in a transcription.",
    RAGHU: "ANIL. Read in the reference code.",
    SNELL: "prototypical networks. 60-way training episodes; characters parted as by Vinyals et al. 2016, with "
    "rotations by 90° as classes of their own; 5 queries per class; running statistics in tests; 1,000 test tasks. "
    "Read in the reference code.",
}
PUBLISHED = [
    Published("sine", "maml", None, 5, 1, "0.67", FINN),
    Published("sine", "maml", None, 5, 5, "0.38", FINN),
    Published("sine", "maml", None, 5, 10, "0.35", FINN),
    Published("sine", "joint", None, 5, 1, "2.41", FINN),
    Published("sine", "joint", None, 5, 5, "2.23", FINN),
    Published("sine", "joint", None, 5, 10, "2.19", FINN),
    Published("omniglot", "maml", 5, 1, 3, "98.7 ± 0.4 %", FINN),
    Published("omniglot", "maml", 5, 5, 3, "99.9 ± 0.1 %", FINN),
    Published("omniglot", "maml", 20, 1, 5, "95.8 ± 0.3 %", FINN),
    Published("omniglot", "maml", 20, 5, 5, "98.9 ± 0.2 %", FINN),
    Published("omniglot", "fomaml", 5, 1, None, "98.3 ± 0.5 %", NICHOL),
    Published("omniglot", "fomaml", 5, 5, None, "99.2 ± 0.2 %", NICHOL),
    Published("omniglot", "fomaml", 20, 1, None, "89.4 ± 0.5 %", NICHOL),
    Published("omniglot", "fomaml", 20, 5, None, "97.9 ± 0.1 %", NICHOL),
    Published("omniglot", "anil", 20, 1, None, "96.2 ± 0.5 %", RAGHU),
    Published("omniglot", "anil", 20, 5, None, "98.0 ± 0.3 %", RAGHU),
    Published("omniglot", "prototypical", 5, 1, None, "98.8 %", SNELL),
    Published("omniglot", "prototypical", 5, 5, None, "99.7 %", SNELL),
    Published("omniglot", "prototypical", 20, 1, None, "96.0 %", SNELL),
    Published("omniglot", "prototypical", 20, 5, None, "98.9 %", SNELL),
]
# Errors in the author's challenge, in percent, after training on the 30 background alphabets or on a minimal set of 5.
CHALLENGE = [
    ("people", "4.5", "", "Lake, Salakhutdinov & Tenenbaum 2015"),
    ("BPL, which has seen the strokes", "3.3", "4.2", "Lake et al. 2015; minimal: Lake et al. 2019"),
    ("Siamese network", "8.0", "", "Koch, Zemel & Salakhutdinov 2015"),
    ("ARC, attentive recurrent comparators", "1.5", "", "Shyam, Gupta & Dukkipati 2017"),
    ("simple convolutional network", "13.5", "23.2", "Lake et al. 2019"),
    ("prototypical network", "13.7", "30.1", "Lake et al. 2019"),
]
FULL = "full recipe"
UNTRAINED = {"views": "without views", "averaged weights": "without averaged weights"}  # left out of the test alone


def published(tasks: str, algorithm: str, protocol: dict[str, Any]) -> Published | None:
    """Return the published score for such a test, or None if there is none.

    All published scores are for characters of any alphabets.
    """
    if protocol.get("characters of", "any alphabets") != "any alphabets":
        return None
    for known in PUBLISHED:
        steps = known.inner_steps or protocol.get("inner steps")
        tested = (tasks, algorithm, protocol.get("ways"), protocol["shots"], protocol.get("inner steps"))
        if tested == (known.tasks, known.algorithm, known.ways, known.shots, steps):
            return known
    return None


# The measurements


@dataclass(frozen=True)
class Measured:
    """One of the JSON files: its name without `.json`, its content, and the SHA-256 of its content."""

    name: str
    data: dict[str, Any]
    fingerprint: str

    @classmethod
    def read(cls, path: Path, command: str, *keys: str) -> Measured:
        """Read the file at `path`.

        Args:
            path: the file.
            command: the command that writes such files, for the messages.
            keys: what the file must contain.

        Raises:
            ValueError: the file is not JSON, lacks one of the `keys`, or was measured with --quick.
        """
        raw = path.read_bytes()
        try:
            data = json.loads(raw)
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        missing = [key for key in keys if key not in data]
        if missing:
            raise ValueError(f"{path} has no {missing[0]!r}: write it by `{command}`")
        if data.get("quick"):
            raise ValueError(f"{path} was measured with --quick, which only tries the command out: measure without")
        return cls(path.stem, data, hashlib.sha256(raw).hexdigest())


@dataclass(frozen=True)
class Measurements:
    """All the files in the folder of results, and the findings in prose."""

    speed: list[Measured]
    memory: list[Measured]
    panels: list[Measured]
    keys: list[Measured]
    alarms: list[Measured]
    margins: list[Measured]
    checks: list[Measured]
    kernels: list[Measured]
    compiled: list[Measured]
    speedruns: list[Measured]
    challenges: list[Measured]
    runs: list[Measured]
    notes: str

    @classmethod
    def read(cls, folder: Path) -> Measurements:
        """Read all the files in `folder`.

        Raises:
            ValueError: a file is not what a command wrote.
        """
        notes = folder / NOTES

        def files(pattern: str, command: str, *keys: str) -> list[Measured]:
            return [Measured.read(path, command, *keys) for path in sorted(folder.glob(pattern))]

        return cls(
            files("bench-*.json", "python -m benchmarks meta-step", "machine", "works"),
            files("memory-*.json", "python -m benchmarks meta-step --memory", "machine", "peak_bytes"),
            files("panels-*.json", "make panels", "machine", "trainings", "answers"),
            files("keys-*.json", "make keys", "machine", "keys"),
            files("false-alarms.json", "make false-alarms", "machine", "steps", "runs"),
            files("margins-*.json", "make margins", "machine", "runs"),
            files("check-*.json", "python -m benchmarks gpu", "machine", "checks"),
            files("kernels-*.json", "python -m benchmarks gpu", "machine", "works"),
            files("compiled-*.json", "python -m benchmarks gpu", "machine", "works"),
            files("speedrun-*.json", "make speedrun", "machine", "runs"),
            files("challenge-*.json", "make challenge", "machine", "runs"),
            files("runs/*.json", "python -m metalab evaluate --json", "trained", "results"),
            notes.read_text().strip() if notes.exists() else "",
        )


# The page


def page(measured: Measurements) -> str:
    """Return the text of the page, in Markdown."""
    sections = {
        "Trained networks": networks(measured.runs),
        "The author's one-shot challenge": (part for found in measured.challenges for part in challenge(found)),
        "Learning to act": learning_to_act(),
        "Speed": (part for bench in measured.speed for part in speed(bench)),
        "Learning per second": (part for run in measured.speedruns for part in learning(run)),
        "On a GPU": (part for part in on_a_gpu(measured)),
        "Memory": (part for memory in measured.memory for part in peaks(memory)),
        "Panels": chain(
            (part for panels in measured.panels for part in panel_costs(panels)),
            (part for keys in measured.keys for part in key_times(keys)),
        ),
        "Sound learners under examination": (part for found in measured.alarms for part in false_alarms(found)),
        "The lessons' checks over seeds": (part for found in measured.margins for part in margins_of(found)),
        "Findings": [measured.notes] if measured.notes else [],
        "Not measured": not_measured(measured),
    }
    parts = [
        "# Results",
        "`python -m benchmarks report` writes this page from the files next to it, which the commands named below "
        f"wrote: measure again to change this page. Only the findings are written by hand, in `{NOTES}`.",
    ]
    for title, section in sections.items():
        if paragraphs := list(section):
            parts += [f"## {title}", *paragraphs]
    return "\n\n".join(parts) + "\n"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def networks(runs: list[Measured]) -> Iterator[str]:
    """Yield how each network was trained and what it scored, next to the published scores."""
    sources = set()
    for tasks, title in (("sine", "Sine regression"), ("omniglot", "Omniglot")):
        chosen = [run for run in runs if run.data["trained"]["tasks"] == tasks]
        if not chosen:
            continue
        yield f"### {title}"
        header = ["network", "trained by", "meta-steps", "in", "on"]
        yield table(header, [training(run.data["trained"]) for run in chosen])
        tests = [(run.data["trained"], result) for run in chosen for result in run.data["results"]]
        protocols = [result["protocol"] for _, result in tests]
        keys = list(dict.fromkeys(key for protocol in protocols for key in protocol))
        common = [key for key in keys if len({str(protocol.get(key)) for protocol in protocols}) == 1]
        varied = [key for key in keys if key not in common]
        same = ", ".join(f"{key}: {protocols[0][key]}" for key in common)
        yield f"Tested on tasks never trained on (mean ± 95 % confidence interval); {same}."
        rows = []
        for trained, result in tests:
            protocol = result["protocol"]
            other = published(tasks, trained["algorithm"], protocol)
            sources |= {other.source} if other else set()
            cells = [str(protocol.get(key, "")) for key in varied]
            rows.append([label(trained), *cells, score(result), other.score if other else ""])
        yield table(["network", *varied, tests[0][1]["measure"], "published"], rows)
    if sources:
        yield "The published numbers, and how they came about:"
        yield "\n".join(f"- {source}: {what}" for source, what in HOW_PUBLISHED.items() if source in sources)


def training(trained: dict[str, Any]) -> list[str]:
    """Return the table row on a network's training, from its checkpoint's note."""
    taken, planned = trained["taken"], trained["steps"]
    steps = f"{taken:,}" if taken == planned else f"{taken:,} of {planned:,}"
    cores = trained["threads"] * trained["processes"]
    where = f"{trained['machine']}, {cores} thread{'s' * (cores != 1)}, PyTorch {trained['torch']}"
    return [label(trained), f"`{command(trained)}`", steps, duration(trained["seconds"]), where]


def of_the_paper(trained: dict[str, Any]) -> dict[str, Any]:
    """Return the paper's settings for a network's algorithm, tasks, ways and shots."""
    return paper(trained["tasks"], trained["algorithm"], ways=trained["ways"], shots=trained["shots"])


def label(trained: dict[str, Any]) -> str:
    """Return a network's label: `MAML, 5-way 1-shot`, the settings that differ from the paper's, and its history."""
    happened = list(map(in_words, trained.get("history", [])))
    trained = at_the_start(trained)
    ways = f"{trained['ways']}-way " if trained["ways"] else ""
    default = of_the_paper(trained)
    differs = [
        f"{name.replace('_', ' ')} {trained[name]}"
        for name in default
        if name not in NO_MATTER and trained.get(name, default[name]) != default[name]
    ]
    return ", ".join([RECIPES[trained["algorithm"]].title, f"{ways}{trained['shots']}-shot", *differs, *happened])


def at_the_start(trained: dict[str, Any]) -> dict[str, Any]:
    """Return a note with the rates that the training began with."""
    for event in reversed(trained.get("history", [])):
        trained = trained | {name: event[name][0] for name in RATES if name in event}
    return trained


def command(trained: dict[str, Any]) -> str:
    """Return the shortest command that trains with the settings at the start."""
    trained = at_the_start(trained)
    first = paper(trained["tasks"], trained["algorithm"])
    default = of_the_paper(trained) | {name: first[name] for name in ("ways", "shots") if name in first}
    several = ["torchrun", "--nproc-per-node", str(trained["processes"])]
    words = [*(several if trained["processes"] > 1 else ["python"]), "-m", "metalab", "train", trained["tasks"]]
    if trained["algorithm"] != "maml":
        words += ["--algorithm", trained["algorithm"]]
    for name, usual in default.items():
        if trained.get(name, usual) != usual and name != "save_every":
            words += [f"--{name.replace('_', '-')}", f"{trained[name]:g}" if name == "minutes" else str(trained[name])]
    return shlex.join(words)


def score(result: dict[str, Any]) -> str:
    """Return a mean and its confidence interval: an accuracy in percent, or an error."""
    if result["measure"] == "accuracy":
        return f"{100 * result['mean']:.1f} ± {100 * result['ci95']:.1f} %"
    return f"{result['mean']:.2f} ± {result['ci95']:.2f}"


def on(machine: dict[str, Any]) -> str:
    """Return in words the machine and the versions that a measurement was made with."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return f"{machine['name']}; Python {machine['python']}, {versions}"


def speed(bench: Measured) -> Iterator[str]:
    """Yield the paragraphs on the speed on one device."""
    data = bench.data
    settings = data["settings"]
    yield f"### {data['machine']['name']}"
    yield (
        f"`python -m benchmarks meta-step --device {data['machine']['device']}` on {on(data['machine'])}. This is one "
        f"second-order meta-step, Adam included, in {settings['dtype']}: the median of {settings['rounds']} rounds, in "
        "which the contestants take turns, and the fastest and the slowest round. All start from the same weights on "
        "the same episode, and their meta-gradients were equal in float64 before anything was timed. Each contestant "
        "has the thread count that suits it best, and each peer the better of going backward task by task or all at "
        "once. Pictures are random noise."
    )
    yield f"![{speed_alt(bench)}]({bench.name}.svg)"
    rows = []
    for work in data["works"].values():
        goals = {goal["of"]: goal for goal in work["goals"]}
        for i, (name, r) in enumerate(work["contestants"].items()):
            goal = goals.get("ms" if name == SAMPLING else name)
            rows.append([work["title"] if i == 0 else "", name, *timing(r, work["ratios"].get(name)), verdict(goal)])
    yield table(["work", "by", "ms", "fastest … slowest", "threads", "times metalab's", "goal"], rows)
    profiles = [(work["title"], work["time"]) for work in data["works"].values() if "time" in work]
    if profiles:
        yield (
            "Where the time of our meta-gradient goes, by PyTorch's profiler: the share of each kind of operator in "
            "the time of all operators. What Python itself takes between them is not in it."
        )
        kinds = list(profiles[0][1])
        yield table(["work", *kinds], [[title, *(f"{time[k]:.0%}" for k in kinds)] for title, time in profiles])
    for name, start in data["first_step"].items():
        goal = f" (goal: {start['goal']:g} s)" if start["goal"] else ""
        yield (
            f"The first meta-step of a fresh process, {name}: {start['step_seconds']:.2f} s{goal}, after "
            f"{start['import_seconds']:.1f} s that the import takes, most of it PyTorch's; medians of "
            f"{start['processes']} processes."
        )


def timing(result: dict[str, Any], ratio: float | None) -> list[str]:
    """Return the table cells on a contestant's time, or its error."""
    if "error" in result:
        return [result["error"], "", "", ""]
    spread = f"{milliseconds(result['min'])} … {milliseconds(result['max'])}"
    return [milliseconds(result["ms"]), spread, str(result["threads"]), f"{ratio:.1f}" if ratio else ""]


def milliseconds(value: float) -> str:
    """Return a time with three significant digits, or as a whole number from 100 on."""
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def verdict(goal: dict[str, Any] | None) -> str:
    """Return a goal, and whether it was reached, for a table cell."""
    if goal is None:
        return ""
    sign, unit = {"ms": ("≤", " ms"), FLOOR: ("≤", f" ({goal['reached'] or 0:.2f})")}.get(goal["of"], ("≥", ""))
    return f"{sign} {goal['goal']:.3g}{unit}: {'reached' if goal['met'] else 'missed'}"


def peaks(memory: Measured) -> Iterator[str]:
    """Yield the paragraphs on the peak memory on one device."""
    data = memory.data
    yield f"### {data['machine']['name']}"
    how = (
        "the growth of a fresh process's peak, for each number by itself"
        if data["machine"]["device"] == "cpu"
        else "the peak of PyTorch's allocator"
    )
    yield (
        f"`python -m benchmarks meta-step --memory --device {data['machine']['device']}` on {on(data['machine'])}: "
        f"{how}, in MiB, during one meta-gradient. {data['title']}. `create_graph` runs all the tasks at once too."
    )
    yield f"![{memory_alt(memory)}]({memory.name}.svg)"
    rows = [
        [method, *(f"{peak / 2**20:.0f}" for peak in method_peaks)]
        for method, method_peaks in data["peak_bytes"].items()
    ]
    yield table(["inner steps", *map(str, data["inner_steps"])], rows)
    step = data["adapted_parameters_bytes"] / 2**20
    yield f"The tasks' parameters, which metalab keeps for each inner step at order 2, take {step:.1f} MiB a step."


def learning(run: Measured) -> Iterator[str]:
    """Yield the paragraphs on how soon trainings reach an accuracy, on one device."""
    data = run.data
    seeds = sorted({found["seed"] for found in data["runs"]})
    yield f"### {data['machine']['name']}"
    yield (
        f"`make speedrun` on {on(data['machine'])}, seeds {seeds[0]} to {seeds[-1]}: seconds of training until 5-way "
        f"1-shot tasks of the validation alphabets ({', '.join(data['validation alphabets'])}) are answered at a "
        "level, and from then on in all later tests of the training; and the accuracy on the test alphabets at the "
        'end. Medians, and the range over the seeds; a row without ranges is of one seed. "lessons" are the settings '
        "that the lessons had when the search began. How the best were found: [speedrun-search.md](speedrun-search.md)."
    )
    rows = []
    for (learner, setting), same in by_setting(data["runs"]).items():
        goals = SETTINGS[learner][setting].goals
        cells = [to_level(same, level, goals.get(level)) for level in LEVELS]
        seconds = spread([found["seconds"] for found in same], "{:.0f}")
        tested = spread([100 * found["test"] for found in same], "{:.1f}")
        rows.append([f"{learner}, {setting}", f"{same[0]['steps']:,}", seconds, *cells, tested])
    yield table(["training", "steps", "s", *(f"{level:.0%} after s" for level in LEVELS), "test, %"], rows)


def challenge(measured: Measured) -> Iterator[str]:
    """Yield the paragraphs on the trainings for the author's one-shot challenge on one device."""
    data = measured.data
    parts = {part: [run for run in data["runs"] if run["part"] == part] for part in PARTS}
    yield f"### {data['machine']['name']}"
    yield (
        f"`python -m benchmarks challenge --device {data['machine']['device']}` on {on(data['machine'])}. The test is "
        "400 trials, each 20-way one-shot within one alphabet (20 runs of 20 trials). Each query is answered by "
        "itself, and batch norm has statistics of training pictures. The seconds are those of the training alone. "
        "Views: the embeddings of a picture and of mild distortions of it are averaged. In brackets: Wilson's 95 % "
        "interval, which tells of the 400 trials and not of how trainings differ."
    )
    met = [run for part in ("final", "minimal") for run in parts[part] if run["errors"]]
    if met:
        names = {"alphabets": "the 30 background alphabets"}
        rows = [
            [
                names.get(run["name"], f"5 alphabets, {run['name']}"),
                str(run["seed"]),
                f"{run['steps']:,}",
                f"{run['seconds']:.0f}",
                *(of_400(run["errors"][how]) for how in ("recipe", "without views")),
            ]
            for run in met
        ]
        views = met[0]["recipe"]["views"]
        yield table(["trained on", "seed", "steps", "s", f"errors with {views} views", "errors with one view"], rows)
        yield "Published errors in %, without intervals; those from Lake et al. 2019 are quoted as we recall them:"
        yield table(["", "30 alphabets", "5 alphabets", "source"], [list(row) for row in CHALLENGE])
    held = [run for part in ("search", "ablation") for run in parts[part] if run["errors"]]
    if held:
        alphabets = [name for name in held[0]["errors"]["recipe"] if name != "mean"]
        yield (
            "The recipe was chosen, and its ingredients are judged, without the challenge: trained on 25 background "
            "alphabets, and tested on those of the other five that have 20 characters or more. There, a test is as in "
            "the challenge, and all pairs of people are used. Errors in %, with views:"
        )
        rows = []
        for run in held:
            numbers = [f"{100 * run['errors']['recipe'][name]:.1f}" for name in (*alphabets, "mean")]
            rows.append([described(run), str(run["seed"]), f"{run['steps']:,}", f"{run['seconds']:.0f}", *numbers])
        yield table(["training", "seed", "steps", "s", *alphabets, "mean"], rows)
        yield from ablated([run for run in parts["ablation"] if run["errors"]], alphabets)


def of_400(errors: dict[str, Any]) -> str:
    """Return a share of errors with its interval, for a table cell."""
    low, high = errors["interval"]
    return f"{100 * errors['share']:.2f} % ({100 * low:.2f} … {100 * high:.2f})"


def described(run: dict[str, Any]) -> str:
    """Return what a training for the challenge is of, for a table cell."""
    if run["part"] == "search":
        return f"search: {run['name']}"
    return run["name"] if run["name"] == FULL else f"without {run['name']}"


def ablated(runs: list[dict[str, Any]], alphabets: list[str]) -> Iterator[str]:
    """Yield what the ablation shows, and what it does not."""
    full = {run["seed"]: run["errors"] for run in runs if run["name"] == FULL}

    def more(name: str) -> dict[int, list[float]]:
        """By how many points the errors are more without an ingredient: by seed, for each alphabet."""
        how = UNTRAINED.get(name, "recipe")
        worse = full if name in UNTRAINED else {run["seed"]: run["errors"] for run in runs if run["name"] == name}
        return {
            seed: [100 * (worse[seed][how][a] - full[seed]["recipe"][a]) for a in alphabets]
            for seed in sorted(worse)
            if seed in full and how in worse[seed]
        }

    found = {name: more(name) for name in (*WITHOUT, *UNTRAINED) if name != FULL}
    rows, clear = [], []
    for name, by_seed in found.items():
        if not by_seed:
            continue
        means = [mean(each) for each in by_seed.values()]
        each_alphabet = [mean(values) for values in zip(*by_seed.values(), strict=True)]
        intervals = [Interval.of(values) if len(values) > 1 else None for values in (means, each_alphabet)]
        if all(interval and interval.low > 0 for interval in intervals):
            clear.append(name)
        over = [f"{(i.high - i.low) / 2:.1f}" if i else "" for i in intervals]
        rows.append([name, ", ".join(f"{m:+.1f}" for m in means), f"{mean(means):+.1f}", *over])
    if not rows:
        return
    yield (
        "What is left out is replaced by what is usual, the residual network by the papers' four layers of 64 filters "
        "and larger pictures by those of 28 × 28 pixels; the recipe was tuned as a whole, and not anew for that. By "
        "how many points the errors are more without an ingredient, compared with the full recipe of the same seed; a "
        "negative number says that they are fewer:"
    )
    yield table(["without", "seeds", "mean", "± 95 % over seeds", "± 95 % over alphabets"], rows)
    missing = [name for name, by_seed in found.items() if not by_seed]
    yield (
        f"The first interval (Student's) tells how other seeds would differ on these {len(alphabets)} alphabets, the "
        "second one how other alphabets would. Both exclude 0, and the errors are more, without: "
        f"{', '.join(clear) or 'none'}. {len(rows)} ingredients were looked at, and of twenty intervals without a "
        "difference one excludes 0 by chance." + (f" Not measured: {', '.join(missing)}." if missing else "")
    )


def learning_to_act() -> Iterator[str]:
    """Yield the paragraphs on the studies whose results come with lesson 9."""
    found = acting.load_results()
    yield (
        f"Navigation, by `{found['command']}` on {found['machine']}: the mean return of 40 test goals before and after "
        f"inner steps, ± 95 % over {len(acting.runs_of(found, 'maml'))} seeds. The rates in brackets, of the first "
        "step and of the later ones, were chosen on validation goals for each number of steps; MAML's first one is "
        "that of its training. The authors' numbers are from their files, ± 95 % over the goals."
    )
    rows = []
    for method, title in acting.TITLES.items():
        each = [acting.seeds_interval(values) for values in acting.of_seeds(found, method).unbind(1)]
        cells = [f"{i.mean:.1f} ± {(i.high - i.low) / 2:.1f}" for i in each]
        for k, (rate, later) in enumerate(found["chosen"][method], start=1):
            cells[k] += f" ({rate:g})" if k == 1 else f" ({rate:g}, {rate * later:g})"
        rows.append([f"{title}, ours", *cells])
        rows.append([f"{title}, the authors'", *(f"{mean} ± {half}" for mean, half in acting.AUTHORS[method])])
    yield table(["policy", "0 steps", "1 step", "2 steps", "3 steps"], rows)
    found = of_bandits.load_results()
    yield (
        f"Bandits of 5 arms with 10 pulls, by `{found['command']}` on {found['machine']}: expected payments of a game. "
        f"All are exact; that of the network is the mean of {len(found['runs'])} seeds, ± 95 %."
    )
    totals = Interval.of([sum(run["by pull"]) for run in found["runs"]])
    network = [of_bandits.NETWORK, f"{totals.mean:.4f} ± {(totals.high - totals.low) / 2:.4f}"]
    exact = sorted(found["exact"].items(), key=lambda item: -sum(item[1]))
    yield table(["player", "payments"], [network, *([name, f"{sum(values):.4f}"] for name, values in exact)])


def on_a_gpu(measured: Measurements) -> Iterator[str]:
    """Yield the paragraphs on what only a GPU can tell."""
    for check in measured.checks:
        checks = check.data["checks"]
        failed = [f"{f['check']} ({str(f['value']).splitlines()[0]})" for f in checks if not f["passed"]]
        yield f"### {check.data['machine']['name']}: is it right?"
        yield (
            f"`python -m benchmarks gpu` on {on(check.data['machine'])}: {len(checks) - len(failed)} of {len(checks)} "
            f"checks passed{'; failed: ' if failed else ''}{'; '.join(failed)}."
        )
        kinds: dict[str, list[dict[str, Any]]] = {}
        for found in checks:
            learner, _, what = found["check"].rpartition(": ")
            kinds.setdefault(what if " on " in learner else found["check"], []).append(found)
        rows = [
            [kind, str(len(found)), worst([f["value"] for f in found]), f"{found[0]['most']:g}"]
            for kind, found in kinds.items()
        ]
        yield table(["check", "learners and tasks", "worst", "at most"], rows)
    for kernels in measured.kernels:
        compiled = {c.data["machine"]["name"]: c.data["works"] for c in measured.compiled}
        fused = compiled.get(kernels.data["machine"]["name"], {})
        yield f"### {kernels.data['machine']['name']}: where the time of a meta-step goes"
        yield (
            "Sampling and Adam included; milliseconds, medians. Recorded: one CUDA graph holds the step. Eager: Python "
            "launches each kernel. Compiled: `torch.compile` fuses kernels before the recording, and took the seconds "
            "named last. TF32: matrix products of 10 bits of mantissa, with the relative error of a meta-gradient "
            "against one in float64 and, for comparison, that error in float32."
        )
        header = ["work", "kernels", "their time", "recorded", "eager", "compiled", "TF32", "error", "in float32", "s"]
        rows = []
        for name, work in kernels.data["works"].items():
            quick = fused.get(name, {})
            times = [milliseconds(work[key]) for key in ("kernels_ms", "recorded_ms", "eager_ms") if key in work]
            after = milliseconds(quick["ms"]) if "ms" in quick else ""
            errors = [f"{work[key]:.1e}" for key in ("tf32_error", "float32_error")]
            seconds = f"{quick['compile_seconds']:.0f}" if "ms" in quick else ""
            count = str(work.get("kernels", ""))
            rows.append([work["title"], count, *times, after, milliseconds(work["tf32_ms"]), *errors, seconds])
        yield table(header, rows)


def worst(values: list[float | str]) -> str:
    """Return the largest of some checks' values, for a table cell; those that broke off have a text."""
    numbers = [value for value in values if not isinstance(value, str)]
    broken = [f"{len(values) - len(numbers)} broke off"] if len(numbers) < len(values) else []
    return ", ".join([f"{max(numbers):.1e}"] * bool(numbers) + broken)


def panel_costs(panels: Measured) -> Iterator[str]:
    """Yield the paragraphs on the cost of the lessons' panels on one machine."""
    data = panels.data
    goals = data["goals"]
    rounds = {len(found["share"]) for found in data["trainings"].values()}
    yield f"### {data['machine']['name']}"
    yield (
        f"`make panels` on {on(data['machine'])}: each training with its panel, and without it before and after; "
        f"medians of {max(rounds)} rounds (lowest … highest). Goals: {goals['share']:.0%} of the speed at least, and "
        f"{goals['frames']:g} pictures a second."
    )
    rows = [
        [
            f"lesson {name}",
            milliseconds(median(found["ms"])),
            f"{median(found['share']):.0%} ({min(found['share']):.0%} … {max(found['share']):.0%})",
            f"{median(found['frames']):.1f}",
        ]
        for name, found in data["trainings"].items()
    ]
    yield table(["training", "ms a meta-step alone", "speed with the panel", "pictures a second"], rows)
    yield (
        "Panels that train nothing: milliseconds from a slider's new value to the redrawn picture, before the page "
        f"shows it. Goal: a median of {goals['ms']:g} at most."
    )
    rows = [[f"lesson {name}", f"{median(ms):.0f}", f"{max(ms):.0f}"] for name, ms in data["answers"].items()]
    yield table(["panel", "median", "most"], rows)


def key_times(keys: Measured) -> Iterator[str]:
    """Yield the paragraphs on the time from a key to the picture on one machine."""
    data = keys.data
    goals = data["goals"]
    yield (
        f"`make keys` on {on(data['machine'])}, in JupyterLab and a real browser: milliseconds from an arrow key on a "
        f"slider until the page has loaded the new picture. Goals: a median of {goals['median']:g}, and "
        f"{goals['95 of 100']:g} for 95 of 100 keys."
    )
    rows = []
    for name, times in data["keys"].items():
        tail = quantiles(times, n=20, method="inclusive")[-1]
        met = median(times) <= goals["median"] and tail <= goals["95 of 100"]
        numbers = [f"{median(times):.0f}", f"{tail:.0f}", str(len(times))]
        rows.append([f"lesson {name}", *numbers, "reached" if met else "missed"])
    yield table(["panel", "median", "95 of 100", "keys", "goals"], rows)


def false_alarms(measured: Measured) -> Iterator[str]:
    """Yield the paragraphs on how often an examination of the bug clinic called a sound learner ill."""
    data, runs = measured.data, measured.data["runs"]
    learners = {(run["tasks"], run["learner"]) for run in runs}
    even, odd = data["steps"]
    yield (
        f"`make false-alarms` on {on(data['machine'])}: {len(learners)} learners of this package, with "
        f"{len({run['seed'] for run in runs})} seeds, examined by every examination that they allow, with even seeds "
        f"after {even} meta-steps and with odd ones after {odd}. An examination that cannot tell says so: it leaves "
        f"the question open. {sum(bool(run['alarms']) for run in runs)} of {len(runs)} patients were called ill."
    )
    rows = [[name, *(str(count[state]) for state in ("well", "open", "ill"))] for name, count in states(runs).items()]
    yield table(["examination", "well", "open", "ill"], rows)


def margins_of(measured: Measured) -> Iterator[str]:
    """Yield the paragraphs on how far the lessons' checks are from failing."""
    data = measured.data
    yield (
        f"`make margins` on {on(data['machine'])}: each lesson is run as it stands, but that every training has "
        "another seed. The slack of a comparison says how far the compared numbers are from where the check fails. A "
        f"slack that changes with the seed should be, on average, at least {NEEDED:g} of its standard deviations above "
        "0; a comparison is *narrow* if it is not, or if it failed once."
    )
    rows, narrow = [], []
    for lesson, same in by_lesson(data["runs"]).items():
        checks = judged(same)
        found = [f"- {lesson}: `{name}`: {words}." for name, (wide, words) in checks.items() if not wide]
        threads = ", ".join(map(str, sorted({run["threads"] for run in same})))
        failed = sum(bool(run["failure"]) for run in same)
        rows.append([lesson, str(len({run["seed"] for run in same})), threads, *map(str, (failed, len(checks)))])
        rows[-1].append(str(len(found)))
        narrow += found
    yield table(["lesson", "seeds", "threads", "runs that failed", "comparisons", "narrow"], rows)
    if narrow:
        yield "The narrow ones:\n\n" + "\n".join(narrow)


def not_measured(measured: Measurements) -> Iterator[str]:
    """Yield a sentence for each measurement that is missing."""
    devices = {m.data["machine"]["device"] for m in measured.speed}
    if "cpu" not in devices:
        yield "The benchmark has not been run on a CPU."
    if "cuda" not in devices:
        yield (
            "We had no GPU. Training by a recorded CUDA graph is written, and tested as far as that goes without one, "
            "but it has not been run on one. `python -m benchmarks meta-step --device cuda` is ready to measure it."
        )
    if not measured.panels:
        yield "What panels cost has not been measured."
    if not measured.memory:
        yield "Peak memory has not been measured."
    if not measured.runs:
        yield "No trained network has been evaluated."


# The figures have a white background, large letters, Okabe & Ito's colours, and a marker for each line.

COLOURS = {
    OURS: ("#0072B2", "o"),
    FIRST_ORDER: ("#56B4E9", "v"),
    "create_graph": ("#D55E00", "s"),
    "higher": ("#D55E00", "s"),
    "torchopt": ("#E69F00", "D"),
    "create_graph loop": ("#009E73", "^"),
    "vmap": ("#CC79A7", "X"),
}


def speed_alt(bench: Measured) -> str:
    """Describe the figure of the speed in words."""
    works = bench.data["works"].values()
    said = [f"{w['title']}: {', '.join(f'{name} {r:.1f}' for name, r in w['ratios'].items())}" for w in works]
    return f"How many times as long as metalab others take for a meta-step. {'. '.join(said)}."


def memory_alt(memory: Measured) -> str:
    """Describe the figure of the memory in words."""
    data = memory.data
    last = [f"{method} {found[-1] / 2**20:.0f} MiB" for method, found in data["peak_bytes"].items()]
    return f"Peak memory over inner steps. At {data['inner_steps'][-1]} inner steps: {', '.join(last)}."


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Make an empty figure; its width and height are in inches."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    ax = fig.subplots()
    ax.tick_params(labelsize=14)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    return fig, ax


def speed_figure(bench: Measured) -> Figure:
    """Draw the peers' times as multiples of ours, with one row for each work."""
    works = list(bench.data["works"].values())
    fig, ax = canvas(10, 1.8 + 1.1 * len(works))
    for i, name in enumerate(PEERS):
        colour, marker = COLOURS[name]
        lane = 0.14 * (i - 1.5)  # so that equal ratios do not hide each other
        found = [(work["ratios"][name], row + lane) for row, work in enumerate(works) if name in work["ratios"]]
        if found:
            ratios, rows = zip(*found, strict=True)
            ax.plot(ratios, rows, marker, color=colour, markersize=12, markeredgecolor="black", label=name)
    ax.axvline(1, color="black", linewidth=2, label="metalab")
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ticks = [mantissa * 10**power for power in range(-2, 5) for mantissa in (1, 2, 5)]
    ax.set_xticks([x for x in ticks if low <= x <= high], [f"{x:g}" for x in ticks if low <= x <= high])
    ax.set_xticks([], minor=True)
    ax.set_yticks(range(len(works)), [textwrap.fill(work["title"], 32) for work in works])
    ax.invert_yaxis()
    ax.margins(y=0.12)
    ax.set_xlabel("times metalab's time (logarithmic)", fontsize=15)
    fig.suptitle(f"One meta-step, compared with metalab's\n{bench.data['machine']['name']}", fontsize=17)
    fig.legend(loc="outside lower center", ncols=5, fontsize=14, columnspacing=1.2, handletextpad=0.4)
    return fig


def memory_figure(memory: Measured) -> Figure:
    """Draw the peak memory over the number of inner steps, with one line for each method."""
    data = memory.data
    steps = data["inner_steps"]
    fig, ax = canvas(10, 5.5)
    for method, found in data["peak_bytes"].items():
        colour, marker = COLOURS[method]
        peaks = [peak / 2**20 for peak in found]
        ax.plot(steps, peaks, marker=marker, color=colour, linewidth=3, markersize=10, label=method)
    parameters = [k * data["adapted_parameters_bytes"] / 2**20 for k in steps]
    ax.plot(steps, parameters, ":", color="black", linewidth=2, label="the tasks' parameters of every step")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("inner steps", fontsize=15)
    ax.set_ylabel("peak memory, MiB", fontsize=15)
    ax.legend(fontsize=14)
    fig.suptitle(f"Peak memory of one meta-gradient\n{data['machine']['name']}", fontsize=17)
    return fig


def svg(fig: Figure, *, title: str, source: str) -> bytes:
    """Return the figure as the bytes of an SVG file. The same figure gives the same bytes.

    Args:
        fig: the figure.
        title: the figure in words.
        source: the fingerprint of the file that the figure was drawn from.
    """
    from matplotlib import rc_context

    out = io.BytesIO()
    with rc_context({"svg.hashsalt": "metalab"}):
        fig.savefig(out, format="svg", metadata={"Date": None, "Title": title, "Source": source})
    return out.getvalue()


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m benchmarks report`."""
    parser.add_argument("--folder", type=Path, default=Path("results"), help="of the JSON files, and of the page")


def run(options: argparse.Namespace) -> int:
    """Write the page and its figures.

    Raises:
        ValueError: there is no such folder, or a file in it is not what a command wrote.
    """
    folder = options.folder
    if not folder.is_dir():
        raise ValueError(f"--folder {folder}: there is no such folder; run this where the repository is")
    measured = Measurements.read(folder)
    for bench in measured.speed:
        drawn = svg(speed_figure(bench), title=speed_alt(bench), source=bench.fingerprint)
        replace_file(folder / f"{bench.name}.svg", drawn)
    for memory in measured.memory:
        drawn = svg(memory_figure(memory), title=memory_alt(memory), source=memory.fingerprint)
        replace_file(folder / f"{memory.name}.svg", drawn)
    replace_file(folder / "README.md", page(measured).encode())
    print(f"written to {folder / 'README.md'}")
    return 0
