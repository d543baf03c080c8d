"""The event log of attempts: append, read, follow, and the folds that make views of it."""
