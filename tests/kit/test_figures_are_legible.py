"""Every picture of every lesson can be read: no small letters, none cut off, none on top of others, and no wide figure.

A page shows a figure up to 900 pixels wide, and scaled down where there is less room. With METALAB_SCREENSHOTS set to a
folder, the test leaves all pictures there.
"""

import itertools
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from metalab.evaluate import Score
from metalab.learners import MAML, Contrastive, PolicyMAML
from metalab.lessons.kit import panels
from metalab.lessons.kit.figures import TEXT, WIDTH, Label, figure, plain, plain_ticks, png
from metalab.lessons.learning_to_act import figures as acting
from metalab.lessons.omniglot_few_shot import concepts, watching
from metalab.lessons.omniglot_few_shot import figures as characters
from metalab.lessons.second_vs_first_order_maml import concepts as ideas_of_orders
from metalab.lessons.second_vs_first_order_maml import evidence
from metalab.lessons.second_vs_first_order_maml import figures as orders
from metalab.lessons.siamese_contrastive_loss import concepts as pairs_concepts
from metalab.lessons.siamese_contrastive_loss import figures as siamese
from metalab.lessons.siamese_contrastive_loss.neighbours import Neighbours
from metalab.lessons.sine_regression import figures as sine
from metalab.losses import mse
from metalab.nets import MLP, Conv4
from metalab.tasks import Characters, Groups, as_pairs, glyphs, navigation
from metalab.tasks.sine import Sine
from metalab.train import Trainer


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def drawn():
    """Characters whose alphabets have the longest names that Omniglot has."""
    few = glyphs.draw(alphabets=2, seed=1)
    return Characters(few.images, few.alphabet, ("Old_Church_Slavonic_(Cyrillic)", "Atemayar_Qelisayer"), "Omniglot")


def pairs_of(drawn, count=12):
    return as_pairs(Groups(drawn, 2, 2)(count, seeded()))


def small(outputs=None):
    net = Conv4(outputs=outputs, channels=4)
    return net, net.init(seeded())


def answers(drawn, ways, shots, queries):
    """A figure in which all but the first query are answered wrongly, with the longest labels."""
    episode = drawn.sample(1, ways, shots, queries, seeded())
    logits = torch.zeros(1, ways * queries, ways)
    logits[..., -1] = 99.0
    return characters.draw_answers(episode, logits, f"{ways}-way {shots}-shot: one episode, answers by prototypes")


def episode_of(drawn, ways, shots, queries):
    """The picture of an episode."""
    e = drawn.sample(1, ways, shots, queries, seeded())
    return concepts.draw_episode(e.support_x[0], e.support_y[0], e.query_x[0], e.query_y[0], "one episode (Omniglot)")


def ran(panel, losses):
    """A RetrainPanel that has trained some runs, with these losses."""
    for n, each in enumerate(losses):
        panel.outer_lr.value, panel.order.value, panel.steps.value = 10 ** -(1 + n % 4), 1 + n % 2, 1500 + 100 * n
        panel._chosen.append(panel._settings())
        panel.runs[f"run {n + 1}"] = each
    panel._draw("")


def steered(panel):
    """A lesson's own picture next to the loss of a training that is steered, on its half of a figure."""
    fig = figure(height=3.6)[0]
    fig.clear()
    picture = panel.view.picture
    picture.draw(fig.subfigures(1, 2)[1])
    picture.update(panel.look(panel.driver))
    return fig


def moved(panel, *changes):
    """Move the controls of a panel, change by change, each from where the one before left them."""
    for change in changes:
        for name, value in change.items():
            panel.controls[name].value = value


def walks(rounds):
    """The walks of an untrained policy, and their goal."""
    learner, attempts = PolicyMAML(), navigation.sample(1, 6, rounds, seeded())
    return learner.adapt(learner.init(seeded()), attempts)[1], attempts.goal[0]


def a_map(drawn):
    shown = siamese.Map(Groups(drawn, 8, 10)(1, seeded())[0], lambda params, x: params["conv1"].std() * x[:, 0, 10])
    for step in (0, 800):
        shown.add(step, {"conv1": torch.arange(step + 3.0)})
    return shown


