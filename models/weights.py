"""Files of weights as people have them, as tensors by a model's names; no code of a file is run.

Training scripts save the weights under a key of their own, with prefixes of whatever was wrapped around the model, and
beside averaged ones. The names of the model that they are for tell which table and which prefix are meant.
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
from torch import Tensor
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
"""What training scripts keep beside weights, and what runs nothing: arguments, NumPy's numbers."""

_AVERAGED = {"ema", "averaged", "average", "avg", "swa"}
_BOOKKEEPING = ("n_averaged",)
_DEPTH = 4


@dataclass(frozen=True)
class Weights:
    """What a file holds for one model.

    Attributes:
        tensors: by name, prefixes taken off.
        table: the same by the file's own names, with all that stands beside them.
        prepared: how the script's arguments say that images are prepared, by timm's names, and their `size`.
        notices: what was chosen among several.
    """

    tensors: dict[str, Tensor]
    table: dict[str, Tensor]
    prepared: Mapping[str, Any]
    notices: tuple[str, ...] = ()


def read_weights(path: Path, names: Collection[str]) -> Weights:
    """The tensors in a file that are meant for a model with tensors of these names.

    Where none of the names is in the file, which may be of a published layout, the largest table is returned as it is.

    Raises:
        InputError: no readable file, no tensors by name, several sets of weights none of which is an average.
    """
    content = _content(path)
    tables = list(_tables(content))
    if not tables:
        raise InputError(f"checkpoint: {path} holds no table of tensors by name")
    chosen, others = _chosen(path, [s for table in tables for s in _sets(*table, frozenset(names))], tables)
    for name, tensor in chosen.table.items():
        _check_tensor(path, name, tensor)
    rivals = [o.prefix for o in others if o.table is chosen.table]
    tensors = {
        name.removeprefix(chosen.prefix): tensor
        for name, tensor in chosen.table.items()
        if name.startswith(chosen.prefix) or not any(name.removeprefix(rival) in names for rival in rivals)
    }
    kept = {name: tensor for name, tensor in tensors.items() if name not in _BOOKKEEPING}
    return Weights(kept, chosen.table, _of_script(content), _notices(path, chosen, others))


def checked_file(value: object) -> Path:
    """Return the path of a file that exists.

    Raises:
        InputError: not the path of a file that is there.
    """
    if isinstance(value, str | PathLike):
        with suppress(OSError):  # such as a name that is too long
            if (path := Path(value)).is_file():
                return path
    raise InputError(f"checkpoint: no file at {value}")


@dataclass(frozen=True)
class _Set:
    """A table of tensors in a file, those of its names that begin with a prefix, and how many fit the model."""

    path: tuple[str, ...]
    table: dict[str, Tensor]
    prefix: str
    fitting: int

    @property
    def place(self) -> str:
        """Keys, then the prefix, for messages."""
        return ".".join((*self.path, self.prefix.rstrip("."))).strip(".") or "the file itself"

    @property
    def averaged(self) -> bool:
        return not _AVERAGED.isdisjoint(re.split("[^a-z]+", self.place.lower()))


