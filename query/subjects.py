"""What a note is about: references as people write them, checked against a store and brought into their full form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from ..circuits import PAIR, ComputationGraph, Subject, SubjectKind, Universe, WorkItem, universe_of
from ..errors import InputError, check_known, cut, unknown
from ..store import Store
from ..store.cypher.guard import check_read_only
from ..store.cypher.names import check_names
from ..store.cypher.tokens import tokenize
from ..store.listing import work_items
from .named import get_named, is_name
from .names import Models


def resolve_subject(store: Store, subject: Subject | str) -> Subject:
    """Return a subject with its full reference, after checking that the store has it.

    Args:
        store: the store.
        subject: a subject, or its text: `circuit:ID`, `item:ID`, `pair:ID..ID` with ids or their beginnings;
            `class:NAME` or `class:DATASET/NAME`; `component:a3.h1` or `edge:a0.h1->m2`, after `MODEL/` if the store has
            several models, where MODEL is a name or the beginning of an id; `query:NAME` or `query:MATCH …`.

    Raises:
        InputError: the store has no such value, or several; the message has the nearest names.
        QueryRefused: a Cypher text could write.
        QueryFailed: a Cypher text uses names that are not in the schema.

    Examples:
        >>> id = store.circuits()["id"][0]
        >>> resolve_subject(store, f"circuit:{id[:12]}").ref == id
        True
        >>> resolve_subject(store, "class:class-2").text
        'class:toys/2/class-2'
        >>> resolve_subject(store, "query:top-edges").text
        'query:top-edges'
    """
    wanted = Subject.of(subject) if isinstance(subject, str) else subject
    return Subject(wanted.kind, _RESOLVE[wanted.kind](store, wanted.ref.strip()))


def _pair(store: Store, ref: str) -> str:
    ends = ref.split(PAIR)
    if len(ends) != 2:
        raise InputError(f"pair: expected the ids of two circuits as ID{PAIR}ID, got {cut(repr(ref))}")
    ids = sorted(store.circuit_id(end.strip()) for end in ends)
    if ids[0] == ids[1]:
        raise InputError(f"pair: expected two circuits, got {ids[0][:12]} twice; write circuit:{ids[0][:12]}")
    return PAIR.join(ids)


def _class(store: Store, ref: str) -> str:
    rows = store.items()[["dataset", "class", "class_index"]].drop_duplicates().itertuples(index=False, name=None)
    keys = {f"{dataset}/{index}/{name}": (f"{dataset}/{name}", name) for dataset, name, index in rows}
    found = [key for key, names in keys.items() if ref in (key, *names)]
    if not found:
        raise unknown("class", ref, [names[0] for names in keys.values()])
    if len(found) > 1:
        raise InputError(f"class: {cut(repr(ref))} is in several data sets; write one of {', '.join(sorted(found))}")
    return found[0]


def _component(store: Store, ref: str) -> str:
    return _of_model(store, "component", ref, lambda universe: universe.node_index)


def _edge(store: Store, ref: str) -> str:
    return _of_model(store, "edge", ref, lambda universe: universe.edge_index)


def _of_model(store: Store, what: SubjectKind, ref: str, names: Callable[[Universe], Mapping[str, int]]) -> str:
    """Return `MODEL ID/NAME` of a component or an edge of a stored model."""
    given, _, name = ref.rpartition("/")
    items = _an_item_of_each_model_and_form(store)
    models = Models((item.model.name, item.model.id) for item in items)
    if not given and len(models.ids) != 1:
        raise InputError(f"{what}: expected MODEL/{cut(name)} with one of the models {', '.join(models.labels)}")
    model = models.id(given, what) if given else models.ids[0]
    known = {known for universe in _universes(model, items) for known in names(universe)}
    check_known(f"{what} of {models.label(model)}", name, sorted(known))
    return f"{model}/{name}"


def _an_item_of_each_model_and_form(store: Store) -> list[WorkItem]:
    circuits = store.circuits(columns=["model_id", "form", "discovery_id"]).drop_duplicates(["model_id", "form"])
    readouts = store.readouts().drop_duplicates("model_id")
    with store.catalog.reading() as connection:
        return list(work_items(connection, [*circuits["discovery_id"], *readouts["id"]]).values())


def _universes(model: str, items: list[WorkItem]) -> Iterator[Universe]:
    """Yield the universes of the stored answers about a model, and its computation graph in the split form."""
    mine = [item for item in items if item.model.id == model]
    yield ComputationGraph(mine[0].model.n_layers, mine[0].model.n_heads, "split")
    for item in mine:
        with suppress(InputError):  # a read-out has no universe, that of another package may not be installed
            yield universe_of(item.model, item.recipe.over)


def _query(store: Store, ref: str) -> str:
    if is_name(ref):
        return get_named(ref).name
    tokens = tokenize(ref)
    check_read_only(tokens)
    check_names(tokens)
    return ref


_RESOLVE: dict[SubjectKind, Callable[[Store, str], str]] = {
    "circuit": Store.circuit_id,
    "item": Store.item_id,
    "class": _class,
    "component": _component,
    "edge": _edge,
    "pair": _pair,
    "query": _query,
}
