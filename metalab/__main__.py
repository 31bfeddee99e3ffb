"""The command line: train, evaluate and compare for longer than a lesson allows.

python -m metalab train sine                                # MAML at the paper's protocol
python -m metalab train sine --algorithm joint              # the baseline: one network for all tasks
python -m metalab train omniglot --ways 20 --device cuda
python -m metalab train omniglot --algorithm prototypical --minutes 30
python -m metalab train --resume DIR                        # continue a run that was stopped or killed
torchrun --nproc-per-node 2 -m metalab train omniglot       # two processes share the training
python -m metalab evaluate DIR                              # the mean ± 95 % CI, and the protocol
python -m metalab orders                                    # does the second order matter? Several seeds
python -m metalab data                                      # fetch Omniglot and print where it is
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # until everything is imported, Ctrl-C ends the process without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import json
import os
import re
import shlex
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn

import torch

from . import checkpoint
from .engine import processes
from .experiments import first_vs_second_order, scoring
from .experiments.progress import duration
from .experiments.runs import CHECKPOINT, METRICS, Interrupted, Run, usable
from .experiments.settings import BadSetting, Settings, flag
from .files import check_replaceable, replace_file
from .tasks import omniglot
from .train import Diverged

TRAIN = "Meta-train. Options you omit take the values of the algorithm's paper for these tasks, ways and shots."
EVALUATE = "Print the mean and its 95 % confidence interval on tasks never trained on, with the whole protocol."
TOO_LARGE = "this does not fit into memory: take a smaller --meta-batch, fewer --channels, or a smaller task"
RESUMABLE = {"steps", "minutes"}  # the settings that may change when a run continues


class Parser(argparse.ArgumentParser):
    """A parser that reports a wrong usage in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with status 2."""
        self.exit(2, f"metalab: {short(message)} (see {self.prog} --help)\n")


def train(options: argparse.Namespace) -> int:
    """Start or continue a run, and print where it is saved.

    Returns:
        The exit status: 0, or 1 if the training diverged, or 130 if it was interrupted.

    Raises:
        ValueError: the tasks are missing, an option does not go with --resume, or a setting cannot be used.
    """
    given = {f.name: getattr(options, f.name) for f in fields(Settings) if hasattr(options, f.name)}
    tasks = given.pop("tasks")
    if options.resume:
        if tasks or options.out or given.keys() - RESUMABLE:
            raise ValueError(
                "--resume takes all settings from the checkpoint: only --steps and --minutes may be given with it"
            )
        run = Run.resume(options.resume, compiled=options.compile, **given)
    elif tasks is None:
        raise ValueError("name what to train on, sine or omniglot, or a run to continue: --resume DIR")
    else:
        settings = Settings.of(tasks, **given)
        run = Run.start(settings, options.out or default_folder(settings), compiled=options.compile)
    words, code = "", 0
    try:
        run.train()
    except Interrupted:
        words, code = "Interrupted. ", 130
    except Diverged as reason:
        inner = "" if run.settings.inner_lr is None else f", --inner-lr {run.settings.inner_lr:g}"
        words, code = f"{reason} The rates are --outer-lr {run.settings.outer_lr:g}{inner}. ", 1
    if processes.rank() == 0:
        out = sys.stderr if code else sys.stdout
        taken = f"{run.trainer.steps} meta-steps in {duration(run.seconds)}"
        print(f"{words}{taken}: {run.folder / CHECKPOINT}", file=out)
        if run.trainer.steps < run.settings.steps and code != 1:
            more = "" if code else f" --minutes {2 * run.settings.minutes:g}"
            print(f"Continue with: {resume_command(run.folder)}{more}", file=out)
    return code


def default_folder(settings: Settings) -> Path:
    """Return the folder of a run that was started without --out: `build/omniglot_maml_5way_1shot_seed0`."""
    ways = f"{settings.ways}way_" if settings.ways else ""
    return Path("build") / f"{settings.tasks}_{settings.algorithm}_{ways}{settings.shots}shot_seed{settings.seed}"


def resume_command(folder: Path) -> str:
    """Return the command that continues the run in `folder`, with as many processes as this run has."""
    several = processes.count() > 1
    launch = f"torchrun --nproc-per-node {os.environ['LOCAL_WORLD_SIZE']}" if several else "python"
    return f"{launch} -m metalab train --resume {shlex.quote(str(folder))}"


def evaluate(options: argparse.Namespace) -> int:
    """Test a trained network, print each result, and write the results as JSON if a file was named.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: the checkpoint is damaged, or an option cannot be used.
    """
    path = options.path / CHECKPOINT if options.path.is_dir() else options.path
    if options.json:
        check_replaceable(options.json)
        if options.json.resolve() in (path.resolve(), path.resolve().with_name(METRICS)):
            raise ValueError(f"--json {options.json} is a file of the run, which would be lost: name another file")
    tensors, note = checkpoint.load(path)
    settings = replace(Settings.from_note(note), device=usable(options.device))
    trained = {name: value for name, value in note.items() if name != "sums"}
    print("trained: " + ", ".join(f"{name} {value}" for name, value in printable(trained) if value is not None))
    found = []
    tensors = {name: tensor.to(options.device) for name, tensor in tensors.items()}
    for result in scoring.results(settings, tensors, episodes=options.episodes, seed=options.seed):
        print(result, flush=True)
        found.append(result.as_json())
    if options.json:
        text = json.dumps({"trained": trained, "results": found}, indent=1, ensure_ascii=False)
        replace_file(options.json, f"{text}\n".encode())
    return 0


def printable(note: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return a note's entries without characters that would control a terminal."""

    def plain(value: Any) -> Any:
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in value) if isinstance(value, str) else value

    return [(plain(name), plain(value)) for name, value in note.items()]


