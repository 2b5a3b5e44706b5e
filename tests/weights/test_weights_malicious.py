"""Pickles that would run code are refused by the name they ask for, and nothing of them runs.

Each is put wherever a file has a pickle. The positive control runs one of them with Python's own unpickler.
"""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import struct
import sys

import pytest

import weights_tools as tools
from tinyconv import weights
from tinyconv.weights import WeightsError
from tinyconv.weights.numpy_pickle import read_arrays
from tinyconv.weights.problem import UnreadableError
from tinyconv.weights.torch_file import TABLE
from tinyconv.weights.unpickle import unpickle

together = tools.together
SIX = struct.pack("<6f", 1, 2, 3, 4, 5, 6)


class Runs:
    """A value whose pickle calls a function when it is read."""

    def __init__(self, function, *arguments, state=None):
        self.made = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.made


class Stated:
    """A value to which a state is given."""

    def __setstate__(self, state):
        raise AssertionError("a state was given")


def short(value):
    """Push a text, as protocol 4 does."""
    return b"\x8c" + bytes([len(value)]) + value.encode()


def pickles(marker):
    """Return {title: (pickle of a value that would make the file ``marker``, what the message must name)}."""
    command = f"echo made > {marker}"
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    touch = tools.text(command)
    tensor = tools.tensor(tools.storage("0"))
    evil = tools.call(tools.name("os", "system"), touch)
    getter = tools.call(tools.name("builtins", "getattr"), tools.name("os", "path"), tools.text("os"))
    return {
        "reduce": (pickle.dumps(Runs(os.system, command), 2), f"{os.system.__module__}.system"),
        "protocol 4": (pickle.dumps(Runs(os.system, command), 4), f"{os.system.__module__}.system"),
        "protocol 0": (pickle.dumps(Runs(os.system, command), 0), f"{os.system.__module__}.system"),
        "eval": (pickle.dumps(Runs(eval, code), 2), "eval"),
        "exec": (pickle.dumps(Runs(exec, code), 5), "builtins.exec"),
        "getattr": (tools.plain(tools.call(getter, touch)), "builtins.getattr"),
        "global": (tools.plain(evil), "os.system"),
        "inst": (b"(" + touch + b"ios\nsystem\n.", "os.system"),
        "obj": (tools.plain(b"(" + tools.name("os", "system") + touch + b"o"), "os.system"),
        "newobj": (tools.plain(tools.name("subprocess", "Popen") + together(touch) + b"\x81"), "subprocess.Popen"),
        "dots": (
            b"\x80\x04" + short("torch") + short("os.system") + b"\x93" + together(touch) + b"R.",
            "torch.os.system",
        ),
        "dots of an allowed name": (
            tools.plain(tools.call(tools.name("torch._utils", "_rebuild_tensor_v2.__globals__.get"), touch)),
            "_rebuild_tensor_v2.__globals__.get",
        ),
        "name that is no text": (b"\x80\x04" + short("os") + tools.number(3) + b"\x93.", "could run code"),
        "extension": (tools.plain(b"\x82\x01" + together(touch) + b"R"), "EXT1"),
        "in a persistent id": (
            tools.plain(together(tools.text("storage"), evil, touch, touch, touch) + b"Q"),
            "os.system",
        ),
        "persistent id of protocol 0": (b"\x80\x02Pos.system\n.", "PERSID"),
        "in the state of an OrderedDict": (tools.state_dict({"a": evil}), "os.system"),
        "in an argument of a tensor": (tools.plain(tools.tensor(evil)), "os.system"),
        "a tensor is called": (tools.plain(tensor + together(touch) + b"R"), "calls a View"),
        "a kind of storage is called": (
            tools.plain(tools.call(tools.name("torch", "FloatStorage"), touch)),
            "calls a Kind",
        ),
        "a text is called": (tools.plain(tools.call(tools.text("os.system"), touch)), "calls 'os.system'"),
        "a state for a function": (
            tools.plain(tools.name("torch._utils", "_rebuild_parameter") + tools.mapping({"__code__": evil}) + b"b"),
            "os.system",
        ),
        "a state for an allowed function": (
            tools.plain(tools.name("torch._utils", "_rebuild_parameter") + tools.mapping({"a": b"N"}) + b"b"),
            "a function a state",
        ),
        "a state for an object": (
            pickle.dumps(Runs(copyreg._reconstructor, Stated, object, None, state={"a": 1}), 2),
            "_reconstructor",
        ),
        "import": (tools.plain(tools.name("imported_by_a_pickle", "anything")), "imported_by_a_pickle.anything"),
    }


