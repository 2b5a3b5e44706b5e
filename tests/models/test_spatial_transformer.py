"""The layer that chooses what it sees: every transform, its starts, gradients at any depth, what goes wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, data, nn
from tinyconv.functional.grids import control_points
from tinyconv.models import SpatialTransformer
from tinyconv.models.spatial_transformer import TRANSFORMS, start_with
from tinyconv.nn import functional as F

NUMBERS = {"affine": 6, "attention": 3, "projective": 8, "tps": 32}  # of Jaderberg et al. 2015, sec. 3.2
DOUBLE: dict[str, Any] = {"dtype": tinyconv.float64}


def look(numbers: int, inputs: int, dtype: Any = np.float64) -> nn.Sequential:
    """Return a small localisation network."""
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 5, dtype=dtype), nn.Tanh(), nn.Linear(5, numbers, dtype=dtype))


def images(*shape: int, seed: int = 0) -> Tensor:
    return Tensor(np.random.default_rng(seed).standard_normal(shape))


def started(transform: str, side: int, out_size: Any = None, channels: int = 2, **options: Any) -> SpatialTransformer:
    numbers = NUMBERS[transform] - ("fixed_scale" in options)
    return SpatialTransformer(look(numbers, channels * side**2), transform, out_size, **options)


# ------------------------------------------------------------------------------------------------------- the first look
def test_how_many_numbers() -> None:
    assert {name: transform.numbers for name, transform in TRANSFORMS.items()} == NUMBERS


@pytest.mark.parametrize("transform", ["affine", "attention", "projective"])
@pytest.mark.parametrize("side", [3, 5, 9, 17])
def test_identity_gives_the_input_back_bit_for_bit(transform: str, side: int) -> None:
    """At sizes whose positions are exact in binary."""
    x = images(2, 2, side, side)
    assert started(transform, side)(x).detach().numpy().tobytes() == x.numpy().tobytes()


@pytest.mark.parametrize("transform", NUMBERS)
@pytest.mark.parametrize("side", [9, 28, 42])
def test_identity_gives_the_input_back_at_any_size(transform: str, side: int) -> None:
    x = images(2, 2, side, side)
    np.testing.assert_allclose(started(transform, side)(x).detach().numpy(), x.numpy(), rtol=0, atol=1e-12)
    single = SpatialTransformer(look(NUMBERS[transform], 2 * side**2, np.float32), transform)
    small = np.random.default_rng(0).random(x.shape, np.float32)
    np.testing.assert_allclose(single(Tensor(small)).detach().numpy(), small, rtol=0, atol=1e-5)


@pytest.mark.parametrize("transform", NUMBERS)
def test_half_the_scale_shows_the_middle(transform: str) -> None:
    x = images(2, 2, 9, 9)  # half of the way from pixel 4 to pixels 0 and 8: 2 to 6, in steps of one
    middle = started(transform, 9, 5, start=0.5)(x).detach().numpy()
    np.testing.assert_allclose(middle, x.numpy()[:, :, 2:7, 2:7], rtol=0, atol=1e-12)


def test_the_thin_plate_splines_start_is_its_control_points_row_by_row() -> None:
    places = started("tps", 5).theta(images(1, 2, 5, 5)).detach().numpy().reshape(16, 2)
    np.testing.assert_array_equal(places, control_points(4))
    np.testing.assert_allclose(places[:5], [(-1, -1), (-1 / 3, -1), (1 / 3, -1), (1, -1), (-1, -1 / 3)], atol=1e-15)


def test_all_images_begin_with_the_same_theta_and_given_numbers() -> None:
    start = (0.5, 0.1, -0.2, -0.1, 0.5, 0.3)
    st = started("affine", 5, start=start)
    np.testing.assert_array_equal(st.theta(images(3, 2, 5, 5)).detach().numpy(), np.tile(start, (3, 1)))
    assert not st.localisation[3].weight.detach().numpy().any()
    assert st.localisation[1].weight.detach().numpy().any()  # only the last layer is changed


@pytest.mark.parametrize(("start", "scale"), [(np.float32(0.5), 0.5), (np.int64(1), 1), (1, 1), (np.array(0.5), 0.5)])
def test_a_start_may_be_numpys_number(start: Any, scale: float) -> None:
    found = started("affine", 5, start=start).theta(images(1, 2, 5, 5)).detach().numpy()
    np.testing.assert_array_equal(found, [[scale, 0, 0, 0, scale, 0]])
    many = started("affine", 5, start=np.array([scale, 0, 0, 0, scale, 0.25], np.float32))
    np.testing.assert_array_equal(many.theta(images(1, 2, 5, 5)).detach().numpy(), [[scale, 0, 0, 0, scale, 0.25]])


def test_without_a_start_the_weights_stay() -> None:
    network = look(6, 50)
    before = {name: p.numpy().copy() for name, p in network.state_dict().items()}
    SpatialTransformer(network, start=None)
    for name, p in network.state_dict().items():
        np.testing.assert_array_equal(p.numpy(), before[name])


@pytest.mark.parametrize(("given", "wanted"), [(4, (4, 4)), ((3, 7), (3, 7)), (None, (5, 6))])
def test_size_of_the_output(given: Any, wanted: tuple[int, int]) -> None:
    st = SpatialTransformer(look(6, 60), "affine", given)
    assert st(images(3, 2, 5, 6)).shape == (3, 2, *wanted)
    grid, output = st.look(images(3, 2, 5, 6))
    assert (grid.shape, output.shape) == ((3, *wanted, 2), (3, 2, *wanted))


def test_a_smaller_output_samples_the_corners_and_what_lies_between() -> None:
    x = images(1, 1, 9, 9)
    found = started("affine", 9, 3, channels=1)(x).detach().numpy()
    np.testing.assert_allclose(found, x.numpy()[:, :, ::4, ::4], rtol=0, atol=1e-14)


def test_a_positive_shift_looks_to_the_right_and_below() -> None:
    """One pixel of 5 is half of 1: what is seen moves to the left and up, and outside there is 0."""
    x = images(1, 2, 5, 5)
    found = started("affine", 5, start=(1, 0, 0.5, 0, 1, 1.0))(x).detach().numpy()
    wanted = np.zeros((1, 2, 5, 5))
    wanted[:, :, :3, :4] = x.numpy()[:, :, 2:, 1:]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14)


def test_a_fixed_scale_is_an_attention_of_that_scale() -> None:
    x, shift = images(3, 2, 7, 7), np.random.default_rng(1).uniform(-0.5, 0.5, (3, 2))
    fixed = SpatialTransformer(None, "attention", 4, fixed_scale=0.5)
    free = SpatialTransformer(None, "attention", 4)
    theta = np.concatenate([np.full((3, 1), 0.5), shift], 1)
    assert fixed.numbers == 2 and free.numbers == 3
    np.testing.assert_array_equal(fixed(x, Tensor(shift)).numpy(), free(x, Tensor(theta)).numpy())
    begun = started("attention", 7, fixed_scale=0.5)
    np.testing.assert_array_equal(begun.theta(x).detach().numpy(), np.zeros((3, 2)))
    begun = started("attention", 7, fixed_scale=0.5, start=(0.25, -0.5))
    np.testing.assert_array_equal(begun.theta(x).detach().numpy(), np.tile([0.25, -0.5], (3, 1)))


@pytest.mark.parametrize("transform", NUMBERS)
def test_a_given_theta_is_as_good_as_the_networks(transform: str) -> None:
    x = images(2, 2, 6, 6)
    st = started(transform, 6, 4, start=0.7)
    other = SpatialTransformer(None, transform, 4)
    np.testing.assert_array_equal(other(x, st.theta(x)).detach().numpy(), st(x).detach().numpy())
    assert not list(other.parameters())


def test_all_channels_look_at_the_same_place() -> None:
    one = images(2, 1, 6, 6)
    st = SpatialTransformer(None)
    theta = Tensor(np.random.default_rng(3).standard_normal((2, 6)))
    both = st(F.cat([one, one * 2.0], 1), theta).numpy()
    np.testing.assert_allclose(both[:, 1], 2 * both[:, 0], rtol=1e-14)


# ------------------------------------------------------------------------------------------------------------ gradients
def numbers_off_the_pixels(transform: str, n: int, side: int, out: tuple[int, int]) -> np.ndarray:
    """Return random thetas (n, numbers) none of whose positions lies near a pixel's, where the derivative jumps."""
    st, size = SpatialTransformer(None, transform), (n, 1, *out)
    for seed in range(1000):
        start = np.asarray(TRANSFORMS[transform].start(0.8))
        theta = start + np.random.default_rng(seed).uniform(-0.15, 0.15, (n, len(start)))
        places = (st.grid(Tensor(theta), size[2:]).numpy() + 1) / 2 * (side - 1)
        if np.abs(places - np.round(places)).min() > 0.01:
            return theta
    raise AssertionError("no such theta")


