"""The cost of panels: how much they slow down a training, and how soon panels that train nothing answer a slider.

python -m benchmarks panels --json results/panels-cpu.json

Everything is measured in a kernel, as in a cell of a notebook. The characters are glyphs, because the time does not
depend on what they show. An answer is timed from the reader's move until the picture is handed to the page; the work of
the page itself is not measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import torch
from ipywidgets import FloatLogSlider, ToggleButtons, Widget

from metalab.experiments import domains, machine, navigation, uncertainty
from metalab.files import replace_file
from metalab.learners.causal_transformer import CausalTransformer
from metalab.learners.contrastive import Contrastive
from metalab.learners.maml import MAML
from metalab.learners.prototypical import PrototypicalNet
from metalab.lessons.domains_and_continual_learning import figures as kinds
from metalab.lessons.fast_learning_with_uncertainty import figures as bands
from metalab.lessons.kit import steering
from metalab.lessons.kit.guessing import Guesses
from metalab.lessons.kit.panels import Panel
from metalab.lessons.learning_in_context import figures as reading
from metalab.lessons.learning_to_act import figures as acting
from metalab.lessons.omniglot_few_shot import figures as characters
from metalab.lessons.second_vs_first_order_maml import figures as orders
from metalab.lessons.siamese_contrastive_loss import figures as siamese
from metalab.lessons.siamese_contrastive_loss.neighbours import Neighbours
from metalab.lessons.sine_regression import figures as sine
from metalab.lessons.variants_and_evidence import figures as evidence
from metalab.losses import mse
from metalab.nets import MLP, Conv4
from metalab.tasks import Characters, Groups, glyphs
from metalab.tasks.domains import digits
from tools import run_lessons

SHARE_GOAL, FRAMES_GOAL, ANSWER_GOAL = 0.90, 8.0, 60.0  # of the speed without a panel; per second; milliseconds
ROUNDS = 7
SECONDS = 4.0  # the approximate time of each training in a round


def trainings() -> dict[str, Callable[[], steering.SteeringPanel]]:
    """Return functions that make the lessons' panels that steer a training, by name."""
    train, test = glyphs.draw(alphabets=5, seed=0), glyphs.draw(alphabets=5, seed=1)
    return {
        "1: sine regression": sine.training_panel,
        "2: characters": lambda: characters.training_panel(train, test),
        "3: the contrastive loss": lambda: siamese.training_panel(train, test),
        "4: both orders": orders.training_panel,
        "9: learning to act": acting.training_panel,
    }


