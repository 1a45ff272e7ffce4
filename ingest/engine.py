"""Answer every question of a plan, store the answers, and go on where an earlier run stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Unpack

import pandas as pd
import torch

from ..circuits import (
    EVERY_EDGE,
    NO_INTERVENTION,
    CircuitRecord,
    Discovery,
    Extraction,
    Response,
    Trial,
    WorkItem,
    circuit_id,
)
from ..discovery import EXTRACTIONS, RESIDUAL_LIMIT
from ..errors import CircuitStoreError, StoreDamaged, StoreError
from ..evaluation import Execution, Journal
from ..models import ViT, plain_torch
from ..results import Table
from ..store import CIRCUIT, DISCOVERY, RESPONSE, Elsewhere, Writer, create_store
from .bar import Bar, Lines, shown
from .choice import Choice
from .executor import LocalExecutor, Parts
from .names import check_names
from .plan import Plan, Planned, make_plan
from .spec import Spec
from .storing import ITEMS_OWN, Storing
from .survey import survey
from .titles import titles
from .work import Known, Workbench

DEVICE_FAILED = (torch.AcceleratorError, torch.OutOfMemoryError)

log = logging.getLogger("circuitstore")


@dataclass(frozen=True)
class IndexResult:
    """What an indexing run did.

    Attributes:
        run: its name.
        done: items answered, or given new circuits, now.
        skipped: items whose answers and circuits were there already.
        failed: what failed now, and what failed before and was not asked again: item → error.
        circuits: circuits stored now.
        notices: what the user should know: bad images, few images, repairs of the store.
        seconds: wall time.
        survey: the model, and how it read the images of the items that were open when the run began, see `survey`;
            None where answers came from elsewhere.
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
    location: str | Path | None = None,
    retry_failed: bool = False,
    wait_s: float = 0.0,
    progress: bool = True,
    on_survey: Callable[[Table], None] = lambda survey: None,
    **elsewhere: Unpack[Elsewhere],
) -> IndexResult:
    """Plan a run, answer what is not answered yet, store it. The same call again goes on or finds all there.

    Args:
        model: a loaded model, in place of the one that the spec names.
        location: folder of the store; default `./circuitstore-data`. What is missing of the store is made.
        retry_failed: ask items again that failed in an earlier run; a changed spec does so by itself.
        wait_s: seconds to wait for another writer of the store.
        progress: show item, rate and remaining time on stderr.
        on_survey: called with the result's `survey` before the first item is answered; not where all is there already.
        elsewhere: `graph`, `catalog`, `account` of the store, as for `open_store`.

    Raises:
        InputError: the spec asks for what does not exist, or names a model or data set as the store names another;
            nothing was written.
        StoreError: the store cannot be made or written, or another writer holds it (`StoreBusy`).
    """
    began = time.monotonic()
    plan = make_plan(spec, model)
    made = create_store(location, **elsewhere)
    with made as store, store.writer(wait_s=wait_s) as writer:
        named = check_names(store, plan.model, plan.source)
        wanted = [(p.item.id, e) for p in plan.items for e in p.extractions]
        runs = store.runs()
        changed = spec.text not in set(runs.loc[runs["run"] == spec.name, "spec"])
        writer.start_run(spec.name, spec.text, [p.item for p in plan.items], wanted)
        if retry_failed or changed:
            writer.retry_failed(spec.name)
        engine = _Engine(plan, writer)
        engine.run(progress, on_survey)
        writer.project_pending()  # what was put, and what the graph lost meanwhile
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
    """One line about the circuits of a run that say little or nothing."""
    flagged = circuits[circuits["flag"] != ""]
    if flagged.empty:
        return ()
    told = "; ".join(
        f"{flag}: {', '.join(of[:5])}{f' and {len(of) - 5} more' if len(of) > 5 else ''}"
        for flag, of in flagged.groupby("flag")["class"].unique().items()
    )
    return (
        f"{len(flagged)} of {len(circuits)} circuits are flagged ({told}); named queries, comparisons and "
        "reports leave them out by default",
    )


