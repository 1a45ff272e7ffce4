"""The compose file and the Dockerfile, checked without a docker engine: nothing is built."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from .neo4j_server import VERSION
from .test_packaging import PROJECT, package_files, pages, source_files

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DATABASES = ("neo4j", "postgres")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
STEPS = [line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]
SIZES = {"m": 1, "g": 1024}


def megabytes(size: str) -> int:
    return int(size[:-1]) * SIZES[size[-1]]


def texts(value: Any) -> list[str]:
    """Return all text in a part of the compose file."""
    if isinstance(value, dict):
        return [t for part in value.values() for t in texts(part)]
    return [t for part in value for t in texts(part)] if isinstance(value, list) else [str(value)]


def steps(name: str) -> list[str]:
    """Return the arguments of all steps of the Dockerfile with this name."""
    return [rest for step, rest in STEPS if step == name]


def context() -> set[Path]:
    """Return the files in the build context by .dockerignore: `*`, then files that are included, then exceptions."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    first, *rules = [line for line in lines if line and not line.startswith("#")]
    assert first == "*"
    let_in = {rule[2:] for rule in rules if rule.startswith("!/")}
    kept_out = [rule for rule in rules if not rule.startswith("!/")]
    assert all(rule.startswith("**/") for rule in kept_out)
    seen = {p for p in source_files() if p.parts[0] in let_in}
    return {p for p in seen if not any(fnmatch.fnmatch(part, r[3:]) for part in p.parts for r in kept_out)}


def test_compose_parses_the_file_and_requires_passwords() -> None:
    asked = ["docker", "compose", "version"]
    if not shutil.which("docker") or subprocess.run(asked, capture_output=True).returncode:
        pytest.skip("no docker compose on this machine")
    secrets = {"CIRCUITSTORE_NEO4J_PASSWORD": "only a test", "CIRCUITSTORE_POSTGRES_PASSWORD": "only a test"}

    def config(given: dict[str, str]) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if k not in secrets} | given
        command = ["docker", "compose", "--env-file", ".env.example", "--profile", "program", "config", "--services"]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

    assert set(config(secrets).stdout.split()) == set(SERVICES)
    for name in secrets:
        refused = config({k: v for k, v in secrets.items() if k != name})
        assert refused.returncode != 0
        assert name in refused.stderr


def test_the_services_are_the_databases_and_optionally_the_program() -> None:
    assert set(SERVICES) == {*DATABASES, "circuitstore"}
    assert SERVICES["circuitstore"]["profiles"] == ["program"]
    waits = {name: on["condition"] for name, on in SERVICES["circuitstore"]["depends_on"].items()}
    assert waits == dict.fromkeys(DATABASES, "service_healthy")


@pytest.mark.parametrize("name", DATABASES)
def test_a_database_has_a_health_check_a_volume_and_limits(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert "profiles" not in service
    assert service["mem_limit"]


def test_ports_are_open_only_on_the_loopback_interface() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in ports)
    assert not [s for s in SERVICES.values() if "network_mode" in s]


def test_volumes_are_named_and_declared() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service["volumes"]]
    named = {mount.split(":")[0] for mount in mounts if not mount.startswith("$")}
    assert named == set(COMPOSE["volumes"])
    assert [mount for mount in mounts if mount.startswith("$")] == ["${CIRCUITSTORE_INPUT:-.}:/input:ro"]


def test_passwords_are_required_from_the_environment() -> None:
    secret = [t for s in SERVICES.values() for k, t in s["environment"].items() if re.search("PASSWORD|AUTH", k)]
    assert len(secret) == 4
    assert all(re.fullmatch(r"(neo4j/)?\$\{CIRCUITSTORE_\w+_PASSWORD(:\?[^}]+)?\}", text) for text in secret)
    for name in DATABASES:  # compose stops without them
        assert sum(":?" in text for text in texts(SERVICES[name]["environment"])) == 1
    assert not [t for t in texts(COMPOSE) if re.search(r"://[^/]*:[^/]*@", t)]


def test_the_example_environment_has_all_variables_and_no_secret() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    variables = {name for t in texts(COMPOSE) for name in re.findall(r"\$\{(\w+)", t)}
    settings = dict(line.lstrip("# ").split("=") for line in lines if re.match(r"(# )?[A-Z0-9_]+=", line))
    assert set(settings) == variables
    assert [name for name, value in settings.items() if value] == ["CIRCUITSTORE_INPUT"]
    ignored = subprocess.run(["git", "check-ignore", "--quiet", ".env"], cwd=ROOT)
    assert ignored.returncode == 0


