"""Effects of patching single edges, nodes or neurons."""

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
    """Effect of each patched part per image, in units of the metric; positive if the part raises it.

    Attributes:
        kind: what was patched.
        names: names of the parts, in the requested order.
        per_image: the effects.
        tokens: token positions that were patched one by one, the last axis of `per_image`; None if all tokens were
            patched at once.
    """

    kind: Literal["edge", "node", "neuron"]
    names: tuple[str, ...]
    per_image: Float[np.ndarray, "image part"] | Float[np.ndarray, "image part token"]
    tokens: tuple[int, ...] | None = None

    @property
    def mean(self) -> Float[np.ndarray, "part"] | Float[np.ndarray, "part token"]:
        """Mean over images."""
        return self.per_image.mean(axis=0)

    @property
    def std(self) -> Float[np.ndarray, "part"] | Float[np.ndarray, "part token"] | None:
        """Standard deviation over images (ddof 1); None for fewer than two images."""
        return self.per_image.std(axis=0, ddof=1) if len(self.per_image) > 1 else None

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `edge` (`node`, `neuron`), `token` if patched one by one, `effect`, and `std` if known."""
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
