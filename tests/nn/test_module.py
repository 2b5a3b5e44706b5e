"""Modules: what is registered, walked, saved, loaded, copied, moved and hooked."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, nn
from tinyconv.function import mode


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.gain = nn.Parameter(np.full(3, 2.0, np.float32))
        self.register_buffer("count", tinyconv.zeros(1))
        self.register_buffer("scratch", tinyconv.zeros(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) * self.gain


def net() -> nn.Sequential:
    tinyconv.manual_seed(1)
    return nn.Sequential({"a": Block(), "b": nn.Sequential(nn.ReLU(), nn.Linear(3, 2))})


def test_names() -> None:
    model = net()
    parameters = [name for name, _ in model.named_parameters()]
    assert parameters == ["a.gain", "a.fc.weight", "a.fc.bias", "b.1.weight", "b.1.bias"]
    assert [name for name, _ in model.named_modules()] == ["", "a", "a.fc", "b", "b.0", "b.1"]
    assert [name for name, _ in model.named_buffers()] == ["a.count", "a.scratch"]
    assert [name for name, _ in model.named_children()] == ["a", "b"]
    assert list(model.state_dict()) == ["a.gain", "a.count", "a.fc.weight", "a.fc.bias", "b.1.weight", "b.1.bias"]
    assert model.get_submodule("b.1") is model.b[1]
    with pytest.raises(AttributeError, match=r"no submodule 'c' \(of 'b.c'\); it has: 0, 1"):
        model.get_submodule("b.c")


def test_shared_module_is_listed_once_and_saved_under_both_names() -> None:
    fc = nn.Linear(2, 2)
    model = nn.Sequential(fc, nn.ReLU(), fc)
    assert len(list(model.parameters())) == 2
    assert [name for name, _ in model.named_modules()] == ["", "0", "1"]
    assert "2.weight" in model.state_dict()


def test_attributes() -> None:
    block = Block()
    assert isinstance(block.gain, nn.Parameter)
    assert "fc" in dir(block)
    with pytest.raises(TypeError, match="gain must be a Parameter or None, got ndarray"):
        block.gain = np.ones(3)
    with pytest.raises(TypeError, match="count must be a Tensor"):
        block.count = 3
    block.count = tinyconv.ones(1)
    assert block.state_dict()["count"].item() == 1
    block.fc = None
    assert list(block.children()) == []
    del block.gain
    assert not hasattr(block, "gain")
    with pytest.raises(AttributeError, match="Block has no attribute 'missing'"):
        block.missing  # noqa: B018
    block.fc = nn.Parameter(np.ones(1, np.float32))  # a name may change its kind
    assert [name for name, _ in block.named_parameters()] == ["fc"]


def test_register_errors() -> None:
    block = Block()
    for name in ("", "a.b", 3):
        with pytest.raises(ValueError, match="without dots"):
            block.register_buffer(name, tinyconv.zeros(1))
    with pytest.raises(KeyError, match="already has an attribute 'forward'"):
        block.add_module("forward", nn.ReLU())
    with pytest.raises(TypeError, match="must be a Module, got int"):
        block.add_module("x", 3)
    with pytest.raises(TypeError, match="must be a Parameter or None"):
        block.register_parameter("x", tinyconv.zeros(1))


def test_forgotten_super_init_and_forward() -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            self.fc = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"Lazy: call super\(\).__init__\(\) first"):
        Lazy()

    class Later(nn.Module):
        def __init__(self) -> None:
            pass

    with pytest.raises(AttributeError, match=r"Later: call super"):
        Later()(1)

    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty: define forward"):
        Empty()(1)


def test_load_state_dict_round_trip_and_sharing() -> None:
    a, b = net(), net()
    for p in a.parameters():
        with tinyconv.no_grad():
            p.add_(1.0)
    before = b.a.gain
    assert b.load_state_dict(a.state_dict()) == ([], [])
    assert b.a.gain is before
    for (name, p), q in zip(a.named_parameters(), b.parameters(), strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy(), err_msg=name)
    a.state_dict()["a.gain"].fill_(7.0)
    assert a.a.gain.detach().numpy().tolist() == [7, 7, 7]


def test_load_state_dict_errors_name_the_keys_and_change_nothing() -> None:
    model = net()
    state = {k: v.numpy() * 0 for k, v in model.state_dict().items()}
    del state["a.fc.bias"]
    state["c"] = np.zeros(1)
    with pytest.raises(RuntimeError, match=r"(?s)missing \(1\): a.fc.bias.*unexpected \(1\): c"):
        model.load_state_dict(state)
    assert model.a.gain.detach().numpy().all()
    state["b.1.weight"] = np.zeros((5, 3))
    with pytest.raises(RuntimeError, match=r"wrong shape \(1\): b.1.weight is \(2, 3\) in the model, \(5, 3\) in"):
        model.load_state_dict(state, strict=False)
    assert model.a.gain.detach().numpy().all()
    del state["b.1.weight"]
    found = model.load_state_dict(state, strict=False)
    assert found.missing_keys == ["a.fc.bias", "b.1.weight"]
    assert found.unexpected_keys == ["c"]
    assert not model.a.gain.detach().numpy().any()
    with pytest.raises(TypeError, match="wanted a dictionary"):
        model.load_state_dict([1])
    with pytest.raises(RuntimeError, match="on device .meta."):
        net().to("meta").load_state_dict(state)


def test_load_state_dict_converts_and_guards_saved_tensors() -> None:
    layer = nn.Linear(2, 1, dtype=tinyconv.float64)
    y = layer(tinyconv.ones(1, 2, dtype=tinyconv.float64)) ** 2
    layer.load_state_dict({"weight": np.ones((1, 2), np.float32), "bias": np.zeros(1, np.float32)})
    assert layer.weight.dtype == np.float64
    assert layer.weight.detach().numpy().tolist() == [[1, 1]]
    x = tinyconv.ones(1, 2, dtype=tinyconv.float64, requires_grad=True)
    y = layer(x)
    layer.load_state_dict(layer.state_dict())
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_train_eval_apply_zero_grad_requires_grad() -> None:
    model = net()
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    assert model.train().b.training
    with pytest.raises(TypeError, match="True or False"):
        model.train(3)
    order: list[str] = []
    model.apply(lambda m: order.append(type(m).__name__))
    assert order == ["Linear", "ReLU", "Sequential", "Linear", "Block", "Sequential"]
    model(tinyconv.ones(2, 3)).sum().backward()
    assert model.a.gain.grad is not None
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    model.requires_grad_(False)
    assert not model(tinyconv.ones(2, 3)).requires_grad


def test_to() -> None:
    model = net()
    model(tinyconv.ones(1, 3)).sum().backward()
    version = model.a.gain._version.value
    model.double()
    assert {t.dtype for t in [*model.parameters(), *model.buffers()]} == {np.dtype("float64")}
    assert model.a.gain.grad.dtype == np.float64
    assert model.a.gain._version.value > version
    assert model.to("meta", tinyconv.float32) is model
    assert {(t.device, t.dtype.name) for t in model.parameters()} == {("meta", "float32")}
    assert model(tinyconv.ones(4, 3).to("meta")).shape == (4, 2)
    with pytest.raises(TypeError, match="float32 or float64, got int64"):
        net().to(tinyconv.int64)
    with pytest.raises(RuntimeError, match="no elements"):
        model.to("cpu")
    assert nn.BatchNorm2d(2).double().num_batches_tracked.dtype == np.int64


def test_deepcopy_is_independent() -> None:
    model = net()
    model.shared = model.a.fc
    twin = copy.deepcopy(model)
    assert twin.shared is twin.a.fc
    with tinyconv.no_grad():
        model.a.fc.weight.fill_(0)
    assert twin.a.fc.weight.detach().numpy().any()
    assert isinstance(twin.a.fc.weight, nn.Parameter)
    assert twin.a._transient == {"scratch"}
    with pytest.raises(TypeError, match="cannot be pickled"):
        copy.copy(model.a.gain)


def test_repr() -> None:
    assert repr(net()) == (
        "Sequential(\n  (a): Block(\n    (fc): Linear(in_features=3, out_features=3, bias=True)\n  )\n"
        "  (b): Sequential(\n    (0): ReLU()\n    (1): Linear(in_features=3, out_features=2, bias=True)\n  )\n)"
    )
    assert repr(nn.Parameter(np.ones(1, np.float32))).startswith("Parameter containing:\ntensor([1.]")


def test_forward_hooks() -> None:
    model = net()
    seen = []
    handle = model.a.register_forward_hook(lambda m, args, out: seen.append((m, args[0].shape, out.shape)))
    model(tinyconv.ones(2, 3))
    assert seen == [(model.a, (2, 3), (2, 3))]
    handle.remove()
    handle.remove()
    with model.b.register_forward_hook(lambda m, args, out: out * 0):
        assert not model(tinyconv.ones(2, 3)).detach().numpy().any()
    assert model(tinyconv.ones(2, 3)).detach().numpy().any()
    with model.b.register_forward_pre_hook(lambda m, args: args[0] * 0):
        np.testing.assert_array_equal(model(tinyconv.ones(1, 3)).detach().numpy()[0], model.b[1].bias.detach().numpy())
    with pytest.raises(TypeError, match="wanted a function"):
        model.register_forward_hook(3)
    assert len(seen) == 1


def test_nodes_know_their_module() -> None:
    model = net()
    y = model(tinyconv.ones(1, 3))
    assert y.node.module is model.b[1]
    with pytest.raises(ValueError, match="linear"):
        model(tinyconv.ones(1, 4))
    assert mode.modules == []


def test_full_backward_hook_sees_and_replaces_gradients() -> None:
    model = nn.Sequential(nn.Linear(3, 3, dtype=tinyconv.float64), nn.ReLU(), nn.Linear(3, 2, dtype=tinyconv.float64))
    x = Tensor(np.arange(6.0).reshape(2, 3) - 2.5, requires_grad=True)
    plain = tinyconv.grad(model(x).sum(), x).numpy()
    seen = []

    def hook(module: nn.Module, grad_input: tuple, grad_output: tuple) -> None:
        seen.append((module, grad_input[0].numpy().copy(), grad_output[0].numpy().copy()))

    with model[2].register_full_backward_hook(hook):
        np.testing.assert_array_equal(tinyconv.grad(model(x).sum(), x).numpy(), plain)
    (module, grad_input, grad_output), *rest = seen
    assert not rest
    assert module is model[2]
    np.testing.assert_array_equal(grad_output, np.ones((2, 2)))
    np.testing.assert_allclose(grad_input, np.ones((2, 2)) @ model[2].weight.detach().numpy())
    with model[1].register_full_backward_hook(lambda m, gi, go: (gi[0] * 2,)):  # "guided" variants do this
        np.testing.assert_allclose(tinyconv.grad(model(x).sum(), x).numpy(), 2 * plain)
    with model[1].register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0])):
        with pytest.raises(ValueError, match="wanted 1 gradients"):
            model(x).sum().backward()


def test_a_module_is_no_part_of_itself() -> None:
    outer = nn.Sequential(nn.Sequential())
    for inner in (outer, outer[0]):
        with pytest.raises(ValueError, match="Sequential.up: a module cannot be a part of itself"):
            inner.up = outer
    assert list(outer.state_dict()) == []


def test_full_backward_hook_that_returns_no_tensor() -> None:
    model = nn.Linear(3, 2)
    model.register_full_backward_hook(lambda m, gi, go: 1.0)
    with pytest.raises(TypeError, match="full backward hook of Linear: wanted Tensors or None, got float"):
        model(tinyconv.ones(1, 3, requires_grad=True)).sum().backward()


def test_full_backward_hook_without_input_gradient_and_with_several_inputs() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, n: int, y: Tensor) -> tuple[Tensor, Tensor]:
            return x * n, x * y

    seen = []
    two = Two()
    two.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    x, y = tinyconv.ones(2, requires_grad=True), tinyconv.tensor([5.0, 6.0], requires_grad=True)
    a, b = two(x, 3, y)
    (a + b).sum().backward()
    (grad_input, grad_output) = seen[0]
    assert [None if g is None else g.tolist() for g in grad_input] == [[8, 9], None, [1, 1]]
    assert [g.tolist() for g in grad_output] == [[1, 1], [1, 1]]
    assert x.grad.tolist() == [8, 9]

    fc = nn.Linear(2, 1)
    fc.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    fc(tinyconv.ones(1, 2)).sum().backward()
    assert seen[1][0] == (None,)
    assert fc.weight.grad.tolist() == [[1, 1]]

    class Text(nn.Module):
        def forward(self, x: Tensor) -> dict:
            return {"x": x}

    text = Text()
    text.register_full_backward_hook(lambda *a: None)
    with pytest.raises(TypeError, match="must return a Tensor or a tuple of them, got dict"):
        text(x)


def test_containers() -> None:
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3))
    assert len(model) == 3
    assert isinstance(model[-1], nn.Linear)
    assert [name for name, _ in model[1:].named_children()] == ["1", "2"]
    assert model[1:][0] is model[1]
    model[1] = nn.Tanh()
    assert isinstance(model[1], nn.Tanh)
    assert model.append(nn.ReLU()) is model
    assert len(model) == 4
    with pytest.raises(IndexError, match=r"wanted a number in \[-4, 3\], got 4"):
        model[4]
    part = model[2:].append(nn.Tanh())
    assert [name for name, _ in part.named_children()] == ["2", "3", "4"]
    with pytest.raises(TypeError, match="must be a Module, got int"):
        nn.Sequential(3)

    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    assert [name for name, _ in layers.named_parameters()][::2] == ["0.weight", "1.weight", "2.weight"]
    assert len(layers[1:]) == 2
    assert len(list(layers)) == 3
    with pytest.raises(NotImplementedError, match="loop over its modules"):
        layers(1)


def test_equals_torch_backward_hook() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = nn.Linear(3, 2, dtype=tinyconv.float64), torch.nn.Linear(3, 2, dtype=torch.float64)
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    record: dict[str, list] = {"ours": [], "theirs": []}
    ours.register_full_backward_hook(lambda m, gi, go: record["ours"].append((gi[0].numpy(), go[0].numpy())))
    theirs.register_full_backward_hook(lambda m, gi, go: record["theirs"].append((gi[0].numpy(), go[0].numpy())))
    x = np.arange(6.0).reshape(2, 3)
    a, b = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    (ours(a) ** 2).sum().backward()
    (theirs(b) ** 2).sum().backward()
    for mine, other in zip(record["ours"][0], record["theirs"][0], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12)
