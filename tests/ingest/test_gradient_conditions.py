"""Gradient attacks as conditions of a run: targets, provenance, attacks by another model, and errors in the spec."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from circuitstore.errors import InputError
from circuitstore.images import CONDITIONS, WORDS, ImageSource, Predictions, gradient_kinds, short_fingerprint
from circuitstore.images.gradient_attacks import GradientAttack
from circuitstore.ingest import index, make_plan, parse_spec
from circuitstore.models import ViT, load_model
from circuitstore.store import open_store

SPEC = """
name = "attacked"
model = "digits"
[images]
source = "digits"
per_class = 8
only = ["three", "seven"]
[[condition]]
kind = "natural"
[[condition]]
kind = "fgsm"
eps = "8/255"
[[condition]]
kind = "pgd"
eps = "6/255"
steps = 3
target = "other class"
[[recipe]]
method = "eap"
form = "block"
[[recipe]]
method = "eap"
form = "block"
corruption = "unattacked-twin"
metric = "logit-diff"
conditions = ["fgsm", "pgd"]
[[extract]]
edges = 9
"""
FGSM = CONDITIONS.resolve("fgsm", {"eps": "8/255"})


@pytest.fixture(scope="module")
def other(digits_model: ViT) -> ViT:
    """The demo model with slightly different weights."""
    module = copy.deepcopy(digits_model.module)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for weight in module.parameters():
            weight.mul_(1 + 0.05 * torch.randn_like(weight))
    p = digits_model.preprocess
    preprocess = {"mean": p.mean, "std": p.std, "crop": p.crop, "interpolation": p.interpolation}
    return load_model(module, name="other", labels=WORDS, **preprocess)


@pytest.mark.slow
def test_images_are_attacked_once_and_kept_track_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attacked: list[tuple[GradientAttack, bool, str]] = []
    attack_views = gradient_kinds.attack_views

    def counted(model, views, classes, attack, *, targeted, draws):
        attacked.extend((attack, targeted, str(draw._parts[-1])) for draw in draws)
        return attack_views(model, views, classes, attack, targeted=targeted, draws=draws)

    monkeypatch.setattr(gradient_kinds, "attack_views", counted)
    result = index(parse_spec(SPEC), location=tmp_path, progress=False)
    assert (result.done, result.failed) == (10, {})
    assert len(attacked) - len(set(attacked)) <= 2 * 2  # the plan tries every attack on one image of a class
    with open_store(tmp_path) as store:
        assert store.verify().to_pandas().empty
        rows = store.circuits(attack="fgsm")
        images = [store.images(id).to_pandas() for id in rows["id"]]
        for frame in images:
            assert (frame["linf"] <= 8 / 255 + 1e-9).all() and (frame["linf"] > 7 / 255).all()
            assert (frame["l2"] > frame["linf"]).all() and frame["attacked_file"].isna().all()
            assert frame["attacked_hash"].str.fullmatch("[0-9a-f]{64}").all()
        checks = [store.discovery(id).provenance["attack"] for id in rows["discovery_id"]]
        assert all(c["large"] >= c["success"] > 0.3 and c["one_step"] == c["success"] for c in checks)
        assert {c["attacker"] for c in checks} == {load_model("digits").fingerprint}
        assert store.discovery(store.circuits(attack="natural")["discovery_id"][0]).provenance["attack"] is None


def test_the_hash_is_that_of_the_attacked_pixels(digits: ImageSource, digits_model: ViT, tmp_path: Path) -> None:
    one = SPEC.replace(', "seven"', "").split("[[recipe]]")
    index(parse_spec("[[recipe]]".join([one[0], one[1] + "conditions = ['fgsm']\n[[extract]]\nedges = 9\n"])),
          location=tmp_path, progress=False)  # fmt: skip
    with open_store(tmp_path) as store:
        images = store.images(store.circuits()["id"][0]).to_pandas()
    cls, predictions = digits.class_named("three"), Predictions(digits, digits_model)
    by_hash = {ref.hash: ref for ref in digits.candidates(cls)}
    views = predictions.views(cls, [by_hash[h] for h in images["hash"]], FGSM)
    assert images["attacked_hash"].tolist() == [hashlib.sha256(v.tobytes()).hexdigest() for v in views]
    predicted = predictions.of(cls, [by_hash[h] for h in images["hash"]], FGSM)
    assert images["attacked_as"].tolist() == [WORDS[i] for i in predicted]


def test_an_untargeted_attack_aims_at_what_is_predicted(digits: ImageSource, digits_model: ViT) -> None:
    predictions, cls = Predictions(digits, digits_model), digits.class_named("three")
    refs = digits.candidates(cls)[:40]
    weak = CONDITIONS.resolve("fgsm", {"eps": "3/255"})
    targets, predicted = predictions.targets(cls, refs, weak), predictions.of(cls, refs, weak)
    assert targets is not None
    turned = predicted != cls.class_index
    assert turned.any() and not turned.all()
    assert (targets[turned] == predicted[turned]).all() and (targets[~turned] != cls.class_index).all()
    named = CONDITIONS.resolve("fgsm", {"eps": "8/255", "target": "seven"})
    assert (predictions.targets(cls, refs, named) == 7).all()
    assert predictions.targets(cls, refs, CONDITIONS.resolve("natural")) is None


def test_a_model_sees_the_images_that_another_one_attacked(digits: ImageSource, digits_model: ViT, other: ViT) -> None:
    spec = parse_spec(SPEC.replace('eps = "8/255"', 'eps = "8/255"\nmodel = "digits"'))
    plan = make_plan(spec, other)
    transferred = next(p.item.condition for p in plan.items if p.item.condition.kind == "fgsm")
    assert transferred["model"] == short_fingerprint(digits_model)
    assert [attacker.fingerprint for attacker in plan.attackers] == [digits_model.fingerprint]
    cls = digits.class_named("three")
    refs = digits.candidates(cls)[:6]
    theirs, own = Predictions(digits, other, 0, plan.attackers), Predictions(digits, digits_model)
    assert np.array_equal(theirs.views(cls, refs, transferred), own.views(cls, refs, FGSM))
    assert not np.array_equal(theirs.views(cls, refs, FGSM), own.views(cls, refs, FGSM))
    with pytest.raises(InputError, match="follows the gradients of a model that is not loaded; expected 'itself' or"):
        Predictions(digits, other).views(cls, refs, transferred)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"8/255"', "0", r"condition 'fgsm': eps: expected a number above 0 and up to 1.*, got 0"),
        ('"8/255"', "-0.1", "eps: expected a number above 0"),
        ('"8/255"', "1.5", "eps: expected a number above 0 and up to 1"),
        ('"8/255"', '"8/0"', "eps: expected a number above 0"),
        ('"8/255"', "true", "eps: expected a number above 0"),
        ('eps = "8/255"', "", "condition 'fgsm': eps is missing"),
        ('"other class"', '"ceiling"', "target: unknown class 'ceiling'"),
        ("steps = 3", "steps = 0", "steps: expected a whole number, 1 to 100000, got 0"),
        ('kind = "natural"', 'kind = "natural"\nmodel = "digits"', "natural follows no model's gradients"),
        ('"8/255"', '"8/255"\nmodel = { timm = "vit_tiny_patch16_224" }', "reads images of 224 × 224 pixels"),
    ],
)
def test_what_an_attack_cannot_be(before: str, after: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_plan(parse_spec(SPEC.replace(before, after)))


def test_an_attacker_with_other_classes_is_no_attacker(digits_model: ViT) -> None:
    labels = ("nought", *WORDS[1:])
    p = digits_model.preprocess
    preprocess = {"mean": p.mean, "std": p.std, "crop": p.crop, "interpolation": p.interpolation}
    renamed = load_model(copy.deepcopy(digits_model.module), labels=labels, **preprocess)
    spec = parse_spec(SPEC.replace('"8/255"', '"8/255"\nmodel = "digits"'))
    with pytest.raises(InputError, match="have different classes"):
        make_plan(spec, renamed)


def test_a_budget_has_one_spelling_and_notices_say_what_8_bits_do() -> None:
    spellings = ["8/255", " 8 / 255", 8 / 255, "16/510"]
    assert {CONDITIONS.resolve("pgd", {"eps": s})["eps"] for s in spellings} == {"8/255"}
    assert CONDITIONS.resolve("pgd", {"eps": 0.5, "norm": "l2"})["eps"] == 0.5
    first, effect, mechanism = SPEC.split("[[recipe]]")
    weak = first.replace('"8/255"', '"0.4/255"').replace('"6/255"', '"3.4/255"')
    extract = mechanism[mechanism.index("[[extract]]") :]
    notices = [n for n in make_plan(parse_spec(f"{weak}[[recipe]]{effect}{extract}")).notices if "8 bits" in n]
    assert len(notices) == 2
    assert "the attack changes no pixel" in notices[0] and "the attack is rounded to 3/255" in notices[1]
