"""An installed package adds one kind to each registry, and a spec uses them all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from circuitstore.analysis import write_report
from circuitstore.circuits import FORMS, UNIVERSES, Metric, Registry
from circuitstore.defence import DETECTORS
from circuitstore.errors import InputError
from circuitstore.evaluation import INTERVENTIONS, METRICS, READOUTS, MetricKind
from circuitstore.ingest import make_plan, parse_spec
from circuitstore.query import compare
from circuitstore.store import open_store

PACKAGE = Path(__file__).parents[1] / "fixtures" / "foreign_kinds"

SPEC = """
name = "foreign"
model = "digits"
[images]
source = { kind = "two-digits", digits = ["three", "eight"] }
per_class = 24
[[condition]]
kind = "natural"
[[condition]]
kind = "mirrored"
[[recipe]]
method = "sent"
power = 2.0
form = "block"
corruption = "grey"
metric = { kind = "tempered", temperature = 3.0 }
[[extract]]
every-second = 30
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with the foreign one."""
    folder = tmp_path_factory.mktemp("site")
    source = shutil.copytree(PACKAGE, folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", folder / "installed", source], check=True)
    return folder / "installed"


def run(site: Path, *args: str) -> subprocess.CompletedProcess[str]:
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run([sys.executable, *args], env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("spec") / "spec.toml"
    path.write_text(SPEC, encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def store(site: Path, spec: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store that was filled from the spec."""
    folder = str(tmp_path_factory.mktemp("store") / "data")
    done = run(site, "-m", "circuitstore.cli", "index", spec, "--store", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_spec_uses_kinds_of_an_installed_package(store: str) -> None:
    with open_store(store) as opened:
        circuits = opened.circuits()
    found = {(row["class"], row["attack"]) for row in circuits.to_dict("records")}
    assert found == {(cls, attack) for cls in ("three", "eight") for attack in ("natural", "mirrored")}
    (common,) = {tuple(row) for row in circuits[["method", "metric", "corruption", "extraction"]].to_numpy()}
    assert common == ("sent(power=2.0)", "tempered(temperature=3.0)", "grey", "every-second(n=30)")


def test_a_store_with_foreign_kinds_is_read_without_the_package(store: str, tmp_path: Path) -> None:
    with open_store(store) as opened:
        assert len(opened.verify()) == 0
        assert len(compare(opened, by="class"))
        assert write_report(opened, tmp_path / "report.html").exists()


def test_a_spec_with_foreign_kinds_needs_the_package() -> None:
    with pytest.raises(InputError, match=r"expected exactly one of retention.*; got every-second"):
        parse_spec(SPEC)
    with pytest.raises(InputError, match="unknown method 'sent'"):
        make_plan(parse_spec(SPEC.replace("every-second", "edges").replace("mirrored", "typographic")))


def test_a_universe_of_the_package_is_found_by_its_name(site: Path) -> None:
    resolved = "UNIVERSES.resolve('picked', {'chosen': '9 5|3'}).text"
    done = run(site, "-c", f"from circuitstore.circuits import UNIVERSES; print(*UNIVERSES, {resolved})")
    assert done.stdout.split(maxsplit=6) == [*FORMS, "neurons", "picked", "picked(chosen=5 9 | 3)\n"], done.stderr
    assert "picked" not in UNIVERSES


READING = """
import circuitstore as cs
from circuitstore.evaluation import measure
model = cs.load_model("digits")
pairs = measure(model, cs.image_pairs("digits", model, "three", 2), "logit")
print(cs.READOUTS["stream-norm"].read(model, pairs, cs.READOUTS.resolve("stream-norm", {"token": 3})))
"""


def test_a_read_out_of_the_package_is_read(site: Path) -> None:
    done = run(site, "-c", READING)
    assert done.stdout == "Readout(stream-norm(token=3): length [2 image])\n", done.stderr
    assert "stream-norm" not in READOUTS


EDITING = """
import circuitstore as cs, torch
from circuitstore.evaluation import INTERVENTIONS
model = cs.load_model("digits")
pairs = cs.image_pairs("digits", model, "three", 2)
edit = INTERVENTIONS["halved"].function(model)
plain = model.logits(pairs.clean)
with edit.applied(model):
    print(edit, edit.intervention.text, torch.equal(model.logits(pairs.clean), plain))
"""


def test_an_intervention_of_the_package_edits_a_model(site: Path) -> None:
    done = run(site, "-c", EDITING)
    assert done.stdout.startswith("Halved(halve m0, model "), done.stderr
    assert done.stdout.endswith(") halved False\n")
    assert "halved" not in INTERVENTIONS


DETECTING = """
import circuitstore as cs, torch
model = cs.load_model("digits")
pairs = [cs.image_pairs("digits", model, name, 4) for name in ("three", "eight")]
images = torch.cat([pair.clean for pair in pairs])
fitted = cs.fit_detector(model, images, [3] * 4 + [8] * 4, "brightness")
print(fitted.use.text, len(cs.score_images(model, fitted, pairs[0].clean).scores))
"""


def test_a_detector_of_the_package_scores_images(site: Path) -> None:
    done = run(site, "-c", DETECTING)
    assert done.stdout == "brightness 4\n", done.stderr
    assert "brightness" not in DETECTORS


def test_a_store_is_exported_in_a_format_of_the_package(site: Path, store: str, tmp_path: Path) -> None:
    with open_store(store) as opened:
        id = opened.circuits()["id"].iloc[0]
        edges = opened.circuit(id).circuit.edges
    file = tmp_path / "edges.txt"
    done = run(site, "-m", "circuitstore.cli", "export", id, "--as", "edge-names", "--out", str(file), "--store", store)
    assert done.returncode == 0, done.stderr
    assert tuple(file.read_text().splitlines()) == edges


@pytest.fixture
def broken(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the installed package that tests can break, on the path of this process."""
    copy = Path(shutil.copytree(site, tmp_path / "site"))
    monkeypatch.syspath_prepend(copy)
    yield copy
    sys.modules.pop("foreign_kinds", None)


def metrics() -> Registry[MetricKind, Metric]:
    """A registry that has not loaded packages yet."""
    return Registry("metric", "metrics", Metric, [MetricKind(key="logit", values=METRICS["logit"].values)])


@pytest.mark.parametrize(
    ("target", "said"),
    [("foreign_kinds:NOTHING", "cannot be loaded"), ("foreign_kinds:np", "expected a kind, got module")],
)
def test_a_broken_entry_point_is_named_and_harms_no_other_kind(broken: Path, target: str, said: str) -> None:
    (info,) = broken.glob("*.dist-info")
    entries = (info / "entry_points.txt").read_text(encoding="utf-8").replace("foreign_kinds:TEMPERED", target)
    (info / "entry_points.txt").write_text(entries, encoding="utf-8")
    found = metrics()
    assert found["logit"].key == "logit"
    with pytest.raises(InputError, match=f"entry point 'tempered' of circuitstore.metrics: .*{said}"):
        found["tempered"]


def test_a_foreign_kind_cannot_have_the_name_of_an_existing_kind(broken: Path) -> None:
    module = broken / "foreign_kinds.py"
    module.write_text(module.read_text(encoding="utf-8").replace('key="tempered"', 'key="logit"'), encoding="utf-8")
    with pytest.raises(InputError, match="metric 'logit' already exists"):
        list(metrics())
