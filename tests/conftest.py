# pyright: reportAttributeAccessIssue=false
"""Shared fixtures: axes checked at run time, toy models, and a brute-force forward pass as reference."""

from __future__ import annotations

import atexit
import gc
import os
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from . import axes, in_memory

# before the first temporary file
in_memory.use()

# a fifth of the time of importing and collecting; `pytest_collection` enables it again
gc.disable()

# before the first import of these rooms: assertions of shipped tests report their values
pytest.register_assert_rewrite("circuitstore.testing")

# and axes named in signatures are checked; in the rooms that compute, also all other annotations
axes.install(("models", "evaluation", "discovery", "images", "defence"), "tests.axes.all_checked")
axes.install(("circuits", "store", "ingest", "query", "analysis"), "tests.axes.arrays_checked")

import timm  # noqa: E402
import torch  # noqa: E402
from circuitstore.circuits import ComputationGraph, Extraction  # noqa: E402
from circuitstore.models import ViT, load_model  # noqa: E402
from circuitstore.store import create_store  # noqa: E402
from circuitstore.testing.factories import make_discovery, make_item, make_record, with_responses  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from timm.models.vision_transformer import VisionTransformer  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from . import postgres_server as postgres  # noqa: E402
from .image_fixtures import digits, digits_model, imagenet_model, photo, photos  # noqa: E402, F401
from .neo4j_server import NEWEST, Neo4jServer, NoServer, OwnServer  # noqa: E402

# On a busy machine an example may take any time.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

LONG = (
    "test_graph_away.py",
    "test_faults.py",
    "test_fence.py",
    "test_contract.py",
    "test_index.py",
    "test_newest_server.py",
    "test_kills.py",
    "test_migrate.py",
    "test_damaged_catalog.py",
    "test_batch_sizes.py",
    "test_store_machine.py",
    "test_readers.py",
    "test_output.py",
    "test_verify.py",
    "test_operating.py",
    "test_cli.py",
    "test_questions.py",
    "test_example_specs.py",
)
"""Files that take minutes, the longest first."""


SLOW = {
    *LONG,
    "test_ambient.py",
    "test_another_backend.py",
    "test_commands.py",
    "test_compare_page.py",
    "test_counting.py",
    "test_digits_model.py",
    "test_exchange.py",
    "test_docs.py",
    "test_foreign_kinds.py",
    "test_full_disk.py",
    "test_fuzz.py",
    "test_imported.py",
    "test_interrupts.py",
    "test_newest.py",
    "test_own.py",
    "test_own_refused.py",
    "test_packaging.py",
    "test_pages.py",
    "test_parity.py",
    "test_parts_away.py",
    "test_platforms.py",
    "test_report.py",
    "test_storing.py",
    "test_train.py",
    "test_two_writers.py",
    "test_upkeep.py",
    "test_writer.py",
    "test_writer_graph.py",
    "test_writer_lease.py",
}
"""Files in which most tests take more than a second; in other files such tests are marked individually."""

SERVERS = re.compile("neo4j|postgres")
"""In the name of a fixture or parameter: the test needs a server."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest files; mark slow tests and tests that need a server.

    The fast files are last, so that at the end no worker runs a long one while the others are idle.
    """
    order = {name: place for place, name in enumerate((*LONG, *sorted(SLOW - {*LONG})))}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
    for item in items:
        parameters = getattr(item, "callspec", None)
        names = [*getattr(item, "fixturenames", ()), parameters.id if parameters else ""]
        if SERVERS.search(" ".join(names)):
            item.add_marker("server")
            item.add_marker("slow")
        elif item.path.name in SLOW:
            item.add_marker("slow")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Enable the collection of garbage in the end, but not of modules and collected tests, which stay."""
    try:
        return (yield)
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # extension modules report what is alive at the end
        gc.enable()


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Start a worker more than there are cores, because many tests wait for servers and disks."""
    return (yield) + 1


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the checks of axes, for arrays that are wrong on purpose."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Content hashes are cached in a folder of the tests, also by commands that tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIRCUITSTORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def neo4j_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jServer]:
    """A real Neo4j with its account in the environment; tests empty it before use. Required if `CI=true`."""
    try:
        server = Neo4jServer.given() or OwnServer(tmp_path_factory.mktemp("neo4j"))
    except NoServer as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no Neo4j for the tests: {reason}")
        pytest.skip(f"no Neo4j for the tests: {reason}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIRCUITSTORE_NEO4J_USER", server.user)
        patch.setenv("CIRCUITSTORE_NEO4J_PASSWORD", server.password)
        yield server
        server.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.PostgresServer]:
    """A real PostgreSQL with its password in the environment. Required if `CI=true`."""
    try:
        server = postgres.PostgresServer.given() or postgres.OwnServer()
    except postgres.NoServer as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no PostgreSQL for the tests: {reason}")
        pytest.skip(f"no PostgreSQL for the tests: {reason}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSWORD", server.password)
        yield server
        server.close()


