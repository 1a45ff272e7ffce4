"""A network between client and server that fails on request."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Literal

COMMIT = b"\x00\x02\xb0\x12\x00\x00"
"""The message of Bolt that commits a transaction."""

RUN = b"\xb3\x10"
"""How the message of Bolt begins that runs a statement."""

How = Literal["answer lost", "commit lost", "statement lost"]


class Proxy:
    """Passes bytes on between its own port and a server's, and resets connections as requested.

    Attributes:
        port: where it listens.
        cut: how many connections it has reset.
    """

    def __init__(self, server_port: int, how: How, every: int) -> None:
        """Reset the connection at every n-th commit or statement.

        `answer lost`: once the server has answered a commit, which the client does not learn; `commit lost`: before the
        server receives it.
        """
        self._server_port, self._how, self._every = server_port, how, every
        self._mark = RUN if how == "statement lost" else COMMIT
        self._lock, self._seen, self.cut = threading.Lock(), 0, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                for end in (client, server):  # else a small message waits for the acknowledgement of the last one
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                mute = threading.Event()
                threading.Thread(target=self._up, args=(client, server, mute), daemon=True).start()
                threading.Thread(target=self._down, args=(client, server, mute), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, mute: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                if self._mark in data and self._due():
                    if self._how != "answer lost":
                        break
                    mute.set()
                server.sendall(data)
        if not mute.is_set():
            reset(client, server)

    def _down(self, client: socket.socket, server: socket.socket, mute: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while (data := server.recv(1 << 16)) and not mute.is_set():
                client.sendall(data)
        reset(client, server)

    def _due(self) -> bool:
        with self._lock:
            self._seen += 1
            due = self._seen % self._every == 0
            self.cut += due
            return due


def reset(*connections: socket.socket) -> None:
    """End connections as a router that forgot them does."""
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            connection.close()
