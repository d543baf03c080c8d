"""What a task may reach, and what an attempt asked for and was refused."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns; empty ones mean no network and nothing refused."""
    op.add_column("tasks", sa.Column("network", sa.Text))
    op.add_column("attempts", sa.Column("blocked", sa.Text))
