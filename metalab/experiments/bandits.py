"""How near does a recurrent network come to the best possible play of bandits? Several seeds, without any luck.

    python -m metalab.experiments.bandits --json build/bandits.json    # about half a minute a seed on one core

It trains recurrent policies on bandits of 5 arms with 10 pulls. The expected rewards of all players are computed
exactly, for chances that are uniform in 0 … 1. The network always pulls its surest arm. What it does then depends only
on what its pulls paid, so that 1,024 games show all that it can do. Its parameters are rounded to half precision before
that, as they are kept. The other players know the family: greedy, UCB1, Thompson sampling, Gittins' index and the
optimal one.

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
POLICIES: dict[str, rivals.Policy] = {
    "any arm": rivals.uniform,
    "UCB1": rivals.UCB1(),
    "UCB1, best c": rivals.UCB1(0.0),
    "UCB1 with prior": rivals.UCB1(0.01, prior=True),
    "Thompson": rivals.thompson,
    "greedy": rivals.greedy,
    "greedy, least pulled": rivals.greedy_least_pulled,
    "Gittins": rivals.Gittins(),
    "optimal": rivals.Optimal(),
}


def rate(step: int, steps: int) -> float:
    """Return the outer learning rate of a step, counted from 1: it rises for a while, and falls to 0 in a line."""
    return OUTER_LR * min(1.0, step / WARM_UP) * (1 - (step - 1) / steps)


def trained(seed: int, steps: int = STEPS) -> Params:
    """Return the parameters after a training, rounded to half precision."""
    training = Trainer(
        LEARNER, lambda g: bandits.sample(BATCH, g), outer_lr=lambda step: rate(step, steps), seed=seed, recordings=0
    )
    for part in range(PARTS):
        training.learner = replace(LEARNER, entropy=ENTROPY * (1 - part / PARTS))
        training.step(max(1, steps // PARTS))
    return {name: p.half().float() for name, p in training.params.items()}


def exact(params: Params) -> Tensor:
    """Return the expected reward of each pull [K] of the network's surest play, without drawing any bandit.

    In game i, the digits of i in base 2 say which pulls pay. A game has the probability that these payments have if the
    arms are pulled that the network pulls in it.
    """
    pulls = bandits.PULLS
    paid = torch.arange(2**pulls)[:, None] >> torch.arange(pulls) & 1
    chances = torch.full((len(paid), LEARNER.arms), 0.5)
    # A pull pays if its luck is below the chance: 0 is, and 1 is not.
    games = bandits.Bandits(chances, 1.0 - paid, torch.zeros(paid.shape))
    with torch.no_grad():
        arms = LEARNER.play(params, games, surest=True).arms
    pulled = torch.nn.functional.one_hot(arms, LEARNER.arms).double()  # [games, K, A]
    wins, losses = pulled * paid[:, :, None], pulled * (1 - paid[:, :, None])
    before = (part.cumsum(1) - part for part in (wins, losses))
    mean = (rivals.posterior_mean(*before) * pulled).sum(2)
    share = torch.where(paid > 0, mean, 1 - mean).prod(1)
    return (share[:, None] * paid).sum(0)


def protocol(steps: int = STEPS) -> dict[str, Any]:
    """Return what decides the results, as the file keeps it."""
    return {
        "arms": bandits.ARMS,
        "pulls": bandits.PULLS,
        "width": LEARNER.width,
        "batch": BATCH,
        "steps": steps,
        "outer_lr": OUTER_LR,
        "entropy": ENTROPY,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m metalab.experiments.bandits", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0 on (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=Path("build/bandits.json"), help="the file (%(default)s)")
    parser.add_argument("--params", type=Path, help="where to keep the networks, in half precision")
    parser.add_argument("--quick", action="store_true", help="measure nothing: try out the command in seconds")
    options = parser.parse_args(arguments)
    about = protocol(PARTS) if options.quick else protocol()
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
    kept = checkpoint.load(options.params)[0] if data["runs"] and options.params else {}
    data |= {
        "command": "python -m metalab.experiments.bandits",
        "machine": machine.name("cpu"),
        "metalab": __version__,
        "torch": torch.__version__,
        "exact": {name: rivals.expected_rewards(policy).tolist() for name, policy in POLICIES.items()},
    }
    done = {run["seed"] for run in data["runs"]}
    for seed in (seed for seed in range(options.seeds) if seed not in done):
        start = time.process_time()
        params = trained(seed, about["steps"])
        seconds = round(time.process_time() - start, 1)
        if options.params:
            kept |= {f"{seed}.{name}": p for name, p in params.items()}
            note = {name: data[name] for name in ("command", "metalab", "protocol")}
            checkpoint.save(options.params, {name: p.half() for name, p in kept.items()}, note)
        row = {"seed": seed, "seconds": seconds, "by pull": exact(params).tolist()}
        data["runs"].append(row)
        replace_file(options.json, f"{json.dumps(data, ensure_ascii=False)}\n".encode())
        print(f"seed {seed}: {sum(row['by pull']):.4f} of {sum(data['exact']['optimal']):.4f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