@pytest.mark.parametrize("transform", NUMBERS)
def test_gradients_of_the_image_and_of_every_number(transform: str) -> None:
    theta = numbers_off_the_pixels(transform, 2, 6, (3, 4))
    st = SpatialTransformer(None, transform, (3, 4))
    x = images(2, 3, 6, 6)
    assert tinyconv.gradcheck(st, [x, theta])
    wanted = Tensor(theta, requires_grad=True)
    (st(x, wanted) * images(2, 3, 3, 4, seed=1)).sum().backward()
    assert wanted.grad is not None and np.abs(wanted.grad.numpy()).min() > 1e-9  # none of them is idle


@pytest.mark.parametrize("transform", NUMBERS)
def test_gradients_of_the_whole_module(transform: str) -> None:
    """The image has two ways to the output: what is sampled, and through the localisation network, where."""
    tinyconv.manual_seed(0)
    start = numbers_off_the_pixels(transform, 1, 6, (3, 4))[0]
    st = started(transform, 6, (3, 4), start=list(start))
    rng = np.random.default_rng(0)
    with tinyconv.no_grad():
        st.localisation[3].weight.copy_(Tensor(rng.normal(0, 1e-4, st.localisation[3].weight.shape)))
    assert tinyconv.gradcheck(st, [images(2, 2, 6, 6)])


