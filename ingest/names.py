"""One name, one thing: the names of a spec's model and images against those that a store has already."""

from __future__ import annotations

from contextlib import suppress

from ..circuits import ModelInfo, WorkItem
from ..errors import InputError, StoreDamaged
from ..images import ImageSource
from ..models import ViT
from ..store import Store
from ..store.listing import work_items

LOOKED_AT = 20
"""Discoveries whose images are looked up to tell whether a data set is the same."""


def check_names(store: Store, model: ViT, source: ImageSource) -> tuple[str, ...]:
    """Return notices about the names of a model and its images.

    Raises:
        InputError: the store has another model, or other images, under the same name.
    """
    check_dataset_name(store, source)
    return check_model_name(store, model.info)


def check_model_name(store: Store, model: ModelInfo) -> tuple[str, ...]:
    """Return a notice where the store knows the model by another name.

    Raises:
        InputError: the store has another model of this name.
    """
    known = store.count_circuits(["model", "model_id"])
    named = zip(known["model"], known["model_id"], strict=True)
    namesakes = [id for name, id in named if name == model.name and id != model.id]
    if namesakes:
        other = namesakes[0]
        raise InputError(
            f"model: the store has another model named {model.name!r}: its fingerprint is {other[:12]}, this one's "
            f"{model.id[:12]} (other weights, image size or preprocessing); "
            'give this one a name of its own: model = { …, name = "…" }, in Python load_model(…, name="…")'
        )
    names = set(known.loc[known["model_id"] == model.id, "model"]) - {model.name}
    if not names:
        return ()
    return (f"the store has this model as {min(names)!r}: answers that are there already keep that name",)


def check_dataset_name(store: Store, source: ImageSource) -> None:
    """Return unless the store has other images under the name of this data set.

    Images may have come or gone since; that none of those used before is there means another data set.

    Raises:
        InputError: none of the images that stored circuits rest on is in this source.
    """
    stored = store.circuits(dataset=source.name).drop_duplicates("discovery_id").sort_values("created_ms")
    with store.catalog.reading() as connection:
        items = work_items(connection, stored["discovery_id"])
    computed = [id for id in stored["discovery_id"] if not items[id].is_given]  # others may be of any sample
    used: set[str] = set()
    for id in computed[-LOOKED_AT:]:
        with suppress(StoreDamaged):
            used.update(store.archive.discovery(id, per_image=False)[0].images)
    here = {ref.hash for cls in source.classes for ref in source.candidates(cls)}
    if used and not used & here:
        raise InputError(
            f"images: the store has a data set named {source.name!r} with other images: none of the {len(used)} looked "
            'up is here; give this one a name of its own: [images] name = "…"'
        )


def check_class_name(store: Store, item: WorkItem) -> None:
    """Return unless the store knows the class of an item by another logit of the same model.

    Raises:
        InputError: it does.
    """
    cls = item.target_class
    known = store.circuits(model_id=item.model.id, dataset=cls.dataset, **{"class": cls.name})["class_index"]
    others = sorted({int(index) for index in known} - {cls.class_index})
    if others:
        raise InputError(
            f"class_index: the store has {cls.dataset} {cls.name!r} as class {others[0]} of {item.model.name}, here it "
            f"is {cls.class_index}; give one of them another class_name or dataset"
        )