def _content(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with safe_globals(_DATA), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats; what is in the file is checked below
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on damaged files torch's loader raises whatever its steps run into
        raise InputError(
            f"checkpoint: {path} is no readable file of tensors ({type(error).__name__}); expected .safetensors, or a "
            f"torch file of tensors, numbers and texts{_unopened(path, error)}"
        ) from error


def _unopened(path: Path, error: Exception) -> str:
    """What to do about objects that are not opened, where the file names any."""
    names = re.findall(r"GLOBAL (\S+)", str(error))  # the first that torch met
    with suppress(Exception), safe_globals(_DATA):  # not of a file that is damaged, or older than zip files of torch's
        names = sorted(get_unsafe_globals_in_checkpoint(path)) or names
    if not names:
        return ""
    made = path.with_name(f"{path.stem}-weights.pth")
    return (
        f". It also holds {', '.join(names[:5])}, which {'is' if len(names) == 1 else 'are'} not opened, since pickled "
        "objects can run code. Where you trust the file, two lines of Python make one that loads:\n"
        f'  content = torch.load(r"{path}", map_location="cpu", weights_only=False)\n'
        f'  torch.save(content["state_dict"], r"{made}")  # or under the key that holds the weights'
    )


def _tables(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Every table of tensors by name in a nest of dicts, and the keys that lead to it."""
    if not isinstance(content, Mapping) or len(path) > _DEPTH:
        return
    own = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if own:
        yield path, own
    for key, value in content.items():
        if isinstance(key, str):
            yield from _tables(value, (*path, key))


def _sets(path: tuple[str, ...], table: dict[str, Tensor], names: frozenset[str]) -> Iterator[_Set]:
    """A table once for each prefix with which some of its names are the model's."""
    fitting: Counter[str] = Counter()
    for name in table:
        steps = name.split(".")
        for i in range(len(steps)):
            if ".".join(steps[i:]) in names:
                fitting["".join(f"{step}." for step in steps[:i])] += 1
    yield from (_Set(path, table, prefix, count) for prefix, count in fitting.items())


def _chosen(
    path: Path, sets: list[_Set], tables: list[tuple[tuple[str, ...], dict[str, Tensor]]]
) -> tuple[_Set, list[_Set]]:
    """The set that fits best, and others that fit as well; among several, the average of weights."""
    best = max((s.fitting for s in sets), default=0)
    if not best:
        largest = max(tables, key=lambda table: len(table[1]))
        return _Set(*largest, "", 0), []
    fit = [s for s in sets if s.fitting == best]
    averaged = [s for s in fit if s.averaged]
    if len(fit) > 1 and len(averaged) != 1:
        raise InputError(
            f"checkpoint: {path} holds several sets of weights: {', '.join(s.place for s in fit)}; make a file of the "
            f"one that you mean, such as:\n{_extracting(path, fit[0], fit[1:])}"
        )
    chosen = averaged[0] if averaged else fit[0]
    return chosen, [s for s in fit if s is not chosen]


def _extracting(path: Path, wanted: _Set, others: list[_Set]) -> str:
    """The lines of Python that make a file of one set."""
    read, caution = f'weights = torch.load(r"{path}", map_location="cpu", weights_only=False)', "  # if you trust it"
    if path.suffix == ".safetensors":
        caution = ""
        read = f'from safetensors.torch import load_file; weights = load_file(r"{path}")'
    keys = "".join(f'["{key}"]' for key in wanted.path)
    apart = [o.prefix for o in others if o.table is wanted.table and o.prefix]
    if wanted.prefix:
        kept = f'k.removeprefix("{wanted.prefix}"): v for k, v in weights.items() if k.startswith("{wanted.prefix}")'
    else:
        kept = f"k: v for k, v in weights.items() if not k.startswith({tuple(apart)})"
    return f'  {read}{keys}{caution}\n  torch.save({{{kept}}}, r"{path.with_name(path.stem)}-weights.pth")'


def _notices(path: Path, chosen: _Set, others: list[_Set]) -> tuple[str, ...]:
    if not others:
        return ()
    lines = _extracting(path, others[0], [chosen, *others[1:]])
    return (
        f"checkpoint: {path.name} holds averaged and plain weights; those of {chosen.place} are taken, not those of "
        f"{', '.join(o.place for o in others)}; two lines of Python make a file of those:\n{lines}",
    )


def _of_script(content: Any) -> Mapping[str, Any]:
    """How images were prepared for evaluation, by timm's names, from the arguments of a script like timm's."""
    arguments = content.get("args") if isinstance(content, Mapping) else None
    facts = vars(arguments) if isinstance(arguments, argparse.Namespace) else {}
    if "crop_pct" not in facts:
        return {}
    size = facts.get("input_size") or facts.get("img_size")
    sides = tuple(size[-2:]) if isinstance(size, list | tuple) else (size, size)  # timm's input_size has the channels
    given = {name: facts.get(name) for name in ("mean", "std", "crop_pct", "interpolation")}
    given["size"] = sides if is_size(sides) else None
    return {name: value for name, value in given.items() if value is not None}


def _check_tensor(path: Path, name: str, tensor: Tensor) -> None:
    """Refuse a tensor whose values cannot be read one by one.

    Raises:
        InputError: a tensor whose values are not in the file, one by one.
    """
    why = None
    if tensor.is_meta:
        why = "has no values (it was saved on the meta device)"
    elif tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        why = f"is {tensor.dtype}, {tensor.layout}; expected plain dense numbers"
    elif tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        why = f"is {tuple(tensor.shape)}, but the file holds fewer values (an expanded view was saved)"
    if why:
        raise InputError(f"checkpoint: {path}: {name} {why}; save the model's own state_dict")
