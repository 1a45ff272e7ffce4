"""Responses per image, and references of circuits to the responses behind their evaluation."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "responses",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("model_id", sa.String(64), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("class", sa.Text(), nullable=False),
        sa.Column("class_index", sa.Integer(), nullable=False),
        sa.Column("attack", sa.Text(), nullable=False),
        sa.Column("condition", sa.Text(), nullable=False),
        sa.Column("word", sa.Text()),
        sa.Column("target", sa.Text()),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("corruption", sa.Text()),
        sa.Column("split", sa.String(16), nullable=False),
        sa.Column("intervention", sa.Text(), nullable=False),
        sa.Column("circuit", sa.String(64), index=True),
        sa.Column("dtype", sa.String(16), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("n_images", sa.Integer(), nullable=False),
        sa.Column("metric_mean", sa.Double(), nullable=False),
        sa.Column("accuracy", sa.Double(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    )
    for role in ("full", "empty", "circuit"):
        op.add_column("circuits", sa.Column(f"response_{role}", sa.String(64)))