TITLES = list(pickles("marker"))


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """Return the file that must not appear; a module that makes it when it is imported lies on the path."""
    path = tmp_path / "marker"
    (tmp_path / "imported_by_a_pickle.py").write_text(f"import pathlib\npathlib.Path({str(path)!r}).touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    return path


@pytest.mark.parametrize("title", ["reduce", "protocol 4", "eval", "global", "inst", "import"])
def test_these_pickles_do_run_when_they_are_unpickled(title, marker):
    """The tests below would not see anything if they did not."""
    raw, _ = pickles(marker)[title]
    try:
        pickle.loads(raw)
    except AttributeError:  # the module that was imported has no such name
        assert title == "import"
    assert marker.exists()
    sys.modules.pop("imported_by_a_pickle", None)


@pytest.mark.parametrize("title", TITLES)
def test_nothing_of_a_malicious_pickle_runs(title, marker, tmp_path):
    raw, named = pickles(marker)[title]
    zipped = tools.write_zip(tmp_path / "a.pth", raw, {"0": SIX})
    legacy = tools.write_legacy(tmp_path / "b.pth", raw, {"0": (6, SIX)})
    state = tools.state_dict({"a": tools.tensor(tools.storage("0"))})
    keys = tmp_path / "keys.pth"
    whole = tools.write_legacy(keys, state, {"0": (6, SIX)}).read_bytes()
    keys.write_bytes(whole[: whole.index(tools.plain(b"](" + tools.text("0") + b"e"))] + raw)
    for path in (zipped, legacy):
        with pytest.raises(WeightsError, match="got .*") as caught:
            weights.read(path)
        assert named in str(caught.value) and len(str(caught.value).splitlines()) == 1
        assert "nothing was run" in str(caught.value) or title == "protocol 0"
    first = tmp_path / "first.pth"
    first.write_bytes(raw)
    for path in (first, keys):  # where no tensors are expected, what builds tensors is refused too
        with pytest.raises(WeightsError):
            weights.read(path)
    with pytest.raises(UnreadableError):
        read_arrays(io.BytesIO(raw))
    assert not marker.exists() and "imported_by_a_pickle" not in sys.modules


def test_a_whole_model_is_refused_with_advice(tmp_path):
    raw = tools.plain(tools.name("torchvision.models.vgg", "VGG") + b")\x81")
    path = tools.write_zip(tmp_path / "a.pth", raw, {})
    with pytest.raises(WeightsError, match=r"torchvision\.models\.vgg\.VGG.*save only its tensors"):
        weights.read(path)


@pytest.mark.parametrize(
    "raw",
    [
        b"(" * 60_000 + b".",
        b"]" + b"\x85" * 60_000 + b".",
        b"}" + b")" + b"\x85" * 60_000 + b"Ns.",  # a key that to hash would take as many calls
        b"\x8b\xff\xff\xff\x7f",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"r\xff\xff\xff\xff.",
        b"N" + b"r\xff\xff\xff\xff" + b".",
        b"X\xff\xff\xff\xffabc.",
        b"0.",
        b"a.",
        b"u.",
        b"h\x01.",
        b".",
        b"\xff",
        b"cabc",
    ],
    ids=range(15),
)
def test_senseless_pickles_end_in_an_error_and_not_in_the_process(tmp_path, raw):
    path = tools.write_zip(tmp_path / "a.pth", b"\x80\x02" + raw, {})
    with pytest.raises(WeightsError):
        weights.read(path)


def test_one_list_for_many_dicts_is_not_copied_each_time():
    """A list of n pairs and n calls that make a dict of it would be n * n entries."""
    pairs = b"](" + b"".join(together(tools.text(str(i)), b"N") for i in range(500)) + b"e" + b"q\x00"
    calls = (tools.name("collections", "OrderedDict") + b"(h\x00tR") * 500
    made = unpickle(io.BytesIO(b"\x80\x02" + pairs + b"(" + calls + b"t."), TABLE)
    assert len(made) == 500 and sum(map(len, made)) == 500
    assert list(made[0]) == [str(i) for i in range(500)]


@pytest.mark.parametrize(
    ("pushed", "named"),
    [
        (tools.name("torch", "float32"), "'torch.float32'"),
        (tools.call(tools.name("torch._utils", "_rebuild_tensor_v3"), tools.number(0)), "_rebuild_tensor_v3"),
        (tools.storage("0", "ComplexFloatStorage", 1), "'torch.ComplexFloatStorage'"),
        (tools.name("numpy.core.multiarray", "scalar"), "'numpy.core.multiarray.scalar'"),
        (pickle.dumps({1, 2}, 2)[2:-1], "'__builtin__.set'"),
        (pickle.dumps({1, 2}, 4)[2:-1], "a set"),
        (pickle.dumps(frozenset({1}), 4)[2:-1], "a set"),
        (pickle.dumps({(1, 2): 3}, 2)[2:-1], "a tuple as a key"),
        (pickle.dumps({True: 3}, 2)[2:-1], "a bool as a key"),
        (pickle.dumps(1j, 2)[2:-1], "'__builtin__.complex'"),
    ],
    ids=range(10),
)
def test_types_that_are_not_read_are_not_called_dangerous(pushed, named, tmp_path):
    entries = {"a": tools.tensor(tools.storage("0")), "more": pushed}
    for path in tools.write_both(tmp_path, tools.plain(tools.mapping(entries)), {"0": SIX}):
        with pytest.raises(WeightsError, match="of a type that is not read; leave it out, or convert it") as caught:
            weights.read(path)
        assert named in str(caught.value) and "run" not in str(caught.value).removeprefix(str(path))
        assert len(str(caught.value).splitlines()) == 1
