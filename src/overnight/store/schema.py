"""The tables, as SQLAlchemy Core objects; the migrations build the same ones (a test compares them).

State tables live in the database too: (previous_state, state) of every row is a foreign key into a table
of allowed transitions, so that no code path can store a change that `domain.states` forbids.
"""

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
    text,
)

from overnight.domain.states import TASK_TRANSITIONS, TURN_TRANSITIONS

HEAD = "0004"
"""The newest migration. A database that stands here is opened without Alembic."""
KNOWN = ("0001", "0002", "0003", "0004")
"""Every migration of this version, oldest first; a database at any other is newer than this program."""
NEW = "new"
"""The state before the first one, so that a row's birth is a transition as well."""

metadata = MetaData()

alembic_version = Table("alembic_version", metadata, Column("version_num", String(32), primary_key=True))

task_transitions = Table(
    "task_transitions",
    metadata,
    Column("before", String, primary_key=True),
    Column("after", String, primary_key=True),
)

turn_transitions = Table(
    "turn_transitions",
    metadata,
    Column("before", String, primary_key=True),
    Column("after", String, primary_key=True),
)

repositories = Table(
    "repositories",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("origin", Text, nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("repository_id", String(32), ForeignKey("repositories.id"), nullable=False),
    Column("prompt", Text, nullable=False),
    Column("base_ref", Text, nullable=False),
    Column("base_commit", String, nullable=False),
    Column("previous_state", String, nullable=False),
    Column("state", String, nullable=False),
    Column("checks", Text, nullable=False),
    Column("verify", Boolean, nullable=False),
    Column("allow_test_changes", Boolean, nullable=False),
    Column("sandbox", String, nullable=False),
    Column("limits", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("picked", String(32)),
    Column("network", Text),
    Column("lend_setup_secrets", Boolean, nullable=False, server_default=text("0")),
    ForeignKeyConstraint(["previous_state", "state"], ["task_transitions.before", "task_transitions.after"]),
    Index("tasks_by_time", "created_at"),
    Index("tasks_by_repository", "repository_id", "created_at"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("task_id", String(32), ForeignKey("tasks.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("agent", String, nullable=False),
    Column("model", String, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("usage", Text, nullable=False),
    Column("seconds", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("blocked", Text),
    Column("forked_from", String(32)),
    Column("fork_step", Integer),
    Column("superseded_by", String(32)),
    Column("limits", Text),
    Column("network", Text),
    UniqueConstraint("task_id", "number"),
)

turns = Table(
    "turns",
    metadata,
    Column("attempt_id", String(32), ForeignKey("attempts.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("previous_state", String, nullable=False),
    Column("state", String, nullable=False),
    Column("message", Text, nullable=False),
    Column("patch", Text),
    Column("verdict", Text),
    Column("created_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("prompt", Text),
    Column("base_commit", String),
    ForeignKeyConstraint(["previous_state", "state"], ["turn_transitions.before", "turn_transitions.after"]),
)

commands = Table(
    "commands",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("attempt_id", String(32), ForeignKey("attempts.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("settled_at", Float),
    UniqueConstraint("attempt_id", "number"),
    Index("commands_by_state", "state", "kind"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String, nullable=False),
    Column("task_id", String(32), ForeignKey("tasks.id"), nullable=False),
    Column("attempt_id", String(32), ForeignKey("attempts.id")),
    Column("state", String, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("place", Integer, nullable=False),
    Column("owner", String),
    Column("epoch", Integer, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("created_at", Float, nullable=False),
    Index("jobs_by_state", "state", "priority", "created_at"),
    Index("jobs_by_task", "task_id"),
    Index(
        "jobs_one_open_turn",
        "attempt_id",
        unique=True,
        # The migration says the same to PostgreSQL; here it would load that dialect, 0.1 s at every start.
        sqlite_where=text("kind = 'turn' AND state != 'done'"),
    ),
)

pull_requests = Table(
    "pull_requests",
    metadata,
    Column("forge", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("task_id", String(32), ForeignKey("tasks.id"), nullable=False),
    Column("attempt_id", String(32), ForeignKey("attempts.id"), nullable=False, unique=True),
    Column("repository_id", String(32), ForeignKey("repositories.id"), nullable=False),
    Column("branch", Text, nullable=False),
    Column("base_ref", Text, nullable=False),
    Column("base_commit", String, nullable=False),
    Column("head_commit", String, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("merged_commit", String),
    Index("pull_requests_by_task", "task_id"),
)

# Values are sealed; what they are sealed for stands beside them and is part of the seal.
secrets = Table(
    "secrets",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("version", String(32), nullable=False, unique=True),
    Column("phase", String, nullable=False),
    Column("hosts", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("key_id", String(16), nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
)

# The event log. No foreign keys: a log may outlive its task, and at scale it lives in another engine.
heads = Table(
    "heads",
    metadata,
    Column("attempt_id", String(32), primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("last_seq", Integer, nullable=False),
)

chunks = Table(
    "chunks",
    metadata,
    Column("attempt_id", String(32), primary_key=True),
    Column("first_seq", Integer, primary_key=True, autoincrement=False),
    Column("last_seq", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("data", LargeBinary, nullable=False),
)


def create(connection: Connection) -> None:
    """Build a fresh database at `HEAD`: the tables, the state tables' rows and the revision."""
    metadata.create_all(connection, checkfirst=False)
    seed(connection)
    connection.execute(insert(alembic_version).values(version_num=HEAD))


def seed(connection: Connection) -> None:
    """Fill the transition tables from `domain.states`."""
    task_pairs = sorted(TASK_TRANSITIONS | {(NEW, "open")})
    turn_pairs = sorted(TURN_TRANSITIONS | {(NEW, "queued")})
    connection.execute(insert(task_transitions), [{"before": a, "after": b} for a, b in task_pairs])
    connection.execute(insert(turn_transitions), [{"before": a, "after": b} for a, b in turn_pairs])
