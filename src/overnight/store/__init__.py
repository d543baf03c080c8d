"""Tasks, attempts, jobs and pull requests in SQL, every query with a name."""
