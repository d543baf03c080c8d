"""The ground floor: words, state tables, events and errors, as frozen values that import nothing of ours."""
