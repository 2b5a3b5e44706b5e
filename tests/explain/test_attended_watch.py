"""Where a training's transformers look, epoch by epoch: files, resumed runs, the strip and the film, what it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

import tinyconv
from tinyconv import Tensor, data, models, nn
from tinyconv.explain import attended_watch as module
from tinyconv.explain.attended_figures import labelled, picture
from tinyconv.explain.attended_watch import AttendedWatch
from tinyconv.functional.grids import target_grid
from tinyconv.history import History
from tinyconv.optim import SGD, Adam
from tinyconv.training_state import TrainState

IMAGES = np.random.default_rng(0).uniform(0, 1, (3, 1, 8, 8)).astype(np.float32)


class Window(nn.Module):
    """One transformer that looks at the middle of every image, ``scale`` times as wide."""

    def __init__(self, dtype: Any = np.float32) -> None:
        super().__init__()
        self.scale, self.weight = 1.0, nn.Parameter(np.zeros(1, dtype))
        self.dropout, self.asked = nn.Dropout(0.5), []

    def attended(self, x: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
        self.asked.append((x.dtype, [m.training for m in self.modules()]))
        n, c = x.shape[:2]
        grid = np.tile(self.scale * target_grid((4, 4), True), (n, 1, 1, 1))
        return [(grid, np.full((n, c, 4, 4), self.scale))]


def epoch(watch: AttendedWatch, number: int) -> None:
    """Do what ``fit`` does at the end of an epoch."""
    watch.model.scale = 1 / (1 + number)
    watch.on_epoch(TrainState(watch.model, None, History([]), epoch=number))


def frame(scale: float, images: np.ndarray = IMAGES) -> np.ndarray:
    model = Window()
    model.scale = scale
    return picture(images, model.attended(Tensor(images)))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as found:
        return np.asarray(found)


def test_every_epoch_is_drawn_as_it_is(tmp_path: Path) -> None:
    watch = AttendedWatch(Window(), tmp_path / "new" / "attended", IMAGES)
    watch.before()
    for number in (1, 2):
        epoch(watch, number)
    assert names(watch.folder) == [f"epoch-000{k}.png" for k in range(3)] and watch.folder == tmp_path / "new/attended"
    for number in range(3):
        np.testing.assert_array_equal(pixels(watch.folder / f"epoch-000{number}.png"), frame(1 / (1 + number)))


@pytest.mark.parametrize("epochs,rows", [(1, [0, 1]), (5, [0, 1, 2, 3, 4, 5]), (10, [0, 2, 4, 6, 8, 10])])
def test_the_strip_has_six_epochs_at_most_and_the_film_all(epochs: int, rows: list[int], tmp_path: Path) -> None:
    watch = AttendedWatch(Window(), tmp_path, IMAGES)
    watch.before()
    for number in range(1, epochs + 1):
        epoch(watch, number)
    assert watch.finish() == [tmp_path / "strip.png", tmp_path / "attended.gif"]
    want = [labelled(frame(1 / (1 + number)), f"epoch {number}") for number in rows]
    np.testing.assert_array_equal(pixels(tmp_path / "strip.png"), np.concatenate(want))
    with Image.open(tmp_path / "attended.gif") as film:
        assert film.n_frames == epochs + 1 and film.info["loop"] == 0
        times, found = [], []
        for shot in ImageSequence.Iterator(film):
            found.append(np.asarray(shot.convert("RGB"), float))
            times.append(shot.info["duration"])
    assert times == [250] * epochs + [1500]
    for number, shot in enumerate(found):
        wanted = labelled(frame(1 / (1 + number)), f"epoch {number}")
        assert shot.shape == wanted.shape and np.abs(shot - wanted).mean() < 8  # 256 colours


def test_a_long_trainings_film_is_of_a_hundred(tmp_path: Path) -> None:
    watch = AttendedWatch(Window(), tmp_path, IMAGES[:1, :, :2, :2])
    for number in range(130):
        Image.fromarray(np.full((3, 4, 3), number, np.uint8)).save(watch.pictures.path(number))
    watch.finish()
    with Image.open(tmp_path / "attended.gif") as film:
        levels = [np.asarray(shot.convert("RGB"))[-1, 0, 0] for shot in ImageSequence.Iterator(film)]
    assert len(levels) == 100 and levels[0] == 0 and levels[-1] == 129 and levels == sorted(set(levels))


def test_a_resumed_run_goes_on_and_its_film_is_whole(tmp_path: Path) -> None:
    first = AttendedWatch(Window(), tmp_path, IMAGES)
    first.before()
    for number in (1, 2, 3, 4):
        epoch(first, number)
    again = AttendedWatch(Window(), tmp_path, IMAGES)  # from the checkpoint of epoch 2
    again.model.scale = 9
    epoch(again, 3)
    assert names(tmp_path) == [f"epoch-000{k}.png" for k in range(4)]  # epoch 4 is not this run's
    for number in (4, 5):
        epoch(again, number)
    again.finish()
    with Image.open(tmp_path / "attended.gif") as film:
        assert film.n_frames == 6


def test_a_new_run_removes_an_old_ones_pictures(tmp_path: Path) -> None:
    old = AttendedWatch(Window(), tmp_path, IMAGES)
    for number in range(5):
        epoch(old, number)
    (tmp_path / "mine.png").write_bytes(b"kept")
    AttendedWatch(Window(), tmp_path, IMAGES).before()
    assert names(tmp_path) == ["epoch-0000.png", "mine.png"]


def test_pictures_of_other_images_and_damaged_ones_are_passed_over(tmp_path: Path) -> None:
    watch = AttendedWatch(Window(), tmp_path, IMAGES)
    for number in range(4):
        epoch(watch, number)
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(watch.pictures.path(0))  # of another size, and grey
    watch.pictures.path(2).write_bytes(watch.pictures.path(1).read_bytes()[:60])
    watch.finish()
    with Image.open(tmp_path / "attended.gif") as film:
        assert film.n_frames == 2
    want = [labelled(frame(1 / (1 + number)), f"epoch {number}") for number in (1, 3)]
    np.testing.assert_array_equal(pixels(tmp_path / "strip.png"), np.concatenate(want))


def test_finish_without_an_epoch_writes_nothing(tmp_path: Path) -> None:
    assert AttendedWatch(Window(), tmp_path, IMAGES).finish() == [] and names(tmp_path) == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_model_is_asked_in_evaluation_and_has_its_modes_back(dtype: Any, tmp_path: Path) -> None:
    model = Window(dtype)
    model.dropout.eval()
    watch = AttendedWatch(model, tmp_path, IMAGES)
    watch.before()
    assert model.asked == [(np.dtype(dtype), [False, False])]
    assert [m.training for m in model.modules()] == [True, False]


def test_images_may_be_a_tensor(tmp_path: Path) -> None:
    AttendedWatch(Window(), tmp_path, Tensor(IMAGES)).before()
    np.testing.assert_array_equal(pixels(tmp_path / "epoch-0000.png"), frame(1))


def test_a_model_that_fails_has_its_modes_back_and_leaves_no_picture(tmp_path: Path) -> None:
    model = Window()
    model.attended = lambda x: 1 / 0  # type: ignore[assignment, return-value]
    with pytest.raises(ZeroDivisionError):
        AttendedWatch(model, tmp_path, IMAGES).before()
    assert all(m.training for m in model.modules()) and names(tmp_path) == []


# ------------------------------------------------------------------------------------------------ with real networks
def network(transformers: int = 1) -> Any:
    tinyconv.manual_seed(0)
    return models.st_fcn(2, image_size=8, scale="lesson", budget=12000, transformers=transformers)


def loader() -> data.DataLoader:
    rng = np.random.default_rng(1)
    images = rng.uniform(0, 1, (40, 1, 8, 8)).astype(np.float32)
    return data.DataLoader(data.ArrayDataset(images, (images.mean((1, 2, 3)) > 0.5).astype(np.int64)), 10, seed=0)


def train(epochs: int, folder: Path, resume: bool = False, watched: bool = True) -> tuple[Any, Any]:
    model = network()
    watch = AttendedWatch(model, folder / "attended", IMAGES) if watched else None
    if watch and not resume:
        watch.before()
    history = tinyconv.fit(
        model, loader(), optimizer=Adam(model.parameters(), 1e-2), epochs=epochs, out=folder, resume=resume,
        callbacks=[watch] if watch else [], progress=False,
    )  # fmt: skip
    return model, history


def test_a_training_by_fit_is_watched_and_resumed(tmp_path: Path) -> None:
    train(2, tmp_path / "a")
    model, _ = train(4, tmp_path / "a", resume=True)
    train(4, tmp_path / "b")
    wanted = [f"epoch-000{k}.png" for k in range(5)]
    assert names(tmp_path / "a" / "attended") == names(tmp_path / "b" / "attended") == wanted
    for name in wanted:
        assert (tmp_path / "a/attended" / name).read_bytes() == (tmp_path / "b/attended" / name).read_bytes()
    now = picture(IMAGES, model.eval().attended(Tensor(IMAGES)))
    np.testing.assert_array_equal(pixels(tmp_path / "a/attended/epoch-0004.png"), now)
    first = pixels(tmp_path / "a/attended/epoch-0000.png")
    assert (now != first).any()  # it has learnt to look elsewhere
    start = [(np.tile(target_grid((8, 8), True), (3, 1, 1, 1)), IMAGES)]
    assert np.abs(first.astype(int) - picture(IMAGES, start)).max() <= 1  # the identity


def test_a_watched_training_is_the_same_training(tmp_path: Path) -> None:
    (watched, history), (alone, other) = train(2, tmp_path / "a"), train(2, tmp_path / "b", watched=False)
    assert history["train_loss"] == other["train_loss"]
    for (name, a), (same, b) in zip(watched.state_dict().items(), alone.state_dict().items(), strict=True):
        assert name == same
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_looking_leaves_weights_gradients_and_the_drawing_of_masks_alone(tmp_path: Path) -> None:
    model = network(2)
    loss = model(Tensor(IMAGES)).sum()
    loss.backward()
    before = [(p.detach().numpy().copy(), p.grad.numpy().copy()) for p in model.parameters()]
    watch = AttendedWatch(model, tmp_path, IMAGES)
    watch.before()
    watch.on_epoch(TrainState(model, None, History([]), epoch=1))
    for p, (value, grad) in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), value)
        np.testing.assert_array_equal(p.grad.numpy(), grad)
    SGD(model.parameters(), 0.1).step()  # and the parameters still learn
    assert pixels(tmp_path / "epoch-0000.png").shape[0] > 3 * 8 * 10  # the images, and two rows of outputs


def test_a_network_that_has_diverged_is_drawn(tmp_path: Path) -> None:
    model = network()
    for p in model.transformers.parameters():
        p.data[:] = np.nan
    watch = AttendedWatch(model, tmp_path, IMAGES)
    watch.before()
    red = (pixels(tmp_path / "epoch-0000.png") == (255, 0, 0)).all(-1)
    assert red.mean() > 0.4
    assert len(watch.finish()) == 2


# ------------------------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize("shape", [(0, 1, 8, 8), (1, 8, 8), (8,), (), (2, 1, 0, 8), (2, 0, 8, 8)])
def test_no_images(shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"AttendedWatch: images must be \(N, C, H, W\), at least one, got shape \("):
        AttendedWatch(Window(), tmp_path / "new", np.zeros(shape))
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_to_is_found_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="AttendedWatch: cannot write to the folder .*file.* choose another folder"):
        AttendedWatch(Window(), tmp_path / "file", IMAGES)


def test_a_picture_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = AttendedWatch(Window(), tmp_path, IMAGES)
    watch.before()
    before = (tmp_path / "epoch-0000.png").read_bytes()
    monkeypatch.setattr(module, "picture", lambda *_: np.zeros((2, 2, 3), np.uint8))
    monkeypatch.setattr(Image.Image, "save", lambda self, file, **_: (file.write(b"half"), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        watch.before()
    assert (tmp_path / "epoch-0000.png").read_bytes() == before and names(tmp_path) == ["epoch-0000.png"]


def test_a_network_without_transformers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"AttendedWatch: model must have attended\(images\), as STNetwork, got LeNet5"):
        AttendedWatch(models.lenet5(output="scores"), tmp_path, np.zeros((1, 1, 32, 32), np.float32))
