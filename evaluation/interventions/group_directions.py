"""Directions of a cue, from groups of images instead of pairs.

For an image i with the cue, with μ_c the mean output of the reference images of its class, which lack the cue:

    v[u,p] = unit( mean_i unit( o_u(i)_p − μ_c(i)[u,p] ) )

The offset is what the reference images project on v.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...circuits import Form
from ...errors import InputError
from ...models import SenderOutputs, ViT, mean_outputs, runs_model, sender_differences
from ..execution import DEFAULT, Execution
from ..pairs import Indices, check_images, checked_classes
from .directions import Directions, MeanOfUnits, Offset, fit_offsets, offset_rule, sender_norms, sent


@runs_model
def fit_group_directions(
    model: ViT,
    images: Float[Tensor, "image channel height width"],
    reference: Float[Tensor, "reference channel height width"],
    labels: Indices,
    reference_labels: Indices,
    *,
    form: Form = "split",
    offset: Offset = "quantile",
    quantile: int | float = 0.95,
    execution: Execution = DEFAULT,
) -> Directions:
    """Fit the direction in which a cue moves each sender's output, from images with the cue and images without it.

    Args:
        model: the model.
        images: normalised images with the cue.
        reference: normalised images without the cue.
        labels: index of the class of each image.
        reference_labels: index of the class of each reference image.
        form: form of the graph, which gives the senders.
        offset: `quantile`, `mean` or `zero`, of the reference images' projections.
        quantile: the quantile, 0 to 1.
        execution: batch size.

    Raises:
        InputError: images or labels that do not fit the model, a class with images but without reference images, an
            unknown rule, or a quantile outside of 0 to 1.

    Examples:
        >>> fit_group_directions(model, pairs.corrupted, pairs.clean, [3] * 8, [3] * 8)
        Directions(split form, 21 senders × 65 tokens, 8 images against the mean of their class, coherence ...)
    """
    rule, graph, size = offset_rule(offset, quantile), model.graph(form), execution.size(model, form)
    check_images("images", images, model)
    check_images("reference", reference, model)
    classes = checked_classes("labels", labels, len(images), model)
    reference_classes = checked_classes("reference_labels", reference_labels, len(reference), model)
    mean = MeanOfUnits(model, graph)
    for label in classes.unique().tolist():
        own, others = images[classes == label], reference[reference_classes == label]
        if not len(others):
            raise InputError(
                f"reference: no image of class {label}, but {len(own)} images with the cue; add reference images of "
                "this class, or leave its images out"
            )
        centre = _on_device(model, mean_outputs(model, others.split(size)).sent)
        for batch in own.split(size):
            run = sent(model, batch)
            mean.add(sender_differences(model, form, run, centre), sender_norms(model, graph, run))
    vectors, coherence = mean.result()
    source = "images against the mean of their class"
    bare = Directions(
        graph, model.fingerprint, vectors, np.zeros_like(coherence), coherence, rule, len(images), source=source
    )
    return fit_offsets(model, bare, reference, offset=offset, quantile=quantile, execution=execution)


def _on_device(model: ViT, run: SenderOutputs) -> SenderOutputs:
    def moved(value: Tensor) -> Tensor:
        return value.to(model.device, model.exact_dtype)

    return SenderOutputs(moved(run.stream), [moved(v) for v in run.heads], [moved(v) for v in run.mlp_out])
