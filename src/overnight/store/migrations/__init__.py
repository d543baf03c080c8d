"""The database's history, one small step a file. Imported only when a database is behind."""
