"""Columns of circuits: fingerprint of the model, contrast of the images, flag and question."""

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for name in ("model_id", "question"):
        op.add_column("circuits", sa.Column(name, sa.String(64)))
    for name in ("word", "target", "against", "flag"):
        op.add_column("circuits", sa.Column(name, sa.Text()))
    _fill(op.get_bind())
    with op.batch_alter_table("circuits") as table:
        for name in ("model_id", "question"):
            table.alter_column(name, existing_type=sa.String(64), nullable=False)
        table.alter_column("flag", existing_type=sa.Text(), nullable=False)
    op.create_index("ix_circuits_question", "circuits", ["question"])


def _fill(connection: sa.Connection) -> None:
    items = {id: json.loads(text) for id, text in connection.execute(sa.text("SELECT id, item FROM items"))}
    columns = sa.text("SELECT id, discovery_id, extraction, n_edges, n_graph_edges, n_images FROM circuits")
    filling = sa.text("UPDATE circuits SET model_id = :model_id, question = :question, flag = :flag WHERE id = :id")
    if rows := connection.execute(columns).mappings().all():
        connection.execute(filling, [values(row, items[row["discovery_id"]]) for row in rows])


def values(row: sa.RowMapping, item: dict[str, Any]) -> dict[str, str]:
    """Return the new columns of a circuit; the contrast of its images was not recorded."""
    edges, everything = row["n_edges"], row["n_graph_edges"]
    reasons = {"whole model": edges == everything, "empty": edges == 0, "few images": row["n_images"] < 6}
    return {
        "id": row["id"],
        "model_id": item["model"]["id"],
        "question": question(item, row["extraction"]),
        "flag": ", ".join(reason for reason, holds in reasons.items() if holds),
    }


def question(item: dict[str, Any], extraction: str) -> str:
    """Return `CircuitRecord.question` as of this version."""
    recipe, target = item["recipe"], item["target_class"]
    method, metric, corruption = (text(recipe[name]) for name in ("method", "metric", "corruption"))
    parts = [
        item["model"]["id"],
        f"{target['dataset']}/{target['class_index']}/{target['name']}",
        text(item["condition"]),
        f"{method}, {recipe['form']}, {metric}, {recipe['direction']}, {corruption}",
        recipe["dtype"],
        recipe["seed"],
        extraction,
    ]
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def text(variant: dict[str, Any]) -> str:
    inner = ", ".join(f"{name}={value}" for name, value in sorted(variant["params"].items()))
    return f"{variant['kind']}({inner})" if inner else variant["kind"]
