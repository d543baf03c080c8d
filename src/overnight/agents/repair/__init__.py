"""`repair`: locate, propose, check, keep, feed back; made for models that only follow simple formats."""
