"""Content-addressed objects: patches, checkpoints, artifacts."""
