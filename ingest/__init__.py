"""Indexing: a spec becomes work items, whose answers are computed and stored."""

from __future__ import annotations

from importlib import resources

from .correct import CorrectionResult as CorrectionResult
from .correct import correct as correct
from .correct import correction_images as correction_images
from .cross import cross_evaluate as cross_evaluate
from .defence_outline import outline_defence as outline_defence
from .defend import DefenceResult as DefenceResult
from .defend import defend as defend
from .detect import Detection as Detection
from .detect import detect as detect
from .engine import IndexResult as IndexResult
from .engine import index as index
from .estimate import dry_run as dry_run
from .imported import NOT_STATED as NOT_STATED
from .imported import imported_result as imported_result
from .imported import model_named as model_named
from .own import OwnImages as OwnImages
from .own import OwnResult as OwnResult
from .own_results import store_results as store_results
from .plan import Plan as Plan
from .plan import make_plan as make_plan
from .preview import Preview as Preview
from .preview import Samples as Samples
from .preview import preview as preview
from .probe import Probe as Probe
from .probe import probe_file as probe_file
from .probe import train_probe as train_probe
from .spec import Spec as Spec
from .spec import load_spec as load_spec
from .spec import parse_spec as parse_spec


def demo_spec() -> Spec:
    """Return the spec of the shipped demo: handwritten digits, natural and with a wrong word printed below them.

    Examples:
        >>> [condition.kind for condition in demo_spec().condition]
        ['natural', 'typographic']
    """
    text = resources.files("circuitstore").joinpath("demo", "digits.toml").read_text(encoding="utf-8")
    return parse_spec(text, origin="demo/digits.toml")
