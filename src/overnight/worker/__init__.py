"""How an attempt is carried out: claim, prepare, work, verify, publish, recover."""
