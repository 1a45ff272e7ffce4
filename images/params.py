"""Parameters of conditions and corruptions: defaults, allowed values, and errors that name both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import ImageColor

from ..circuits.recipe import Scalar
from ..errors import InputError, unknown
from .font import spell


@dataclass(frozen=True)
class Param:
    """A parameter with its default.

    Attributes:
        default: the value where none is given; None: it is left out then.
        allowed: the allowed values in words.
        read: gives the value in its one canonical form, or None where it is not allowed.
        required: it must be given.
    """

    default: Scalar
    allowed: str
    read: Callable[[Scalar], Scalar]
    required: bool = False


def resolve(kind: str, params: Mapping[str, Param], given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Every parameter with its value; without those that have no default and are not given.

    Raises:
        InputError: a parameter that the kind has not, one that is missing, or a value that is not allowed.
    """
    for name in given:
        if name not in params:
            raise unknown(f"parameter of {kind}", name, params)
    values = {}
    for name, param in params.items():
        if name not in given and param.required:
            raise InputError(f"{kind}: {name} is missing; expected {param.allowed}")
        if name in given or param.default is not None:
            values[name] = param.read(given.get(name, param.default))
            if values[name] is None:
                raise InputError(f"{kind}: {name}: expected {param.allowed}, got {given[name]!r}")
    return values


def whole(default: int, least: int, most: int) -> Param:
    """A whole number."""

    def read(value: Scalar) -> Scalar:
        fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return value if fits else None

    return Param(default, f"a whole number, {least} to {most}", read)


def share(default: float, least: float, most: float) -> Param:
    """A share of the image's height."""

    def read(value: Scalar) -> Scalar:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if least <= value <= most else None

    return Param(default, f"a share of the image's height, {least:g} to {most:g}", read)


def choice(default: str, values: tuple[str, ...]) -> Param:
    """One of a few words."""
    return Param(default, " or ".join(map(repr, values)), lambda value: value if value in values else None)


def text(default: str, allowed: str) -> Param:
    """A text that the font can write; blanks around it do not count."""

    def read(value: Scalar) -> Scalar:
        if not isinstance(value, str) or not value.strip():
            return None
        spell(value)  # says which sign is lacking
        return " ".join(value.split())

    return Param(default, allowed, read)


def label(allowed: str, *, required: bool) -> Param:
    """A name without a default; a class may be named by its index."""

    def read(value: Scalar) -> Scalar:
        known = isinstance(value, str | int) and not isinstance(value, bool)
        plain = " ".join(str(value).split())
        return plain if known and plain and plain.isprintable() else None

    return Param(None, allowed, read, required)


def colour(default: str, *, none: bool = False) -> Param:
    """A colour; its canonical form is `#rrggbb`. With `none`, also the word for no colour."""

    def read(value: Scalar) -> Scalar:
        if none and value == "none":
            return "none"
        try:
            rgb = ImageColor.getrgb(value) if isinstance(value, str) else ()
        except ValueError:
            return None
        return "#{:02x}{:02x}{:02x}".format(*rgb) if len(rgb) == 3 else None

    return Param(default, "a colour (white, #ff8800 …)" + (" or 'none'" if none else ""), read)


def rgb(value: Scalar) -> tuple[int, int, int] | None:
    """Red, green, blue of a canonical colour; None for `none`."""
    digits = str(value).removeprefix("#")
    return None if value == "none" else (int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16))


def number(value: Scalar) -> int | float:
    """A resolved parameter that is known to be a number."""
    assert isinstance(value, int | float)
    return value
