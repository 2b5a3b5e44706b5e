# %% [markdown]
# # Spatial transformers 8: training
#
# minutes 5 | needs step7_assemble.py | next step9_look_inside.py
#
# ST-CNN learns RTS: 5,000 digits, turned, scaled and moved anew in every epoch, and their classes. Nothing else: no
# angle, no place, no size. Where the transformer looks is drawn after every epoch, for the same eight test digits. It
# begins with the whole image, since its last layer was told to (step 7), and the only thing that moves it is the
# gradient of the class, back through the grid.

# %%
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from digits09 import build, digits, judge, learn

import tinyconv
from tinyconv.data import DataLoader
from tinyconv.explain.attended import scale
from tinyconv.explain.attended_figures import attended_figure
from tinyconv.explain.attended_watch import AttendedWatch
from tinyconv.files import atomic_write

lesson = tinyconv.lesson_step(__name__)
EPOCHS, SHOWN = 20, 8


# %%
def train(model: Any, seed: int, *, small: bool = False, epochs: int = EPOCHS, **fit: Any) -> Any:
    """Train on RTS, a trial of a second if ``small``; return the history. More for ``tinyconv.fit``."""
    data = digits("rts", "train", seed, 128 if small else None)
    return learn(model, data, 1 if small else epochs, seed, **fit)


def watched(model: Any, images: np.ndarray, test: Any) -> Any:
    """Train with a look at the images after every epoch; leave the lesson's checkpoint, the strip and the film."""
    watch, began = AttendedWatch(model, lesson.out / "attended", images), perf_counter()
    if not lesson.resume:
        watch.before()
    files = {"out": lesson.out, "checkpoint": lesson.checkpoint(), "resume": lesson.resume}
    held_out = DataLoader(test, 500)
    history = train(
        model, lesson.seed, small=lesson.smoke, callbacks=[watch], test_loader=held_out, progress=True, **files
    )
    print(f"{perf_counter() - began:.0f} s; {', '.join(map(str, watch.finish()))}")
    return history


# %% [markdown]
# ## What others have reached
#
# The claims have trained FCN, CNN, ST-FCN and ST-CNN alike, with as many parameters, over three seeds: the same seed
# gives the same network as here. They are not trained again in this step; `results.json` has their errors.


# %%
def measured() -> dict[str, list[float]]:
    """Return the test errors of claim S2, in per cent, seed by seed; empty if it is not measured."""
    file = Path(__file__).with_name("results.json")
    claims = json.loads(file.read_text("utf-8"))["claims"] if file.exists() else {}
    runs = claims.get("S2", {}).get("runs", {})
    found: dict[str, list[float]] = {}
    for run in runs.values():
        for name, result in run.items():
            found.setdefault(name, []).append(100 * result["error"])
    return found


if __name__ == "__main__":
    model = build("ST-CNN", "rts", lesson.seed)
    parts = [sum(p.numel() for p in part.parameters()) for part in (model.transformers, model.classifier)]
    print(f"ST-CNN: localisation network {parts[0]:,} parameters, classifier {parts[1]:,}", flush=True)
    test = digits("rts", "test", lesson.seed, 100 if lesson.smoke else None)
    images = np.stack([test[i][0] for i in range(SHOWN)])
    before = model.attended(tinyconv.tensor(images))
    history = watched(model, images, test)
    error = judge(model, test)
    print(f"test error {error:.1%} of {len(test):,} images")
    for name, errors in measured().items():
        print(f"  to compare, {name:6s} {' / '.join(f'{e:.1f}' for e in errors)} %")

# %% [markdown]
# ## What it looks at
#
# Outlines are what the transformer sees, their dot its upper left corner; below each image stands what comes out. A
# digit's frame is 0.46 to 0.79 times as wide as the image, so a transformer that has learnt its part looks at less than
# the whole, and at the digit. Whether it also turns back what was turned is step 9's question.

# %%
if __name__ == "__main__":
    model.eval()
    after = model.attended(tinyconv.tensor(images))
    alt = "eight digits with the outline of what the transformer looks at, before training: the whole image"
    lesson.save(attended_figure(images, before, title="before training"), "looks-before", alt=alt)
    alt = "the same after training, and what comes out of the transformer: digits larger, and nearer to the middle"
    lesson.save(attended_figure(images, after, title=f"after {history.last['epoch']} epochs"), "looks-after", alt=alt)
    alt = "loss and accuracy of ST-CNN on RTS, training and test, by epoch"
    lesson.save(history.plot(title="ST-CNN on RTS"), "curves", alt=alt)
    with tinyconv.no_grad():
        scales = scale(model.transformers[0].theta(tinyconv.tensor(images)).numpy())
    print("scale of what it looks at, eight digits:", " ".join(f"{s:.2f}" for s in scales))
    print("theirs:", " ".join(f"{test.distorted(i).scale * 27 / 41:.2f}" for i in range(SHOWN)))
    file = lesson.out / "digit.png"
    atomic_write(file, lambda opened: plt.imsave(opened, images[1, 0], cmap="gray", vmin=0, vmax=1, format="png"))
    print(f"try one (a {test[1][1]}): tinyconv predict {file} --weights {lesson.checkpoint()}")
    lesson.next(why="what has it learnt to undo?")
