r"""OML, "online-aware meta-learning" (Javed & White 2019): a representation on which learning online forgets less.

The examples of a stream come one after the other, each once, and class by class. A network φ_θ, which is fixed while
the stream lasts, maps them to features. A linear layer W on the features learns by a gradient step on each example:

    W_0 = 0,    W_j = W_{j−1} − α ∇_W ℓ( W_{j−1}ᵀ φ_θ(x_j), y_j )    for j = 1 … k, in the order of the stream

Meta-training learns θ so that W_k is right for everything that the stream has shown, and not only for its end:

    minimise over θ the loss L( W_kᵀ φ_θ(x), y ) on a random batch of all that the stream is about

The gradient passes through all k steps. ANIL differs in this: its inner steps see the whole support set at once, so
that nothing can be forgotten.

The paper's prediction part has two layers (one on Omniglot), and the weights of the classes to come start at random.
Here it is one linear layer, and it starts at 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .. import arguments
from ..engine.derivatives import gradient
from ..losses import accuracy, cross_entropy, mse
from ..nets import Net, Params, for_tasks
from ..tasks import Episode
from .learner import WithStatistics, check_episode, check_net


def learn_online(z: Tensor, y: Tensor, ways: int, inner_lr: float, batch: int = 1) -> Tensor:
    """Learn a linear layer by one gradient step on each example, in their order: W [T, E, N], or [T, E, out].

    Autograd can differentiate the result with respect to the features.

    Args:
        z: the features φ(x) of the examples [T, S, E].
        y: their labels [T, S] int64, learned by cross-entropy, or their targets [T, S, out], by the squared error.
        ways: N, the number of labels; unused for targets.
        inner_lr: α.
        batch: how many examples share a step; the last step may have fewer.

    Raises:
        TypeError, ValueError: the arguments are no tensors of these shapes, or a number is out of range.
    """
    labelled = isinstance(y, Tensor) and y.dtype == torch.int64
    if not arguments.is_trusted():
        arguments.whole(ways=ways, batch=batch)
        arguments.real(least=0, inner_lr=inner_lr)
        arguments.shapes(z=(z, "T S E"), y=(y, "T S" if labelled else "T S out"))
        arguments.floats(z=z, **({} if labelled else {"y": y}))
        if labelled:
            arguments.labels(ways, y=y)
    targets = torch.nn.functional.one_hot(y, ways).to(z.dtype) if labelled else y
    weights = z.new_zeros(len(z), z.shape[2], targets.shape[2])
    for phi, target in zip(z.split(batch, 1), targets.split(batch, 1), strict=True):
        answer = phi @ weights
        slope = answer.softmax(2) - target if labelled else 2 * (answer - target) / target.shape[2]
        weights = torch.baddbmm(weights, phi.mT, slope, alpha=-inner_lr / phi.shape[1])
    return weights


@dataclass(frozen=True)
class OML(WithStatistics):
    """OML. The support set of an episode is the stream, in its order, and the queries are the random batch.

    Args:
        net: the network φ; a Conv4 without outputs, or an MLP whose outputs are the features.
        inner_lr: α, the rate of a step.
        batch: how many examples share a step.
        stats: the statistics of a Conv4's batch norm, which `with_statistics` measures; without them, those of all
            pictures of a task are taken. Meta-training does that; a test may not, because it would look ahead.
    """

    net: Net
    inner_lr: float = 0.03
    batch: int = 1
    stats: Params | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_net(self.net)
        arguments.real(least=0, inner_lr=self.inner_lr)
        arguments.whole(batch=self.batch)

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters of the network φ. W has none, because it starts at 0."""
        return self.net.init(generator)

    def meta_gradient(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """Return the gradient of the mean query loss after the stream with respect to `params`, and the metrics.

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner.
        """
        check_episode(self, params, episode)
        labelled = not episode.query_y.is_floating_point()

        def query_loss(theta: Params) -> tuple[Tensor, dict[str, Tensor]]:
            answers = self._answers(theta, episode, None)
            loss = (cross_entropy if labelled else mse)(answers, episode.query_y)
            return loss, {"accuracy": accuracy(answers.detach(), episode.query_y).mean()} if labelled else {}

        grads, losses, metrics = gradient(query_loss, for_tasks(params, episode.tasks), has_aux=True)
        return {name: g.mean(0) for name, g in grads.items()}, {"loss": losses.mean(), **metrics}

    @torch.no_grad()
    def predict(self, params: Params, episode: Episode) -> Tensor:
        """Learn each task's support set online, in its order, then answer its queries: [T, Q, N] or [T, Q, out].

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner.
        """
        check_episode(self, params, episode)
        return self._answers(for_tasks(params, episode.tasks), episode, self.stats)

    def _answers(self, theta: Params, episode: Episode, stats: Params | None) -> Tensor:
        x = torch.cat([episode.support_x, episode.query_x], 1)
        z = self.net(theta, x, stats=stats) if stats else self.net(theta, x)  # type: ignore[call-arg]
        stream, query = z.split([episode.support_x.shape[1], episode.query_x.shape[1]], 1)
        return query @ learn_online(stream, episode.support_y, episode.ways, self.inner_lr, self.batch)
