"""How near does a recurrent network come to the best possible play of bandits? Several seeds, with the same test games.

    python -m metalab.experiments.bandits --json build/bandits.json    # about half a minute a seed on one core

It trains recurrent policies on bandits of 5 arms with 10 pulls. Each is then tested on the same 100,000 new bandits,
with the same luck as the policies that know the family: greedy, UCB1, Thompson sampling, Gittins' index and the optimal
one. The reward of a pull is counted as the chance of the arm that was pulled, which has the same mean and less noise.
For all but the network, the exact expected rewards are computed too.

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
from torch import Tensor

from .. import __version__, checkpoint
from ..analysis import bandits as rivals
from ..arguments import whole
from ..files import check_replaceable, replace_file
from ..learners import RecurrentPolicy
from ..nets import Params
from ..tasks import bandits
from ..train import Trainer
from . import machine

LEARNER = RecurrentPolicy()
BATCH, STEPS, PARTS = 512, 2000, 20
OUTER_LR, WARM_UP, ENTROPY = 1e-2, 20, 0.1  # the rate and the factor of the entropy at the start; both fall to 0
TASKS, TEST_SEED = 100_000, 1_000_000
POLICIES: dict[str, rivals.Policy] = {
    "any arm": rivals.uniform,
    "UCB1": rivals.UCB1(),
    "UCB1, best c": rivals.UCB1(0.0),
    "Thompson": rivals.thompson,
    "greedy": rivals.greedy,
    "Gittins": rivals.Gittins(),
    "optimal": rivals.Optimal(),
}


def rate(step: int, steps: int) -> float:
    """Return the outer learning rate of a step, counted from 1: it rises for a while, and falls to 0 in a line."""
    return OUTER_LR * min(1.0, step / WARM_UP) * (1 - (step - 1) / steps)


def games_of_test(tasks: int = TASKS) -> bandits.Bandits:
    """Return the bandits of the test, always the same ones."""
    return bandits.sample(tasks, torch.Generator().manual_seed(TEST_SEED))


def trained(seed: int, steps: int = STEPS) -> Params:
    """Return the parameters after a training."""
    training = Trainer(
        LEARNER, lambda g: bandits.sample(BATCH, g), outer_lr=lambda step: rate(step, steps), seed=seed, recordings=0
    )
    for part in range(PARTS):
        training.learner = replace(LEARNER, entropy=ENTROPY * (1 - part / PARTS))
        training.step(max(1, steps // PARTS))
    return {name: p.clone() for name, p in training.params.items()}


def measured(chances: Tensor, best: Tensor) -> dict[str, Any]:
    """Return what a method got [T, K], and its mean difference from the optimal play with the same luck [T, K].

    Returns:
        "reward": the mean of a whole game; "by pull": that of each pull; "below": how much less than the optimal play
        it got, and "error", the standard error of that difference over the bandits.
    """
    gap = best.sum(1) - chances.sum(1)
    return {
        "reward": round(chances.sum(1).mean().item(), 5),
        "by pull": [round(mean, 5) for mean in chances.mean(0).tolist()],
        "below": round(gap.mean().item(), 5),
        "error": round((gap.std() / len(gap) ** 0.5).item(), 5),
    }


def played(policy: rivals.Policy, games: bandits.Bandits) -> Tensor:
    """Return the chances of the arms that a policy pulls [T, K]."""
    return games.chances.gather(1, rivals.play(policy, games)[0])


def same_arm(params: Params, games: bandits.Bandits) -> list[float]:
    """Return how often the network's surest arm is an optimal one, for each pull, in the network's own games."""
    with torch.no_grad():
        game = LEARNER.play(params, games, surest=True)
    wins, losses = torch.zeros_like(games.chances), torch.zeros_like(games.chances)
    found = []
    for number in range(games.pulls):
        good = POLICIES["optimal"](wins, losses, games.pulls - number).gather(1, game.arms[:, number, None]) > 0
        found.append(round(good.double().mean().item(), 4))
        pulled = torch.nn.functional.one_hot(game.arms[:, number], games.arms).to(wins.dtype)
        paid = game.rewards[:, number, None]
        wins, losses = wins + pulled * paid, losses + pulled * (1 - paid)
    return found


def protocol(steps: int = STEPS, tasks: int = TASKS) -> dict[str, Any]:
    """Return what decides the results, as the file keeps it."""
    return {
        "arms": bandits.ARMS,
        "pulls": bandits.PULLS,
        "width": LEARNER.width,
        "batch": BATCH,
        "steps": steps,
        "outer_lr": OUTER_LR,
        "entropy": ENTROPY,
        "tasks": tasks,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m metalab.experiments.bandits", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0 on (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=Path("build/bandits.json"), help="the file (%(default)s)")
    parser.add_argument("--params", type=Path, help="where to keep the network of seed 0, in half precision")
    parser.add_argument("--quick", action="store_true", help="measure nothing: try out the command in seconds")
    options = parser.parse_args(arguments)
    about = protocol(PARTS, 200) if options.quick else protocol()
    try:
        whole(least=1, most=50, **{"--seeds": options.seeds})
        for path in filter(None, (options.json, options.params)):
            check_replaceable(path)
        data = json.loads(options.json.read_text()) if options.json.exists() else {"protocol": about, "runs": []}
        if data["protocol"] != about:
            raise ValueError(f"--json {options.json} holds trainings with other settings: name another file")
    except (TypeError, ValueError, KeyError, OSError) as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    games = games_of_test(about["tasks"])
    best = played(POLICIES["optimal"], games)

    def write() -> None:
        replace_file(options.json, f"{json.dumps(data, ensure_ascii=False)}\n".encode())

    if "rivals" not in data:
        data |= {
            "command": "python -m metalab.experiments.bandits",
            "machine": machine.name("cpu"),
            "metalab": __version__,
            "torch": torch.__version__,
            "exact": {name: rivals.expected_rewards(policy).tolist() for name, policy in POLICIES.items()},
            "rivals": {name: measured(played(policy, games), best) for name, policy in POLICIES.items()},
        }
        write()
    done = {run["seed"] for run in data["runs"]}
    for seed in (seed for seed in range(options.seeds) if seed not in done):
        start = time.process_time()
        params = trained(seed, about["steps"])
        row = {"seed": seed, "seconds": round(time.process_time() - start, 1)}
        row |= measured(LEARNER.predict(params, games), best) | {"optimal arm": same_arm(params, games)}
        data["runs"].append(row)
        write()
        print(f"seed {seed}: {row['reward']:.3f}, {row['below']:.3f} below the optimal play", flush=True)
        if seed == 0 and options.params:
            note = {"command": data["command"], "seed": 0, "steps": about["steps"], "metalab": __version__}
            checkpoint.save(options.params, {name: p.half() for name, p in params.items()}, note)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