def live_training(lesson, drawn, **options):
    """The last picture of a training that draws itself."""
    if lesson is sine:
        sine.train_with_fit(Trainer(MAML(MLP(), mse), lambda g: sine.sample(2, 5, 5, g)), 60, title="MAML, order 2")
    elif lesson is characters:
        trainer = Trainer(MAML(small(5)[0]), lambda g: drawn.sample(1, 5, 1, 1, g))
        watching.train_with_validation(trainer, 8, lambda _params: Score(0.5, 0.1, 9), title="prototypical (Omniglot)")
    else:
        learner = Contrastive(small()[0])
        trainer = Trainer(learner, lambda g: Groups(drawn, 4, 2)(1, g))
        siamese.train_with_embedding(trainer, 40, a_map(drawn), title="contrastive loss (Omniglot)", **options)


WILD = {"inner_lr": 0.5, "steepness": 8.0, "steps": 5, "outer_lr": 1.0, "bend": orders.BENT}
LAYERS = [f"{kind}{i}" for i in (1, 2, 3, 4) for kind in ("conv", "shift")] + ["head", "bias"]
TIMES = {"first-order MAML": 1.0, "second-order MAML": 2.0, "Reptile": 1.0}
COSTS = {name: {1: 10.0, 2: 17.0, 5: 40.0, 10: 85.0} for name in ("create_graph", "order 2", "order 1")}
SHARES = {f"sine network, {n} inner steps": {10.0**-k: n * 3.0**-k for k in (2, 3, 4, 5)} for n in (1, 2, 5)}
NARROW = {"a": {0.02: 3.0, 0.03: 5.0}}

