"""Images on which a toy model does something."""

import pytest


@pytest.fixture(scope="module")
def contrast(toy_vit, images):
    """A toy model, clean images that it takes for one class, corrupted ones that it takes for others, and the class."""
    model = toy_vit()
    noise = images(model, 200)
    top = model.logits(noise).argmax(dim=1)
    label = top.mode().values
    return model, noise[top == label][:12], noise[top != label][:12], label.repeat(12)
