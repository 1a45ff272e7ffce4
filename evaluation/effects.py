"""What patching single parts of a model does to the metric, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from ..results import Exportable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Effects(Exportable):
    """One number per image and part, in units of the metric; positive: the part raises it.

    Attributes:
        kind: what the parts are.
        names: of the parts, in the order asked.
        per_image: the effects.
        tokens: positions that were patched one by one, the last axis of `per_image`; None: all at once.
    """

    kind: Literal["edge", "node"]
    names: tuple[str, ...]
    per_image: Float[np.ndarray, "image part"] | Float[np.ndarray, "image part token"]
    tokens: tuple[int, ...] | None = None

    @property
    def mean(self) -> Float[np.ndarray, "part"] | Float[np.ndarray, "part token"]:
        """Over images."""
        return self.per_image.mean(axis=0)

    @property
    def std(self) -> Float[np.ndarray, "part"] | Float[np.ndarray, "part token"] | None:
        """Over images (ddof 1); None for fewer than two."""
        return self.per_image.std(axis=0, ddof=1) if len(self.per_image) > 1 else None

    def to_pandas(self) -> pd.DataFrame:
        """Columns `edge` or `node`, `token` where tokens were patched one by one, `effect`, and `std` where it is."""
        import pandas as pd

        each = 1 if self.tokens is None else len(self.tokens)
        columns: dict[str, object] = {self.kind: np.repeat(np.array(self.names, object), each)}
        if self.tokens is not None:
            columns["token"] = np.tile(self.tokens, len(self.names))
        columns["effect"] = self.mean.ravel()
        if self.std is not None:
            columns["std"] = self.std.ravel()
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        tokens = "" if self.tokens is None else f" at {len(self.tokens)} tokens each"
        return f"Effects({len(self.names)} {self.kind}s{tokens}, {len(self.per_image)} images)"
