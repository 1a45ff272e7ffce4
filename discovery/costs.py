"""What patched runs cost that follow one receiver only."""

FORWARDS_PER_EDGE = 0.3
"""By count, on ViT-S: the mean over edges of what follows the receiver."""
