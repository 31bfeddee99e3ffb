"""The command line: train, evaluate and compare for longer than a lesson allows. See `python -m metalab --help`."""

from __future__ import annotations

import signal

if __name__ == "__main__":  # until everything is imported, Ctrl-C ends the process without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import json
import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch

from . import __version__, checkpoint
from .engine import processes
from .experiments import curve, first_vs_second_order, scoring, train_options
from .experiments.progress import duration
from .experiments.runs import CHANGEABLE, CHECKPOINT, FILES, Interrupted, Run, history, in_words, usable
from .experiments.settings import BadSetting, Settings, flag
from .files import check_replaceable, replace_file
from .tasks import omniglot
from .train import STATE, Diverged

RUN = "build/sine_maml_5shot_seed0"  # where the examples train
EXAMPLES = {  # at the end of each command's help
    "": f"""
  Train MAML on sine waves as in its paper, and test it:
    python -m metalab train sine
    python -m metalab evaluate {RUN}
  Show the options of a command:
    python -m metalab train --help""",
    "train": f"""
  Train MAML on sine waves as in its paper, some minutes on one core:
    python -m metalab train sine
  Train a prototypical network on Omniglot for half an hour:
    python -m metalab train omniglot --algorithm prototypical --minutes 30
  Continue a run that was stopped, killed or finished, with more steps:
    python -m metalab train --resume {RUN} --steps 90000""",
    "evaluate": f"""
  Test a run on 600 tasks:
    python -m metalab evaluate {RUN}
  Test it on more tasks, for a narrower interval:
    python -m metalab evaluate {RUN} --episodes 2000
  Keep the results in a file:
    python -m metalab evaluate {RUN} --json sine.json""",
    "orders": """
  Measure everything, half an hour on one core:
    python -m metalab orders
  Measure one comparison again, with other seeds:
    python -m metalab orders --only sine --first-seed 100 --out build/again.json""",
    "data": """
  Fetch Omniglot ahead of a class:
    python -m metalab data
  Look first into a folder of your own, which holds the author's two archives:
    METALAB_DATA=/data/omniglot python -m metalab data""",
}
ABOUT = {
    "train": "Meta-train, and save the parameters. Options you omit take the values of the algorithm's paper for these "
    f"tasks, ways and shots. {train_options.kinds()} A run may be stopped or killed at any moment: --resume continues "
    "it. To share it among processes or GPUs, start it by torchrun --nproc-per-node 2 -m metalab train …",
    "evaluate": "Test a trained network on tasks that it was never trained on. The protocol is printed with the means "
    "and their 95 % confidence intervals.",
    "orders": "Compare second-order MAML with first-order MAML: short trainings with several seeds, for equal steps "
    "and for equal time. They cannot be compared with published numbers. The file is written after "
    "every training, and a second call with the same file continues it.",
    "data": "Fetch Omniglot if it is not on disk, and print where it is. It is searched for in the folder that "
    "METALAB_DATA names and then in your cache. If it is in neither, it is downloaded into the cache (16 MB).",
}
WIDTH, TABLE = 80, 88  # columns of the help, and of a table of results
TOO_LARGE = "this does not fit into memory: take a smaller --meta-batch, fewer --channels, or a smaller task"


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
        if tasks or options.out or given.keys() - set(CHANGEABLE):
            *most, last = map(flag, CHANGEABLE)
            allowed = f"only {', '.join(most)} and {last} may be given with it"
            raise ValueError(f"--resume takes all other settings from the checkpoint: {allowed}")
        run = Run.resume(options.resume, compiled=options.compile, **given)
    elif tasks is None:
        raise ValueError("name what to train on, sine or omniglot, or a run to continue: --resume DIR")
    else:
        settings = Settings.of(tasks, **given)
        run = Run.start(settings, options.out or default_folder(settings), compiled=options.compile)
    lines, code = [""], 0
    try:
        run.train()
    except Interrupted:
        lines, code = ["Interrupted. "], 130
    except Diverged as reason:
        inner = "" if run.settings.inner_lr is None else f", --inner-lr {run.settings.inner_lr:g}"
        lines, code = [str(reason), f"The rates are --outer-lr {run.settings.outer_lr:g}{inner}.", ""], 1
    if processes.rank() == 0:
        steps = f"{run.trainer.steps} meta-step{'s' * (run.trainer.steps != 1)}"
        lines[-1] += f"{steps} in {duration(run.seconds)}: {run.folder / CHECKPOINT}"
        lines += [curve.write(run), *next_commands(run, code)]
        print(*lines, sep="\n", file=sys.stderr if code else sys.stdout)
    return code


def next_commands(run: Run, code: int) -> Iterator[str]:
    """Yield lines that name what to type next, for a run that ended with this exit status."""
    several = ""
    if processes.count() > 1:
        several = f" -m torch.distributed.run --nproc-per-node {os.environ['LOCAL_WORLD_SIZE']}"
    folder = shlex.quote(f"./{run.folder}" if str(run.folder).startswith("-") else str(run.folder))
    resume = f"{python()}{several} -m metalab train --resume {folder}"
    finished = run.trainer.steps == run.settings.steps
    if code == 1:
        lower = "".join(f" {flag(name)} {rate / 10:g}" for name, rate in run.rates.items())
        yield f"Continue with smaller rates: {resume}{lower}"
    elif not finished:
        more = f" --minutes {2 * run.settings.minutes:g}" if run.settings.minutes and code == 0 else ""
        yield f"Continue with: {resume}{more}"
    if finished or code == 0:
        device = "" if run.settings.device == "cpu" else f" --device {run.settings.device}"
        yield f"Test it with: {python()} -m metalab evaluate {folder}{device}"


