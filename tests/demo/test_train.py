"""The scripts that train and fine-tune the demo model: a few seeded steps, and what they write."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from circuitstore.demo import finetune, train
from circuitstore.demo.training_images import STYLES, draw_batch
from circuitstore.images.digits import Digits, held_out, load_digits
from circuitstore.models import load_model
from safetensors.torch import load_file

STAGES = tuple((mix, 3, rate) for mix, _, rate in train.STAGES)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Digits:
    """Three steps on small batches of the first 60 digits."""
    data = load_digits()
    few = Digits(data.images[:60], data.labels[:60], data.hashes[:60])
    for module, name, value in (
        (train, "STAGES", STAGES),
        (train, "BATCH", 8),
        (train, "load_digits", lambda: few),
        (finetune, "STEPS", 3),
        (finetune, "load_digits", lambda: few),
    ):
        monkeypatch.setattr(module, name, value)
    return few


def test_a_split_separates_the_held_out_digits(few: Digits) -> None:
    seen, held = train.split(few)
    assert not any(map(held_out, seen.hashes)) and all(map(held_out, held.hashes))
    both = dict(zip([*seen.hashes, *held.hashes], [*seen.images, *held.images], strict=True))
    assert len(both) == 60 and all(np.array_equal(both[h], i) for h, i in zip(few.hashes, few.images, strict=True))


def test_a_few_steps_are_seeded_and_written(few: Digits, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    train.main(tmp_path)
    printed = capsys.readouterr().out
    assert f"on {sum(map(held_out, few.hashes))} held-out digits" in printed
    assert all(style.__name__ in printed for style in STYLES)
    written = load_file(tmp_path / "digits_model.safetensors")
    seen, _ = train.split(few)
    again = train.create()
    for mix, steps, learning_rate in STAGES:
        train.fit(again, seen, partial(draw_batch, mix=mix), steps=steps, learning_rate=learning_rate)
    again = again.state_dict()
    assert written.keys() == again.keys() and all(torch.equal(written[k], again[k]) for k in written)


@pytest.mark.parametrize("name", finetune.MIXES)
def test_fine_tuning_starts_from_the_shipped_weights(few: Digits, name: str, tmp_path: Path) -> None:
    """Three steps of warm-up move no weight by more than their learning rates together, and some decay."""
    finetune.main(name, tmp_path / "tuned.safetensors")
    tuned = load_model("digits", checkpoint=tmp_path / "tuned.safetensors").module.state_dict()
    shipped = load_model("digits").module.state_dict()
    rates = sum(finetune.LEARNING_RATE * step / train.WARM_UP for step in (1, 2, 3))
    for key, tensor in shipped.items():
        moved = (tuned[key] - tensor).abs().max()
        assert moved <= rates * (1.01 + train.WEIGHT_DECAY * tensor.abs().max())
    assert any((tuned[key] - tensor).abs().max() > rates / 2 for key, tensor in shipped.items())
