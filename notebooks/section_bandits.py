# %%
# @title Imports
from functools import cache

import torch
import torch.nn.functional as F
from metalab.analysis import bandits as rivals
from metalab.experiments import bandits as games_study
from metalab.lessons.kit import guess
from metalab.lessons.kit.claims import claim
from metalab.lessons.kit.curve import Curve
from metalab.lessons.kit.figures import show
from metalab.lessons.learning_to_act import bandit_exercises as exercises
from metalab.lessons.learning_to_act import bandit_figures as of_bandits
from metalab.tasks import bandits

# %% [markdown]
# ## A network that explores: bandits
#
# In navigation, MAML changed a policy's weights. Lesson 7 showed the other way to learn: a network reads, and its weights stay fixed. Can a network that reads also *act*? Then it has a problem that no earlier learner had: what it reads depends on what it does.
#
# The simplest task with this problem is a **bandit**, named after the slot machine. It has A **arms**. Pulling an arm pays 1 with a chance that belongs to that arm, and otherwise 0. You do not know the chances, and you have K pulls. Each pull serves two purposes. **Exploitation** means to pull the arm that looks best so far. **Exploration** means to pull an arm because you want to know more about it. Our tasks have 5 arms and 10 pulls, and the chances are uniform in 0 … 1. This is the smallest setting of [Duan et al. 2016](https://arxiv.org/abs/1611.02779).
#
# ### The best that anybody can do
#
# As for the waves of lesson 7, there is a limit that nobody can beat on average. An arm that has paid $w$ times and failed $l$ times pays next time with the chance $m = (w+1)/(w+l+2)$: this is the mean of its posterior, because every chance was equally plausible before. So the counts of all arms are all that one has to remember. The **value** $V$ of counts is the expected reward of all pulls that are left, if each is chosen in the best way. Pulling arm $a$ brings
#
# $$Q_a = m_a\,\big(1 + V(\text{one more payment of } a)\big) + (1 - m_a)\,V(\text{one more failure of } a), \qquad V = \max_a Q_a,$$
#
# and $V = 0$ when no pull is left. Computing backwards from the end like this is called **dynamic programming**.
#
# ### Exercise · The value of a pull
# *Medium, 10 minutes.* Your function gets
#
# - `wins` and `losses`: for each arm the number of payments and of failures, as tuples of A whole numbers,
# - `value`: a function, so that `value(wins, losses)` is $V$ of the counts that it is given,
#
# and returns the list of all $Q_a$. For example, with `wins = (1, 0)`, `losses = (0, 0)` and a `value` that is always 0, it returns [0.667, 0.5]. It matters because whoever has this function has the best player of the game.

# %%
def pull_values(wins, losses, value):
    """Return, for each arm, the expected reward of all pulls that are left."""
    ...  # your code


# %%
exercises.pull_values.check(pull_values)
# exercises.pull_values.hint()
# exercises.pull_values.solution()
pull_values = exercises.pull_values.or_solution(pull_values)

# %% [markdown]
# With it, the best player of a small game is a few lines. For the game of 5 arms and 10 pulls, the same recursion of the package visits all 184,756 counts at once.

# %%
def best_value(arms, pulls):
    """Return the expected reward of the best play of a whole game."""

    @cache
    def value(wins, losses):
        if sum(wins) + sum(losses) == pulls:
            return 0.0
        return max(pull_values(wins, losses, value))

    return value((0,) * arms, (0,) * arms)


small = best_value(2, 6)
print(f"2 arms, 6 pulls: {small:.4f} with your function, ", end="")
print(f"{rivals.Optimal(2, 6).value:.4f} with the package's")
claim(abs(small - rivals.Optimal(2, 6).value) < 1e-6, f"the two differ: {small:.6f}")

# %% [markdown]
# **Predict.** A **greedy** player always pulls an arm with the largest $m$, and never explores on purpose.

# %%
greedy_guess = guess.choice(
    "How much more than greedy does the best player get in 10 pulls, on average?",
    ["0.03 payments", "0.3 payments", "1 payment", "3 payments"],
)

# %%
exact = {
    name: rivals.expected_rewards(policy).tolist()
    for name, policy in games_study.POLICIES.items()
}
totals = {name: sum(values) for name, values in exact.items()}
for name, total in totals.items():
    print(f"{name:14} {total:.4f} payments in 10 pulls")