def answering() -> dict[str, Panel | Guesses | Neighbours]:
    """Return the lessons' panels that answer to the reader and train nothing, by name.

    Their networks are untrained, because a trained network takes as long.
    """
    sines = {name: MLP().init(seeded(i)) for i, name in enumerate(("one start", "another"))}
    test = glyphs.draw(alphabets=5, seed=1)
    small, embed = MAML(Conv4(outputs=5, channels=32), inner_lr=0.4), Conv4(channels=32)
    params, embed_params = small.net.init(seeded()), embed.init(seeded())
    protonet = PrototypicalNet(embed).with_statistics(embed_params, test.batch(100, seeded())[0])
    contrastive = Contrastive(embed).with_statistics(embed_params, test.batch(100, seeded())[0])
    transformer, maml = CausalTransformer(), MAML(MLP(), mse, inner_lr=0.01, inner_steps=10)
    alpaca = uncertainty.METHODS["alpaca"].learner
    pairs = torch.rand(4000, generator=seeded()), torch.arange(4000) % 2 == 0
    shown = siamese.Map(Groups(test, 8, 10)(1, seeded())[0], lambda params, x: params["w"] * x[:, 0, 10, :2])
    for step in range(9):
        shown.add(step, {"w": torch.tensor(1.0 + step)})
    steps = shown.panel()
    for control in steps.controls.values():
        control.value = control.min  # it begins at its end
    return {
        "1: adaptation, two starts": sine.adaptation_panel(sines),
        "2: the game, 20 characters": characters.Game(test, ways=(20,)),
        "2: inner steps of an episode": characters.adaptation_panel(small, params, test.sample(1, 5, 1, 3, seeded())),
        "2: ways, shots and the inner loop": characters.episode_panel(
            test, small, params, partial(protonet.predict, embed_params)
        ),
        "3: same or different": siamese.PairsGame({"any": Groups(test, 2, 2)}),
        "3: nearest drawings": Neighbours(glyphs.draw(alphabets=20, seed=1), partial(contrastive.embed, embed_params)),
        "3: margin": siamese.margin_panel(),
        "3: map": steps,
        "3: threshold": siamese.threshold_panel(*pairs, title="4,000 pairs"),
        "3: base rate": siamese.base_rate_panel(*pairs, threshold=0.5, title="precision at a threshold (Omniglot)"),
        "4: three tasks in a plane": orders.plane_panel(),
        "5: seeds": evidence.seeds_panel(),
        "7: points in context": reading.context_panel(
            {
                "transformer": (transformer, transformer.init(seeded())),
                "MAML, 10 steps": (maml, maml.init(seeded())),
            }
        ),
        "7: shifts of linear functions": reading.shift_panel(),
        "8: bands of two methods": bands.bands_panel(
            {"ALPaCA": partial(alpaca.predictive, alpaca.init(seeded())), "exact Bayes": uncertainty.exact}
        ),
        "9: a goal to walk to": acting.goal_panel(navigation.LEARNER.init(seeded()), navigation.LEARNER),
        "10: domains": kinds.domains_panel({"digits": digits()}, test, _on_domains(test)),
    }


def _on_domains(test: Characters) -> dict[str, domains.Answer]:
    """Return the methods of lesson 10's panel, with untrained networks."""
    embedding, classifier = domains.EMBEDDING.init(seeded()), Conv4(len(test), domains.CHANNELS).init(seeded())
    maml = Conv4(domains.WAYS[1], domains.CHANNELS).init(seeded())
    found = domains.methods("prototypical", embedding, test) | domains.methods("classifier", classifier, test)
    found |= domains.methods("maml", maml, test) | {"pixels": domains.pixels}
    shown = {kinds.TITLES[name]: found[name] for name in ("prototypes", "nearest mean", "MAML", "pixels")}
    return shown | {"nearest mean, support's statistics": found["nearest mean, support"]}


def seeded(seed: int = 0) -> torch.Generator:
    """Return a generator with a seed."""
    return torch.Generator().manual_seed(seed)


async def steered(new: Callable[[], steering.SteeringPanel], *, rounds: int, seconds: float) -> dict[str, Any]:
    """Time a training with its panel, and without its panel before and after.

    The time without the panel is the mean of the two, so that a machine that becomes slower or faster disturbs the
    comparison less.

    Args:
        new: makes the panel.
        rounds: the number of rounds.
        seconds: the approximate time of each training; it decides the number of steps.

    Returns:
        The number of steps; and for each round the milliseconds of a meta-step without the panel, the speed with the
        panel as a share of the speed without it, and the pictures per second.
    """
    shares, bare, frames = [], [], []
    steps = max(10, round(seconds / _seconds_alone(new(), 10) * 10))
    for _ in range(rounds):
        earlier = _seconds_alone(new(), steps)
        panel = new()
        before, start = panel.frames, time.perf_counter()
        await panel.train(steps)
        live = time.perf_counter() - start
        alone = (earlier + _seconds_alone(new(), steps)) / 2
        bare.append(1e3 * alone / steps)
        shares.append(alone / live)
        frames.append((panel.frames - before) / live)
    return {"steps": steps, "ms": bare, "share": shares, "frames": frames}


def _seconds_alone(panel: steering.SteeringPanel, steps: int) -> float:
    """Return the seconds that the panel's training takes without the panel, after some steps that do not count."""
    trainer = panel.driver.trainer
    for _ in range(5):
        trainer.step()
    start = time.perf_counter()
    for _ in range(steps):
        trainer.step()
    return time.perf_counter() - start


