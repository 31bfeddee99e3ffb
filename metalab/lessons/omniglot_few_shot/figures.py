"""The figures, the game and the panels of the characters lesson."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import ipywidgets as widgets
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from torch import Tensor
from torch.nn.functional import pad

from ...evaluate import Score
from ...learners.maml import MAML
from ...losses import accuracy
from ...nets import Conv4, Params
from ...tasks import Characters, Episode
from ..kit import steering
from ..kit.figures import BLUE, GREEN, VERMILION, draw_character, figure, plural
from ..kit.panels import LivePicture, Panel, log_slider, show_widget, slider
from ..kit.steering.view import Canvas, View

Predict = Callable[[Episode], Tensor]  # maps an episode to the logits [T, Q, N] of its queries


def draw_alphabets(characters: Characters, alphabets: list[int], count: int = 12) -> Figure:
    """Draw one drawing of each of the first `count` characters of some alphabets, with one alphabet per row."""
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


class Answers:
    """A task's drawings and the answers to its queries. Each class has a column, with its queries below its support.

    A right answer has a green frame and ✓. A wrong one has an orange frame, ✗ and the class that was named. The
    percentage is the probability that the answer was given. All drawings are one image, because matplotlib took a fifth
    of a second to draw them on axes of their own.

    Args:
        ax: the axes to draw on.
        episode: the episode whose first task is shown.
    """

    def __init__(self, ax: Axes, episode: Episode) -> None:
        height, width = episode.support_x.shape[-2:]
        # This is the room, in pixels, above each drawing for its label, and to its left and right.
        above, between = round(0.45 * height), round(0.1 * width)
        support, query = (
            x[0].reshape(episode.ways, -1, height, width).cpu() for x in (episode.support_x, episode.query_x)
        )
        cells = pad(1 - torch.cat([support, query], 1), (between, between, above, 0), value=1.0)  # [N, K + Q, H, W]
        image = cells.permute(1, 2, 0, 3).reshape(-1, episode.ways * cells.shape[3])
        ax.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1)
        ax.axis("off")
        self.truth = episode.query_y[0].tolist()
        self.labels, self.frames = [], []
        for n in range(episode.ways):
            for row in range(cells.shape[1]):
                x, y = n * cells.shape[3] + between - 0.5, row * cells.shape[2] + above - 0.5
                frame = Rectangle((x, y), width, height, fill=False, edgecolor="#BBBBBB", clip_on=False)
                ax.add_patch(frame)
                caption = f"class {n + 1}" if row == 0 else "query" if (n, row) == (0, support.shape[1]) else ""
                label = ax.text(x + width / 2, y - 1.5, caption, fontsize=11, ha="center", va="bottom")
                if row >= support.shape[1]:
                    self.labels.append(label)
                    self.frames.append(frame)

    @property
    def moving(self) -> list[Artist]:
        """Return the artists that `update` changes."""
        return [*self.labels, *self.frames]

    def update(self, probabilities: Tensor) -> int:
        """Show the answers, given the probability of each class [Q, N]. Return how many answers are right."""
        highest, answers = (x.tolist() for x in probabilities.max(1))
        for label, frame, probability, answer, true in zip(
            self.labels, self.frames, highest, answers, self.truth, strict=True
        ):
            right = answer == true
            label.set_text(f"✓ {probability:.0%}" if right else f"✗ {answer + 1} ({probability:.0%})")
            frame.set(edgecolor=GREEN if right else VERMILION, linewidth=3)
        return sum(answer == true for answer, true in zip(answers, self.truth, strict=True))


def draw_answers(episode: Episode, logits: Tensor | None, title: str) -> Figure:
    """Draw the first task's drawings, and the answers to its queries if there are logits [T, Q, N]."""
    fig, ax, drawn = _answers(episode)
    ax.set_title(title, fontsize=13)
    if logits is not None:
        drawn.update(logits[0].softmax(1))
    return fig


def _answers(episode: Episode) -> tuple[Figure, Axes, Answers]:
    """Draw the first task on a figure that is as large as the task needs."""
    rows = (episode.support_x.shape[1] + episode.query_x.shape[1]) // episode.ways
    height = 1.35 * rows + 0.5
    fig, ax = figure(max(6.0, 1.15 * episode.ways), height)
    fig.set_layout_engine(None)  # it takes as long as drawing, and only the title needs room
    ax.set_position((0.01, 0.01, 0.98, 0.98 - 0.4 / height))
    return fig, ax, Answers(ax, episode)


@dataclass
class Round:
    """One question of the game: a 1-shot task, and one of its queries."""

    episode: Episode
    query: int  # the row in the episode's query set
    answer: int | None = None  # the class that the reader chose, counted from 0; None until then

    @property
    def truth(self) -> int:
        """Return the right class, counted from 0."""
        return int(self.episode.query_y[0, self.query])


