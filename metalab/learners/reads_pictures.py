r"""Learning in context with pictures: an embedding, and a network that reads embedded pictures with their labels.

Each example's picture is embedded by f, and its label n is told by e_n, a vector of zeros with a 1 at place n. A
learner in context R reads these pairs, and answers a query's embedding with a number for each class:

    p(n | x_q) = softmax_n( R( f(x_q) | (f(x_1), e_1), … (f(x_S), e_S) )_n )

Embedding and reader are trained together, by the cross-entropy of the queries alone. (An example's prediction from
those before it would be easy to guess, because an episode's examples come class by class.) That is the setting of
Santoro et al. 2016 and of Mishra et al. 2018, whose readers are larger. Nobody tells the network to compare pictures:
whether a query's answer is the label of the example that it resembles, is left to the training.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import arguments
from ..losses import accuracy, cross_entropy
from ..nets import Conv4, Params
from ..tasks import Episode
from .in_context import InContext
from .learner import WithStatistics, check_episode, check_net


@dataclass(frozen=True)
class ReadsPictures(WithStatistics):
    """An embedding of pictures, and a learner in context that reads them.

    In training, each batch of episodes is normalised by its own statistics; `predict` takes those of `stats`.

    Args:
        net: the embedding f, a Conv4 without outputs.
        reader: R, with as many inputs as an embedding has numbers, and one output for each class: 5 outputs are for
            5-way tasks.

    Raises:
        TypeError: an argument is of another type.
    """

    net: Conv4
    reader: InContext

    def __post_init__(self) -> None:
        check_net(self.net)
        if not isinstance(self.reader, InContext):
            raise TypeError(f"reader={arguments.shown(self.reader)} must be a learner such as CausalTransformer(64, 5)")

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters: the embedding's, and the reader's, which are called `reader.…`."""
        reader = self.reader.init(generator)
        return self.net.init(generator) | {f"reader.{name}": p for name, p in reader.items()}

    def meta_gradient(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """Return the gradient of the queries' mean cross-entropy with respect to `params`, and the metrics.

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner.
        """
        self._check(params, episode)
        leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
        with torch.enable_grad():
            logits = self._answer(leaves, episode, None)
            loss = cross_entropy(logits, episode.query_y).mean()
            gradient = torch.autograd.grad(loss, list(leaves.values()))
        metrics = {"loss": loss.detach(), "accuracy": accuracy(logits.detach(), episode.query_y).mean()}
        return dict(zip(leaves, gradient, strict=True)), metrics

    @torch.no_grad()
    def predict(self, params: Params, episode: Episode) -> Tensor:
        """Answer the queries after reading all examples: logits [T, Q, N].

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner, or there are no `stats`.
        """
        self._check(params, episode)
        return self._answer(params, episode, self._statistics())

    def _answer(self, params: Params, episode: Episode, stats: Params | None) -> Tensor:
        embedding = {name: p[None] for name, p in params.items() if not name.startswith("reader.")}
        reader = {name.removeprefix("reader."): p for name, p in params.items() if name.startswith("reader.")}
        images = torch.cat([episode.support_x, episode.query_x], 1)  # [T, S + Q, 1, H, W]
        z = self.net(embedding, images.flatten(0, 1)[None], stats=stats).view(*images.shape[:2], -1)
        support, ways = episode.support_x.shape[1], self.reader.outputs
        labels = F.one_hot(episode.support_y, ways).to(z.dtype)
        return self.reader.read(reader, z[:, :support], labels, z[:, support:])[1]

    def _check(self, params: Params, episode: Episode) -> None:
        check_episode(self, params, episode, outputs=self.reader.outputs)
