"""Clean-room checks, flake detection, ranking and evidence."""
