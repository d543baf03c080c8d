"""One migration a file, run in order by Alembic."""
