# %% [markdown]
# # GAN 4: the game
#
# minutes 30 | needs step3_adversarial_training.py | next step5_networks.py
#
# An attack asks a network's gradient how to fool it. Goodfellow and others (2014) let a second network ask: a generator
# G makes samples out of noise z, a discriminator D says how likely a sample is a real one, each learns from the other,
#
#     min over G, max over D of V = E log D(x) + E log(1 - D(G(z)))
#
# This step plays in one dimension, where everything can be drawn and most can be computed.

# %%
import matplotlib.pyplot as plt
import numpy as np
from game07 import GRID, believe, broad, column, descend, discriminator, draw, from_broad, from_hills, gauss, hills

import tinyconv
from tinyconv import nn, optim
from tinyconv.nn import functional as F
from tinyconv.random import generator

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## The best discriminator
#
# At one place x, V gains p log D from the data's density p and q log(1 - D) from the generator's. Set the derivative
# p / D - q / (1 - D) to 0: D* = p / (p + q). With it V = -log 4 + 2 JSD(p, q), the Jensen-Shannon divergence, which is
# 0 for equal densities only: then D* = 1/2 everywhere. For N(0, 1) and N(1, 1) the logit of D* is log p / q = 1/2 - x,
# a straight line, so logistic regression can learn it.


# %%
def best(p, q):
    """Return (D*, V, JSD) of two lists of probabilities, none of them 0."""
    D, mean = p / (p + q), (p + q) / 2
    return D, (p * np.log(D) + q * np.log(1 - D)).sum(), (p * np.log(p / mean) + q * np.log(q / mean)).sum() / 2


def d_loss(D, real, fake):
    """-V: -log D(x) is softplus(-logit), and -log(1 - D) is softplus(logit)."""
    return F.softplus(-D(real)).mean() + F.softplus(D(fake)).mean()


def logistic(n, seed, steps=100):
    """Return slope and bias of logistic regression, N(0, 1) against N(1, 1), n samples each."""
    rng, D = generator(seed, "logistic"), nn.Linear(1, 1)
    optimizer, real, fake = optim.SGD(D.parameters(), 2.0), column(rng.normal(0, 1, n)), column(rng.normal(1, 1, n))
    for _ in range(steps):
        descend(optimizer, d_loss(D, real, fake))
    return D.weight.item(), D.bias.item()


def learn_best(D, real, fake, steps, seed):
    """Train D on fresh samples, 1,000 of each in a step, at a rate that falls to 0 in the second half."""
    optimizer, rng = optim.Adam(D.parameters(), 0.005), generator(seed, "best discriminator")
    for t in range(steps):
        optimizer.param_groups[0]["lr"] = 0.005 * min(1, 2 * (1 - t / steps))
        descend(optimizer, d_loss(D, column(real(rng, 1000)), column(fake(rng, 1000))))


# %% [markdown]
# ## Two losses of the generator
#
# The generator can descend log(1 - D), as in V, or -log D. Both want D to rise. But at a logit s the first has the
# slope -sigmoid(s), the second -(1 - sigmoid(s)). Early on D tells samples from data without effort, s is far below 0,
# and the first loss has nothing to say where there is most to learn: it saturates.


# %%
def g_loss(logits, saturating):
    """Return log(1 - D) or -log D, in the mean."""
    return (-F.softplus(logits) if saturating else F.softplus(-logits)).mean()


def shift(saturating, seed, ahead=500, steps=200):
    """Let a generator theta + N(0, 0.5), from theta = -2, learn N(2, 0.5); D has learnt for so many steps before.

    Each step is one of D and one of theta, 200 samples; returns theta after each. Theta takes steps of plain SGD: Adam
    makes steps of the same length whatever the gradient's, and would hide the difference.
    """
    rng, D = generator(seed, "shift"), discriminator(seed)
    theta, path = tinyconv.tensor(np.float32([-2]), requires_grad=True), [-2.0]
    d_step, g_step = optim.Adam(D.parameters(), 0.005), optim.SGD([theta], 0.05)
    for t in range(ahead + steps):
        fake = column(rng.normal(0, 0.5, 200)) + theta
        descend(d_step, d_loss(D, column(rng.normal(2, 0.5, 200)), fake.detach()))
        if t >= ahead:
            descend(g_step, g_loss(D(column(rng.normal(0, 0.5, 200)) + theta), saturating))
            path.append(theta.item())
    return np.array(path)


