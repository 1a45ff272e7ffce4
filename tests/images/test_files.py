"""Image files of many formats: converted if possible, else an error that names the file."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from circuitstore.images.files import BadImage, check_header, read_image
from PIL import Image


def read(path: Path) -> np.ndarray:
    return np.asarray(read_image(path.read_bytes(), path))


def png(width: int, height: int, bit_depth: int, colour_type: int, rows: bytes) -> bytes:
    """A PNG file written by hand, for what Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp", "gif"])
def test_lossless_formats_keep_their_pixels(tmp_path: Path, suffix: str) -> None:
    pixels = np.zeros((5, 7, 3), np.uint8)
    pixels[1:3] = 255
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    assert check_header(tmp_path / f"a.{suffix}") is None
    assert np.array_equal(read(tmp_path / f"a.{suffix}"), pixels)


def test_the_content_counts_not_the_suffix(tmp_path: Path, photo) -> None:
    photo().save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.txt")
    assert check_header(tmp_path / "a.txt") is None
    assert np.array_equal(read(tmp_path / "a.txt"), np.asarray(photo()))


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(BadImage, match=r"a\.jpg: empty file"):
        check_header(tmp_path / "a.jpg")


def test_a_file_that_is_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("a letter to my aunt")
    with pytest.raises(BadImage, match="not an image of a known format"):
        check_header(tmp_path / "a.jpg")


def test_postscript_raises(tmp_path: Path) -> None:
    """Pillow would run Ghostscript on it."""
    (tmp_path / "a.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(BadImage, match="not an image of a known format"):
        check_header(tmp_path / "a.jpg")


def test_broken_link_pipe_and_absent_file(tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, reason in {"link": "broken link", "pipe": "not a regular file", "gone": "not a regular file"}.items():
        with pytest.raises(BadImage, match=reason):
            check_header(tmp_path / f"{name}.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable_file(tmp_path: Path, photo) -> None:
    photo().save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(BadImage, match="no permission"):
        check_header(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "tiff", "bmp"])
@pytest.mark.parametrize("kept", [0.2, 0.6, 0.95])
def test_truncated_file(tmp_path: Path, photo, suffix: str, kept: float) -> None:
    path = tmp_path / f"a.{suffix}"
    photo().save(path)
    data = path.read_bytes()
    with pytest.raises(BadImage, match=rf"a\.{suffix}: (cannot be decoded|not an image)"):
        read_image(data[: int(len(data) * kept)], path)


@pytest.mark.parametrize("side", [10_001, 14_000, 60_000], ids=["just", "Pillow's warning", "Pillow's error"])
def test_a_huge_image_raises_from_its_header(tmp_path: Path, side: int) -> None:
    """The file has a few bytes: decoding it would report damage."""
    (tmp_path / "a.png").write_bytes(png(side, side, 8, 0, b""))
    with pytest.raises(BadImage, match="100 megapixels"):
        check_header(tmp_path / "a.png")


def test_a_picture_of_just_under_100_megapixels_passes_the_header(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(10_000, 9_999, 8, 0, b""))
    assert check_header(tmp_path / "a.png") is None


def test_an_elongated_image_raises(tmp_path: Path) -> None:
    Image.new("L", (1005, 5)).save(tmp_path / "a.png")
    with pytest.raises(BadImage, match="1005 × 5 pixels; the maximum aspect ratio is 200:1"):
        check_header(tmp_path / "a.png")


def test_cmyk(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.tiff")
    for name in ("a.jpg", "a.tiff"):
        assert np.abs(read(tmp_path / name).astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    levels = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / f"a.{suffix}")
    expected = np.rint(levels / 257).astype(np.uint8)
    assert np.array_equal(read(tmp_path / f"a.{suffix}")[..., 0], expected)
    assert expected.tolist() == [[0, 0, 1, 1, 128, 255]]


def test_16_bit_pgm(tmp_path: Path) -> None:
    levels = np.array([0, 257, 65535], ">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 65535\n" + levels.tobytes())
    assert read(tmp_path / "a.pgm")[0, :, 0].tolist() == [0, 1, 255]


def test_16_bit_colour(tmp_path: Path) -> None:
    row = b"\0" + np.array([[65535, 32896, 0], [257, 514, 771]], ">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png(2, 1, 16, 2, row))
    assert read(tmp_path / "a.png").tolist() == [[[255, 128, 0], [1, 2, 3]]]


def test_32_bit_and_float_raise(tmp_path: Path) -> None:
    Image.fromarray(np.array([[70_000, 1]], np.int32)).save(tmp_path / "a.tiff")
    with pytest.raises(BadImage, match="grey levels 1 to 70000"):
        read(tmp_path / "a.tiff")
    Image.fromarray(np.array([[0.5, 1]], np.float32)).save(tmp_path / "b.tiff")
    with pytest.raises(BadImage, match="floating-point"):
        read(tmp_path / "b.tiff")


def test_grey_and_one_bit(tmp_path: Path) -> None:
    Image.new("L", (2, 2), 77).save(tmp_path / "grey.png")
    Image.new("1", (2, 2), 1).save(tmp_path / "bit.png")
    assert (read(tmp_path / "grey.png") == 77).all() and read(tmp_path / "grey.png").shape == (2, 2, 3)
    assert (read(tmp_path / "bit.png") == 255).all()


def palette_image() -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putdata([0, 1])
    return image


def test_palette(tmp_path: Path) -> None:
    palette_image().save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").tolist() == [[[10, 20, 30], [200, 100, 0]]]


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_transparent_palette_entry_becomes_white(tmp_path: Path, suffix: str) -> None:
    palette_image().save(tmp_path / f"a.{suffix}", transparency=0)
    assert read(tmp_path / f"a.{suffix}").tolist() == [[[255, 255, 255], [200, 100, 0]]]


def test_half_transparent_pixels_are_mixed_with_white(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (0, 0, 0, 128)).save(tmp_path / "a.png")
    Image.new("LA", (1, 1), (0, 0)).save(tmp_path / "b.png")
    assert read(tmp_path / "a.png").tolist() == [[[127, 127, 127]]]
    assert read(tmp_path / "b.png").tolist() == [[[255, 255, 255]]]


def test_transparent_colour_of_an_rgb_file_becomes_white(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png", transparency=(1, 2, 3))
    assert read(tmp_path / "a.png").tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_an_animation_gives_its_first_frame_and_a_notice(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (4, 4), c) for c in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    lossless = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **lossless)
    assert check_header(tmp_path / f"a.{suffix}") == "3 frames, only the first is used"
    assert (read(tmp_path / f"a.{suffix}") == [255, 0, 0]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_followed(tmp_path: Path, orientation: int) -> None:
    upright = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 10
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read(tmp_path / "a.png"), upright)


def test_damaged_exif_is_ignored(tmp_path: Path, photo) -> None:
    photo().save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\0\0")
    assert read(tmp_path / "a.jpg").shape == (70, 90, 3)
