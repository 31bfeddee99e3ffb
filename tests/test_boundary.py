"""Whatever a user hands over by mistake gets a clear error that names it, or a right result.

The table has a row for each public function of the library, with arguments that are right. Each argument in turn is
replaced by each absurd value. A row says which of these are no mistake there.
"""

import importlib
import inspect
import math
import pkgutil
from dataclasses import dataclass, field, replace
from functools import cache

import noise
import pytest
import torch

import metalab
from metalab import checkpoint, evaluate, files, gaussian, losses, nets, optim, residual, tasks, train
from metalab.analysis import bandits as rivals
from metalab.analysis import diagnosis, examinations, paired, patients, representations, roc, second_order, sine_bayes
from metalab.learners import (
    ANIL,
    MAML,
    OML,
    ALPaCA,
    CausalTransformer,
    ConditionalNeuralProcess,
    Contrastive,
    DeepKernelTransfer,
    FineTuning,
    Koch,
    MatchingNet,
    MetaSGD,
    MultiStepLoss,
    NeighbourhoodComponents,
    NPair,
    PerStepRates,
    PolicyMAML,
    PrototypicalNet,
    ReadsPictures,
    RecurrentLearner,
    RecurrentPolicy,
    Reptile,
    SparseMAML,
    SupervisedContrastive,
    Triplet,
    causal_transformer,
    contrastive,
    matching,
    multi_step_loss,
    non_parametric,
    policy_maml,
    prototypical,
    siamese,
    triplet,
)
from metalab.tasks import (
    bandits,
    challenge,
    characters,
    distortions,
    domains,
    download,
    episode,
    glyphs,
    linear,
    navigation,
    omniglot,
    pairs,
    sine,
)

ABSURD = {
    "-1": -1,
    "0": 0,
    "1.5": 1.5,
    "nan": math.nan,
    "inf": math.inf,
    "10**400": 10**400,
    "True": True,
    "'2'": "2",
    "None": None,
    "[]": [],
    "{}": {},
    "an empty tensor": torch.empty(0),
    "a tensor of shape [2, 3, 4]": torch.arange(24.0).reshape(2, 3, 4) - 5,
    "a tensor of integers": torch.ones(2, 3, dtype=torch.int64),
}
# What may stand for some kinds of arguments without being a mistake
FROM_0 = {"0"}  # a whole number, or a share, that may be 0
AT_LEAST_0 = {"0", "1.5"}  # a number that may be 0
ABOVE_0 = {"1.5"}
FLAG = {"True"}
OPTIONAL = {"None"}
A_CUBE = {"a tensor of shape [2, 3, 4]"}  # of the right shape, where tasks, trajectories and steps are asked for


@dataclass
class Row:
    """A function with right arguments, made anew for each call, and what is no mistake, by the argument."""

    call: object
    arguments: object
    fine: dict = field(default_factory=dict)


def seeded():
    return torch.Generator().manual_seed(0)


def floats(*shape):
    return torch.rand(shape, generator=seeded())


def class_labels(tasks, ways, each):
    return torch.arange(ways).repeat_interleave(each).expand(tasks, -1)


def maker(**values):
    """A function that returns the values: those that are functions without a name of their own are called."""
    return lambda: {k: v() if getattr(v, "__name__", "") == "<lambda>" else v for k, v in values.items()}


def constant(value):
    """A function argument: `maker` calls a lambda, and leaves what this returns as it is."""

    def given(*_):
        return value

    return given


@cache
def alphabet():
    return noise.noise(8, 6, seed=0)


def an_episode():
    return alphabet().sample(2, 3, 1, 2, seeded())


def waves():
    return sine.sample(2, 5, 4, seeded())


def games():
    return bandits.sample(2, seeded())


def walking():
    """Two goals, with three trajectories of five steps in each of two rounds."""
    return navigation.sample(2, 3, 2, seeded(), steps=5)


def walked():
    return walking().walk(WALKER.policy(nets.for_tasks(WALKER.init(seeded()), 2)))


def counts():
    return torch.zeros(2, 4)


def posterior():
    return sine_bayes.SinePosterior.of(floats(2, 3, 1), floats(2, 3, 1), noise=0.1)


def plain(shape):
    """The covariances of three points that have nothing in common, of two tasks."""
    return lambda: torch.eye(3).expand(*shape, 3, 3)


MLP, CONV, EMBED = nets.MLP(), nets.Conv4(3, channels=4), nets.Conv4(channels=4)
SINE = MAML(MLP, losses.mse, 0.01)
STREAM = OML(nets.Tanh((1, 8, 4)))
BAYES, KERNEL = ALPaCA(nets.Tanh((1, 8, 4))), DeepKernelTransfer(nets.Tanh((1, 8, 2)), mixtures=2)
READER = CausalTransformer(width=8, layers=1)
PICTURES = CausalTransformer(inputs=4, outputs=3, width=8, layers=1)
PLAYER, WALKER = RecurrentPolicy(width=8), PolicyMAML(width=8)
SHORT = residual.Residual((4, 8))
SUM = siamese.Siamese


def conv_params(learner):
    return learner.init(seeded())


def measured(learner):
    return learner.with_statistics(learner.init(seeded()), floats(4, 1, 28, 28))


def of_maml(kind, **more):
    return Row(
        kind,
        maker(net=CONV, loss=losses.cross_entropy, inner_lr=0.4, inner_steps=1, order=2, transductive=True, **more),
        {"inner_lr": AT_LEAST_0, "inner_steps": FROM_0, "transductive": FLAG},
    )


def with_task(learner, method, batch="episode", make=an_episode):
    learner_params = maker(params=lambda: learner.init(seeded()), **{batch: lambda: make()})
    return Row(lambda **given: getattr(learner, method)(**given), learner_params)


def on_stats(kind, **more):
    return Row(kind, maker(net=EMBED, **more))


NOISE = floats(3, 3)
LOGITS = {
    "support_z": lambda: floats(2, 6, 7),
    "support_y": lambda: class_labels(2, 3, 2),
    "query_z": lambda: floats(2, 5, 7),
    "ways": 3,
}
GROUPS = {"distance": lambda: floats(2, 6, 6), "drawings": 2, "margin": 0.2}


@cache
def trainer():
    return train.Trainer(SINE, lambda g: sine.sample(2, 5, 5, g))


