"""A plan contains every item once, and raises errors for undefined combinations."""

import copy
import json
from pathlib import Path

import pytest
import timm
import torch
import transformers
from circuitstore.errors import InputError
from circuitstore.images import Predictions, Selected, select_images
from circuitstore.ingest import Spec, make_plan, parse_spec
from circuitstore.ingest.choice import Choice
from circuitstore.ingest.loading import models_of
from circuitstore.ingest.plan import Plan
from circuitstore.models import LinearHead, Preprocess, ViT, load_model
from torchvision.models import get_model

from ..families import tiny_config
from .conftest import SMALL


def test_every_class_condition_and_recipe_is_one_item(small: Spec) -> None:
    plan = make_plan(small)
    planned = [(p.item.target_class.name, p.item.condition.kind, p.item.recipe.method.kind) for p in plan.items]
    assert planned == [
        (cls, condition, method)
        for cls in ("three", "seven")
        for condition, method in (("natural", "eap-ig"), ("typographic", "eap-ig"), ("typographic", "eap"))
    ]
    assert len({p.item.id for p in plan.items}) == len(plan.items)


def test_natural_determines_the_size_only_in_the_effect_study(small: Spec) -> None:
    natural, attacked, mechanism = make_plan(small).items[:3]
    assert natural.sized_by is None
    assert attacked.sized_by == natural.item
    assert mechanism.sized_by is None
    assert [e.text for e in attacked.extractions] == ["retention(size_of=natural, target=0.8)", "edges(n=30)"]
    assert [e.text for e in mechanism.extractions] == ["retention(target=0.8)", "edges(n=30)"]


def test_the_same_spec_has_the_same_items(small: Spec) -> None:
    assert [p.item.id for p in make_plan(small).items] == [p.item.id for p in make_plan(small).items]


def test_images_are_chosen_by_the_float32_model(digits_model: ViT) -> None:
    module = copy.deepcopy(digits_model.module)
    module.head.bias.data += 5000  # where bfloat16 has steps of 32, and no logit stands out
    prepared = digits_model.preprocess
    stated = {field: getattr(prepared, field) for field in ("mean", "std", "crop", "interpolation")}
    model = load_model(module, labels=digits_model.labels, **stated)

    def chosen(text: str) -> tuple[Plan, list[tuple[str, str, Selected]]]:
        plan = make_plan(parse_spec(text), model)
        of = Choice(plan).of_item
        items = [planned.item for planned in plan.items]
        return plan, [(item.target_class.name, item.condition.kind, of(item)) for item in items]

    exact, of_exact = chosen(SMALL)
    mixed, of_mixed = chosen(f'{SMALL}[[recipe]]\nmethod = "eap"\ndtype = "bfloat16"')
    coarse, of_coarse = chosen(SMALL.replace("method =", 'dtype = "bfloat16"\nmethod ='))
    ids = [{planned.item.id for planned in plan.items} for plan in (exact, mixed, coarse)]
    assert ids[0] < ids[1] and not ids[0] & ids[2]
    assert len(ids[1]) == len(ids[0]) + 4 and of_coarse == of_exact
    assert {repr(p) for p in of_mixed} == {repr(p) for p in of_exact}
    assert [plan.models.keys() for plan in (exact, coarse)] == [{"float32"}, {"float32", "bfloat16"}]
    assert {plan.model.dtype for plan in (exact, mixed, coarse)} == {torch.float32}

    misread = Predictions(coarse.source, coarse.models["bfloat16"])
    three, per_class = coarse.items[0].item.target_class, coarse.spec.images.per_class
    assert of_exact[0][2] != select_images(misread, three, per_class=per_class, rule="correct")


