"""A data-set folder: Parquet files, a card that the Hugging Face Hub reads, and Croissant metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd
from pandas.api.types import is_float_dtype, is_integer_dtype

from ..circuits import CircuitRecord
from ..results import parquet
from .csv_edges import edge_frame
from .format import Files, FormatKind
from .json_text import as_json

ABOUT = {
    "edges": "A row for each edge of each circuit.",
    "circuits": "A row for each circuit: its question, its size, and its evaluation on held-out images.",
}
DESCRIPTION = (
    "Circuits of vision transformers: edges between attention heads and MLPs that matter for a class. Positive scores "
    "raise the metric."
)

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context of Croissant's specification, whole: validators compare it."""


def _written(records: Sequence[CircuitRecord]) -> Files:
    frames = {
        "edges": edge_frame(records),
        "circuits": pd.DataFrame([record.properties() for record in records]),
    }
    files = {f"{name}.parquet": parquet(frame) for name, frame in frames.items()}
    files["README.md"] = _card(frames).encode("utf-8", "backslashreplace")
    files["croissant.json"] = as_json(_croissant(frames, files))
    return files


def _card(frames: dict[str, pd.DataFrame]) -> str:
    """Return the card; its head is YAML, of which JSON is a part."""
    circuits = frames["circuits"]
    configs = [{"config_name": name, "data_files": f"{name}.parquet"} for name in frames]
    head = {
        "pretty_name": "Circuits of vision transformers",
        "license": "other",
        "tags": ["circuits", "vit", "interpretability", "circuitstore"],
        "configs": configs,
    }
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in head.items()), "---", ""]
    lines += ["# Circuits of vision transformers", "", DESCRIPTION, ""]
    lines += [f"- `{name}.parquet`: {about} Rows: {len(frames[name])}." for name, about in ABOUT.items()]
    lines += ["", "The license is that of the images and the model: set it in the head of this file.", ""]
    for title, column in (("Models", "model"), ("Data sets", "dataset"), ("Methods", "method"), ("Metrics", "metric")):
        named = sorted({_inline(value) for value in circuits[column]})
        lines.append(f"- {title}: {', '.join(named[:20])}{', …' if len(named) > 20 else ''}")
    return "\n".join([*lines, ""])


def _inline(text: str) -> str:
    """Return a name as code, which no character of it can end."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"


def _croissant(frames: dict[str, pd.DataFrame], files: Files) -> dict[str, Any]:
    distribution = [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": f"{name}.parquet",
            "contentUrl": f"{name}.parquet",
            "encodingFormat": "application/x-parquet",
            "sha256": hashlib.sha256(files[f"{name}.parquet"]).hexdigest(),
        }
        for name in frames
    ]
    sets = [
        {
            "@type": "cr:RecordSet",
            "@id": f"{name}-rows",
            "name": f"{name}-rows",
            "description": ABOUT[name],
            "field": [_field(name, column, type_) for column, type_ in frame.dtypes.items()],
        }
        for name, frame in frames.items()
    ]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": "circuits",
        "description": DESCRIPTION,
        "version": "1.0.0",
        "distribution": distribution,
        "recordSet": sets,
    }


def _field(name: str, column: Hashable, dtype: Any) -> dict[str, Any]:
    types = ((is_integer_dtype, "sc:Integer"), (is_float_dtype, "sc:Float"))
    return {
        "@type": "cr:Field",
        "@id": f"{name}-rows/{column}",
        "name": column,
        "dataType": next((type_ for holds, type_ in types if holds(dtype)), "sc:Text"),
        "source": {"fileObject": {"@id": name}, "extract": {"column": column}},
    }


DATASET = FormatKind(
    key="dataset",
    name="Data-set folder: Parquet files of edges and circuits, a card for the Hugging Face Hub, Croissant metadata",
    source="Hugging Face dataset cards; Croissant 1.1",
    write=_written,
)
