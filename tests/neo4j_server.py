"""A real Neo4j Community for the tests: a separate process on the loopback, with authentication on.

`CIRCUITSTORE_TEST_NEO4J` (a URL, with `CIRCUITSTORE_TEST_NEO4J_USER` and `_PASSWORD`) names a server that runs
already; its database must be empty, and is emptied by the tests. Otherwise one is started from Maven artifacts, which
needs a JDK 17 or newer (21 for Neo4j 2026), and Maven the first time. Where there is an `openssl`, it offers TLS too,
with a certificate that it signed itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import select
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import neo4j

VERSION, NEWEST = "5.26.28", "2026.09.0"
JAVA = {VERSION: 17, NEWEST: 21}
"""The oldest Java that runs it."""
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
CACHE = Path("~/.cache/circuitstore-tests").expanduser()
PROGRAM = Path(__file__).with_name("Neo4jServer.java")
PACKAGES = ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent")
OPTIONS = [*(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in PACKAGES), "-Dlog4j2.disable.jmx=true", "-Xmx1g"]
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Only Java's quick compiler, and no threads that collect garbage: a server is up with half the work.

One that is timed has neither.
"""
SETTINGS = """dbms.security.auth_enabled=true
server.memory.pagecache.size=128m
db.memory.transaction.max=256m
db.tx_log.preallocate=false
dbms.usage_report.enabled=false
"""
TLS = """server.bolt.tls_level=OPTIONAL
dbms.ssl.policy.bolt.enabled=true
dbms.ssl.policy.bolt.base_directory={folder}
dbms.ssl.policy.bolt.private_key=private.key
dbms.ssl.policy.bolt.public_certificate=public.crt
dbms.ssl.policy.bolt.client_auth=NONE
"""
CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout private.key -out public.crt "
    "-addext subjectAltName=IP:127.0.0.1"
)
POM = """<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>circuitstore</groupId><artifactId>tests</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.neo4j</groupId><artifactId>neo4j</artifactId><version>VERSION</version></dependency>
    <dependency><groupId>org.neo4j</groupId><artifactId>neo4j-bolt</artifactId><version>VERSION</version></dependency>
    <dependency><groupId>org.neo4j.app</groupId><artifactId>neo4j-server</artifactId><version>VERSION</version></dependency>
  </dependencies>
</project>
"""
START_S = 600


class NoServer(Exception):
    """Neo4j cannot be started here; says why."""


class Neo4jServer:
    """A server that runs.

    Attributes:
        url: of its database, without credentials.
        user, password: who may use it.
        certificate: file of the one it shows over TLS, which no authority signed; None without TLS.
    """

    certificate: Path | None = None

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url, self.user, self.password = url, user, password

    @classmethod
    def given(cls) -> Neo4jServer | None:
        """The server that the environment names, if it does; its database must be empty."""
        url = os.environ.get("CIRCUITSTORE_TEST_NEO4J")
        if not url:
            return None
        name = "CIRCUITSTORE_TEST_NEO4J"
        server = cls(url, os.environ.get(f"{name}_USER", "neo4j"), os.environ.get(f"{name}_PASSWORD", ""))
        if server.ask("MATCH (n) RETURN count(n)") != [[0]]:
            raise RuntimeError(f"the database of {name} is not empty, and the tests would empty it; give another")
        return server

    @property
    def address(self) -> str:
        return "/".join(self.url.split("/")[:3])

    @property
    def database(self) -> str:
        return self.url.split("/")[3] if self.url.count("/") > 2 else "neo4j"

    def ask(self, text: str, *, database: str | None = None, password: str | None = None, **params: object) -> list:
        """Rows of a statement, past our code."""
        auth = (self.user, self.password if password is None else password)
        with neo4j.GraphDatabase.driver(self.address, auth=auth, notifications_min_severity="OFF") as driver:
            rows, _, _ = driver.execute_query(text, params, database_=database or self.database)
            return [list(row) for row in rows]

    def empty(self) -> None:
        """No nodes; the schema stays."""
        self.ask("MATCH (n) DETACH DELETE n")

    def strip(self) -> None:
        """No nodes and no schema."""
        self.empty()
        for (name,) in self.ask("SHOW CONSTRAINTS YIELD name"):
            self.ask(f"DROP CONSTRAINT `{name}`")
        for (name,) in self.ask("SHOW INDEXES YIELD name, type WHERE type <> 'LOOKUP' RETURN name"):
            self.ask(f"DROP INDEX `{name}`")

    def close(self) -> None:
        """Leave nothing behind."""
        self.strip()


