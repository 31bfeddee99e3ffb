"""The character lesson's pictures, its game and its panels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import ipywidgets as widgets
import torch
from matplotlib.artist import Artist
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from ..evaluate import Score
from ..learners.maml import MAML
from ..losses import accuracy
from ..nets import Conv4, Params
from ..tasks import Characters, Episode, glyphs, omniglot
from ..train import Step, Trainer
from . import live, steer
from .figures import BLUE, GREEN, VERMILION, draw_character, figure, finish, plural
from .live import LivePicture, Panel, log_slider, show_widget, slider
from .sine import smooth
from .steer.view import View

Predict = Callable[[Episode], Tensor]  # logits [T, Q, N] of an episode's queries


def load_characters() -> tuple[Characters, Characters]:
    """Training and test characters: real Omniglot where it can be had, glyphs otherwise; says which.

    Raises:
        OmniglotRefused: METALAB_DATA names damaged data; that is for the reader to mend, not to be passed over.
    """
    try:
        train, test = omniglot.load()
    except omniglot.OmniglotNotFound as reason:
        print(f"Omniglot could not be had, so this lesson runs on glyphs, drawn by our own code.\n{reason}")
        train, test = glyphs.draw(alphabets=30, seed=0), glyphs.draw(alphabets=20, seed=1)
        # Test glyphs are named on from the training glyphs: they are other alphabets.
        test = replace(test, names=tuple(f"glyphs {len(train.names) + i + 1}" for i in range(len(test.names))))
    for name, characters in {"train on": train, "test on": test}.items():
        alphabets = plural(len(characters.names), "alphabet")
        print(f"{name:8} {len(characters):4} characters of {alphabets} ({characters.source})")
    return train, test


def draw_alphabets(characters: Characters, alphabets: list[int], count: int = 12) -> Figure:
    """The first `count` characters of some alphabets, one alphabet a row, and one drawing of each."""
    fig, axes = figure(11, 1.05 * len(alphabets) + 0.4, nrows=len(alphabets), ncols=count, squeeze=False)
    for row, alphabet in zip(axes, alphabets, strict=True):
        for ax in row:
            ax.axis("off")
        members = (characters.alphabet == alphabet).nonzero().flatten()[:count]
        for ax, member in zip(row, members, strict=False):
            ax.axis("on")
            draw_character(ax, characters.images[member, 0].float() / 255)
        row[0].set_title(characters.names[alphabet].replace("_", " "), fontsize=11, loc="left")
    fig.suptitle(f"characters of {plural(len(alphabets), 'alphabet')} ({characters.source})", fontsize=13)
    return fig


def draw_answers(episode: Episode, logits: Tensor | None, title: str) -> Figure:
    """The first task: a column per class, its support drawing on top, below it its queries with the net's answers.

    A right answer has a green frame and ✓, a wrong one an orange frame, ✗ and the class it named; the percentage
    is the probability given to the answer.
    """
    ways = episode.ways
    shots, queries = (len(x[0]) // ways for x in (episode.support_x, episode.query_x))
    fig, axes = figure(
        max(6.0, 1.15 * ways), 1.35 * (shots + queries) + 0.5, nrows=shots + queries, ncols=ways, squeeze=False
    )
    for n in range(ways):
        for k in range(shots):
            draw_character(axes[k, n], episode.support_x[0, n * shots + k], f"class {n + 1}" if k == 0 else "")
        for q in range(queries):
            row = n * queries + q
            label, frame = ("query" if n == 0 and logits is None else ""), None
            if logits is not None:
                probability, answer = logits[0, row].softmax(0).max(0)
                right = answer.item() == n
                frame = GREEN if right else VERMILION
                label = f"✓ {probability:.0%}" if right else f"✗ {answer.item() + 1} ({probability:.0%})"
            draw_character(axes[shots + q, n], episode.query_x[0, row], label, frame=frame)
    fig.suptitle(title, fontsize=13)
    return fig


def train_live(trainer: Trainer, steps: int, score: Callable[[Params], Score], *, title: str) -> list[Step]:
    """Take `steps` meta-steps; draw the training accuracy, and after every quarter of them the test accuracy.

    Args:
        trainer: gives an `accuracy` among its metrics.
        steps: the budget, in steps and not in seconds, so that a slower machine gets the same result.
        score: the current parameters on unseen characters.
        title: of the figure.
    """
    tests: dict[int, Score] = {}

    def draw(done: list[Step]) -> tuple[Figure, str]:
        fig, ax = figure(9, 3.6)
        ax.plot(
            [step.number for step in done],
            100 * smooth([step.metrics["accuracy"] for step in done], 25),
            color=BLUE,
            label="training episodes, mean of 25 steps",
        )
        if tests:
            means, bars = zip(*((100 * s.mean, 100 * s.ci95) for s in tests.values()), strict=True)
            ax.errorbar(list(tests), means, bars, color=VERMILION, fmt="o--", capsize=4, label="unseen characters")
        finish(ax, title, "meta-step", "accuracy (%)", legend=True)
        words = f"{title}: meta-step {trainer.steps} of {steps}"
        if tests:
            words += f"; on unseen characters {list(tests.values())[-1].percent()}"
        return fig, words + "."

    def test(step: Step) -> None:
        if step.number % max(1, steps // 4) == 0 or step.number == steps:
            tests[step.number] = score(trainer.params)

    words = f"{title}: accuracy, drawn while the network trains."
    # A picture takes longer than a step, and this training keeps both cores busy: one a second is enough.
    return live.train_live(trainer, steps, draw, alt=words, after=test, per_second=1)


@dataclass
class Round:
    """One question of the game: a 1-shot task, and one query of it."""

    episode: Episode
    query: int  # row in the episode's query set
    answer: int | None = None  # what the reader said, from 0

    @property
    def truth(self) -> int:
        return int(self.episode.query_y[0, self.query])


class Game:
    """The reader plays the few-shot game: one drawing of each of N characters, then which one is this?

    Args:
        characters: where the questions come from.
        ways: N, or several to choose from; each has questions and a score of its own.
        rounds: how many questions each.
        seed: of the questions.
    """

    def __init__(
        self, characters: Characters, *, ways: tuple[int, ...] = (5, 20), rounds: int = 10, seed: int = 0
    ) -> None:
        self.source = characters.source
        generator = torch.Generator().manual_seed(seed)
        self.rounds: dict[int, list[Round]] = {}
        for n in ways:
            episodes = [characters.sample(1, n, 1, 1, generator) for _ in range(rounds)]
            queries = torch.randint(n, (rounds,), generator=generator).tolist()
            self.rounds[n] = [Round(e, q) for e, q in zip(episodes, queries, strict=True)]
        self.ways = widgets.ToggleButtons(options=[(f"{n} characters", n) for n in ways], description="level")
        self.ways.observe(lambda _change: self._next("New level."), names="value")
        self.buttons = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap"))
        self.picture = LivePicture()
        self.box = widgets.VBox([self.ways, self.picture.box, self.buttons])
        self._next("Which one is it?")

    @property
    def round(self) -> Round | None:
        """The question that is asked now; None when all are answered."""
        return next((r for r in self.rounds[self.ways.value] if r.answer is None), None)

    def answer(self, number: int) -> None:
        """Say that the new drawing is character `number`, counted from 1: what the buttons do."""
        current = self.round
        if current is None:
            return
        if not 1 <= number <= self.ways.value:
            raise ValueError(f"number={number} must be one of 1 … {self.ways.value}")
        current.answer = number - 1
        right = current.answer == current.truth
        self._next("✓ Right!" if right else f"✗ No, it was {current.truth + 1}.")

    def score(self, ways: int) -> tuple[int, int]:
        """How many questions of a level were answered rightly, and how many were answered."""
        played = [r for r in self.rounds[ways] if r.answer is not None]
        return sum(r.answer == r.truth for r in played), len(played)

    def network_score(self, predict: Predict, ways: int) -> int:
        """How many of *all* the questions of a level a network answers rightly. A tie counts as wrong."""
        right = 0
        for r in self.rounds[ways]:
            logits = predict(r.episode)[0, r.query]
            right += bool((logits == logits.max()).sum() == 1 and logits.argmax().item() == r.truth)
        return right

    def _next(self, said: str) -> None:
        ways, current = self.ways.value, self.round
        right, played = self.score(ways)
        total = len(self.rounds[ways])
        columns = min(ways, 10)
        lines = -(-ways // columns)
        fig, axes = figure(11, 1.4 * lines + 1.9, nrows=lines + 1, ncols=columns, squeeze=False)
        for ax in axes.flat:
            ax.axis("off")
        shown = current or self.rounds[ways][-1]
        for n in range(ways):
            ax = axes[n // columns, n % columns]
            ax.axis("on")
            draw_character(ax, shown.episode.support_x[0, n], f"{n + 1}")
        ax = axes[lines, (columns - 1) // 2]
        ax.axis("on")
        draw_character(ax, shown.episode.query_x[0, shown.query], "which one is this?", frame=BLUE)
        fig.suptitle(f"one drawing of each of {ways} characters ({self.source})", fontsize=13)
        state = f"Question {played + 1} of {total}." if current else f"All {total} questions answered."
        self.picture.draw(fig, f"{said} {state} Score: {right} of {played}.")
        if len(self.buttons.children) != ways:
            self.buttons.children = [self._button(n) for n in range(1, ways + 1)]
        for button in self.buttons.children:
            button.disabled = current is None

    def _button(self, number: int) -> widgets.Button:
        button = widgets.Button(description=str(number), layout=widgets.Layout(width="56px"))
        button.on_click(lambda _button: self.answer(number))
        return button

    def show(self) -> None:
        show_widget(self.box, self.picture.image.value, "A game: pick the character that the new drawing shows.")


def print_game_scores(game: Game, networks: dict[str, Predict]) -> None:
    """The reader's score at each level of the game, and what each network makes of the same questions."""
    for ways, rounds in game.rounds.items():
        right, played = game.score(ways)
        you = f"you {right} of {played}" if played else "you have not played yet"
        scores = [f"{name} {game.network_score(predict, ways)} of {len(rounds)}" for name, predict in networks.items()]
        print(f"{ways:2} characters: {you}; " + ", ".join(scores))


