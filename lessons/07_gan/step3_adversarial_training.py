# %% [markdown]
# # GAN 3: training on one's own mistakes
#
# minutes 25 | needs step2_ostrich.py | next step4_game.py
#
# If a step along the gradient's signs fools a network, show it such steps while it learns (Goodfellow 2014, sec. 6):
#
#     J~ = alpha J(x, y) + (1 - alpha) J(x + eps sign(dJ / dx), y)        alpha = 1/2
#
# The attack is made anew for each batch, against the weights of that moment, and is a constant: no gradient flows back
# through the sign. The paper's maxout network then had 17.9 instead of 89.4 % errors on attacks, and fewer on digits as
# they are, 0.84 instead of 0.94 %. This step does it, and walks into two traps.

# %%
import matplotlib.pyplot as plt
import numpy as np
from digits07 import TEST, TRAIN, digits, judge, learn, network

import tinyconv
from tinyconv import optim
from tinyconv.explain.adversarial import fgsm, random_signs
from tinyconv.explain.adversarial_training import AdversarialUpdate
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)
training, test = digits("train", 500 if lesson.smoke else TRAIN), digits("test", 200 if lesson.smoke else TEST)
BOX = (0.0, 1.0)

# %% [markdown]
# ## Where it is a formula
#
# A 3 or a 7? Logistic regression says P(7) = sigmoid(w . x + b); let y be 1 for a 7 and -1 for a 3. The loss is
# softplus(-y (w . x + b)), softplus(m) = log(1 + exp(m)). The attack takes eps |w|_1 from y (w . x + b), whichever y
# is, so training on attacks alone (alpha = 0) is training with
#
#     softplus(eps |w|_1 - y (w . x + b))
#
# Often it is written softplus(y (eps |w|_1 - w . x - b)). For y = 1 that is the same. For y = -1 eps has the wrong
# sign: the attack would help the network.


# %%
def threes_and_sevens(part):
    """Return the two digits' pixels (N, 784) and y, 1 for a 7 and -1 for a 3."""
    these = np.isin(part.labels, (3, 7))
    return part.images[these].reshape(-1, 784).astype(float), np.where(part.labels[these] == 7, 1.0, -1.0)


def margin(w, b, x, y, eps, wrong=False):
    """Return what softplus is taken of: the right form, or the wrong one."""
    reach, score = eps * w.abs().sum(), x @ w + b
    return y * (reach - score) if wrong else reach - y * score


def attacked(w, x, y, eps):
    """Return the images after the step that raises the loss: its gradient has the sign of -y w."""
    return x - eps * y[:, None] * np.sign(w)


def train(eps, wrong=False):
    """Return weights and bias after 300 steps on all images."""
    x, y = map(tinyconv.tensor, threes_and_sevens(training))
    w, b = tinyconv.tensor(np.zeros(784), requires_grad=True), tinyconv.tensor(np.zeros(1), requires_grad=True)
    optimizer = optim.SGD([w, b], 0.02, momentum=0.9)
    for _ in range(5 if lesson.smoke else 300):
        optimizer.zero_grad()
        F.softplus(margin(w, b, x, y, eps, wrong)).mean().backward()
        optimizer.step()
    return w.detach(), b.detach()


x, y = threes_and_sevens(test)
w, b = train(0.0)
print("loss of each label at eps 0.25: as it is; at the attacked images; by the two formulas")
for label in (1, -1):
    here, sign = x[y == label], y[y == label]
    cases = ((here, 0.0), (attacked(w.numpy(), here, sign, 0.25), 0.0), (here, 0.25), (here, 0.25, True))
    margins = [margin(w, b, tinyconv.tensor(z), tinyconv.tensor(sign), *how) for z, *how in cases]
    losses = [F.softplus(m).mean().item() for m in margins]
    assert abs(losses[1] - losses[2]) < 1e-9 * losses[1]
    print(f"  y = {label:2d}   " + "  ".join(f"{loss:9.4f}" for loss in losses))
print("\n3 or 7, error:               as they are   attacked by 0.25      |w|_1   |w|_2")
for name, how in (("trained as usual", (0.0,)), ("on attacks", (0.25,)), ("by the wrong sign", (0.25, True))):
    v, c = (part.numpy() for part in train(*how))
    errors = [(y * (z @ v + c) <= 0).mean() for z in (x, attacked(v, x, y, 0.25))]
    print(f"  {name:22s} {errors[0]:16.1%} {errors[1]:17.1%} {np.abs(v).sum():12.1f} {np.linalg.norm(v):7.2f}")