# Every function of the lessons that draws, with what it draws: figures, or a panel that draws them itself.
CASES = {
    (sine, "draw_tasks"): [lambda d: sine.draw_tasks(Sine.draw(6, seeded()), "six tasks from the family")],
    (sine, "draw_average"): [lambda d: sine.draw_average(MLP().init(seeded()))[0]],
    (sine, "draw_fit"): [],  # on axes, as a part of others
    (sine, "draw_losses"): [],
    (sine, "train_with_fit"): [lambda d: live_training(sine, d)],
    (sine, "adaptation_panel"): [
        lambda d: moved(
            sine.adaptation_panel({name: MLP().init(seeded()) for name in ("joint training", "MAML")}), {"steps": 20}
        )
    ],
    (sine, "RetrainPanel"): [
        lambda d: sine.RetrainPanel(),
        lambda d: ran(sine.RetrainPanel(), [[4.0, 3.5, 3.3]]),
        lambda d: ran(sine.RetrainPanel(), [[4.0 + n, 3.5, 1.0, 0.5 * n + 0.1] for n in range(8)]),
    ],
    (sine, "training_panel"): [lambda d: steered(sine.training_panel())],
    (characters, "draw_alphabets"): [lambda d: characters.draw_alphabets(d, [0, 1])],
    (characters, "draw_answers"): [
        lambda d, at=at: answers(d, *at)
        for at in [(5, 1, 2), (5, 1, 3), (2, 5, 1), (7, 1, 1), (8, 2, 1), (12, 5, 1), (20, 1, 1), (20, 5, 1)]
    ],
    (watching, "train_with_validation"): [lambda d: live_training(characters, d)],
    (concepts, "draw_parts"): [
        lambda d: concepts.draw_parts(
            {"train": (25, "to learn from"), "validation": (5, "to choose by"), "test": (20, "at the end")}
        )
    ],
    (concepts, "draw_episode"): [lambda d: episode_of(d, 5, 1, 2), lambda d: episode_of(d, 5, 1, 1)],
    (concepts, "draw_prototypes"): [lambda d: concepts.draw_prototypes()],
    (concepts, "draw_conv4"): [
        lambda d: concepts.draw_conv4((16, 32, 64, 128)),
        lambda d: concepts.draw_conv4((64,) * 4),
    ],
    (concepts, "draw_runs"): [
        lambda d: concepts.draw_runs(
            {
                name: {n: Score(0.9, 0.01, 9) for n in (240, 480)}
                for name in ("classifier, nearest mean", "prototypical network")
            },
            "5-way 1-shot, validation alphabets (Omniglot)",
            floor={"pixels": 0.4},
        )
    ],
    (concepts, "draw_seeds"): [
        lambda d: concepts.draw_seeds(
            {
                f"{name}\nfine-tuned": 0.9 + torch.rand(5) / 20
                for name in ("all layers", "last layer", "no layer", "other")
            },
            "five trainings of each, validation tasks (Omniglot)",
        )
    ],
    (characters, "Game"): [lambda d, n=n: characters.Game(d, ways=(n,), rounds=1).still() for n in (5, 20)],
    (characters, "print_game_scores"): [],
    (characters, "player"): [],
    (characters, "adaptation_panel"): [
        lambda d: moved(
            characters.adaptation_panel(MAML(small(5)[0]), small(5)[1], d.sample(1, 5, 1, 3, seeded())), {"step": 5}
        )
    ],
    (characters, "episode_panel"): [
        lambda d: moved(
            characters.episode_panel(
                d, MAML(small(5)[0]), small(5)[1], lambda e: torch.zeros(e.tasks, e.ways, e.ways), episodes=2
            ),
            {"ways": 2},
            {"ways": 20, "shots": 5},
        )
    ],
    (characters, "training_panel"): [lambda d: steered(characters.training_panel(d, d))],
    (siamese, "PairsGame"): [lambda d: siamese.PairsGame({"any": Groups(d, 2, 2)}).still()],
    (siamese, "draw_pairs"): [
        lambda d: siamese.draw_pairs(pairs_of(d), "pairs from any two alphabets (Omniglot)"),
        lambda d: siamese.draw_pairs(pairs_of(d), "11 of 12 right", distance=torch.rand(12), threshold=0.5),
    ],
    (siamese, "margin_panel"): [lambda d: siamese.margin_panel()],
    (siamese, "Map"): [lambda d: a_map(d).draw(), lambda d: moved(a_map(d).panel(), {"moment": 0})],
    (siamese, "train_with_embedding"): [
        lambda d: live_training(siamese, d),
        lambda d: live_training(siamese, d, score=lambda params: Score(0.5, 0.1, 9)),
    ],
    (siamese, "threshold_panel"): [
        lambda d: siamese.threshold_panel(
            torch.rand(4000, generator=seeded()), torch.arange(4000) % 2 == 0, title="4,000 pairs (Omniglot)"
        )
    ],
    (siamese, "base_rate_panel"): [
        lambda d, share=share: moved(
            siamese.base_rate_panel(
                torch.rand(4000, generator=seeded()), torch.arange(4000) % 2 == 0, threshold=0.5, title="precision"
            ),
            {"share": share},
        )
        for share in (0.5, 0.001)
    ],
    (siamese, "training_panel"): [lambda d: steered(siamese.training_panel(d, d))],
    (pairs_concepts, "draw_siamese"): [lambda d: pairs_concepts.draw_siamese()],
    (pairs_concepts, "draw_triplets"): [lambda d: pairs_concepts.draw_triplets()],
    (pairs_concepts, "draw_family"): [
        lambda d: pairs_concepts.draw_family(
            pairs_concepts.measured(),
            ["contrastive", "matching", "matching, learned factor", "supervised contrastive", "Koch", "Koch, both"],
            "20-way, any",
            "20-way 1-shot, any validation alphabets (Omniglot)",
        )
    ],
    (siamese, "Neighbours"): [
        lambda d: Neighbours(d, lambda x: x.flatten(1)),
        lambda d: Neighbours(d, lambda x: x.flatten(1), shown=3),
    ],
    (orders, "draw_plane"): [
        lambda d: orders.draw_plane(**orders.WRONG_WAY)[0],
        lambda d: orders.draw_plane(**orders.WRONG_WAY | WILD)[0],
        lambda d: orders.draw_plane(**orders.WRONG_WAY | WILD | {"x": -2.8, "y": 2.8})[0],
    ],
    (orders, "plane_panel"): [lambda d: moved(orders.plane_panel(), {"x": 2.8}, {"y": 2.8, "steepness": 1.0})],
    (orders, "draw_lines"): [],
    (orders, "draw_losses"): [lambda d: orders.draw_losses({2: [1.5, 1.2] * 60, 1: [2.0] * 60}, "one inner step of 2")],
    (orders, "draw_growth"): [lambda d: orders.draw_growth(SHARES), lambda d: orders.draw_growth(NARROW)],
    (orders, "draw_costs"): [lambda d: orders.draw_costs(COSTS, COSTS)],
    (orders, "draw_shares"): [
        lambda d: orders.draw_shares(
            {name: [0.4, 1.2, 3.9] for name in LAYERS}, "what first order leaves out: Omniglot"
        ),
        lambda d: orders.draw_shares(
            {name: [0.05, 0.9, 5.0] for name in LAYERS[:6]}, "what first order leaves out: sines"
        ),
    ],
    (orders, "draw_ratios"): [lambda d: orders.draw_ratios(evidence.orders()[1])],
    (orders, "draw_over_training"): [
        lambda d: orders.draw_over_training(
            evidence.over_training().table("sine", "largest"), "the largest curvature, sines", "αλ", reference=1.0
        ),
        lambda d: orders.draw_over_training(evidence.over_training().table("omniglot", "share"), "characters", "share"),
    ],
    (orders, "draw_two_terms"): [
        lambda d: orders.draw_two_terms(
            {name: {0.0001: n, 0.001: 0.9 * n, 0.01: 0.5 * n} for name, n in TIMES.items()}, TIMES
        )
    ],
    (ideas_of_orders, "draw_chain"): [lambda d: ideas_of_orders.draw_chain()[0]],
    (ideas_of_orders, "draw_triangle"): [
        lambda d, angle=angle: ideas_of_orders.draw_triangle(2.1, 1.0, angle)[0] for angle in (5, 101, 175)
    ],
    (orders, "training_panel"): [lambda d: steered(orders.training_panel())],
    (acting, "draw_walks"): [lambda d, n=n: acting.draw_walks(*walks(n))[0] for n in (1, 2, 4)],
    (acting, "draw_returns"): [lambda d: acting.draw_returns(acting.load_results())[0]],
    (acting, "goal_panel"): [lambda d: moved(acting.goal_panel(PolicyMAML().init(seeded()), PolicyMAML()), {"x": 0.5})],
    (acting, "training_panel"): [lambda d: steered(acting.training_panel())],
}


