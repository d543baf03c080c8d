"""The first tables: repositories, tasks, attempts, turns, jobs, pull requests, and the event log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TASK_PAIRS = (
    ("new", "open"),
    ("open", "done"),
    ("open", "canceled"),
    ("done", "open"),
    ("canceled", "open"),
)
TURN_PAIRS = (
    ("new", "queued"),
    ("queued", "preparing"),
    ("queued", "canceled"),
    ("preparing", "working"),
    ("preparing", "failed"),
    ("preparing", "canceled"),
    ("working", "needs_input"),
    ("working", "paused"),
    ("working", "verifying"),
    ("working", "failed"),
    ("working", "canceled"),
    ("working", "preparing"),
    ("needs_input", "working"),
    ("needs_input", "canceled"),
    ("needs_input", "preparing"),
    ("paused", "working"),
    ("paused", "canceled"),
    ("paused", "preparing"),
    ("verifying", "succeeded"),
    ("verifying", "failed"),
    ("verifying", "canceled"),
)


def upgrade() -> None:
    """Make the tables and fill the state tables."""
    for name, pairs in (("task_transitions", TASK_PAIRS), ("turn_transitions", TURN_PAIRS)):
        table = op.create_table(
            name,
            sa.Column("before", sa.String, primary_key=True),
            sa.Column("after", sa.String, primary_key=True),
        )
        op.bulk_insert(table, [{"before": before, "after": after} for before, after in pairs])
    _tasks()
    _attempts()
    _jobs()
    _pull_requests()
    _log()


def _tasks() -> None:
    op.create_table(
        "repositories",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("origin", sa.Text, nullable=False, unique=True),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("repository_id", sa.String(32), sa.ForeignKey("repositories.id"), nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("base_ref", sa.Text, nullable=False),
        sa.Column("base_commit", sa.String, nullable=False),
        sa.Column("previous_state", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("checks", sa.Text, nullable=False),
        sa.Column("verify", sa.Boolean, nullable=False),
        sa.Column("allow_test_changes", sa.Boolean, nullable=False),
        sa.Column("sandbox", sa.String, nullable=False),
        sa.Column("limits", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("picked", sa.String(32)),
        sa.ForeignKeyConstraint(
            ["previous_state", "state"], ["task_transitions.before", "task_transitions.after"]
        ),
    )
    op.create_index("tasks_by_time", "tasks", ["created_at"])
    op.create_index("tasks_by_repository", "tasks", ["repository_id", "created_at"])


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("task_id", sa.String(32), sa.ForeignKey("tasks.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("agent", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("usage", sa.Text, nullable=False),
        sa.Column("seconds", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.UniqueConstraint("task_id", "number"),
    )
    op.create_table(
        "turns",
        sa.Column("attempt_id", sa.String(32), sa.ForeignKey("attempts.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("previous_state", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("patch", sa.Text),
        sa.Column("verdict", sa.Text),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.ForeignKeyConstraint(
            ["previous_state", "state"], ["turn_transitions.before", "turn_transitions.after"]
        ),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("task_id", sa.String(32), sa.ForeignKey("tasks.id"), nullable=False),
        sa.Column("attempt_id", sa.String(32), sa.ForeignKey("attempts.id")),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("owner", sa.String),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Float, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_index("jobs_by_state", "jobs", ["state", "priority", "created_at"])
    op.create_index("jobs_by_task", "jobs", ["task_id"])
    open_turn = sa.text("kind = 'turn' AND state != 'done'")
    op.create_index(
        "jobs_one_open_turn",
        "jobs",
        ["attempt_id"],
        unique=True,
        sqlite_where=open_turn,
        postgresql_where=open_turn,
    )


def _pull_requests() -> None:
    op.create_table(
        "pull_requests",
        sa.Column("forge", sa.String, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("task_id", sa.String(32), sa.ForeignKey("tasks.id"), nullable=False),
        sa.Column("attempt_id", sa.String(32), sa.ForeignKey("attempts.id"), nullable=False, unique=True),
        sa.Column("repository_id", sa.String(32), sa.ForeignKey("repositories.id"), nullable=False),
        sa.Column("branch", sa.Text, nullable=False),
        sa.Column("base_ref", sa.Text, nullable=False),
        sa.Column("base_commit", sa.String, nullable=False),
        sa.Column("head_commit", sa.String, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("merged_commit", sa.String),
    )
    op.create_index("pull_requests_by_task", "pull_requests", ["task_id"])


def _log() -> None:
    op.create_table(
        "heads",
        sa.Column("attempt_id", sa.String(32), primary_key=True),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("last_seq", sa.Integer, nullable=False),
    )
    op.create_table(
        "chunks",
        sa.Column("attempt_id", sa.String(32), primary_key=True),
        sa.Column("first_seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("last_seq", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
