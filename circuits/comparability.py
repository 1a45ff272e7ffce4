"""Which recipes are comparable: fields that must agree, and fields whose difference is reported."""

from __future__ import annotations

from ..errors import NotComparable
from .recipe import Condition, Recipe, Variant

MUST_AGREE = ("form", "method", "signed", "metric", "direction")
"""Fields that must agree.

The method is compared by kind: other parameters or another version only give a warning. The metric is compared with its
version, because another version measures something else.
"""


def check_comparable(a: Recipe, b: Recipe, may_differ: str | None = None) -> list[str]:
    """Check that two recipes are comparable, and return warnings about their differences.

    Args:
        may_differ: one of `MUST_AGREE` that may differ, if only sets of edges are compared. The sign may differ with
            the method.

    Raises:
        NotComparable: form, method, sign, metric (or its version) or direction differ; the message names the fields.

    Examples:
        >>> from circuitstore.circuits import Corruption, MethodUse, Metric, Recipe
        >>> eap, logit, blur = MethodUse.of("eap"), Metric.of("logit"), Corruption.of("blur")
        >>> check_comparable(Recipe(eap, "split", logit, blur), Recipe(eap, "split", logit, blur, seed=1))
        ['seed differs: 0 against 1']
    """
    differing = {
        name: f"{name}: {_both(_value(a, name), _value(b, name))}"
        for name in MUST_AGREE
        if _value(a, name) != _value(b, name)
    }
    free = {may_differ, "signed"} if may_differ == "method" else {may_differ}
    if differing.keys() - free:
        fields = "; ".join(text for name, text in differing.items() if name not in free)
        raise NotComparable(f"not comparable, these must agree: {fields}")
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
    """Return a warning if two variants have the same text but different versions.

    Examples:
        >>> check_version("condition", Condition.of("natural"), Condition.of("natural", version=2))
        ['condition differs: natural (version 1) against natural (version 2)']
    """
    return [f"{name} differs: {_both(a, b)}"] if a.text == b.text and a.version != b.version else []


def _both(a: object, b: object) -> str:
    """Return both as text, with their versions if these differ."""
    if not (isinstance(a, Variant) and isinstance(b, Variant)):
        return f"{a} against {b}"
    if a.version == b.version:
        return f"{a.text} against {b.text}"
    return f"{a.text} (version {a.version}) against {b.text} (version {b.version})"


def _value(recipe: Recipe, name: str) -> object:
    return recipe.method.kind if name == "method" else getattr(recipe, name)


def check_conditions(
    a: Recipe, b: Recipe, condition_a: Condition, condition_b: Condition, may_differ: str | None = None
) -> list[str]:
    """Check two recipes with their conditions; see `check_comparable`.

    Edges are "gained" or "lost" only in an effect study, where nothing but the condition differs.

    Raises:
        NotComparable: as for `check_comparable`, or condition and corruption both differ.

    Examples:
        >>> from circuitstore.circuits import Corruption, MethodUse, Metric, Recipe
        >>> recipe = Recipe(MethodUse.of("eap"), "split", Metric.of("logit"), Corruption.of("blur"))
        >>> check_conditions(recipe, recipe, Condition.of("natural"), Condition.of("typographic"))
        []
    """
    warnings = check_comparable(a, b, may_differ) + check_version("condition", condition_a, condition_b)
    if condition_a != condition_b and a.corruption != b.corruption:
        raise NotComparable(
            f"condition ({_both(condition_a, condition_b)}) and corruption ({_both(a.corruption, b.corruption)}) "
            "both differ: edges are gained or lost only if nothing but the condition differs"
        )
    return warnings