def two_depths(start: float | list[float] = 1.0) -> nn.Sequential:
    """Return a network that transforms the image, and the maps between two convolutions."""
    deep = look(6, 3 * 36)
    return nn.Sequential(
        {
            "st1": SpatialTransformer(look(6, 64), start=start),
            "conv1": nn.Conv2d(1, 3, 3, **DOUBLE), "relu1": nn.ReLU(),
            "st2": SpatialTransformer(deep, out_size=5, start=start),
            "conv2": nn.Conv2d(3, 4, 3, **DOUBLE), "relu2": nn.ReLU(),
            "flatten": nn.Flatten(), "fc": nn.Linear(36, 3, **DOUBLE),
        }
    )  # fmt: skip


def test_gradients_at_two_depths() -> None:
    tinyconv.manual_seed(0)
    model = two_depths([0.83, 0.11, 0.07, -0.13, 0.79, -0.05])
    for name in ("st1", "st2"):
        st = model.get_submodule(name)
        with tinyconv.no_grad():
            st.localisation[3].weight.copy_(Tensor(np.random.default_rng(1).normal(0, 1e-4, (6, 5))))
    assert tinyconv.gradcheck(model, [images(2, 1, 8, 8)], elements=0)


def test_a_step_moves_every_transformer() -> None:
    tinyconv.manual_seed(0)
    model = two_depths()
    optimizer = tinyconv.optim.SGD(model.parameters(), lr=0.1)
    x, labels = images(4, 1, 8, 8), Tensor(np.array([0, 1, 2, 0]))
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    for name in ("st1", "st2"):
        theta = model.get_submodule(name).localisation[3]
        moved = np.abs(theta.bias.detach().numpy() - [1, 0, 0, 0, 1, 0])
        assert moved.min() > 1e-5, name  # all six numbers learn
        assert theta.weight.detach().numpy().any(), name  # and images no longer look alike
    assert losses[-1] < 0.7 * losses[0]


