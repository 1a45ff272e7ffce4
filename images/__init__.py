"""Where images come from, what was done to them, what they are contrasted with, and which are used."""

from .batch import class_cycle as class_cycle
from .build import ImageSet as ImageSet
from .build import build_set as build_set
from .build import surroundings as surroundings
from .conditions import CONDITIONS as CONDITIONS
from .conditions import is_attack as is_attack
from .conditions import resolve_condition as resolve_condition
from .conditions import target_of as target_of
from .corruptions import CORRUPTIONS as CORRUPTIONS
from .corruptions import needs_attack as needs_attack
from .corruptions import resolve_corruption as resolve_corruption
from .digits import WORDS as WORDS
from .files import BadImage as BadImage
from .opening import open_source as open_source
from .select import RULES as RULES
from .select import Selected as Selected
from .select import order_candidates as order_candidates
from .select import predict as predict
from .select import select_images as select_images
from .source import ImageRef as ImageRef
from .source import ImageSource as ImageSource
from .source import Skipped as Skipped
from .splits import SPLITS as SPLITS
from .splits import Split as Split
from .splits import quotas as quotas
