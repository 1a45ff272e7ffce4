"""The script that made the weights: what its images hold, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore.demo import train
from circuitstore.images.digits import draw_digit, held_out, load_digits
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
    monkeypatch.setattr(train, "STEPS", 3)
    monkeypatch.setattr(train, "BATCH", 8)
    train.main(tmp_path)
    said = capsys.readouterr().out
    count = sum(held_out(h) for h in load_digits().hashes)
    assert f"on {count} held-out digits" in said and "seven:" in said
    first = load_file(tmp_path / "digits_model.safetensors")
    train.main(tmp_path)
    again = load_file(tmp_path / "digits_model.safetensors")
    assert first.keys() == again.keys() and all(torch.equal(first[k], again[k]) for k in first)