def adaptation_panel(learner: MAML, params: Params, episode: Episode, *, steps: int = 10) -> Panel:
    """A slider through the inner steps of one episode, with the adapted net's answer to each query."""
    trajectory = learner.adapt(params, episode, steps=steps)

    def redraw(step: int) -> tuple[Figure, str]:
        logits = learner.query(trajectory[step], episode)
        correct = accuracy(logits, episode.query_y)[0].item()
        surety = logits.softmax(2).gather(2, episode.query_y[..., None]).mean().item()
        words = (
            f"After {plural(step, 'inner step')}: {correct:.0%} of the queries right; "
            f"probability given to the true class: {surety:.0%} on average."
        )
        return draw_answers(episode, logits, f"MAML after {plural(step, 'inner step')}"), words

    controls = {"step": slider("inner step", 0, 0, steps, 1)}
    return Panel(controls, redraw, alt="Panel: a slider through the inner steps of one episode.")


def episode_panel(
    characters: Characters, maml: MAML, maml_params: Params, protonet: Predict, *, episodes: int = 20, seed: int = 0
) -> Panel:
    """Sliders for the episode and for MAML's inner loop, on trained networks: one episode shown, `episodes` scored."""

    def redraw(ways: int, shots: int, inner_lr: float, steps: int) -> tuple[Figure, str]:
        episode = characters.sample(episodes, ways, shots, 1, torch.Generator().manual_seed(seed))
        logits = protonet(episode)
        scores = {"prototypes": Score.of(accuracy(logits, episode.query_y))}
        words, shown = "", "prototypes"
        if ways <= maml.net.outputs:
            learner = replace(maml, inner_lr=inner_lr, inner_steps=steps)
            logits = learner.predict(maml_params, episode)
            if not torch.isfinite(logits).all():
                words = f" MAML's adaptation diverged: move the inner learning rate (now {inner_lr:.2g}) to the left."
            scores["MAML"], shown = Score.of(accuracy(logits, episode.query_y)), "MAML"
        else:
            words = f" MAML's last layer was trained for {maml.net.outputs} ways, so it is not asked."
        told = ", ".join(f"{name} {score.percent()}" for name, score in scores.items())
        fig = draw_answers(episode[:1], logits[:1], f"{ways}-way {shots}-shot: one episode, answers by {shown}")
        return fig, f"Accuracy over {episodes} episodes of unseen characters: {told}.{words}"

    controls = {
        "ways": slider("ways N", 5, 2, 20, 1),
        "shots": slider("shots K", 1, 1, 5, 1),
        "inner_lr": log_slider("inner learning rate α", maml.inner_lr, -3, 1),
        "steps": slider("inner steps", maml.inner_steps, 0, 10, 1),
    }
    return Panel(
        controls, redraw, alt="Panel: sliders for ways, shots and MAML's inner loop; accuracy on new episodes."
    )


