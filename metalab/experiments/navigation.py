"""Learning to act: MAML, joint training and no training on 2-D navigation, with several seeds.

    python -m metalab.experiments.navigation --json build/navigation.json    # some minutes a seed on one core

MAML is trained as `metalab.learners.policy_maml` says, for one inner step. "pretrained" is trained on the mean return
of all goals without adaptation, and "random" is not trained. All meet the same 40 test goals in the published
environment, with 20 trajectories a goal in each round, after 0, 1, 2 and 3 inner steps. MAML keeps the inner rate of
its training. The two others take the rate of `RATES` with the highest return after three steps on 40 validation goals.

What is finished is in the file, and is not trained again when the command is called again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from .. import __version__, checkpoint
from ..arguments import whole
from ..files import check_replaceable, replace_file
from ..learners.policy_maml import PolicyMAML
from ..nets import Params
from ..tasks import navigation
from ..train import Trainer
from . import machine

LEARNER = PolicyMAML()
METHODS = ("maml", "pretrained", "random")
META_STEPS, OUTER_LR = 150, 5e-3
TASKS, TRAJECTORIES = 20, 10  # of a meta-step
GOALS, TRIALS, ROUNDS = 40, 20, 4  # of a test
RATES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
VALIDATION_SEED, TEST_SEED = 1000, 2000


def trainer(method: str, seed: int, steps: int = META_STEPS) -> Trainer:
    """Return a training of "maml" or "pretrained" that has not begun. Its rate falls to 0 over the second half."""
    learner = LEARNER if method == "maml" else replace(LEARNER, inner_steps=0)

    def sample(generator: torch.Generator) -> navigation.Attempts:
        return navigation.sample(TASKS, TRAJECTORIES, learner.inner_steps + 1, generator)

    def rate(number: int) -> float:
        return OUTER_LR * min(1.0, 2 * (1 - (number - 1) / steps))

    return Trainer(learner, sample, outer_lr=rate, seed=seed)


def exam(seed: int = TEST_SEED) -> navigation.Attempts:
    """Return 40 goals, and the noise of four rounds of 20 trajectories each."""
    return navigation.sample(GOALS, TRIALS, ROUNDS, torch.Generator().manual_seed(seed))


def returns(params: Params, rate: float, seed: int = TEST_SEED) -> torch.Tensor:
    """Return the mean return of each goal before and after each step: [40, 4]."""
    return replace(LEARNER, inner_lr=rate).predict(params, exam(seed))


def measure(method: str, seed: int, steps: int = META_STEPS) -> tuple[dict[str, Any], Params]:
    """Train once and test: the returns of each goal, the inner rate, and the parameters."""
    training = trainer("maml" if method == "maml" else "pretrained", seed, steps)
    began = time.process_time()
    if method != "random":
        training.step(steps)
    seconds = time.process_time() - began
    params = training.params
    rate = LEARNER.inner_lr
    if method != "maml":
        rate = max(RATES, key=lambda r: returns(params, r, VALIDATION_SEED)[:, -1].mean().item())
    found = [[round(value, 2) for value in goal] for goal in returns(params, rate).tolist()]
    return {"method": method, "seed": seed, "rate": rate, "seconds": round(seconds, 1), "returns": found}, params


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m metalab.experiments.navigation", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0 on (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=META_STEPS, help="meta-steps (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=Path("build/navigation.json"), help="the file (%(default)s)")
    parser.add_argument("--params", type=Path, help="where to keep MAML's parameters of seed 0, in half precision")
    options = parser.parse_args(arguments)
    about = {"command": parser.prog, "metalab": __version__, "torch": torch.__version__, "steps": options.steps}
    data: dict[str, Any] = about | {"machine": machine.name("cpu"), "runs": []}
    try:
        whole(most=100, **{"--seeds": options.seeds})
        whole(**{"--steps": options.steps})
        options.json.parent.mkdir(parents=True, exist_ok=True)
        check_replaceable(options.json)
        if options.json.exists():
            data = json.loads(options.json.read_text())
            if data.get("steps") != options.steps:
                raise ValueError(f"--json {options.json} is of a study with other settings: name another file")
    except (TypeError, ValueError, OSError) as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    done = {(run["method"], run["seed"]) for run in data["runs"]}
    for seed in range(options.seeds):
        for method in METHODS:
            if (method, seed) in done:
                continue
            run, params = measure(method, seed, options.steps)
            data["runs"].append(run)
            replace_file(options.json, f"{json.dumps(data)}\n".encode())
            means = torch.tensor(run["returns"]).mean(0).tolist()
            print(method, seed, run["rate"], [round(m, 1) for m in means], f"{run['seconds']} s", flush=True)
            if options.params and (method, seed) == ("maml", 0):
                checkpoint.save(options.params, {name: p.half() for name, p in params.items()}, about | {"seed": 0})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
