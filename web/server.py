"""The server of the explorer."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse, JSONResponse, Response

from ..errors import CircuitStoreError, InputError, StoreDamaged, StoreError, StoreForeign, StoreVersion
from ..store import Store
from .access import Access, Guard
from .opened import Opened
from .pages import PAGES
from .static_files import FOREVER, TYPES, StaticFiles
from .turns import Left

API = "/api/1"
SMALLEST_PACKED = 1_000
"""Bytes from which a response is compressed."""


def create_app(store: Store, access: Access, *, notes: bool = False) -> Callable[..., object]:
    """Return the explorer as an ASGI application.

    Args:
        store: an open store; the application does not close it.
        access: who may ask.
        notes: whether notes may be added.

    Examples:
        >>> app = create_app(store, Access.of("127.0.0.1", 8360))
    """
    app = FastAPI(title="circuitstore", openapi_url=f"{API}/openapi.json", docs_url=None, redoc_url=None)
    app.state.opened = Opened(store, notes)
    files = StaticFiles()
    api = APIRouter(prefix=API)
    for page in PAGES:
        if page.routes is not None:
            api.include_router(page.routes)
        app.add_api_route(page.path, _shell(files, page.module), include_in_schema=False, methods=["GET"])
    app.include_router(api)
    app.add_api_route(files.base + "/{path:path}", _file(files), include_in_schema=False, methods=["GET"])
    app.add_exception_handler(CircuitStoreError, _told)
    app.add_exception_handler(Left, lambda request, error: Response(status_code=499))
    app.add_middleware(GZipMiddleware, minimum_size=SMALLEST_PACKED)
    return Guard(app, access)


def _shell(files: StaticFiles, module: str) -> Callable[[], Response]:
    html = files.page(module)

    def shell() -> Response:
        return HTMLResponse(html, headers={"cache-control": "no-cache"})

    return shell


def _file(files: StaticFiles) -> Callable[[str], Response]:
    def file(path: str) -> Response:
        if path not in files.files:
            raise HTTPException(404)
        suffix = path[path.rindex(".") :]
        return Response(files.files[path], media_type=TYPES[suffix], headers={"cache-control": FOREVER})

    return file


def _told(request: Request, error: Exception) -> Response:
    """Answer with the message of an error: 400 if the request was wrong, 503 if the store cannot answer now."""
    lasting = isinstance(error, StoreDamaged | StoreForeign | StoreVersion)  # asking again would not help
    status = 500 if lasting else 503 if isinstance(error, StoreError) else 400
    return JSONResponse({"error": str(error)}, status, headers={"cache-control": "no-store"})


def serve(store: Store, access: Access, *, notes: bool = False, ready: Callable[[], None] = lambda: None) -> None:
    """Serve the explorer until Ctrl-C.

    Args:
        store: an open store.
        access: where it listens, and who may ask.
        notes: whether notes may be added.
        ready: called when the port is taken.

    Raises:
        InputError: the port is taken, or the address is not one of this machine.
    """
    listening = _listen(access)
    ready()
    config = uvicorn.Config(
        create_app(store, access, notes=notes),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    try:
        with suppress(KeyboardInterrupt):  # which uvicorn raises again after it has ended
            uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()


def _listen(access: Access) -> socket.socket:
    family = socket.AF_INET6 if ":" in access.host else socket.AF_INET
    found = socket.socket(family)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((access.host.strip("[]"), access.port))
        found.listen()
    except OSError as error:
        found.close()
        raise InputError(
            f"{access.host}:{access.port}: cannot listen there ({error.strerror or error}); choose another port with "
            "--port"
        ) from error
    return found