def data(_options: argparse.Namespace) -> int:
    """Fetch Omniglot if it is not on disk, and print how many characters it has and where it was found."""
    (train_set, test_set), place = omniglot.load_from()
    print(f"Omniglot: {len(train_set)} training and {len(test_set)} test characters, from {place}")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line. Training has an option for every setting."""
    top = Parser(prog="python -m metalab", description="Train and evaluate outside the lessons.")
    commands = top.add_subparsers(required=True, metavar="train | evaluate | orders | data")
    p = commands.add_parser("train", help="meta-train, and save the parameters", description=TRAIN)
    p.add_argument("tasks", nargs="?", help="sine or omniglot; leave it out with --resume")
    for f in fields(Settings):
        if f.name != "tasks":
            kind, choices = f.metadata["type"], f.metadata.get("choices")
            p.add_argument(flag(f.name), type=kind, choices=choices, help=f.metadata["help"], default=argparse.SUPPRESS)
    p.add_argument("--out", type=Path, metavar="DIR", help="the run's folder; default: one in build/")
    p.add_argument("--resume", type=Path, metavar="DIR", help="continue the run in this folder")
    p.add_argument("--compile", action="store_true", help="spend some minutes on torch.compile, then train faster")
    p.set_defaults(run=train)
    p = commands.add_parser("evaluate", help=EVALUATE.replace("%", "%%"), description=EVALUATE)
    p.add_argument("path", type=Path, help="a run's folder, or a checkpoint file")
    p.add_argument("--episodes", type=int, default=600, help="number of test tasks; default: %(default)s")
    p.add_argument("--seed", type=int, default=1000, help="seed of the test tasks; default: %(default)s")
    p.add_argument("--device", default="cpu")
    p.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file")
    p.set_defaults(run=evaluate)
    p = commands.add_parser("orders", help="compare MAML of both orders and its successors, with several seeds")
    first_vs_second_order.add_arguments(p)
    p.set_defaults(run=first_vs_second_order.run)
    p = commands.add_parser("data", help="fetch Omniglot if it is not on disk, and print where it is")
    p.set_defaults(run=data)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Return the exit status."""
    return run(parser(), arguments)


def run(parser: argparse.ArgumentParser, arguments: list[str] | None) -> int:
    """Run the command that `arguments` name, and report an error in one line. Return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal may lack the letters of a path
            stream.reconfigure(errors="backslashreplace")
    options = parser.parse_args(arguments)
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # as it is while the module is imported
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return options.run(options)
    except BadSetting as error:
        complain(error.for_the_command_line())
    except (MemoryError, torch.OutOfMemoryError):
        complain(TOO_LARGE)
    except (ValueError, OSError) as error:
        complain(str(error))
    except RuntimeError as error:
        if "can't allocate memory" not in str(error) and "not enough memory" not in str(error):
            raise
        complain(TOO_LARGE)  # those were PyTorch's words for it on a CPU
    except KeyboardInterrupt:
        print("metalab: stopped at once, without saving", file=sys.stderr)
        return 130
    finally:
        processes.stop()
    return 2


def complain(message: str) -> None:
    """Print an error, from process 0 alone."""
    if processes.rank() == 0:
        print(f"metalab: {short(message)}", file=sys.stderr)


def short(message: str) -> str:
    """Return a message without characters that would control a terminal, and with long names and paths cut."""
    plain = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in message)
    return re.sub(r"(\S{200})\S{100,}", r"\1…", plain)


if __name__ == "__main__":
    sys.exit(main())
