"""Checks that a name of a model, data set or class has only one meaning in a store."""

from __future__ import annotations

from contextlib import suppress

from ..circuits import ModelInfo, WorkItem
from ..errors import InputError, StoreDamaged
from ..images import ImageSource
from ..models import ViT
from ..store import Store
from ..store.listing import work_items

LOOKED_AT = 20
"""Number of discoveries whose images are compared to decide whether a data set is the same."""


def check_names(store: Store, model: ViT, source: ImageSource) -> tuple[str, ...]:
    """Return notices about the names of a model and its images.

    Raises:
        InputError: the store has another model or other images with the same name.
    """
    check_dataset_name(store, source)
    return check_model_name(store, model.info)


def check_model_name(store: Store, model: ModelInfo) -> tuple[str, ...]:
    """Return a notice if the store has the model under another name.

    Raises:
        InputError: the store has another model with this name.
    """
    known = store.count_circuits(["model", "model_id"])
    named = zip(known["model"], known["model_id"], strict=True)
    namesakes = [id for name, id in named if name == model.name and id != model.id]
    if namesakes:
        other = namesakes[0]
        raise InputError(
            f"model: the store has another model named {model.name!r}: its fingerprint is {other[:12]}, this one's "
            f"{model.id[:12]} (other weights, image size or preprocessing); "
            'give this one another name: model = { …, name = "…" }, in Python load_model(…, name="…")'
        )
    names = set(known.loc[known["model_id"] == model.id, "model"]) - {model.name}
    if not names:
        return ()
    return (f"the store has this model as {min(names)!r}: stored answers keep that name",)


def check_dataset_name(store: Store, source: ImageSource) -> None:
    """Raise an error if the store has other images under the name of this data set.

    Images may have been added or removed; a data set is different if it has none of the images used before.

    Raises:
        InputError: none of the images of stored circuits is in this source.
    """
    stored = store.circuits(dataset=source.name).drop_duplicates("discovery_id").sort_values("created_ms")
    with store.catalog.reading() as connection:
        items = work_items(connection, stored["discovery_id"])
    computed = [id for id in stored["discovery_id"] if not items[id].is_given]  # own results may use any sample
    used: set[str] = set()
    for id in computed[-LOOKED_AT:]:
        with suppress(StoreDamaged):
            used.update(store.archive.discovery(id, per_image=False)[0].images)
    here = {ref.hash for cls in source.classes for ref in source.candidates(cls)}
    if used and not used & here:
        raise InputError(
            f"images: the store has a data set named {source.name!r} with other images: none of {len(used)} compared "
            'images is here; give this one another name: [images] name = "…"'
        )


def check_class_name(store: Store, item: WorkItem) -> None:
    """Raise an error if the store has the class of an item with another logit of the same model.

    Raises:
        InputError: the logit differs.
    """
    cls = item.target_class
    known = store.circuits(model_id=item.model.id, dataset=cls.dataset, **{"class": cls.name})["class_index"]
    others = sorted({int(index) for index in known} - {cls.class_index})
    if others:
        raise InputError(
            f"class_index: the store has {cls.dataset} {cls.name!r} as class {others[0]} of {item.model.name}, here it "
            f"is {cls.class_index}; give one of them another class_name or dataset"
        )