def test_the_database_versions_are_those_of_the_tests() -> None:
    assert SERVICES["neo4j"]["image"] == f"neo4j:{VERSION.rpartition('.')[0]}-community"
    assert re.fullmatch(r"postgres:\d+-bookworm", SERVICES["postgres"]["image"])


def test_the_memory_of_neo4j_fits_the_container_and_the_containers_a_small_machine() -> None:
    neo4j = SERVICES["neo4j"]
    settings = {k.removeprefix("NEO4J_"): v for k, v in neo4j["environment"].items() if "_memory_" in k}
    heap, cache = (
        megabytes(settings["server_memory_heap_max__size"]),
        megabytes(settings["server_memory_pagecache_size"]),
    )
    assert settings["server_memory_heap_initial__size"] == settings["server_memory_heap_max__size"]
    assert megabytes(settings["db_memory_transaction_max"]) <= heap / 2
    assert heap + cache + 512 <= megabytes(neo4j["mem_limit"])
    assert sum(megabytes(SERVICES[name]["mem_limit"]) for name in DATABASES) <= 4096 - 1024


def test_every_setting_is_one_that_neo4j_knows(neo4j_server) -> None:
    known = {name for (name,) in neo4j_server.ask("SHOW SETTINGS YIELD name", database="system")}
    named = {name.removeprefix("NEO4J_") for name in SERVICES["neo4j"]["environment"]} - {"AUTH"}
    settings = {re.sub("_+", lambda m: "." if len(m[0]) == 1 else "_", name) for name in named}
    assert {"dbms.usage_report.enabled", "db.memory.transaction.max"} <= settings <= known


def test_the_program_gets_its_settings() -> None:
    program = SERVICES["circuitstore"]
    assert program["build"] == "."
    assert "image" not in program, "a name of its own would be asked of a registry first"
    url = program["environment"]["CIRCUITSTORE_GRAPH"]
    assert url == "bolt://neo4j:7687/neo4j"
    user = program["environment"]["CIRCUITSTORE_CATALOG"].partition("@")[0].rpartition("/")[2]
    assert user == SERVICES["postgres"]["environment"]["POSTGRES_USER"]
    assert program["environment"]["CIRCUITSTORE_STORE"].startswith(f"{steps('VOLUME')[0]}/")
    assert program["read_only"] is True


def test_the_image_runs_the_command_without_root() -> None:
    names = [step for step, _ in STEPS]
    assert steps("ENTRYPOINT") == ['["circuitstore"]']
    assert steps("USER") == ["circuitstore"]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert "://" not in DOCKERFILE


def test_the_image_has_the_python_that_the_package_needs() -> None:
    (version,) = steps("ARG")
    assert re.fullmatch(r"PYTHON=\d+\.\d+-slim-\w+", version)
    assert version.removeprefix("PYTHON=").split("-")[0] == PROJECT["project"]["requires-python"].removeprefix(">=")
    assert [image.split()[0] for image in steps("FROM")] == ["python:${PYTHON}"] * 2


def test_every_copied_file_exists() -> None:
    sources = [source for copy in steps("COPY") if "--from" not in copy for source in copy.split()[:-1]]
    assert {".", "pyproject.toml", "constraints.txt"} == set(sources)
    assert {Path("pyproject.toml"), Path("constraints.txt")} <= context()


def test_the_image_has_only_the_package() -> None:
    top = {p for p in source_files() if len(p.parts) == 1 and (p.suffix == ".py" or p.name == "py.typed")}
    made_with = {Path(name) for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE")}
    assert context() == {*package_files(), *pages(), *top, *made_with}


def test_all_requirements_are_installed_before_the_package() -> None:
    """Runs the line that reads them in a shell."""
    line = next(run for run in steps("RUN") if "requirements.txt" in run)
    _, reading, installing = (part.strip() for part in line.split("&&"))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["sh", "-c", reading.replace("> requirements.txt", "")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True, text=True)
    extras = PROJECT["project"]["optional-dependencies"]
    assert done.stdout.splitlines() == [*PROJECT["project"]["dependencies"], *extras["fast"], *extras["postgres"]]
    assert installing == "pip install --requirement requirements.txt --constraint constraints.txt"
