"""A training run in a folder.

The folder holds `checkpoint.safetensors`, from which the run continues bit for bit, `metrics.jsonl`, and `curve.png`.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from filelock import FileLock, Timeout

from .. import __version__, checkpoint
from ..arguments import device as check_device
from ..arguments import real, shown, whole
from ..engine import processes
from ..files import check_replaceable, replace_file
from ..learners.meta_sgd import RATE
from ..train import STATE, Diverged, Trainer
from . import machine, scoring
from .progress import Progress
from .settings import BadSetting, Settings

CHECKPOINT, METRICS, CURVE, LOCK = FILES = "checkpoint.safetensors", "metrics.jsonl", "curve.png", ".lock"
RATES = ("outer_lr", "inner_lr")
CHANGEABLE = ("steps", "minutes", *RATES)  # the settings that a run can be given when it continues
GOOD = f"{STATE}good."  # before the names of what a divergence would return to
LINE_EVERY = 10  # meta-steps; a line of metrics has the mean over them


class Interrupted(Exception):
    """The run was asked to stop, and it was saved."""


class Run:
    """One training run: `Run.start(settings, folder).train()`, or `Run.resume(folder).train()`.

    A run locks its folder until its training ends, so that no other process trains there at the same time.

    Under torchrun it is one process's part of the run, and only process 0 writes and prints.

    Args:
        settings: the settings of the run.
        folder: where it is saved.
        compiled: whether `torch.compile` fuses the kernels first, see `Trainer`.

    Attributes:
        history: the divergences and the changes of rates, each with the number of meta-steps that were taken before:
            `{"step": 120, "diverged": True}`, and `{"step": 120, "outer_lr": [0.001, 0.0001]}` from one to the other.

    Raises:
        ValueError: a setting cannot be used (the device or the number of drawings, for example). Nothing was written.
    """

    def __init__(self, settings: Settings, folder: Path, *, compiled: bool = False) -> None:
        self.settings = settings
        self.folder = folder
        self.seconds = 0.0  # of training so far
        self.sums: dict[str, float] = {"steps": 0}  # of the metrics, since the last line was written
        self.history: list[dict[str, Any]] = []
        device = processes.start(usable(settings.device))
        settings.check_memory(machine.memory(device))
        processes.share(settings.meta_batch)  # rejects more processes than tasks
        if processes.count() > 1 and settings.recipe.draws == "groups":
            text = "{algorithm}: its groups are embedded as one batch, so that only one process can train it"
            raise BadSetting(text, algorithm=settings.algorithm)
        if settings.tasks == "sine":
            torch.set_num_threads(1)  # these networks are too small to be shared among cores
        characters = settings.characters()
        sample = settings.sampler(characters and characters[0].to(device))
        if characters:
            scoring.queries_left(settings, characters[1])  # rejects what could be trained, but not tested
        learner, generator = settings.learner(), torch.Generator(device)
        # A trial rejects what cannot be drawn, or cannot be learned from, before anything is written.
        processes.averaged(learner.meta_gradient, learner.init(generator), sample(generator))
        torch.backends.cudnn.deterministic = True  # or a resumed run would reach other parameters on a GPU
        # A GPU would wait while its metrics are read, so there they are read only once per line.
        self.at_once = LINE_EVERY if device.startswith("cuda") else 1
        self.trainer = Trainer(
            learner,
            sample,
            outer_lr=settings.rate,
            optimizer=settings.recipe.optimizer,
            seed=settings.seed,
            device=device,
            compiled=compiled,
        )

    @classmethod
    def start(cls, settings: Settings, folder: Path, *, compiled: bool = False) -> Run:
        """Start a fresh run in a folder that does not hold one.

        Raises:
            ValueError: the folder already holds a run or its metrics, another process trains there, or a setting
                cannot be used.
            OSError: the folder cannot be written to.
        """
        _check_free(folder)
        run = cls(settings, folder, compiled=compiled)
        run._lock()
        try:
            _check_free(folder)  # nobody else can have started here since
            processes.wait()  # until every process has seen that the folder is free
            if processes.rank() == 0:
                run.save()  # so that a run killed at any moment can be resumed
                (folder / METRICS).open("x").close()
        except BaseException:
            run._unlock()
            raise
        return run

    @classmethod
    def resume(cls, folder: Path, *, compiled: bool = False, **changed: Any) -> Run:
        """Return the run in `folder` as its last checkpoint left it.

        Args:
            folder: where the run is saved.
            compiled: as for a fresh run.
            changed: settings that it goes on with instead of its own, of those in `CHANGEABLE`. A rate that differs is
                added to the run's history.

        Raises:
            FileNotFoundError: there is no run in the folder.
            ValueError: its checkpoint is damaged, its steps or minutes are already used up, another process trains it,
                or a setting cannot be changed.
        """
        if fixed := [name for name in changed if name not in CHANGEABLE]:
            raise BadSetting("{" + fixed[0] + "} cannot be changed when a run continues", **{fixed[0]: None})
        _tensors, note = checkpoint.load(folder / CHECKPOINT)
        run = cls(replace(Settings.from_note(note), **changed), folder, compiled=compiled)
        run._lock()
        try:
            run._take_up(*checkpoint.load(folder / CHECKPOINT))
            processes.wait()  # until every process has read the checkpoint
            if processes.rank() == 0:
                _keep_lines(folder / METRICS, run.trainer.steps)
        except BaseException:
            run._unlock()
            raise
        return run

    def _take_up(self, tensors: dict[str, torch.Tensor], note: dict[str, Any]) -> None:
        """Continue from a checkpoint's tensors and its note."""
        good = {name.removeprefix(GOOD): tensor for name, tensor in tensors.items() if name.startswith(GOOD)}
        self.trainer.go_on(tensors, good)
        self.seconds, self.sums = _seconds_and_sums(note)
        self.history = history(note)
        before = Settings.from_note(note)
        rates = {name: [getattr(before, name), getattr(self.settings, name)] for name in RATES}
        if changed := {name: both for name, both in rates.items() if both[0] != both[1]}:
            if changed.keys() - self.rates.keys():
                text = "{inner_lr} is only where the rates of {algorithm} started: they are learned since then"
                raise BadSetting(text, inner_lr=self.settings.inner_lr, algorithm=self.settings.algorithm)
            self.history.append({"step": self.trainer.steps, **changed})
        where = str(self.folder).replace("{", "{{").replace("}", "}}")  # `BadSetting` fills in what is in braces
        if self.trainer.steps >= self.settings.steps:
            text = f"the run in {where} has taken its {self.trainer.steps} steps: give it more {{steps}}"
            raise BadSetting(text, steps=None)
        if self._out_of_time():
            text = f"the run in {where} has had its {self.settings.minutes:g} minutes: give it more {{minutes}}"
            raise BadSetting(text, minutes=None)
        threads = torch.get_num_threads()
        if processes.rank() == 0 and note.get("threads") != threads:
            print(
                f"This run had {shown(note.get('threads'))} threads before and has {threads} now: the numbers can "
                "differ in their last digits.",
                file=sys.stderr,
            )

    def _lock(self) -> None:
        """Lock the folder, which is made if it does not exist.

        Raises:
            ValueError: another process has locked it.
        """
        free = True
        if processes.rank() == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._locked = FileLock(self.folder / LOCK)
            try:
                self._locked.acquire(timeout=0)
            except Timeout:
                free = False
        if not processes.agreed(free, self.trainer.generator.device):
            raise ValueError(f"another process is training in {self.folder}: wait for it, or name another folder")

    def _unlock(self) -> None:
        if processes.rank() == 0:
            self._locked.release()  # the file stays: another process may have opened it already

    @property
    def rates(self) -> dict[str, float]:
        """The rates that can be changed when the run continues. An inner rate that is learned cannot be one of them."""
        learned = any(name.startswith(RATE) for name in self.trainer.params)
        names = RATES[:1] if learned or self.settings.inner_lr is None else RATES
        return {name: getattr(self.settings, name) for name in names}

    def train(self) -> None:
        """Train until the steps or the minutes are over. The run is saved at the end, and every `save_every` seconds.

        Raises:
            Interrupted: Ctrl-C, a SIGTERM or the end of the terminal asked the run to stop. It stopped between two
                steps, and was saved.
            Diverged: the loss is not finite any more. The last parameters whose losses were finite were saved.
        """
        progress = Progress()
        first, before = self.trainer.steps, self.seconds
        begin = saved = time.monotonic()
        with _Stop() as stop:
            try:
                while self.trainer.steps < self.settings.steps:
                    if processes.agreed(stop.asked or self._out_of_time(), self.trainer.generator.device):
                        break
                    self._advance()
                    now = time.monotonic()
                    self.seconds = before + now - begin
                    if processes.rank() > 0:
                        continue
                    rate = (self.trainer.steps - first) / (now - begin)
                    progress.show(
                        self.trainer.steps, self.settings.steps, self.mean(), per_second=rate, left=self._left(rate)
                    )
                    if self.trainer.steps % LINE_EVERY == 0:
                        self._write_line(rate)
                    if now - saved >= self.settings.save_every:
                        self.save()
                        saved = time.monotonic()
                self._save_last()
            except Diverged:
                self.sums = {"steps": 0}
                self.history.append({"step": self.trainer.steps, "diverged": True})
                self._save_last()
                raise
            finally:
                progress.end()
                self._unlock()
        if processes.agreed(stop.asked, self.trainer.generator.device):
            raise Interrupted

    def save(self) -> None:
        """Write the checkpoint: the trainer's state, and a note on how it came about."""
        note = {
            **asdict(self.settings),
            "taken": self.trainer.steps,
            "seconds": round(self.seconds, 3),
            "sums": self.sums,
            "machine": machine.name(self.trainer.generator.device),
            "processes": processes.count(),
            "threads": torch.get_num_threads(),
            "metalab": __version__,
            "torch": torch.__version__,
        } | ({"history": self.history} if self.history else {})
        good = {GOOD + name: tensor for name, tensor in self.trainer.good_state().items()}
        checkpoint.save(self.folder / CHECKPOINT, self.trainer.state() | good, note)

    def _save_last(self) -> None:
        """Save the run, from process 0 alone."""
        if processes.rank() == 0:
            self.save()

    def _advance(self) -> None:
        """Take steps up to the next multiple of `at_once`."""
        taken = self.trainer.steps
        count = min(self.at_once - taken % self.at_once, self.settings.steps - taken)
        step = self.trainer.step(count)
        self.sums["steps"] += count
        for name, value in step.metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + count * value

    def mean(self) -> dict[str, float]:
        """Return the mean of each metric since the last line was written."""
        return {name: total / self.sums["steps"] for name, total in self.sums.items() if name != "steps"}

    def _write_line(self, rate: float) -> None:
        """Append a line to metrics.jsonl; `rate` is in steps per second."""
        line = {"step": self.trainer.steps, **self.mean(), "rate": round(rate, 2), "seconds": round(self.seconds, 2)}
        with (self.folder / METRICS).open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.sums = {"steps": 0}

    def _out_of_time(self) -> bool:
        """Tell whether the run has used up its minutes."""
        return self.settings.minutes is not None and self.seconds >= 60 * self.settings.minutes

    def _left(self, rate: float) -> float:
        """Return the seconds until the steps or the minutes are over, at `rate` steps per second."""
        left = (self.settings.steps - self.trainer.steps) / rate
        return left if self.settings.minutes is None else min(left, 60 * self.settings.minutes - self.seconds)


STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _Stop:
    """A context in which the first signal to stop only sets `asked`, so that a step is never cut in two."""

    def __enter__(self) -> _Stop:
        self.asked = False
        heard = [number for number in STOPS if signal.getsignal(number) != signal.SIG_IGN]  # nohup ignores SIGHUP
        self._before = {number: signal.signal(number, self._ask) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C stops at once, without saving
        self.asked = True


def usable(device: str) -> str:
    """Return the device if it can be used.

    Raises:
        ValueError: the device is neither a CPU nor a GPU that PyTorch finds here.
    """
    try:
        check_device(device=device)
    except ValueError as fault:
        where = "be cpu or cuda" if "must be" in str(fault) else "be a GPU that PyTorch finds here, or cpu"
        raise BadSetting(f"{{device}} must {where}", device=device) from None
    return device


def _check_free(folder: Path) -> None:
    """Check that a run can start in a folder.

    Raises:
        ValueError: the folder holds a run already, or a file that a run would write to.
        OSError: it is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder, and a run needs one: name another one (--out)")
    if (folder / CHECKPOINT).exists():
        raise ValueError(f"{folder} holds a run already: resume it (--resume {folder}), or name another folder (--out)")
    for name in (METRICS, CURVE):
        if (folder / name).exists():
            raise ValueError(f"{folder} holds a {name} without a run, which would be lost: name another folder (--out)")


def _seconds_and_sums(note: dict[str, Any]) -> tuple[float, dict[str, float]]:
    """Return the time of training and the sums of the metrics from a run's note.

    Raises:
        ValueError: they are missing, or cannot be.
    """
    try:
        seconds, sums = note["seconds"], note["sums"]
        real(least=0, seconds=seconds)
        whole(least=0, steps=sums["steps"])
        real(**{f"the sum of {name}": value for name, value in sums.items()})
        if odd := [name for name in sums if not name.isprintable()]:
            raise ValueError(f"{shown(odd[0])} is no name of a metric")
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise ValueError(f"the note of the run is damaged: seconds or sums, {fault}") from None
    return seconds, sums


def history(note: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the history in a run's note, see `Run`. A run on which nothing happened has none.

    Raises:
        ValueError: it is damaged.
    """
    events = note.get("history", [])
    try:
        for event in events:
            whole(least=0, step=event["step"])
            rates = [rate for name in RATES for rate in event.get(name, ())]
            real(least=0, **{f"rate {i}": rate for i, rate in enumerate(rates)})
            in_words(event)
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise ValueError(f"the note of the run is damaged: history, {fault}") from None
    return list(events)


def in_words(event: dict[str, Any]) -> str:
    """Return an event of a run's history in words: `outer lr 0.001 → 0.0001 at meta-step 120`."""
    rates = [
        f"{name.replace('_', ' ')} {before:g} → {after:g}"
        for name in RATES
        if name in event
        for before, after in [event[name]]
    ]
    where = f"meta-step {event['step']}"
    return f"{', '.join(rates)} at {where}" if rates else f"diverged and back at {where}"


def lines_of(path: Path) -> list[tuple[bytes, dict[str, float] | None]]:
    """Return the lines of a file of metrics, and for each its content, or None if it cannot be read.

    An incomplete line, which a killed run can leave at the end, is none.
    """
    lines = [(line, _content(line)) for line in path.read_bytes().split(b"\n")] if path.is_file() else []
    return lines if lines and lines[-1][1] else lines[:-1]


def _content(line: bytes) -> dict[str, float] | None:
    try:
        content = json.loads(line)
        whole(least=1, step=content["step"])
        real(**{f"{name} of a line": value for name, value in content.items()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return content


def _keep_lines(path: Path, steps: int) -> None:
    """Drop the lines after step `steps`, because later steps will be taken again.

    A line that cannot be read stays where it is, because nobody knows what was in it.
    """
    check_replaceable(path)
    kept = [(line, content) for line, content in lines_of(path) if content is None or content["step"] <= steps]
    if odd := [str(number) for number, (_line, content) in enumerate(kept, 1) if content is None]:
        print(
            f"{path} has lines that cannot be read, and they were left as they are: {', '.join(odd)}", file=sys.stderr
        )
    replace_file(path, b"".join(line + b"\n" for line, _content in kept))
