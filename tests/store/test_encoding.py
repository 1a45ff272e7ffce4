from dataclasses import asdict, replace

import numpy as np
import pytest
from circuitstore.circuits import (
    Circuit,
    CircuitRecord,
    ComputationGraph,
    Discovery,
    EdgeScores,
    Evaluation,
    Extraction,
)
from circuitstore.errors import InputError, StoreDamaged, StoreVersion
from circuitstore.store import encoding
from circuitstore.testing.factories import make_discovery, make_item, make_record
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

GRAPH = ComputationGraph(1, 2, "split")
ITEM = make_item(n_layers=1, n_heads=2)
N = GRAPH.n_edges

finite32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
finite64 = st.floats(allow_nan=False, allow_infinity=False)
finite_half = st.floats(-(2.0**120), 2.0**120, width=32)  # the largest may be rounded up
edge_values = arrays.arrays(np.float32, N, elements=finite32)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite64 | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def discoveries(draw: st.DrawFn) -> Discovery:
    n_images = draw(st.integers(0, 3))
    images = tuple(draw(st.lists(st.text("0123456789abcdef", min_size=4), min_size=n_images, max_size=n_images)))
    per_image = st.none()
    if n_images:
        per_image |= arrays.arrays(np.float32, (n_images, N), elements=finite_half)
    scores = EdgeScores(
        GRAPH,
        draw(edge_values),
        draw(st.none() | edge_values),
        draw(per_image),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.none() | finite64),
    )
    members = draw(st.none() | arrays.arrays(bool, N))
    only_members = members is not None and draw(st.booleans())
    trace = draw(st.dictionaries(st.text(), json_values, max_size=3))
    return encoding.rounded(
        Discovery(ITEM, None if only_members else scores, images, members, trace, {"device": "cpu"})
    )


@st.composite
def records(draw: st.DrawFn) -> CircuitRecord:
    order = np.array(draw(st.lists(st.integers(0, N - 1), unique=True)), int)
    members = np.zeros(N, bool)
    members[order] = True
    circuit = Circuit(
        GRAPH,
        members,
        draw(st.none() | st.integers(0, N)),
        order,
        draw(st.text()),
        score=draw(st.none() | edge_values),
        std=draw(st.none() | edge_values),
    )
    node_values = st.none() | arrays.arrays(np.float32, len(GRAPH.components), elements=finite32)
    optional = st.none() | finite64
    evaluation = st.builds(
        Evaluation,
        st.integers(0, 1000),
        *[finite64] * 3,
        optional,
        *[finite64] * 3,
        optional,
        st.lists(finite64, max_size=3).map(tuple),
        st.dictionaries(st.text(), st.text(), max_size=2),
    ).filter(lambda e: e.faithfulness is None or e.metric_full != e.metric_empty)
    return CircuitRecord(
        item=ITEM,
        extraction=Extraction.of("edges", {"n": draw(st.integers(1, 9))}),
        circuit=circuit,
        n_images=draw(st.integers(0, 99)),
        evaluation=draw(st.none() | evaluation),
        frequency=draw(st.none() | edge_values),
        full_in=draw(node_values),
        full_out=draw(node_values),
        notes=tuple(draw(st.lists(st.text(), max_size=2))),
    )