def test_no_drawing_function_is_left_out():
    for lesson in {lesson for lesson, _name in CASES}:
        few = {watching: 0, ideas_of_orders: 0, pairs_concepts: 2, acting: 3}
        least = few.get(lesson, 4)
        own = {name for name, value in vars(lesson).items() if getattr(value, "__module__", "") == lesson.__name__}
        draws = re.compile(r"(draw_|train_).*|.*(_panel|Game|Panel)")
        public = {name for name in own if draws.fullmatch(name)}
        assert len(public) > least
        assert public <= {name for where, name in CASES if where is lesson}


@pytest.fixture
def made(drawn, figures, monkeypatch, request):
    """The figures of a case: those that it returns, or else all that were drawn."""
    monkeypatch.setattr(panels, "show_widget", lambda *_: None)
    monkeypatch.setattr(panels, "show", lambda fig, _alt: figures.append(fig))
    monkeypatch.setattr(panels.LivePicture, "due", lambda self: False)
    lesson, name, number = request.param
    figures.clear()
    returned = CASES[lesson, name][number](drawn)
    returned = [returned] if isinstance(returned, Figure) else returned
    found = returned if isinstance(returned, list) else list(dict.fromkeys(figures[-1:]))
    assert found
    if folder := os.environ.get("METALAB_SCREENSHOTS"):
        for k, fig in enumerate(found):
            short = lesson.__name__.split(".")[-2]
            Path(folder, f"{short}-{name}-{number}-{k}.png").write_bytes(png(fig))
    for fig in found:
        fig.canvas.draw()
    return found


def case_name(case):
    lesson, name, number = case
    return f"{lesson.__name__.split('.')[-2]}-{name}-{number}"


def words_of(fig):
    """All texts in a figure that are seen: no empty ones, and no ticks outside their axes."""
    hidden = set()
    for ax in fig.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            room = 1e-9 * (high - low)
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low - room <= tick.get_loc() <= high + room or not ax.axison:
                    hidden |= {tick.label1, tick.label2}
        if not ax.axison:
            hidden |= {ax.xaxis.label, ax.yaxis.label}
    return [t for t in fig.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in hidden]


