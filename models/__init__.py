"""Vision transformers as senders and receivers: load, fingerprint, run, run patched, gradients at receivers."""

from .ambient import plain_torch as plain_torch
from .casting import in_dtype as in_dtype
from .clip import load_clip as load_clip
from .clip import text_embeddings as text_embeddings
from .clip import zero_shot as zero_shot
from .decided import DecidedRuns as DecidedRuns
from .entry import runs_model as runs_model
from .gated import GatedRuns as GatedRuns
from .gradients import GRADIENTS as GRADIENTS
from .load import load_model as load_model
from .made import DTYPES as DTYPES
from .mixing import fixed_output as fixed_output
from .mixing import mixed_reads as mixed_reads
from .patching import CLEAN as CLEAN
from .patching import CORRUPTED as CORRUPTED
from .patching import CURRENT as CURRENT
from .patching import Activations as Activations
from .patching import PatchedRuns as PatchedRuns
from .patching import capture as capture
from .preprocess import Preprocess as Preprocess
from .receivers import ReceiverGradients as ReceiverGradients
from .senders import SenderOutputs as SenderOutputs
from .senders import sender_differences as sender_differences
from .suffix import ShiftedRuns as ShiftedRuns
from .vit import ViT as ViT
