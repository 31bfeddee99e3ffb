"""What lesson 6's patients are made of, and the examples of its exercises."""

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from metalab.lessons.bug_clinic import solutions, ward

NOTEBOOK = Path(__file__).parents[2] / "notebooks/06_bug_clinic.ipynb"


@pytest.mark.parametrize("make", [ward.sine_network, ward.small_network, ward.embedding])
def test_a_network_of_the_ward_starts_the_same_whatever_was_drawn_before(make):
    torch.manual_seed(1)
    first = list(make().parameters())
    torch.manual_seed(2)
    assert all(torch.equal(a, b) for a, b in zip(first, make().parameters(), strict=True))


def filled(network, weight, bias):
    for name, p in network.named_parameters():
        nn.init.constant_(p, bias if "bias" in name else weight)
    return network


def given():
    """What the examples of the exercises are called with, by the names that the text uses."""
    black, white = torch.zeros(1, 28, 28), torch.ones(1, 28, 28)
    network = filled(nn.Linear(1, 1), 1.0, 0.0)
    layers = filled(nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), 0, 0)
    return {
        "torch": torch,
        **{name: getattr(solutions, name) for name in vars(solutions) if not name.startswith("_")},
        "w": torch.tensor([[1.0]], requires_grad=True),
        "b": torch.tensor([0.0], requires_grad=True),
        "x": torch.tensor([[1.0]]),
        "y": torch.tensor([[2.0]]),
        "network": network,
        "layers": layers,
        "optimizer": torch.optim.SGD([*network.parameters(), *layers.parameters()], lr=0.1),
        "encoder": nn.Flatten(),
        "white": white,
        "drawings": torch.stack([black, white]),
        "generator": torch.Generator().manual_seed(0),
    }


@pytest.mark.parametrize(
    ("call", "value", "words"),
    [
        ("descend([tensor([1.0])], [tensor([2.0])], 0.1)", [0.8], "is `[tensor([0.8])]`"),
        ("adapted_loss([w, b], [(x, y, x, y)], 0.1)", 0.36, "is `tensor(0.3600)`"),
        ("meta_step(network, optimizer, [(x, y, x, y)], 0.1)", 0.36, "is 0.36,"),
        ("adapt([w, b], x, y, 0.1, 1)", [1.2, 0.2], "is `[tensor([[1.2000]]), tensor([0.2000])]`"),
        (
            "dense_step(layers, optimizer, torch.rand(2, 1, 28, 28), torch.tensor([0, 1]))",
            2.3026,
            "is ln 10, that is, 2.3026 in",
        ),
        (
            "fair_accuracy(torch.tensor([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0]]), torch.tensor([0, 0]))",
            0.25,
            "is 0.25:",
        ),
        ("predict(encoder, x, torch.tensor([0, 1]), white[None])", [-28, 0], "they are −28 and 0."),
    ],
)
def test_the_examples_of_the_exercises_are_right(call, value, words):
    text = " ".join("".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"])
    [paragraph] = [line for line in text.split("\n") if f"`{call}`" in line]
    assert words in paragraph
    names = given() | {"tensor": torch.tensor}
    if call.startswith("predict"):
        names["x"] = names["drawings"]
    found = eval(call, names)
    numbers = found if isinstance(found, list) else [torch.as_tensor(found)]
    assert torch.cat([part.detach().flatten() for part in numbers]).tolist() == pytest.approx(
        value if isinstance(value, list) else [value], abs=1e-4
    )


def test_the_other_examples_of_the_exercises_are_right():
    of = given()
    twice = [p.item() for p in solutions.adapt([of["w"], of["b"]], of["x"], of["y"], 0.1, 2)]
    assert twice == pytest.approx([1.32, 0.32])
    network, step = solutions.make_learner(0.01)
    x = torch.randn(5, 1)
    assert step(x, network(x).detach()) == 0.0
    norm, labels = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784)), torch.tensor([0, 1])
    one, both = (
        solutions.scores_one_by_one(copy.deepcopy(norm), of["drawings"], labels, queries)
        for queries in (of["white"][None], of["drawings"].flip(0))
    )
    assert one.argmax(1).tolist() == [1]
    assert torch.allclose(one, both[:1])
    greek, latin = [("Greek", "α"), ("Greek", "β")], [("Latin", "a")]
    for seed in range(10):
        halves = solutions.split_by_alphabet([*greek, *latin], 0.5, torch.Generator().manual_seed(seed))
        assert halves in ((greek, latin), (latin, greek))
