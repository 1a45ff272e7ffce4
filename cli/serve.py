"""The command that serves the explorer."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from ..errors import InputError
from .options import CatalogUrl, GraphUrl, StoreFolder, settings
from .output import print_message

PORT = 8360


def serve(
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="PORT", min=1, max=65_535, help="Port to listen on.")] = PORT,
    token: Annotated[
        str | None, typer.Option("--token", metavar="TEXT", help="The token of the URL; default: a random one.")
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let everyone on this machine in, without a token.")
    ] = False,
    notes: Annotated[bool, typer.Option("--notes", help="Allow adding notes; otherwise nothing is written.")] = False,
    browser: Annotated[bool, typer.Option("--open", help="Open the URL in the browser.")] = False,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Look at a store in the browser.

    Prints a URL with a token, which the browser keeps as a cookie. The store is only read. From another
    machine: ssh -L 8360:localhost:8360 HOST.
    """
    from ..store import open_store
    from ..web import serve as serve_app
    from ..web.access import Access

    if no_token and token is not None:
        raise InputError("--token and --no-token: give only one of them")
    access = Access.of(host, port, token=False if no_token else True if token is None else token)

    def ready() -> None:
        print(f"explorer: {access.url}", flush=True)  # on stderr the token would be masked
        print_message("Ctrl-C ends it")
        if browser:
            webbrowser.open(access.url)

    with open_store(**settings(store, graph, catalog).place) as opened:
        serve_app(opened, access, notes=notes, ready=ready)