def test_at_the_identity_the_gradient_is_the_one_to_the_right() -> None:
    """Where the paper's formula would give the pixel itself: [2, 5, 11] at 1, shifted, grows by 6, not by 5 or 3."""
    x = Tensor(np.array([2.0, 5.0, 11.0]).reshape(1, 1, 1, 3))
    st = SpatialTransformer(None, out_size=1)
    theta = Tensor(np.array([[1.0, 0, 0, 0, 1, 0]]), requires_grad=True)
    st(x, theta).sum().backward()
    assert theta.grad is not None and theta.grad.numpy()[0, 2] == 6.0  # half of three pixels' 2 intervals is 1


# ------------------------------------------------------------------------------------------ in programs, and in trouble
def test_state_dict_round_trip() -> None:
    first, second = started("tps", 6, 4), started("tps", 6, 4)
    with tinyconv.no_grad():
        for p in first.parameters():
            p.copy_(Tensor(np.random.default_rng(0).normal(0, 0.3, p.shape)))
    x = images(2, 2, 6, 6)
    assert np.abs(first(x).detach().numpy() - second(x).detach().numpy()).max() > 0.01
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(first(x).detach().numpy(), second(x).detach().numpy())


@pytest.mark.parametrize("transform", NUMBERS)
def test_shapes_without_computing(transform: str) -> None:
    where = {"device": "meta"}
    network = nn.Sequential(nn.Flatten(), nn.Linear(2 * 36, NUMBERS[transform], **where))
    found = tinyconv.summary(nn.Sequential(SpatialTransformer(network, transform, 5)), (2, 6, 6))
    shapes = [row.output_shape for row in found.rows if row.kind != "SpatialTransformer"]
    assert shapes == [(72,), (NUMBERS[transform],)]
    whole = SpatialTransformer(network, transform, 5)(tinyconv.zeros(3, 2, 6, 6, device="meta"))
    assert whole.shape == (3, 2, 5, 5)
    assert found.total_params == 73 * NUMBERS[transform]


def test_an_empty_batch() -> None:
    assert started("affine", 6, 4)(images(0, 2, 6, 6)).shape == (0, 2, 4, 4)


@pytest.mark.parametrize("transform", NUMBERS)
def test_a_theta_that_is_no_number_is_seen_in_every_pixel(transform: str) -> None:
    start = np.asarray(TRANSFORMS[transform].start(1.0), float)
    theta = np.stack([start, np.full(len(start), np.nan)])
    found = SpatialTransformer(None, transform)(images(2, 2, 6, 6), Tensor(theta)).numpy()
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).all()


def test_a_diverged_transformer_ends_the_training() -> None:
    tinyconv.manual_seed(0)
    st = SpatialTransformer(look(6, 36, np.float32))
    model = nn.Sequential(st, nn.Flatten(), nn.Linear(36, 3))
    with tinyconv.no_grad():
        st.localisation[3].bias.copy_(Tensor(np.full(6, np.nan, np.float32)))
    dataset = data.ArrayDataset(images(8, 1, 6, 6).numpy().astype(np.float32), np.arange(8) % 3)
    loader = data.DataLoader(dataset, 4)
    optimizer = tinyconv.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(FloatingPointError, match="nan"):
        tinyconv.fit(model, loader, optimizer=optimizer, epochs=1, progress=False)


def test_a_transformer_far_away_sees_black_and_learns_nothing() -> None:
    x = images(1, 2, 6, 6)
    theta = Tensor(np.array([[1.0, 0, 50, 0, 1, 0]]), requires_grad=True)
    found = SpatialTransformer(None)(x, theta)
    found.sum().backward()
    assert not found.detach().numpy().any()
    assert theta.grad is not None and not theta.grad.numpy().any()


