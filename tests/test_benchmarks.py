"""The benchmark's own machinery, at tiny sizes: what it measures is in BENCHMARKS.md, and no test depends on a time."""

from __future__ import annotations

import importlib
import platform
import re

import numpy as np
import pytest

import tinyconv
from benchmarks import command, engines, isa, layers, limit, machine, report, store, tables, timing
from tinyconv import functional as F
from tinyconv import nn

TINY = [layers.Layer("tiny", "a", 2, 4, 6, 3, 2, 1, 9, 2), layers.Layer("tiny", "rgb", 1, 3, 4, 5, 1, 2, 7)]
RULE = timing.Rule(rounds=2, block=0.0, pause=0.0)
MACHINE = {"processor": "p", "cores": 2, "caches": "L1d 1K", "versions": {"numpy": "2"}, "hash of kernels": "k1"}


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed: the comparison with it is not tested")


# ------------------------------------------------------------------------------------------------------------- layers


def test_layers_have_names_of_their_own_and_the_papers_sizes():
    found = {layer.key: layer for layer in layers.LAYERS}
    assert len(found) == len(layers.LAYERS)
    assert found["alexnet.conv1"].out == 55
    assert found["alexnet.conv1"].flop == 16 * 2 * 105_415_200  # 55^2 positions, 96 filters of 11 x 11 x 3
    assert found["alexnet.conv2-g2"].flop * 2 == found["alexnet.conv2"].flop
    assert all(layer.out == layer.side for layer in layers.choose(["vgg", "googlenet", "cifar"]))


def test_choose_takes_networks_and_layers_and_lists_what_there_is():
    assert [layer.key for layer in layers.choose(["conv3_2", "cifar.16@32"])] == ["vgg.conv3_2", "cifar.16@32"]
    with pytest.raises(engines.BenchmarkError, match="wanted alexnet, zfnet, vgg.*got 'vgg19'"):
        layers.choose(["vgg19"])


# ------------------------------------------------------------------------------------------------------------- timing


def test_compare_takes_turns_and_gives_quartiles(monkeypatch):
    clock, calls = [0.0], []

    def spend(name, seconds):
        def call():
            clock[0] += seconds
            calls.append(name)

        return call

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: calls.append("pause"))
    found = timing.compare(spend("a", 1 / 32), spend("b", 1 / 64), timing.Rule(rounds=3, block=1 / 32, pause=1.0))
    assert found == {"ours": [0.03125] * 3, "torch": [0.015625] * 3, "ratio": [2.0] * 3}
    a, b = ["pause", "a", "a"], ["pause", "b", "b", "b"]  # an untimed call, then a block of 1/32 s
    assert calls[-3 * 7 :] == [*b, *a, *a, *b, *b, *a]


def test_the_loop_of_the_limit_computes_what_it_says():
    loop = limit._loop(3, 16)
    sums = limit.njit(lambda turns, a, b: loop(turns, a, b))
    expected = sum((0.5 * (0.5 * (i * 1.0) + 0.25) + 0.25) * 4 for i in (0.25, 0.5, 0.75))
    assert sums(2, np.float32(0.5), np.float32(0.25)) == pytest.approx(expected)


def test_equal_results_only():
    engines.check_equal("x", [np.ones(3)], [np.ones(3)])
    with pytest.raises(engines.BenchmarkError, match="x: result 0 differs from PyTorch's by 5.0e-01"):
        engines.check_equal("x", [np.array([1.0, 1.0])], [np.array([2.0, 1.0])])
    with pytest.raises(engines.BenchmarkError, match="differs"):
        engines.check_equal("x", [np.array([np.nan])], [np.array([2.0])])
    with pytest.raises(engines.BenchmarkError, match="shape"):
        engines.check_equal("x", [np.ones(3)], [np.ones(2)])


# ------------------------------------------------------------------------------------------- results and BENCHMARKS.md


