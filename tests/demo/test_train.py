"""The training script: its images, and a few seeded steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore.demo import train
from circuitstore.images.digits import Digits, draw_digit, held_out, load_digits
from safetensors.torch import load_file


def test_training_images_are_as_described() -> None:
    """Half with a word; of those three in ten dimmed to a fifth; within five standard deviations."""
    pixels = np.full((3000, 8, 8), 16, np.uint8)
    images = train.draw_batch(pixels, np.arange(3000) % 10, np.random.default_rng(0))
    with_word = images[:, 25:].any((1, 2, 3))
    dimmed = images[:, 12, 16, 0] == 51
    assert abs(with_word.mean() - 0.5) < 5 * (0.25 / 3000) ** 0.5
    assert not dimmed[~with_word].any()
    assert abs(dimmed[with_word].mean() - 0.3) < 5 * (0.21 / 1500) ** 0.5


def test_words_are_those_of_the_label() -> None:
    images = train.draw_batch(np.zeros((200, 8, 8), np.uint8), np.full(200, 7), np.random.default_rng(0))
    expected = train.add_word(draw_digit(np.zeros((8, 8), np.uint8)), "seven")
    assert {i.tobytes() for i in images} == {expected.tobytes(), np.zeros_like(expected).tobytes()}


def test_a_few_steps_are_seeded_and_written(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Three steps on small batches of the first 60 digits."""
    data = load_digits()
    few = Digits(data.images[:60], data.labels[:60], data.hashes[:60])
    for name, value in {"STEPS": 3, "BATCH": 8, "load_digits": lambda: few}.items():
        monkeypatch.setattr(train, name, value)
    train.main(tmp_path)
    assert f"on {sum(map(held_out, few.hashes))} held-out digits" in capsys.readouterr().out
    written = load_file(tmp_path / "digits_model.safetensors")
    seen = ~np.array([held_out(h) for h in few.hashes])
    again = train.train(few.images[seen], few.labels[seen]).state_dict()
    assert written.keys() == again.keys() and all(torch.equal(written[k], again[k]) for k in written)
