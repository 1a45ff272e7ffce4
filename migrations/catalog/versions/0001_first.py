"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "items",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("class", sa.Text(), nullable=False),
        sa.Column("class_index", sa.Integer(), nullable=False),
        sa.Column("condition", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("form", sa.String(16), nullable=False),
        sa.Column("corruption", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("owner", sa.Text()),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "runs",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "store",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "circuits",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("class", sa.Text(), nullable=False),
        sa.Column("class_index", sa.Integer(), nullable=False),
        sa.Column("attack", sa.Text(), nullable=False),
        sa.Column("condition", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("form", sa.String(16), nullable=False),
        sa.Column("corruption", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("direction", sa.String(16), nullable=False),
        sa.Column("extraction", sa.Text(), nullable=False),
        sa.Column("size_requested", sa.Integer()),
        sa.Column("n_nodes", sa.Integer(), nullable=False),
        sa.Column("n_edges", sa.Integer(), nullable=False),
        sa.Column("n_images", sa.Integer(), nullable=False),
        sa.Column("n_eval", sa.Integer(), nullable=False),
        sa.Column("metric_full", sa.Double()),
        sa.Column("metric_empty", sa.Double()),
        sa.Column("metric_circuit", sa.Double()),
        sa.Column("faithfulness", sa.Double()),
        sa.Column("faithfulness_random", sa.Double()),
        sa.Column("accuracy_full", sa.Double()),
        sa.Column("accuracy_empty", sa.Double()),
        sa.Column("accuracy_circuit", sa.Double()),
        sa.Column("retention", sa.Double()),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("discovery_id", sa.String(64), sa.ForeignKey("items.id"), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "discoveries",
        sa.Column("id", sa.String(64), sa.ForeignKey("items.id"), primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("n_images", sa.Integer(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "run_circuits",
        sa.Column("run", sa.String(200), sa.ForeignKey("runs.name"), primary_key=True),
        sa.Column("circuit", sa.String(64), primary_key=True),
        sa.Column("item", sa.String(64), sa.ForeignKey("items.id"), nullable=False),
        sa.Column("extraction", sa.Text(), nullable=False),
    )
    op.create_table(
        "run_items",
        sa.Column("run", sa.String(200), sa.ForeignKey("runs.name"), primary_key=True),
        sa.Column("item", sa.String(64), sa.ForeignKey("items.id"), primary_key=True),
        sa.Column("position", sa.Integer(), nullable=False),
    )
    op.create_index("ix_items_state", "items", ["state"])
    op.create_index("ix_circuits_discovery_id", "circuits", ["discovery_id"])
    op.create_index("ix_run_circuits_circuit", "run_circuits", ["circuit"])
    op.create_index("ix_run_circuits_item", "run_circuits", ["item"])
    op.create_index("ix_run_items_item", "run_items", ["item"])
