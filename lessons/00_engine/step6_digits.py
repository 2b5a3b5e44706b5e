# %% [markdown]
# # Step 6: a small convolutional network, trained in seconds
#
# 20 minutes | needs: steps 2 to 5 | next: step7_ladder.py
#
# All parts are there: tensors that know their gradients (steps 1 and 2), gradients that were checked (3), a convolution
# that is fast (4 and 5). Here they make a network that reads handwritten digits of 8 x 8 pixels. The last 360 of 1,797
# images are kept for the test; they are by other writers than most of the rest.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import nn, optim
from tinyconv.data import DataLoader, digits
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)
train, test = digits("train"), digits("test")
train_images, test_images = (tinyconv.tensor(np.stack([image for image, _ in part])) for part in (train, test))
train_labels, test_labels = (np.array([label for _, label in part]) for part in (train, test))

# %% [markdown]
# ## Two models
# The convolutional net sees 3 x 3 pixels at a time and shares its filters among all places; pooling halves the map
# twice. The other model is the simplest there is: ten weighted sums of the 64 pixels.

# %%
models = {
    "linear": nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
    "convolutional": nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),  # 8 maps of 8 x 8
        nn.ReLU(),
        nn.MaxPool2d(2),  # 4 x 4
        nn.Conv2d(8, 32, 3, padding=1),  # 32 maps of 4 x 4
        nn.ReLU(),
        nn.MaxPool2d(2),  # 2 x 2
        nn.Flatten(),
        nn.Linear(128, 10),
    ),
}


# %% [markdown]
# ## The loop
# Forward, loss, backward, a step against the gradient: the four lines of step 1, now for batches of 32 images in an
# order that is new in every epoch. `tinyconv.fit` does this with progress, checkpoints and resuming; here is the core.


# %%
def accuracy(model, images, labels):
    with tinyconv.no_grad():
        return float((model(images).numpy().argmax(1) == labels).mean())


def learn(model, epochs):
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses, accuracies = [], [accuracy(model, test_images, test_labels)]
    for _ in range(epochs):
        total = 0.0
        for images, labels in DataLoader(train, 32, shuffle=True, seed=lesson.seed):
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        losses.append(total / len(train))
        accuracies.append(accuracy(model, test_images, test_labels))
    return losses, accuracies


epochs = 1 if lesson.smoke else 15
curves = {}
print(f"{'model':15}{'weights':>9}{'seconds':>9}{'loss':>8}{'training images':>17}{'test images':>13}")
for name, model in models.items():
    start = time.perf_counter()
    curves[name] = learn(model, epochs)
    seconds, weights = time.perf_counter() - start, sum(p.numel() for p in model.parameters())
    right = accuracy(model, train_images, train_labels), accuracy(model, test_images, test_labels)
    print(f"{name:15}{weights:>9}{seconds:>9.1f}{curves[name][0][-1]:>8.4f}{right[0]:>17.1%}{right[1]:>13.1%}")
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for name, (losses, accuracies) in curves.items():
    left.semilogy(range(1, epochs + 1), losses, "o-", label=name)
    right.plot(range(epochs + 1), 100 * np.array(accuracies), "o-", label=name)
left.set(title="Training loss", xlabel="epoch", ylabel="mean cross-entropy")
right.set(title="Test accuracy", xlabel="epoch", ylabel="right, of 360 images (%)", ylim=(0, 100))
right.legend(loc="lower right")
lesson.save(
    figure, "digits_training", alt="Loss and accuracy of both models by epoch; the convolutional net ends higher."
)
print("A guess is right in 10% of cases. The gap between the columns: handwriting that it has never seen.\n")

# %% [markdown]
# ## The same network on other kernels
# `tinyconv.backend` runs it on the reference kernels, which are the definitions in plain NumPy: the scores must agree.
# In the exercises you will put your own kernels there.

# %%
net = models["convolutional"]
with tinyconv.no_grad():
    fast = net(test_images).numpy()
    with tinyconv.backend("reference"):
        defined = net(test_images[:50]).numpy()
print(f"largest score {abs(fast).max():.1f}, largest difference of backends {abs(fast[:50] - defined).max():.0e}\n")

# %% [markdown]
# ## Look inside
# The first layer's eight filters, and what each makes of one digit (after relu: where its pattern was found). Then the
# digits that the network got wrong, with what it said.

# %%
filters, digit = net[0].weight.detach().numpy()[:, 0], test_images[:1]
with tinyconv.no_grad():
    maps = net[:2](digit).numpy()[0]
figure, panels = plt.subplots(3, 9, figsize=(10, 4), layout="constrained")
for panel in panels.flat:
    panel.set(xticks=[], yticks=[])
panels[1, 0].imshow(digit.numpy()[0, 0], cmap="gray")
panels[1, 0].set_title("input")
panels[0, 0].axis("off")
for k in range(8):
    panels[0, k + 1].imshow(filters[k], cmap="RdBu_r", vmin=-abs(filters).max(), vmax=abs(filters).max())
    panels[0, k + 1].set_title(f"filter {k}", fontsize=9)
    panels[1, k + 1].imshow(maps[k], cmap="gray", vmin=0, vmax=maps.max())
said, wrong = fast.argmax(1), np.flatnonzero(fast.argmax(1) != test_labels)
for panel, i in zip(panels[2], wrong, strict=False):
    panel.imshow(test[i][0][0], cmap="gray")
    panel.set_title(f"a {test_labels[i]}, said {said[i]}", fontsize=9)
panels[2, 0].set_ylabel("mistakes")
figure.suptitle("Filters (red positive, blue negative), their maps of one digit, and nine mistakes")
lesson.save(figure, "digits_inside", alt="Eight 3 x 3 filters, eight feature maps of a digit, nine misread digits.")
pairs = [f"{test_labels[i]} as {said[i]}" for i in wrong]
never = int((F.relu(net[0](test_images)).detach().numpy().max((0, 2, 3)) == 0).sum())
print(f"filters that find nothing in any test image: {never} of 8")
print(f"{len(wrong)} mistakes; most often: {', '.join(sorted(set(pairs), key=pairs.count)[:-4:-1])}")
lesson.next(why="back to speed: how far each convolution is from what the processor can do")
