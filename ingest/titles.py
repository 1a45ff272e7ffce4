"""Names of a run's questions for people: `three · natural · eap-ig`."""

from __future__ import annotations

from collections.abc import Sequence

from ..circuits import WorkItem, short_names

BETWEEN = " · "


def titles(items: Sequence[WorkItem]) -> dict[str, str]:
    """A short name of each item, by its id: class and condition, then what of the recipe tells the items apart."""
    found = [[item.target_class.name] for item in items]
    parts = {"condition": [item.condition.text for item in items]}
    parts |= {name: [getattr(item.recipe, name).text for item in items] for name in ("method", "metric", "corruption")}
    parts |= {name: [str(getattr(item.recipe, name)) for item in items] for name in ("form", "direction", "dtype")}
    for name, texts in parts.items():
        short = short_names(texts)
        longer = [[*title, short[text]] for title, text in zip(found, texts, strict=True)]
        if name == "condition" or _distinct(longer) > _distinct(found):
            found = longer
    return {item.id: BETWEEN.join(title) for item, title in zip(items, found, strict=True)}


def _distinct(names: Sequence[Sequence[str]]) -> int:
    return len({tuple(name) for name in names})