def answers(panel: Panel | Guesses | Neighbours) -> list[float]:
    """Return the milliseconds from each of the reader's moves to the new picture."""
    found = []
    for move in moves(panel):
        start = time.perf_counter()
        move()
        found.append(1e3 * (time.perf_counter() - start))
    return found


def moves(panel: Panel | Guesses | Neighbours) -> Iterator[Callable[[], None]]:
    """Yield moves that a reader may make, each of which changes what is shown.

    Each slider and row of buttons is moved to nine places, while the others stay where they are. Of a game, fifteen
    questions are answered.
    """
    if isinstance(panel, Guesses):
        for _ in range(15):
            if panel.question is None:
                panel.play_again()
            yield partial(panel.answer, 1)
            yield panel.go_on
        return
    for control in panel.controls.values():
        if not hasattr(control, "min") and not isinstance(control, ToggleButtons):
            continue
        before = control.value
        for value in places(control):
            if value != control.value:
                yield partial(setattr, control, "value", value)
        control.value = before


def places(slider: Widget, count: int = 9) -> list[float]:
    """Return `count` values of a slider or a row of buttons, from one end to the other; fewer if it has no more."""
    if isinstance(slider, ToggleButtons):
        values = [option if isinstance(option, str) else option[1] for option in slider.options]
        count = min(count, len(values))
        return [values[i * (len(values) - 1) // max(1, count - 1)] for i in range(count)]
    kind = type(slider.min)
    ends = [slider.min + (slider.max - slider.min) * i / (count - 1) for i in range(count)]
    return [slider.base**end if isinstance(slider, FloatLogSlider) else kind(end) for end in ends]


async def measure(*, rounds: int = ROUNDS, seconds: float = SECONDS) -> dict[str, Any]:
    """Measure all panels in the kernel that this function runs in; with 0 rounds those that train nothing."""
    steering_too = trainings().items() if rounds else ()
    found = {name: await steered(new, rounds=rounds, seconds=seconds) for name, new in steering_too}
    return {
        "machine": machine.about("cpu", ("torch", "ipywidgets", "ipykernel", "matplotlib")),
        "goals": {"share": SHARE_GOAL, "frames": FRAMES_GOAL, "ms": ANSWER_GOAL},
        "trainings": found,
        "answers": {name: answers(panel) for name, panel in answering().items()},
    }


def in_a_kernel(rounds: int = ROUNDS) -> dict[str, Any]:
    """Run `measure` in a cell of a fresh kernel, and return what it returns.

    Raises:
        RuntimeError: the cell failed.
    """
    cell = nbformat.v4.new_code_cell(
        f"import json\nfrom benchmarks import panels\nprint(json.dumps(await panels.measure(rounds={rounds})))"
    )
    if failure := run_lessons.execute(nbformat.v4.new_notebook(cells=[cell]), Path.cwd(), timeout=3600):
        raise RuntimeError(failure)
    printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
    return json.loads(printed.splitlines()[-1])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m benchmarks panels`."""
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help="of the trainings (default: %(default)s); 0 leaves them out"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there too")


def run(options: argparse.Namespace) -> int:
    """Measure in a fresh kernel, print the results, and write them to a file if one was named."""
    found = in_a_kernel(options.rounds)
    for name, training in found["trainings"].items():
        share, frames = statistics.median(training["share"]), statistics.median(training["frames"])
        print(f"{name:32} {share:6.1%} of the speed without a panel, {frames:.1f} frames a second")
    for name, times in found["answers"].items():
        slowest = statistics.quantiles(times, n=20)[-1]
        print(f"{name:34} {statistics.median(times):6.1f} ms from a move to its picture, 95 % within {slowest:.0f}")
    if options.json:
        replace_file(options.json, f"{json.dumps(found, indent=1)}\n".encode())
    return 0
