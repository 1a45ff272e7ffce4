"""One HTML file that shows what a store holds: opens offline, in any browser, and can be sent by mail."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from ..errors import InputError
from ..results import write_whole
from ..store import Store
from .contents import RESIDUAL, Contents, read_contents
from .sections import Pictures, asked_table, images_table, pair_view, section, study_id
from .summary import summary_of
from .wording import count

MOST_NOTES = 60
PAGE_BYTES = 5_900_000
"""What the file may hold: plotly is 4.8 MB of it, drawings take what charts and tables leave."""

FRAME_BYTES = 60_000
"""What is neither a study nor a model: styles, words, notes, provenance."""

STUDY_BYTES = 170_000
"""Charts and tables of a large study; drawings leave room for those of the studies that follow."""


def write_report(store: Store, path: str | Path, *, run: str | None = None) -> Path:
    """Write the report of a run, or of the whole store, and return where it is.

    Raises:
        InputError: no such run, or the file cannot be written.
    """
    path = Path(path)
    text = render(read_contents(store, run))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or error
        raise InputError(f"cannot write {path}: its folder cannot be made ({why}); choose another place") from error
    write_whole(path, text)
    return path


def render(contents: Contents) -> str:
    """The report as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("circuitstore.analysis", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["edges"] = _edges_as_code
    parts: Any = environment.get_template("parts.html.jinja").module
    models = _models(contents, parts)
    studies = list(_studies(contents, parts, PAGE_BYTES - len(get_plotlyjs()) - FRAME_BYTES - _size(models)))
    notes = [*_not_shown(len(contents.parts) - len(studies)), *contents.notes]
    return environment.get_template("report.html.jinja").render(
        title=f"Circuits of {contents.run}" if contents.run else "Circuits",
        lead=_lead(contents),
        facts=_facts(contents),
        asked=asked_table(contents),
        images=images_table(contents),
        shown={study_id(number): part.title for number, part in enumerate(contents.parts[: len(studies)])},
        studies=studies,
        models=models,
        notes=notes[:MOST_NOTES],
        notes_left_out=max(0, len(notes) - MOST_NOTES),
        residual=f"{RESIDUAL:.0%}",
        provenance=_provenance(contents),
        queries=summary_of(contents).queries,
        specs=[{"name": name, "text": text} for name, text in contents.specs.items()],
        version=metadata.version("circuitstore"),
        plotly=Markup(get_plotlyjs()),
    )


def _studies(contents: Contents, parts: Any, room: int) -> Iterator[Markup]:
    """The studies that there is room for, the first in any case; each may draw what the ones before it left."""
    for number, part in enumerate(contents.parts):
        after = len(contents.parts) - number
        html = parts.study(section(part, number, Pictures(max(0, room - STUDY_BYTES * after) // after)))
        if number and _size(html) > room:
            return
        yield html
        room -= _size(html)


def _models(contents: Contents, parts: Any) -> Markup | str:
    if not contents.pairs and not contents.pair_notes:
        return ""
    return parts.models([pair_view(pair, number) for number, pair in enumerate(contents.pairs)], contents.pair_notes)


def _size(html: str) -> int:
    return len(html.encode("utf-8", "backslashreplace"))


def _not_shown(studies: int) -> Iterator[str]:
    if studies:
        yield f"{count(studies, 'more study', 'more studies')} not shown, so that the page stays small; choose a run"


_EDGE = re.compile(r"(?:input|[am]\d+(?:\.h\d+)?)-&gt;(?:logits|[am]\d+(?:\.(?:h\d+|in))?)(?:&lt;[qkv]&gt;)?")


def _edges_as_code(text: str) -> Markup:
    """The text escaped, with the names of edges in it set in a fixed-width font."""
    return Markup(_EDGE.sub(r"<code>\g<0></code>", str(escape(text))))


def _lead(contents: Contents) -> str:
    if not contents.parts:
        return "An empty store."
    kinds = [part.study.kind for part in contents.parts]
    about = {
        "effect": "what an attack changes in the circuits of each class",
        "mechanism": "which edges carry it",
        "other": "how the circuits of the classes compare",
    }
    attacked = any(part.study.attacks for part in contents.parts)
    if not attacked:
        return "Which edges of the model do the work for each class, and how alike the classes are."
    return (
        f"Which edges of the model do the work for each class: {', and '.join(about[k] for k in dict.fromkeys(kinds))}."
    )


def _facts(contents: Contents) -> list[dict[str, Any]]:
    """The counts at the top."""
    count: Mapping[str, Callable[[], int]] = {
        "circuits": lambda: contents.n_circuits,
        "classes": lambda: len({c for part in contents.parts for c in part.study.classes}),
        "conditions": lambda: len({c for part in contents.parts for c in part.study.conditions}),
        "edges in the graph": lambda: max((part.study.graph.n_edges for part in contents.parts), default=0),
        "questions asked": lambda: len(contents.items),
    }
    return [{"name": name, "value": f"{value():,}"} for name, value in count.items()]


def _provenance(contents: Contents) -> list[dict[str, str]]:
    rows = {"store": contents.store, "run": contents.run or "all runs"}
    rows |= {f"model {id[:12]}": text for id, text in contents.models.items()}
    rows |= dict(contents.provenance)
    return [{"name": name, "value": value} for name, value in rows.items()]