def each_case():
    return [(*key, number) for key, cases in CASES.items() for number in range(len(cases))]


@pytest.mark.parametrize("made", each_case(), indirect=True, ids=case_name)
def test_a_picture_is_legible(made):
    for fig in made:
        width, height = fig.get_size_inches()
        assert width == WIDTH
        assert height <= 5, "at 900 pixels it is at most half as high as a screen"
        words = words_of(fig)
        small = {text.get_text(): text.get_fontsize() for text in words if text.get_fontsize() < TEXT}
        assert not small
        letters = [c.get_sizes() for c in fig.findobj(PathCollection) if len(c.get_offsets())]
        assert all(size >= TEXT**2 for sizes in letters for size in sizes)
        boxes = {text: text.get_window_extent() for text in words}
        for text, box in boxes.items():
            whole = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= fig.bbox.x1 + 1 and box.y1 <= fig.bbox.y1 + 1
            assert whole, f"{text.get_text()!r} leaves the figure"
        for (text, box), (other, of_other) in itertools.combinations(boxes.items(), 2):
            assert not box.padded(-1).overlaps(of_other.padded(-1)), f"{text.get_text()!r} is on {other.get_text()!r}"
        for legend in (legend for ax in fig.axes if (legend := ax.get_legend())):
            for ax in fig.axes:
                assert not legend.get_window_extent().overlaps(ax.get_window_extent()), "a legend covers data"


def test_ticks_on_a_log_axis_are_plain_numbers():
    fig, ax = figure()
    for low, high in [(0.3, 0.8), (0.5, 20.0), (1e-5, 1e4), (3.0, 5.0)]:
        ax.set(yscale="log", ylim=(low, high))
        plain_ticks(ax.yaxis)
        fig.canvas.draw()
        labels = [label.get_text() for label in ax.get_yticklabels(which="both") if label.get_text()]
        assert len(labels) >= 2
        assert not any(sign in label for label in labels for sign in "×$e^{")
        assert all(label[0] in "0123456789" for label in labels)


def test_plain_numbers():
    numbers = [1e-5, 0.002, 0.3, 1, 20, 4000, 1e5, 1e6, 1e-6, 3e12]
    expected = ["0.00001", "0.002", "0.3", "1", "20", "4,000", "100,000", "10⁶", "10⁻⁶", "3·10¹²"]
    assert [plain(number) for number in numbers] == expected


@pytest.mark.parametrize("ha", ["left", "center", "right"])
@pytest.mark.parametrize("va", ["top", "bottom"])
@pytest.mark.parametrize("words", ["✗ 12", "✗ 12\n(100%)"], ids=["one line", "two lines"])
def test_a_label_is_where_matplotlib_puts_a_text(ha, va, words):
    inked = []
    for kind in (Text, Label):
        fig, ax = figure(4, 3)
        fig.set_layout_engine(None)
        ax.axis("off")
        text = ax.add_artist(kind(0.5, 0.5, words, ha=ha, va=va, fontsize=TEXT, color="#D55E00", linespacing=1))
        fig.canvas.draw()
        pixels = np.asarray(fig.canvas.buffer_rgba())[..., :3].astype(int)
        rows, columns = np.nonzero(pixels.sum(2) < 3 * 255 - 100)
        inked.append([rows.min(), rows.max(), columns.min(), columns.max()])
        darkest = pixels[rows, columns][pixels[rows, columns].sum(1).argmin()]
        assert darkest.tolist() == pytest.approx([0xD5, 0x5E, 0x00], abs=40)
        text.set_visible(False)
        fig.canvas.draw()
        assert np.asarray(fig.canvas.buffer_rgba()).min() == 255
    assert np.abs(np.subtract(*inked)).max() <= 4, "pixels"


def test_a_label_without_words_draws_nothing():
    fig, ax = figure(4, 3)
    ax.axis("off")
    ax.add_artist(Label(0.5, 0.5, "", va="top"))
    fig.canvas.draw()
    assert np.asarray(fig.canvas.buffer_rgba()).min() == 255
