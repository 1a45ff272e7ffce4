"""Tables of the catalog: requests, stored values and leases, in portable SQL without engine-specific types.

`create` creates them in a new catalog, `migrations/catalog` brings older ones up to date; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

metadata = MetaData()

SCHEMA = "0009"
"""The last revision of `migrations/catalog`, which leads to these tables."""

store = Table(
    "store",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("created_ms", BigInteger, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("owner", Text),
    Column("until_ms", BigInteger, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("spec", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
)

STATES = ("wanted", "leased", "done", "failed")
"""States of an item: to be computed; in work; its answer is stored; failed, until `retry_failed` resets it."""

items = Table(
    "items",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("state", String(8), nullable=False, index=True),
    Column("error", Text),
    Column("attempts", Integer, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("model", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("class_index", Integer, nullable=False),
    Column("image_group", Text, nullable=False, server_default=""),
    Column("condition", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("form", String(16), nullable=False),
    Column("corruption", Text, nullable=False),
    Column("metric", Text, nullable=False),
    Column("item", Text, nullable=False),  # JSON of WorkItem.to_dict
)

run_items = Table(
    "run_items",
    metadata,
    Column("run", ForeignKey("runs.name"), primary_key=True),
    Column("item", ForeignKey("items.id"), primary_key=True, index=True),
    Column("position", Integer, nullable=False),
)

discoveries = Table(
    "discoveries",
    metadata,
    Column("id", ForeignKey("items.id"), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("n_images", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

circuits = Table(
    "circuits",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("model", Text, nullable=False),
    Column("model_id", String(64), nullable=False),
    Column("dataset", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("class_index", Integer, nullable=False),
    Column("image_group", Text, nullable=False, server_default=""),
    Column("attack", Text, nullable=False),
    Column("condition", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("form", String(16), nullable=False),
    Column("corruption", Text, nullable=False),
    Column("word", Text),
    Column("target", Text),
    Column("against", Text),
    Column("metric", Text, nullable=False),
    Column("direction", String(16), nullable=False),
    Column("extraction", Text, nullable=False),
    Column("flag", Text, nullable=False),
    Column("size_requested", Integer),
    Column("n_nodes", Integer, nullable=False),
    Column("n_edges", Integer, nullable=False),
    Column("n_graph_edges", Integer, nullable=False),
    Column("n_images", Integer, nullable=False),
    Column("n_eval", Integer, nullable=False),
    Column("metric_full", Double),
    Column("metric_empty", Double),
    Column("metric_circuit", Double),
    Column("faithfulness", Double),
    Column("faithfulness_random", Double),
    Column("accuracy_full", Double),
    Column("accuracy_empty", Double),
    Column("accuracy_circuit", Double),
    Column("retention", Double),
    Column("seed", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("question", String(64), nullable=False, index=True),  # see CircuitRecord.question
    Column("discovery_id", ForeignKey("items.id"), nullable=False, index=True),
    # responses of its evaluation; no foreign keys, because a response may be missing
    Column("response_full", String(64)),
    Column("response_empty", String(64)),
    Column("response_circuit", String(64)),
    Column("created_ms", BigInteger, nullable=False),
)

responses = Table(
    "responses",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("model", Text, nullable=False),
    Column("model_id", String(64), nullable=False),
    Column("dataset", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("class_index", Integer, nullable=False),
    Column("image_group", Text, nullable=False, server_default=""),
    Column("attack", Text, nullable=False),
    Column("condition", Text, nullable=False),
    Column("word", Text),
    Column("target", Text),
    Column("metric", Text, nullable=False),
    Column("corruption", Text),
    Column("split", String(16), nullable=False),
    Column("intervention", Text, nullable=False),
    Column("circuit", String(64), index=True),  # no foreign key: the circuit of an imported response may not be stored
    Column("dtype", String(16), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("n_images", Integer, nullable=False),
    Column("metric_mean", Double, nullable=False),
    Column("accuracy", Double, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

examples = Table(
    "examples",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("model", Text, nullable=False),
    Column("model_id", String(64), nullable=False),
    Column("dataset", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("class_index", Integer, nullable=False),
    Column("image_group", Text, nullable=False),
    Column("attack", Text, nullable=False),
    Column("condition", Text, nullable=False),
    Column("n_images", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

readouts = Table(
    "readouts",
    metadata,
    Column("id", ForeignKey("items.id"), primary_key=True),
    Column("model", Text, nullable=False),
    Column("model_id", String(64), nullable=False),
    Column("dataset", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("class_index", Integer, nullable=False),
    Column("image_group", Text, nullable=False),
    Column("attack", Text, nullable=False),
    Column("condition", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("readout", Text, nullable=False),
    Column("corruption", Text, nullable=False),
    Column("metric", Text, nullable=False),
    Column("dtype", String(16), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("axes", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("n_images", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

fits = Table(
    "fits",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("model", Text, nullable=False),
    Column("model_id", String(64), nullable=False),
    Column("dataset", Text, nullable=False),
    Column("thing", String(16), nullable=False),
    Column("kind", Text, nullable=False),
    Column("fit", Text, nullable=False),
    Column("n_images", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

notes = Table(
    "notes",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("text", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("about", Text, nullable=False),  # JSON: a list of Subject.text
    Column("tags", Text, nullable=False),
    Column("state", String(16)),
    Column("evidence", Text, nullable=False),  # JSON, likewise
    Column("replaces", String(64), index=True),  # no foreign key: the earlier version may be in another store
    Column("sha256", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

run_values = Table(
    "run_values",
    metadata,
    Column("run", ForeignKey("runs.name"), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("value", String(64), primary_key=True, index=True),  # no foreign key: kept before it exists
)

run_circuits = Table(
    "run_circuits",
    metadata,
    Column("run", ForeignKey("runs.name"), primary_key=True),
    Column("circuit", String(64), primary_key=True, index=True),  # no foreign key: requested before it exists
    Column("item", ForeignKey("items.id"), nullable=False, index=True),
    Column("extraction", Text, nullable=False),  # JSON of Extraction.to_dict
)

_revision = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Where Alembic records the revision, as it would create it."""


def create(connection: Connection) -> None:
    """Create all tables in an empty database, and record their revision."""
    metadata.create_all(connection, checkfirst=False)
    _revision.create(connection)
    connection.execute(_revision.insert().values(version_num=SCHEMA))
