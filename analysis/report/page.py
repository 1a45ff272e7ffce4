"""Writes the report as one HTML file, which opens offline in any browser and can be sent by mail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from ...discovery import RESIDUAL_LIMIT
from ...errors import InputError
from ...results import Table, write_whole
from ...store import Store
from ..model_pairs import ModelRoles
from ..overview import Overview, read_overview
from ..summary import summary_of
from ..wording import count
from .corrections import correction_views
from .decided import decided_views
from .defences import defence_views
from .drawings import Pictures
from .examples import class_examples, left_out
from .groups import groups_view
from .image_maps import maps_views
from .inputs import conditions_table, images_table, studies_table
from .models import models_view
from .neuron_paths import paths_view
from .notes import note_views
from .section import section, study_id

MAX_NOTES = 60
PAGE_BYTES = 5_900_000
"""Maximum size of the file. Plotly takes 4.8 MB; drawings take what charts and tables leave."""

FRAME_BYTES = 60_000
"""Reserved for everything except studies, models, groups and example images: styles, texts, notes, provenance."""

GROUPS_BYTES = 300_000
"""Maximum size of the drawings of groups of images."""

STUDY_BYTES = 300_000
"""Reserved for the charts and tables of each following study, when a study is drawn."""


def write_report(
    store: Store,
    path: str | Path,
    *,
    run: str | None = None,
    base: str | None = None,
    control: str | None = None,
    cross: Table | None = None,
) -> Path:
    """Write the HTML report of a run or of the whole store, and return its path.

    Args:
        store: the store.
        path: the file to write.
        run: the run; None for the whole store.
        base: the model that others are compared with; None for the one whose circuits were stored first.
        control: a fine-tuning of it from which no change of interest is expected.
        cross: what `cross_evaluate` or `read_cross_results` returned about circuits of the store.

    Raises:
        InputError: the run or a model does not exist, `cross` has not the columns of `cross_evaluate`, or the file
            cannot be written.

    Examples:
        >>> write_report(store, folder / "report.html").name
        'report.html'
    """
    path = Path(path)
    text = render(read_overview(store, run, ModelRoles(base, control), cross))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or error
        raise InputError(f"cannot write {path}: its folder cannot be created ({why}); use another path") from error
    write_whole(path, text)
    return path


def render(overview: Overview) -> str:
    """Return the report as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("circuitstore.analysis.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["edges"] = _edges_as_code
    templates: Any = environment.get_template("parts.html.jinja").module
    models, groups = _models(overview, templates), _groups(overview, templates)
    examples = _examples(overview, environment)
    inside = _inside(overview, environment)
    taken = sum(map(_size, (models, groups, examples, *inside.values())))
    studies = list(_studies(overview, templates, PAGE_BYTES - len(get_plotlyjs()) - FRAME_BYTES - taken))
    notes = [*_not_shown(len(overview.studies) - len(studies)), *overview.notes]
    return environment.get_template("page.html.jinja").render(
        title=f"Circuits of {overview.run}" if overview.run else "Circuits",
        lead=_lead(overview),
        facts=_facts(overview),
        studies_table=studies_table(overview),
        conditions_table=conditions_table(overview),
        images_table=images_table(overview),
        headings={study_id(number): shown.title for number, shown in enumerate(overview.studies[: len(studies)])},
        studies=studies,
        models=models,
        groups=groups,
        examples=examples,
        inside=inside,
        notes=notes[:MAX_NOTES],
        notes_left_out=max(0, len(notes) - MAX_NOTES),
        residual=f"{RESIDUAL_LIMIT:.0%}",
        provenance=_provenance(overview),
        queries=summary_of(overview).queries,
        specs=[{"name": name, "text": text} for name, text in overview.specs.items()],
        version=metadata.version("circuitstore"),
        plotly=Markup(get_plotlyjs()),
    )


def _studies(overview: Overview, templates: Any, room: int) -> Iterator[Markup]:
    """Yield the studies for which there is room, always the first; each may draw with the bytes that are left."""
    for number, shown in enumerate(overview.studies):
        after = len(overview.studies) - number
        pictures = Pictures(study_id(number), max(0, room - STUDY_BYTES * after) // after)
        html = templates.study(section(shown, number, pictures))
        if number and _size(html) > room:
            return
        yield html
        room -= _size(html)


def _models(overview: Overview, templates: Any) -> Markup | str:
    if not overview.model_pairs and not overview.model_notes:
        return ""
    return templates.models(
        [models_view(pair, number) for number, pair in enumerate(overview.model_pairs)], overview.model_notes
    )


def _examples(overview: Overview, environment: jinja2.Environment) -> Markup | str:
    if not overview.examples:
        return ""
    templates: Any = environment.get_template("examples.html.jinja").module
    shown = class_examples(overview.examples)
    return templates.section(shown, left_out(overview.examples, shown))


def _inside(overview: Overview, environment: jinja2.Environment) -> dict[str, str]:
    """Return the sections about neurons, read-outs, defences, corrections and notes by id, if there are some."""
    templates: Any = environment.get_template("inside.html.jinja").module
    paths = [paths_view(found, number) for number, found in enumerate(overview.neuron_paths)]
    decided, maps = decided_views(overview.readouts), maps_views(overview.readouts, overview.examples)
    shown = {view.title for view in (*decided, *maps)}
    others = [found.title for found in overview.readouts if found.title not in shown]
    sections = {
        "neurons": templates.neurons(paths) if paths else "",
        "decided": templates.decided(decided, others) if decided or others else "",
        "where": templates.where(maps) if maps else "",
        "defences": templates.defences(defence_views(overview.defences)) if overview.defences else "",
        "corrections": templates.corrections(correction_views(overview.corrections)) if overview.corrections else "",
        "written": templates.written(note_views(overview.written), len(overview.written)) if overview.written else "",
    }
    return {id: html for id, html in sections.items() if html}


def _groups(overview: Overview, templates: Any) -> Markup | str:
    if not overview.groups:
        return ""
    records = {record.id: record for shown in overview.studies for record in shown.records.values()}
    pictures = Pictures("groups", GROUPS_BYTES)
    views = [groups_view(found, number, records, pictures) for number, found in enumerate(overview.groups)]
    return templates.groups(views)


def _size(html: str) -> int:
    return len(html.encode("utf-8", "backslashreplace"))


def _not_shown(studies: int) -> Iterator[str]:
    if studies:
        yield f"{count(studies, 'more study', 'more studies')} not shown, to keep the page small; select a run"


_EDGE = re.compile(r"(?:input|[am]\d+(?:\.h\d+)?)-&gt;(?:logits|[am]\d+(?:\.(?:h\d+|in))?)(?:&lt;[qkv]&gt;)?")


def _edges_as_code(text: str) -> Markup:
    """Escape a text, and set the names of edges in a fixed-width font."""
    return Markup(_EDGE.sub(r"<code>\g<0></code>", str(escape(text))))


def _lead(overview: Overview) -> str:
    if not overview.studies:
        if overview.items.empty:
            if overview.defences:
                return "What defences against attacks are worth."
            return "What corrections of the model are worth." if overview.corrections else "An empty store."
        return "What the model computes on the images of each class."
    kinds = [shown.study.kind for shown in overview.studies]
    about = {
        "effect": "what a condition changes in the circuits of each class",
        "mechanism": "which edges carry a condition",
        "other": "how the circuits of the classes compare",
    }
    if not any(shown.study.other_conditions for shown in overview.studies):
        return "Which edges of the model each class uses, and how similar the classes are."
    return f"Which edges of the model each class uses, {', and '.join(about[k] for k in dict.fromkeys(kinds))}."


def _facts(overview: Overview) -> list[dict[str, Any]]:
    """Return the counts at the top of the page."""
    edges = {"edges in the graph": max((shown.study.universe.n_edges for shown in overview.studies), default=0)}
    counts = {
        "circuits": overview.n_circuits,
        "classes": overview.items["class"].nunique(),
        "conditions": overview.items["condition"].nunique(),
        **(edges if overview.studies else {}),
        "questions": len(overview.items),
    }
    return [{"name": name, "value": f"{value:,}"} for name, value in counts.items()]


def _provenance(overview: Overview) -> list[dict[str, str]]:
    rows = {"store": overview.store, "run": overview.run or "all runs"}
    rows |= {f"model {id[:12]}": text for id, text in overview.models.items()}
    rows |= dict(overview.provenance)
    return [{"name": name, "value": value} for name, value in rows.items()]
