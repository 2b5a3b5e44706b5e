"""A training run that the tests of tinyconv.fit start, kill and resume: a small conv net on the bundled digits.

Everything that draws or remembers is in it: initial weights, shuffling, augmentation in threads, dropout, batch
normalisation, momentum, a schedule. ``--die KIND:STEP`` ends it from inside at that step.
"""

import argparse
import os
import signal

import tinyconv
from tinyconv import data, nn, optim


class Die:
    """A callback that gets the process killed, or interrupted, after a step; or while a checkpoint is written."""

    def __init__(self, kind, step):
        self.kind, self.step = kind, step

    def on_step(self, state):
        """Send the signal."""
        if state.step == self.step:
            if self.kind == "SAVING":
                os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
            else:
                os.kill(os.getpid(), getattr(signal, self.kind))


def build():
    """Return the network."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(96, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10),
    )  # fmt: skip


def main():
    """Train for three epochs of 23 steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--die")
    options = parser.parse_args()
    tinyconv.manual_seed(3)
    model = build()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4, nesterov=True)
    view = data.Compose([data.RandomCrop(8, padding=1), data.RandomMirror()])
    train = data.DataLoader(data.digits("train"), 64, shuffle=True, seed=5, workers=2, transform=view)
    test = data.DataLoader(data.digits("test"), 120)
    schedule = optim.LinearWarmup(optimizer, 10, after=optim.StepLR(optimizer, 20, gamma=0.5))
    callbacks = [Die(options.die.split(":")[0], int(options.die.split(":")[1]))] if options.die else []
    tinyconv.fit(
        model, train, optimizer=optimizer, epochs=3, test_loader=test, schedule=schedule, schedule_per="step",
        callbacks=callbacks, out=options.out, resume=options.resume, checkpoint_every=10, log_every=5,
    )  # fmt: skip


if __name__ == "__main__":
    main()
