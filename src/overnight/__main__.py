"""`python -m overnight`: the same as `overnight`."""

from overnight.cli.main import main

main()
