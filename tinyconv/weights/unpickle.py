"""Reading a pickle without running it. See :func:`unpickle`.

A pickle is a program for a small stack machine. Some of its instructions import a name (GLOBAL, STACK_GLOBAL) and call
it (REDUCE), so ``pickle.load`` on a stranger's file runs whatever the stranger wrote. This is that machine again, with
only the instructions that weights consist of, and with a table in the place of ``import``: a name that is not in the
table is refused before anything is called, and what the table holds are functions of ours that make arrays.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NoReturn

from tinyconv.weights.problem import UnreadableError, shown

Table = Mapping[tuple[str, str], Any]
_DAMAGED = (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, struct.error)
_MALFORMED = "which is a damaged pickle"
REFUSED = "nothing was run; if you trust the file, save only its tensors again (in PyTorch model.state_dict())"
UNREAD = "leave it out, or convert it: save only tensors of floats and ints by name (in PyTorch model.state_dict())"
_FREE = 1 << 18  # instructions that any pickle may have; PyTorch writes some 40 for a tensor
_BYTES = 4  # of a file, for each instruction beyond these: an empty list takes 1 byte there and 64 in memory


class Built:
    """A value that the instruction BUILD may give a state; any other is refused."""

    def build(self, state: Any) -> None:
        """Take the state over."""


class Ordered(dict, Built):
    """Stands for collections.OrderedDict (any dict keeps its order); what BUILD adds, ``_metadata``, is dropped."""


def ordered(*pairs: Any) -> Ordered:
    """Make what ``OrderedDict(pairs)`` makes; the list is used up, or many calls with one list would have no end."""
    result = Ordered()
    if pairs:
        (items,) = pairs
        if type(items) is not list:
            raise TypeError("an OrderedDict made of no list")
        for key, value in items:
            result[_key(key)] = value
        items.clear()
    return result


def unpickle(file: BinaryIO, table: Table, persistent: Callable[[Any], Any] | None = None, size: int = 0) -> Any:
    """Return the value that a pickle describes; the file is left behind its end.

    Parameters
    ----------
    file : binary file
        One that is as long as a pickle may be: what an instruction claims to be longer than the file is refused.
    table : mapping of (module, name)
        What these names stand for. Functions of ours are called with the arguments that the file gives them, so they
        must check those; any other value is only handed on.
    persistent : callable, optional
        Makes a value of a persistent id (a storage of PyTorch's).
    size : int
        Bytes of the file that the pickle is in, numbers included: more instructions than a file of this size has use
        for are refused.

    Raises
    ------
    UnreadableError
        The pickle names something that is not in the table, has an instruction that weights have no use for, is
        truncated or damaged.
    """
    machine = _Machine(file, table, persistent)
    try:
        return machine.run(_FREE + size // _BYTES)
    except _DAMAGED as problem:
        text = " ".join(str(problem).split())[:100]
        raise UnreadableError(f"{_MALFORMED} ({type(problem).__name__}: {text})") from None
    except RecursionError:
        raise UnreadableError(_MALFORMED) from None


class _Machine:
    """The stack, the stacks put aside by MARK, the memory of values seen before."""

    def __init__(self, file: BinaryIO, table: Table, persistent: Callable[[Any], Any] | None) -> None:
        self.file, self.table, self.persistent = file, table, persistent
        self.stack: list[Any] = []
        self.aside: list[list[Any]] = []
        self.memory: dict[int, Any] = {}

    def run(self, limit: int) -> Any:
        for _ in range(limit):
            code = self.file.read(1)
            if not code:
                raise UnreadableError("which ends in the middle of a pickle")
            instruction = _INSTRUCTIONS.get(code.decode("latin-1"))
            if instruction is None:
                raise UnreadableError(_MALFORMED)
            name = instruction.name
            argument = None
            if name in ("GLOBAL", "INST"):
                argument = self.line(), self.line()
            elif name in _KNOWN and instruction.arg is not None:
                argument = instruction.arg.reader(self.file)
            if name == "STOP":
                return self.stack.pop()
            if name in _CONSTANT:
                self.stack.append(_CONSTANT[name])
            elif name in _LITERAL:
                self.stack.append(argument)
            elif name in _STEPS:
                _STEPS[name](self, argument)
            elif name not in _IGNORED:
                self._refuse(name, argument)
        raise UnreadableError(f"a pickle of more than {limit} instructions, too many for a file of its size")

    def _refuse(self, name: str, argument: Any) -> NoReturn:
        if name == "INST":  # it names what it calls
            self.find(*argument)
        if name in _SETS:
            raise UnreadableError("a pickle with a set, of a type that is not read", UNREAD)
        raise UnreadableError(f"a pickle with the instruction {name}, of which weights have no need", REFUSED)

    def line(self) -> str:
        """Return the next line, a part of a name."""
        raw = self.file.readline()
        if not raw.endswith(b"\n"):
            raise ValueError("a name that does not end")
        return raw[:-1].decode("utf-8")

    def find(self, module: Any, name: Any) -> Any:
        """Return what the table has for a name; nothing is ever imported."""
        if not (isinstance(module, str) and isinstance(name, str) and (module, name) in self.table):
            both = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else None
            if both is not None and (module, name) in _HARMLESS:
                raise UnreadableError(f"a pickle that asks for {shown(both)}, of a type that is not read", UNREAD)
            raise UnreadableError(f"a pickle that asks for {shown(both)}, which could run code", REFUSED)
        return self.table[module, name]

    def marked(self) -> list[Any]:
        """Return what was pushed since the last MARK."""
        items, self.stack = self.stack, self.aside.pop()
        return items

    def mark(self, _: None) -> None:
        self.aside.append(self.stack)
        self.stack = []

    def take(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise IndexError("too little on the stack")
        items = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return items

    def tuple_of(self, items: Any) -> None:
        self.stack.append(tuple(items))

    def append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError("no list to append to")
        self.stack[-1].extend(items)

    def set_items(self, items: Any) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise TypeError("no dict to fill")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def remember(self, place: int | None) -> None:
        self.memory[len(self.memory) if place is None else place] = self.stack[-1]

    def drop(self, _: None) -> None:
        self.take(1)

    def drop_marked(self, _: None) -> None:
        self.marked()

    def recall(self, place: int) -> None:
        self.stack.append(self.memory[place])

    def named(self, both: tuple[str, str]) -> None:
        self.stack.append(self.find(*both))

    def named_on_stack(self, _: None) -> None:
        self.stack.append(self.find(*self.take(2)))

    def call(self, _: None) -> None:
        function, arguments = self.take(2)
        if not any(function is known for known in self.table.values()) or not callable(function):
            raise UnreadableError(f"a pickle that calls {shown(function)}, which could run code", REFUSED)
        if type(arguments) is not tuple:
            raise TypeError("arguments that are no tuple")
        self.stack.append(function(*arguments))

    def build(self, _: None) -> None:
        (state,) = self.take(1)
        if not isinstance(self.stack[-1], Built):
            raise UnreadableError(f"a pickle that gives {shown(self.stack[-1])} a state, which could run code", REFUSED)
        self.stack[-1].build(state)

    def persistent_id(self, _: None) -> None:
        if self.persistent is None:
            raise UnreadableError("a pickle with persistent ids, of which these weights have no need", REFUSED)
        self.stack.append(self.persistent(*self.take(1)))


def _key(key: Any) -> Any:
    """Return a key of a dict: a text or an int (to hash a tuple nested a million times would end the process)."""
    if type(key) is str or (type(key) is int and key.bit_length() < 64):
        return key
    raise UnreadableError(f"a pickle of a dict with {shown(key)} as a key, of a type that is not read", UNREAD)


# What is refused for its type, since nothing here could run code: the message must not say so.
_HARMLESS = {
    *((module, name) for module in ("builtins", "__builtin__") for name in ("set", "frozenset", "complex")),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(("torch", f"{kind}{bits}") for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)),
    *(("torch", name) for name in ("bfloat16", "bool", "complex32", "complex64", "complex128", "Size", "device")),
    *(("torch", f"{kind}Storage") for kind in ("ComplexFloat", "ComplexDouble", "QInt8", "QUInt8", "QInt32")),
    *(("torch._utils", f"_rebuild_{kind}") for kind in ("tensor_v3", "qtensor", "sparse_tensor")),
}
_SETS = {"EMPTY_SET", "ADDITEMS", "FROZENSET"}
_INSTRUCTIONS = {instruction.code: instruction for instruction in pickletools.opcodes}
_CONSTANT = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_IGNORED = {"PROTO", "FRAME", "STOP"}
_LITERAL = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING",
}  # fmt: skip
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_marked,
    "EMPTY_TUPLE": lambda m, _: m.tuple_of(()),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "TUPLE": lambda m, _: m.tuple_of(m.marked()),
    "TUPLE1": lambda m, _: m.tuple_of(m.take(1)),
    "TUPLE2": lambda m, _: m.tuple_of(m.take(2)),
    "TUPLE3": lambda m, _: m.tuple_of(m.take(3)),
    "APPEND": lambda m, _: m.append(list(m.take(1))),
    "APPENDS": lambda m, _: m.append(m.marked()),
    "SETITEM": lambda m, _: m.set_items(m.take(2)),
    "SETITEMS": lambda m, _: m.set_items(m.marked()),
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "MEMOIZE": _Machine.remember,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "GLOBAL": _Machine.named,
    "STACK_GLOBAL": _Machine.named_on_stack,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent_id,
}
_KNOWN = {*_CONSTANT, *_IGNORED, *_LITERAL, *_STEPS}
