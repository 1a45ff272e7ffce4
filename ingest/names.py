"""One name, one thing: the names of a spec's model and images against those that a store has already."""

from __future__ import annotations

from contextlib import suppress

from ..errors import InputError, StoreDamaged
from ..images import ImageSource
from ..models import ViT
from ..store import Store

LOOKED_AT = 20
"""Discoveries whose images are looked up to tell whether a data set is the same."""


def check_names(store: Store, model: ViT, source: ImageSource) -> tuple[str, ...]:
    """Return notices about the names of a model and its images.

    Raises:
        InputError: the store has another model, or other images, under the same name.
    """
    check_dataset_name(store, source)
    return check_model_name(store, model)


def check_model_name(store: Store, model: ViT) -> tuple[str, ...]:
    """Return a notice where the store knows the model by another name.

    Raises:
        InputError: the store has another model of this name.
    """
    known = store.count_circuits(["model", "model_id"])
    named = zip(known["model"], known["model_id"], strict=True)
    namesakes = [id for name, id in named if name == model.name and id != model.fingerprint]
    if namesakes:
        other = namesakes[0]
        raise InputError(
            f"model: the store has another model named {model.name!r}: its fingerprint is {other[:12]}, this one's "
            f"{model.fingerprint[:12]} (other weights, image size or preprocessing); "
            'give this one a name of its own: model = { …, name = "…" }'
        )
    names = set(known.loc[known["model_id"] == model.fingerprint, "model"]) - {model.name}
    if not names:
        return ()
    return (f"the store has this model as {min(names)!r}: answers that are there already keep that name",)


def check_dataset_name(store: Store, source: ImageSource) -> None:
    """Return unless the store has other images under the name of this data set.

    Images may have come or gone since; that none of those used before is there means another data set.

    Raises:
        InputError: none of the images that stored circuits rest on is in this source.
    """
    stored = store.circuits(dataset=source.name).drop_duplicates("discovery_id")
    used: set[str] = set()
    for id in stored.sort_values("created_ms")["discovery_id"].iloc[-LOOKED_AT:]:
        with suppress(StoreDamaged):
            used.update(store.archive.discovery(id, per_image=False)[0].images)
    here = {ref.hash for cls in source.classes for ref in source.candidates(cls)}
    if used and not used & here:
        raise InputError(
            f"images: the store has a data set named {source.name!r} with other images: none of the {len(used)} looked "
            'up is here; give this one a name of its own: [images] name = "…"'
        )
