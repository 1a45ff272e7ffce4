"""What the runs of a store are asked for, as its writer keeps it: first in the archive, then in the catalog."""

from __future__ import annotations

from dataclasses import replace

from ..circuits import Extraction, WorkItem, circuit_id
from ..errors import StoreDamaged
from . import ledger, upkeep
from .lease import now_ms
from .parts import Parts
from .runs import KEY, Asked, run_key


class Requests:
    """The requests of all runs. The caller holds `Parts.lock`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._known: dict[str, set[str]] = {}  # items and circuits that each run is known to refer to

    def enter(self, asked: Asked) -> None:
        """Enter what a run is asked for; where it exists, what is new is added."""
        kept = self._keep(asked)
        with self._parts.writing() as connection:
            ledger.enter_run(connection, kept)

    def add(self, run: str, item: WorkItem, extraction: Extraction | None = None) -> None:
        """Have a run refer to an item, and a circuit of it, also if it was not asked for them."""
        wanted = {item.id, circuit_id(item.id, extraction)} if extraction else {item.id}
        if wanted <= self._known.get(run, set()):
            return
        with self._parts.catalog.reading() as connection:
            self._known[run], spec = ledger.asked_of(connection, run), ledger.spec_of(connection, run)
        if wanted <= self._known[run]:
            return
        circuits = ((item.id, extraction),) if extraction else ()
        self.enter(Asked(run, spec, (item,), circuits, now_ms()))
        self._known[run] |= wanted

    def keep_lost(self) -> None:
        """Keep in the archive what it lacks of a run that the catalog lists: of a lost file, or an older store."""
        kept = {id[:KEY] for id in self._parts.archive.ids("run")}
        with self._parts.catalog.reading() as connection:
            lost = [name for name in ledger.run_names(connection) if run_key(name) not in kept]
            asked = [one for name in lost for one in ledger.all_asked(connection, name)]
        for one in asked:
            self._parts.archive.write_asked(one, self._parts.store_id)

    def delete(self, run: str) -> None:
        """Delete a run.

        Raises:
            InputError: no such run.
        """
        with self._parts.catalog.reading() as connection:
            ledger.known_run(connection, run)
        self._parts.archive.announce_removal({"run": self._kept_of(run)})
        with self._parts.writing() as connection:
            ledger.delete_run(connection, run)
        self._known.pop(run, None)
        upkeep.finish_removal(self._parts)

    def forget(self) -> None:
        """Look again what each run refers to: the catalog is about to be made again."""
        self._known.clear()

    def _keep(self, asked: Asked) -> Asked:
        """Keep in the archive what a run is asked for, unless that is what it was asked for last."""
        earlier = [one for id in self._kept_of(asked.run) if (one := sound_asked(self._parts, id))]
        last = max(earlier, key=lambda one: one.created_ms, default=None)
        if last and last.is_as(asked):
            return last
        if last and asked.created_ms <= last.created_ms:
            asked = replace(asked, created_ms=last.created_ms + 1)
        self._parts.archive.write_asked(asked, self._parts.store_id)
        return asked

    def _kept_of(self, run: str) -> list[str]:
        """Ids of what the archive keeps of a run."""
        return [id for id in self._parts.archive.ids("run") if id.startswith(run_key(run))]


def sound_asked(parts: Parts, id: str) -> Asked | None:
    """What a run was asked for; a damaged file is set aside, as `rebuild` or the run itself writes it again."""
    try:
        return parts.archive.asked(id)
    except StoreDamaged as error:
        path = parts.archive.set_aside("run", id)
        parts.say(f"{error}; it was set aside as {path}")
        return None
