r"""What the Siamese learners share (Bromley et al. 1993): one embedding f, used on both pictures of a pair.

Two drawings are compared by how similar their embeddings are. What "similar" means, and the loss, make the learner:

    s(x₁, x₂) = −‖f(x₁) − f(x₂)‖        contrastive.py, triplet.py
    s(x₁, x₂) = cos(f(x₁), f(x₂))       supervised_contrastive.py;    koch.py learns s

A training batch is G groups of P characters with K drawings each. Every drawing is embedded once, and all B × B pairs
of the B = P·K drawings in a group are compared. A new task needs no adaptation: a query belongs to the class of the
support drawing that it is most similar to.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments
from ..engine.derivatives import gradient
from ..nets import Conv4, Params
from ..tasks import Episode
from ..tasks.pairs import Pairs
from .learner import WithStatistics, check_episode, check_net, check_params

PIXELS = 1000 * 28 * 28  # of pictures that are embedded at once where no gradient is needed


def differences(a: Tensor, b: Tensor) -> Tensor:
    """Return a − b for all pairs of embeddings [..., A, E] and [..., B, E]: [..., A, B, E].

    Raises:
        TypeError, ValueError: the arguments are no such tensors, or the embeddings have different widths.
    """
    for name, z in {"a": a, "b": b}.items():
        if not isinstance(z, Tensor) or z.dim() < 2:
            raise TypeError(f"{name}={arguments.shown(z)} must be a tensor of embeddings [..., {name.upper()}, E]")
    if a.shape[-1] != b.shape[-1] or a.shape[:-2] != b.shape[:-2]:
        raise ValueError(
            f"a and b have the shapes {list(a.shape)} and {list(b.shape)}; they must be [..., A, E] and [..., B, E]"
        )
    return a.unsqueeze(-2) - b.unsqueeze(-3)


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the Euclidean distances between embeddings [..., A, E] and [..., B, E]: [..., A, B].

    They are computed from the differences, because ‖a‖² + ‖b‖² − 2 a·b would lose small distances to rounding. Where
    two embeddings coincide, the distance has no slope and the root of 0 an infinite one: the gradient there is 0.
    """
    square = differences(a, b).square().sum(-1)
    coincide = square == 0
    return square.masked_fill(coincide, 1).sqrt().masked_fill(coincide, 0)


