"""The tables of studies and of images at the top of the page."""

from __future__ import annotations

import pandas as pd

from ..controls import conditions_of
from ..overview import Overview
from ..side_by_side import role
from ..study_overview import StudyOverview
from ..wording import NONE, count
from .tables import HtmlTable, frame_table


def studies_table(overview: Overview) -> HtmlTable:
    """Return one row per study: its recipe, conditions and size."""
    return frame_table(pd.DataFrame([_study(shown) for shown in overview.studies]), "Studies and their recipes.")


def _study(shown: StudyOverview) -> dict[str, str]:
    c, study = shown.study.common, shown.study
    return {
        "study": shown.title,
        "model": c["model"],
        "images": f"{c['dataset']}, {count(len(study.classes), 'class', 'classes')}",
        "recipe": f"{c['method']}, {c['form']} form, {c['metric']}, {c['direction']}, against {c['corruption']}",
        "conditions": ", ".join(map(study.short, study.conditions)),
        "circuits from": c["extraction"],
    }


def conditions_table(overview: Overview) -> HtmlTable:
    """Return one row per condition: its name in each study, its role, and its text with all parameters."""
    found: dict[tuple[str, str], str] = {}
    for study in (shown.study for shown in overview.studies):
        known = conditions_of(study)
        found |= {(study.short(text), text): role(known[text]) if text in known else "" for text in study.conditions}
    rows = [{"condition": short, "role": role, "parameters": text} for (short, text), role in found.items()]
    return frame_table(pd.DataFrame(rows), "Conditions with all parameters.")


def images_table(overview: Overview) -> HtmlTable:
    """Return the settings of images in the spec of each run."""
    rows = [
        {
            "run": name,
            "source": _source(settings.get("source", NONE)),
            "images per class": str(settings.get("per_class", "default")),
            "chosen": str(settings.get("choose", "correct")),
        }
        for name, settings in overview.image_settings.items()
    ]
    caption = "Images: half for scores, a quarter for finding sizes, a quarter for the reported results."
    return frame_table(pd.DataFrame(rows), caption)


def _source(source: object) -> str:
    """Return the name of shipped images, or the folder of the images."""
    return str(source.get("folder", NONE)) if isinstance(source, dict) else str(source)
