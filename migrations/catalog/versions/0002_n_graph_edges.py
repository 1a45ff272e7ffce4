"""Number of edges of the whole graph of a circuit's form."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("circuits", sa.Column("n_graph_edges", sa.Integer()))
    connection = op.get_bind()
    filling = sa.text("UPDATE circuits SET n_graph_edges = :count WHERE discovery_id = :item")
    questions = connection.execute(sa.text("SELECT id, item FROM items")).all()
    counts = [{"item": id, "count": n_graph_edges(json.loads(text))} for id, text in questions]
    if counts:
        connection.execute(filling, counts)
    with op.batch_alter_table("circuits") as table:
        table.alter_column("n_graph_edges", existing_type=sa.Integer(), nullable=False)


def n_graph_edges(item: dict[str, Any]) -> int:
    """Return the number of edges of an item's graph; there are 1 + (heads + 1) l senders before layer l."""
    form, layers = item["recipe"]["form"], item["model"]["n_layers"]
    heads = 1 if form == "block" else item["model"]["n_heads"]
    inputs = {"split": 3 * heads, "head": heads, "attention": 1, "block": 1}[form]
    senders = layers + (heads + 1) * (layers * (layers - 1) // 2)
    return (inputs + 1) * senders + layers * heads + 1 + (heads + 1) * layers
