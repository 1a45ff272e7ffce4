"""Detectors: how suspicious an image is, compared with reference images."""

from .calibration import Calibration as Calibration
from .calibration import calibrate as calibrate
from .fit import fit_detector as fit_detector
from .fitted import FittedDetector as FittedDetector
from .kind import DetectorKind as DetectorKind
from .kind import Feature as Feature
from .kind import Statistic as Statistic
from .registry import DETECTORS as DETECTORS
from .scored import ScoredImages as ScoredImages
from .scored import score_images as score_images