def python() -> str:
    """Return what to type for the Python that runs this: `python` where that is what the shell finds."""
    return next((name for name in ("python", "python3") if shutil.which(name) == sys.executable), None) or shlex.quote(
        sys.executable
    )


def default_folder(settings: Settings) -> Path:
    """Return the folder of a run that was started without --out: `build/omniglot_maml_5way_1shot_seed0`."""
    ways = f"{settings.ways}way_" if settings.ways else ""
    return Path("build") / f"{settings.tasks}_{settings.algorithm}_{ways}{settings.shots}shot_seed{settings.seed}"


def evaluate(options: argparse.Namespace) -> int:
    """Test a trained network, print a table, and write the results as JSON if a file was named.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: the checkpoint is damaged, its network cannot be tested, or an option cannot be used.
    """
    path = options.path / CHECKPOINT if options.path.is_dir() else options.path
    if options.json:
        check_replaceable(options.json)
        if options.json.resolve() == path.resolve() or options.json.resolve().name in FILES:
            raise ValueError(f"--json {options.json} is a file of a run, which would be lost: name another file")
    tensors, note = checkpoint.load(path)
    if odd := [name for name, p in tensors.items() if not (name.startswith(STATE) or p.isfinite().all())]:
        raise ValueError(
            f"{path} cannot be tested: {odd[0]} holds numbers that are not finite, so its training diverged"
        )
    settings, events = replace(Settings.from_note(note), device=usable(options.device)), history(note)
    trained = {name: value for name, value in note.items() if name != "sums"}
    shown = trained | ({"history": "; ".join(map(in_words, events))} if events else {})
    words = ", ".join(f"{name} {value}" for name, value in printable(shown) if value is not None)
    print(textwrap.fill(f"Trained: {words}", TABLE, subsequent_indent="  "), "\nTested:", sep="\n")
    found: list[scoring.Result] = []
    tensors = {name: tensor.to(options.device) for name, tensor in tensors.items()}
    for result in scoring.results(settings, tensors, episodes=options.episodes, seed=options.seed):
        if not found:
            print(result.heading())
        found.append(result)
        print(result.row(found[0]), flush=True)
    print("", textwrap.fill(scoring.COVERS, TABLE), sep="\n")
    if options.json:
        try:
            data = {"trained": trained, "results": [result.as_json() for result in found]}
            text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
        except ValueError:
            raise ValueError(f"--json {options.json} was not written: a result is no finite number") from None
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
    layout: dict[str, Any] = {"formatter_class": partial(argparse.RawDescriptionHelpFormatter, width=WIDTH)}
    about = "Train and test for longer than a lesson allows. Each command has its own --help."
    top = Parser(prog="python -m metalab", description=about, epilog=f"examples:{EXAMPLES['']}", **layout)
    top.add_argument("--version", action="version", version=f"metalab {__version__}")
    commands = top.add_subparsers(required=True, metavar="train | evaluate | orders | data")

    def command(name: str, action: Callable[[argparse.Namespace], int], usage: str | None = None) -> Parser:
        first, _, _ = ABOUT[name].partition(". ")
        p = commands.add_parser(
            name,
            help=first.replace("%", "%%"),
            description=textwrap.fill(ABOUT[name], WIDTH),
            epilog=f"examples:{EXAMPLES[name]}",
            usage=usage,
            **layout,
        )
        p.set_defaults(run=action)
        return p

    p = command("train", train, "%(prog)s sine|omniglot [options]\n       %(prog)s --resume DIR [options]")
    p.add_argument("tasks", nargs="?", help="sine or omniglot; leave it out with --resume")
    train_options.add_arguments(p)
    p.add_argument("--out", type=Path, metavar="DIR", help=f"the run's folder (default: one in build/, like {RUN})")
    changeable = ", ".join(map(flag, CHANGEABLE))
    p.add_argument(
        "--resume",
        type=Path,
        metavar="DIR",
        help=f"continue the run in this folder with its own settings, but that {changeable} may be given (default: "
        "start a new run)",
    )
    p.add_argument(
        "--compile",
        action="store_true",
        help="spend some minutes on torch.compile, and then train faster (default: do not)",
    )
    p = command("evaluate", evaluate)
    p.add_argument("path", type=Path, help="a run's folder, or a checkpoint file")
    p.add_argument(
        "--episodes",
        type=int,
        default=600,
        metavar="N",
        help="number of test tasks; a whole number of at least 2 (default: %(default)s)",
    )
    p.add_argument(
        "--seed",
        type=int,
        default=1000,
        metavar="N",
        help="seed of the test tasks; a whole number of at least 0 (default: %(default)s)",
    )
    p.add_argument(
        "--device", default="cpu", metavar="NAME", help="where to test: cpu, cuda, or cuda:1 (default: %(default)s)"
    )
    p.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file (default: do not)")
    first_vs_second_order.add_arguments(command("orders", first_vs_second_order.run))
    command("data", data)
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
        status = options.run(options)
        print(end="", flush=True)
        return status
    except BrokenPipeError:  # `head`, for example, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
        return 128 + signal.SIGPIPE
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
