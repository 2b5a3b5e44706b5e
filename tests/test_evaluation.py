"""evaluate: counts by hand, modes, other outputs than class scores."""

from __future__ import annotations

import numpy as np
import pytest

from tinyconv import Tensor, data, evaluate, nn
from training_tools import small


class Table(nn.Module):
    """Scores looked up by the first pixel."""

    def __init__(self, scores):
        super().__init__()
        self.scores = np.asarray(scores, np.float32)
        self.drop = nn.Dropout(0.9)

    def forward(self, x):
        return self.drop(Tensor(self.scores[x.numpy()[:, 0, 0, 0].astype(int)]))


def test_evaluate_counts_by_hand():
    # images 0..4; largest scores: classes 0, 1, 1, 2, 0; labels 0, 1, 2, 2, 1
    scores = np.log([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.25, 0.25, 0.5], [0.9, 0.05, 0.05]])
    images = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1)
    model = Table(scores)
    found = evaluate(model, data.DataLoader(data.ArrayDataset(images, [0, 1, 2, 2, 1]), 2))
    assert found["confusion"].tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    assert found["accuracy"] == 3 / 5 and found["images"] == 5
    assert found["loss"] == pytest.approx(-np.log([0.8, 0.5, 0.3, 0.5, 0.05]).mean(), rel=1e-6)
    assert model.training and model.drop.training


def test_evaluate_keeps_modes_and_starts_the_loader_at_its_beginning():
    model, _, loader = small()
    model[3].eval()
    list(loader)
    first, second = evaluate(model, loader), evaluate(model, loader)
    assert first["loss"] == second["loss"]
    assert [module.training for module in model.modules()].count(False) == 1


def test_evaluate_of_a_regression_and_of_nothing():
    model, _, loader = small()
    images = np.zeros((4, 1, 2, 2), np.float32)
    batches = [(images, np.ones((4, 3), np.float32))]
    found = evaluate(model, batches, loss=lambda y, t: ((y - t) * (y - t)).mean())
    assert found["accuracy"] is None and found["confusion"] is None and found["loss"] > 0
    with pytest.raises(ValueError, match="must give at least one image"):
        evaluate(model, [])