LINEAR = nn.Linear(50, 6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SpatialTransformer(LINEAR, "rigid"), "SpatialTransformer: transform must be one of 'affine', "),
        (lambda: SpatialTransformer(LINEAR, out_size=0), "SpatialTransformer: out_size"),
        (lambda: SpatialTransformer(LINEAR, start=(1, 0, 0)), "start must be a scale or 6 numbers for affine, got 3"),
        (lambda: SpatialTransformer(LINEAR, start=math.nan), "start must be finite, got nan"),
        (lambda: SpatialTransformer(LINEAR, start=[1, 0, 0, 0, 1, -math.inf]), "start must be finite, got [1, 0"),
        (lambda: start_with(LINEAR, [math.inf] * 6), "start must be finite, got [inf"),
        (lambda: start_with(LINEAR, ["a"] * 6), "start must be a sequence of numbers, got ['a'"),
        (lambda: start_with(LINEAR, 1.0), "start must be a sequence of numbers, got shape ()"),
        (
            lambda: SpatialTransformer(LINEAR, start=["a"] * 6),
            "start must be a scale or 6 numbers for affine, got ['a'",
        ),
        (lambda: SpatialTransformer(LINEAR, start="0.5"), "start must be a scale or 6 numbers for affine, got '0.5'"),
        (lambda: SpatialTransformer(LINEAR, start=True), "start must be a scale or 6 numbers for affine, got True"),
        (lambda: SpatialTransformer(LINEAR, start=[[1, 0, 0], [0, 1, 0]]), "6 numbers for affine, got shape (2, 3)"),
        (
            lambda: SpatialTransformer(LINEAR, start=[[1, 0, 0], [0, 1]]),
            "6 numbers for affine, got [[1, 0, 0], [0, 1]]",
        ),
        (lambda: SpatialTransformer(None, start=(1, 0)), "start must be a scale or 6 numbers for affine, got 2"),
        (lambda: SpatialTransformer(None, start=math.nan), "start must be finite"),
        (lambda: SpatialTransformer(LINEAR, fixed_scale=0.5), 'fixed_scale is for transform="attention"'),
        *(
            (
                lambda scale=scale: SpatialTransformer(None, "attention", fixed_scale=scale),
                f"SpatialTransformer: fixed_scale must be a finite number, positive, got {scale!r}",
            )
            for scale in ("x", math.nan, math.inf, 0, -0.5, True)
        ),
        (lambda: SpatialTransformer(LINEAR, "tps"), "must have 32 outputs and biases, got 6"),
        (lambda: SpatialTransformer(nn.Linear(9, 6, bias=False)), "6 outputs and biases, got 6 without biases"),
        (lambda: SpatialTransformer(nn.Flatten()), "6 outputs and biases, got none"),
        (lambda: start_with(nn.Sequential(LINEAR, nn.Linear(6, 2)), [0.0]), "1 outputs and biases, got 2"),
    ],
)
def test_a_wrong_layer_says_what_is_wrong(build: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        build()
    assert message in str(error.value) and "\n" not in str(error.value)
    assert LINEAR.weight.detach().numpy().any()  # and changes nothing


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: SpatialTransformer(None)(x), "it has no localisation network; give theta"),
        (
            lambda x: SpatialTransformer(None)(x, Tensor(np.zeros((2, 3)))),
            r"theta must be (N, 6) for affine, got shape",
        ),
        (lambda x: SpatialTransformer(None)(x, Tensor(np.zeros((2, 2, 3)))), "theta must be (N, 6) for affine"),
        (lambda x: SpatialTransformer(look(5, 72), start=None)(x), "mind the last layer of the localisation network"),
        (lambda x: SpatialTransformer(None)(x, Tensor(np.zeros((3, 6)))), "each of 2 images, got 3"),
        (lambda x: SpatialTransformer(None)(x[0], Tensor(np.zeros((2, 6)))), "SpatialTransformer: x must be"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(call: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        call(images(2, 2, 6, 6))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_size_that_is_none() -> None:
    with pytest.raises(TypeError, match="SpatialTransformer: out_size must be an int or a pair"):
        SpatialTransformer(None, out_size=(4, 4, 4))


def test_what_it_says_of_itself() -> None:
    assert repr(SpatialTransformer(None)) == "SpatialTransformer('affine')"
    st = SpatialTransformer(None, "attention", 4, fixed_scale=0.5)
    assert repr(st) == "SpatialTransformer('attention', out_size=(4, 4), fixed_scale=0.5)"