PATIENTS = ("step", "batch", "loss", "gradient", "predict", "task", "meta_loss", "loss_after", "distance", "pairs")


def a_patient():
    return patients.patient_of(SINE, lambda g: sine.sample(2, 5, 5, g))


def problem():
    return diagnosis.Problem.sine()


REPTILE = Reptile(CONV, inner_steps=2, inner_batch=3)
ROWS = {
    "losses.cross_entropy": Row(
        losses.cross_entropy, maker(logits=lambda: floats(2, 6, 3), labels=lambda: class_labels(2, 3, 2))
    ),
    "losses.accuracy": Row(
        losses.accuracy, maker(logits=lambda: floats(2, 6, 3), labels=lambda: class_labels(2, 3, 2))
    ),
    "losses.mse": Row(losses.mse, maker(prediction=lambda: floats(2, 5, 1), target=lambda: floats(2, 5, 1))),
    "nets.for_tasks": Row(nets.for_tasks, maker(params=lambda: MLP.init(seeded()), tasks=2), {"params": {"{}"}}),
    "nets.MLP": Row(nets.MLP, maker(sizes=(1, 2))),
    "nets.MLP.init": Row(MLP.init, maker(generator=lambda: seeded())),
    "nets.MLP.__call__": Row(
        lambda params, x: MLP(params, x),
        maker(params=lambda: nets.for_tasks(MLP.init(seeded()), 2), x=lambda: floats(2, 5, 1)),
    ),
    "nets.MLP.chain": Row(MLP.chain, maker(x=lambda: floats(2, 5, 1))),
    "nets.Tanh": Row(nets.Tanh, maker(sizes=(1, 2))),
    "nets.Tanh.init": Row(nets.Tanh().init, maker(generator=lambda: seeded())),
    "nets.Tanh.chain": Row(nets.Tanh().chain, maker(x=lambda: floats(2, 5, 1))),
    "gaussian.cholesky": Row(gaussian.cholesky, maker(matrix=plain([2]), jitter=1e-3), {"jitter": AT_LEAST_0}),
    "gaussian.condition": Row(
        gaussian.condition,
        maker(
            support=plain([2]),
            across=lambda: floats(2, 4, 3),
            query=lambda: floats(2, 4),
            y=lambda: floats(2, 3, 1),
            noise=0.1,
            jitter=1e-3,
        ),
        {"noise": ABOVE_0, "jitter": AT_LEAST_0, "y": {"a tensor of shape [2, 3, 4]"}},
    ),
    "gaussian.log_marginal": Row(
        gaussian.log_marginal,
        maker(covariance=plain([2]), y=lambda: floats(2, 3, 1), jitter=1e-3),
        {"jitter": AT_LEAST_0, "y": {"a tensor of shape [2, 3, 4]"}},
    ),
    "gaussian.log_density": Row(
        gaussian.log_density,
        maker(y=lambda: floats(2, 3, 1), mean=lambda: floats(2, 3, 1), variance=lambda: floats(2, 3, 1)),
    ),
    "nets.Conv4": Row(nets.Conv4, maker(outputs=3, channels=4, pool="max"), {"outputs": OPTIONAL}),
    "nets.Conv4.init": Row(CONV.init, maker(generator=lambda: seeded())),
    "nets.Conv4.__call__": Row(
        lambda params, x, context: CONV(params, x, context=context),
        maker(
            params=lambda: nets.for_tasks(CONV.init(seeded()), 2),
            x=lambda: floats(2, 5, 1, 28, 28),
            context=lambda: floats(2, 3, 1, 28, 28),
        ),
        {"context": OPTIONAL},
    ),
    "nets.Conv4.statistics": Row(
        CONV.statistics, maker(params=lambda: CONV.init(seeded()), images=lambda: floats(3, 1, 28, 28))
    ),
    "nets.Conv4.chain": Row(CONV.chain, maker(x=lambda: floats(2, 5, 1, 28, 28))),
    "residual.Residual": Row(
        residual.Residual,
        maker(widths=(4, 8), halve_first=True, bfloat16=False),
        {"halve_first": FLAG, "bfloat16": FLAG},
    ),
    "residual.Residual.init": Row(SHORT.init, maker(generator=lambda: seeded())),
    "residual.Residual.__call__": Row(
        lambda params, x: SHORT(params, x),
        maker(params=lambda: nets.for_tasks(SHORT.init(seeded()), 2), x=lambda: floats(2, 5, 1, 28, 28)),
    ),
    "residual.Residual.statistics": Row(
        SHORT.statistics, maker(params=lambda: SHORT.init(seeded()), images=lambda: floats(3, 1, 28, 28))
    ),
    "optim.Adam": Row(optim.Adam, maker(params=lambda: floats(3))),
    "optim.Adam.step": Row(lambda gradient: optim.Adam(floats(3)).step(gradient), maker(gradient=lambda: floats(3))),
    "optim.Muon": Row(
        optim.Muon,
        maker(params=lambda: floats(8), layout={"w": (2, 2), "v": (2, 2)}, hidden=("w",), share=0.2),
        {"share": AT_LEAST_0, "hidden": {"[]"}},
    ),
    "optim.Muon.step": Row(
        lambda gradient: optim.Muon(floats(4), layout={"w": (2, 2)}, hidden=("w",)).step(gradient),
        maker(gradient=lambda: floats(4)),
    ),
    "optim.Averaged": Row(optim.Averaged, maker(params=lambda: floats(3), of=optim.Adam, decay=0.9), {"decay": FROM_0}),
    "optim.Averaged.step": Row(
        lambda gradient: optim.Averaged(floats(3)).step(gradient), maker(gradient=lambda: floats(3))
    ),
    "optim.orthogonal": Row(optim.orthogonal, maker(matrix=lambda: floats(3, 2))),
    "optim.Descent": Row(optim.Descent, maker(params=lambda: floats(3))),
    "optim.Descent.step": Row(
        lambda gradient: optim.Descent(floats(3)).step(gradient), maker(gradient=lambda: floats(3))
    ),
    "train.Trainer": Row(
        train.Trainer,
        maker(
            learner=SINE,
            sample=constant(None),
            outer_lr=0.1,
            optimizer=optim.Adam,
            seed=1,
            params=lambda: MLP.init(seeded()),
            device="cpu",
            recordings=2,
            compiled=False,
        ),
        {"outer_lr": AT_LEAST_0, "seed": FROM_0, "params": OPTIONAL, "recordings": FROM_0, "compiled": FLAG},
    ),
    "train.Trainer.step": Row(lambda count: trainer().step(count), maker(count=1)),
    "train.Trainer.run": Row(
        lambda steps, every: trainer().run(steps, every=every), maker(steps=1, every=1), {"steps": FROM_0}
    ),
    "train.Trainer.go_on": Row(
        lambda state, good: trainer().go_on(state, good),
        maker(state=lambda: trainer().state(), good=lambda: trainer().good_state()),
    ),
    "train.Trainer.load_state": Row(lambda state: trainer().load_state(state), maker(state=lambda: trainer().state())),
    "evaluate.Score.of": Row(evaluate.Score.of, maker(values=lambda: floats(5))),
    "evaluate.evaluate": Row(
        lambda **given: evaluate.evaluate(**given),
        lambda: {
            "predict": lambda e: floats(e.tasks, 6, 3),
            "sample": lambda n, g: alphabet().sample(n, 3, 1, 2, g),
            "episodes": 4,
            "batch": 2,
            "seed": 1,
            "measure": losses.accuracy,
            "device": "cpu",
        },
        {"seed": FROM_0},
    ),
    "checkpoint.save": Row(
        lambda path, params, about: checkpoint.save(path, params, about),
        maker(path="/dev/null", params=lambda: {"w": floats(2)}, about={"steps": 1}),
        {"params": {"{}"}, "about": {"{}"}, "path": {"'2'"}},
    ),
    "checkpoint.load": Row(checkpoint.load, maker(path=checkpoint.__file__), {"path": {"'2'"}}),
    "checkpoint.shipped": Row(checkpoint.shipped, maker(name="sine_maml_5shot")),
    "files.replace_file": Row(files.replace_file, maker(path="/dev/null", data=b""), {"path": {"'2'"}}),
    "files.check_replaceable": Row(files.check_replaceable, maker(path="/dev/null"), {"path": {"'2'"}}),
    "tasks.challenge.one_shot_challenge": Row(challenge.one_shot_challenge, maker(evaluation=None)),
    "tasks.characters.Characters": Row(
        characters.Characters,
        lambda: {
            "images": alphabet().images,
            "alphabet": alphabet().alphabet,
            "names": alphabet().names,
            "source": alphabet().source,
        },
        {"source": {"'2'"}},
    ),
    "tasks.characters.Characters.to": Row(alphabet().to, maker(device="cpu")),
    "tasks.characters.Characters.select": Row(alphabet().select, maker(index=lambda: torch.tensor([0, 2]))),
    "tasks.characters.Characters.hold_out": Row(glyphs.draw(alphabets=3, seed=0).hold_out, maker(every=2)),
    "tasks.characters.Characters.of": Row(alphabet().of, maker(names=("noise",))),
    "tasks.characters.Characters.sample": Row(
        alphabet().sample, maker(tasks=2, ways=3, shots=1, queries=1, generator=lambda: seeded())
    ),
    "tasks.characters.Characters.batch": Row(alphabet().batch, maker(size=3, generator=lambda: seeded())),
    "tasks.characters.Groups": Row(
        characters.Groups,
        lambda: {"source": alphabet(), "characters": 3, "drawings": 2, "within_alphabet": False, "same_drawers": True},
        {"within_alphabet": FLAG, "same_drawers": FLAG},
    ),
    "tasks.characters.Groups.__call__": Row(
        lambda groups, generator: tasks.Groups(alphabet(), 3, 2)(groups, generator),
        maker(groups=2, generator=lambda: seeded()),
    ),
    "tasks.distortions.distort": Row(
        distortions.distort,
        maker(images=lambda: floats(2, 1, 28, 28), generator=lambda: seeded(), strength=1.0, elastic=1.0, strokes=0.5),
        {"strength": AT_LEAST_0, "elastic": AT_LEAST_0, "strokes": FROM_0},
    ),
    "tasks.distortions.draw_field": Row(
        distortions.draw_field,
        maker(count=3, side=8, generator=lambda: seeded(), strength=1.0),
        {"strength": AT_LEAST_0},
    ),
    "tasks.distortions.thicken": Row(
        distortions.thicken, maker(images=lambda: floats(2, 1, 8, 8), amount=lambda: floats(2))
    ),
    "tasks.distortions.draw_affine": Row(
        distortions.draw_affine, maker(count=3, generator=lambda: seeded(), strength=1.0), {"strength": AT_LEAST_0}
    ),
    "tasks.distortions.warp": Row(
        distortions.warp,
        maker(
            images=lambda: floats(2, 1, 8, 8),
            matrix=lambda: floats(2, 2, 2),
            shift=lambda: floats(2, 2),
            field=lambda: floats(2, 8, 8, 2),
        ),
        {"field": OPTIONAL},
    ),
    "tasks.download.fetch": Row(
        download.fetch,
        maker(name="x", addresses=["http://127.0.0.1:9/"], md5="0" * 32, at_most=10),
        {"name": {"'2'"}},
    ),
    "tasks.domains.changed": Row(
        domains.changed,
        maker(characters=lambda: alphabet(), change="noisy", strength=0.5, seed=1),
        {"strength": FROM_0, "seed": FROM_0},
    ),
    "tasks.domains.Varying": Row(
        domains.Varying, lambda: {"source": alphabet(), "ways": (2, 3), "shots": (1, 1), "queries": 1}
    ),
    "tasks.domains.Varying.__call__": Row(
        lambda tasks, generator: domains.Varying(alphabet(), (2, 3), (1, 1), 1)(tasks, generator),
        maker(tasks=2, generator=lambda: seeded()),
    ),
    "tasks.episode.Episode": Row(
        tasks.Episode,
        maker(
            support_x=lambda: floats(2, 6, 5),
            support_y=lambda: class_labels(2, 3, 2),
            query_x=lambda: floats(2, 4, 5),
            query_y=lambda: torch.zeros(2, 4, dtype=torch.int64),
            ways=3,
        ),
    ),
    "tasks.episode.Episode.__getitem__": Row(lambda tasks: an_episode()[tasks], maker(tasks=slice(0, 1))),
    "tasks.episode.Episode.to": Row(lambda target: an_episode().to(target), maker(target="cpu")),
    "tasks.episode.as_episode": Row(episode.as_episode, maker(groups=lambda: floats(2, 3, 4, 1, 8, 8), shots=2)),
    "tasks.glyphs.draw": Row(
        lambda **given: glyphs.draw(**given), maker(alphabets=1, characters=2, drawings=2, seed=1), {"seed": FROM_0}
    ),
    "tasks.glyphs.draw_described": Row(
        lambda **given: glyphs.draw_described(**given),
        maker(alphabets=1, characters=2, drawings=2, seed=1),
        {"seed": FROM_0},
    ),
    "tasks.omniglot.load": Row(
        omniglot.load, maker(split="alphabets", side=28, seed=0, download=False), {"seed": FROM_0, "download": FLAG}
    ),
    "tasks.omniglot.load_from": Row(
        omniglot.load_from,
        maker(split="alphabets", side=28, seed=0, download=False),
        {"seed": FROM_0, "download": FLAG},
    ),
    "tasks.pairs.Pairs": Row(
        pairs.Pairs,
        maker(
            first=lambda: floats(2, 1, 8, 8),
            second=lambda: floats(2, 1, 8, 8),
            same=lambda: torch.tensor([True, False]),
        ),
    ),
    "tasks.pairs.as_pairs": Row(pairs.as_pairs, maker(groups=lambda: floats(2, 2, 2, 1, 8, 8))),
    "tasks.bandits.Bandits": Row(
        bandits.Bandits, maker(chances=lambda: floats(2, 3), luck=lambda: floats(2, 4), choice=lambda: floats(2, 4))
    ),
    "tasks.bandits.sample": Row(
        bandits.sample, maker(tasks=2, generator=lambda: seeded(), arms=3, pulls=4, dtype=torch.float64)
    ),
    "tasks.navigation.Attempts": Row(
        navigation.Attempts, maker(goal=lambda: floats(2, 2), noise=lambda: floats(2, 1, 3, 4, 2))
    ),
    "tasks.navigation.Attempts.walk": Row(
        lambda **given: walking().walk(**given),
        lambda: {"policy": lambda states: (states, torch.ones(2, 1, 2)), "round_": 0, "ends": True},
        {"round_": FROM_0, "ends": FLAG},
    ),
    "tasks.navigation.sample": Row(
        navigation.sample,
        maker(tasks=2, trajectories=3, rounds=2, generator=lambda: seeded(), steps=5, dtype=torch.float64),
    ),
    "tasks.linear.sample": Row(
        linear.sample,
        maker(tasks=2, shots=2, queries=3, generator=lambda: seeded(), dimensions=2, scale=1.0, noise=0.1),
        {"scale": ABOVE_0, "noise": AT_LEAST_0},
    ),
    "tasks.sine.Sine": Row(sine.Sine, maker(amplitude=lambda: floats(2), phase=lambda: floats(2))),
    "tasks.sine.Sine.draw": Row(sine.Sine.draw, maker(tasks=2, generator=lambda: seeded())),
    "tasks.sine.Sine.__call__": Row(lambda x: sine.Sine.draw(2, seeded())(x), maker(x=lambda: floats(2, 5, 1))),
    "tasks.sine.Sine.episode": Row(
        lambda **given: sine.Sine.draw(2, seeded()).episode(**given),
        maker(shots=2, queries=3, generator=lambda: seeded(), support_range=(-1.0, 1.0)),
    ),
    "tasks.sine.sample": Row(
        sine.sample, maker(tasks=2, shots=2, queries=3, generator=lambda: seeded(), noise=0.1), {"noise": AT_LEAST_0}
    ),
    "learners.maml.MAML": of_maml(MAML),
    "learners.alpaca.ALPaCA": Row(
        ALPaCA, maker(net=MLP, noise=0.1, jitter=1e-6), {"noise": ABOVE_0, "jitter": AT_LEAST_0}
    ),
    "learners.alpaca.ALPaCA.init": Row(BAYES.init, maker(generator=lambda: seeded())),
    "learners.alpaca.ALPaCA.predictive": with_task(BAYES, "predictive", make=waves),
    "learners.alpaca.ALPaCA.predict": with_task(BAYES, "predict", make=waves),
    "learners.alpaca.ALPaCA.meta_gradient": with_task(BAYES, "meta_gradient", make=waves),
    "learners.deep_kernel.DeepKernelTransfer": Row(
        DeepKernelTransfer,
        maker(net=MLP, kernel="rbf", mixtures=2, noise=0.1, jitter=1e-6),
        {"net": OPTIONAL, "noise": ABOVE_0, "jitter": AT_LEAST_0},
    ),
    "learners.deep_kernel.DeepKernelTransfer.init": Row(KERNEL.init, maker(generator=lambda: seeded())),
    "learners.deep_kernel.DeepKernelTransfer.predictive": with_task(KERNEL, "predictive", make=waves),
    "learners.deep_kernel.DeepKernelTransfer.predict": with_task(KERNEL, "predict", make=waves),
    "learners.deep_kernel.DeepKernelTransfer.meta_gradient": with_task(KERNEL, "meta_gradient", make=waves),
    "learners.oml.OML": Row(OML, maker(net=MLP, inner_lr=0.1, batch=1), {"inner_lr": AT_LEAST_0}),
    "learners.oml.OML.init": Row(STREAM.init, maker(generator=lambda: seeded())),
    "learners.oml.OML.predict": with_task(STREAM, "predict", make=waves),
    "learners.oml.OML.meta_gradient": with_task(STREAM, "meta_gradient", make=waves),
    "learners.non_parametric.kernel_regression": Row(
        non_parametric.kernel_regression, maker(episode=lambda: waves(), length=0.5), {"length": ABOVE_0}
    ),
    "learners.non_parametric.nearest_neighbours": Row(
        non_parametric.nearest_neighbours, maker(episode=lambda: waves(), count=1)
    ),
    "learners.anil.ANIL": of_maml(ANIL, head=("head", "bias")),
    "learners.meta_sgd.MetaSGD": of_maml(MetaSGD),
    "learners.multi_step_loss.MultiStepLoss": replace(
        of_maml(MultiStepLoss, importance=lambda: torch.ones(1)),
        fine={"inner_lr": AT_LEAST_0, "transductive": FLAG, "importance": OPTIONAL},
    ),
    "learners.multi_step_loss.annealed": Row(
        multi_step_loss.annealed, maker(progress=0.5, inner_steps=2), {"progress": {"0"}}
    ),
    "learners.per_step_rates.PerStepRates": of_maml(PerStepRates),
    "learners.sparse_maml.SparseMAML": of_maml(SparseMAML),
    "learners.maml.MAML.init": Row(SINE.init, maker(generator=lambda: seeded())),
    "learners.maml.MAML.adapt": with_task(MAML(CONV), "adapt"),
    "learners.maml.MAML.predict": with_task(SINE, "predict", make=waves),
    "learners.maml.MAML.answer": Row(
        SINE.answer, maker(theta=lambda: nets.for_tasks(MLP.init(seeded()), 2), episode=lambda: waves())
    ),
    "learners.maml.MAML.meta_gradient": with_task(MAML(CONV), "meta_gradient"),
    "learners.anil.ANIL.init": Row(ANIL(CONV).init, maker(generator=lambda: seeded())),
    "learners.meta_sgd.MetaSGD.init": Row(MetaSGD(CONV).init, maker(generator=lambda: seeded())),
    "learners.meta_sgd.MetaSGD.meta_gradient": with_task(MetaSGD(CONV), "meta_gradient"),
    "learners.reptile.Reptile": Row(
        Reptile,
        maker(
            net=CONV,
            loss=losses.cross_entropy,
            inner_lr=0.1,
            inner_steps=1,
            inner_batch=2,
            transductive=True,
            generator=lambda: seeded(),
        ),
        {"inner_lr": ABOVE_0, "transductive": FLAG, "generator": OPTIONAL},
    ),
    "learners.reptile.Reptile.init": Row(REPTILE.init, maker(generator=lambda: seeded())),
    "learners.reptile.Reptile.stream": Row(
        REPTILE.stream, maker(episode=lambda: an_episode(), generator=lambda: seeded())
    ),
    "learners.reptile.Reptile.adapt": with_task(
        REPTILE, "adapt", "streamed", lambda: REPTILE.stream(an_episode(), seeded())
    ),
    "learners.reptile.Reptile.meta_gradient": with_task(
        REPTILE, "meta_gradient", "streamed", lambda: REPTILE.stream(an_episode(), seeded())
    ),
    "learners.reptile.Reptile.predict": with_task(REPTILE, "predict"),
    "learners.prototypical.prototype_logits": Row(prototypical.prototype_logits, maker(**LOGITS)),
    "learners.matching.matching_logits": Row(matching.matching_logits, maker(**LOGITS)),
    "learners.prototypical.PrototypicalNet": Row(
        PrototypicalNet, maker(net=EMBED, transductive=False), {"transductive": FLAG}
    ),
    "learners.matching.MatchingNet": Row(
        MatchingNet,
        maker(net=EMBED, transductive=False, first_scale=10.0),
        {"transductive": FLAG, "first_scale": ABOVE_0 | OPTIONAL},
    ),
    "learners.conditional_neural_process.ConditionalNeuralProcess": Row(
        ConditionalNeuralProcess, maker(inputs=1, outputs=1, width=8)
    ),
    "learners.recurrent.RecurrentLearner": Row(RecurrentLearner, maker(inputs=1, outputs=1, width=8)),
    "learners.recurrent_policy.RecurrentPolicy": Row(
        RecurrentPolicy, maker(arms=2, width=8, entropy=0.1), {"entropy": AT_LEAST_0}
    ),
    "learners.recurrent_policy.RecurrentPolicy.init": Row(PLAYER.init, maker(generator=lambda: seeded())),
    "learners.recurrent_policy.RecurrentPolicy.play": Row(
        PLAYER.play, maker(params=lambda: PLAYER.init(seeded()), bandits=lambda: games(), surest=True), {"surest": FLAG}
    ),
    "learners.recurrent_policy.RecurrentPolicy.meta_gradient": with_task(PLAYER, "meta_gradient", "bandits", games),
    "learners.recurrent_policy.RecurrentPolicy.predict": with_task(PLAYER, "predict", "bandits", games),
    "learners.policy_maml.PolicyMAML": Row(
        PolicyMAML,
        maker(width=8, inner_lr=0.5, later=0.5, inner_steps=1, discount=0.9, deviation=0.5, longest=0.3),
        {"inner_lr": AT_LEAST_0, "later": AT_LEAST_0, "inner_steps": FROM_0, "deviation": ABOVE_0, "longest": ABOVE_0},
    ),
    "learners.policy_maml.PolicyMAML.init": Row(WALKER.init, maker(generator=lambda: seeded())),
    "learners.policy_maml.PolicyMAML.adapt": Row(
        WALKER.adapt,
        maker(params=lambda: WALKER.init(seeded()), attempts=lambda: walking()),
    ),
    "learners.policy_maml.PolicyMAML.meta_gradient": with_task(WALKER, "meta_gradient", "attempts", walking),
    "learners.policy_maml.PolicyMAML.predict": with_task(WALKER, "predict", "attempts", walking),
    "learners.policy_maml.rewards_to_go": Row(
        policy_maml.rewards_to_go, maker(rewards=lambda: floats(2, 3, 4), discount=0.9), {"rewards": A_CUBE}
    ),
    "learners.policy_maml.advantages": Row(policy_maml.advantages, maker(walked=lambda: walked(), discount=0.9)),
    "learners.reads_pictures.ReadsPictures": Row(ReadsPictures, maker(net=EMBED, reader=PICTURES)),
    "learners.reads_pictures.ReadsPictures.init": Row(
        ReadsPictures(EMBED, PICTURES).init, maker(generator=lambda: seeded())
    ),
    "learners.reads_pictures.ReadsPictures.meta_gradient": with_task(ReadsPictures(EMBED, PICTURES), "meta_gradient"),
    "learners.reads_pictures.ReadsPictures.predict": with_task(measured(ReadsPictures(EMBED, PICTURES)), "predict"),
    "learners.causal_transformer.CausalTransformer": Row(
        CausalTransformer, maker(inputs=1, outputs=1, width=8, layers=1, heads=2)
    ),
    "learners.causal_transformer.sequence_mask": Row(
        causal_transformer.sequence_mask, maker(examples=2, queries=3, device="cpu"), {"queries": FROM_0}
    ),
    "learners.conditional_neural_process.ConditionalNeuralProcess.init": Row(
        ConditionalNeuralProcess().init, maker(generator=lambda: seeded())
    ),
    "learners.recurrent.RecurrentLearner.init": Row(RecurrentLearner().init, maker(generator=lambda: seeded())),
    "learners.causal_transformer.CausalTransformer.init": Row(
        CausalTransformer().init, maker(generator=lambda: seeded())
    ),
    "learners.in_context.InContext.meta_gradient": with_task(READER, "meta_gradient", make=waves),
    "learners.in_context.InContext.predict": with_task(READER, "predict", make=waves),
    "learners.matching.MatchingNet.init": Row(
        MatchingNet(EMBED, first_scale=10.0).init, maker(generator=lambda: seeded())
    ),
    "learners.neighbours.NeighbourhoodComponents": Row(
        NeighbourhoodComponents, maker(net=EMBED, transductive=False), {"transductive": FLAG}
    ),
    "learners.neighbours.NeighbourhoodComponents.meta_gradient": with_task(
        NeighbourhoodComponents(EMBED), "meta_gradient"
    ),
    "learners.prototypical.PrototypicalNet.init": Row(PrototypicalNet(EMBED).init, maker(generator=lambda: seeded())),
    "learners.prototypical.PrototypicalNet.meta_gradient": with_task(PrototypicalNet(EMBED), "meta_gradient"),
    "learners.prototypical.PrototypicalNet.predict": with_task(measured(PrototypicalNet(EMBED)), "predict"),
    "learners.learner.WithStatistics.with_statistics": Row(
        PrototypicalNet(EMBED).with_statistics,
        maker(params=lambda: EMBED.init(seeded()), images=lambda: floats(3, 1, 28, 28)),
    ),
    "learners.finetuning.FineTuning": Row(
        FineTuning,
        maker(net=CONV, inner_lr=0.1, inner_steps=2, body=True),
        {"inner_lr": AT_LEAST_0, "inner_steps": FROM_0, "body": FLAG},
    ),
    "learners.finetuning.FineTuning.init": Row(FineTuning(CONV).init, maker(generator=lambda: seeded())),
    "learners.finetuning.FineTuning.meta_gradient": with_task(
        FineTuning(CONV), "meta_gradient", "batch", lambda: (floats(3, 1, 28, 28), torch.tensor([0, 1, 2]))
    ),
    "learners.finetuning.FineTuning.predict": with_task(measured(FineTuning(CONV)), "predict"),
    "learners.siamese.differences": Row(siamese.differences, maker(a=lambda: floats(2, 4), b=lambda: floats(3, 4))),
    "learners.siamese.distances": Row(siamese.distances, maker(a=lambda: floats(2, 4), b=lambda: floats(3, 4))),
    "learners.siamese.kinds_of_pairs": Row(siamese.kinds_of_pairs, maker(rows=6, drawings=2, device="cpu")),
    "learners.siamese.balanced_mean": Row(
        siamese.balanced_mean,
        maker(values=lambda: floats(2, 6, 6), drawings=2, hardest=2),
        {"hardest": OPTIONAL},
    ),
    "learners.contrastive.contrastive_loss": Row(
        contrastive.contrastive_loss,
        maker(distance=lambda: floats(3), same=lambda: torch.tensor([True, False, True]), margin=1.0),
        {"margin": AT_LEAST_0},
    ),
    "learners.contrastive.Contrastive": Row(
        Contrastive,
        maker(net=EMBED, margin=1.0, hardest=2),
        {"margin": AT_LEAST_0, "hardest": OPTIONAL},
    ),
    "learners.koch.Koch": Row(Koch, maker(net=EMBED, hardest=2), {"hardest": OPTIONAL}),
    "learners.koch.Koch.init": Row(Koch(EMBED).init, maker(generator=lambda: seeded())),
    "learners.supervised_contrastive.SupervisedContrastive": Row(
        SupervisedContrastive, maker(net=EMBED, temperature=0.1), {"temperature": ABOVE_0}
    ),
    "learners.n_pair.NPair": Row(NPair, maker(net=EMBED, temperature=0.1), {"temperature": ABOVE_0}),
    "learners.triplet.batch_hard": Row(triplet.batch_hard, maker(**GROUPS), {"margin": ABOVE_0}),
    "learners.triplet.semi_hard": Row(triplet.semi_hard, maker(**GROUPS), {"margin": ABOVE_0}),
    "learners.triplet.Triplet": Row(Triplet, maker(net=EMBED, margin=0.2, mining="hard"), {"margin": ABOVE_0}),
    "learners.siamese.Siamese": on_stats(siamese.Siamese),
    "learners.siamese.Siamese.init": Row(Triplet(EMBED).init, maker(generator=lambda: seeded())),
    "learners.siamese.Siamese.meta_gradient": with_task(
        Triplet(EMBED), "meta_gradient", "batch", lambda: tasks.Groups(alphabet(), 3, 2)(2, seeded())
    ),
    "learners.siamese.Siamese.embed": with_task(
        measured(Triplet(EMBED)), "embed", "images", lambda: floats(2, 3, 1, 28, 28)
    ),
    "learners.siamese.Siamese.compare": with_task(
        measured(Triplet(EMBED)),
        "compare",
        "pairs",
        lambda: pairs.as_pairs(tasks.Groups(alphabet(), 2, 2)(2, seeded())),
    ),
    "learners.siamese.Siamese.predict": with_task(measured(Triplet(EMBED)), "predict"),
    "analysis.diagnosis.Problem": Row(
        diagnosis.Problem,
        lambda: {
            "params": problem().params,
            "tasks": problem().tasks,
            "forward": diagnosis.mlp,
            "loss": torch.nn.functional.mse_loss,
            "inner_lr": 0.02,
            "inner_steps": 1,
        },
        {"inner_lr": ABOVE_0},
    ),
    "analysis.diagnosis.Problem.sine": Row(
        diagnosis.Problem.sine, maker(inner_steps=1, inner_lr=0.02), {"inner_lr": ABOVE_0}
    ),
    "analysis.diagnosis.Problem.of_module": Row(
        diagnosis.Problem.of_module,
        lambda: {
            "module": torch.nn.Linear(1, 1).double(),
            "tasks": problem().tasks,
            "inner_lr": 0.02,
            "inner_steps": 1,
            "loss": torch.nn.functional.mse_loss,
        },
        {"inner_lr": ABOVE_0},
    ),
    "analysis.diagnosis.mlp": Row(diagnosis.mlp, lambda: {"params": problem().params, "x": problem().tasks[0][0]}),
    "analysis.diagnosis.diagnose": Row(
        diagnosis.diagnose,
        lambda: {"function": lambda params, tasks, inner_lr: sum(p.sum() for p in params), "problem": problem()},
        {"problem": OPTIONAL},
    ),
    "analysis.examinations.patient.Patient": Row(
        examinations.Patient,
        lambda: {
            "parameters": [floats(3)],
            **dict.fromkeys(PATIENTS, constant(None)),
            "order": 2,
            "splits": {"training": {"a": [("Greek", "α")]}},
            "new_alphabets": True,
            "transductive": False,
            "adapts": True,
            "contains_support": False,
            "floor": 0.0,
        },
        {
            "parameters": {"[]", "{}"},
            **dict.fromkeys(PATIENTS, OPTIONAL),
            "splits": {"{}", "None"},
            **dict.fromkeys(("new_alphabets", "transductive", "adapts", "contains_support"), FLAG),
            "floor": {"-1", "0", "1.5"},
        },
    ),
    "analysis.examinations.examination.Examination.__call__": Row(
        examinations.EXAMINATIONS["several steps"], maker(make=a_patient)
    ),
    "analysis.examinations.examine": Row(examinations.examine, maker(make=a_patient)),
    "analysis.patients.patient_of": Row(
        patients.patient_of,
        lambda: {
            "learner": SINE,
            "sample": lambda g: sine.sample(2, 5, 5, g),
            "tasks": lambda g: sine.sample(2, 5, 5, g),
            "pictures": floats(2, 1, 28, 28),
            "seed": 1,
            "outer_lr": 0.1,
            "optimizer": optim.Adam,
            "params": MLP.init(seeded()),
            "steps": 1,
        },
        {
            "tasks": OPTIONAL,
            "pictures": OPTIONAL,
            "seed": FROM_0,
            "outer_lr": AT_LEAST_0,
            "params": OPTIONAL,
            "steps": FROM_0,
        },
    ),
    "analysis.representations.linear_cka": Row(
        representations.linear_cka,
        maker(x=lambda: floats(3, 4), y=lambda: floats(3, 5)),
        {"x": {"a tensor of shape [2, 3, 4]"}, "y": {"a tensor of shape [2, 3, 4]"}},
    ),
    "analysis.representations.activations": Row(
        representations.activations,
        lambda: {"net": MLP, "params": nets.for_tasks(MLP.init(seeded()), 2), "x": floats(2, 5, 1)},
    ),
    "analysis.representations.layer_similarity": Row(
        representations.layer_similarity,
        lambda: {"learner": SINE, "params": MLP.init(seeded()), "episode": waves()},
    ),
    "analysis.paired.t_probability": Row(
        paired.t_probability, maker(t=0.5, freedom=4), {"t": {"-1", "0", "1.5"}, "freedom": set()}
    ),
    "analysis.paired.t_quantile": Row(paired.t_quantile, maker(probability=0.9, freedom=4)),
    "analysis.paired.Interval.of": Row(paired.Interval.of, maker(values=[1.0, 2.0, 4.0], level=0.95)),
    "analysis.paired.compare": Row(
        paired.compare, maker(ours={0: 1.0, 1: 2.0}, theirs={0: 1.5, 1: 1.0}, margin=1.2), {"margin": {"1.5"}}
    ),
    "analysis.paired.holm": Row(paired.holm, maker(p=[0.01, 0.5], level=0.05), {"p": {"[]"}}),
    "analysis.roc.roc": Row(roc.roc, maker(scores=lambda: floats(3), same=lambda: torch.tensor([True, False, True]))),
    **{
        f"analysis.bandits.{name}": Row(policy, maker(wins=lambda: counts(), losses=lambda: counts(), left=3))
        for name, policy in (
            ("uniform", rivals.uniform),
            ("greedy", rivals.greedy),
            ("greedy_least_pulled", rivals.greedy_least_pulled),
            ("thompson", rivals.thompson),
            ("UCB1.__call__", rivals.UCB1()),
            ("Gittins.__call__", rivals.Gittins(3)),
            ("Optimal.__call__", rivals.Optimal(4, 3)),
            ("Optimal.values", rivals.Optimal(4, 3).values),
        )
    },
    "analysis.bandits.UCB1": Row(rivals.UCB1, maker(c=2.0, prior=True), {"c": AT_LEAST_0, "prior": FLAG}),
    "analysis.bandits.Gittins": Row(rivals.Gittins, maker(pulls=3, discount=0.9)),
    "analysis.bandits.Gittins.table": Row(rivals.Gittins(3).table, maker(left=2)),
    "analysis.bandits.Optimal": Row(rivals.Optimal, maker(arms=2, pulls=3)),
    "analysis.bandits.expected_rewards": Row(rivals.expected_rewards, maker(policy=rivals.greedy, arms=2, pulls=3)),
    "analysis.bandits.play": Row(rivals.play, maker(policy=rivals.greedy, bandits=lambda: games())),
    "analysis.sine_bayes.SinePosterior.of": Row(
        sine_bayes.SinePosterior.of,
        maker(support_x=lambda: floats(2, 3, 1), support_y=lambda: floats(2, 3, 1), noise=0.1),
        {"noise": ABOVE_0},
    ),
    "analysis.sine_bayes.SinePosterior.mean": Row(lambda x: posterior().mean(x), maker(x=lambda: floats(2, 3, 1))),
    "analysis.sine_bayes.SinePosterior.variance": Row(
        lambda x: posterior().variance(x), maker(x=lambda: floats(2, 3, 1))
    ),
    "analysis.sine_bayes.SinePosterior.log_density": Row(
        lambda **given: posterior().log_density(**given), maker(x=lambda: floats(2, 3, 1), y=lambda: floats(2, 3, 1))
    ),
    "analysis.sine_bayes.SinePosterior.draw": Row(
        lambda **given: posterior().draw(**given), maker(count=2, generator=lambda: seeded())
    ),
    "analysis.roc.decide": Row(
        roc.decide,
        maker(scores=lambda: floats(3), same=lambda: torch.tensor([True, False, True]), threshold=0.5),
        {"threshold": {"-1", "0", "1.5", "inf"}},
    ),
    "analysis.second_order.compare_meta_gradients": Row(
        second_order.compare_meta_gradients,
        lambda: {"learner": SINE, "params": MLP.init(seeded()), "episode": waves(), "directions": 2, "seed": 1},
        {"seed": FROM_0, "directions": {"None"}},
    ),
    "analysis.second_order.meta_loss": Row(
        second_order.meta_loss, lambda: {"learner": SINE, "params": MLP.init(seeded()), "episode": waves()}
    ),
    "analysis.second_order.hessian_share": Row(
        second_order.hessian_share, lambda: {"learner": SINE, "params": MLP.init(seeded()), "episode": waves()}
    ),
}

