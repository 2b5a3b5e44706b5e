"""Files that PyTorch writes, in both formats: the same tensors, and the same logits of torchvision's networks.

The networks are built here, from torch.nn with torchvision's names of parts and layers, so torchvision is not needed.
"""

from __future__ import annotations

import gc

import numpy as np
import pytest

from tinyconv import Tensor, models, no_grad, weights

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'tinyconv[parity]'")

FORMATS = {"zip": True, "legacy": False}
# torchvision's own way of writing table 1 of the paper; M is a pool.
VGG = {
    "A": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "B": (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "D": (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
    "E": (64, 64, "M", 128, 128, "M", *(256,) * 4, "M", *(512,) * 4, "M", *(512,) * 4, "M"),
}


def network(features, pool, classifier):
    """Return a module of PyTorch with torchvision's three parts."""
    parts = {"features": features, "avgpool": torch.nn.AdaptiveAvgPool2d(pool), "flatten": torch.nn.Flatten()}
    made = torch.nn.Sequential()
    for name, part in {**parts, "classifier": classifier}.items():
        made.add_module(name, part)
    return made.eval()


def torch_vgg(config, width=1.0, classes=1000, norm=False):
    """Return torchvision's VGG with random weights that keep the activations' size."""
    nn, layers, channels = torch.nn, [], 3
    for item in VGG[config]:
        if item == "M":
            layers.append(nn.MaxPool2d(2, 2))
            continue
        out = round(item * width)
        layers += [nn.Conv2d(channels, out, 3, padding=1), *[nn.BatchNorm2d(out)] * norm, nn.ReLU()]
        channels = out
    hidden = round(4096 * width)
    sizes = (channels * 49, hidden), (hidden, hidden), (hidden, classes)
    full = [nn.Linear(*size) for size in sizes]
    classifier = nn.Sequential(full[0], nn.ReLU(), nn.Dropout(), full[1], nn.ReLU(), nn.Dropout(), full[2])
    return network(nn.Sequential(*layers), 7, classifier)


def torch_alexnet(width=1.0, classes=1000):
    """Return torchvision's AlexNet."""
    nn = torch.nn
    a, b, c, d = (round(n * width) for n in (64, 192, 384, 256))
    features = nn.Sequential(
        nn.Conv2d(3, a, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(a, b, 5, padding=2), nn.ReLU(),
        nn.MaxPool2d(3, 2), nn.Conv2d(b, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, d, 3, padding=1), nn.ReLU(),
        nn.Conv2d(d, d, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    hidden = round(4096 * width)
    full = nn.Linear(d * 36, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, classes)
    classifier = nn.Sequential(nn.Dropout(), full[0], nn.ReLU(), nn.Dropout(), full[1], nn.ReLU(), full[2])
    return network(features, 6, classifier)


def randomise(module):
    """Give every layer weights with which activations neither grow nor vanish, and statistics to normalise by."""
    for layer in module.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(layer.weight)
            torch.nn.init.normal_(layer.bias)
        if isinstance(layer, torch.nn.BatchNorm2d):
            for tensor in (layer.weight.data, layer.running_var):
                tensor.uniform_(0.5, 2)
            for tensor in (layer.bias.data, layer.running_mean):
                tensor.uniform_(-0.5, 0.5)


def check_logits(theirs, ours, path, zipped):
    """Save PyTorch's network, load it into ours, and compare what both say about one image."""
    torch.save(theirs.state_dict(), path, _use_new_zipfile_serialization=zipped)
    weights.load_torchvision(ours, path).eval()
    image = np.random.default_rng(0).standard_normal((1, *ours.input_shape), np.float32)
    with torch.no_grad(), no_grad():
        wanted, found = theirs(torch.from_numpy(image)).numpy(), ours(Tensor(image)).numpy()
    assert wanted.std() > 0.1  # else nothing is compared
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * abs(wanted).max())


@pytest.mark.parametrize("zipped", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("kind", ["alexnet", "A", "A+", "B", "D", "D+", "E"])
def test_narrow_networks_give_the_same_logits(kind, zipped, tmp_path):
    torch.manual_seed(0)
    width, classes = 1 / 16, 7
    if kind == "alexnet":
        theirs = torch_alexnet(width, classes)
        ours = models.alexnet(classes, variant="torchvision", width=width)
    else:
        config, norm = kind.rstrip("+"), kind.endswith("+")
        theirs = torch_vgg(config, width, classes, norm)
        ours = models.vgg(classes, config=config, batch_norm=norm, width=width)
    randomise(theirs)
    check_logits(theirs, ours, tmp_path / "net.pth", zipped)


@pytest.mark.slow
def test_vgg_11_16_19_and_alexnet_at_the_papers_size(tmp_path):
    made = {
        "A": (lambda: torch_vgg("A"), lambda: models.vgg(config="A")),
        "D": (lambda: torch_vgg("D"), lambda: models.vgg(config="D")),
        "E": (lambda: torch_vgg("E"), lambda: models.vgg(config="E")),
        "alexnet": (torch_alexnet, lambda: models.alexnet(variant="torchvision")),
    }
    for i, (theirs, ours) in enumerate(made.values()):
        torch.manual_seed(i)
        module = theirs()
        randomise(module)
        check_logits(module, ours(), tmp_path / "net.pth", zipped=i % 2 == 0)
        del module
        gc.collect()  # half a gigabyte each


@pytest.mark.parametrize("zipped", FORMATS.values(), ids=FORMATS)
def test_tensors_of_every_type_and_stride_are_those_that_pytorch_reads(zipped, tmp_path):
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(4, 6, generator=generator)
    state = {
        "plain": base, "turned": base.T, "part": base[1:3, ::2], "row": base[2], "expanded": base[:, :1].expand(4, 5),
        "half": base.half(), "bfloat16": base.bfloat16(), "double": base.double(), "long": (base * 9).long(),
        "int": (base * 9).int(), "short": (base * 9).short(), "char": (base * 9).to(torch.int8),
        "byte": (base.abs() * 9).byte(), "bool": base > 0, "scalar": torch.tensor(3), "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base[:, 1]), "permuted": base.reshape(2, 3, 4).permute(2, 0, 1),
    }  # fmt: skip
    path = tmp_path / "state.pth"
    for stored in (state, {"state_dict": state, "epoch": 3, "loss": 0.5, "name": "run"}):
        torch.save(stored, path, _use_new_zipfile_serialization=zipped)
        found = weights.read(path)
        assert list(found) == list(state)
        for name, tensor in state.items():
            wanted = tensor.detach()
            wanted = (wanted.float() if wanted.dtype in (torch.half, torch.bfloat16) else wanted).numpy()
            assert found[name].dtype == wanted.dtype and np.array_equal(found[name], wanted), name
        assert np.shares_memory(found["plain"], found["row"])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_that_pytorch_can_be_told_to_use(protocol, tmp_path):
    torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "a.pth", pickle_protocol=protocol)
    assert [array.shape for array in weights.read(tmp_path / "a.pth").values()] == [(3, 2), (3,)]


def test_a_pickled_module_is_refused_by_its_name(tmp_path):
    torch.save(torch.nn.Linear(2, 3), tmp_path / "a.pth")
    with pytest.raises(weights.WeightsError, match=r"asks for 'torch\.nn\.modules\.linear\.Linear'"):
        weights.read(tmp_path / "a.pth")
