"""Short names for canonical texts such as `typographic(number=1, size=0.15, text=other class)`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

_TEXT = re.compile(r"(?P<kind>[A-Za-z][\w-]*)\((?P<params>\w+=.*)\)", re.DOTALL)
_BETWEEN = re.compile(r", (?=\w+=)")


def short_names(texts: Iterable[str]) -> dict[str, str]:
    """Return the shortest distinct name of each canonical text.

    This is the kind if no other text has it, else the kind with the parameters in which texts of this kind differ. If
    all texts are lists (`eap(…), split, logit`), as for recipes, each part is shortened separately. Other texts keep
    their full form.

    Examples:
        >>> short_names(["blur(size=3)", "typographic(size=1, word=a)", "typographic(size=2, word=a)"]).values()
        dict_values(['blur', 'typographic(size=1)', 'typographic(size=2)'])
    """
    parts = {text: list(_parts(text)) for text in texts}
    if len({len(of) for of in parts.values()}) != 1:
        return {text: text for text in parts}
    places = [_of_one_place(of) for of in zip(*parts.values(), strict=True)]
    names = {text: ", ".join(n[p] for n, p in zip(places, of, strict=True)) for text, of in parts.items()}
    return names if len(set(names.values())) == len(names) else {text: text for text in names}


def kind_and_params(text: str) -> tuple[str, list[str]]:
    """Return the kind of a canonical text and its parameters as `name=value`; any other text is its own kind.

    Examples:
        >>> kind_and_params("typographic(number=1, size=0.15)")
        ('typographic', ['number=1', 'size=0.15'])
    """
    found = _TEXT.fullmatch(text)
    return (found["kind"], _BETWEEN.split(found["params"])) if found else (text, [])


def _parts(text: str) -> Iterator[str]:
    """Yield the parts between commas outside brackets; the whole text if brackets do not match."""
    depth, starts = 0, [0]
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
        if depth == 0 and text.startswith(", ", i):
            starts.append(i + 2)
    if depth:
        starts = [0]
    ends = [start - 2 for start in starts[1:]]
    yield from (text[start:end] for start, end in zip(starts, [*ends, len(text)], strict=True))


def _of_one_place(texts: Sequence[str]) -> dict[str, str]:
    """Return names of the texts at one position of a list; equal texts have equal names."""
    by_kind: dict[str, dict[str, Mapping[str, str]]] = {}
    for text in texts:
        kind, params = kind_and_params(text)
        by_kind.setdefault(kind, {})[text] = dict(p.split("=", 1) for p in params)
    return {text: name for kind, of in by_kind.items() for text, name in _names(kind, of).items()}


def _names(kind: str, params: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return names for all texts of one kind, from their parameters."""
    differing = _differing(list(params.values()))
    return {text: _named(kind, {k: v for k, v in own.items() if k in differing}) for text, own in params.items()}


def _differing(all_params: Sequence[Mapping[str, str]]) -> set[str]:
    return {k for params in all_params for k in params if len({p.get(k) for p in all_params}) > 1}


def _named(kind: str, params: Mapping[str, str]) -> str:
    return f"{kind}({', '.join(f'{k}={v}' for k, v in params.items())})" if params else kind
