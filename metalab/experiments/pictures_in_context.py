"""Characters in context: a transformer that reads pictures with their labels, next to prototypes, with several seeds.

python -m metalab.experiments.pictures_in_context --json build/pictures.json    # some five minutes a seed on one core

Both learners have the same embedding, and train for as many steps on the same 5-way 1-shot episodes of Omniglot's
background alphabets, with rotations as further characters. They are tested on the same 600 episodes of the other
alphabets, with one example of each class, and with five, of which no training had so many.

What is finished is in the file, and is not trained again when the command is called again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..arguments import shown, whole
from ..files import check_replaceable, replace_file
from ..learners import CausalTransformer, PrototypicalNet, ReadsPictures
from ..losses import accuracy
from ..nets import Conv4
from ..tasks import Characters, omniglot
from ..train import Trainer
from . import machine
from .in_context import WARM_UP, rate

WAYS, SHOTS, QUERIES = 5, (1, 5), 5  # SHOTS of the tests; the training has one
CHANNELS = 32
LEARNERS = {
    "prototypes": PrototypicalNet(Conv4(channels=CHANNELS)),
    "transformer": ReadsPictures(Conv4(channels=CHANNELS), CausalTransformer(CHANNELS, WAYS)),
}
BATCH, TRAINING_QUERIES, OUTER_LR, STEPS = 16, 3, 1e-3, 3000
EVERY = 100  # steps, of which the training accuracy is a mean
EPISODES, TEST_SEED, PICTURES = 600, 1000, 1000  # PICTURES measure batch norm's statistics


def protocol(quick: int = 1) -> dict[str, Any]:
    """Return what decides how the trainings go, as the file keeps it; `quick` divides the steps."""
    return {
        "ways": WAYS,
        "channels": CHANNELS,
        "batch": BATCH,
        "queries": TRAINING_QUERIES,
        "outer_lr": OUTER_LR,
        "steps": STEPS // quick,
        "episodes": EPISODES // quick,
    }


def measure(method: str, seed: int, train: Characters, test: Characters, quick: int = 1) -> dict[str, Any]:
    """Train once, and return the accuracies in training and test, and how many answers of each episode are right.

    Args:
        method: a name of LEARNERS.
        seed: of the training. All trainings are tested on the same episodes.
        train: the characters of the training, with rotations.
        test: those of the test.
        quick: divides the steps and the test episodes.
    """
    learner, steps = LEARNERS[method], STEPS // quick
    trainer = Trainer(
        learner,
        lambda g: train.sample(BATCH, WAYS, 1, TRAINING_QUERIES, g),
        outer_lr=lambda n: rate(n, steps, OUTER_LR, WARM_UP),
        seed=seed,
    )
    start, every = time.process_time(), min(EVERY, steps)
    learned = [round(trainer.step(every).metrics["accuracy"], 4) for _ in range(steps // every)]
    seconds = time.process_time() - start
    pictures, _labels = train.batch(PICTURES, torch.Generator().manual_seed(seed))
    ready = learner.with_statistics(trainer.params, pictures)
    row = {"method": method, "seed": seed, "steps": steps, "seconds": round(seconds, 2), "learned": learned}
    row["accuracy"], row["right"] = {}, {}
    for shots in SHOTS:
        right: list[int] = []
        generator = torch.Generator().manual_seed(TEST_SEED)
        while len(right) < EPISODES // quick:
            episode = test.sample(min(50, EPISODES // quick), WAYS, shots, QUERIES, generator)
            share = accuracy(ready.predict(trainer.params, episode), episode.query_y)
            right += (share * WAYS * QUERIES).round().int().tolist()
        row["right"][str(shots)] = right
        row["accuracy"][str(shots)] = round(sum(right) / len(right) / (WAYS * QUERIES), 5)
    return row


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m metalab.experiments.pictures_in_context", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0 on (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=Path("build/pictures.json"), help="the file (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="measure nothing: try out the command in seconds")
    options = parser.parse_args(arguments)
    quick = 300 if options.quick else 1
    data: dict[str, Any] = {
        "command": "python -m metalab.experiments.pictures_in_context",
        "machine": machine.name("cpu"),
        "metalab": __version__,
        "torch": torch.__version__,
        "protocol": protocol(quick),
        "runs": [],
    }
    try:
        whole(least=1, most=20, **{"--seeds": options.seeds})
        check_replaceable(options.json)
        if options.json.exists():
            found = json.loads(options.json.read_bytes())
            if not isinstance(found, dict) or found.get("protocol") != data["protocol"]:
                raise ValueError(f"--json {options.json} holds trainings with other settings: name another file")
            data = found
        train, test = omniglot.load()
    except (TypeError, ValueError, OSError) as error:
        parser.error(str(error))
    train = train.with_rotations()
    torch.set_num_threads(1)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    done = {(run["method"], run["seed"]) for run in data["runs"]}
    for seed in range(options.seeds):
        for method in LEARNERS:
            if (method, seed) in done:
                continue
            row = measure(method, seed, train, test, quick)
            data["runs"].append(row)
            replace_file(options.json, f"{json.dumps(data, ensure_ascii=False)}\n".encode())
            print(f"seed {seed}, {method}: {row['seconds']} s, {shown(row['accuracy'])}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
