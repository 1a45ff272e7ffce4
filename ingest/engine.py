"""Indexing: answer every item of a plan, store the answers, and resume where an earlier call stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Unpack

import pandas as pd

from ..bars import Bar
from ..circuits import (
    EVERY_EDGE,
    NO_INTERVENTION,
    Circuit,
    CircuitRecord,
    Discovery,
    Extraction,
    ReadoutRecord,
    Response,
    Trial,
    WorkItem,
    circuit_id,
)
from ..discovery import EXTRACTIONS, RESIDUAL_LIMIT
from ..errors import CircuitStoreError, InputError, StoreDamaged, StoreError
from ..evaluation import Execution, Journal
from ..images import Grouping
from ..models import ViT, plain_torch
from ..results import Table
from ..store import CIRCUIT, DISCOVERY, RESPONSE, PartLocations, Writer, create_store
from .bar import Lines, progress_display
from .examples import store_examples
from .executor import Executor, LocalExecutor, Parts
from .names import check_names
from .plan import Plan, check_questions, make_plan
from .planned import Planned
from .spec import Spec
from .storing import ITEMS_OWN, Storing
from .survey import survey
from .titles import titles
from .work import StoredParts
from .worker import DEVICE_FAILED
from .workers import Workers

log = logging.getLogger("circuitstore")


@dataclass(frozen=True)
class IndexResult:
    """The result of an indexing run.

    Attributes:
        run: its name.
        done: number of items that were answered or got new circuits in this call.
        skipped: number of items whose answers and circuits were already stored.
        failed: error by item; includes items that failed earlier and were not retried.
        circuits: number of circuits stored in this call.
        notices: messages for the user: bad images, few images, repairs of the store.
        seconds: wall time.
        survey: the model, and how it classifies the images of the items that were open at the start, see `survey`;
            None for results stored by `store_results`.
    """

    run: str
    done: int
    skipped: int
    failed: dict[str, str]
    circuits: int
    notices: tuple[str, ...]
    seconds: float
    survey: Table | None = None


@plain_torch()
def index(
    spec: Spec,
    *,
    model: ViT | None = None,
    groups: Grouping | None = None,
    location: str | Path | None = None,
    retry_failed: bool = False,
    wait_s: float = 0.0,
    progress: bool = True,
    on_survey: Callable[[Table], None] = lambda survey: None,
    **locations: Unpack[PartLocations],
) -> IndexResult:
    """Plan a run, compute the answers that the store lacks, and store them.

    Repeating the call resumes an interrupted run, and does nothing if the run is complete.

    Args:
        spec: the run.
        model: a loaded model, used instead of the model in the spec.
        groups: how the images are divided into groups, used instead of `images.groups` in the spec; see `read_groups`.
        location: folder of the store, created if missing; default `./circuitstore-data`.
        retry_failed: retry items that failed in an earlier call; a changed spec retries them in any case.
        wait_s: seconds to wait for another writer of the store.
        progress: show item, rate and remaining time on stderr.
        on_survey: called with the result's `survey` before the first item is answered; not called if no item is open.
        locations: `graph`, `catalog`, `account` of the store, as for `open_store`.

    Raises:
        InputError: the spec names something that does not exist, or gives its model or data set a name that another
            one has in the store; nothing was written.
        StoreError: the store cannot be created or written, or another writer has it (`StoreBusy`).

    Examples:
        >>> result = index(spec, location=folder, progress=False)
        >>> result.done, result.circuits, result.failed
        (2, 2, {})
        >>> index(spec, location=folder, progress=False).skipped
        2
    """
    began = time.monotonic()
    check_questions(spec)
    several = len(spec.devices) > 1
    if several and model is not None:
        raise InputError("model: several devices need a model that each process can load; name it in the spec")
    plan = make_plan(spec.on("cpu") if several else spec, model, groups=groups, progress=progress)
    with create_store(location, **locations) as store, store.writer(wait_s=wait_s) as writer:
        named = check_names(store, plan.model, plan.source)
        wanted = [(p.item.id, e) for p in plan.items for e in p.extractions]
        runs = store.runs()
        changed = spec.text not in set(runs.loc[runs["run"] == spec.name, "spec"])
        writer.start_run(spec.name, spec.text, [p.item for p in plan.items], wanted)
        if retry_failed or changed:
            writer.retry_failed(spec.name)
        engine = _Engine(plan, writer)
        with Workers(plan, spec.devices, groups) if several else LocalExecutor(plan) as executor:
            engine.run(executor, progress, on_survey)
        writer.project_pending()  # also circuits that the graph lost in the meantime
        notices = (*plan.source.notices, *plan.notices, *named, *writer.notices, *engine.notices)
        notices = (*notices, *_flagged(store.circuits(spec.name)))
    return IndexResult(
        spec.name,
        engine.done,
        engine.skipped,
        engine.failed,
        engine.circuits,
        notices,
        time.monotonic() - began,
        engine.survey,
    )


def _flagged(circuits: pd.DataFrame) -> tuple[str, ...]:
    """Return a notice about the flagged circuits of a run, if there are any."""
    flagged = circuits[circuits["flag"] != ""]
    if flagged.empty:
        return ()
    listed = "; ".join(
        f"{flag}: {', '.join(of[:5])}{f' and {len(of) - 5} more' if len(of) > 5 else ''}"
        for flag, of in flagged.groupby("flag")["class"].unique().items()
    )
    return (
        f"{len(flagged)} of {len(circuits)} circuits are flagged ({listed}); named queries, comparisons and "
        "reports exclude them by default",
    )


@contextmanager
def _device_failures(what: str) -> Iterator[None]:
    """Add advice to the error when the device fails."""
    try:
        yield
    except DEVICE_FAILED as error:
        raise CircuitStoreError(
            f"{what}: the device failed: {error}. Stored results are kept; run the same command again, "
            "with a smaller batch_size in the spec if memory ran out"
        ) from error


class _Engine:
    """One pass over the items of a plan with one writer."""

    def __init__(self, plan: Plan, writer: Writer) -> None:
        self.plan, self.writer = plan, writer
        self.titles = titles([planned.item for planned in plan.items])
        self.done = self.skipped = self.circuits = 0
        self.failed: dict[str, str] = {}
        self.warnings: dict[str, None] = {}  # a dict removes duplicates: conditions of a class share their images
        self.sizes: dict[str, int | None] = {}  # of circuits of this call, which other conditions may reuse
        self.last_use: dict[str, str] = {}  # circuits that read-outs are about, and the last of these read-outs
        self.in_use: dict[str, Circuit] = {}  # those of them that this call computed
        self.residuals: dict[str, tuple[float, float | None]] = {}  # relative, and in units of the metric

    def run(self, executor: Executor, progress: bool, on_survey: Callable[[Table], None]) -> None:
        before = self.writer.failures(self.plan.spec.name)
        pending = {item.id for item in self.writer.pending(self.plan.spec.name)}  # one query for all
        self.answered, self.extracted = self.writer.stored(self.plan.spec.name)
        todo = [p for p in self.plan.items if p.item.id in pending and self._is_open(p)]
        self.last_use = {circuit_id(p.about[0].id, p.about[1]): p.item.id for p in todo if p.about is not None}
        self.failed = {
            self._label(p.item): f"{before[p.item.id]} (in an earlier run; retry with --retry-failed)"
            for p in self.plan.items
            if p.item.id in before
        }
        self.skipped = len(self.plan.items) - len(todo) - len(self.failed)
        with _device_failures("reading the images"):
            self.survey = survey(self.plan, [p.item for p in todo], executor.survey, progress=progress)
        if todo:
            on_survey(self.survey)
        storing = Storing(self.writer, self.plan.spec.name)
        with progress_display(len(todo), wanted=progress and bool(todo)) as bar:
            try:
                with storing:
                    known, execution = partial(self._stored_parts, storing), partial(self._execution, storing, bar)
                    for planned, parts in executor.run(todo, known, execution):
                        bar.set_description(self.titles[planned.item.id])
                        self._attempt(planned, parts, storing, bar)
            finally:
                bar.reach(storing.ended)
        self.done, self.circuits = storing.done, storing.circuits
        self.failed |= {self._label(p.item): storing.failed[p.item.id] for p in todo if p.item.id in storing.failed}
        with _device_failures("example images"):
            store_examples(self.plan, self.writer, {*before, *storing.failed}, executor.examples)

    def _label(self, item: WorkItem) -> str:
        """Return the name of an item in messages."""
        return f"{self.titles[item.id]} ({item.id[:8]})"

    def _is_open(self, planned: Planned) -> bool:
        return planned.item.id not in self.answered or bool(self._missing(planned))

    def _missing(self, planned: Planned) -> list[Extraction]:
        """Return the extractions whose circuits were not stored at the start."""
        return [e for e in planned.extractions if circuit_id(planned.item.id, e) not in self.extracted]

    def _attempt(self, planned: Planned, parts: Parts, storing: Storing, bar: Bar | Lines) -> None:
        """Answer an item and store the parts.

        Errors of the item are recorded, and the run continues; errors of the store end the run.
        """
        storing.begin()
        bar.reach(storing.ended)
        began = time.monotonic()
        with _device_failures(self._label(planned.item)):
            try:
                self._store(parts, storing, bar)
                storing.end(planned.item)
                log.info("%s: answered in %.1f s", self._label(planned.item), time.monotonic() - began)
            except (StoreError, *DEVICE_FAILED):  # the next item would fail too
                raise
            except ITEMS_OWN as error:
                storing.fail(planned.item, error)
        for id in [id for id in self.in_use if self.last_use[id] == planned.item.id]:
            del self.in_use[id]

    def _store(self, parts: Parts, storing: Storing, bar: Bar | Lines) -> None:
        responses: list[Response] = []
        for part in parts:
            match part:
                case Response():
                    responses.append(part)
                case CircuitRecord():
                    self.sizes[part.id] = part.circuit.size_requested
                    if part.id in self.last_use:
                        self.in_use[part.id] = part.circuit
                    storing.circuit(part, responses)
                    responses = []
                case Discovery():
                    bar.set_postfix_str("")
                    storing.discovery(part, self._journal(part.item))
                    self._note(part)
                case ReadoutRecord():
                    bar.set_postfix_str("")
                    storing.readout(part)

    def _note(self, discovery: Discovery) -> None:
        """Record the warnings and the residual of an answer."""
        self.warnings |= dict.fromkeys(discovery.provenance.get("image_warnings", ()))
        scores = discovery.scores
        if scores is not None and scores.residual is not None and scores.residual > RESIDUAL_LIMIT:
            self.residuals[self.titles[discovery.id]] = scores.residual, scores.residual_absolute

    @property
    def notices(self) -> tuple[str, ...]:
        """The warnings about images, and one line about residuals, largest first."""
        if not self.residuals:
            return tuple(self.warnings)
        worst = sorted(self.residuals.items(), key=lambda residual: -residual[1][0])
        listed = [f"{name} {share:.0%}" + (f" ({size:.2g})" if size else "") for name, (share, size) in worst[:3]]
        return (
            *self.warnings,
            f"{len(worst)} of {self.done} items have a residual above {RESIDUAL_LIMIT:.0%} of the metric's difference "
            f"(in parentheses: in units of the metric): {', '.join(listed)}{' …' if len(worst) > 3 else ''}; "
            'steps = "auto" chooses enough steps',
        )

    def _stored_parts(self, storing: Storing, planned: Planned) -> StoredParts:
        """Return what the store has of an item, and lease the item if its answer is missing.

        The store keeps the first of two answers to an item. An answer computed now is the first: `start_run` has
        listed all answers in the archive, and no other process writes.
        """
        item, discovery = planned.item, None
        if item.id in self.answered:
            discovery = self.writer.read_sound(DISCOVERY, item.id)
        if discovery is None:
            storing.lease(item)
        else:
            self._note(discovery)
        missing = self._missing(planned)
        sizes = {e: self._shared_size(planned, e) for e in missing}
        known = self._responses(item) if missing else {}
        return StoredParts(
            discovery, frozenset(planned.extractions) - set(missing), sizes, known, self._circuit_about(planned)
        )

    def _responses(self, item: WorkItem) -> dict[str, Response]:
        """Return the stored responses that items share: of the model, and with every edge corrupted."""
        ids = [Trial.of(item, intervention).id for intervention in (NO_INTERVENTION, EVERY_EDGE)]
        responses = [self.writer.read_sound(RESPONSE, id) for id in ids if self.writer.has(RESPONSE, id)]
        return {response.id: response for response in responses if response is not None}

    def _execution(self, storing: Storing, bar: Bar | Lines, planned: Planned) -> Execution:
        def report(done: int, total: int) -> None:
            storing.check()
            bar.reach(storing.ended)
            bar.set_postfix_str(f"{done} of {total}", refresh=False)

        return Execution(self.plan.spec.batch_size, report, self._journal(planned.item))

    def _journal(self, item: WorkItem) -> Journal:
        archive = self.writer.archive
        return Journal(archive.journal(item.id), item.id, own=True, permit=archive.permit)

    def _circuit_about(self, planned: Planned) -> Circuit | None:
        """Return the circuit that a read-out is about; None if it is about none.

        Raises:
            CircuitStoreError: see `_stored_circuit`.
        """
        if planned.about is None:
            return None
        circuit = self.in_use.get(circuit_id(planned.about[0].id, planned.about[1]))
        return circuit or self._stored_circuit(*planned.about, "it is about the circuit of an item")

    def _shared_size(self, planned: Planned, extraction: Extraction) -> int | None:
        """Return the size found for the natural condition, which the other conditions of an effect study reuse.

        Returns None if the item determines its own size.

        Raises:
            CircuitStoreError: see `_stored_circuit`.
        """
        if planned.sized_by is None or EXTRACTIONS[extraction.kind].find is None:
            return None
        natural = circuit_id(planned.sized_by.id, extraction)
        if natural in self.sizes:
            return self.sizes[natural]
        why = "the size comes from the circuit of the natural condition"
        return self._stored_circuit(planned.sized_by, extraction, why).size_requested

    def _stored_circuit(self, item: WorkItem, extraction: Extraction, why: str) -> Circuit:
        """Return a circuit that another item needs; `why` is the reason, for messages.

        Raises:
            CircuitStoreError: its item failed, so there is none.
            StoreDamaged: its file is damaged.
        """
        id, title = circuit_id(item.id, extraction), self.titles[item.id]
        if not self.writer.has(CIRCUIT, id):
            raise CircuitStoreError(f"{why}, which failed ({title}); fix that first and run again with --retry-failed")
        sound = self.writer.read_sound(CIRCUIT, id)
        if sound is None:
            raise StoreDamaged(
                f"{why} ({title}), which was damaged and has been set aside; run the same command again to compute it "
                "again"
            )
        return sound.circuit
