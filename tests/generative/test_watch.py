"""A training watched: the same latent points after every epoch, the film of them, and a word when it goes wrong."""

import numpy as np
import pytest
from PIL import Image, ImageSequence

import tinyconv
from tinyconv import data, models
from tinyconv.generative import watch as module
from tinyconv.generative.algorithm import AlgorithmOne
from tinyconv.generative.measures import spread
from tinyconv.generative.watch import Watch
from tinyconv.history import History
from tinyconv.optim import Adam
from tinyconv.training_state import TrainState


class Painter:
    """A generator whose images, (3, 4) pixels, are its latent numbers times its strength."""

    def __init__(self, channels=1):
        self.strength, self.channels, self.asked = 0.0, channels, []

    def latent(self, n, seed=0):
        return np.random.default_rng(seed).uniform(0, 1, (n, 12 * self.channels)).astype(np.float32)

    def sample(self, points, seed=0):
        self.asked.append(points)
        return np.float32(self.strength) * points.reshape(-1, self.channels, 3, 4)


def epoch(watch, number, rows=None, **row):
    """Do what ``fit`` does at the end of an epoch, and return its row."""
    state = TrainState(watch.model, None, History([] if rows is None else rows), epoch=number)
    state.row = {"epoch": number, **row}
    state.history.rows.append(state.row)
    watch.on_epoch(state)
    return state.row


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture, float)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_every_epoch_draws_the_same_latent_points(tmp_path):
    model = Painter()
    watch = Watch(model, tmp_path / "new", n=6)
    watch.before(model)
    for number in (1, 2, 3):
        model.strength = number / 4
        row = epoch(watch, number)
        assert row["sample_spread"] == pytest.approx(number / 4 * spread(model.latent(6).reshape(6, 1, 3, 4)))
    assert names(tmp_path / "new") == [f"epoch-000{k}.png" for k in range(4)]
    assert all(points is watch.points for points in model.asked) and len(model.asked) == 4
    first = model.latent(6).reshape(6, 3, 4)
    times = 480 // 14
    for number in range(4):
        picture = pixels(tmp_path / "new" / f"epoch-000{number}.png")[::times, ::times]
        assert picture.shape == (2 * 4 - 1, 3 * 5 - 1)
        np.testing.assert_array_equal(picture[4:, 5:9], np.rint(255 * np.float32(number / 4) * first[4]))


@pytest.mark.parametrize("channels", [1, 3])
def test_finish_makes_the_strip_and_the_film_from_the_files(channels, tmp_path):
    model = Painter(channels)
    watch = Watch(model, tmp_path, n=5)
    watch.before()
    for number in range(1, 21):
        model.strength = number / 20
        epoch(watch, number)
    written = watch.finish()
    assert written == [tmp_path / name for name in ("samples.png", "strip.png", "samples.gif")]
    assert (tmp_path / "samples.png").read_bytes() == (tmp_path / "epoch-0020.png").read_bytes()
    with Image.open(tmp_path / "samples.gif") as film:
        assert film.n_frames == 21
        levels = [np.asarray(frame.convert("RGB"), float)[16:].mean() for frame in ImageSequence.Iterator(film)]
    assert levels == sorted(levels) and levels[-1] > 1.5 * levels[0]


def test_the_strip_has_eight_epochs_evenly_chosen_and_their_true_pixels(tmp_path, monkeypatch):
    drawn = []
    strip = module.strip

    def kept(frames, labels, **options):
        drawn.append((np.stack(frames), labels))
        return strip(frames, labels, **options)

    monkeypatch.setattr(module, "strip", kept)
    model = Painter(3)
    watch = Watch(model, tmp_path, n=7)
    watch.before()
    for number in range(1, 22):
        model.strength = number / 21
        epoch(watch, number)
    watch.finish()
    ((frames, labels),) = drawn
    assert labels == [f"epoch {k}" for k in (0, 3, 6, 9, 12, 15, 18, 21)]
    for frame, number in zip(frames, (0, 3, 6, 9, 12, 15, 18, 21), strict=True):
        wanted = np.float32(number / 21) * model.latent(7).reshape(7, 3, 3, 4)
        np.testing.assert_allclose(frame, wanted, atol=0.5 / 255 + 1e-6)


def test_a_resumed_runs_film_is_whole(tmp_path):
    model = Painter()
    watch = Watch(model, tmp_path, n=4)
    watch.before()
    for number in (1, 2, 3, 4):
        model.strength = number / 8
        epoch(watch, number)
    again = Watch(model, tmp_path, n=4)  # killed in epoch 4, whose checkpoint was not written
    for number in (4, 5):
        model.strength = number / 8
        epoch(again, number)
    again.finish()
    with Image.open(tmp_path / "samples.gif") as film:
        assert film.n_frames == 6


