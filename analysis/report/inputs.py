"""The tables of studies and of images at the top of the page."""

from __future__ import annotations

import pandas as pd

from ..overview import Overview
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
        "conditions": ", ".join(study.conditions),
        "circuits from": c["extraction"],
    }


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
