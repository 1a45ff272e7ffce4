"""What may be compared with what: fields that must agree, and fields whose difference is told."""

from __future__ import annotations

from ..errors import NotComparable
from .recipe import Condition, Recipe, Variant

MUST_AGREE = ("form", "method", "signed", "metric", "direction")
"""Method by kind; steps, rule and version differing is only a warning."""


def check_comparable(a: Recipe, b: Recipe) -> list[str]:
    """Warnings about what differs between two recipes that may be compared.

    Raises:
        NotComparable: form, method, sign, metric or direction differ; names the fields.
    """
    differing = [
        f"{name}: {_value(a, name)} against {_value(b, name)}"
        for name in MUST_AGREE
        if _value(a, name) != _value(b, name)
    ]
    if differing:
        raise NotComparable(f"not comparable, these must agree: {'; '.join(differing)}")
    warnings = []
    if a.corruption != b.corruption:
        warnings.append(f"corruption differs: {_told(a.corruption, b.corruption)}")
    if a.method != b.method:
        warnings.append(f"method differs in detail: {_told(a.method, b.method)}")
    warnings += [
        f"{name} differs: {getattr(a, name)} against {getattr(b, name)}"
        for name in ("dtype", "seed")
        if getattr(a, name) != getattr(b, name)
    ]
    return warnings


def _told(a: Variant, b: Variant) -> str:
    """Both texts, with their versions where these differ."""
    if a.version == b.version:
        return f"{a.text} against {b.text}"
    return f"{a.text} (version {a.version}) against {b.text} (version {b.version})"


def _value(recipe: Recipe, name: str) -> object:
    match name:
        case "method":
            return recipe.method.kind
        case "metric":
            return recipe.metric.text
        case _:
            return getattr(recipe, name)


def check_conditions(a: Recipe, b: Recipe, condition_a: Condition, condition_b: Condition) -> list[str]:
    """As `check_comparable`, for circuits of two conditions: "gained" and "lost" are said in an effect study only.

    Two conditions are comparable edge by edge only where nothing but the condition differs.

    Raises:
        NotComparable: conditions and corruptions differ at once.
    """
    warnings = check_comparable(a, b)
    if condition_a != condition_b and a.corruption != b.corruption:
        raise NotComparable(
            f"condition ({condition_a.text} against {condition_b.text}) and corruption "
            f"({a.corruption.text} against {b.corruption.text}) differ at once: "
            "gained and lost edges are only told where nothing but the condition differs"
        )
    return warnings
