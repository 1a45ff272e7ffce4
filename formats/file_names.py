"""Names of files from names of classes and models."""

from __future__ import annotations

import re

LONGEST = 80


def file_name(text: str) -> str:
    """Return a text as part of a file's name: letters, digits, points and hyphens.

    Examples:
        >>> file_name("typographic(size=5) of ../seven")
        'typographic-size-5-of-..-seven'
    """
    return re.sub(r"[^\w.]+|_+", "-", text)[:LONGEST].strip("-.") or "unnamed"