class Game:
    """The few-shot game for the reader: given one drawing of each of N characters, which one does a new drawing show?

    Args:
        characters: the characters that the questions are about. The questions are on their device.
        ways: the numbers N that the reader can choose from. Each has its own questions and its own score.
        rounds: how many questions there are for each N.
        seed: the seed of the questions.
    """

    def __init__(
        self, characters: Characters, *, ways: tuple[int, ...] = (5, 20), rounds: int = 10, seed: int = 0
    ) -> None:
        self.source = characters.source
        generator = torch.Generator(characters.images.device).manual_seed(seed)
        self.rounds: dict[int, list[Round]] = {}
        for n in ways:
            episodes = [characters.sample(1, n, 1, 1, generator) for _ in range(rounds)]
            queries = torch.randint(n, (rounds,), generator=generator, device=generator.device).tolist()
            self.rounds[n] = [Round(e, q) for e, q in zip(episodes, queries, strict=True)]
        self.ways = widgets.ToggleButtons(options=[(f"{n} characters", n) for n in ways], description="level")
        self.ways.observe(lambda _change: self._next("New level."), names="value")
        self.buttons = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap"))
        self.picture = LivePicture()
        self.box = widgets.VBox([self.ways, self.picture.box, self.buttons])
        self._next("Which one is it?")

    @property
    def round(self) -> Round | None:
        """Return the current question; None when all questions are answered."""
        return next((r for r in self.rounds[self.ways.value] if r.answer is None), None)

    def answer(self, number: int) -> None:
        """Answer that the new drawing shows character `number`, counted from 1, as the buttons do.

        Raises:
            ValueError: there is no character of this number.
        """
        current = self.round
        if current is None:
            return
        if not 1 <= number <= self.ways.value:
            raise ValueError(f"number={number} must be one of 1 … {self.ways.value}")
        current.answer = number - 1
        right = current.answer == current.truth
        self._next("✓ Right!" if right else f"✗ No, it was {current.truth + 1}.")

    def score(self, ways: int) -> tuple[int, int]:
        """Return how many questions of a level the reader answered correctly, and how many the reader answered."""
        played = [r for r in self.rounds[ways] if r.answer is not None]
        return sum(r.answer == r.truth for r in played), len(played)

    def network_score(self, predict: Predict, ways: int) -> int:
        """Return how many of *all* the questions of a level a network answers correctly. A tie counts as wrong."""
        right = 0
        for r in self.rounds[ways]:
            logits = predict(r.episode)[0, r.query]
            right += bool((logits == logits.max()).sum() == 1 and logits.argmax().item() == r.truth)
        return right

    def _next(self, message: str) -> None:
        """Show the next question."""
        with self.picture.up_to_date():
            self._draw(message)

    def _draw(self, message: str) -> None:
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
        self.picture.draw(fig, f"{message} {state} Score: {right} of {played}.")
        if len(self.buttons.children) != ways:
            self.buttons.children = [self._button(n) for n in range(1, ways + 1)]
        for button in self.buttons.children:
            button.disabled = current is None

    def _button(self, number: int) -> widgets.Button:
        button = widgets.Button(description=str(number), layout=widgets.Layout(width="56px"))
        button.on_click(lambda _button: self.answer(number))
        return button

    def show(self) -> None:
        """Display the game."""
        show_widget(self.box, self.picture.image.value, "A game: pick the character that the new drawing shows.")


def print_game_scores(game: Game, networks: dict[str, Predict]) -> None:
    """Print the reader's score at each level of the game, and the score of each network on the same questions."""
    for ways, rounds in game.rounds.items():
        right, played = game.score(ways)
        you = f"you {right} of {played}" if played else "you have not played yet"
        scores = [f"{name} {game.network_score(predict, ways)} of {len(rounds)}" for name, predict in networks.items()]
        print(f"{ways:2} characters: {you}; " + ", ".join(scores))


def adaptation_panel(learner: MAML, params: Params, episode: Episode, *, steps: int = 10) -> Panel:
    """Return a panel with a slider through the inner steps, which shows the adapted network's answer to each query.

    Args:
        learner: the learner that adapts.
        params: its trained parameters.
        episode: the episode whose first task is shown.
        steps: how many inner steps the slider has.
    """
    trajectory = replace(learner, inner_steps=steps).adapt(params, episode)
    fig, ax, drawn = _answers(episode)
    title = ax.set_title(" ", fontsize=13)
    canvas = Canvas(fig, [title, *drawn.moving])

    def redraw(step: int) -> tuple[Canvas, str]:
        probabilities = learner.answer(trajectory[step], episode)[0].softmax(1)
        title.set_text(f"MAML after {plural(step, 'inner step')}")
        correct = drawn.update(probabilities) / len(probabilities)
        mean_probability = probabilities.gather(1, episode.query_y[0, :, None]).mean().item()
        caption = (
            f"After {plural(step, 'inner step')}: {correct:.0%} of the queries right; "
            f"probability given to the true class: {mean_probability:.0%} on average."
        )
        return canvas, caption

    controls = {"step": slider("inner step", 0, 0, steps, 1)}
    return Panel(controls, redraw, alt="Panel: a slider through the inner steps of one episode.")


