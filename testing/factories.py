"""Synthetic discoveries and circuits of any size, deterministic by seed, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa

from ..circuits import (
    NATURAL,
    READOUT,
    Axis,
    CircuitRecord,
    ClassInfo,
    Condition,
    Corruption,
    Discovery,
    EdgeScores,
    Evaluation,
    Example,
    ExampleImages,
    Extraction,
    Fit,
    FitUse,
    Hypothesis,
    MethodUse,
    Metric,
    ModelInfo,
    Neurons,
    Note,
    Readout,
    ReadoutRecord,
    Recipe,
    Response,
    Role,
    SeenImage,
    Selection,
    Subject,
    Universe,
    UniverseUse,
    WorkItem,
    bootstrap_frequency,
    digest,
    greedy,
    neurons,
    path_discovery,
    path_record,
    readout_use,
    trials_of,
    universe_of,
)
from ..store.cypher.schema import SIMILAR
from ..store.graph.notes import GraphNotes
from .picked_neurons import PICKED, picked


def make_item(
    seed: int = 0,
    *,
    class_index: int = 0,
    attack: str = "natural",
    form: str = "split",
    universe: UniverseUse | None = None,
    n_layers: int = 4,
    n_heads: int = 4,
    metric: str = "logit",
    corruption: str = "other-class",
) -> WorkItem:
    """Return a work item; another `seed` selects other images. A `universe` replaces the form."""
    model = ModelInfo(digest(["model", n_layers, n_heads]), f"toy-{n_layers}x{n_heads}", n_layers, n_heads, 64, 10)
    params = {} if attack == "natural" else {"text": "other class"}
    recipe = Recipe(
        method=MethodUse.of("eap-ig", {"steps": 5, "rule": "midpoint"}),
        form=form if universe is None else universe.form,
        metric=Metric.of(metric),
        corruption=Corruption.of(corruption),
        universe=universe,
    )
    return WorkItem(
        model=model,
        target_class=ClassInfo("toys", f"class-{class_index}", class_index),
        condition=Condition.of(attack, params),
        recipe=recipe,
        selection=Selection.of(_hashes(seed, class_index, 8), 8, "correct"),
    )


def make_discovery(
    seed: int = 0, *, n_images: int = 8, item: WorkItem | None = None, universe: Universe | None = None
) -> Discovery:
    """Return scores that sum a part shared by all seeds, one per class, and one per image; rounded as archived.

    Args:
        universe: the item's universe, if its package may not be installed.
    """
    item = item or make_item(seed)
    universe = universe or universe_of(item.model, item.recipe.over)
    shared = np.random.default_rng(0).laplace(size=universe.n_edges)
    rng = np.random.default_rng([seed, item.target_class.class_index, len(item.condition.text)])
    own = rng.laplace(size=universe.n_edges)
    per_image = (shared + own + 0.5 * rng.normal(size=(n_images, universe.n_edges))).astype(np.float32)
    scores = EdgeScores.from_images(universe, per_image).rounded()
    images = tuple(_hashes(seed, item.target_class.class_index, n_images))
    return Discovery(item, scores, images, provenance={"device": "cpu"})


def _hashes(seed: int, class_index: int, count: int) -> list[str]:
    return [digest(["image", seed, class_index, i]) for i in range(count)]


def make_record(discovery: Discovery, n: int = 40) -> CircuitRecord:
    """Return the greedy circuit of `n` edges with a synthetic evaluation."""
    scores = discovery.scores
    assert scores is not None and scores.per_image is not None
    circuit = greedy(scores, n)
    strength = float(np.tanh(scores.mean[circuit.members].sum() / 50))
    return CircuitRecord(
        item=discovery.item,
        extraction=Extraction.of("edges", {"n": n}),
        circuit=circuit,
        n_images=len(discovery.images),
        evaluation=Evaluation(9, 5.0, 1.0, 1 + 4 * strength, strength, 1.0, 0.1, 0.9, 0.89, (1.5, 1.25)),
        frequency=bootstrap_frequency(scores.per_image, n),
        full_in=scores.inflow,
        full_out=scores.outflow,
    )


def make_responses(item: WorkItem, circuit: str, n_images: int = 4) -> dict[Role, Response]:
    """Return synthetic responses for the evaluation of a circuit, by role."""
    found: dict[Role, Response] = {}
    for i, (role, trial) in enumerate(trials_of(item, circuit).items()):
        rng = np.random.default_rng([i, item.target_class.class_index])
        predicted = rng.integers(0, item.model.n_classes, n_images, dtype=np.int32)
        true = np.full(n_images, item.target_class.class_index, np.int32)
        images = tuple(_hashes(99, item.target_class.class_index, n_images))
        found[role] = Response(trial, images, rng.normal(size=n_images), predicted, true, predicted == true)
    return found


def with_responses(record: CircuitRecord) -> tuple[CircuitRecord, list[Response]]:
    """Return the record with references to synthetic responses, and the responses."""
    responses = make_responses(record.item, record.id)
    ids = {role: response.id for role, response in responses.items()}
    return replace(record, responses=ids), list(responses.values())


def make_examples(item: WorkItem, count: int = 2, *, seed: int = 0) -> ExampleImages:
    """Return synthetic example images of an item, attacked unless its condition is natural."""
    rng = np.random.default_rng([seed, item.target_class.class_index])

    def seen() -> SeenImage:
        return SeenImage(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8), item.target_class.name, float(rng.uniform()))

    attacked = item.condition.kind != NATURAL
    hashes = _hashes(99, item.target_class.class_index, count)
    examples = tuple(Example(hash_, f"{hash_[:6]}.png", seen(), seen() if attacked else None) for hash_ in hashes)
    rates = dict.fromkeys(("success", "one_step", "more_steps", "more_restarts", "large"), 0.5)
    return ExampleImages.of(item, count, examples, {"images": 4, **rates, "suspicious": []} if attacked else {})


def path_item(item: WorkItem, width: int = 8) -> WorkItem:
    """Return the question for the neuron paths of the same images."""
    method, use = MethodUse.of("neuron-path", {"k": 1}), neurons(width)
    recipe = replace(item.recipe, method=method, form=use.form, universe=use, metric=Metric.of("probability"))
    return replace(item, recipe=replace(recipe, corruption=Corruption.of("zero")))


def make_paths(item: WorkItem, count: int = 8, *, seed: int = 0) -> tuple[Discovery, CircuitRecord]:
    """Return synthetic neuron paths for a `path_item`, and the path of its class."""
    universe = universe_of(item.model, item.recipe.over)
    assert isinstance(universe, Neurons)
    rng = np.random.default_rng([seed, item.target_class.class_index, len(item.condition.text)])
    paths = rng.integers(0, universe.width, (count, universe.n_layers, 1))
    images = tuple(_hashes(97, item.target_class.class_index, count))
    jas, parts = rng.normal(size=count), rng.normal(size=paths.shape)
    discovery = path_discovery(item, images, paths, jas=jas, parts=parts, provenance={"device": "cpu"})
    return discovery, path_record(discovery)


def make_readout(item: WorkItem, count: int = 3, *, per_image: bool = False, seed: int = 0) -> ReadoutRecord:
    """Return a synthetic logit lens for a read-out item; see `readout_item`."""
    rng = np.random.default_rng([seed, item.target_class.class_index])
    points = ("resid_pre.0", "resid_mid.0", "resid_post.0")
    axes = (Axis("image", tuple(range(count))), Axis("point", points), Axis("class", (0, 1)))
    readout = Readout(readout_use(item), axes, rng.normal(size=(count, len(points), 2)), facts={"residual": 0.25})
    hashes = tuple(_hashes(98, item.target_class.class_index, count))
    return ReadoutRecord.of(item, hashes, readout, per_image=per_image, provenance={"device": "cpu"})


def make_fit(count: int = 3, seed: int = 0) -> Fit:
    """Return synthetic directions: unit vectors of three senders, and their offsets."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(3, 2, 4)).astype(np.float32)
    arrays = {"vectors": vectors, "offsets": rng.normal(size=(3, 2)), "kept": np.array([True, False, True])}
    hashes = tuple(f"{seed:02x}{i:062x}" for i in range(count))
    model = make_item().model
    return Fit("directions", FitUse.of("split", {"quantile": 0.95}), model, "digits", hashes, arrays, {"bar": 0.5})


