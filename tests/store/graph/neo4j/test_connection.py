"""Connections to a Neo4j server: schemes, TLS, accounts, and a clear message for each failure."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from circuitstore.errors import QueryFailed, StoreError, StoreUnreachable
from circuitstore.store.graph import open_graph
from circuitstore.store.graph.neo4j.account import Account
from circuitstore.store.graph.neo4j.errors import check_server
from circuitstore.testing.factories import make_records
from circuitstore.testing.graph_place import STORE, assert_holds, created

RECORDS = make_records(1)
OLD, NEW = "first-password", "second-password"


@pytest.fixture(scope="module")
def server(neo4j_server):
    """A server with circuits; no test here changes it."""
    neo4j_server.strip()
    with open_graph(neo4j_server.url, store_id=STORE) as graph:
        graph.put(RECORDS, created(RECORDS))
    return neo4j_server


@pytest.fixture
def tls(server):
    if server.certificate is None:
        pytest.skip("the server offers no TLS: no openssl to make a certificate with, or the server was given")
    return server


def by(server, scheme: str) -> str:
    return f"{scheme}://{server.url.partition('://')[2]}"


def reader(url: str, **kwargs):
    return open_graph(url, store_id=STORE, read_only=True, **kwargs)


@pytest.mark.parametrize("scheme", ["bolt", "neo4j"])
def test_without_tls(server, scheme):
    with reader(by(server, scheme)) as graph:
        assert_holds(graph, RECORDS)


@pytest.mark.parametrize("scheme", ["bolt+ssc", "neo4j+ssc"])
def test_with_tls_and_any_certificate(tls, scheme):
    with reader(by(tls, scheme)) as graph:
        assert_holds(graph, RECORDS)


@pytest.mark.parametrize("scheme", ["bolt", "neo4j"])
def test_a_certificate_must_be_trusted(tls, monkeypatch, capfd, scheme):
    url = by(tls, f"{scheme}+s")
    with pytest.raises(StoreError, match=r"does not trust \(self-signed") as refused:
        reader(url)
    assert f"{scheme}+ssc://127.0.0.1:" in str(refused.value) and "SSL_CERT_FILE" in str(refused.value)
    assert not isinstance(refused.value, StoreUnreachable)  # waiting does not help
    assert capfd.readouterr() == ("", "")  # the driver's log messages are not printed
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.certificate))
    with reader(url) as graph:
        assert_holds(graph, RECORDS)


def test_an_account_given_goes_before_the_environment(server, monkeypatch):
    account = Account(server.password, server.user)
    monkeypatch.setenv("CIRCUITSTORE_NEO4J_PASSWORD", "of-the-environment")
    with reader(server.url, account=account) as graph:
        assert_holds(graph, RECORDS)
    assert server.password not in f"{account!r} {account}"


def test_several_wrong_passwords_are_reported(server):
    """A separate user, because the server then refuses it for some seconds."""
    server.ask("CREATE OR REPLACE USER guess SET PASSWORD $new CHANGE NOT REQUIRED", database="system", new=NEW)
    said = []
    for _ in range(4):
        with pytest.raises(StoreError) as refused:
            reader(server.url, account=Account("not-the-password", "guess"))
        said.append(str(refused.value))
    assert "refuses user 'guess'" in said[0] and "CIRCUITSTORE_NEO4J_PASSWORD" in said[0]
    assert "for a while" in said[-1] and "wait a few seconds" in said[-1]
    assert "not-the-password" not in "".join(said)
    server.ask("DROP USER guess", database="system")


def test_a_password_that_must_be_changed_is_reported_with_the_statement(server):
    server.ask("CREATE OR REPLACE USER fresh SET PASSWORD $old CHANGE REQUIRED", database="system", old=OLD)
    with pytest.raises(StoreError, match=r"'fresh' must be changed.*ALTER CURRENT USER SET PASSWORD") as refused:
        reader(server.url, account=Account(OLD, "fresh"))
    assert OLD not in str(refused.value)
    server.ask("DROP USER fresh", database="system")


@pytest.mark.parametrize("scheme", ["bolt", "neo4j"])
def test_a_database_that_is_not_there(server, scheme):
    with pytest.raises(StoreError, match=r"no database 'elsewhere'; correct the end of the URL"):
        reader(f"{scheme}://{server.address.partition('://')[2]}/elsewhere")


@pytest.mark.parametrize("scheme", ["bolt", "neo4j+s"])
def test_a_host_that_is_not_there(scheme):
    with pytest.raises(StoreUnreachable, match=r"no host of that name; correct the URL"):
        reader(f"{scheme}://no-such-host.invalid/neo4j")


@pytest.mark.parametrize("scheme", ["bolt", "neo4j", "neo4j+s"])
def test_a_port_where_nothing_listens(scheme):
    with pytest.raises(StoreUnreachable, match=r"nothing listens there; start the server, wait until"):
        reader(f"{scheme}://127.0.0.1:9/neo4j")


@contextmanager
def closing_port() -> Iterator[int]:
    """A port that accepts and closes connections, as that of a container does whose server is starting."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_server_that_hangs_up():
    with closing_port() as port:
        with pytest.raises(StoreUnreachable, match=r"starting, wait a moment.*bolt\+s:// if it requires TLS"):
            reader(f"bolt://127.0.0.1:{port}/neo4j")
        with pytest.raises(StoreUnreachable, match=r"starting, wait a moment"):
            reader(f"bolt+s://127.0.0.1:{port}/neo4j")


def test_a_web_servers_port():
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as web:
        web.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        with pytest.raises(StoreUnreachable, match="does not speak TLS at this port"):
            reader(f"neo4j+s://127.0.0.1:{web.server_port}/neo4j")
        web.shutdown()
        thread.join()


@pytest.mark.parametrize("agent", ["Neo4j/5.25.1", "Neo4j/4.4.38", "Neo4j/v5.11.0 compatible (Memgraph)"])
def test_a_server_that_is_too_old_or_unknown(agent):
    with pytest.raises(StoreError, match=r"bolt://host.*needs Neo4j 5\.26 or newer"):
        check_server(agent, "bolt://host")


@pytest.mark.parametrize("agent", ["Neo4j/5.26.0", "Neo4j/5.27-aura", "Neo4j/2025.01.0", "Neo4j/2026.09.0"])
def test_a_server_that_is_new_enough(agent):
    check_server(agent, "bolt://host")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MATCH (c:Circuit)\nRETURN (c", r"line 2, column 10, in 'RETURN \(c': Invalid input"),
        ("MATCH (c:Circuit) RETURN pow(2, 3)", r"line 1, column 26, in .*Unknown function 'pow'"),
        ("MATCH (c:Circuit) RETURN sum(c.id)", r"SUM|[Ss]um|String"),
        ("MATCH (c:Circuit) RETURN 1 / (c.n_edges - c.n_edges)", "by zero"),
        ("MATCH (c:Circuit) RETURN left(c.id, -1)", "left|negative"),
    ],
)
def test_a_failing_query_is_reported_in_one_line_with_its_position(server, text, message):
    with reader(server.url) as graph:
        with pytest.raises(QueryFailed, match=message) as failed:
            graph.run(text)
        assert "circuitstore docs queries" in str(failed.value) and len(str(failed.value).splitlines()) == 1
