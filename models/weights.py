"""Read the weights of a model from a training script's checkpoint, without running any code in the file.

Training scripts save weights under various keys, with prefixes from wrappers around the model, and sometimes together
with averaged weights. The model's own tensor names determine which table and which prefix to use.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from ..errors import InputError
from .preprocess import is_size

_SCALAR = np.float64(0).__reduce__()[0]
_NUMBERS = (np.float16, np.float32, np.float64, np.int32, np.int64, np.bool_)
_DATA = [
    argparse.Namespace,
    np.dtype,
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *(type(np.dtype(number)) for number in _NUMBERS),
]
"""Types that training scripts store in addition to weights and that run no code: arguments, NumPy's numbers."""

_AVERAGED = {"ema", "averaged", "average", "avg", "swa"}
_BOOKKEEPING = ("n_averaged",)
_DEPTH = 4


@dataclass(frozen=True)
class Weights:
    """The weights for one model in a file.

    Attributes:
        tensors: tensors by name, without prefixes.
        table: the whole table that they come from, by the file's own names.
        preprocess: fields of the preprocessing in the training script's arguments, by timm's names, and `size`.
        notices: what was chosen among several sets of weights.
    """

    tensors: dict[str, Tensor]
    table: dict[str, Tensor]
    preprocess: Mapping[str, Any]
    notices: tuple[str, ...] = ()


def read_weights(path: Path, names: Collection[str]) -> Weights:
    """Read the tensors for a model with tensors of these names.

    If the file has none of the names, for example because it has a published layout, return its largest table
    unchanged.

    Raises:
        InputError: the file is not readable, has no table of tensors, or has several sets of weights of which none, or
            more than one, is an average.
    """
    content = _content(path)
    tables = list(_tables(content))
    if not tables:
        raise InputError(f"checkpoint: {path} holds no table of tensors by name")
    chosen, others = _choose(path, [s for table in tables for s in _sets(*table, frozenset(names))], tables)
    for name, tensor in chosen.table.items():
        _check_tensor(path, name, tensor)
    rivals = [o.prefix for o in others if o.table is chosen.table]
    tensors = {
        name.removeprefix(chosen.prefix): tensor
        for name, tensor in chosen.table.items()
        if name.startswith(chosen.prefix) or not any(name.removeprefix(rival) in names for rival in rivals)
    }
    kept = {name: tensor for name, tensor in tensors.items() if name not in _BOOKKEEPING}
    return Weights(kept, chosen.table, _script_preprocess(content), _notices(path, chosen, others))


def read_tensors(path: Path, what: str = "checkpoint") -> dict[str, Tensor]:
    """Read the tensors by name in a file; of several tables of tensors, the largest.

    Args:
        path: a safetensors or torch file.
        what: name of the argument, for messages.

    Raises:
        InputError: the file is not readable or has no table of tensors.
    """
    tables = [table for _, table in _tables(_content(path, what))]
    if not tables:
        raise InputError(f"{what}: {path} holds no table of tensors by name")
    largest = max(tables, key=len)
    for name, tensor in largest.items():
        _check_tensor(path, name, tensor, what)
    return largest


def existing_file(value: object, what: str = "checkpoint") -> Path:
    """Return the path of a file that exists.

    Raises:
        InputError: there is no such file.
    """
    if isinstance(value, str | PathLike):
        with suppress(OSError):  # such as a name that is too long
            if (path := Path(value)).is_file():
                return path
    raise InputError(f"{what}: no file at {value}")


@dataclass(frozen=True)
class _Set:
    """A table of tensors in a file, a prefix, and how many names with that prefix the model has."""

    path: tuple[str, ...]
    table: dict[str, Tensor]
    prefix: str
    fitting: int

    @property
    def place(self) -> str:
        """Keys and prefix, for messages."""
        return ".".join((*self.path, self.prefix.rstrip("."))).strip(".") or "the file itself"

    @property
    def averaged(self) -> bool:
        return not _AVERAGED.isdisjoint(re.split("[^a-z]+", self.place.lower()))


def _content(path: Path, what: str = "checkpoint") -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with safe_globals(_DATA), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats; the content is checked below
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's loader can raise anything on damaged files
        raise InputError(
            f"{what}: {path} is not a readable file of tensors ({type(error).__name__}); expected .safetensors, or "
            f"a torch file of tensors, numbers and strings{_unsafe_objects(path, error)}"
        ) from error


def _unsafe_objects(path: Path, error: Exception) -> str:
    """Say what to do about objects that are not loaded, if the file has any."""
    names = re.findall(r"GLOBAL (\S+)", str(error))  # the first that torch found
    with suppress(Exception), safe_globals(_DATA):  # fails on damaged files and on those older than torch's zip format
        names = sorted(get_unsafe_globals_in_checkpoint(path)) or names
    if not names:
        return ""
    target = path.with_name(f"{path.stem}-weights.pth")
    return (
        f". It also holds {', '.join(names[:5])}, which {'is' if len(names) == 1 else 'are'} not loaded, since pickled "
        "objects can run code. If you trust the file, these two lines of Python write one that loads:\n"
        f'  content = torch.load(r"{path}", map_location="cpu", weights_only=False)\n'
        f'  torch.save(content["state_dict"], r"{target}")  # or the key that holds the weights'
    )