def test_the_spec_has_the_classes_of_a_zero_shot_model(tmp_path: Path) -> None:
    tiny_config(tmp_path)
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

    def ids(templates: str) -> list[str]:
        model = f'model = {{ open_clip = "tiny", classes = {json.dumps(words)}{templates} }}'
        text = SMALL.replace('model = "digits"', model).replace("per_class = 12", 'per_class = 12\nchoose = "all"')
        plan = make_plan(parse_spec(text))
        assert all(model.name == "tiny" and model.labels == tuple(words) for model in plan.models.values())
        return [p.item.id for p in plan.items]

    plain = ids("")
    assert plain == ids(', templates = ["a photo of a {}."]')
    assert not set(plain) & set(ids(', templates = ["the digit {}"]'))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("steps = 2", "steps = 3"),
        ("steps = 2", 'steps = 2\nrule = "left"'),
        ("steps = 2", 'steps = 2\nform = "attention"'),
        ("steps = 2", 'steps = 2\ncorruption = "blur"'),
        ("steps = 2", 'steps = 2\ndtype = "float64"'),
        ("per_class = 12", "per_class = 16"),
        ('name = "small"', 'name = "small"\nseed = 1'),
        ("per_class = 12", 'per_class = 12\nchoose = "all"'),
    ],
)
def test_another_question_has_another_id(small: Spec, old: str, new: str) -> None:
    before = make_plan(small).items[0].item
    after = make_plan(parse_spec(SMALL.replace(old, new, 1))).items[0].item
    assert before.id != after.id


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('model = "digits"', 'model = "digitz"', ["model", "digitz"]),
        ('model = "digits"', 'model = { timm = "vit_tiny_patch16_225" }', ["model", "vit_tiny_patch16_224"]),
        ('model = "digits"', 'model = { timm = "test_vit", image_size = 1000000000 }', ["model", "image_size", "GiB"]),
        ('model = "digits"', 'model = { timm = "test_vit", image_size = 100 }', ["model", "16 × 16", "100 × 100"]),
        ('model = "digits"', 'model = { timm = "test_vit.nope" }', ["model", "unknown tag 'nope'"]),
        ('model = "digits"', 'model = { timm = "test_vit", crop = 1.5 }', ["model", "crop", "(0, 1]"]),
        ('model = "digits"', 'model = { timm = "test_vit", name = " " }', ["model", "name", "blanks"]),
        ('model = "digits"', 'model = { timm = "test_vit", seed = -1 }', ["model", "seed", "-1"]),
        ('source = "digits"', 'source = "digit"', ["images.source", "unknown source of images", "'digits'"]),
        ('kind = "natural"', 'kind = "nature"', ["condition[0]", "nature", "natural"]),
        ('text = "other class"', 'txt = "other class"', ["condition[1]", "txt", "text"]),
        ('method = "eap-ig"', 'method = "eap-gi"', ["recipe[0]", "eap-gi", "eap-ig"]),
        ("steps = 2", "step = 2", ["recipe[0]", "step", "steps"]),
        ("steps = 2", "steps = 0", ["recipe[0]", "steps", "0"]),
        ("steps = 2", 'rule = "centre"', ["recipe[0]", "rule", "midpoint"]),
        ('corruption = "unattacked-twin"', 'corruption = "twin"', ["recipe[1].corruption", "twin"]),
        ('metric = "logit-diff"', 'metric = "logits"', ["recipe[1].metric", "logits", "logit"]),
        ('conditions = ["typographic"]', 'conditions = ["typo"]', ["recipe[1].conditions", "typo"]),
        ('conditions = ["typographic"]', "", ["recipe[1]", "natural", "contrasts each image with itself"]),
        ("steps = 2", 'metric = "logit-diff"', ["recipe[0]", "natural", "logit"]),
        ('"seven"]', '"sevven"]', ["images.only", "sevven", "seven"]),
        ("edges = 30", "edges = 100000", ["extract[1].edges", "479", "100000"]),
        (
            "[[extract]]\nretention = 0.8",
            '[[recipe]]\nmethod = "flow-routes"\n[[extract]]\ntop = 0.1',
            ["extract[0]", "flow-routes", "top: these scores are shares", "retention", "every recipe", "its own spec"],
        ),
        ("steps = 2", 'corruption = { kind = "patch-shuffle", tiles = 7 }', ["recipe[0]", "tiles", "7"]),
        ('text = "other class"', 'text = "incomprehensibilities"', ["recipe[0]", "INCOMPREHENSIBILITIES"]),
        (
            'model = "digits"',
            'model = { timm = "swin_tiny_patch4_window7_224" }',
            ["model", "SwinTransformer", "windowed attention"],
        ),
    ],
)
def test_an_unknown_name_is_reported_with_its_path(old: str, new: str, said: list[str]) -> None:
    assert old in SMALL
    with pytest.raises(InputError) as caught:
        make_plan(parse_spec(SMALL.replace(old, new, 1), origin="mine.toml"))
    assert all(words in str(caught.value) for words in ["mine.toml", *said]), str(caught.value)


@pytest.mark.slow
def test_a_spec_takes_models_of_hugging_face_and_torchvision(tmp_path: Path) -> None:
    tiny = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3, "image_size": 32, "patch_size": 8}
    transformers.ViTForImageClassification(transformers.ViTConfig(**tiny)).save_pretrained(tmp_path / "tiny")
    LinearHead(torch.randn(3, 12), torch.randn(3), ("a", "b", "c")).save(tmp_path / "three.safetensors")
    torch.save(get_model("vit_b_32", image_size=64, num_classes=4).state_dict(), tmp_path / "large.pth")
    found = []
    for table in (
        '{ huggingface = "tiny" }',
        '{ huggingface = "tiny", head = "three.safetensors" }',
        '{ huggingface = "tiny", head = "three.safetensors", classes = ["x", "y", "z"] }',
        '{ torchvision = "vit_b_32", checkpoint = "large.pth" }',
    ):
        spec = parse_spec(SMALL.replace('model = "digits"', f"model = {table}"), folder=tmp_path)
        found += models_of(spec, None, ["float32"]).values()
    assert [model.name for model in found] == ["tiny", "tiny/three", "tiny/three", "vit_b_32/large"]
    assert [model.n_classes for model in found] == [2, 3, 3, 4]
    assert [model.labels for model in found] == [None, ("a", "b", "c"), ("x", "y", "z"), None]


def test_a_model_has_name_and_preprocessing_of_the_spec(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_vit", num_classes=10, img_size=96).state_dict(), tmp_path / "tuned.pth")
    table = """model = { timm = "test_vit", checkpoint = "tuned.pth", image_size = 96, mean = [0.1, 0.2, 0.3], \
std = [0.4, 0.5, 0.6], crop = 1, crop_mode = "squash", interpolation = "nearest" }"""
    models = []
    for changed in (table, table.replace("image_size", 'name = "tuned on digits", image_size')):
        spec = parse_spec(SMALL.replace('model = "digits"', changed), folder=tmp_path)
        models += models_of(spec, None, ["float32"]).values()
    plain, named = models
    assert (plain.name, named.name) == ("test_vit/tuned", "tuned on digits")
    assert plain.fingerprint == named.fingerprint and plain.notices == ()
    assert plain.preprocess == Preprocess((96, 96), 1.0, "squash", "nearest", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