def kinds_of_pairs(rows: int, drawings: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Tell which of the B × B pairs in a group are positive and which are negative.

    A positive pair is two drawings of one character, a negative pair is drawings of two characters. A drawing paired
    with itself is neither.

    Args:
        rows: B, the drawings of the group, with the K drawings of each character next to one another.
        drawings: K.
        device: where the masks are made.

    Returns:
        Two masks [B, B]: positive, negative.

    Raises:
        ValueError: there are fewer than 2 drawings of a character, `rows` is not a multiple of `drawings`, or there is
            only one character.
    """
    arguments.whole(rows=rows)
    arguments.whole(least=2, drawings=drawings)
    if not isinstance(device, torch.device):
        arguments.device(device=device)
    if rows % drawings or rows < 2 * drawings:
        raise ValueError(f"rows={rows} must be 2, 3, … times drawings={drawings}: at least two characters")
    character = torch.arange(rows, device=device) // drawings
    same = character[:, None] == character
    return same & ~torch.eye(rows, dtype=torch.bool, device=device), ~same


def balanced_mean(values: Tensor, drawings: int, *, hardest: int | None = None) -> Tensor:
    """Return half the mean over positive pairs plus half the mean over negative pairs, of losses [G, B, B]: [G].

    With 20 characters × 4 drawings, only one pair in 26 is positive. If all pairs counted the same, "they are all
    different" would be a good answer.

    Args:
        values: the loss of each pair.
        drawings: K, the number of drawings of a character; they are next to one another.
        hardest: how many negative pairs of each drawing count, those with the highest loss; None: all of them.

    Raises:
        TypeError, ValueError: the values are no such tensor, or a drawing does not have so many negative pairs.
    """
    arguments.shapes(values=(values, "G B B"))
    positive, negative = kinds_of_pairs(values.shape[-1], drawings, values.device)
    if hardest is None:
        different = _mean(values, negative)
    else:
        count = values.shape[-1] - drawings
        arguments.whole(most=count, what="the group's drawings of other characters", hardest=hardest)
        different = values.masked_fill(~negative, -torch.inf).topk(hardest, dim=2).values.mean((1, 2))
    return (_mean(values, positive) + different) / 2


@dataclass(frozen=True)
class Siamese(WithStatistics):
    """The base of the Siamese learners, which differ in `loss`; some differ in `similarity` too.

    Args:
        net: the embedding f. A Conv4 without outputs embeds in as many dimensions as it has channels, none of them
            negative; with outputs, in that many, by a linear layer.
    """

    net: Conv4

    def __post_init__(self) -> None:
        check_net(self.net)

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters of the embedding."""
        return self.net.init(generator)

    def similarity(self, params: Params, a: Tensor, b: Tensor) -> Tensor:
        """Return how similar embeddings [..., A, E] and [..., B, E] are, larger for more similar: [..., A, B]."""
        return -distances(a, b)

    def loss(self, similarity: Tensor, drawings: int) -> Tensor:
        """Return the loss of each group, from its similarities [G, B, B] with K drawings of each character: [G]."""
        raise NotImplementedError

    def meta_gradient(self, params: Params, batch: Tensor) -> tuple[Params, dict[str, Tensor]]:
        """Return the gradient of the mean loss over groups [G, P, K, 1, H, W], and the metrics.

        The metrics are the loss; the accuracy, which is the share of drawings whose most similar other drawing in the
        group is of the same character; and the mean similarity of "same" and of "different" pairs.

        Raises:
            TypeError, ValueError: the batch is no such tensor, or does not fit the parameters.
        """
        arguments.shapes(batch=(batch, "G P K 1 H W"))
        check_params(self, params, batch)
        drawings = batch.shape[2]
        pictures = batch.flatten(1, 2)  # [G, B, 1, H, W]

        def mean_loss(theta: Params) -> tuple[Tensor, dict[str, Tensor]]:
            z = self._embed(theta, pictures)  # [G, B, E]
            similarity = self.similarity(theta, z, z)
            return self.loss(similarity, drawings).mean(), _metrics(similarity.detach(), drawings)

        grads, loss, metrics = gradient(mean_loss, params, has_aux=True)
        return grads, {"loss": loss, **metrics}

    @torch.no_grad()
    def embed(self, params: Params, images: Tensor) -> Tensor:
        """Embed pictures [..., 1, H, W], each by itself: [..., E].

        Raises:
            TypeError, ValueError: the images are no such tensor or do not fit the parameters, or there are no `stats`
                of training pictures.
        """
        if not isinstance(images, Tensor) or images.dim() < 4 or images.shape[-3] != 1 or not images.numel():
            raise TypeError(f"images={arguments.shown(images)} must be a tensor of pictures [..., 1, H, W]")
        check_params(self, params, images)
        at_once = max(1, PIXELS // images.shape[-2:].numel())
        chunks = images.flatten(0, -4).split(at_once)
        z = torch.cat([self._embed(params, chunk, self._statistics()) for chunk in chunks])
        return z.view(*images.shape[:-3], -1)

    def compare(self, params: Params, pairs: Pairs) -> Tensor:
        """Return how similar the two drawings of each pair are: [B].

        Raises:
            TypeError, ValueError: as `embed` does.
        """
        if not isinstance(pairs, Pairs):
            raise TypeError(f"pairs={arguments.shown(pairs)} must be Pairs")
        first, second = (self.embed(params, x) for x in (pairs.first, pairs.second))
        return self.similarity(params, first[:, None], second[:, None])[:, 0, 0]

    @torch.no_grad()
    def predict(self, params: Params, episode: Episode) -> Tensor:
        """Compare each query with each class's most similar support drawing: logits [T, Q, N].

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner, or there are no `stats`.
        """
        check_episode(self, params, episode, every_class=True)
        support_z, query_z = (self.embed(params, x) for x in (episode.support_x, episode.query_x))
        similarity = self.similarity(params, query_z, support_z)  # [T, Q, S]
        classes = torch.arange(episode.ways, device=similarity.device)[:, None]
        member = episode.support_y[:, None] == classes  # [T, N, S]
        return similarity[:, :, None].masked_fill(~member[:, None], -torch.inf).amax(3)

    def _embed(self, params: Params, images: Tensor, stats: Params | None = None) -> Tensor:
        # All pictures go through as one batch of one task, so that batch norm sees all groups together.
        one = {name: p[None] for name, p in params.items()}
        z = self.net(one, images.flatten(0, -4)[None], stats=stats)[0]
        return z.view(*images.shape[:-3], -1)


def _metrics(similarity: Tensor, drawings: int) -> dict[str, Tensor]:
    positive, negative = kinds_of_pairs(similarity.shape[-1], drawings, similarity.device)
    others = similarity.masked_fill(~(positive | negative), -torch.inf)
    best = others == others.amax(2, keepdim=True)
    return {
        "accuracy": ((best & positive).sum(2) / best.sum(2).clamp(min=1)).mean(),  # of a tie, the share that is right
        "same": _mean(similarity, positive).mean(),
        "different": _mean(similarity, negative).mean(),
    }


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over those pairs [B, B] of each group that are in the mask: [G]."""
    return (values * mask).sum((-2, -1)) / mask.sum()
