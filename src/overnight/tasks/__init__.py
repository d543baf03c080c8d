"""What anyone may do with tasks: submit, cancel, pick, list."""