RESULT = "a result, which our own code makes"
PART = "a part of a learner, which its `meta_gradient` and `predict` call with what they have checked"
HELPER = "a part of the library's own machinery"
EXCUSED = {
    "optim.Optimizer": "a protocol",
    "optim.Optimizer.step": "a protocol",
    "train.Diverged": "an error",
    "train.Step": RESULT,
    "evaluate.Score": RESULT,
    "analysis.paired.Interval": RESULT,
    "analysis.paired.Verdict": RESULT,
    "tasks.download.DownloadFailed": "an error",
    "tasks.omniglot.OmniglotNotFound": "an error",
    "tasks.omniglot.OmniglotRefused": "an error",
    "tasks.omniglot.Part": "a table of ours",
    "tasks.glyphs.Plan": HELPER,
    "nets.check_params": HELPER,
    "nets.normal": HELPER,
    "learners.in_context.InContext": "a base class",
    "learners.in_context.InContext.init": "a base class",
    "tasks.bandits.Bandits.pull": PART,
    "tasks.bandits.Bandits.choose": PART,
    "tasks.navigation.Trajectories": RESULT,
    "learners.policy_maml.PolicyMAML.policy": PART,
    "learners.policy_maml.PolicyMAML.inner_gradient": PART,
    "analysis.bandits.posterior_mean": HELPER,
    "learners.recurrent.next_state": HELPER,
    "learners.recurrent_policy.Game": RESULT,
    "learners.in_context.draw_layers": HELPER,
    "learners.in_context.apply_layers": HELPER,
    "learners.learner.Learner": "a protocol",
    "learners.learner.Learner.init": "a protocol",
    "learners.learner.Learner.meta_gradient": "a protocol",
    "learners.learner.Learner.predict": "a protocol",
    "learners.learner.WithStatistics": "a base class",
    "learners.learner.check_net": HELPER,
    "learners.learner.check_params": HELPER,
    "learners.learner.check_episode": HELPER,
    "learners.learner.check_logits": HELPER,
    "learners.alpaca.ALPaCA.posterior": PART,
    "learners.oml.learn_online": PART,
    "learners.alpaca.width_of": HELPER,
    "learners.alpaca.features_of": HELPER,
    "learners.alpaca.numbers_of": HELPER,
    "learners.deep_kernel.DeepKernelTransfer.covariance": PART,
    "learners.maml.descend": HELPER,
    "learners.maml.through_step": HELPER,
    "learners.maml.rate_of": HELPER,
    "analysis.diagnosis.Diagnosis": RESULT,
    "analysis.diagnosis.is_task": HELPER,
    "analysis.examinations.examination.examination": "a decorator for our own code",
    "analysis.examinations.examination.Finding": RESULT,
    "analysis.examinations.examination.Report": RESULT,
    "analysis.examinations.examination.Examination": "a row of the table of examinations, which our own code makes",
    "analysis.examinations.examination.Examination.fits": "it is asked by our own code, of a Patient",
    "analysis.roc.Roc": RESULT,
    "analysis.sine_bayes.SinePosterior": RESULT,
    "analysis.roc.Decision": RESULT,
    "analysis.second_order.GradientComparison": RESULT,
    "analysis.second_order.HessianShare": RESULT,
}
PARTS = {"rates", "weights", "similarity", "loss", "logits", "read", "may_look", "attend"}