class AnswersPicture:
    """One task of unseen characters beside the loss curve of a training that is steered: the answers as they are now.

    Its only task is drawn as by `draw_answers`: the support on top, and below it the queries with the answers.
    """

    def __init__(self, episode: Episode) -> None:
        self.episode = episode

    def look(self, driver: steer.Driver) -> Tensor:
        """The probabilities [Q, N] of the present parameters, adapted with the settings of now."""
        return driver.trainer.learner.predict(driver.trainer.params, self.episode)[0].softmax(1)

    def draw(self, figure: SubFigure) -> list[Artist]:
        ways, queries = self.episode.ways, len(self.episode.query_x[0]) // self.episode.ways
        axes = figure.subplots(1 + queries, ways, squeeze=False)
        figure.suptitle("an unseen task, after adaptation", fontsize=12)
        self.answers, self.frames = [], []
        for n in range(ways):
            draw_character(axes[0, n], self.episode.support_x[0, n], f"class {n + 1}")
            for q in range(queries):
                ax = axes[1 + q, n]
                draw_character(ax, self.episode.query_x[0, n * queries + q], "✗ 5 (100%)", frame=GREEN)
                self.answers.append(ax.title)
                self.frames.append(list(ax.spines.values()))
        return [*self.answers, *(spine for frame in self.frames for spine in frame)]

    def update(self, data: Tensor) -> str:
        truth = self.episode.query_y[0].tolist()
        surest, answers = data.max(1)
        rows = zip(self.answers, self.frames, surest.tolist(), answers.tolist(), truth, strict=True)
        for title, frame, probability, answer, true in rows:
            right = answer == true
            title.set_text(f"✓ {probability:.0%}" if right else f"✗ {answer + 1} ({probability:.0%})")
            for spine in frame:
                spine.set_color(GREEN if right else VERMILION)
        correct = sum(answer == true for answer, true in zip(answers.tolist(), truth, strict=True))
        return f"On an unseen task {correct} of {len(truth)} queries are right after adaptation."


def training_panel(train: Characters, test: Characters, *, seed: int = 0) -> steer.Panel:
    """MAML on characters, to be steered while it trains: `await training_panel(train, test).train(200)`."""
    values = {"inner_lr": 0.4, "outer_lr": 1e-2, "inner_steps": 1, "order": 2}
    # A tensor can change without a new learner.
    learner = MAML(Conv4(outputs=5, channels=32), inner_lr=torch.tensor(0.4), transductive=True)
    turned = train.with_rotations()
    driver = steer.Driver(learner, lambda g: turned.sample(8, 5, 1, 3, g), values, seed=seed)
    picture = AnswersPicture(test.sample(1, 5, 1, 2, torch.Generator().manual_seed(seed)))
    alt = "Panel: sliders that steer MAML on characters while it trains; its loss, and its answers to an unseen task."
    return steer.Panel(driver, View(picture, loss="query loss (cross-entropy)"), look=picture.look, alt=alt)