class OwnServer(Neo4jServer):
    """A server from Maven artifacts, in its own folder; its output is in `server.log` there."""

    def __init__(self, folder: Path, version: str = VERSION, options: Sequence[str] = QUICK_START) -> None:
        """Start it.

        Args:
            options: of Java, in addition to `OPTIONS`.
        """
        self._options = [*OPTIONS, *options]
        self._java, self._jars = java(JAVA[version]), jars(version)
        self._program = program(self._java, self._jars, JAVA[version])
        self.home, self._settings, self.log = folder / "home", folder / "neo4j.conf", folder / "server.log"
        self.home.mkdir(parents=True)
        self._settings.write_text(SETTINGS + self._offer_tls(folder / "tls"))
        self._port = free_port()
        super().__init__(f"bolt://127.0.0.1:{self._port}/neo4j", "neo4j", secrets.token_urlsafe(12))
        self.start()
        change = "ALTER CURRENT USER SET PASSWORD FROM $old TO $new"
        self.ask(change, database="system", password="neo4j", old="neo4j", new=self.password)

    def _offer_tls(self, folder: Path) -> str:
        """Settings that do so, with a certificate made in the folder; none without `openssl`."""
        if shutil.which("openssl") is None:
            return ""
        folder.mkdir()
        subprocess.run(CERTIFICATE.split(), cwd=folder, check=True, capture_output=True)
        self.certificate = folder / "public.crt"
        return TLS.format(folder=folder)

    def start(self) -> None:
        self.spawn()
        self.await_ready()

    def spawn(self) -> None:
        """Begin to start it."""
        command = [self._java, *self._options, "-cp", f"{self._program}:{self._jars}/*", PROGRAM.stem]
        command += [str(self.home), str(self._port), str(self._settings)]
        with self.log.open("ab") as log:  # ends by itself when its standard input does: with this process
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)

    def await_ready(self) -> None:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], START_S)
        if not readable or self.process.stdout.readline() != b"ready\n":
            self.kill()
            raise NoServer(f"Neo4j did not start within {START_S} s: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """As a crash would; `start` brings it back with what was committed."""
        self.process.kill()
        self.process.communicate()

    def close(self) -> None:
        self.kill()


def java(oldest: int) -> str:
    """A Java of that version or newer: that of `JAVA_HOME`, of the path, or any in `/usr/lib/jvm`.

    Raises:
        NoServer: there is none.
    """
    home, found = os.environ.get("JAVA_HOME"), shutil.which("java")
    places = [Path(home, "bin/java")] if home else []
    places += [Path(found).resolve()] if found else []
    places += sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
    for place in places:
        if place.with_name("javac").exists() and _java_version(place) >= oldest:
            return str(place)
    raise NoServer(f"no JDK {oldest} or newer found; install one, or set CIRCUITSTORE_TEST_NEO4J")


def _java_version(program: Path) -> int:
    """17 for `openjdk version "17.0.2" …`."""
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0


def jars(version: str) -> Path:
    """Folder of the server's jars, fetched by Maven the first time.

    Raises:
        NoServer: there is no Maven, or it cannot fetch them.
    """
    folder = CACHE / f"neo4j-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if not (folder / "lib").is_dir():
            _fetch(folder, version)
    return folder / "lib"


def program(java: str, jars: Path, release: int) -> Path:
    """Folder of our program's class for a release of Java, compiled once, not at each start."""
    folder = jars.with_name(f"program-{hashlib.sha256(PROGRAM.read_bytes()).hexdigest()[:12]}")
    with locked(jars.parent):
        if not folder.is_dir():
            part = jars.with_name("program-part")
            command = [Path(java).with_name("javac"), "--release", str(release), "-cp", f"{jars}/*", "-d", part]
            subprocess.run([*command, PROGRAM], check=True, capture_output=True)
            part.rename(folder)
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """No other process is in there meanwhile."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(folder: Path, version: str) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise NoServer("no Maven found to fetch Neo4j with; install it, or set CIRCUITSTORE_TEST_NEO4J")
    (folder / "pom.xml").write_text(POM.replace("VERSION", version))
    command = [maven, "-q", "-B", PLUGIN, "-DincludeScope=runtime", "-DoutputDirectory=part"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoServer(f"Maven could not fetch Neo4j {version}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    (folder / "part").rename(folder / "lib")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
