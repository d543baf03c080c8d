"""Our own sandbox of Linux namespaces: one per attempt, with a supervisor inside, from a pool.

`zygote.py` and what it imports run in processes of their own and may use the standard library alone.
"""
