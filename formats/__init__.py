"""Formats of other tools: circuits are written to their files and read from them, without running code."""

from .format import FileCircuit as FileCircuit
from .format import FormatKind as FormatKind
from .format import one_each as one_each
from .format import scores_or_none as scores_or_none
from .reading import SourceFile as SourceFile
from .reading import read_circuit as read_circuit
from .registry import FORMATS as FORMATS
from .writing import encoded as encoded
from .writing import export_circuits as export_circuits
