"""The only way out of a sandbox: a proxy in the worker that answers on listeners lifted out of it."""
