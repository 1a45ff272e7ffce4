"""Who may ask the explorer: each measure of the table in docs/explorer.md has a test that fails without it."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from circuitstore.errors import InputError
from circuitstore.store import Store, create_store
from circuitstore.web import access as rules
from circuitstore.web import create_app, server
from circuitstore.web.access import Access
from fastapi import FastAPI
from starlette.testclient import TestClient

from ..toy_studies import HOSTILE, Answers, effect_items, fill, renamed, toy_store, toys  # noqa: F401

PORT = 8360
SECRET = "a-secret-of-this-test"
URL = f"http://localhost:{PORT}"
API = "/api/1/overview"


@pytest.fixture(scope="module")
def guarded(toy_store: Store) -> Iterator[TestClient]:  # noqa: F811
    """The explorer with a token."""
    app = create_app(toy_store, Access.of("127.0.0.1", PORT, SECRET))
    with TestClient(app, base_url=URL, follow_redirects=False) as client:
        yield client


@pytest.fixture
def open_(toy_store: Store) -> TestClient:  # noqa: F811
    """The explorer without a token."""
    return TestClient(create_app(toy_store, Access.of("127.0.0.1", PORT, False)), base_url=URL)


BEARER = {"authorization": f"Bearer {SECRET}"}


def static_path(client: TestClient, **headers: str) -> str:
    page = client.get("/circuits", headers=headers).text
    return next(part for part in page.split('"') if part.startswith("/static/") and part.endswith(".js"))


def test_other_machines_cannot_reach_the_default_address() -> None:
    access = Access.of("127.0.0.1", 0)
    listening = server._listen(access)
    try:
        assert listening.getsockname()[0] == "127.0.0.1"
    finally:
        listening.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "some.host"])
def test_an_address_beyond_this_machine_needs_a_token(host: str) -> None:
    with pytest.raises(InputError, match=r"without a token.*ssh -L"):
        Access.of(host, PORT, False)
    assert Access.of(host, PORT).token


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "127.0.0.2"])
def test_an_address_of_this_machine_may_be_without_one(host: str) -> None:
    assert Access.of(host, PORT, False).token is None


def test_tokens_are_random_long_and_never_empty() -> None:
    tokens = {Access.of("127.0.0.1", PORT).token for _ in range(20)}
    assert len(tokens) == 20 and all(token and len(token) >= 32 for token in tokens)
    with pytest.raises(InputError, match="empty"):
        Access.of("127.0.0.1", PORT, "")


@pytest.mark.parametrize("path", ["/", "/circuits", API, "/api/1/openapi.json", "/static/x.js", "/none"])
def test_nothing_is_answered_without_the_token(guarded: TestClient, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": f"circuitstore-{PORT}=wrong"}):
        answer = guarded.get(path, headers=headers)
        assert answer.status_code == 401 and "circuitstore serve" in answer.text
        assert "script" not in answer.text


def test_programs_send_the_token_as_bearer(guarded: TestClient) -> None:
    assert guarded.get(API, headers=BEARER).status_code == 200


def test_the_token_of_the_url_becomes_a_cookie_that_no_script_and_no_other_page_gets(toy_store: Store) -> None:  # noqa: F811
    app = create_app(toy_store, access := Access.of("127.0.0.1", PORT, SECRET))
    with TestClient(app, base_url=URL, follow_redirects=False) as client:
        answer = client.get(access.url.removeprefix(URL) + "&run=toys")
        assert (answer.status_code, answer.headers["location"]) == (303, "/?run=toys")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and f"circuitstore-{PORT}=" in cookie
        assert answer.headers["cache-control"] == "no-store"
        assert client.get(API).status_code == 200
    with TestClient(app, base_url=URL, follow_redirects=False) as client:
        answer = client.get("/?token=wrong")
        assert answer.status_code == 401 and "set-cookie" not in answer.headers


def test_the_exchange_does_not_leave_this_server(guarded: TestClient) -> None:
    answer = guarded.get(f"http://localhost:{PORT}//other.example/?token={SECRET}")
    assert answer.headers["location"].startswith("/") and not answer.headers["location"].startswith("//")


@pytest.mark.parametrize("host", [f"localhost:{PORT}", f"127.0.0.1:{PORT}", f"[::1]:{PORT}", f"LOCALHOST:{PORT}"])
def test_names_of_this_machine_are_answered(open_: TestClient, host: str) -> None:
    assert open_.get(API, headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "other.example",
        f"other.example:{PORT}",
        "localhost",
        "localhost:1",
        f"localhost:{PORT}.other.example",
        "",
        f"a@localhost:{PORT}",
        f"localhost:{PORT}/x",
        f"0.0.0.0:{PORT}",
    ],
)
def test_other_names_are_not_answered_for_pages_files_and_the_api(open_: TestClient, host: str) -> None:
    for path in ("/circuits", API, static_path(open_)):
        assert open_.get(path).status_code == 200
        assert open_.get(path, headers={"host": host}).status_code == 403


def test_two_names_are_no_name(toy_store: Store) -> None:  # noqa: F811
    app = create_app(toy_store, Access.of("127.0.0.1", PORT, False))
    client = TestClient(app, base_url=URL)
    twice = [("host", f"localhost:{PORT}"), ("host", "other.example")]
    assert client.get(API, headers=twice).status_code == 403


def test_beyond_this_machine_only_its_own_names_are_answered(toy_store: Store) -> None:  # noqa: F811
    client = TestClient(
        create_app(toy_store, Access.of("192.0.2.7", PORT, SECRET)), base_url=f"http://192.0.2.7:{PORT}"
    )
    assert client.get(API, headers=BEARER).status_code == 200
    assert client.get(API, headers=BEARER | {"host": f"other.example:{PORT}"}).status_code == 403


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin", **JSON}, 200),
        ({"sec-fetch-site": "none", **JSON}, 200),
        ({"sec-fetch-site": "same-site", **JSON}, 403),
        ({"sec-fetch-site": "cross-site", **JSON}, 403),
        ({"sec-fetch-site": "cross-site", "origin": URL, **JSON}, 403),
        ({"origin": URL, **JSON}, 200),
        ({"origin": "http://other.example", **JSON}, 403),
        ({"origin": "null", **JSON}, 403),
        ({"origin": f"https://localhost:{PORT}", **JSON}, 403),
        ({**JSON}, 200),  # no browser
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"sec-fetch-site": "same-origin", "content-type": "application/jsonp"}, 415),
        ({"sec-fetch-site": "same-origin", "content-type": "application/json; charset=utf-8"}, 200),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_no_other_page_can_write(headers: dict[str, str], status: int, method: str) -> None:
    app = FastAPI()
    app.add_api_route("/write", lambda: {"written": True}, methods=["POST", "PUT", "DELETE"])
    client = TestClient(rules.Guard(app, Access.of("127.0.0.1", PORT, False)), base_url=URL)
    assert client.request(method, "/write", headers=headers, content=b"{}").status_code == status


@pytest.mark.parametrize("path", ["/circuits", API, "/none", "/api/1/circuits?sort=none", "/static/none.js"])
def test_every_response_has_the_headers(open_: TestClient, path: str) -> None:
    headers = open_.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["script-src"] == "'self'" and policy["connect-src"] == "'self'"
    assert (
        policy["frame-ancestors"] == "'none'" and policy["base-uri"] == "'none'" and policy["form-action"] == "'self'"
    )
    assert policy["img-src"] == "'self' data: blob:" and "http" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


def test_refusals_have_the_headers_too(guarded: TestClient) -> None:
    for answer in (guarded.get(API), guarded.get(API, headers={"host": "other.example"})):
        assert "content-security-policy" in answer.headers and answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/circuits", "/query"])
def test_pages_have_no_inline_script_and_nothing_of_a_store(open_: TestClient, path: str) -> None:
    page = open_.get(path, params={"class": HOSTILE}).text
    assert (
        page.count("<script") == 1 and "></script>" in page and " on" not in page.split("<body")[0].replace(" only", "")
    )
    assert "alert" not in page and "http:" not in page


def test_names_with_markup_stay_data(tmp_path: Path) -> None:
    names = [HOSTILE, "مرحبا \u202eabc", "x" * 10_000]
    items = [renamed(item, name) for item, name in zip(effect_items(3, ["natural"]), names, strict=True)]
    fill(tmp_path / "store", Answers.to(items))
    with create_store(tmp_path / "store") as store:
        client = TestClient(create_app(store, Access.of("127.0.0.1", PORT, False)), base_url=URL)
        answer = client.get("/api/1/circuits")
        assert answer.headers["content-type"] == "application/json"
        at = answer.json()["columns"].index("class")
        assert {row[at] for row in answer.json()["rows"]} == set(names)
        assert len(client.get("/api/1/circuits", params={"class": HOSTILE}).json()["rows"]) == 1
        assert "attachment" in client.get("/api/1/circuits?as=csv").headers["content-disposition"]


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static",
        "/static/../server.py",
        "{base}/",
        "{base}/../../server.py",
        "{base}/%2e%2e/%2e%2e/server.py",
        "{base}//etc/passwd",
        "{base}/pages",
        "/static/0000000000000000/app.js",
        "/api/1/",
        "/docs",
        "/redoc",
    ],
)
def test_only_listed_files_are_served(open_: TestClient, path: str) -> None:
    base = static_path(open_).rpartition("/pages/")[0]
    assert open_.get(path.format(base=base)).status_code == 404


def test_nothing_but_reading_is_offered(open_: TestClient) -> None:
    paths = open_.get("/api/1/openapi.json").json()["paths"]
    assert {name for name, path in paths.items() if set(path) != {"get"}} == {"/api/1/notes"}
    assert open_.post("/api/1/notes", json={"text": "x"}).status_code == 403
    assert open_.post("/api/1/circuits", json={}).status_code == 405


def test_the_store_is_read_only(toy_store: Store, open_: TestClient) -> None:  # noqa: F811
    open_.get("/api/1/query", params={"text": "MATCH (c:Circuit) RETURN c.id"})
    assert toy_store.graph.read_only
    assert "read" in open_.get("/api/1/query", params={"text": "CREATE (c:Circuit)"}).json()["error"]


@pytest.fixture
def served(toy_store: Store) -> Iterator[int]:  # noqa: F811
    """The port of a real server without a token."""
    listening = server._listen(Access("127.0.0.1", 0, None))
    port = listening.getsockname()[1]
    running = uvicorn.Server(
        uvicorn.Config(create_app(toy_store, Access.of("127.0.0.1", port, False)), log_level="error")
    )
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield port
    running.should_exit = True
    thread.join()


def test_a_real_server_checks_the_name_too(served: int) -> None:
    def status(host: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", served)
        connection.request("GET", API, headers={"Host": host})
        found = connection.getresponse().status
        connection.close()
        return found

    assert [status(f"127.0.0.1:{served}"), status(f"other.example:{served}"), status(f"a/?localhost:{served}")] == [
        200,
        403,
        403,
    ]


def test_a_port_in_use_is_named(served: int) -> None:
    with pytest.raises(InputError, match=rf"127.0.0.1:{served}: cannot listen there.*--port"):
        server._listen(Access.of("127.0.0.1", served))


def test_serving_imports_no_torch() -> None:
    code = (
        "import sys, circuitstore.cli.serve, circuitstore.web; "
        "print(sorted({'torch', 'timm', 'torchvision', 'plotly'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