def public():
    """The names of all public functions, classes, and methods that take an argument."""
    modules = ["losses", "gaussian", "nets", "residual", "optim", "train", "evaluate", "checkpoint", "files"]
    for folder in ("tasks", "learners", "analysis"):
        path = importlib.import_module(f"metalab.{folder}").__path__
        found = [module.name for module in pkgutil.walk_packages(path, f"metalab.{folder}.")]
        modules += [name.removeprefix("metalab.") for name in found if "._" not in name]
    for name in modules:
        module = importlib.import_module(f"{metalab.__name__}.{name}")
        for word, thing in vars(module).items():
            if word.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(thing) and inspect.signature(thing).parameters:
                yield f"{name}.{word}"
            if inspect.isclass(thing):
                yield f"{name}.{word}"
                for method, inner in vars(thing).items():
                    inner = getattr(inner, "__func__", inner)
                    called = method in ("__call__", "__getitem__") or not method.startswith("_")
                    if called and inspect.isfunction(inner) and len(inspect.signature(inner).parameters) > 1:
                        yield f"{name}.{word}.{method}"


def test_every_public_function_is_in_the_table_or_excused():
    names = {name for name in public() if name.rpartition(".")[2] not in PARTS}
    assert names - ROWS.keys() - EXCUSED.keys() == set()
    assert ROWS.keys() - names == set()
    assert EXCUSED.keys() - names == set()


