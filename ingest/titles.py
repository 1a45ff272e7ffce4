"""Readable names of the items of a run: `three · natural · eap-ig`."""

from __future__ import annotations

from collections.abc import Sequence

from ..circuits import WorkItem, short_names

BETWEEN = " · "


def titles(items: Sequence[WorkItem]) -> dict[str, str]:
    """Return a short name of each item by id: class, group and condition, then the parts of the recipe that differ."""
    names = [[item.target_class.name, *filter(None, [item.selection.group])] for item in items]
    parts = {"condition": [item.condition.text for item in items]}
    parts |= {name: [getattr(item.recipe, name).text for item in items] for name in ("method", "metric", "corruption")}
    parts |= {name: [str(getattr(item.recipe, name)) for item in items] for name in ("form", "direction", "dtype")}
    for part, texts in parts.items():
        short = short_names(texts)
        longer = [[*title, short[text]] for title, text in zip(names, texts, strict=True)]
        if part == "condition" or _distinct(longer) > _distinct(names):
            names = longer
    return {item.id: BETWEEN.join(title) for item, title in zip(items, names, strict=True)}


def _distinct(names: Sequence[Sequence[str]]) -> int:
    return len({tuple(name) for name in names})
