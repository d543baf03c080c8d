"""The options that grant the network, the same wherever a sandbox is started."""

from typing import Annotated

import typer

Network = Annotated[
    str, typer.Option(help="What commands may reach: `none`, `registries`, `open`, or HOST[,HOST…].")
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RULE", help="Grant HOST, HOST:PORT or HOST/PATH, METHODS behind it; may be given again."
    ),
]
Deny = Annotated[
    list[str] | None,
    typer.Option(metavar="RULE", help="Refuse a host whatever else is granted; may be given again."),
]
SetupNetwork = Annotated[
    str, typer.Option(help="As --network, for setup. Default: what .overnight.toml says, else `open`.")
]
