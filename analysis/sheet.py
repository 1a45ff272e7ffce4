"""The sheet of images: clean, attacked and corrupted images of a spec, with the class the model predicts for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..circuits import ClassInfo
from ..errors import InputError
from ..images import has_image
from ..ingest import Preview, Samples
from ..ingest.preview import View

MAX_CLASSES = 12
"""Maximum number of classes on a sheet."""

MIN_SIDE = 192
"""Minimum length in pixels of the longer side of an image; smaller images are enlarged without smoothing."""

MAX_SIDE = 288
"""Maximum length in pixels of the longer side of an image; larger images are reduced."""

MARGIN, GAP, LINE, TEXT, TITLE = 24, 12, 20, 14, 20
INK, FAINT, RIGHT, WRONG, PAPER = "#111111", "#555555", "#0a7d33", "#b3261e", "#ffffff"


def write_sheet(preview: Preview, path: str | Path) -> Path:
    """Write the sheet of a preview as a PNG file, and return its path.

    Raises:
        InputError: the suffix is not `.png`, the file cannot be written, or the images cannot be made.

    Examples:
        >>> from circuitstore.ingest import preview
        >>> write_sheet(preview(spec, model, progress=False), folder / "sheet.png").name
        'sheet.png'
    """
    path = checked_path(path)
    sheet = draw_sheet(preview)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)
    except OSError as error:
        raise InputError(f"{path}: cannot write ({error.strerror or error}); use another path") from error
    return path


def checked_path(path: str | Path) -> Path:
    """Return the path of a sheet.

    Raises:
        InputError: the suffix is not `.png`.
    """
    if Path(path).suffix.lower() != ".png":
        raise InputError(f"{path}: expected a name that ends in .png: the sheet is a PNG file")
    return Path(path)


def draw_sheet(preview: Preview) -> Image.Image:
    """Draw the first images of each class under each condition and corruption: clean, attacked and corrupted.

    Below each image are its file and the class that the model predicts, in green if it is the true class, else in red.

    Examples:
        >>> from circuitstore.ingest import preview
        >>> draw_sheet(preview(spec, model, progress=False)).mode
        'RGB'
    """
    blocks: list[_Text | _Pictures] = [_Text(line, INK, TEXT) for line in _head(preview)]
    blocks += list(chain.from_iterable(_of_class(preview, cls) for cls in preview.classes[:MAX_CLASSES]))
    left_out = len(preview.classes) - MAX_CLASSES
    if left_out > 0:
        blocks.append(_Text(f"{left_out} more classes are not shown; images.only selects classes", FAINT, TEXT))
    width = max(block.width for block in blocks) + 2 * MARGIN
    height = sum(block.height for block in blocks) + 2 * MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    drawing, top = ImageDraw.Draw(sheet), MARGIN
    for block in blocks:
        block.draw(sheet, drawing, MARGIN, top)
        top += block.height
    return sheet


def _head(preview: Preview) -> Iterator[str]:
    facts = preview.survey.facts
    yield "; ".join(f"{name}: {facts[name]}" for name in ("model", "weights", "images"))
    yield f"pixels: {facts['pixels']}".replace("×", "x")  # the font lacks this character
    yield "Below each image: what it is, its file, and the class that the model predicts, green if it is the true one."


def _of_class(preview: Preview, cls: ClassInfo) -> Iterator[_Text | _Pictures]:
    yield _Text(f"{cls.name} (class {cls.class_index})", INK, TITLE)
    for samples in preview.samples(cls):
        yield _Text(_heading(samples), FAINT, TEXT)
        if samples.remark:
            yield _Text(samples.remark, WRONG, TEXT)
        if samples.images:
            yield _Pictures(samples.images, cls.name)


def _heading(samples: Samples) -> str:
    """Return group, condition, word, target, shares and corruption in one line."""
    contrast, condition = samples.item.contrast, samples.item.condition
    parts = [*filter(None, [samples.item.selection.group]), condition.text]
    if contrast.word is not None:
        parts.append(f"word “{contrast.word}”")
    if contrast.target is not None:
        parts.append(f"target {contrast.target}")
    shares = {
        "accuracy": samples.tally.accuracy,
        "attacked accuracy": samples.tally.attacked_accuracy,
        "success": samples.tally.success,
    }
    parts += [f"{name} {share:.0%}" for name, share in shares.items() if share is not None]
    corruption = samples.item.recipe.corruption
    against = f" from {contrast.against_text}" if contrast.against else ""
    against = against if has_image(corruption) else " (of the outputs of senders: there is no corrupted image)"
    parts.append(f"corruption {corruption.kind}{against}")
    return " · ".join(parts)


@dataclass(frozen=True)
class _Text:
    """A line of text."""

    text: str
    colour: str
    size: int

    @property
    def width(self) -> int:
        return round(_font(self.size).getlength(self.text))

    @property
    def height(self) -> int:
        return self.size + GAP

    def draw(self, sheet: Image.Image, drawing: ImageDraw.ImageDraw, left: int, top: int) -> None:
        drawing.text((left, top), self.text, self.colour, _font(self.size))


@dataclass(frozen=True)
class _Pictures:
    """A row of images with captions; the views of one image are closer together."""

    images: Sequence[Sequence[View]]
    true_name: str

    @property
    def _cell(self) -> tuple[int, int]:
        return _size(self.images[0][0])

    @property
    def width(self) -> int:
        views = sum(map(len, self.images))
        return views * (self._cell[0] + GAP // 2) + (len(self.images) - 1) * 2 * GAP

    @property
    def height(self) -> int:
        return self._cell[1] + 3 * LINE + GAP

    def draw(self, sheet: Image.Image, drawing: ImageDraw.ImageDraw, left: int, top: int) -> None:
        width, height = self._cell
        for views in self.images:
            for view in views:
                sheet.paste(_scaled(view), (left, top))
                right = view.predicted == self.true_name
                name, predicted = _end(view.name, width), _start(f"predicted: {view.predicted}", width)
                captions = [(view.kind, FAINT), (name, FAINT), (predicted, RIGHT if right else WRONG)]
                for i, (text, colour) in enumerate(captions):
                    drawing.text((left, top + height + 2 + i * LINE), text, colour, _font(TEXT))
                left += width + GAP // 2
            left += 2 * GAP


def _size(view: View) -> tuple[int, int]:
    """Return the width and height of an image on the sheet."""
    height, width, _ = view.pixels.shape
    longer = max(height, width)
    factor = max(1, -(-MIN_SIDE // longer)) if longer <= MAX_SIDE else MAX_SIDE / longer
    return round(width * factor), round(height * factor)


def _scaled(view: View) -> Image.Image:
    picture, size = Image.fromarray(view.pixels), _size(view)
    enlarged = size[0] >= picture.width
    return picture.resize(size, Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _start(text: str, width: int) -> str:
    """Shorten a text to the given width, at its end."""
    if _fits(text, width):
        return text
    while text and not _fits(f"{text}…", width):
        text = text[:-1]
    return f"{text}…"


def _end(text: str, width: int) -> str:
    """Shorten a text to the given width, at its start: file names differ at the end."""
    return _start(text[::-1], width)[::-1]


def _fits(text: str, width: int) -> bool:
    return _font(TEXT).getlength(text) <= width
