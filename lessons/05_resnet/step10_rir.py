# %% [markdown]
# # ResNet 10: Resnet in Resnet
#
# minutes 25 | needs step9_trained.py | next exercises.py
#
# A shortcut keeps everything that was ever computed; a block can only add. What if a network wants to forget? Targ,
# Almeida and Lyman (2016) run two streams side by side: the residual one, r, has shortcuts; the transient one, t, is an
# ordinary convolutional network; and every layer mixes them:
#
#     r' = s(conv(r, W_rr) + conv(t, W_tr) + shortcut(r))        t' = s(conv(r, W_rt) + conv(t, W_tt))
#
# where s is BN, then ReLU. Without t it is a residual block of one layer, without r a plain layer.

# %%
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import models, nn, optim
from tinyconv.data import DataLoader, shapes10
from tinyconv.models.rir import GeneralisedBlock, add_identity
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Four convolutions are one
#
# Maps side by side are one tensor [r, t]; the four sets of filters are the four quarters of one weight. So the
# library's block has a single convolution. In float64, against the equations:

# %%
C, rng = 3, lesson.rng
side = 3 if lesson.smoke else 6
r, t = (tinyconv.tensor(rng.standard_normal((2, C, side, side))) for _ in range(2))
block = GeneralisedBlock(C, C, dtype=np.float64)
nn.init.kaiming_normal_(block.conv.weight, nonlinearity="relu")
W = block.conv.weight.detach().numpy()
W_rr, W_tr, W_rt, W_tt = (tinyconv.tensor(W[rows, columns].copy()) for rows, columns in (
    np.s_[:C, :C], np.s_[:C, C:], np.s_[C:, :C], np.s_[C:, C:],
))  # fmt: skip


def conv(x: tinyconv.Tensor, weight: tinyconv.Tensor) -> tinyconv.Tensor:
    """3x3, padding 1."""
    return F.conv2d(x, weight, padding=1)


wanted = [F.relu(block.norm_r(conv(r, W_rr) + conv(t, W_tr) + r)), F.relu(block.norm_t(conv(r, W_rt) + conv(t, W_tt)))]
found = block(r, t)
off = max(np.abs(a.detach().numpy() - b.detach().numpy()).max() for a, b in zip(found, wanted, strict=True))
print(f"one convolution or four: at most {off:.0e} apart")
tinyconv.gradcheck(lambda r, t: tinyconv.cat(list(block(r, t)), 1), [r.numpy(), t.numpy()], name="the block")
print("gradients of both streams: right")

# %% [markdown]
# ## The shortcut is a weight, too
#
# A 3x3 filter that is 1 in its middle and 0 elsewhere hands its map on. Put such ones into W_rr, map by map, and the
# block is an ordinary convolution with an unusual start: "ResNet Init". Same function, same gradients; training goes
# the same way as long as nothing looks at the weights themselves. Weight decay does: it pulls the ones towards 0, the
# shortcut with them. (The authors take the ones off before they penalise.)


# %%
def after_steps(weight_decay: float) -> float:
    """Return how far the two forms are apart after three steps of SGD."""
    data, outputs = [rng.standard_normal((3, 8, C, side, side)) for _ in range(2)], []
    for in_weights in (False, True):
        twin = GeneralisedBlock(C, C, dtype=np.float64)
        twin.conv.weight.data[...] = W
        if in_weights:
            add_identity(twin)
        optimizer = optim.SGD(twin.parameters(), lr=0.1, weight_decay=weight_decay)
        for step in range(3):
            one, two = twin(*(tinyconv.tensor(part[step]) for part in data))
            optimizer.zero_grad()
            ((one - 1) ** 2 + (two - one) ** 2).mean().backward()
            optimizer.step()
        outputs.append(tinyconv.cat(list(twin(r, t)), 1).detach().numpy())
    return float(np.abs(outputs[0] - outputs[1]).max())


print("shortcut beside the weights or inside, after three steps:")
for decay in (0.0, 0.1):
    print(f"  weight decay {decay}: {after_steps(decay):.0e} apart")

# %% [markdown]
# ## RiR against ResNet
#
# RiR puts two such layers into a block, and a shortcut around both, on r only: a ResNet of ResNets. The paper's wide
# one, 18 layers (9.5 million parameters by our count), has 94.99 % on CIFAR-10; a ResNet as wide 93.95 %. Here: RiR
# with 6, 12, 24 maps in each stream, ResNet-20 with 12, 24, 48 maps, nearly the same parameters; step 1's shapes and
# recipe.

# %%
NETWORKS = {
    "RiR": lambda: models.rir(scale="lesson", width=0.5, image_size=16),
    "ResNet-20": lambda: models.resnet_cifar(20, width=0.75, image_size=16),
}
STEPS, DROP = (4, 3) if lesson.smoke else (400, 300)
training, test = (shapes10(96 if lesson.smoke else n, 16, (4, 6), seed=s) for n, s in ((2000, 0), (1000, 1000)))


def train(model: nn.Module) -> list[float]:
    """Return the loss of each step."""
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    loader, losses = DataLoader(training, 32, shuffle=True, drop_last=True, seed=lesson.seed), []
    while True:
        for images, labels in loader:
            optimizer.param_groups[0]["lr"] = 0.1 if len(losses) < DROP else 0.01
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == STEPS:
                return losses


fig, (scheme, axis) = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
for name, build in NETWORKS.items():
    tinyconv.manual_seed(lesson.seed)
    model, start = build(), perf_counter()
    summary, losses = tinyconv.summary(model), train(model)
    smooth = np.convolve(losses, np.ones(20) / 20, mode="valid") if len(losses) > 20 else losses
    axis.plot(np.arange(len(smooth)) + len(losses) - len(smooth), smooth, label=name)
    error, seconds = 1 - tinyconv.evaluate(model, DataLoader(test, 500))["accuracy"], perf_counter() - start
    print(f"\n{name:9s} {summary.total_params:8,d} parameters, {summary.total_macs:10,d} multiply-adds")
    print(f"          training loss {smooth[-1]:.3f}, test error {error:.1%}, {seconds:.0f} s", flush=True)
axis.set(title="training loss, mean of 20 steps", xlabel="step")
axis.legend()
ends = {"r": (0, 1), "t": (0, 0), "r'": (1, 1), "t'": (1, 0)}
for name, (x, y) in ends.items():
    scheme.text(x, y, name, ha="center", va="center", fontsize=14, bbox={"boxstyle": "circle", "fc": "white"})
for a, b, bend in (("r", "r'", 0), ("r", "t'", 0), ("t", "r'", 0), ("t", "t'", 0), ("r", "r'", -0.3)):
    look = {"arrowstyle": "->", "shrinkA": 16, "shrinkB": 16, "connectionstyle": f"arc3,rad={bend}"}
    scheme.annotate("", ends[b], ends[a], arrowprops={**look, "color": "C3" if bend else "black"})
    x, y = 0.3 * np.array(ends[b]) + 0.7 * np.array(ends[a]) if not bend else (0.5, 1.3)
    scheme.text(x, y + 0.06, "shortcut" if bend else f"W_{a}{b[0]}", ha="center", color="C3" if bend else "black")
scheme.set(title="one layer: arrows at a circle are added, then BN, ReLU", xlim=(-0.2, 1.2), ylim=(-0.25, 1.5))
scheme.axis("off")
lesson.save(fig, "rir", alt="two streams and five ways between them; RiR's training loss falls before ResNet-20's")
lesson.next("exercises.py", why="write these parts yourself")