def same_bits(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and (a + a.dtype.type(0)).tobytes() == (b + b.dtype.type(0)).tobytes()


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(discoveries())
def test_a_discovery_comes_back_bit_by_bit(discovery: Discovery) -> None:
    table = encoding.discovery_to_table(discovery, 17)
    header = encoding.header_of(table.schema)
    back = encoding.discovery_from_table(header, table)
    assert (back.id, back.sha256, header["created_ms"]) == (discovery.id, discovery.sha256, 17)
    assert (back.item, back.images, back.trace) == (discovery.item, discovery.images, discovery.trace)
    assert (back.members is None) == (discovery.members is None)
    assert back.members is None or np.array_equal(back.members, discovery.members)
    assert (back.scores is None) == (discovery.scores is None)
    if back.scores is not None and discovery.scores is not None:
        for name in ("mean", "std", "per_image"):
            assert same_bits(getattr(back.scores, name), getattr(discovery.scores, name)), name
        for name in ("graph", "additive", "signed", "residual", "residual_absolute", "shares"):
            assert getattr(back.scores, name) == getattr(discovery.scores, name)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(records())
def test_a_circuit_comes_back_bit_by_bit(record: CircuitRecord) -> None:
    table = encoding.circuit_to_table(record, 17)
    back = encoding.circuit_from_table(encoding.header_of(table.schema), table)
    assert (back.id, back.sha256) == (record.id, record.sha256)
    assert back.properties() == record.properties()
    assert np.array_equal(back.circuit.order, record.circuit.order)
    assert np.array_equal(back.circuit.members, record.circuit.members)
    assert (back.evaluation, back.notes, back.circuit.extraction) == (
        record.evaluation,
        record.notes,
        record.circuit.extraction,
    )
    members = record.circuit.members
    for ours, theirs in (
        (record.circuit.score, back.circuit.score),
        (record.circuit.std, back.circuit.std),
        (record.frequency, back.frequency),
    ):
        assert same_bits(None if ours is None else ours[members], None if theirs is None else theirs[members])
        assert theirs is None or np.isnan(theirs[~members]).all()
    assert same_bits(back.full_in, record.full_in) and same_bits(back.full_out, record.full_out)


def test_float64_scores_are_kept_as_float32_and_have_the_same_checksum() -> None:
    discovery = make_discovery()
    assert discovery.scores is not None
    exact = discovery.scores.mean.astype(np.float64) / 3
    double = replace(discovery, scores=replace(discovery.scores, mean=exact))
    kept = encoding.rounded(double)
    assert kept.scores is not None and kept.scores.mean.dtype == np.float32
    assert kept.sha256 == double.sha256
    assert np.array_equal(kept.scores.mean, exact.astype(np.float32))


def test_nothing_but_json_goes_into_a_header() -> None:
    for trace in ({"loss": float("nan")}, {"loss": np.arange(3)}):
        with pytest.raises(InputError, match="must be JSON"):
            encoding.discovery_to_table(replace(make_discovery(), trace=trace), 0)


def test_an_altered_header_is_noticed() -> None:
    table = encoding.circuit_to_table(make_record(make_discovery()), 5)
    metadata = dict(table.schema.metadata)
    text = metadata[encoding.HEADER]
    altered = table.replace_schema_metadata(metadata | {encoding.HEADER: text.replace(b"0.89", b"0.99")})
    with pytest.raises(StoreDamaged, match="header"):
        encoding.header_of(altered.schema)
    with pytest.raises(StoreDamaged, match="header"):
        encoding.header_of(table.replace_schema_metadata(None).schema)


def test_an_altered_column_is_noticed() -> None:
    table = encoding.circuit_to_table(make_record(make_discovery()), 5)
    header = encoding.header_of(table.schema)
    score = table.column("score").to_numpy().copy()
    score[3] = np.nextafter(score[3], np.float32(9))
    altered = table.set_column(table.column_names.index("score"), table.field("score"), [score])
    with pytest.raises(StoreDamaged, match="'score' does not match"):
        encoding.circuit_from_table(header, altered)
    with pytest.raises(StoreDamaged, match="'score' is missing"):
        encoding.circuit_from_table(header, table.drop_columns(["score"]))


def test_columns_of_another_circuit_are_noticed() -> None:
    record, other = (make_record(make_discovery(), n) for n in (30, 40))
    header = encoding.header_of(encoding.circuit_to_table(record, 5).schema)
    theirs = encoding.circuit_to_table(other, 5)
    lied = header | {"columns": encoding.header_of(theirs.schema)["columns"]}
    with pytest.raises(StoreDamaged, match="its checksum is"):
        encoding.circuit_from_table(lied, theirs)


def test_a_newer_format_names_both_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "FORMAT", 7)
    table = encoding.circuit_to_table(make_record(make_discovery()), 5)
    monkeypatch.setattr(encoding, "FORMAT", 1)
    with pytest.raises(StoreVersion, match=r"format is 7.*up to 1"):
        encoding.header_of(table.schema)


def test_evaluations_survive_json() -> None:
    record = make_record(make_discovery())
    table = encoding.circuit_to_table(record, 5)
    back = encoding.circuit_from_table(encoding.header_of(table.schema), table)
    assert back.evaluation is not None and record.evaluation is not None
    assert asdict(back.evaluation) == asdict(record.evaluation)