@pytest.fixture
def postgres_url(postgres_server: postgres.PostgresServer) -> Iterator[str]:
    """URL of an empty database on this server, without a password."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(scope="session")
def newest_neo4j(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jServer]:
    """A real Neo4j of the newest series, if there is a Java that can run it; its account is not in the environment."""
    try:
        server = OwnServer(tmp_path_factory.mktemp("newest"), NEWEST)
    except NoServer as reason:
        pytest.skip(f"no Neo4j {NEWEST} for the tests: {reason}")
    yield server
    server.close()


def enliven(module: nn.Module, seed: int = 0, scale: float = 0.3) -> nn.Module:
    """Set all parameters to random values, including norms' weights and biases, so that none is accidentally 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * scale
            is_norm = "norm" in name and name.endswith("weight")
            parameter.copy_(1 + noise if is_norm else noise)
    return module


def prepared(module: nn.Module) -> nn.Module:
    """Set the preprocessing of a module, as timm does, so that loading assumes nothing."""
    module.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_pct": 0.9, "interpolation": "bicubic"}
    return module


@pytest.fixture(scope="session")
def toy_module() -> Callable[..., VisionTransformer]:
    """A pre-norm ViT with 3 layers of 4 heads, width 16, 8 × 8 pixels, 5 tokens, 5 classes, float64, and random norms.

    Any argument of timm's VisionTransformer can be passed.
    """

    def build(seed: int = 0, **changes) -> VisionTransformer:
        small = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 3, "num_heads": 4, "num_classes": 5}
        arguments: dict = small | changes
        factory = arguments.pop("factory", VisionTransformer)
        return prepared(enliven(factory(**arguments).double(), seed).eval())

    return build


@pytest.fixture(scope="session")
def toy_vit(toy_module) -> Callable[..., ViT]:
    """The same, loaded in float64."""

    def build(seed: int = 0, **changes) -> ViT:
        return load_model(toy_module(seed, **changes), dtype="float64")

    return build


@pytest.fixture(scope="session")
def timm_vit() -> ViT:
    """A timm model with random norms, in float64: 12 layers of 3 heads, at 64 pixels."""
    module = timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=10)
    return load_model(enliven(module, scale=0.05), dtype="float64")


