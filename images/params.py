"""Parameters of conditions and corruptions: shares, texts, names and colours."""

from __future__ import annotations

from typing import Any

from PIL import ImageColor

from ..circuits.kinds import ABSENT, REQUIRED, Param, is_number
from ..circuits.recipe import Scalar
from .font import spell


def share(default: float, least: float, most: float) -> Param:
    """A share of the image's height."""

    def read(value: Any) -> Scalar:
        if not is_number(value) or not least <= value <= most:
            raise ValueError(value)
        return float(value)

    return Param(default, f"a share of the image's height, {least:g} to {most:g}", read)


def text(default: str, allowed: str) -> Param:
    """A text that the font can write; blanks around it do not count."""

    def read(value: Any) -> Scalar:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(value)
        spell(value)  # says which sign is lacking
        return " ".join(value.split())

    return Param(default, allowed, read)


def label(allowed: str, *, required: bool) -> Param:
    """A name without a default; a class may be named by its index."""

    def read(value: Any) -> Scalar:
        plain = " ".join(str(value).split())
        if not isinstance(value, str | int) or isinstance(value, bool) or not plain or not plain.isprintable():
            raise ValueError(value)
        return plain

    return Param(REQUIRED if required else ABSENT, allowed, read)


def colour(default: str, *, none: bool = False) -> Param:
    """A colour; its canonical form is `#rrggbb`. With `none`, also the word for no colour."""

    def read(value: Any) -> Scalar:
        if none and value == "none":
            return "none"
        rgb = ImageColor.getrgb(value) if isinstance(value, str) else ()
        if len(rgb) != 3:
            raise ValueError(value)
        return "#{:02x}{:02x}{:02x}".format(*rgb)

    return Param(default, "a colour (white, #ff8800 …)" + (" or 'none'" if none else ""), read)


def rgb(value: Scalar) -> tuple[int, int, int] | None:
    """Red, green, blue of a canonical colour; None for `none`."""
    digits = str(value).removeprefix("#")
    return None if value == "none" else (int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16))


def number(value: Scalar) -> int | float:
    """A resolved parameter that is known to be a number."""
    assert isinstance(value, int | float)
    return value
