"""Learning to act: MAML and joint training on 2-D navigation, with several seeds.

    python -m metalab.experiments.navigation --json build/navigation.json    # about two minutes a seed on one core

"maml" is trained as `metalab.learners.policy_maml` says, for one inner step. "pretrained" is trained on the mean return
of all goals without adaptation. Both meet the same 40 test goals in the published environment, with 20 trajectories a
goal in each round, after 0, 1, 2 and 3 inner steps.

The first inner step of MAML has the rate of its training, and that of the pretrained policy a rate of `RATES`. The
steps after it have a share of that rate, one of `LATER`. For each method and number of steps, the pair with the highest
return on 40 validation goals after that many steps is chosen, over all seeds together. The parameters are rounded to
half precision before they are tested, as they are kept.

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
METHODS = ("maml", "pretrained")
META_STEPS, OUTER_LR = 150, 5e-3
TASKS, TRAJECTORIES = 20, 10  # of a meta-step
GOALS, TRIALS, ROUNDS = 40, 20, 4  # of a test
RATES = (0.5, 1.0, 2.0, 4.0)
LATER = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02)
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


def returns(params: Params, rate: float, later: float = 1.0, seed: int = TEST_SEED) -> torch.Tensor:
    """Return the mean return of each goal before and after each step: [40, 4].

    Args:
        params: the parameters.
        rate: that of the first inner step.
        later: the share of it that the steps after the first have.
        seed: of the goals and the noise.
    """
    return replace(LEARNER, inner_lr=rate, later=later).predict(params, exam(seed))


def rounded(tensor: torch.Tensor) -> list[Any]:
    """Return a tensor as lists of numbers with two digits behind the point."""
    return [rounded(part) if part.dim() else round(part.item(), 2) for part in tensor]


def trained(method: str, seed: int, steps: int = META_STEPS) -> tuple[Params, float]:
    """Return the parameters of a training, rounded to half precision, and the seconds that it took."""
    training = trainer(method, seed, steps)
    began = time.process_time()
    training.step(steps)
    return {name: p.half().float() for name, p in training.params.items()}, time.process_time() - began


def part(kept: Params, start: str) -> Params:
    """Return the parameters whose names start so, without this start."""
    return {name.removeprefix(start): p for name, p in kept.items() if name.startswith(start)}


def tried(method: str, params: Params) -> list[list[float]]:
    """Return rate, share, and the mean return of the validation goals after 0 to 3 steps, for each pair of the two."""
    rates = (LEARNER.inner_lr,) if method == "maml" else RATES
    return [[r, s, *rounded(returns(params, r, s, VALIDATION_SEED).mean(0))] for r in rates for s in LATER]


def chosen(runs: list[dict[str, Any]]) -> list[list[float]]:
    """Return the rate and the share that are best on the validation goals after 1, 2 and 3 steps, over these runs."""
    table = torch.tensor([run["tried"] for run in runs], dtype=torch.float64).mean(0)
    return [rounded(table[table[:, 2 + k].argmax(), :2]) for k in range(1, ROUNDS)]


def tested(params: Params, pairs: list[list[float]]) -> torch.Tensor:
    """Return the returns of the test goals [40, 4], after 1, 2 and 3 steps each with its own rate and share."""
    found = [returns(params, *pair) for pair in pairs]
    return torch.stack([found[0][:, 0], *(each[:, k] for k, each in enumerate(found, start=1))], 1)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m metalab.experiments.navigation", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0 on (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=META_STEPS, help="meta-steps (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=Path("build/navigation.json"), help="the file (%(default)s)")
    place = Path("build/navigation.safetensors")
    parser.add_argument("--params", type=Path, default=place, help="the file of the parameters (%(default)s)")
    options = parser.parse_args(arguments)
    about = {"command": parser.prog, "metalab": __version__, "torch": torch.__version__, "steps": options.steps}
    data: dict[str, Any] = about | {"machine": machine.name("cpu"), "chosen": {}, "runs": []}
    kept: Params = {}
    try:
        whole(most=100, **{"--seeds": options.seeds})
        whole(**{"--steps": options.steps})
        options.json.parent.mkdir(parents=True, exist_ok=True)
        check_replaceable(options.json)
        if options.json.exists():
            data = json.loads(options.json.read_text())
            if data.get("steps") != options.steps:
                raise ValueError(f"--json {options.json} is of a study with other settings: name another file")
            kept = checkpoint.load(options.params)[0]
    except (TypeError, ValueError, OSError) as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    done = {(run["method"], run["seed"]) for run in data["runs"]}
    for seed in range(options.seeds):
        for method in METHODS:
            if (method, seed) in done:
                continue
            params, seconds = trained(method, seed, options.steps)
            kept |= {f"{method}.{seed}.{name}": p for name, p in params.items()}
            data["runs"].append({"method": method, "seed": seed, "tried": tried(method, params)})
            checkpoint.save(options.params, {name: p.half() for name, p in kept.items()}, about)
            replace_file(options.json, f"{json.dumps(data)}\n".encode())
            print(f"{method}, seed {seed}: trained in {seconds:.1f} s", flush=True)
    for method in METHODS:
        runs = [run for run in data["runs"] if run["method"] == method]
        pairs = data["chosen"][method] = chosen(runs)
        for run in runs:
            run["returns"] = rounded(tested(part(kept, f"{method}.{run['seed']}."), pairs))
            print(method, run["seed"], pairs, rounded(torch.tensor(run["returns"]).mean(0)), flush=True)
    replace_file(options.json, f"{json.dumps(data)}\n".encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
