"""What is fitted and chosen on images, with or without circuits, and used on other images. It knows no store."""

from .choosing import Candidate as Candidate
from .choosing import Chosen as Chosen
from .choosing import choose as choose
from .fits import directions_fit as directions_fit
from .fits import fitted_directions as fitted_directions
from .fits import fitted_scores as fitted_scores
from .fits import scores_fit as scores_fit
from .last_layer import RetrainedLastLayer as RetrainedLastLayer
from .last_layer import retrain_last_layer as retrain_last_layer
from .rows import NONE as NONE
from .rows import ROWS as ROWS
from .rows import Material as Material
from .rows import Row as Row
from .rows import check_sizes as check_sizes
from .sample import Answers as Answers
from .sample import Sample as Sample
from .sample import answers as answers
from .sample import twins as twins
