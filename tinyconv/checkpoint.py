"""Checkpoints: a model, its optimizer and where training was, in one file. See :func:`save` and :func:`load`.

The file is an npz without pickle, so that reading one from a stranger runs no code. Its members: ``format`` (a text),
``model/<state_dict key>``, ``optim/<key>`` and ``meta``, a JSON record of the builder and its arguments, class names,
the input transform, epoch, step, seed, the position in the data and the versions of what computed the weights.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv.checkpoint_file import CheckpointError, as_array, pack, plain, read_file, unpack, write_file
from tinyconv.tensor import Tensor

if TYPE_CHECKING:
    from tinyconv.nn import Module

_RESERVED = ("builder", "versions", "optim")


def save(path: str | Path, model: Module, optimizer: Any = None, **meta: Any) -> Path:
    """Write a model, and the optimizer's state if one is given, to a checkpoint file.

    The file is complete or not there: it is written beside ``path`` and renamed, so an older one survives a crash.

    Parameters
    ----------
    path : str or Path
        Taken as it is; by custom it ends in ``.npz``.
    model : Module
        One made by :mod:`tinyconv.models` can be rebuilt from the file alone, by :func:`load`.
    optimizer : optional
        Anything with ``state_dict()``.
    **meta
        What else to keep, as JSON values: ``classes=[...]`` (names of the labels), ``transform=`` (what makes an image
        into the model's input, from :mod:`tinyconv.data.transforms`), or names of your own.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    TypeError
        A value of ``meta`` cannot be written as JSON.
    ValueError
        A name in ``meta`` is one of the file's own.
    OSError
        The folder cannot be written to, or the disk is full.

    Examples
    --------
    >>> tinyconv.save("lenet.npz", model, classes=["cat", "dog"])  # doctest: +SKIP
    """
    record: dict[str, Any] = {"builder": getattr(model, "config", None), "versions": _versions()}
    if hasattr(meta.get("transform"), "describe"):
        meta["transform"] = meta["transform"].describe()
    for name, value in meta.items():
        if name in _RESERVED:
            raise ValueError(f"save: meta must not be named {', '.join(_RESERVED)}, got {name!r}; choose another name")
        record[name] = value
    for name, value in record.items():
        try:
            record[name] = plain(value)
        except TypeError as problem:
            raise TypeError(
                f"save: {name} must be made of numbers, texts, lists and dicts, got {problem}; convert it"
            ) from None
    arrays = {f"model/{key}": as_array(value) for key, value in model.state_dict().items()}
    record["optim"] = None if optimizer is None else pack(optimizer.state_dict(), "optim", arrays)
    return write_file(path, arrays, record)


def load(path: str | Path) -> Module:
    """Rebuild the model of a checkpoint file, with its weights, in evaluation mode.

    Its attribute ``meta`` is the file's record: ``model.meta["classes"]``, ``["transform"]``, ``["epoch"]`` and so on.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is truncated, foreign, of another format, or its model is not one of :mod:`tinyconv.models` (build that
        yourself and call :func:`load_into`).
    """
    from tinyconv import models

    checkpoint = Checkpoint.read(path)
    builder = checkpoint.meta.get("builder")
    if not isinstance(builder, Mapping) or not {"builder", "arguments"} <= set(builder):
        raise CheckpointError(
            f"load: wanted a file that names the model's builder, got none in {path}; "
            "build the model yourself and call tinyconv.load_into(model, FILE)"
        )
    try:
        model = models.build(builder["builder"], **builder["arguments"])
    except (ValueError, TypeError) as problem:
        raise CheckpointError(
            f"load: {path} wants the model {builder['builder']!r} with {builder['arguments']!r}, "
            f"which this version of tinyconv cannot build ({problem}); load it with {_made_with(checkpoint.meta)}"
        ) from None
    checkpoint.into(model)
    model.eval()
    model.meta = checkpoint.meta
    return model


def load_into(model: Module, path: str | Path, optimizer: Any = None) -> dict[str, Any]:
    """Copy a checkpoint's weights, and the optimizer's state if one is given, into a model that is already built.

    Everything is checked first: a file that does not fit changes nothing.

    Returns
    -------
    dict
        The file's meta record.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged, or its names or shapes are not those of the model.
    """
    checkpoint = Checkpoint.read(path)
    checkpoint.into(model, optimizer)
    return checkpoint.meta


@dataclass
class Checkpoint:
    """A checkpoint file's content: every array by member name, and the meta record."""

    path: Path
    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> Checkpoint:
        """Read and verify a whole file; see :func:`tinyconv.checkpoint_file.read_file` for what it raises."""
        return cls(Path(path), *read_file(path))

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The model's arrays by ``state_dict`` key."""
        return {name.removeprefix("model/"): a for name, a in self.arrays.items() if name.startswith("model/")}

    def into(self, model: Module, optimizer: Any = None) -> None:
        """Copy the weights into ``model`` and the state into ``optimizer``; checked before either is touched."""
        weights = self.weights
        wanted = {key: as_array(value) for key, value in model.state_dict().items()}
        self._check(wanted, weights)
        if optimizer is not None:
            state = self._optimizer_state(optimizer)
            try:
                optimizer.load_state_dict(state)  # all or nothing
            except (ValueError, TypeError, KeyError) as problem:
                raise CheckpointError(f"load: {self.path} does not fit the optimizer: {problem}") from None
        model.load_state_dict({key: Tensor(array) for key, array in weights.items()})

    def _check(self, wanted: dict[str, np.ndarray], weights: dict[str, np.ndarray]) -> None:
        wrong = [f"{key} is missing" for key in wanted if key not in weights]
        wrong += [f"{key} is not in the model" for key in weights if key not in wanted]
        for key in wanted.keys() & weights.keys():
            a, b = wanted[key], weights[key]
            if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
                wrong.append(f"{key} must be {a.dtype} {a.shape}, got {b.dtype} {b.shape}")
        if wrong:
            raise CheckpointError(
                f"load: {self.path} does not fit the model: {'; '.join(wrong[:5])}"
                f"{f'; and {len(wrong) - 5} more' if len(wrong) > 5 else ''}. Nothing was loaded; "
                f"build the model as the file's was ({_describe_builder(self.meta)}), or train again"
            )

    def _optimizer_state(self, optimizer: Any) -> Any:
        """Return the saved state, checked: it has as many groups and parameters, and arrays of the same shapes."""
        if self.meta.get("optim") is None:
            raise CheckpointError(f"load: {self.path} holds no optimizer's state; load it without the optimizer")
        try:
            state = unpack(self.meta["optim"], self.arrays)
            groups, own = state["param_groups"], optimizer.state_dict()["param_groups"]
            found, wanted = ([len(group["params"]) for group in g] for g in (groups, own))
            names, own_names = (sorted({name for group in g for name in group}) for g in (groups, own))
        except (KeyError, TypeError, ValueError, IndexError) as problem:
            raise CheckpointError(f"load: the optimizer's state in {self.path} is damaged ({problem!r})") from None
        if (found, names) != (wanted, own_names):
            raise CheckpointError(
                f"load: the optimizer's state in {self.path} is of another optimizer: wanted groups of {wanted} "
                f"parameters with {', '.join(own_names)}, got {found} with {', '.join(names)}. "
                "Nothing was loaded; use the optimizer that the file was saved with"
            )
        return state


def _versions() -> dict[str, str]:
    import tinyconv

    ours = {"tinyconv": tinyconv.__version__, "python": platform.python_version()}
    return ours | {"numpy": np.__version__, "numba": version("numba")}


def _made_with(meta: dict[str, Any]) -> str:
    return f"tinyconv {(meta.get('versions') or {}).get('tinyconv', '(unknown version)')}"


def _describe_builder(meta: dict[str, Any]) -> str:
    builder = meta.get("builder")
    if not isinstance(builder, Mapping):
        return "its builder is not recorded"
    arguments = ", ".join(f"{name}={value!r}" for name, value in (builder.get("arguments") or {}).items())
    return f"{builder.get('builder')}({arguments})"