# %% [markdown]
# The right form is the loss at the attacked images, to the last digits. By the wrong one a network that calls
# everything with little weight a 3 is rewarded: it errs on every third digit. And the price of resisting: a line that
# loses least at eps = 0.25 is another one than the line that errs least on digits as they are.
#
# ## A network
#
# The MLP of step 1, as it was and by J~; `tinyconv.fit` takes an *update*, what a step does with a batch. First one by
# hand.

# %%
batch, answers = tinyconv.tensor(training.images[:100]), tinyconv.tensor(training.labels[:100])
model = network((200, 200), seed=lesson.seed).eval()
moved = tinyconv.tensor(fgsm(model, training.images[:100], training.labels[:100], 0.25, clip=None))
mixed = 0.5 * F.cross_entropy(model(batch), answers) + 0.5 * F.cross_entropy(model(moved), answers)
found = AdversarialUpdate(0.25)(model, optim.SGD(model.parameters(), 0.1), batch, answers, 0)
print(f"\nJ~ of a batch by hand {mixed.item():.6f}, by AdversarialUpdate {found.loss:.6f}")

WAYS = {"as usual": None, "eps .25": AdversarialUpdate(0.25), "eps .25, clipped": AdversarialUpdate(0.25, clip=BOX)}
models = {}
for name, update in WAYS.items():
    models[name] = network((200, 200), seed=lesson.seed)
    learn(models[name], training, epochs=1 if lesson.smoke else 20, seed=lesson.seed, update=update)
print("error, trained:              " + "".join(f"{name:>18s}" for name in WAYS))
tests = {"digits as they are": test.images}
for eps in (0.05, 0.1, 0.25):
    tests[f"attacked by {eps}"] = lambda model, e=eps: fgsm(model, test.images, test.labels, e, clip=None)
for eps in (0.1, 0.25):
    tests[f"attacked by {eps}, clipped"] = lambda model, e=eps: fgsm(model, test.images, test.labels, e)
tests["random signs of 0.25"] = random_signs(test.images, 0.25, clip=None, seed=lesson.seed)
tests["random signs, clipped"] = random_signs(test.images, 0.25, seed=lesson.seed)
used = training.images.mean(axis=0) > 0.01  # the others, two fifths, are black in nearly all digits
tests["by 0.25, used pixels only"] = lambda model: fgsm(model, test.images, test.labels, 0.25 * used, clip=None)
for title, images in tests.items():
    errors = [judge(m, images(m) if callable(images) else images, test.labels)[0] for m in models.values()]
    print(f"{title:29s}" + "".join(f"{error:18.1%}" for error in errors))

# %% [markdown]
# Errors on attacks fall from 100 to 28 %, those on digits as they are stay. (With other seeds they grow by up to a
# point, claims.py; the paper's fall.) But:
#
# - **Another eps.** The network that learnt at 0.25 errs more often at 0.1 than at 0.25.
# - **Another clip rule.** Attacks that are clipped are other images than those it has seen. And the network trained on
#   clipped ones errs on 37 % under clipped *random* signs, which double the errors of the one trained as usual to 10.
#
# The last row and the figure say more: to some part the first network has learnt to read the attack. An attacked image
# bears the mark of its label in the signs of all pixels, plainest in those that are black in nearly all digits, and the
# network's strongest filters look there. Attack the others only: that is less of an attack, and it errs more. Where
# attacks are clipped half of the mark is lost. Kurakin, Goodfellow and Bengio (2017) call it *label leaking*. So test
# with the eps and the rule of the training, and say so; and with others before calling a network robust.

# %%
fig, axes = plt.subplots(len(models), 10, figsize=(12, 4), layout="constrained")
for line, (name, model) in zip(axes, models.items(), strict=True):
    filters = np.abs(weights := model[1].weight.detach().numpy().reshape(-1, 28, 28))
    strongest = np.argsort(-filters.sum(axis=(1, 2)))[:10]
    for axis, k in zip(line, strongest, strict=True):
        axis.imshow(weights[k], cmap="coolwarm", vmin=-filters[k].max(), vmax=filters[k].max())
        axis.axis("off")
    line[0].set_title(name, fontsize=10, loc="left")
alt = "strongest filters: strokes as usual; noise around the digits; strokes and noise within them, attacks clipped"
lesson.save(fig, "filters", alt=alt)
lesson.next(why="two networks, of which one fools the other on purpose")
