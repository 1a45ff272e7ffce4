"""Parameters of conditions and corruptions: shares, budgets, names and colours."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from PIL import ImageColor

from ..circuits.kinds import REQUIRED, Param, is_number
from ..circuits.recipe import Scalar


def share(default: float, low: float, high: float) -> Param:
    """Return the parameter for a share of the image's height."""

    def read(value: Any) -> Scalar:
        if not is_number(value) or not low <= value <= high:
            raise ValueError(value)
        return float(value)

    return Param(default, f"a share of the image's height, {low:g} to {high:g}", read)


def budget(default: Any = REQUIRED, *, auto: bool = False) -> Param:
    """Return the parameter for a perturbation in pixels of [0, 1]; with `auto`, also for the word `auto`.

    The canonical form is `8/255` for whole grey levels, else a number, so that equal budgets are equal.
    """

    def read(value: Any) -> Scalar:
        if auto and value == "auto":
            return "auto"
        exact = _exact(value)
        if not 0 < exact <= 1:
            raise ValueError(value)
        levels = float(exact * 255)
        whole = levels > 0.5 and abs(levels - round(levels)) < 1e-6 and exact < 1
        return f"{round(levels)}/255" if whole else float(exact)

    allowed = 'a number above 0 and up to 1, in pixels of [0, 1], or a fraction such as "8/255"'
    return Param(default, allowed + (" or 'auto'" if auto else ""), read)


def _exact(value: Any) -> Fraction:
    """Return a number or the text of a number or fraction; raise ValueError for anything else."""
    if not isinstance(value, str) and not is_number(value):
        raise ValueError(value)
    above, *below = str(value).split("/")
    try:
        return Fraction(above) / Fraction(*below or ["1"])
    except (TypeError, ZeroDivisionError) as error:
        raise ValueError(value) from error


def pixels(value: Scalar) -> float:
    """Return a resolved budget as a number."""
    return float(Fraction(str(value)))


def label(allowed: str, *, default: Any) -> Param:
    """Return the parameter for a name; a class may be named by its index."""

    def read(value: Any) -> Scalar:
        plain = " ".join(str(value).split())
        if not isinstance(value, str | int) or isinstance(value, bool) or not plain or not plain.isprintable():
            raise ValueError(value)
        return plain

    return Param(default, allowed, read)


def colour(default: str, *, none: bool = False) -> Param:
    """Return the parameter for a colour with canonical form `#rrggbb`; with `none`, also for no colour."""

    def read(value: Any) -> Scalar:
        if none and value == "none":
            return "none"
        rgb = ImageColor.getrgb(value) if isinstance(value, str) else ()
        if len(rgb) != 3:
            raise ValueError(value)
        return "#{:02x}{:02x}{:02x}".format(*rgb)

    return Param(default, "a colour (white, #ff8800 …)" + (" or 'none'" if none else ""), read)


def rgb(value: Scalar) -> tuple[int, int, int] | None:
    """Return red, green and blue of a canonical colour; None for `none`."""
    digits = str(value).removeprefix("#")
    return None if value == "none" else (int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16))


def number(value: Scalar) -> int | float:
    """Return a resolved parameter that is known to be a number."""
    assert isinstance(value, int | float)
    return value