@pytest.fixture(scope="session")
def images() -> Callable[..., Tensor]:
    """Random normalised images for a model: `images(vit, count, seed)`."""

    def build(model: ViT, count: int = 2, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(count, 3, *model.image_size, generator=generator, dtype=torch.float64)

    return build


def normed(norm: nn.Module, value: Tensor, head: int) -> Tensor:
    """Return q or k of one head after its norm and, if there is one, its rotation, pair by pair of dimensions."""
    if not hasattr(norm, "table"):
        return norm(value)
    value, width = norm.norm(value), value.shape[-1]
    table = norm.table if norm.table.ndim == 2 else norm.table[head]
    first = [*range(width // 2)] if norm.rotate_half else [*range(0, width, 2)]
    second = [i + (width // 2 if norm.rotate_half else 1) for i in first]
    turned = value.clone()
    for a, b in zip(first, second, strict=True):
        for into, own, other, sign in ((a, a, b, -1), (b, b, a, 1)):
            sine, cosine = table[:, into], table[:, width + into]
            old = value[:, norm.prefix :]
            turned[:, norm.prefix :, into] = old[..., own] * cosine + sign * old[..., other] * sine
    return turned


class BruteForce:
    """A forward pass with one input per receiver, head by head, in plain torch; shares no code with the package.

    `carried(e, o_u)` returns what edge e of sender u carries.
    """

    def __init__(self, module: VisionTransformer, graph: ComputationGraph) -> None:
        self.module, self.graph = module, graph
        self.offset = {name: int(o) for name, o in zip(graph.receivers, graph.offsets, strict=False)}

    def run(self, stream: Tensor, carried: Callable[[int, Tensor], Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the logits and each sender's output, given the input stream of block 0."""
        sent = [stream]
        constant = torch.zeros_like(stream)
        for layer, block in enumerate(self.module.blocks):
            heads = self._heads(layer, block, sent, constant, carried)
            sent += [sum(heads)] if self.graph.form == "block" else heads
            if block.attn.proj.bias is not None:
                constant = constant + block.ls1(block.attn.proj.bias.expand_as(stream).clone())
            sent.append(block.ls2(block.mlp(block.norm2(self._input(f"m{layer}", sent, constant, carried)))))
        final = self._input("logits", sent, constant, carried)
        return self.module.forward_head(self.module.norm(final)), sent

    def _input(self, receiver: str, sent: list[Tensor], constant: Tensor, carried) -> Tensor:
        first = self.offset[receiver]
        count = int(self.graph.n_upstream[self.graph.receivers.index(receiver)])
        return constant + sum(carried(first + u, sent[u]) for u in range(count))

    def _heads(self, layer: int, block, sent, constant, carried) -> list[Tensor]:
        attn, heads = block.attn, []
        width = attn.head_dim
        for h in range(attn.num_heads):
            names = {
                "split": [f"a{layer}.h{h}<{port}>" for port in "qkv"],
                "head": [f"a{layer}.h{h}"] * 3,
                "attention": [f"a{layer}.in"] * 3,
                "block": [f"a{layer}"] * 3,
            }[self.graph.form]
            ports = []
            for index, name in enumerate(names):
                rows = slice((index * attn.num_heads + h) * width, (index * attn.num_heads + h + 1) * width)
                read = block.norm1(self._input(name, sent, constant, carried))
                bias = 0 if attn.qkv.bias is None else attn.qkv.bias[rows]
                ports.append(read @ attn.qkv.weight[rows].T + bias)
            q, k, v = normed(attn.q_norm, ports[0], h), normed(attn.k_norm, ports[1], h), ports[2]
            heads.append(block.ls1(self.attend(q, k, v) @ attn.proj.weight[:, h * width : (h + 1) * width].T))
        return heads

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return one head's output before the output projection."""
        return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v

    def masked(self, clean: Tensor, corrupted: Tensor, mask: np.ndarray) -> Tensor:
        """Return the logits with open edges current and closed edges corrupted."""
        _, old = self.run(corrupted, lambda _, value: value)
        sender = self.graph.edge_sender
        return self.run(clean, lambda e, value: value if mask[e] else old[sender[e]])[0]

    def scores(self, clean: Tensor, corrupted: Tensor, metric, points: list[float]) -> np.ndarray:
        """Return the mean over points of ∂m/∂gate, where edge e adds gate_e times its sender's difference."""
        (_, new), (_, old) = (self.run(s, lambda _, value: value) for s in (clean, corrupted))
        moved = [(n - o).detach() for n, o in zip(new, old, strict=True)]
        sender, total = self.graph.edge_sender, 0.0
        for point in points:
            gates = torch.zeros(len(clean), self.graph.n_edges, dtype=clean.dtype, requires_grad=True)
            stream = corrupted + point * (clean - corrupted)
            logits, _ = self.run(stream, lambda e, value: value + gates[:, e, None, None] * moved[sender[e]])  # noqa: B023
            total = total + torch.autograd.grad(metric(logits).sum(), gates)[0] / len(points)
        return total.numpy()


@pytest.fixture(scope="session")
def brute_force() -> type[BruteForce]:
    return BruteForce


@pytest.fixture(scope="session")
def filled_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of generated circuits at its default place: four classes, natural and blurred."""
    folder = tmp_path_factory.mktemp("filled")
    items = [make_item(class_index=i, attack=attack) for i in range(4) for attack in ("natural", "blurred")]
    with create_store(folder / "circuitstore-data") as store, store.writer() as writer:
        wanted = [(item.id, Extraction.of("edges", {"n": 40})) for item in items]
        writer.start_run("made up", 'name = "made up"', items, wanted)
        for item in items:
            discovery = make_discovery(0, item=item)
            record, responses = with_responses(make_record(discovery))
            writer.put(discovery, *responses, record, run="made up")
    return folder


@pytest.fixture(scope="module")
def contrast(toy_vit, images):
    """A toy model, clean images of one predicted class, corrupted images of other predicted classes, and the class."""
    model = toy_vit()
    noise = images(model, 200)
    top = model.logits(noise).argmax(dim=1)
    label = top.mode().values
    return model, noise[top == label][:12], noise[top != label][:12], label.repeat(12)
