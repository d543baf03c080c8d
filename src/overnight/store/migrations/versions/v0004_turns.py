"""Later turns, commands of people, and forks; a wish to cancel becomes a command like the others."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

PAIRS = (("queued", "paused"), ("preparing", "paused"))


def upgrade() -> None:
    """Add tables and columns; what is there are first turns that nobody said anything to."""
    pairs = sa.table("turn_transitions", sa.column("before", sa.String), sa.column("after", sa.String))
    op.bulk_insert(pairs, [{"before": before, "after": after} for before, after in PAIRS])
    op.create_table(
        "commands",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("attempt_id", sa.String(32), sa.ForeignKey("attempts.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("settled_at", sa.Float),
        sa.UniqueConstraint("attempt_id", "number"),
    )
    op.create_index("commands_by_state", "commands", ["state", "kind"])
    op.execute(
        "INSERT INTO commands (id, attempt_id, number, turn, kind, text, state, reason, created_at) "
        # As there is one turn for each attempt so far, its id is as good as a fresh one.
        "SELECT attempt_id, attempt_id, 1, number, 'cancel', '', 'pending', '', created_at FROM turns "
        "WHERE cancel_requested AND state NOT IN ('succeeded', 'failed', 'canceled')"
    )
    op.drop_column("turns", "cancel_requested")
    op.add_column("turns", sa.Column("prompt", sa.Text))
    op.add_column("turns", sa.Column("base_commit", sa.String))
    for name, kind in (
        ("forked_from", sa.String(32)),
        ("fork_step", sa.Integer()),
        ("superseded_by", sa.String(32)),
        ("limits", sa.Text()),
        ("network", sa.Text()),
    ):
        op.add_column("attempts", sa.Column(name, kind))
