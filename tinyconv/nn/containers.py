"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tinyconv.nn.module import Module


class _Numbered(Module):
    """What Sequential and ModuleList share: children in order, reached by number."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __getitem__(self, key: int | slice) -> Any:
        names = list(self._modules)
        if isinstance(key, slice):
            return self._of({name: self._modules[name] for name in names[key]})
        return self._modules[names[self._position(key)]]

    def __setitem__(self, key: int, module: Module) -> None:
        setattr(self, list(self._modules)[self._position(key)], module)

    def _position(self, key: int) -> int:
        if not isinstance(key, int) or not -len(self) <= key < len(self):
            raise IndexError(f"{type(self).__name__}: wanted a number in [{-len(self)}, {len(self) - 1}], got {key!r}")
        return key % len(self)

    def append(self, module: Module) -> Any:
        """Add a module at the end, under the next number; returns the container."""
        number = len(self)
        while str(number) in self._modules:
            number += 1
        self.add_module(str(number), module)
        return self

    @classmethod
    def _of(cls, modules: dict[str, Any]) -> Any:
        raise NotImplementedError


class Sequential(_Numbered):
    """Modules applied one after another.

    Parameters
    ----------
    *modules : Module
        Named "0", "1", ...; or one dictionary {name: module} (PyTorch's OrderedDict), whose names become attributes.

    Examples
    --------
    >>> from tinyconv.nn import Linear, ReLU
    >>> Sequential({"fc": Linear(4, 3), "relu": ReLU()}).fc
    Linear(in_features=4, out_features=3, bias=True)
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        named = len(modules) == 1 and isinstance(modules[0], Mapping)
        pairs = modules[0].items() if named else ((str(i), m) for i, m in enumerate(modules))
        for name, module in pairs:
            self.add_module(name, module)

    @classmethod
    def _of(cls, modules: dict[str, Any]) -> Sequential:
        # A part of a network is a plain Sequential, whatever class the whole has.
        return Sequential(modules)

    def forward(self, x: Any) -> Any:
        """Apply each module to the output of the one before."""
        for module in self:
            x = module(x)
        return x


class ModuleList(_Numbered):
    """A list of modules that the parent knows of (a plain Python list would hide their parameters), without forward."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Append several modules."""
        for module in modules:
            self.append(module)
        return self

    @classmethod
    def _of(cls, modules: dict[str, Any]) -> ModuleList:
        return ModuleList(modules.values())

    def forward(self, *args: Any) -> Any:
        """Raise: call the modules in the list one by one."""
        raise NotImplementedError("ModuleList: it has no forward; loop over its modules, or use Sequential")