def _tables(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Yield every table of tensors by name in nested dicts, with the keys that lead to it."""
    if not isinstance(content, Mapping) or len(path) > _DEPTH:
        return
    own = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if own:
        yield path, own
    for key, value in content.items():
        if isinstance(key, str):
            yield from _tables(value, (*path, key))


def _sets(path: tuple[str, ...], table: dict[str, Tensor], names: frozenset[str]) -> Iterator[_Set]:
    """Yield the table once for each prefix that turns some of its names into the model's."""
    fitting: Counter[str] = Counter()
    for name in table:
        steps = name.split(".")
        for i in range(len(steps)):
            if ".".join(steps[i:]) in names:
                fitting["".join(f"{step}." for step in steps[:i])] += 1
    yield from (_Set(path, table, prefix, count) for prefix, count in fitting.items())


def _choose(
    path: Path, sets: list[_Set], tables: list[tuple[tuple[str, ...], dict[str, Tensor]]]
) -> tuple[_Set, list[_Set]]:
    """Return the set that fits best, and the others that fit equally well; averaged weights take precedence."""
    best = max((s.fitting for s in sets), default=0)
    if not best:
        largest = max(tables, key=lambda table: len(table[1]))
        return _Set(*largest, "", 0), []
    fit = [s for s in sets if s.fitting == best]
    averaged = [s for s in fit if s.averaged]
    if len(fit) > 1 and len(averaged) != 1:
        raise InputError(
            f"checkpoint: {path} holds several sets of weights: {', '.join(s.place for s in fit)}; write the one "
            f"that you want to a file, for example:\n{_extraction_lines(path, fit[0], fit[1:])}"
        )
    chosen = averaged[0] if averaged else fit[0]
    return chosen, [s for s in fit if s is not chosen]


def _extraction_lines(path: Path, target: _Set, others: list[_Set]) -> str:
    """Return the lines of Python that write one set to a file."""
    read, caution = (
        f'weights = torch.load(r"{path}", map_location="cpu", weights_only=False)',
        "  # if you trust the file",
    )
    if path.suffix == ".safetensors":
        caution = ""
        read = f'from safetensors.torch import load_file; weights = load_file(r"{path}")'
    keys = "".join(f'["{key}"]' for key in target.path)
    apart = [o.prefix for o in others if o.table is target.table and o.prefix]
    if target.prefix:
        kept = f'k.removeprefix("{target.prefix}"): v for k, v in weights.items() if k.startswith("{target.prefix}")'
    else:
        kept = f"k: v for k, v in weights.items() if not k.startswith({tuple(apart)})"
    return f'  {read}{keys}{caution}\n  torch.save({{{kept}}}, r"{path.with_name(path.stem)}-weights.pth")'


def _notices(path: Path, chosen: _Set, others: list[_Set]) -> tuple[str, ...]:
    if not others:
        return ()
    lines = _extraction_lines(path, others[0], [chosen, *others[1:]])
    return (
        f"checkpoint: {path.name} holds averaged and plain weights; loaded {chosen.place}, not "
        f"{', '.join(o.place for o in others)}; these two lines of Python write the other weights to a file:\n{lines}",
    )


def _script_preprocess(content: Any) -> Mapping[str, Any]:
    """Read the preprocessing for evaluation, by timm's names, from the arguments of a training script like timm's."""
    arguments = content.get("args") if isinstance(content, Mapping) else None
    facts = vars(arguments) if isinstance(arguments, argparse.Namespace) else {}
    if "crop_pct" not in facts:
        return {}
    size = facts.get("input_size") or facts.get("img_size")
    sides = (
        tuple(size[-2:]) if isinstance(size, list | tuple) else (size, size)
    )  # timm's input_size includes the channels
    found = {name: facts.get(name) for name in ("mean", "std", "crop_pct", "interpolation")}
    found["size"] = sides if is_size(sides) else None
    return {name: value for name, value in found.items() if value is not None}


def _check_tensor(path: Path, name: str, tensor: Tensor, what: str = "checkpoint") -> None:
    """Check that a tensor is dense and that the file holds each of its values.

    Raises:
        InputError: it is not, or the file does not.
    """
    why = None
    if tensor.is_meta:
        why = "has no values (it was saved on the meta device)"
    elif tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        why = f"is {tensor.dtype}, {tensor.layout}; expected plain dense numbers"
    elif tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        why = f"is {tuple(tensor.shape)}, but the file holds fewer values (an expanded view was saved)"
    if why:
        raise InputError(f"{what}: {path}: {name} {why}; save the model's own state_dict")


def fill(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load all tensors into a module.

    Raises:
        InputError: a name or shape differs from the module's.
    """
    own = module.state_dict()
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [
        f"{n} is {tuple(tensors[n].shape)}, expected {tuple(own[n].shape)}"
        for n in own.keys() & tensors.keys()
        if tensors[n].shape != own[n].shape
    ]
    if missing or extra or shapes:
        problems = [
            *(f"missing: {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}" for _ in missing[:1]),
            *(f"not in the model: {', '.join(extra[:5])}{' …' if len(extra) > 5 else ''}" for _ in extra[:1]),
            *shapes[:3],
        ]
        raise InputError(f"checkpoint: {where} does not fit the model: {'; '.join(problems)}")
    if any(tensor.dtype == torch.float64 for tensor in tensors.values()):
        module.double()
    module.load_state_dict(tensors)
