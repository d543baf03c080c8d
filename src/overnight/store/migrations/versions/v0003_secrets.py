"""Secrets, sealed, and a person's word to lend those of the setup to a task's commit."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table and the column; tasks of before were lent nothing."""
    op.create_table(
        "secrets",
        sa.Column("scope", sa.Text, primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("version", sa.String(32), nullable=False, unique=True),
        sa.Column("phase", sa.String, nullable=False),
        sa.Column("hosts", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("ciphertext", sa.LargeBinary, nullable=False),
    )
    lend = sa.Column("lend_setup_secrets", sa.Boolean, nullable=False, server_default=sa.text("0"))
    op.add_column("tasks", lend)