@pytest.mark.parametrize("name", ROWS)
def test_right_arguments_are_right(name):
    row = ROWS[name]
    try:
        row.call(**row.arguments())
    except (TypeError, ValueError):
        # Without Omniglot there is no right argument for it, and our own source is no checkpoint.
        assert name in ("tasks.challenge.one_shot_challenge", "checkpoint.load")
    except (omniglot.OmniglotNotFound, download.DownloadFailed):
        assert name.startswith(("tasks.omniglot.", "tasks.download."))


CASES = [(name, argument) for name, row in ROWS.items() for argument in row.arguments()]


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_absurd_values_are_told_by_the_name_of_the_argument(name, argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # '2' is the name of a file
    row = ROWS[name]
    for words, value in ABSURD.items():
        given = row.arguments() | {argument: value}
        try:
            row.call(**given)
        except OSError:  # there is no such file, or no such server
            told = None
        except (TypeError, ValueError) as error:
            told = f"{type(error).__name__}: {error}"
        else:
            told = None
        if words in row.fine.get(argument, ()):
            assert told is None, f"{argument}={words} is no mistake: {told}"
        else:
            assert told is not None, f"{argument}={words} is taken without a word"
            assert argument in told, f"{argument}={words}: {told}"
            assert len(told) < 400