def make_note(text: str = "the word is read here", *, about: Sequence[Subject] = ()) -> Note:
    """Return an open hypothesis with two tags."""
    return Note(text, "ada", tuple(about), ("typography", "words"), Hypothesis("open"))


def readout_item(item: WorkItem) -> WorkItem:
    """Return the question for a logit lens of the same images."""
    use = MethodUse.of("logit-lens", {"norm": True})
    return replace(item, recipe=replace(item.recipe, method=use, form=READOUT, universe=None))


def make_records(
    count: int, *, n: int = 40, form: str = "split", n_layers: int = 4, n_heads: int = 4
) -> list[CircuitRecord]:
    """Return records over ten classes, alternately natural and typographic."""
    return [
        make_record(
            make_discovery(
                i // 20,
                item=make_item(
                    i // 20,
                    class_index=i // 2 % 10,
                    attack=("natural", "typographic")[i % 2],
                    form=form,
                    n_layers=n_layers,
                    n_heads=n_heads,
                ),
            ),
            n,
        )
        for i in range(count)
    ]


def make_neuron_records(chosen: str, count: int = 1, *, n: int = 3) -> list[CircuitRecord]:
    """Return records over a universe of neurons, one for each of `count` classes."""
    use, records = picked(chosen), []
    for index in range(count):
        item = make_item(class_index=index, universe=use, n_layers=chosen.count("|") + 1)
        universe = PICKED.make(item.model, **dict(use.params))
        records.append(make_record(make_discovery(item=item, universe=universe), n))
    return records


def similar_pairs(records: Sequence[CircuitRecord], measure: str, value: float) -> pa.Table:
    """Return pairs in which each circuit is similar to the next one, and the last one to the first; no noise floor."""
    ids = [record.id for record in records]
    columns = {"from": ids, "to": [*ids[1:], ids[0]], "measure": measure, "value": value, "chance": 0.25, "floor": None}
    return pa.Table.from_pandas(pd.DataFrame(columns), schema=SIMILAR, preserve_index=False)


def notes_about(records: Sequence[CircuitRecord]) -> GraphNotes:
    """Return a note about each circuit, one about a pair of them, a class and an edge, and a later version of it."""
    first, last = records[0], records[-1]
    model = first.item.model.id
    several = [
        Subject("pair", f"{first.id}..{last.id}"),
        Subject("class", first.item.target_class.key),
        Subject("edge", f"{model}/a0.h1->a1.h0<q>"),
        Subject("item", first.discovery_id),
        Subject("query", "top-edges"),
    ]
    notes = [make_note(f"about {r.id}", about=[Subject("circuit", r.id)]) for r in records]
    earlier = make_note("earlier", about=several[:1])
    notes += [earlier, replace(make_note("several", about=several), replaces=earlier.id)]
    rows = [{**note.properties(), "about": list(note.about), "created_ms": i} for i, note in enumerate(notes)]
    return GraphNotes.of(rows, {first.discovery_id: [first.id]})
