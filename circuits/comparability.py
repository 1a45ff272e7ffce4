"""What may be compared with what: fields that must agree, and fields whose difference is reported."""

from __future__ import annotations

from ..errors import NotComparable
from .recipe import Condition, Recipe, Variant

MUST_AGREE = ("form", "method", "signed", "metric", "direction")
"""Method by kind: other steps, another rule or version are only a warning. Metric with its version: another version
measures something else."""


def check_comparable(a: Recipe, b: Recipe, apart: str | None = None) -> list[str]:
    """Warnings about what differs between two recipes that may be compared.

    Args:
        apart: one of `MUST_AGREE` that may differ, as only sets of edges are compared and no scores. The sign may
            differ with the method.

    Raises:
        NotComparable: form, method, sign, metric (or its version) or direction differ; names the fields.
    """
    differing = {
        name: f"{name}: {_both(_value(a, name), _value(b, name))}"
        for name in MUST_AGREE
        if _value(a, name) != _value(b, name)
    }
    free = {apart, "signed"} if apart == "method" else {apart}
    if differing.keys() - free:
        told = "; ".join(text for name, text in differing.items() if name not in free)
        raise NotComparable(f"not comparable, these must agree: {told}")
    warnings = [text.replace(":", " differs:", 1) for text in differing.values()]
    if a.corruption != b.corruption:
        warnings.append(f"corruption differs: {_both(a.corruption, b.corruption)}")
    if a.method != b.method and "method" not in differing:
        warnings.append(f"method differs in detail: {_both(a.method, b.method)}")
    warnings += [
        f"{name} differs: {getattr(a, name)} against {getattr(b, name)}"
        for name in ("dtype", "seed")
        if getattr(a, name) != getattr(b, name)
    ]
    return warnings


def check_version(name: str, a: Variant, b: Variant) -> list[str]:
    """A warning where two variants have the same text and different versions, so that a reader takes them for one."""
    return [f"{name} differs: {_both(a, b)}"] if a.text == b.text and a.version != b.version else []


def _both(a: object, b: object) -> str:
    """Both as text, with their versions where these differ."""
    if not (isinstance(a, Variant) and isinstance(b, Variant)):
        return f"{a} against {b}"
    if a.version == b.version:
        return f"{a.text} against {b.text}"
    return f"{a.text} (version {a.version}) against {b.text} (version {b.version})"


def _value(recipe: Recipe, name: str) -> object:
    return recipe.method.kind if name == "method" else getattr(recipe, name)


def check_conditions(
    a: Recipe, b: Recipe, condition_a: Condition, condition_b: Condition, apart: str | None = None
) -> list[str]:
    """As `check_comparable`, for circuits of two conditions: "gained" and "lost" are only said in an effect study.

    Two conditions are comparable edge by edge only where nothing but the condition differs.

    Raises:
        NotComparable: conditions and corruptions differ at once.
    """
    warnings = check_comparable(a, b, apart) + check_version("condition", condition_a, condition_b)
    if condition_a != condition_b and a.corruption != b.corruption:
        raise NotComparable(
            f"condition ({_both(condition_a, condition_b)}) and corruption ({_both(a.corruption, b.corruption)}) "
            "differ at once: gained and lost edges are only told where nothing but the condition differs"
        )
    return warnings
