"""Attention patterns: the share of each token in what each query of a head reads.

They are recomputed from q and k of a run with fused attention. A row sums to 1. They show what a head reads, not what
it does with it.
"""

from __future__ import annotations

from ...circuits import Readout
from ...models import ViT, attention_of, runs_model
from ..execution import DEFAULT, Execution
from .batched import Images, head_axis, image_axis, layer_axis, read_images
from .kind import ReadoutKind, of_clean
from .queries import EACH_QUERY, Queries, n_row_numbers, requested_rows, row_axes


@runs_model
def attention_patterns(
    model: ViT, images: Images, *, queries: Queries = None, execution: Execution = DEFAULT
) -> Readout:
    """Read the attention of every head.

    Args:
        images: normalised images.
        queries: None returns the row of what the classifier pools: of the class token, or the mean over the rows of
            the patches. "each" returns the row of each token.
        execution: batch size and progress; progress counts images.

    Returns:
        Attention `[image, layer, head, token]` or `[image, layer, head, query, token]`.

    Raises:
        InputError: images that do not fit the model; or no `queries` with map pooling, which has no fixed weights.

    Examples:
        >>> attention_patterns(model, pairs.clean)
        Readout(attention-patterns: attention [8 image, 4 layer, 4 head, 65 token])
    """
    use = ATTENTION_PATTERNS.use(queries=queries)
    rows = requested_rows(model, queries)
    values = read_images(model, images, lambda batch: rows(attention_of(model, batch)), execution)
    axes = (image_axis(len(images)), layer_axis(model), head_axis(model), *row_axes(model, queries))
    return Readout(use, axes, values, unit="attention")


ATTENTION_PATTERNS = ReadoutKind(
    key="attention-patterns",
    name="Attention of every head, as the model computes it",
    source="Dosovitskiy et al. 2021, arXiv 2010.11929",
    function=of_clean(attention_patterns),
    passes=lambda model, **params: (1, 0),
    numbers=lambda model, queries=None: model.n_layers * model.n_heads * n_row_numbers(model, queries),
    params={"queries": EACH_QUERY},
)