# %% [markdown]
# ## A network learns two hills
#
# Algorithm 1: by turns one step of D and one of G, with the second loss. G is a network from a normal z to a number,
# known only from samples. It never sees the data, only D's slopes. (One thread: more are slower for so few units.)


# %%
def play(seed, looks):
    """Return D on the grid and samples of G, after each of so many steps."""
    D, rng, found = discriminator(seed), generator(seed, "hills"), []
    G = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    d_step, g_step = (optim.Adam(net.parameters(), lr, betas=(0.5, 0.999)) for net, lr in ((D, 2e-3), (G, 1e-3)))
    for t in range(looks[-1] + 1):
        if t in looks:
            found.append((believe(D, GRID), G(column(rng.normal(size=4000))).detach().numpy().ravel()))
        descend(d_step, d_loss(D, column(from_hills(rng, 200)), G(column(rng.normal(size=200))).detach()))
        descend(g_step, g_loss(D(G(column(rng.normal(size=200)))), saturating=False))
    return found


# %%
if __name__ == "__main__":
    tinyconv.set_num_threads(1)
    seed, short, (D, V, jsd) = lesson.seed, lesson.smoke, best(np.array([0.5, 0.5]), np.array([0.9, 0.1]))
    print(f"p = .5 .5, q = .9 .1: D* {D.round(6)}, V {V:.6f}, JSD {jsd:.6f}, -log 4 + 2 JSD {2 * jsd - np.log(4):.6f}")
    slope, bias = logistic(n := 1000 if short else 100_000, seed)
    print(f"logistic D, {n:,} samples each: logit {slope:.3f} x + {bias:.3f}; the best one: -1 x + 0.5")
    learn_best(net := discriminator(seed), from_hills, from_broad, 20 if short else 3000, seed)
    line, two = 1 / (1 + np.exp(-(slope * GRID + bias))), (hills(GRID), broad(GRID), believe(net, GRID))
    fig, axes = plt.subplots(1, 3, figsize=(14, 3.7), layout="constrained")
    draw(axes[0], gauss(GRID, 0, 1), gauss(GRID, 1, 1), line, "logistic regression")
    draw(axes[1], *two, "a network of 64 and 64 units")
    axes[0].legend(fontsize=8)
    off = np.abs(two[2] - two[0] / (two[0] + two[1]))[two[0] + two[1] >= 0.05].max()
    print(f"two hills against a broad one: |D - D*| at most {off:.3f} where p + q is 0.05 or more")
    print("slopes of the generator's losses at logits of -10, 0, 10")
    for saturating, name in ((True, "log(1 - D)"), (False, "-log D")):
        s = tinyconv.tensor(np.array([-10.0, 0, 10]), requires_grad=True)
        path = shift(saturating, seed, *((5, 5) if short else (500, 200)))
        print(f"  {name:10s} {3 * tinyconv.grad(g_loss(s, saturating), s).numpy()}; theta from -2 to {path[-1]:.3f}")
        axes[2].plot(path, label=name)
    axes[2].axhline(2, color="k", lw=0.8, ls=":")
    axes[2].set(title="mean of the generator, D being ahead", xlabel="step", ylabel="theta (dotted: the data)")
    axes[2].legend(title="descends")
    alt = "D lies on p / (p + q); descending log(1 - D) the generator stays where it is, -log D it comes to the data"
    lesson.save(fig, "discriminators", alt=alt)
    looks = (0, 5, 10) if short else (0, 100, 300, 1000, 3000)
    fig, axes = plt.subplots(1, len(looks), figsize=(15, 3), layout="constrained", sharey=True)
    for axis, t, (D, samples) in zip(axes, looks, play(seed, looks), strict=True):
        draw(axis, hills(GRID), samples, D, f"after {t:,} steps")
        left = np.mean(samples < -0.25)
        print(f"after {t:5,} steps {left:3.0%} of G's samples on the left hill; D {D.min():.2f} to {D.max():.2f}")
    axes[0].legend(fontsize=8, loc="upper right")
    lesson.save(fig, "hills", alt="one heap of samples becomes two; D's hollow between them gets deep, then shallow")
    lesson.next(why="the same with images")
