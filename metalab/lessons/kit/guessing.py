"""A game of questions about drawings: the reader guesses first, and sees the answer next to the guess.

The drawings are buttons with a picture as their background, so that they work by mouse and by keyboard, and a screen
reader calls them by their names. Everything is a core widget, and works in JupyterLab and in Colab.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import ipywidgets as widgets
from matplotlib.figure import Figure
from torch import Tensor

from ...arguments import function
from .figures import BLUE, GREEN, TITLE, VERMILION, draw_character, drawing_png, figure, png
from .panels import LIVE, cause, paragraph, show_widget
from .room import STYLE

RIGHT, WRONG = "✓", "✗"
SIDE = 72  # pixels: a drawing on a button is shown at this size, and the drawings asked about at nearly twice the size


@dataclass(eq=False)
class Question:
    """A question, and what the reader has answered.

    Args:
        asked: the drawings that the question is about, [1, H, W] each, ink 1 on paper 0.
        choices: the possible answers in words. If they are drawings, a word such as "drawing 3" for each.
        truth: which choice is right, counted from 0.
        drawings: the drawings to choose from, [1, H, W] each; none if the choices are words.
        answer: which choice the reader took, counted from 0; None until then.
    """

    asked: Sequence[Tensor]
    choices: Sequence[str]
    truth: int
    drawings: Sequence[Tensor] = ()
    answer: int | None = None


Rival = Callable[[Question], int | None]  # maps a question to a choice, counted from 0; None if it cannot decide


class Guesses:
    """Questions that are shown one after the other, each with its answer as soon as the reader has guessed.

    The answered question stays until the reader presses Next. At the end there are the score and a table of all answers
    next to those of the rivals, and the button begins another game with new questions.

    Args:
        levels: the name of each level of difficulty. Each level has its own questions and its own score.
        draw: returns new questions of a level.
        asking: the question in words, such as "Which one is it?".
        source: where the drawings come from, for the still picture.
        alt: describes the game, for pages without a kernel and for screen readers.

    Attributes:
        questions: all questions of each level. The last ones belong to the game that is being played.
        rivals: what plays the same questions, by name. `compare` adds to them.
    """

    def __init__(
        self,
        levels: Mapping[Hashable, str],
        draw: Callable[[Hashable], list[Question]],
        *,
        asking: str,
        source: str,
        alt: str,
    ) -> None:
        function(draw=draw)
        self.draw, self.asking, self.source, self.alt = draw, asking, source, alt
        self.rivals: dict[str, Rival] = {}
        self.questions = {level: draw(level) for level in levels}
        self._first = dict.fromkeys(levels, 0)  # the number of the first question of the game that is being played
        self._now = dict.fromkeys(levels, 0)  # the number of the question that is shown; past the last: the results
        self.level = widgets.ToggleButtons(options=[(name, level) for level, name in levels.items()])
        self.level.observe(self._on_level, names="value")
        self.level.layout.display = None if len(levels) > 1 else "none"
        self.readout = widgets.HTML()
        self.asked = widgets.HTML()
        self.choices = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap"))
        # This one button goes on, whatever comes next. A button that disappears would leave its keys to JupyterLab.
        self.next = self._button("Next", self.go_on)
        self._style = widgets.HTML(layout=widgets.Layout(height="0", margin="0"))
        wrap = widgets.Layout(flex_flow="row wrap", align_items="center")
        question = widgets.HBox([self.asked, self.next], layout=wrap)
        hide_still = widgets.HTML(STYLE, layout=widgets.Layout(height="0", margin="0"))
        self.box = widgets.VBox([self.level, self.readout, question, self.choices, self._style, hide_still])
        self.box.add_class("metalab-guesses")
        self.box.add_class(LIVE)
        self._show()

    # What the reader does

    def answer(self, number: int) -> None:
        """Answer the question that is shown with choice `number`, counted from 1, as the buttons do.

        A question that is answered already keeps its answer.

        Raises:
            ValueError: there is no choice of this number.
        """
        question = self.question
        if question is None or question.answer is not None:
            return
        if not 1 <= number <= len(question.choices):
            raise ValueError(f"number={number} must be one of 1 … {len(question.choices)}")
        question.answer = number - 1
        self._show()

    def go_on(self) -> None:
        """Show the next question, after the last one the results, and after these another game."""
        if self.question is None:
            self.play_again()
        elif self.question.answer is None:
            self._tell(["Guess first: choose an answer.", self.asking])
        else:
            self._now[self.level.value] += 1
            self._show()

    def play_again(self) -> None:
        """Begin another game of this level, with new questions. The score counts on."""
        level = self.level.value
        self._now[level] = self._first[level] = len(self.questions[level])
        self.questions[level] += self.draw(level)
        self._show()

    # What can be asked

    @property
    def question(self) -> Question | None:
        """Return the question that is shown; None if the results are shown."""
        questions, now = self.questions[self.level.value], self._now[self.level.value]
        return questions[now] if now < len(questions) else None

    def score(self, level: Hashable) -> tuple[int, int]:
        """Return how many questions of a level the reader answered correctly, and how many the reader answered."""
        answered = [q for q in self.questions[level] if q.answer is not None]
        return sum(q.answer == q.truth for q in answered), len(answered)

    def rival_score(self, rival: Rival, level: Hashable) -> tuple[int, int]:
        """Return how many questions of a level a rival answers correctly, and how many it was asked.

        It is asked what the reader has answered, or everything if the reader has answered nothing.
        """
        answered = [q for q in self.questions[level] if q.answer is not None]
        asked = answered or self.questions[level]
        return sum(rival(q) == q.truth for q in asked), len(asked)

    def compare(self, rivals: Mapping[str, Rival]) -> None:
        """Let others play the same questions. The results then show their answers next to the reader's."""
        function(**{f"rivals[{name!r}]": rival for name, rival in rivals.items()})
        self.rivals |= rivals
        self._show()

    def show(self) -> None:
        """Display the game."""
        show_widget(self.box, png(self.still()), self.alt)

    # What is shown

    def still(self) -> Figure:
        """Return a picture of the question that is shown, or of the last one, for a page without a kernel."""
        question = self.question or self.questions[self.level.value][-1]
        columns = min(10, max(len(question.drawings), 4))
        lines = -(-len(question.drawings) // columns)
        fig, axes = figure(height=1.15 * lines + 1.9, nrows=lines + 1, ncols=columns, squeeze=False)
        for ax in axes.flat:
            ax.axis("off")
        first = (columns - len(question.asked)) // 2
        for ax, drawing in zip(axes[0, first:], question.asked, strict=False):
            ax.axis("on")
            draw_character(ax, drawing, frame=BLUE)
        for number, (ax, drawing) in enumerate(zip(axes[1:].flat, question.drawings, strict=False), start=1):
            ax.axis("on")
            draw_character(ax, drawing, str(number))
        fig.suptitle(f"{self.asking} ({self.source})", fontsize=TITLE)
        return fig

    def _on_level(self, _change: dict) -> None:
        self._show()

    def _button(self, name: str, press: Callable[[], None]) -> widgets.Button:
        button = widgets.Button(description=name)
        button.on_click(lambda _button: press())
        return button

    def _show(self) -> None:
        """Show the question or the results. If that fails, say so, because what is shown is then out of date."""
        try:
            if self.question is None:
                self._show_results()
            else:
                self._show_question(self.question)
        except BaseException as error:
            self.readout.value = paragraph(f"What is shown below is out of date ({cause(error)}).", "alert")
            raise

    def _show_question(self, question: Question) -> None:
        level = self.level.value
        number, total = self._now[level] - self._first[level] + 1, len(self.questions[level]) - self._first[level]
        answered = question.answer is not None
        words = [f"Question {number} of {total}."]
        if not answered:
            words.append(self.asking)
        elif question.answer == question.truth:
            words.append(f"{RIGHT} Right: {question.choices[question.truth]}.")
        else:
            right, chosen = question.choices[question.truth], question.choices[question.answer]
            words.append(f"{WRONG} You chose: {chosen}. Right is: {right}.")
        self.asked.value = "".join(_img(drawing, "a drawing that the question is about") for drawing in question.asked)
        if len(self.choices.children) != len(question.choices):
            self.choices.children = [self._choice(n) for n in range(1, len(question.choices) + 1)]
        rules = []
        for n, (button, name) in enumerate(zip(self.choices.children, question.choices, strict=True)):
            mark = RIGHT if answered and n == question.truth else WRONG if n == question.answer else ""
            button.description = f"{mark} {name}".strip()
            # The button that was pressed keeps the focus: the keys of a button that is disabled go to JupyterLab.
            button.disabled = answered and n != question.answer
            rules.append(_rule(button, mark, question.drawings[n] if len(question.drawings) else None))
        self._style.value = f"<style>{COMMON}{''.join(rules)}</style>"
        self._tell(words)
        self.choices.layout.display = None
        self.next.description = "Next" if number < total else "See the results"

    def _show_results(self) -> None:
        level = self.level.value
        questions = self.questions[level][self._first[level] :]
        played = {"you": lambda question: question.answer} | self.rivals
        head = "".join(f"<th scope='col'>{n}</th>" for n in range(1, len(questions) + 1))
        lines = [f"<tr><th scope='col'>question</th>{head}<th scope='col'>right</th></tr>"]
        for name, play in played.items():
            right = [play(question) == question.truth for question in questions]
            cells = "".join(f"<td>{RIGHT if each else WRONG}</td>" for each in right)
            name = html.escape(name)
            lines.append(f"<tr><th scope='row'>{name}</th>{cells}<td>{sum(right)} of {len(right)}</td></tr>")
        self.asked.value = f"<table>{''.join(lines)}</table>"
        self._tell([f"All {len(questions)} questions are answered."])
        self.choices.layout.display = "none"
        self.next.description = "Play again"

    def _tell(self, words: list[str]) -> None:
        right, answered = self.score(self.level.value)
        self.readout.value = paragraph(" ".join([*words, f"Score: {right} of {answered}."]), "status")

    def _choice(self, number: int) -> widgets.Button:
        button = self._button("", lambda: self.answer(number))
        button.add_class("metalab-choice")
        button.add_class(_class(button))
        return button


COMMON = f"""
.metalab-guesses .metalab-choice.jupyter-button {{ width: auto; height: auto; margin: 3px; padding: 4px 8px;
  line-height: 20px; border: 3px solid #BBBBBB; opacity: 1; color: inherit; }}
.metalab-guesses .metalab-choice.jupyter-button:focus-visible {{ outline: 3px solid {BLUE}; outline-offset: 1px; }}
.metalab-guesses img {{ display: inline-block; width: {2 * SIDE - 16}px; height: {2 * SIDE - 16}px; margin: 4px;
  border: 3px solid {BLUE}; background: white; }}
.metalab-guesses td, .metalab-guesses th {{ text-align: center; padding: 2px 8px; }}
"""


def _class(button: widgets.Button) -> str:
    """Return the CSS class that only this button has."""
    return f"metalab-{button.model_id}"


def _data(drawing: Tensor) -> str:
    return f"data:image/png;base64,{base64.b64encode(drawing_png(drawing)).decode()}"


def _img(drawing: Tensor, alt: str) -> str:
    return f"<img alt='{alt}' src='{_data(drawing)}'>"


def _rule(button: widgets.Button, mark: str, drawing: Tensor | None) -> str:
    """Return the CSS of one choice: its drawing above its name, and a frame if it is marked right or wrong."""
    rules = {RIGHT: f"border-color: {GREEN};", WRONG: f"border-color: {VERMILION};"}.get(mark, "")
    if drawing is not None:
        rules += (
            f"width: {SIDE + 24}px; padding: {SIDE + 6}px 0 2px; background-image: url({_data(drawing)});"
            f"background-size: {SIDE}px {SIDE}px; background-position: top 3px center; background-repeat: no-repeat;"
        )
    return f".metalab-guesses .metalab-choice.{_class(button)}.jupyter-button {{ {rules} }}"
