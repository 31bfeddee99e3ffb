"""The figures, the game and the panels of the characters lesson."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import ipywidgets as widgets
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from torch import Tensor

from ...evaluate import Score
from ...learners.maml import MAML
from ...losses import accuracy
from ...nets import Conv4, Params
from ...tasks import Characters, Episode
from ..kit import steering
from ..kit.canvas import Canvas
from ..kit.figures import GREEN, TEXT, TITLE, VERMILION, WIDTH, Label, draw_character, figure, plural
from ..kit.guessing import Guesses, Question, Rival
from ..kit.panels import Panel, log_slider, slider
from ..kit.steering.view import View

Predict = Callable[[Episode], Tensor]  # maps an episode to the logits [T, Q, N] of its queries
OF_AN_EPISODE = 450  # CSS pixels that the picture of an episode needs, so that its percentages do not touch each other


def draw_alphabets(characters: Characters, alphabets: list[int], count: int = 12) -> Figure:
    """Draw one drawing of each of the first `count` characters of some alphabets, with one alphabet per row."""
    height = 1.05 * len(alphabets) + 0.4
    fig, axes = figure(height=height, nrows=len(alphabets), ncols=count, squeeze=False)
    fig.set_layout_engine(None)  # it would make the first column as wide as the name above it
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=1 - 0.7 / height, hspace=0.6)
    for row, alphabet in zip(axes, alphabets, strict=True):
        for ax in row:
            ax.axis("off")
        members = (characters.alphabet == alphabet).nonzero().flatten()[:count]
        for ax, member in zip(row, members, strict=False):
            ax.axis("on")
            draw_character(ax, characters.images[member, 0].float() / 255)
        # This is no title, because a long title pushes the first character away from the others.
        name = characters.names[alphabet].replace("_", " ")
        row[0].text(0, 1.08, name, transform=row[0].transAxes, fontsize=TEXT).set_in_layout(False)
    fig.suptitle(f"characters of {plural(len(alphabets), 'alphabet')} ({characters.source})", fontsize=TITLE)
    return fig


class Answers:
    """A task's drawings and the answers to its queries. Each class has a column: first its support, then its queries.

    A right answer has a green frame and ✓. A wrong one has an orange frame, ✗ and the class that was named. The
    percentage is the probability that the answer was given. The support drawings of a class share one square. More than
    COLUMNS classes are split into several bands, one below the other. All drawings are one image, because matplotlib
    took a fifth of a second to draw them on axes of their own.

    Args:
        ax: the axes to draw on. They are filled.
        episode: the episode whose first task is shown.
        width: the room on the figure, in inches.
        height: the room that the drawings fill at most. With so many that they would be too small, they take more.

    Attributes:
        height: the room that was taken, in inches.
    """

    COLUMNS = 10
    LARGEST, SMALLEST = 1.2, 0.45  # inches: the side of a drawing
    GAP, LINE = 0.1, 0.27  # inches: between two drawings, and the height of a line of text
    ANSWER = 1.2  # inches: the width of an answer on one line

    def __init__(self, ax: Axes, episode: Episode, width: float, height: float) -> None:
        ways = episode.ways
        support, query = (1 - x[0].reshape(ways, -1, *x.shape[-2:]).cpu() for x in (episode.support_x, episode.query_x))
        shots, queries = support.shape[1], query.shape[1]
        bands = -(-ways // self.COLUMNS)
        columns = -(-ways // bands)
        self.lines = 2 if width / columns < self.ANSWER else 1  # of an answer
        above = [self.LINE, *[self.lines * self.LINE] * queries]  # inches of text above each drawing of a column
        room = height / bands - self.GAP - sum(above)
        side = min(self.LARGEST, width / columns - self.GAP, room / len(above))
        side = max(self.SMALLEST, side)
        pitch = max(side + self.GAP, min(width / columns, self.ANSWER / self.lines))  # from one column to the next

        # From here on in the pixels of the image. Several support drawings share a square, so the others are enlarged.
        per_row = math.ceil(shots**0.5)
        edge = per_row * support.shape[-1]
        inch = edge / side
        step, gap, text = round(pitch * inch), round(self.GAP * inch), [round(each * inch) for each in above]
        band = gap + sum(text) + len(above) * edge
        image = torch.ones(bands * band, columns * step)
        self.truth = episode.query_y[0].tolist()
        self.labels, frames = [], []
        for n in range(ways):
            x, y = n % columns * step + (step - edge) // 2, n // columns * band
            for row in range(len(above)):
                y += text[row]
                drawing = _square(support[n]) if row == 0 else _enlarged(query[n, row - 1], per_row)
                image[y : y + edge, x : x + edge] = drawing
                frames.append(Rectangle((x - 0.5, y - 0.5), edge, edge))
                caption = f"class {n + 1}" if row == 0 else "query" if (n, row) == (0, 1) else ""
                middle, top = x - 0.5 + edge / 2, y - 0.5 - 0.04 * inch
                label = ax.add_artist(Label(middle, top, caption, fontsize=TEXT, ha="center", va="bottom"))
                if row:
                    self.labels.append(label)
                y += edge
        self.asked = [i for i in range(len(frames)) if i % len(above)]  # the frames of the queries
        self.frames = PatchCollection(frames, facecolors="none", edgecolors="#BBBBBB", linewidths=1, clip_on=False)
        ax.add_collection(self.frames, autolim=False)
        ax.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1)
        ax.axis("off")
        self.height = image.shape[0] / inch

    @property
    def moving(self) -> list[Artist]:
        """Return the artists that `update` changes."""
        return [*self.labels, self.frames]

    def update(self, probabilities: Tensor) -> int:
        """Show the answers, given the probability of each class [Q, N]. Return how many answers are right."""
        highest, answers = (x.tolist() for x in probabilities.max(1))
        space = " " if self.lines == 1 else "\n"
        colors, widths = (["#BBBBBB"] * len(self.frames.get_paths()), [1] * len(self.frames.get_paths()))
        for label, frame, probability, answer, true in zip(
            self.labels, self.asked, highest, answers, self.truth, strict=True
        ):
            right = answer == true
            label.set_text(f"✓ {probability:.0%}" if right else f"✗ {answer + 1}{space}({probability:.0%})")
            colors[frame], widths[frame] = GREEN if right else VERMILION, 3
        self.frames.set(edgecolors=colors, linewidths=widths)
        return sum(answer == true for answer, true in zip(answers, self.truth, strict=True))


def _square(drawings: Tensor) -> Tensor:
    """Return drawings [K, H, W] next to and below one another in one that is as wide as high."""
    per_row = math.ceil(len(drawings) ** 0.5)
    height, width = drawings.shape[1:]
    square = torch.ones(per_row * height, per_row * width)
    above = (per_row - -(-len(drawings) // per_row)) * height // 2  # so that they stand in the middle
    for k, drawing in enumerate(drawings):
        y, x = above + k // per_row * height, k % per_row * width
        square[y : y + height, x : x + width] = drawing
    return square


def _enlarged(drawing: Tensor, times: int) -> Tensor:
    """Return a drawing [H, W] with each pixel repeated in both directions."""
    return drawing.repeat_interleave(times, 0).repeat_interleave(times, 1)


def draw_answers(episode: Episode, logits: Tensor | None, title: str) -> Figure:
    """Draw the first task's drawings, and the answers to its queries if there are logits [T, Q, N]."""
    fig, ax, drawn = _answers(episode)
    ax.set_title(title, fontsize=TITLE, y=1)
    if logits is not None:
        drawn.update(logits[0].softmax(1))
    return fig