@contextmanager
def _device_failures(what: str) -> Iterator[None]:
    """Say what to do where the device fails."""
    try:
        yield
    except DEVICE_FAILED as error:
        raise CircuitStoreError(
            f"{what}: the device failed: {error}; what is stored stays. Run the same command again, "
            "with a smaller batch_size in the spec if memory ran out"
        ) from error


class _Engine:
    """One pass over a plan's items with one writer."""

    def __init__(self, plan: Plan, writer: Writer) -> None:
        self.plan, self.writer = plan, writer
        self.choice = Choice(plan)
        self.bench = Workbench(plan, self.choice)
        self.titles = titles([planned.item for planned in plan.items])
        self.done = self.skipped = self.circuits = 0
        self.failed: dict[str, str] = {}
        self.warnings: dict[str, None] = {}  # in order, each once: conditions of a class share their images
        self.sizes: dict[str, int | None] = {}  # of the circuits found now, which other conditions may take
        self.residuals: dict[str, tuple[float, float | None]] = {}  # relative, and in units of the metric

    def run(self, progress: bool, on_survey: Callable[[Table], None]) -> None:
        before = self.writer.failures(self.plan.spec.name)
        asked = {item.id for item in self.writer.pending(self.plan.spec.name)}  # at once: each look is a connection
        self.answered, self.taken = self.writer.stored(self.plan.spec.name)
        todo = [p for p in self.plan.items if p.item.id in asked and self._is_open(p)]
        self.failed = {
            self._told(p.item): f"{before[p.item.id]} (in an earlier run; asked again with --retry-failed)"
            for p in self.plan.items
            if p.item.id in before
        }
        self.skipped = len(self.plan.items) - len(todo) - len(self.failed)
        with _device_failures("reading the images"):
            self.survey = survey(self.plan, self.choice, [p.item for p in todo], progress=progress)
        if todo:
            on_survey(self.survey)
        storing = Storing(self.writer, self.plan.spec.name)
        with shown(len(todo), wanted=progress and bool(todo)) as bar:
            try:
                with storing:
                    executor = LocalExecutor(self.bench)
                    known, execution = partial(self._known, storing), partial(self._execution, storing, bar)
                    for planned, parts in executor.run(todo, known, execution):
                        bar.set_description(self.titles[planned.item.id])
                        self._attempt(planned, parts, storing, bar)
            finally:
                bar.reach(storing.ended)
        self.done, self.circuits = storing.done, storing.circuits
        self.failed |= {self._told(p.item): storing.failed[p.item.id] for p in todo if p.item.id in storing.failed}

    def _told(self, item: WorkItem) -> str:
        """An item as messages name it."""
        return f"{self.titles[item.id]} ({item.id[:8]})"

    def _is_open(self, planned: Planned) -> bool:
        return planned.item.id not in self.answered or bool(self._missing(planned))

    def _missing(self, planned: Planned) -> list[Extraction]:
        """The extractions whose circuits were not stored when the run began."""
        return [e for e in planned.extractions if circuit_id(planned.item.id, e) not in self.taken]

    def _attempt(self, planned: Planned, parts: Parts, storing: Storing, bar: Bar | Lines) -> None:
        """Answer an item and store the parts.

        The item's own errors are recorded and the run goes on; those of the store end it.
        """
        storing.begin()
        bar.reach(storing.ended)
        began = time.monotonic()
        with _device_failures(self._told(planned.item)):
            try:
                self._store(parts, storing, bar)
                storing.end(planned.item)
                log.info("%s: answered in %.1f s", self._told(planned.item), time.monotonic() - began)
            except (StoreError, *DEVICE_FAILED):  # the next item would fare no better
                raise
            except ITEMS_OWN as error:
                storing.fail(planned.item, error)

    def _store(self, parts: Parts, storing: Storing, bar: Bar | Lines) -> None:
        responses: list[Response] = []
        for part in parts:
            match part:
                case Response():
                    responses.append(part)
                case CircuitRecord():
                    self.sizes[part.id] = part.circuit.size_requested
                    storing.circuit(part, responses)
                    responses = []
                case Discovery():
                    bar.set_postfix_str("")
                    storing.discovery(part, self._journal(part.item))
                    self._note(part)

    def _note(self, discovery: Discovery) -> None:
        """Keep what the user should know of an answer."""
        self.warnings |= dict.fromkeys(discovery.provenance.get("image_warnings", ()))
        scores = discovery.scores
        if scores is not None and scores.residual is not None and scores.residual > RESIDUAL_LIMIT:
            self.residuals[self.titles[discovery.id]] = scores.residual, scores.residual_absolute

    @property
    def notices(self) -> tuple[str, ...]:
        """What was noticed on the way; the residuals in one line, worst first."""
        if not self.residuals:
            return tuple(self.warnings)
        worst = sorted(self.residuals.items(), key=lambda residual: -residual[1][0])
        told = [f"{name} {share:.0%}" + (f" ({size:.2g})" if size else "") for name, (share, size) in worst[:3]]
        return (
            *self.warnings,
            f"{len(worst)} of {self.done} items have a residual above {RESIDUAL_LIMIT:.0%} of the metric's difference "
            f"(beside it in the metric's units): {', '.join(told)}{' …' if len(worst) > 3 else ''}; "
            'steps = "auto" takes as many steps as are needed',
        )

    def _known(self, storing: Storing, planned: Planned) -> Known:
        """What the store has of an item, which is leased where its answer is missing.

        Of two answers to an item the store keeps the first. One that is found now is the first: what the archive had,
        `start_run` has taken up, and no other process writes.
        """
        item, discovery = planned.item, None
        if item.id in self.answered:
            discovery = self.writer.sound(DISCOVERY, item.id)
        if discovery is None:
            storing.lease(item)
        else:
            self._note(discovery)
        missing = self._missing(planned)
        sizes = {e: self._decided_size(planned, e) for e in missing}
        known = self._responses(item) if missing else {}
        return Known(discovery, frozenset(planned.extractions) - set(missing), sizes, known)

    def _responses(self, item: WorkItem) -> dict[str, Response]:
        """The stored responses that the item shares with others: of the model, and with every edge corrupted."""
        ids = [Trial.of(item, intervention).id for intervention in (NO_INTERVENTION, EVERY_EDGE)]
        found = [self.writer.sound(RESPONSE, id) for id in ids if self.writer.has(RESPONSE, id)]
        return {response.id: response for response in found if response is not None}

    def _execution(self, storing: Storing, bar: Bar | Lines, planned: Planned) -> Execution:
        def report(done: int, total: int) -> None:
            storing.check()
            bar.reach(storing.ended)
            bar.set_postfix_str(f"{done} of {total}", refresh=False)

        return replace(self.bench.execution, progress=report, journal=self._journal(planned.item))

    def _journal(self, item: WorkItem) -> Journal:
        archive = self.writer.archive
        return Journal(archive.journal(item.id), item.id, own=True, permit=archive.permit)

    def _decided_size(self, planned: Planned, extraction: Extraction) -> int | None:
        """The size found for the natural condition, for the other conditions of an effect study.

        Raises:
            InputError: the natural item has no circuit, since it failed.
        """
        if planned.sized_by is None or EXTRACTIONS[extraction.kind].find is None:
            return None
        decider = circuit_id(planned.sized_by.id, extraction)
        if decider in self.sizes:
            return self.sizes[decider]
        if not self.writer.has(CIRCUIT, decider):
            raise CircuitStoreError(
                f"its size is that of the natural condition, which failed ({self.titles[planned.sized_by.id]}); "
                "mend that first and run again with --retry-failed"
            )
        sound = self.writer.sound(CIRCUIT, decider)
        if sound is None:
            raise StoreDamaged(
                f"the circuit of the natural condition ({self.titles[planned.sized_by.id]}), whose size is needed, "
                "is damaged, and was set aside; run the same command again: it computes it again"
            )
        return sound.circuit.size_requested