def rows_of_everything():
    times = {"ours": [0.9, 1.0, 1.1], "torch": [1.9, 2.0, 2.1], "ratio": [0.4, 0.5, 0.6]}
    conv = [
        {"layer": layer, "direction": d, "threads": t, "flop": 10**9, **times}
        for layer in ("vgg.conv3_2", "alexnet.conv1", "alexnet.conv2-g2")
        for d in layers.DIRECTIONS
        for t in (1, 2)
    ]
    accuracy = [
        {"layer": "vgg.conv3_2", "direction": d, "ours": 9e-6, "direct": e, "torch": 1e-6, "winograd": d == "forward"}
        for d, e in zip(layers.DIRECTIONS, (3e-6, 2e-6, 1e-6), strict=True)
    ]
    return {
        "limit": [{"threads": t, "flops": 1e10 * t, "copy": 1e9} for t in (1, 2)],
        "conv": conv,
        "ops": [
            {"op": "slow", "threads": 1, "goal": 0.4, **times},
            {"op": "free", "threads": 1, "goal": None, **times},
        ],
        "networks": [{"network": "lenet5", "threads": 1, "batch": 8, **times}],
        "forward": [{"network": "vgg16", "threads": 1, "batch": 2, **times}],
        "memory": [{"network": "lenet5", "batch": 8, "ours": 10**8, "torch": 10**8}],
        "accuracy": accuracy,
        "startup": [{"what": "import", "network": "", "ours": 0.7, "torch": None}],
    }


def test_the_report_has_every_part_and_judges_every_goal():
    text = report.render([{"isa": "native", "machine": MACHINE, "parts": rows_of_everything()}])
    for line in (
        "- convolution, geometric mean of 2 layers: 0.50; wanted at most 0.9: reached",
        "- convolution, geometric mean of VGG's 1: 0.50; wanted at most 0.75: reached",
        "- slow: 0.50; wanted at most 0.4: **not reached**",
        # judged where Winograd's algorithm runs too
        "- rounding of the direct kernels over PyTorch's, worst (vgg.conv3_2 forward): 3.00; wanted at most 2: "
        "**not reached**",
        "- rounding of Winograd's algorithm, worst (vgg.conv3_2 forward): 9.0e-06; wanted at most 3e-05: reached",
        "- training step, LeNet-5: 0.50; wanted at most 0.85: reached",
        "- import, median of 5 processes, seconds: 0.70; wanted at most 0.6: **not reached**",
        "- peak memory, LeNet-5: 1.00; wanted at most 1.1: reached",
        "- versions: numpy 2",
        "### Convolution layers, 2 threads",
        "### Networks, 1 thread",
        "### Networks, forward only, 1 thread",
    ):
        assert line in text.splitlines()
    assert "10 %" in text  # 1 GFLOP in 1 s, of 10 GFLOP/s
    assert text.index("alexnet.conv1") < text.index("| vgg.conv3_2")  # in the order of the layers


def test_new_rows_replace_old_ones_and_other_versions_drop_all(tmp_path):
    results = store.load("native", MACHINE["processor"], tmp_path)
    rows = [{"op": "a", "threads": t, "ratio": [1, 1, 1]} for t in (1, 2)]
    assert store.merge(results, "ops", ("op", "threads"), rows, MACHINE) == ""
    again = {**rows[1], "ratio": [2, 2, 2]}
    assert store.merge(results, "ops", ("op", "threads"), [again], {**MACHINE, "hash of kernels": "k2"}) == ""
    store.save(results, tmp_path)
    kept = store.load("native", MACHINE["processor"], tmp_path)
    assert kept == results
    assert [(row["ratio"][1], row["kernels"]) for row in kept["parts"]["ops"]] == [(1, "k1"), (2, "k2")]
    message = store.merge(kept, "limit", ("threads",), [{"threads": 1}], {**MACHINE, "versions": {"numpy": "3"}})
    assert "dropped" in message and list(kept["parts"]) == ["limit"]


