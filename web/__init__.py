"""The explorer: a store in the browser, served on this machine."""

from __future__ import annotations

from .server import create_app as create_app
from .server import serve as serve