def episode_panel(
    characters: Characters, maml: MAML, maml_params: Params, protonet: Predict, *, episodes: int = 20, seed: int = 0
) -> Panel:
    """Return a panel with sliders for the episode and for MAML's inner loop, on trained networks.

    Args:
        characters: the unseen characters that the episodes are dealt from.
        maml: the learner.
        maml_params: its trained parameters.
        protonet: predicts with trained prototypical networks.
        episodes: how many episodes are scored. The first of them is shown.
        seed: the seed of the episodes.
    """

    @lru_cache(maxsize=1)  # the drawings stay as long as only the inner loop is changed
    def shown(ways: int, shots: int) -> tuple[Episode, Text, Answers, Canvas]:
        generator = torch.Generator(characters.images.device).manual_seed(seed)
        episode = characters.sample(episodes, ways, shots, 1, generator)
        fig, ax, drawn = _answers(episode)
        title = ax.set_title(" ", fontsize=13)
        return episode, title, drawn, Canvas(fig, [title, *drawn.moving])

    def redraw(ways: int, shots: int, inner_lr: float, steps: int) -> tuple[Canvas, str]:
        episode, title, drawn, canvas = shown(ways, shots)
        logits = protonet(episode)
        scores = {"prototypes": Score.of(accuracy(logits, episode.query_y))}
        remark, by = "", "prototypes"
        if ways <= maml.net.outputs:
            learner = replace(maml, inner_lr=inner_lr, inner_steps=steps)
            logits = learner.predict(maml_params, episode)
            if not torch.isfinite(logits).all():
                remark = f" MAML's adaptation diverged: move the inner learning rate (now {inner_lr:.2g}) to the left."
            scores["MAML"], by = Score.of(accuracy(logits, episode.query_y)), "MAML"
        else:
            remark = f" MAML's last layer was trained for {maml.net.outputs} ways, so it is not asked."
        summary = ", ".join(f"{name} {score.percent()}" for name, score in scores.items())
        title.set_text(f"{ways}-way {shots}-shot: one episode, answers by {by}")
        drawn.update(logits[0].softmax(1))
        return canvas, f"Accuracy over {episodes} episodes of unseen characters: {summary}.{remark}"

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
    """The current answers to one task of unseen characters, shown next to the loss of a training that is steered."""

    def __init__(self, episode: Episode) -> None:
        self.episode = episode

    def look(self, driver: steering.Driver) -> Tensor:
        """Return the probabilities [Q, N], on the CPU, by the current parameters adapted with the current settings."""
        return driver.trainer.learner.predict(driver.trainer.params, self.episode)[0].softmax(1).cpu()

    def draw(self, figure: SubFigure) -> list[Artist]:
        """Draw the task, and return the artists that move."""
        ax = figure.subplots()
        ax.set_title("an unseen task, after adaptation", fontsize=12)
        self.answers = Answers(ax, self.episode)
        return self.answers.moving

    def update(self, data: Tensor) -> str:
        """Show the answers, given the probabilities [Q, N] that `look` returned, and return them in words."""
        correct = self.answers.update(data)
        return f"On an unseen task {correct} of {len(data)} queries are right after adaptation."


def training_panel(train: Characters, test: Characters, *, seed: int = 0) -> steering.SteeringPanel:
    """Return a panel that steers MAML on characters while it trains: `await training_panel(train, test).train(200)`.

    It trains where the characters are: on a GPU, as in the paper, with 64 filters and 32 tasks for each meta-step.
    """
    device = train.images.device
    channels, tasks = (32, 8) if device.type == "cpu" else (64, 32)
    values = {"inner_lr": 0.4, "outer_lr": 1e-2, "inner_steps": 1, "order": 2}
    # The inner learning rate is a tensor, which can change without a new learner.
    rate = torch.tensor(0.4, device=device)
    learner = MAML(Conv4(outputs=5, channels=channels), inner_lr=rate, transductive=True)
    rotated = train.with_rotations()
    driver = steering.Driver(learner, lambda g: rotated.sample(tasks, 5, 1, 3, g), values, seed=seed, device=device)
    picture = AnswersPicture(test.sample(1, 5, 1, 2, torch.Generator(device).manual_seed(seed)))
    alt = "Panel: sliders that steer MAML on characters while it trains; its loss, and its answers to an unseen task."
    return steering.SteeringPanel(driver, View(picture, loss="query loss (cross-entropy)"), look=picture.look, alt=alt)
