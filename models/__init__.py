"""Vision transformers as senders and receivers: loading, fingerprints, plain and patched runs, gradients."""

from .ambient import plain_torch as plain_torch
from .assembly import DTYPES as DTYPES
from .assembly import LoadKeywords as LoadKeywords
from .casting import in_dtype as in_dtype
from .clip import load_clip as load_clip
from .clip import text_embeddings as text_embeddings
from .clip import zero_shot as zero_shot
from .entry import runs_model as runs_model
from .gated_runs import GatedRuns as GatedRuns
from .gradients import GRADIENTS as GRADIENTS
from .load import load_model as load_model
from .mixed_runs import fixed_output as fixed_output
from .mixed_runs import mixed_reads as mixed_reads
from .patched_runs import CLEAN as CLEAN
from .patched_runs import CORRUPTED as CORRUPTED
from .patched_runs import CURRENT as CURRENT
from .patched_runs import Activations as Activations
from .patched_runs import PatchedRuns as PatchedRuns
from .patched_runs import capture as capture
from .preprocess import Preprocess as Preprocess
from .receiver_runs import ReceiverRuns as ReceiverRuns
from .receivers import ReceiverGradients as ReceiverGradients
from .senders import SenderOutputs as SenderOutputs
from .senders import sender_differences as sender_differences
from .sequential_runs import SequentialRuns as SequentialRuns
from .vit import ViT as ViT
