"""Faster R-CNN: counts and anchors at the paper's scale, both losses by hand, proposals, training of the whole."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, gradcheck, optim
from tinyconv.models.faster_rcnn import FasterRCNN, Outputs, faster_rcnn
from tinyconv.vision.anchors import faithful_anchors, grid_anchors
from tinyconv.vision.boxes import box_iou, decode_boxes, encode_boxes
from tinyconv.vision.proposals import ProposalRule
from tinyconv.vision.targets import ImageTargets, pack_targets, unpack_targets

BOXES = np.array([[4.0, 6, 22, 24], [30, 32, 48, 58]])


def small(dtype: type = np.float32, **options: object) -> FasterRCNN:
    tinyconv.manual_seed(0)
    return faster_rcnn(3, scale="lesson", dtype=dtype, **options)


def images(n: int = 1, dtype: type = np.float32, size: int = 64) -> Tensor:
    return Tensor(np.random.default_rng(0).standard_normal((n, 3, size, size)).astype(dtype))


def targets(boxes: np.ndarray = BOXES, n: int = 1) -> Tensor:
    return Tensor(np.repeat(pack_targets((64, 64), boxes, np.arange(len(boxes)))[None], n, 0))


def image(boxes: np.ndarray = BOXES) -> ImageTargets:
    return unpack_targets(targets(boxes).numpy())[0]


def test_the_papers_network() -> None:
    model = faster_rcnn(device="meta")
    region = 512 * 512 * 9 + 512 + 512 * 18 + 18 + 512 * 36 + 36  # 3x3 to 512, then 2 k and 4 k with k = 9
    fast = 14_714_688 + 102_764_544 + 16_781_312 + 4096 * 101 + 101
    assert sum(p.numel() for p in model.parameters()) == fast + region
    outputs = model(tinyconv.zeros(1, 3, 600, 800, device="meta"))
    assert [part.shape for part in outputs] == [(1, 512, 37, 50), (1, 18, 37, 50), (1, 36, 37, 50)]
    zf = faster_rcnn(backbone="zf", device="meta")
    assert zf.rpn_conv.out_channels == 256
    rules = model.regions
    assert (rules.anchors, rules.objects, rules.balance) == (256, 128, 10)
    assert (rules.training, rules.testing) == (ProposalRule(12000, 2000, 0.7, 16), ProposalRule(6000, 300, 0.7, 16))


def test_the_table_says_what_a_region_costs() -> None:
    found = tinyconv.summary(faster_rcnn(device="meta"))
    head = 25088 * 4096 + 4096 * 4096 + 4096 * 21 + 4096 * 80
    assert found.note == f"(not run): the head, once for each region: {head:,} MACs"


def test_anchors_are_the_papers_over_the_whole_map() -> None:
    model = faster_rcnn(device="meta")
    grid = grid_anchors(model.anchors, (40, 60), model.stride)
    assert len(grid) == 21600
    # Corners as pixels, the authors' convention; place (2, 3) is shifted by 32 rows and 48 columns.
    pixels = (grid - [0, 0, 1, 1]).reshape(40, 60, 9, 4)
    np.testing.assert_array_equal(pixels[0, 0], faithful_anchors())
    np.testing.assert_array_equal(pixels[2, 3], faithful_anchors() + [48, 32, 48, 32])


def test_outputs_are_read_in_the_order_of_the_anchors() -> None:
    model = small()
    scores = np.arange(2 * 9 * 3 * 2, dtype=np.float32).reshape(1, 18, 3, 2)
    deltas = np.arange(4 * 9 * 3 * 2, dtype=np.float32).reshape(1, 36, 3, 2)
    a, row, column = 4, 2, 1
    place = (row * 2 + column) * 9 + a
    pair = model._rows(Tensor(scores), 2).numpy()[0, place]
    assert pair.tolist() == [scores[0, a, row, column], scores[0, 9 + a, row, column]]
    four = model._rows(Tensor(deltas), 4).numpy()[0, place]
    assert four.tolist() == deltas[0, 4 * a : 4 * a + 4, row, column].tolist()


def test_the_region_loss_by_hand() -> None:
    """A network that says nothing about objects: ln 2; boxes off by what the targets are."""
    model = small().eval()
    flat = Outputs(
        Tensor(np.zeros((1, 32, 16, 16))), Tensor(np.zeros((1, 18, 16, 16))), Tensor(np.zeros((1, 36, 16, 16)))
    )
    none = model.regions_loss(flat, [image(np.zeros((0, 4)))])
    assert float(none.item()) == pytest.approx(math.log(2))
    # An object halfway between two anchors of 26 x 26, the only ones that overlap it by 0.7 and more.
    anchors = grid_anchors(model.anchors, (16, 16), 4)
    box = anchors[(8 * 16 + 7) * 9 + 5] + [2, 0, 2, 0]
    assert (box_iou(anchors, box[None]) >= 0.7).sum() == 2
    deltas = np.zeros((1, 36, 16, 16))
    wanted = encode_boxes(anchors, box[None]) / np.array(model.regions.std)
    deltas[0] = wanted.reshape(16, 16, 36).transpose(2, 0, 1)
    right = model.regions_loss(flat._replace(deltas=Tensor(deltas)), [image(box[None])])
    assert float(right.item()) == pytest.approx(math.log(2))
    # Off by 3 in x for every anchor: smooth L1 gives 2.5 for each of the two objects, over 256 places.
    deltas[0, ::4] += 3
    off = model.regions_loss(flat._replace(deltas=Tensor(deltas)), [image(box[None])])
    assert float(off.item()) == pytest.approx(math.log(2) + 4 / 256 * 2.5 * 2)


def test_two_images_weigh_as_much_as_one() -> None:
    """Flat scores give ln 2 whatever is sampled, and every object is off by the same."""
    model = small(np.float64).eval()
    anchors = grid_anchors(model.anchors, (16, 16), 4)
    boxes = anchors[[(8 * 16 + 7) * 9 + 5, (3 * 16 + 3) * 9 + 4]]
    deltas = encode_boxes(anchors[:, None], boxes) / np.array(model.regions.std)
    near = box_iou(anchors, boxes).argmax(1)
    truth = deltas[np.arange(len(anchors)), near].reshape(1, 16, 16, 36).transpose(0, 3, 1, 2) + 3  # in all four
    flat = [np.zeros((1, channels, 16, 16)) for channels in (32, 18)]
    one, two = (Outputs(*(Tensor(np.repeat(part, n, 0)) for part in (*flat, truth))) for n in (1, 2))
    alone = float(model.regions_loss(one, [image(boxes)]).item())
    # The 26 x 26 box: its anchor and four neighbours, shifted by 4, with 22 / 30; the 18 x 18 box: its anchor alone.
    assert alone == pytest.approx(math.log(2) + 4 / 256 * 6 * 4 * 2.5)
    assert float(model.regions_loss(two, [image(boxes)] * 2).item()) == pytest.approx(alone)


def test_proposals_lie_where_the_deltas_say() -> None:
    model = small().eval()
    scores, deltas = np.zeros((1, 18, 16, 16), np.float32), np.zeros((1, 36, 16, 16), np.float32)
    a, row, column = 4, 8, 5
    scores[0, 9 + a, row, column] = 5  # "object"
    deltas[0, 4 * a : 4 * a + 4, row, column] = [1, -2, 0.5, 0]
    outputs = Outputs(Tensor(np.zeros((1, 32, 16, 16), np.float32)), Tensor(scores), Tensor(deltas))
    boxes, rated = model.proposals(outputs, [(64, 64)])[0]
    anchor = grid_anchors(model.anchors, (16, 16), 4)[(row * 16 + column) * 9 + a]
    np.testing.assert_allclose(boxes[0], decode_boxes(anchor, np.array([0.1, -0.2, 0.1, 0])), rtol=1e-5)
    assert rated[0] == 5 and len(boxes) == model.regions.testing.after == 20
    assert len(model.proposals(outputs, [(64, 64)], model.regions.testing.with_count(7))[0][0]) == 7
    # In an image that is smaller than the padded batch nothing lies in the padding.
    assert model.proposals(outputs, [(64, 40)])[0][0][:, 2].max() <= 40
    assert len(model.train().proposals(outputs, [(64, 64)])[0][0]) == model.regions.training.after == 100


def test_the_gradient_of_the_region_network() -> None:
    model, x = small(np.float64).eval(), images(dtype=np.float64)

    def loss(weight: Tensor, score: Tensor, delta: Tensor) -> Tensor:
        for name, value in zip(names, (weight, score, delta), strict=True):
            model.get_submodule(name)._parameters["weight"] = value
        return model.regions_loss(model(x), [image()])

    names = ("backbone.conv3", "rpn_score", "rpn_delta")
    gradcheck(loss, [model.get_submodule(name).weight.detach().numpy().copy() for name in names], rtol=1e-4)


def test_joint_training_reaches_every_weight_and_learns() -> None:
    model = small()
    optimizer = optim.Adam(model.parameters(), 2e-3)
    x, wanted = images(2), targets(n=2)
    losses = []
    for step in range(25):
        with tinyconv.random.training_step(step, [0, 1]):
            loss = model.loss(model(x), wanted)
        optimizer.zero_grad()
        loss.backward()
        if not step:
            assert all(p.grad is not None and np.abs(p.grad.numpy()).max() > 0 for p in model.parameters())
        optimizer.step()
        losses.append(float(loss.item()))
    assert losses[-1] < 0.5 * losses[0]


def test_a_step_is_the_same_again_and_another_one_is_not() -> None:
    def loss(step: int) -> float:
        with tinyconv.random.training_step(step, [5, 9]):
            return float(model.loss(outputs, targets(n=2)).item())

    model = small()
    outputs = model(images(2))
    assert loss(3) == loss(3) != loss(4)
    model.eval()
    assert float(model.loss(outputs, targets(n=2)).item()) == float(model.loss(outputs, targets(n=2)).item())


def test_an_object_that_is_none_of_the_anchors() -> None:
    """One of 3 x 60 pixels: the best anchor learns from it however little it overlaps."""
    model = small()
    thin = image(np.array([[20.0, 2, 23, 62]]))
    assert math.isfinite(float(model.regions_loss(model(images()), [thin]).item()))
    for boxes in (np.zeros((0, 4)), np.array([[20.0, 2, 23, 62]])):
        value = model.loss(model(images()), targets(boxes))
        assert math.isfinite(float(value.item()))


def test_images_without_room_for_an_anchor() -> None:
    model = small()
    tiny = Tensor(pack_targets((8, 8), np.zeros((0, 4)), np.zeros(0, int))[None])
    with pytest.raises(ValueError, match=r"FasterRCNN: wanted anchors inside the image, got none in \(8, 8\) pixels"):
        model.loss(model(images(size=8)), tiny)
    assert len(model.detect(images(size=8).numpy()[0], least=0.99)) == 3  # in use it clips


@pytest.mark.parametrize("layer", ["backbone.conv1", "rpn_score", "rpn_delta"])
def test_nan_weights_are_noticed(layer: str) -> None:
    model = small().eval()
    model.get_submodule(layer).weight.data[...] = np.nan
    with pytest.raises(ValueError, match="got NaN: the network has diverged"):
        model.detect(images().numpy()[0])


def test_what_the_builder_refuses() -> None:
    for arguments, message in (
        ({"sizes": 16}, "faster_rcnn: sizes must be a tuple of one or more numbers, got 16"),
        ({"ratios": ()}, "faster_rcnn: ratios must be a tuple of one or more numbers"),
        ({"sizes": (-3,)}, "wanted one or more sizes and ratios, all above 0"),
        ({"pooling": "mean"}, "faster_rcnn: pooling must be"),
    ):
        with pytest.raises(ValueError, match=message):
            faster_rcnn(device="meta", scale="lesson", **arguments)


STEP = """
import resource, numpy as np, tinyconv
from tinyconv.vision.targets import pack_targets
model = tinyconv.models.faster_rcnn()
image = np.random.default_rng(0).standard_normal((3, 600, 800)).astype(np.float32)
classify, looked_at = model.classify, []
model.classify = lambda maps, boxes: (looked_at.append(len(boxes[0])), classify(maps, boxes))[1]
found = model.detect(image, least=0.0)
assert looked_at == [300] and len(found.boxes) > 0, looked_at
boxes = np.array([[100.0, 100, 300, 400], [350, 50, 700, 580]])
targets = tinyconv.Tensor(pack_targets((600, 800), boxes, np.array([3, 7]))[None])
optimizer = tinyconv.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
model.train()
loss = model.loss(model(tinyconv.Tensor(image[None])), targets)
loss.backward()
optimizer.step()
print(loss.item(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_the_papers_network_runs_and_takes_a_step_in_12_gib() -> None:
    """VGG-16, an image of 600 x 800, 300 proposals; then one training step."""
    run = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=True)
    loss, kib = map(float, run.stdout.split())
    assert math.isfinite(loss)
    assert kib / 2**20 < 12