greedy_guess.compare("0.03 payments")
claim(0.02 < totals["optimal"] - totals["greedy"] < 0.05, f"the totals are {totals}")
claim(totals["optimal"] - totals["Gittins"] < 1e-9, f"the totals are {totals}")
claim(totals["Thompson"] < totals["greedy"] - 0.5, f"the totals are {totals}")
claim(totals["UCB1"] < totals["UCB1, best c"] < totals["greedy"], f"{totals}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# About 0.03, half a percent. With so few pulls there is little time to use what exploring finds, and greedy explores without wanting to: after a failure, an arm that was never pulled looks better than the one that failed.
#
# </details>
#
# These are exact expected values, and not averages over drawn games: the package adds up the probabilities of all counts. The players are:
#
# - **Thompson sampling** draws a chance for each arm from its posterior, and pulls the arm with the largest. It explores as if there were always time to use what it finds, and here there is not.
# - **UCB1** (upper confidence bounds) adds to the share of pulls that paid a bonus $\sqrt{c \ln n / n_a}$ for arms that were pulled rarely ($n_a$ of $n$ times), and pulls the largest sum. It needs one pull of each arm first, which is half the game. The paper's $c = 2$ is made for long games. For this game the best $c$ is 0.
# - **Gittins' index** compares each arm by itself with a safe arm that always pays the same: the index is the safe payment at which one would not care. For endless games with a discount, pulling the arm of the largest index is optimal. For games with an end this need not be so, but with 5 arms and 10 pulls it loses nothing. (With 12 pulls it loses 0.001.)
#
# ### The network plays
#
# The learner, called **RL²** by Duan et al., is lesson 7's recurrent network with one change. Before each pull it reads *the arm that it has just pulled, and what that paid*. From its state it computes the probabilities of the arms. The state begins at 0 for each new bandit, and stays throughout its 10 pulls, so that the network can remember. Nobody tells it what to remember, and nobody mentions Bayes.
#
# ### Exercise · The network's game
# *Medium, 15 minutes.* Play T bandits at once. Your function gets
#
# - `step`: `step(state, read)` returns the next state [T, W] and the log-probabilities of the arms [T, A]. What it reads, `read`, is [T, A + 1]: the last arm as A numbers of which one is 1, and behind them the last reward. Before the first pull, it reads zeros,
# - `choose`: `choose(log_p, k)` draws arms [T] for pull k, counted from 0,
# - `pull`: `pull(arm, k)` returns their rewards [T],
# - `state`: the first state, and `arms` and `pulls`: A and K.
#
# Return the log-probabilities of the arms that were chosen, and the rewards, [T, K] each. `F.one_hot(arm, arms)` makes the A numbers, and `log_p.gather(1, arm[:, None])` picks an entry of each row. It matters because this loop is the whole difference between a network that is taught and one that finds out.

# %%
def play_game(step, choose, pull, state, arms, pulls):
    """Return the log-probabilities of the chosen arms, and the rewards, [T, K]."""
    ...  # your code


# %%
exercises.play_game.check(play_game)
# exercises.play_game.hint()
# exercises.play_game.solution()
play_game = exercises.play_game.or_solution(play_game)

# %% [markdown]
# Now train it, with the score-function gradient. The reward that counts for a pull is that of this pull and all later ones, minus a baseline. Here the baseline is the simplest one, the mean of these rewards over the batch. A small bonus for the entropy of the probabilities, which fades out, keeps the network from settling on two or three arms too early. This is the whole loop:

# %%
torch.manual_seed(0)  # the cell draws its first weights from PyTorch's own generator
GAME_STEPS = 700
cell, out = torch.nn.GRUCell(6, 48), torch.nn.Linear(48, 5)
torch.nn.init.zeros_(out.weight)  # at first, all arms have the same probability
weights = [*cell.parameters(), *out.parameters()]
optimizer = torch.optim.Adam(weights, lr=1e-2)
generator = torch.Generator().manual_seed(0)


def step(state, read):
    """Return the next state, and the log-probabilities of the arms."""
    state = cell(read, state)
    return state, out(state).log_softmax(1)


curve = Curve(GAME_STEPS, title="minus the reward of a game")
for number in curve:
    batch = bandits.sample(512, generator)
    probabilities = []

    def choose(log_p, k, batch=batch, kept=probabilities):
        """Draw arms, and keep the log-probabilities for the entropy."""
        kept.append(log_p)
        return batch.choose(log_p.detach().exp(), k)

    log_p, rewards = play_game(step, choose, batch.pull, torch.zeros(512, 48), 5, 10)
    to_come = rewards.flip(1).cumsum(1).flip(1)
    every = torch.stack(probabilities, 1)
    entropy = -(every.exp() * every).sum(2)
    bonus = 0.1 * (1 - number / GAME_STEPS)
    loss = -(log_p * (to_come - to_come.mean(0)) + bonus * entropy).sum(1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    curve.add(rewards.sum(1).mean().neg())

# %%
mine = -sum(curve.losses[-50:]) / len(curve.losses[-50:])
print(f"a game at the end of your training: {mine:.2f} payments; any arm: 5.00")
if len(curve.losses) >= 700:
    claim(mine > 6.0, f"your network gets {mine:.2f}; the text says that it learns")

# %% [markdown]
# The network has learned to use what it reads, because no fixed choice of arms gets more than 5 on average. These are the payments of the last 50 training batches, in which the network still chooses at random. How far does it get with more training, over several seeds, and if it then always pulls its surest arm? The command `python -m metalab.experiments.bandits` trains the package's `RecurrentPolicy` for 2,000 steps. It is the same network with the same baseline. It then plays 100,000 new bandits, all methods with the same luck. Its results come with the lesson:

# %%
found = of_bandits.load_results()
gap = of_bandits.below(found)
for run in found["runs"]:
    print(f"seed {run['seed']}: {run['reward']:.3f} payments in 10 pulls")
print(f"below the optimal play: {gap.mean:.3f} ({gap.low:.3f} … {gap.high:.3f})")
by_pull = torch.tensor([run["by pull"] for run in found["runs"]]).mean(0).tolist()
shown = ("optimal", "greedy", "Thompson", "UCB1", "any arm")
curves = {of_bandits.NETWORK: by_pull} | {name: exact[name] for name in shown}
show(*of_bandits.draw_rewards(curves))
of_greedy = found["rivals"]["greedy"]["below"]
print(f"greedy is {of_greedy:.3f} below it, with the same luck")
worst = min(run["reward"] for run in found["runs"])
claim(gap.high < of_greedy, f"the interval ends at {gap.high:.3f}")
claim(worst > totals["Thompson"] + 0.1, f"the worst seed gets {worst:.3f}")

# %% [markdown]
# The network was told nothing about posteriors, and plays nearly as well as anybody can. The difference from the optimal play is less than 0.02 in the interval over the seeds, with the same luck. It is so small that we do not claim that one is left in the best seeds. The interval lies below the difference of greedy play, so the network has learned to explore, a little, and to gain from it. The gain is small because greedy play, which needs no training, already comes within 0.034 of the limit: always look for such a rival. (As we recall the table of Duan et al., their network gets 6.7 here, Gittins' index 6.6, and Thompson sampling 5.7. Our exact limit of 6.66 rounds to 6.7, and nobody can get more on average.)
#
# So where the family of tasks is known, there are formulas that do as well without any training. The network's advantage is that the same training works where nobody can write down a posterior or a value.
#
# ### What is in its state?
#
# The counts are all that one has to remember, so a network that plays well should carry something like them in its 48 numbers. We look for the posterior means $m_a$: is each of them a *linear* function of the state? For comparison, we take an untrained network of the same kind, whose state mixes what it has read at random.

# %%
learner = games_study.LEARNER
networks = {
    "trained": of_bandits.load_network(),
    "untrained": learner.init(torch.Generator().manual_seed(0)),
}
test = bandits.sample(6000, torch.Generator().manual_seed(7))
with torch.no_grad():
    played = {name: learner.play(params, test) for name, params in networks.items()}
shares = {name: of_bandits.readable(game) for name, game in played.items()}
game = played["trained"]
pulled = F.one_hot(game.arms, 5).float()[:, :5]
paid = game.rewards[:, :5, None]
means = rivals.posterior_mean((pulled * paid).sum(1), (pulled * (1 - paid)).sum(1))
some = slice(0, 600)
show(*of_bandits.draw_state(shares, game.states[some, 5], means[some].argmax(1)))
for name, values in shares.items():
    words = ", ".join(f"{value:.2f}" for value in values)
    print(f"{name}: R² {words}")
claim(min(shares["trained"]) > 0.5, f"shares: {shares}")

# %% [markdown]
# The line on the left says how much of the posterior means can be read off the state by a linear function, in games that were not used to find that function. The two networks play different games, so compare them with care: an untrained network keeps much of what it read too, because a large recurrent network forgets slowly. What the training adds is the *use*: on the right, each dot is the state of a game before the sixth pull, and its colour is the arm that looks best so far. [Mikulik et al. 2020](https://arxiv.org/abs/2010.11223) compare the states of such agents with those of Bayes-optimal ones in detail, and find that they can be translated into each other.