def test_results_of_several_processors_stay_beside_each_other(tmp_path):
    for processor in ("Intel(R) Xeon(R) CPU @ 2.20GHz", "AMD EPYC"):
        for name in ("avx2", "native"):
            results = store.load(name, processor, tmp_path)
            assert results["parts"] == {}
            here = {**MACHINE, "processor": processor}
            assert store.merge(results, "limit", ("threads",), [{"threads": 1}], here) == ""
            store.save(results, tmp_path)
    xeon = "intel-xeon-2-20ghz.json"
    names = ["avx2-amd-epyc.json", f"avx2-{xeon}", "native-amd-epyc.json", f"native-{xeon}"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    found = [(result["isa"], result["machine"]["processor"][:3]) for result in store.load_all(isa.TITLES, tmp_path)]
    assert found == [("native", "AMD"), ("native", "Int"), ("avx2", "AMD"), ("avx2", "Int")]


def test_benchmarks_md_is_what_the_results_say():
    found = store.load_all(isa.TITLES)
    if not found:
        pytest.skip("no results in tests/benchmarks/results yet")
    assert report.FILE.read_text(encoding="utf-8") == report.render(found), "run: python -m tests.benchmarks --render"


def test_figures():
    assert [tables.figures(v) for v in (0.012345, 1.2345, 12.345, 1234.5, 0)] == ["0.0123", "1.23", "12.3", "1234", "0"]
    assert tables.geometric_mean([2, 0.5]) == pytest.approx(1)


def test_the_machine_is_described_without_names_and_paths():
    pytest.importorskip("torch", reason="PyTorch is not installed: its pools are not listed")
    text = report.machine(machine.describe())
    assert not re.search(rf"\b{re.escape(platform.node())}\b", text) and "/" not in text.replace("GNU/Linux", "")
    assert "- versions: Python" in text and "kernels: Python threads" in text


# ------------------------------------------------------------------------------------------------------- command line


def test_errors_are_one_line(monkeypatch, capsys):
    def import_module(name):
        if name == "torch":
            raise ImportError(name)
        return real(name)

    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", import_module)
    assert command.main(["--only", "conv"]) == 1
    assert capsys.readouterr().err == "benchmarks: PyTorch is not installed; run `make bench`, or `pip install torch`\n"


def test_an_unknown_layer_and_too_many_threads_are_one_line(torch, capsys):
    for arguments in (["--layers", "vgg19"], ["--networks", "vgg19"], ["--threads", "999", "--only", "limit"]):
        assert command.main([*arguments, "--quick"]) == 1
        last = capsys.readouterr().err.strip().splitlines()[-1]
        assert arguments[0] in last and "wanted" in last and arguments[1] in last


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="narrower vectors: x86 only")
def test_hidden_vectors_are_hidden_from_every_library():
    for name, width in (("avx2", 32), ("sse", 16)):
        try:
            variables = isa.environment(name)
        except engines.BenchmarkError as error:
            pytest.skip(str(error))
        shown = [f[1:] for f in variables["NUMBA_CPU_FEATURES"].split(",") if f[0] == "+"]
        assert not [f for f in shown if f.startswith("avx512" if width == 32 else "avx")]
        assert {"ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE"} <= set(variables)


# ------------------------------------------------------------------------------------------------------- with PyTorch


def test_rows_of_layers(torch):
    from benchmarks import accuracy, conv

    rows = list(conv.measure(TINY, [1], RULE))
    assert [(r["layer"], r["direction"]) for r in rows] == [(t.key, d) for t in TINY for d in layers.DIRECTIONS]
    assert all(r["ours"][1] > 0 < r["torch"][1] for r in rows)
    assert all(r["ours"] < 1e-5 and r["torch"] < 1e-5 for r in accuracy.measure(TINY))


def test_rows_of_operations(torch, monkeypatch):
    from benchmarks import ops

    # The same operations, every axis at most 7 long; a linear layer's sizes stay such that they fit together.
    def small(shape):
        if shape[:1] == ("turned",):
            return *shape[:2], *(min(n, 7) for n in shape[2:])
        return (
            (*shape[:1], *(min(n, 7) for n in shape[1:])) if "classes" in shape[:1] else tuple(min(n, 7) for n in shape)
        )

    tiny = [
        op._replace(
            inputs=tuple(map(small, op.inputs)),
            constants=tuple((*s[:1], 7, 7) if s[:1] == ("classes",) else small(s) for s in op.constants),
        )
        for op in ops.OPS
    ]
    monkeypatch.setattr(ops, "OPS", tiny)
    monkeypatch.setattr(ops, "optimizer_pair", lambda name, make=ops.optimizer_pair: make(name, [(3, 4), (5,)]))
    rows = list(ops.measure([1], RULE))
    assert len(rows) == len(ops.OPS) + len(ops.OPTIMIZERS)


