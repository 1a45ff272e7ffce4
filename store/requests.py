"""Storage of the requests of runs by the writer: first in the archive, then in the catalog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..circuits import Extraction, WorkItem, circuit_id
from ..errors import StoreDamaged
from . import ledger, upkeep
from .archive import RUN
from .lease import now_ms
from .parts import Parts
from .runs import KEY, RunRequest, run_key


class Requests:
    """The requests of all runs. The caller holds `Parts.lock`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._known: dict[str, set[str]] = {}  # ids that each run is known to refer to

    def add_run(self, request: RunRequest) -> None:
        """Store a request; if its run exists, add what is new."""
        kept = self._write(request)
        with self._parts.writing() as connection:
            ledger.add_run(connection, kept)

    def add(self, run: str, item: WorkItem, extraction: Extraction | None = None) -> None:
        """Make a run refer to an item, and to a circuit of it, even if it did not request them."""
        wanted = {item.id, circuit_id(item.id, extraction)} if extraction else {item.id}
        if self._lacks(run, wanted):
            circuits = ((item.id, extraction),) if extraction else ()
            self.add_run(RunRequest(run, self._spec(run), (item,), circuits, now_ms()))
            self._known[run] |= wanted

    def keep(self, run: str, values: Sequence[tuple[str, str]]) -> None:
        """Make a run refer to values, stored or not, given by kind and id."""
        if self._lacks(run, {id for _, id in values}):
            known = self._known[run]
            new = tuple(dict.fromkeys(value for value in values if value[1] not in known))
            self.add_run(RunRequest(run, self._spec(run), (), (), now_ms(), new))
            self._known[run] |= {id for _, id in new}

    def take(self, requests: Sequence[RunRequest]) -> None:
        """Add the requests of a run of another store, in the order of their times.

        A new run keeps them with their times. For an existing run, one request adds what is new, now, with the spec
        that was requested last.
        """
        last = requests[-1]
        with self._parts.catalog.reading() as connection:
            listed = ledger.listed_runs(connection).get(last.run)
        if listed is None:
            for request in requests:
                if not self._parts.archive.has(RUN, request.id):
                    self._parts.archive.write_request(request, self._parts.store_id)
            with self._parts.writing() as connection:
                for request in requests:
                    ledger.add_run(connection, request)
            return
        items = {item.id: item for one in requests for item in one.items if item.id not in listed.items}
        circuits = {id: asked for one in requests for id, asked in zip(one.wanted, one.circuits, strict=True)}
        new = tuple(asked for id, asked in circuits.items() if id not in listed.circuits)
        values = tuple({v: None for one in requests for v in one.values if v not in listed.values})
        if items or new or values:
            spec = last.spec if last.created_ms > listed.changed_ms else listed.spec
            self.add_run(RunRequest(last.run, spec, tuple(items.values()), new, now_ms(), values))
            self._known.pop(last.run, None)

    def _lacks(self, run: str, wanted: set[str]) -> bool:
        """Return whether a run does not refer to all of these ids."""
        if wanted <= self._known.get(run, set()):
            return False
        with self._parts.catalog.reading() as connection:
            self._known[run] = ledger.requested_ids(connection, run)
        return not wanted <= self._known[run]

    def _spec(self, run: str) -> str:
        with self._parts.catalog.reading() as connection:
            return ledger.spec_of(connection, run)

    def write_missing(self) -> None:
        """Write the requests of listed runs that the archive lacks: those of lost files or of an older store."""
        kept = {id[:KEY] for id in self._parts.archive.ids("run")}
        with self._parts.catalog.reading() as connection:
            lost = [name for name in ledger.run_names(connection) if run_key(name) not in kept]
            requests = [one for name in lost for one in ledger.requests_of(connection, name)]
        for request in requests:
            self._parts.archive.write_request(request, self._parts.store_id)

    def delete(self, run: str) -> None:
        """Delete a run.

        Raises:
            InputError: there is no such run.
        """
        with self._parts.catalog.reading() as connection:
            ledger.known_run(connection, run)
        self._parts.archive.announce_removal({"run": self._kept_of(run)})
        with self._parts.writing() as connection:
            ledger.delete_run(connection, run)
        self._known.pop(run, None)
        upkeep.finish_removal(self._parts)

    def forget(self) -> None:
        """Clear the cached references of runs, before the catalog is rebuilt."""
        self._known.clear()

    def _write(self, request: RunRequest) -> RunRequest:
        """Write a request to the archive, unless it is the same as the last one of its run."""
        earlier = [one for id in self._kept_of(request.run) if (one := sound_request(self._parts, id))]
        last = max(earlier, key=lambda one: one.created_ms, default=None)
        if last and last.is_same(request):
            return last
        if last and request.created_ms <= last.created_ms:
            request = replace(request, created_ms=last.created_ms + 1)
        self._parts.archive.write_request(request, self._parts.store_id)
        return request

    def _kept_of(self, run: str) -> list[str]:
        """Return the ids of the requests of a run in the archive."""
        return [id for id in self._parts.archive.ids("run") if id.startswith(run_key(run))]


def sound_request(parts: Parts, id: str) -> RunRequest | None:
    """Read a request. Set a damaged file aside and return None; `rebuild` or the run itself writes it again."""
    try:
        return parts.archive.request(id)
    except StoreDamaged as error:
        path = parts.archive.set_aside("run", id)
        parts.notify(f"{error}; it was set aside as {path}")
        return None
