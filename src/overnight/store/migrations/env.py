"""Alembic's entry point: runs on the connection that `store.database` hands over, never on its own."""

from alembic import context

from overnight.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
