"""Errors of a model that edges can correct: the images that show one, and the methods that are tried on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor

from ..circuits import EdgeScores, Figures, Form
from ..evaluation import Execution
from ..evaluation.interventions import Directions
from ..models import ViT
from .answers import Predicted, answers
from .choosing import Candidate, Choice, Chooser, Judgement
from .contrast import Contrast, contrasting_directions, contrasting_scores
from .correction import CorrectionRow
from .labelled import LabelledImages
from .search import Search


class Contrasted(NamedTuple):
    """Images and reference images of the same classes, whose difference a direction is fitted on.

    Attributes:
        images: the images to correct.
        reference: the images that they are contrasted with.
    """

    images: LabelledImages
    reference: LabelledImages


class Problem(ABC):
    """An error of a model, with the images that corrections are fitted on and chosen on.

    Attributes:
        model: the model.
        discovery: images that corrections are fitted on.
        selection: images that choose among them.
        search: what is tried.
        form: form of the graph.
        execution: batch size, and progress of the choice, which counts tried edits.
        notes: what the reader has to know.
    """

    def __init__(
        self,
        model: ViT,
        discovery: LabelledImages,
        selection: LabelledImages,
        search: Search,
        form: Form,
        execution: Execution,
    ) -> None:
        self.model, self.discovery, self.selection = model, discovery, selection
        self.search, self.execution = search, execution
        self.form: Form = form
        self.quiet = replace(execution, progress=None, journal=None)
        self.notes: tuple[str, ...] = ()

    @property
    @abstractmethod
    def wrong(self) -> tuple[Contrasted, Int[Tensor, "image"]]:
        """The images to correct with their reference, and the class that each of them is read as."""

    @property
    @abstractmethod
    def sets(self) -> Mapping[str, tuple[Contrasted, ...]]:
        """The sets of directions to fit, by name; those of a set apply in turn."""

    @property
    @abstractmethod
    def pair(self) -> tuple[int, int] | None:
        """The class and the class that its images are read as, if two classes are confused."""

    @property
    @abstractmethod
    def methods(self) -> tuple[Method, ...]:
        """The methods that are tried, in the order of the table."""

    @abstractmethod
    def judge(self, predicted: Predicted) -> Judgement:
        """Return what predictions for the selection images are worth."""

    @abstractmethod
    def figures(self, images: LabelledImages, predicted: Predicted) -> Figures:
        """Return the accuracies by group of images."""

    def scores(self) -> EdgeScores:
        """Score the edges for the wrong class."""
        (images, reference), wrong = self.wrong
        return contrasting_scores(self.model, images, wrong, reference, form=self.form, execution=self.quiet)

    def directions(self, of: Contrasted) -> Directions:
        """Fit a direction."""
        quantile = self.search.quantile
        return contrasting_directions(self.model, *of, form=self.form, quantile=quantile, execution=self.quiet)

    def contrast(self) -> Contrast:
        """Fit scores and all directions."""
        scores = self.scores()
        directions = {name: tuple(map(self.directions, some)) for name, some in self.sets.items()}
        return Contrast(scores, directions, self.search)

    def chooser(self) -> Chooser:
        """Return what tries edits on the selection images."""
        return Chooser(self.model, self.selection, self.judge, self.search.max_loss, self.execution)


@dataclass(frozen=True)
class Method:
    """A method of correction: how its edit is chosen, or drawn as a control of the row `edges`.

    Attributes:
        name: its name in tables.
        about: what is done to the model.
        choose: chooses an edit on selection images.
        control: returns a random control, given the contrast, the chosen edges, and a seed.
    """

    name: str
    about: str
    choose: Callable[[Problem, Contrast, Chooser], Choice] | None = None
    control: Callable[[Contrast, Candidate, int], Candidate] | None = None


EDGES = Method(
    "edges",
    "steer the circuit's edges by the excess over the reference images",
    lambda problem, contrast, chooser: chooser.best(contrast.steered_edges()),
)
"""The method that the random controls copy."""

STEERING: tuple[Method, ...] = (
    Method("none", "the unchanged model", lambda problem, contrast, chooser: Choice(chooser.plain, ())),
    EDGES,
    Method(
        "senders",
        "the same for all readers of the edges' senders",
        lambda problem, contrast, chooser: chooser.best(contrast.steered_senders()),
    ),
    Method(
        "random edges",
        "control: as many random edges, steered in the same way",
        control=lambda contrast, like, seed: contrast.random_edges(like, seed),
    ),
    Method(
        "random non-circuit edges",
        "control: as many random edges outside of the circuit, steered in the same way",
        control=lambda contrast, like, seed: contrast.random_edges(like, seed, outside=True),
    ),
)
"""The methods of every problem."""


def correction_rows(problem: Problem, contrast: Contrast, report: LabelledImages, seed: int) -> list[CorrectionRow]:
    """Return what each method does on report images.

    Args:
        problem: the problem.
        contrast: what was fitted on its discovery images.
        report: report images.
        seed: seed of the random edges.
    """
    chooser, rows, edges = problem.chooser(), list[CorrectionRow](), Candidate(None)
    for method in problem.methods:
        if method.choose is not None:
            tried = method.choose(problem, contrast, chooser).chosen
        else:
            assert method.control is not None
            tried = chooser.tried(method.control(contrast, edges, seed))
        edit = tried.candidate.edit
        if method is EDGES:
            edges = tried.candidate
        predicted = answers(problem.model, edit, report.images, problem.quiet).predicted
        figures = problem.figures(report, predicted)
        rows.append(CorrectionRow(method.name, edit, tried.judged.figures, figures, predicted))
    return rows
