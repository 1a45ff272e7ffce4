"""The group of the images of items, circuits and responses; images were not divided into groups before."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for table in ("items", "circuits", "responses"):
        op.add_column(table, sa.Column("image_group", sa.Text(), nullable=False, server_default=""))
