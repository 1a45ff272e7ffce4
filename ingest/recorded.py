"""Warnings of circuitstore as texts, which a result or a stored value keeps."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import CircuitStoreWarning


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Collect the texts of warnings of circuitstore, each once; warnings of other packages are raised again.

    Examples:
        >>> from circuitstore.errors import warn
        >>> with recorded() as texts:
        ...     warn("few images")
        >>> texts
        ['few images']
    """
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CircuitStoreWarning)
        yield texts
    for warning in caught:
        if not issubclass(warning.category, CircuitStoreWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif str(warning.message) not in texts:
            texts.append(str(warning.message))