def _answers(episode: Episode) -> tuple[Figure, Axes, Answers]:
    """Draw the first task on a figure that is as high as the task needs."""
    title, margin = 0.35, 0.1
    fig, ax = figure(height=1)
    drawn = Answers(ax, episode, WIDTH - 2 * margin, 4.4)
    height = drawn.height + title + margin
    fig.set_size_inches(WIDTH, height)
    fig.set_layout_engine(None)  # it takes as long as drawing, and only the title needs room
    ax.set_position((margin / WIDTH, margin / height, 1 - 2 * margin / WIDTH, drawn.height / height))
    return fig, ax, drawn


@dataclass(eq=False)
class Round(Question):
    """One question of the game: a 1-shot task, and one of its queries."""

    episode: Episode | None = None
    query: int = 0  # the row in the episode's query set


class Game(Guesses):
    """The few-shot game for the reader: given one drawing of each of N characters, which one does a new drawing show?

    Args:
        characters: the characters that the questions are about. The questions are on their device.
        ways: the numbers N that the reader can choose from. Each has its own questions and its own score.
        rounds: how many questions a game has.
        seed: the seed of the questions.
    """

    def __init__(
        self, characters: Characters, *, ways: tuple[int, ...] = (5, 20), rounds: int = 10, seed: int = 0
    ) -> None:
        generator = torch.Generator(characters.images.device).manual_seed(seed)

        def ask(n: int) -> Round:
            episode = characters.sample(1, n, 1, 1, generator)
            query = int(torch.randint(n, (), generator=generator, device=generator.device))
            names = [f"drawing {number}" for number in range(1, n + 1)]
            truth = int(episode.query_y[0, query])
            return Round([episode.query_x[0, query]], names, truth, episode.support_x[0], episode=episode, query=query)

        super().__init__(
            {n: f"{n} characters" for n in ways},
            lambda n: [ask(n) for _ in range(rounds)],
            asking="Which drawing below shows the same character as this one?",
            source=characters.source,
            alt="A game: pick the character that the new drawing shows.",
        )

    def compare(self, rivals: Mapping[str, Predict]) -> None:
        """Let networks play the same questions. The results then show their answers next to the reader's.

        Args:
            rivals: what maps an episode to the logits of its queries, by name.
        """
        super().compare({name: player(predict) for name, predict in rivals.items()})


def player(predict: Predict) -> Rival:
    """Return what answers a question of the game by a network's logits. A tie counts as no answer."""

    def answer(question: Round) -> int | None:
        logits = predict(question.episode)[0, question.query]
        return int(logits.argmax()) if (logits == logits.max()).sum() == 1 else None

    return answer


