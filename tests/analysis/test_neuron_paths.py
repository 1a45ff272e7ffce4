"""Neuron paths in the report: the paths of classes with shares, and their similarity with the noise floor."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from circuitstore.analysis import summarise
from circuitstore.analysis.overview import read_overview
from circuitstore.analysis.report.page import render
from circuitstore.evaluation import class_neurons, neuron_similarity
from circuitstore.store import Store, create_store
from circuitstore.testing.factories import make_paths, path_item

from ..toy_studies import effect_items
from .html_page import Page

MADE = [make_paths(path_item(item)) for item in effect_items(3)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with create_store(tmp_path_factory.mktemp("paths") / "data") as store:
        with store.writer() as writer:
            writer.start_run("run", "", [d.item for d, _ in MADE], [(r.discovery_id, r.extraction) for _, r in MADE])
            for discovery, record in MADE:
                writer.put(discovery, run="run")
                writer.put(record, run="run")
        yield store


def test_the_table_has_the_neurons_of_each_path_with_their_shares(store: Store) -> None:
    (found,) = read_overview(store).neuron_paths
    assert len(found.table) == len(MADE)
    paths = {(d.item.target_class.name, d.item.condition.kind): np.array(d.trace["paths"])[:, :, 0] for d, _ in MADE}
    tops = {key: [np.bincount(layer, minlength=8).argmax() for layer in of.T] for key, of in paths.items()}
    for row in found.table.to_dict("records"):
        key = row["class"], row["condition"]
        shares = [np.mean(paths[key][:, layer] == top) for layer, top in enumerate(tops[key])]
        named = [f"m{i}.n{n} ({share:.2f})" for i, (n, share) in enumerate(zip(tops[key], shares, strict=True))]
        assert row["path"] == ", ".join(named) and row["share"] == pytest.approx(np.mean(shares))
        same = sum(a == b for a, b in zip(tops[key], tops[row["class"], "natural"], strict=True))
        assert np.isnan(row["in_natural"]) if row["condition"] == "natural" else row["in_natural"] == same


def test_the_similarity_of_classes_is_that_of_their_images_paths(store: Store) -> None:
    (found,) = read_overview(store).neuron_paths
    assert list(found.similarities) == ["natural", "typographic"]
    for condition, (names, similar) in found.similarities.items():
        own = [np.array(d.trace["paths"]) for d, _ in MADE if d.item.condition.kind == condition]
        labels = np.repeat(np.arange(3), [len(paths) for paths in own])
        expected = neuron_similarity(class_neurons(np.concatenate(own), labels, 8))
        assert names == ("class-0", "class-1", "class-2")
        assert np.array_equal(similar.halves, expected.halves)


def test_paths_are_no_study_of_edges_and_the_summary_lists_them(store: Store) -> None:
    overview = read_overview(store)
    assert overview.studies == () and overview.n_circuits == len(MADE)
    text = str(summarise(store))
    assert all(path in text for path in overview.neuron_paths[0].table["path"]) and "No circuits yet" not in text
    text = Page(render(overview)).text
    assert "no circuits yet" not in text
    assert MADE[0][0].item.model.name in overview.models[MADE[0][0].item.model.id]
    assert overview.models[MADE[0][0].item.model.id] in text
    assert "Neuron." in text and not any(term in text for term in ("Edge.", "Token."))


def test_the_page_has_the_table_and_a_heat_map_with_the_floors_on_the_diagonal(store: Store) -> None:
    overview = read_overview(store)
    page = Page(render(overview))
    assert page.csv("neurons-1")["path"].tolist() == overview.neuron_paths[0].table["path"].tolist()
    for number, (_, similar) in enumerate(overview.neuron_paths[0].similarities.values()):
        z = np.array(page.chart(f"neurons-1-{number + 1}")["data"][0]["z"], float)
        assert z == pytest.approx(similar.halves, abs=6e-5)
        assert np.diag(z) == pytest.approx(similar.floor, abs=6e-5)
