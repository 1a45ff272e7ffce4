"""A spec is read completely, or an error names every mistake by its path."""

from pathlib import Path

import pytest
from circuitstore.circuits import Extraction
from circuitstore.discovery import sized_by
from circuitstore.errors import InputError
from circuitstore.ingest import demo_spec, load_spec, parse_spec

GOOD = """
name = "mine"
model = { timm = "vit_tiny_patch16_224", checkpoint = "weights.safetensors" }
[images]
source = { folder = "photos", classes = { tabby = 281 } }
per_class = 12
[[condition]]
kind = "typographic"
text = "dog"
[[recipe]]
method = "eap-ig"
steps = 7
corruption = { kind = "blur", radius = 3 }
[[extract]]
top = 0.05
[[extract]]
edges = 100
absolute = true
"""


def test_a_good_spec_is_read_with_its_defaults() -> None:
    spec = parse_spec(GOOD)
    assert spec.recipe[0].params == {"steps": 7}
    assert spec.recipe[0].form == "split"
    assert spec.condition[0].params == {"text": "dog"}
    assert spec.images.choose == "correct"
    assert spec.extract[0].extraction() == Extraction.of("top", {"n": 0.05})
    assert spec.extract[1].extraction() == Extraction.of("edges", {"n": 100, "absolute": True})
    assert spec.text == GOOD


def test_relative_paths_are_relative_to_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(GOOD)
    spec = load_spec(tmp_path / "spec.toml")
    assert not isinstance(spec.model, str) and not isinstance(spec.images.source, str)
    assert spec.model.checkpoint == tmp_path / "weights.safetensors"
    assert spec.images.source.folder == tmp_path / "photos"  # pyright: ignore[reportAttributeAccessIssue]


def test_the_demo_spec_is_a_valid_one() -> None:
    assert demo_spec().name == "digits-typographic"


def test_retention_extraction_names_the_condition_of_its_size() -> None:
    extract = parse_spec(GOOD.replace("top = 0.05", "retention = 0.9")).extract[0]
    assert sized_by(extract.extraction(), "natural").text == "retention(size_of=natural, target=0.9)"
    assert extract.extraction().text == "retention(target=0.9)"


@pytest.mark.parametrize(
    ("extract", "message"), [("retention = 1", "retention(target=1.0)"), ("threshold = 2", "t=2.0")]
)
def test_a_whole_number_is_the_same_as_its_decimal(extract: str, message: str) -> None:
    found = {parse_spec(GOOD.replace("top = 0.05", text)).extract[0].extraction() for text in (extract, f"{extract}.0")}
    assert len(found) == 1 and message in found.pop().text


def test_bisection_extraction_has_share_and_buffer() -> None:
    extract = parse_spec(GOOD.replace("top = 0.05", 'bisection = 0.9\nof = "faithfulness"\nabsolute = true')).extract[0]
    assert extract.extraction().text == "bisection(absolute=True, buffer=0.1, of=faithfulness, target=0.9)"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "timm = ",
            "open_clip = 'ViT-B-32', timm = ",
            ["model", "exactly one of timm, torchvision, huggingface, open_clip"],
        ),
        ("timm = ", "classes = ['a'], timm = ", ["model", "use them with open_clip"]),
        ("timm = ", "templates = ['{}'], head = 'h', timm = ", ["model", "use them with open_clip"]),
        ("timm = ", "classes = ['a'], head = 'h', open_clip = ", ["model", "leave head out"]),
        ("timm = ", "pretrained = true, huggingface = ", ["model", "a folder holds its own weights"]),
        ("timm = ", "huggingface = ", ["model", "a folder holds its own weights"]),
        ("timm = ", "pretrained = 'laion', timm = ", ["model", "pretrained", "'laion'"]),
        ("timm = ", "open_clip = ", ["model", "expected classes"]),
        ("timm = ", "classes = ['a'], pretrained = true, open_clip = ", ["model", "the tag"]),
        ("per_class = 12", "per_clas = 12", ["images.per_clas", "unknown field", "'per_class'"]),
        ("per_class = 12", "per_class = 3", ["images.per_class", "greater than or equal to 4", "3"]),
        ("per_class = 12", 'per_class = "many"', ["images.per_class", "integer", "'many'"]),
        ("per_class = 12", 'choose = "best"', ["images.choose", "'correct'", "'successful'", "'best'"]),
        ('method = "eap-ig"', 'method = "eap-ig"\nform = "splt"', ["recipe[0].form", "'split'", "'splt'"]),
        ('method = "eap-ig"', "", ["recipe[0].method", "missing"]),
        ('method = "eap-ig"', 'method = "eap-ig"\ndtype = "float16"', ["recipe[0].dtype", "'bfloat16'", "'float16'"]),
        ("top = 0.05", "top = 0.05\nretention = 0.5", ["extract[0]", "exactly one", "retention, top"]),
        ("top = 0.05", "absolute = true", ["extract[0]", "exactly one of retention, top, edges", "got absolute"]),
        ("top = 0.05", "found = true", ["extract[0]", "exactly one", "got found"]),
        ("top = 0.05", "top = 0.05\nbuffer = 0.2", ["extract[0]", "extraction 'top': unknown parameter 'buffer'"]),
        ("top = 0.05", "threshold = nan", ["extract[0]", "'threshold': t: expected a finite number", "nan"]),
        ('[[recipe]]\nmethod = "eap-ig"\nsteps = 7', '[recipe]\nmethod = "eap-ig"', ["recipe", "[[recipe]]"]),
        ('method = "eap-ig"', 'method = { kind = "eap-ig" }', ["recipe[0].method", "valid string"]),
        ("top = 0.05", "top = 2.5", ["extract[0]", "'top': n: ", "fraction", "2.5"]),
        ("top = 0.05", "retention = 1.5", ["extract[0]", "'retention': target: expected a share in (0, 1], got 1.5"]),
        ("top = 0.05", "top = 0.05\nn = 9", ["extract[0]", "n: already set by top = 0.05"]),
        ("top = 0.05", "top = 0.05\nabsolut = true", ["extract[0]", "did you mean 'absolute'"]),
        ('timm = "vit_tiny_patch16_224"', 'tim = "x"', ["model.tim", "unknown field", "'timm'"]),
        ('folder = "photos"', 'foldr = "photos"', ["images.source.folder", "images.source.foldr"]),
        ("tabby = 281", 'tabby = "cat"', ["images.source.classes.tabby", "integer", "'cat'"]),
        ('name = "mine"', 'name = "mi\\nne"', ["name", "printable"]),
        ('name = "mine"', 'name = ""', ["name", "at least 1 character"]),
        ('kind = "typographic"', "", ["condition[0].kind", "missing"]),
        ('name = "mine"', 'name = "mine"\nseed = -1', ["seed", "-1"]),
        ('name = "mine"', 'name = "mine', ["not valid TOML", "line 2"]),
    ],
)
def test_a_mistake_is_named_by_its_path(old: str, new: str, said: list[str]) -> None:
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        parse_spec(GOOD.replace(old, new), origin="mine.toml")
    message = str(caught.value)
    assert message.startswith("mine.toml: ")
    assert all(words in message for words in said), message


def test_all_mistakes_are_reported_at_once() -> None:
    text = GOOD.replace("per_class = 12", "per_class = 0").replace("top = 0.05", "top = -1")
    with pytest.raises(InputError) as caught:
        parse_spec(text)
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == ["images.per_class", "extract[0]"]


def test_a_missing_or_invalid_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the spec"):
        load_spec(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        load_spec(tmp_path / "bytes.toml")
