# %% [markdown]
# ## Learning that goes on
#
# So far, a learner saw all examples of a task at once. Now they come one after the other, as a **stream**: first all drawings of one character, then all of the next, and each drawing only once. This is **continual learning**. A learner that gets better at the newest class and worse at the older ones **forgets**.
#
# The features are those of lesson 2's prototypical network, whose parameters come with the package, and they stay fixed. Two learners work on them:
#
# - **gradient steps**: a last layer that starts at 0 takes one step of gradient descent on each drawing;
# - **running mean**: for each class, the sum of its features and their number. The answer is the class of the nearest mean.
#
# Of each class, 15 drawings are in the stream, and the other 5 ask at its end. The rate of the steps is chosen on the validation alphabets.
#
# **Predict.** At the end of a stream of 100 classes, which accuracy do the gradient steps have, with that rate? (The means have more than 90 % on Omniglot.)

# %%
forget_guess = guess.choice(
    "After 100 classes, which accuracy do gradient steps on the last layer have?",
    ["less than 20 %", "about half", "about as much as the means"],
)

# %%
from metalab.checkpoint import shipped
from metalab.learners.oml import learn_online
from metalab.learners.running_mean import RunningMean
from metalab.nets import Conv4, for_tasks

params, about = shipped("omniglot_prototypical_1shot", device)
net = Conv4(channels=about["channels"], pool=about["pool"])
some, _ = fit.batch(1000, torch.Generator(device).manual_seed(0))
stats = net.statistics(params, some)


@torch.no_grad()
def features_of(characters, count):
    """Features [count, 20, E] of the drawings of some characters, on the CPU."""
    chosen = torch.randperm(len(characters), generator=torch.Generator().manual_seed(0))
    pictures = characters.images[chosen[:count].to(characters.images.device)]
    parts = (pictures[:, :, None].float() / 255).split(25)
    one = for_tasks(params, 1)
    z = [net(one, part.flatten(0, 1)[None], stats=stats)[0] for part in parts]
    return torch.cat(z).cpu().unflatten(0, (-1, 20))


def after_stream(z, rate, seed, ways, shuffled=False):
    """Accuracies at the end of a stream: of gradient steps, and of the means."""
    g = torch.Generator().manual_seed(seed)
    z = z[torch.randperm(len(z), generator=g)[:ways]]
    stream, asked = z[:, :15].flatten(0, 1), z[:, 15:].flatten(0, 1)
    y = torch.arange(ways).repeat_interleave(15)
    truth = torch.arange(ways).repeat_interleave(5)
    if shuffled:
        order = torch.randperm(len(y), generator=g)
        stream, y = stream[order], y[order]
    steps = asked @ learn_online(stream[None], y[None], ways, rate)[0]
    means = RunningMean.empty(ways, z).updated(stream, y).logits(asked)
    return [(a.argmax(1) == truth).float().mean().item() for a in (steps, means)]


held = features_of(validation, 50)
RATES = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
by_rate = {r: after_stream(held, r, 0, 50)[0] for r in RATES}
rate = max(by_rate, key=by_rate.get)
print({r: round(a, 3) for r, a in by_rate.items()})
print(f"the rate that is best on 50 validation classes: {rate}")
z = features_of(test, 200)
left = {}
print("accuracy at the end, means over 5 draws of the classes (95 % intervals)")
print("classes   rate   steps                   steps, shuffled         running mean")
for ways in (10, 50, 100, 200):
    for alpha in (rate, 0.01):
        runs = [after_stream(z, alpha, seed, ways) for seed in range(5)]
        mixed = [after_stream(z, alpha, seed, ways, True)[0] for seed in range(5)]
        steps, means = (list(part) for part in zip(*runs))
        found = [Interval.of(values) for values in (steps, mixed, means)]
        lost = Interval.of([m - s for m, s in zip(mixed, steps)])  # in pairs
        left[ways, alpha] = (*found, lost)
        row = [f"{i.mean:6.1%} ({i.low:.1%} … {i.high:.1%})" for i in found]
        print(f"{ways:7} {alpha:6}  " + "  ".join(f"{text:22}" for text in row))
lost = left[100, 0.01][3]
print(f"100 classes, rate 0.01: the order costs {lost.mean:.1%}", end=" ")
print(f"({lost.low:.1%} … {lost.high:.1%})")
forget_guess.compare("about half")

# %%
# @title Check what the text says of the stream
if test.source == "Omniglot":
    small, large = left[100, rate], left[100, 0.01]
    claim(large[3].low > 0, f"at the rate 0.01 the order costs {large[3]}")
    claim(0.3 < small[0].mean < 0.7, f"the chosen rate has {small[0]} left")
    claim(small[2].low > small[0].high, f"means {small[2]}, steps {small[0]}")
    claim(small[2].mean > 0.9, f"the means have {small[2]}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# Large steps on the newest class pull its column of the layer towards its features, and push all other columns away from them. The features of characters have much in common, so that this unlearns the older classes: at the rate 0.01, the same drawings in random order give a higher accuracy (last line), and all that differs is the order. The rate that was chosen on the validation classes is small. Its steps hardly move the layer, so that the order costs little, and it learns little: it stays far below the means.
#
# A sum does not depend on the order of its terms. The running mean therefore forgets nothing; it only has more classes to confuse. The posterior of lesson 8 has the same property, because it too is made of sums over the examples.
#
# </details>
#
# (For 200 classes, all five streams have the same classes, in other orders.)
#
# Can features be learned on which the steps forget less? **OML** ([Javed & White 2019](https://arxiv.org/abs/1905.12588)) puts the whole stream into the inner loop: the last layer takes its steps in the order of the stream, the outer loss is taken on a random batch of all its classes, and the gradient passes through all steps to the network. It is in `metalab.learners.oml`, below its equation. How much it helps is not measured in this course yet. (The intervals above are over draws of the classes, for one network.)