class Block(nn.Module):
    """A module with a forward, a helper and a default of its own, as those of GoogLeNet and ResNet."""

    def __init__(self):
        super().__init__()
        self.norm, self.branches = (
            nn.BatchNorm2d(4),
            nn.ModuleList([nn.Conv2d(4, 4, 1, bias=False), nn.MaxPool2d(3, 1, 1)]),
        )
        self.scale = nn.Parameter(np.full(1, 0.5, np.float32))
        self.shift = 2.0

    def join(self, parts, dim=1):
        return F.cat(parts, dim)

    def forward(self, x):
        branches = [F.relu(branch(x)) for branch in self.branches]
        return self.join(branches)[:, :4] * self.scale + self.norm(x) + self.shift


@pytest.mark.parametrize(
    "make",
    [
        lambda: tinyconv.models.build("lenet5", output="scores"),
        lambda: tinyconv.models.build("alexnet", num_classes=10, scale="lesson", in_channels=1),
        lambda: tinyconv.models.build("alexnet", width=0.05, num_classes=10),
        lambda: tinyconv.models.build("alexnet", width=0.05, num_classes=10, variant="torchvision"),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    ],
    ids=["lenet5", "lesson", "paper", "torchvision", "own forward"],
)
def test_twins_have_the_same_outputs_and_gradients(torch, make, rng):
    from benchmarks.twin import twin

    model = make().eval()
    module = twin(model)
    shape = (2, *(model.input_shape or (3, 8, 8)))
    images = rng.standard_normal(shape).astype(np.float32)
    y, other = model(tinyconv.tensor(images)), module(torch.from_numpy(images))
    engines.check_equal("outputs", [y.data], [other.detach()], 1e-4)
    y.sum().backward()
    other.sum().backward()
    names = dict(module.named_parameters())
    assert set(names) == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        engines.check_equal(name, [parameter.grad.data], [names[name].grad], 1e-3)


def test_rows_of_networks(torch, monkeypatch):
    from benchmarks import networks

    small = networks.Network("small", "Small", 4, "alexnet", {"num_classes": 10, "scale": "lesson", "width": 0.1})
    rows = list(networks.measure([small], [1], RULE))
    assert [(row["network"], row["batch"]) for row in rows] == [("small", 4)]
    rows = list(networks.measure([small], [1], RULE, training=False))
    assert [(row["network"], row["batch"]) for row in rows] == [("small", 4)]
    with pytest.raises(engines.BenchmarkError, match="wanted lenet5, .*got 'vgg99'"):
        networks.choose(["vgg99"])


def test_the_forward_pass_is_that_of_testing_and_the_same_by_both(torch):
    """Dropout is off, and nothing is remembered for a backward pass."""
    from benchmarks import networks, twin

    small = networks.Network("small", "Small", 4, "zfnet", {"num_classes": 10, "scale": "lesson", "width": 0.1})
    model = networks.build(small)
    data = networks.batch(model, 4)
    ours, theirs = networks.our_forward(model, data), networks.their_forward(twin.twin(model), data)
    assert ours() == ours() == pytest.approx(theirs(), rel=1e-4)
    assert not model.training


@pytest.mark.slow
def test_a_network_of_its_own_process(torch):
    from benchmarks import child

    for engine in ("tinyconv", "torch"):
        found = child.ask(engine, "lenet5")
        assert found["peak"] > 0 and found["first"] >= 0 < found["later"]
    with pytest.raises(engines.BenchmarkError, match="torch on vgg99 failed: .*wanted lenet5"):
        child.ask("torch", "vgg99")


def test_the_kernels_choice_of_an_algorithm_is_seen(torch):
    """A large 3x3 convolution takes Winograd's algorithm, and one with stride 2 does not."""
    from benchmarks import accuracy

    large = layers.Layer("tiny", "large", 4, 64, 64, 3, 1, 1, 24)
    rows = list(accuracy.measure([TINY[0], large]))
    assert [row["winograd"] for row in rows[:4]] == [False, False, False, True]
    assert all((row["ours"] != row["direct"]) <= row["winograd"] for row in rows)
