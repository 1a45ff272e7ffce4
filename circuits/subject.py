"""What a stored value is about, as columns: model, class, group of images and condition."""

from __future__ import annotations

from typing import Any, Protocol

from .recipe import ClassInfo, Condition, ModelInfo, Selection


class Subject(Protocol):
    """A question, or another value about a class of images under a condition in a model."""

    @property
    def model(self) -> ModelInfo: ...
    @property
    def target_class(self) -> ClassInfo: ...
    @property
    def condition(self) -> Condition: ...
    @property
    def selection(self) -> Selection: ...


def subject_columns(subject: Subject) -> dict[str, Any]:
    """Return the columns that catalog rows and graph nodes of every kind have.

    Examples:
        >>> subject_columns(item)["class"]
        'three'
    """
    return {
        "model": subject.model.name,
        "model_id": subject.model.id,
        "dataset": subject.target_class.dataset,
        "class": subject.target_class.name,
        "class_index": subject.target_class.class_index,
        "image_group": subject.selection.group,
        "attack": subject.condition.kind,
        "condition": subject.condition.text,
    }
