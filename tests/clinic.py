"""Small learners in plain PyTorch for the examinations: sound ones, of which each part can be exchanged for a sick one.

Tasks are sines, or blobs of points in six dimensions. Every function of this module returns what makes a patient.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from metalab.analysis.diagnosis import mlp
from metalab.analysis.examinations import Patient


def sines(generator, shots=5, dtype=torch.float32):
    amplitude, phase = 0.5 + 2 * torch.rand(2, generator=generator)
    x = 4 * torch.rand(2 * shots, 1, generator=generator) - 2
    y = amplitude * torch.sin(x - phase)
    x, y = x.to(dtype), y.to(dtype)
    return x[:shots], y[:shots], x[shots:], y[shots:]


def blobs(generator, ways=3, shots=2, queries=2, dtype=torch.float32):
    centres = 2 * torch.randn(ways, 6, generator=generator)

    def draw(each):
        x = centres.repeat_interleave(each, 0) + 0.7 * torch.randn(ways * each, 6, generator=generator)
        return x.to(dtype), torch.arange(ways).repeat_interleave(each)

    return *draw(shots), *draw(queries)


def several(task, count=3):
    return lambda generator: [task(generator) for _ in range(count)]


def net(inputs=1, outputs=1, width=16):
    return nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, outputs))


def descend(forward, params, x, y, *, loss, lr=0.05, steps=1, create_graph=True, sign=-1):
    for _ in range(steps):
        grads = torch.autograd.grad(loss(forward(params, x), y), list(params.values()), create_graph=create_graph)
        params = {name: p + sign * lr * g for (name, p), g in zip(params.items(), grads, strict=True)}
    return params


def maml(adapt=descend, *, make_net=net, task=sines, loss=F.mse_loss, judge=None, dtype=torch.float32, **changed):
    """MAML by functional_call. `adapt` and `judge`, which computes a task's query loss, may be sick."""

    def judged(forward, params, task, **more):
        sx, sy, qx, qy = task
        return loss(forward(adapt(forward, params, sx, sy, loss=loss, **more), qx), qy)

    judge = judge or judged

    def make():
        module = make_net().to(dtype)
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)

        def forward(params, x):
            return functional_call(module, params, (x,))

        def query_loss(tasks, **more):
            params = dict(module.named_parameters())
            return sum(judge(forward, params, task, **more) for task in tasks) / len(tasks)

        def step(tasks):
            optimizer.zero_grad()
            found = query_loss(tasks)
            found.backward()
            optimizer.step()
            return found.item()

        def predict(sx, sy, qx):
            return forward(adapt(forward, dict(module.named_parameters()), sx, sy, loss=loss), qx)

        def meta_loss(params, tasks, inner_lr):
            def of_mlp(named, x):
                return mlp(list(named.values()), x)

            named = {str(i): p for i, p in enumerate(params)}
            return sum(judge(of_mlp, named, task, lr=inner_lr) for task in tasks) / len(tasks)

        def typed(generator):
            return task(generator, dtype=dtype)

        known = {
            "parameters": module,
            "step": step,
            "batch": several(typed),
            "loss": query_loss,
            "predict": predict,
            "task": typed,
            "meta_loss": meta_loss,
            "loss_after": lambda steps: query_loss([typed(torch.Generator().manual_seed(9))], steps=steps),
        }
        return Patient(**known | changed)

    return make


def prototype_scores(z, sx, sy, qx):
    embedded = z(sx)
    centres = torch.stack([embedded[sy == c].mean(0) for c in sy.unique()])
    return -torch.cdist(z(qx), centres).square()


def prototypical(
    make_net=lambda: net(6, 4),
    *,
    scores=prototype_scores,
    answers=lambda scores: scores,
    dtype=torch.float32,
    **changed,
):
    """A prototypical network, in train() while it trains and in eval() when it answers; its parts may be sick."""

    def make():
        module = make_net().to(dtype)
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)

        def loss(tasks):
            return sum(F.cross_entropy(scores(module, *task[:3]), task[3]) for task in tasks) / len(tasks)

        def step(tasks):
            module.train()
            optimizer.zero_grad()
            found = loss(tasks)
            found.backward()
            optimizer.step()
            return found

        def predict(sx, sy, qx):
            module.eval()
            return answers(scores(module, sx, sy, qx))

        def typed(generator):
            return blobs(generator, dtype=dtype)

        known = {
            "parameters": module,
            "step": step,
            "batch": several(typed),
            "loss": loss,
            "predict": predict,
            "task": typed,
        }
        known |= {name: part(module, known) for name, part in changed.items() if name in known and part}
        return Patient(**known | {name: part for name, part in changed.items() if name not in known})

    return make


def pairs_of_blobs(generator):
    sx, sy, qx, qy = blobs(generator, ways=12, shots=1, queries=1)
    a, b = torch.cat([sx, sx]), torch.cat([qx, qx.roll(1, 0)])
    return a, b, torch.cat([sy == qy, sy == qy.roll(1, 0)])


def siamese(*, same_is=1, distance=lambda a, b: (a - b).norm(dim=1)):
    """A Siamese network with the contrastive loss. `same_is` is the label of a pair that is pulled together."""

    def make():
        module = net(6, 4)
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)

        def loss(pairs):
            a, b, same = pairs
            apart = (module(a) - module(b) + 1e-6).norm(dim=1)
            return torch.where(same == same_is, apart.square(), (2 - apart).relu().square()).mean()

        def step(pairs):
            optimizer.zero_grad()
            found = loss(pairs)
            found.backward()
            optimizer.step()
            return found.item()

        generator = torch.Generator().manual_seed(5)
        for _ in range(60):
            step(pairs_of_blobs(generator))
        return Patient(
            parameters=module,
            step=step,
            batch=pairs_of_blobs,
            loss=loss,
            distance=lambda a, b: distance(module(a), module(b)),
            pairs=lambda generator: [
                torch.cat(part) for part in zip(*map(pairs_of_blobs, [generator] * 5), strict=True)
            ],
        )

    return make