def print_game_scores(game: Game, networks: dict[str, Predict]) -> None:
    """Print the reader's score at each level of the game, and the score of each network on the same questions."""
    for ways in game.questions:
        right, played = game.score(ways)
        you = f"you {right} of {played}" if played else "you have not played yet"
        found = {name: game.rival_score(player(predict), ways) for name, predict in networks.items()}
        scores = [f"{name} {correct} of {asked}" for name, (correct, asked) in found.items()]
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
    title = ax.set_title(" ", fontsize=TITLE, y=1)
    canvas = Canvas(fig, [title, *drawn.moving], narrowest=OF_AN_EPISODE)

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
    characters: Characters, maml: MAML, maml_params: Params, protonet: Predict, *, episodes: int = 100, seed: int = 0
) -> Panel:
    """Return a panel with sliders for the episode and for MAML's inner loop, on trained networks.

    It shows one episode at once. Only if the reader asks for it, it also measures the accuracy over many episodes,
    which takes seconds.

    Args:
        characters: the unseen characters that the episodes are dealt from.
        maml: the learner.
        maml_params: its trained parameters.
        protonet: predicts with trained prototypical networks.
        episodes: how many episodes are measured.
        seed: the seed of the episodes.
    """
    most = maml.net.outputs

    @lru_cache(maxsize=2)
    def dealt(tasks: int, ways: int, shots: int) -> Episode:
        generator = torch.Generator(characters.images.device).manual_seed(seed)
        return characters.sample(tasks, ways, shots, 1, generator)

    @lru_cache(maxsize=1)  # the drawings stay as long as only the inner loop is changed
    def shown(ways: int, shots: int) -> tuple[Episode, Text, Answers, Canvas]:
        episode = dealt(1, ways, shots)
        fig, ax, drawn = _answers(episode)
        title = ax.set_title(" ", fontsize=TITLE, y=1)
        return episode, title, drawn, Canvas(fig, [title, *drawn.moving], narrowest=OF_AN_EPISODE)

    def predictions(episode: Episode, inner_lr: float, steps: int) -> dict[str, Tensor]:
        logits = {"prototypes": protonet(episode)}
        if episode.ways <= most:
            learner = replace(maml, inner_lr=inner_lr, inner_steps=steps)
            logits["MAML"] = learner.predict(maml_params, episode)
        return logits

    def redraw(ways: int, shots: int, inner_lr: float, steps: int, measured: bool) -> tuple[Canvas, str]:
        episode, title, drawn, canvas = shown(ways, shots)
        logits = predictions(episode, inner_lr, steps)
        by = "MAML" if "MAML" in logits else "prototypes"
        title.set_text(f"{ways}-way {shots}-shot: one episode, answers by {by}")
        drawn.update(logits[by][0].softmax(1))
        right = {name: (each.argmax(2) == episode.query_y).sum().item() for name, each in logits.items()}
        words = [f"Queries answered correctly, of {ways}: {', '.join(f'{name} {n}' for name, n in right.items())}."]
        if measured:
            many = dealt(episodes, ways, shots)
            logits = predictions(many, inner_lr, steps)
            scores = {name: Score.of(accuracy(each, many.query_y)) for name, each in logits.items()}
            summary = ", ".join(f"{name} {score.percent()}" for name, score in scores.items())
            words.append(f"Accuracy over {episodes} episodes of unseen characters: {summary}.")
        if ways > most:
            words.append(
                f"MAML's last layer was trained for {most} ways, so it is not asked at {ways}: "
                "α and the inner steps, which only MAML has, change nothing here."
            )
        elif not torch.isfinite(logits["MAML"]).all():
            words.append(f"MAML's adaptation diverged: move the inner learning rate (now {inner_lr:.2g}) to the left.")
        elif steps == 0:
            words.append("Without an inner step MAML does not adapt, so α changes nothing here.")
        return canvas, " ".join(words)

    controls = {
        "ways": slider("ways N", 5, 2, 20, 1),
        "shots": slider("shots K", 1, 1, 5, 1),
        "inner_lr": log_slider("inner learning rate α", maml.inner_lr, -3, 1),
        "steps": slider("inner steps", maml.inner_steps, 0, 10, 1),
        "measured": widgets.Checkbox(
            value=False,
            description=f"measure the accuracy over {episodes} episodes, too (takes seconds)",
            indent=False,
            layout={"width": "max-content"},  # or the description would be cut off
        ),
    }
    return Panel(
        controls, redraw, alt="Panel: sliders for ways, shots and MAML's inner loop; the answers to one new episode."
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
        ax.set_title("an unseen task, after adaptation", fontsize=TITLE)
        width, height = figure.bbox.size / figure.get_dpi()
        self.answers = Answers(ax, self.episode, width - 0.2, height - 0.6)
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
    presets = {
        "Hardly adapt": {"inner_lr": 1e-4},
        "Blow it up": {"outer_lr": 1.0},
        "First order": {"order": 1},
    }
    view = View(picture, loss="query loss (cross-entropy)")
    return steering.SteeringPanel(driver, view, look=picture.look, presets=presets, alt=alt)
