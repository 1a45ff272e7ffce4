"""What is fitted and chosen on images, with or without circuits, and used on other images. It knows no store."""

from .confusion import Confusion as Confusion
from .confusion import ConfusionCorrection as ConfusionCorrection
from .confusion import correct_confusion as correct_confusion
from .confusion import most_confused as most_confused
from .correction import Correction as Correction
from .correction import CorrectionRow as CorrectionRow
from .cued_images import CuedImages as CuedImages
from .detectors import DETECTORS as DETECTORS
from .detectors import Calibration as Calibration
from .detectors import DetectorKind as DetectorKind
from .detectors import Feature as Feature
from .detectors import FittedDetector as FittedDetector
from .detectors import ScoredImages as ScoredImages
from .detectors import Statistic as Statistic
from .detectors import calibrate as calibrate
from .detectors import fit_detector as fit_detector
from .detectors import score_images as score_images
from .group_correction import GroupCorrection as GroupCorrection
from .group_correction import correct_groups as correct_groups
from .labelled import LabelledImages as LabelledImages
from .last_layer import retrained_heads as retrained_heads
from .search import Search as Search