def test_pictures_of_another_run_do_not_get_into_the_film(tmp_path):
    model = Painter()
    for last, n in ((9, 4), (2, 4)):
        watch = Watch(model, tmp_path, n=n)
        for number in range(1, last + 1):
            model.strength = number / 10
            epoch(watch, number)
    assert names(tmp_path) == ["epoch-0001.png", "epoch-0002.png"]
    watch = Watch(model, tmp_path, n=4, every=3)
    watch.before()
    assert names(tmp_path) == ["epoch-0000.png"]
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / "epoch-0001.png")  # of another size
    (tmp_path / "epoch-0002.png").write_bytes((tmp_path / "epoch-0000.png").read_bytes()[:50])  # damaged
    (tmp_path / "epoch-3.png").write_bytes(b"not ours")
    watch.finish()
    with Image.open(tmp_path / "samples.gif") as film:
        assert film.n_frames == 1
    assert (tmp_path / "epoch-3.png").read_bytes() == b"not ours"


def test_every_third_epoch_and_the_last_one(tmp_path):
    model = Painter()
    watch = Watch(model, tmp_path, n=4, every=3)
    rows = [epoch(watch, number) for number in range(1, 8)]
    assert ["sample_spread" in row for row in rows] == [False, False, True, False, False, True, False]
    assert names(tmp_path) == ["epoch-0003.png", "epoch-0006.png"]
    model.strength = 1.0
    watch.finish()
    assert names(tmp_path)[:3] == ["epoch-0003.png", "epoch-0006.png", "epoch-0007.png"]
    assert pixels(tmp_path / "epoch-0007.png").std() > 20


def test_finish_without_an_epoch_draws_the_samples_only(tmp_path):
    assert Watch(Painter(), tmp_path, n=4).finish() == [tmp_path / "samples.png"]


def test_a_training_that_goes_wrong_is_said_once(tmp_path, capsys):
    model, rows = Painter(), []
    watch = Watch(model, tmp_path, n=8, data_spread=0.5)  # the painter's is below 3/4 of that
    for number, (strength, accuracy) in enumerate([(1, 1.0)] * 5 + [(0, 1.0)] * 3 + [(1, 0.8)] + [(1, 1.0)] * 4, 1):
        model.strength = strength
        epoch(watch, number, rows, discriminator_accuracy=accuracy)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[:2] for line in lines] == [
        ["epoch 3", " the discriminator is too far ahead"],
        ["epoch 6", " the generator has collapsed"],
        ["epoch 12", " the discriminator is too far ahead"],  # it had recovered in between
    ]


def test_a_training_by_fit_and_its_resumption_are_watched(tmp_path, capsys):
    images = np.random.default_rng(0).uniform(0, 1, (40, 1, 8, 8)).astype(np.float32)
    loader = data.DataLoader(data.ArrayDataset(images, np.zeros(40, np.int64)), 20, seed=0)

    def train(epochs, resume, folder):
        tinyconv.manual_seed(0)
        model = models.gan(image_size=8, scale="lesson", width=0.1)
        watch = Watch(model, folder / "samples", n=9, data_spread=spread(images))
        history = tinyconv.fit(
            model, loader, update=AlgorithmOne(), optimizer=Adam(model.parameters(), 1e-3), epochs=epochs,
            callbacks=[watch], out=folder, resume=resume, progress=False,
        )  # fmt: skip
        watch.finish()
        return model, watch, history

    train(1, False, tmp_path / "a")
    model, watch, history = train(3, True, tmp_path / "a")
    assert names(tmp_path / "a" / "samples") == [f"epoch-000{k}.png" for k in (1, 2, 3)] + [
        "samples.gif", "samples.png", "strip.png",
    ]  # fmt: skip
    assert history["sample_spread"][-1] == spread(model.sample(watch.points)) and len(history["sample_spread"]) == 3
    assert all(module.training for module in model.modules())
    whole, _, again = train(3, False, tmp_path / "b")
    assert again["sample_spread"] == history["sample_spread"]
    for number in (1, 2, 3):
        name = f"samples/epoch-000{number}.png"
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 1}, "Watch: n must be an int from 2 to 400, got 1"),
        ({"n": 401}, "Watch: n must be an int from 2 to 400, got 401"),
        ({"n": 9.0}, "Watch: n must be an int from 2 to 400, got 9.0"),
        ({"every": 0}, "Watch: every must be an int of at least 1, got 0"),
        ({"every": True}, "Watch: every must be an int of at least 1, got True"),
        ({"data_spread": 0.0}, "data_spread must be a positive number, got 0.0"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Watch(Painter(), tmp_path / "x", **arguments)
    assert not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be_written_to_is_found_before_the_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Watch: cannot write to the folder .*file.* choose another folder"):
        Watch(Painter(), tmp_path / "file")


def test_a_model_whose_weights_are_lost_is_a_clear_error(tmp_path):
    model = Painter()
    model.strength = np.nan
    with pytest.raises(ValueError, match="save_png: images must be finite, got NaN"):
        epoch(Watch(model, tmp_path, n=4), 1)
