"""Zero-shot classifiers return open_clip's own logits, from prompts or from embeddings."""

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from circuitstore.errors import CircuitStoreError, CircuitStoreWarning, InputError, NotRepresentable
from circuitstore.models import load_clip, load_model, text_embeddings, zero_shot
from open_clip.model import CLIP
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from ..families import CLIPS, TEXT, TOWER, build_clip, text, tiny_config
from .test_patched_runs import assert_close
from .test_preprocess import picture

CLASSES = ["tabby", "school bus", "rifle"]
TEMPLATES = ["a photo of a {}.", "a drawing of the {}"]
TOKENIZER = open_clip.SimpleTokenizer(context_length=TEXT["context_length"])


def own_logits(clip, images, classes, templates):
    """Return scaled cosines of the image and the mean over templates of unit text embeddings."""
    embeddings = []
    with torch.no_grad():
        for name in classes:
            tokens = TOKENIZER([template.format(name) for template in templates])
            embeddings.append(F.normalize(F.normalize(clip.encode_text(tokens), dim=-1).mean(0), dim=-1))
        cosines = F.normalize(clip.encode_image(images), dim=-1) @ torch.stack(embeddings).T
        bias = 0 if clip.logit_bias is None else clip.logit_bias
        return clip.logit_scale.exp() * cosines + bias


@pytest.mark.parametrize("name", CLIPS)
def test_logits_equal_open_clips(name, images):
    clip = build_clip(name)
    model = load_clip(clip, CLASSES, TEMPLATES, tokenizer=TOKENIZER, dtype="float64")
    x = images(model, 2)
    expected = own_logits(clip, x, CLASSES, TEMPLATES)
    assert_close(model.logits(x), expected, 1e-13)
    assert model.labels == tuple(CLASSES)
    assert_close(model.readout(model.through_blocks(model.embed(x))), expected, 1e-13)


def test_one_template_equals_open_clips_forward(images):
    clip = build_clip("CLIP")
    model = load_clip(clip, CLASSES, ["{}"], tokenizer=TOKENIZER, dtype="float64")
    x = images(model, 2)
    with torch.no_grad():
        expected, _ = clip.get_logits(x, TOKENIZER(CLASSES))
    assert_close(model.logits(x), expected, 1e-13)


STATED = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "crop": 1.0, "interpolation": "bicubic"}


@pytest.mark.slow
def test_a_name_with_a_checkpoint(tmp_path, images):
    """The same prompts and weights are the same model, in any dtype; other prompts are another."""
    options = {"checkpoint": tmp_path / "weights.pt", "image_size": 32, **STATED}
    tiny_config(tmp_path)
    torch.save(open_clip.create_model("tiny").state_dict(), options["checkpoint"])
    model, again = (load_clip("tiny", CLASSES, dtype=d, **options) for d in ("float32", "bfloat16"))
    assert model.fingerprint == again.fingerprint != load_clip("tiny", CLASSES, ["a {}"], **options).fingerprint
    assert model.name == "tiny/weights" and model.weights == "weights.pt" and model.notices == ()
    assert load_clip("tiny", CLASSES, name="mine", **options).name == "mine"
    clip = open_clip.create_model("tiny", pretrained=str(options["checkpoint"]))
    x = images(model, 2).float()
    assert_close(model.logits(x), own_logits(clip.eval(), x, CLASSES, ["a photo of a {}."]), 1e-5)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model."])
def test_checkpoints_of_training_scripts(tmp_path, prefix):
    tiny_config(tmp_path)
    own = open_clip.create_model("tiny").state_dict()
    torch.save({"epoch": 1, "state_dict": {prefix + k: v for k, v in own.items()}}, tmp_path / "epoch_1.pt")
    model = load_clip("tiny", CLASSES, checkpoint=tmp_path / "epoch_1.pt", **STATED)
    assert torch.equal(model.module.patch_embed.proj.weight, own["visual.conv1.weight"])


def test_resampling_to_another_size_is_a_notice(tmp_path, images):
    tiny_config(tmp_path)
    torch.save(open_clip.create_model("tiny").state_dict(), tmp_path / "w.pt")
    with pytest.warns(CircuitStoreWarning, match=r"w\.pt: the position embeddings of 4 patches .+ resampled to 16"):
        model = load_clip("tiny", CLASSES, checkpoint=tmp_path / "w.pt", image_size=64, **STATED)
    clip = open_clip.create_model("tiny", pretrained=str(tmp_path / "w.pt"), force_image_size=64)
    x = images(model, 2).float()
    assert_close(model.logits(x), own_logits(clip.eval(), x, CLASSES, ["a photo of a {}."]), 1e-5)


def test_assumptions_are_notices(tmp_path):
    tiny_config(tmp_path)
    with pytest.warns(CircuitStoreWarning, match="^tiny: its weights are random"):
        model = load_clip("tiny", CLASSES)
    assert model.random and load_clip("tiny", CLASSES, seed=0).notices == ()
    torch.save(open_clip.create_model("tiny").state_dict(), tmp_path / "w.pt")
    with pytest.warns(CircuitStoreWarning, match=r"w\.pt does not say .+ open_clip's default is assumed: mean \(0\.48"):
        load_clip("tiny", CLASSES, checkpoint=tmp_path / "w.pt")
    bare = CLIP(16, TOWER, TEXT).eval()
    with pytest.warns(CircuitStoreWarning, match="the module as given does not say"):
        load_clip(bare, CLASSES, tokenizer=TOKENIZER)
    assert load_clip(bare, CLASSES, tokenizer=TOKENIZER, **STATED).preprocess.mean == (0.5, 0.5, 0.5)


def test_open_clips_class_names_and_templates_are_accepted(images):
    """Two of ImageNet's 1000 names occur twice; open_clip's templates are functions."""
    clip = build_clip("CLIP")
    classes, templates = ["sunglasses", *CLASSES, "sunglasses"], open_clip.SIMPLE_IMAGENET_TEMPLATES
    with pytest.warns(CircuitStoreWarning, match="'sunglasses' occur more than once; .+ have equal logits"):
        model = load_clip(clip, np.array(classes), templates, tokenizer=TOKENIZER, dtype="float64")
    assert model.labels == tuple(classes) and all(type(label) is str for label in model.labels)
    x = images(model, 2)
    with torch.no_grad():
        text = open_clip.build_zero_shot_classifier(clip, TOKENIZER, classes, templates)
        expected = clip.logit_scale.exp() * F.normalize(clip.encode_image(x), dim=-1) @ text
    assert_close(model.logits(x), expected, 1e-13)
    assert torch.equal(model.logits(x)[:, 0], model.logits(x)[:, 4])
    assert len({type(t) for t in (templates[0], "a {}")}) == 2
    mixed = load_clip(clip, CLASSES, [templates[0], "a {}"], tokenizer=TOKENIZER, dtype="float64")
    assert_close(mixed.logits(x), own_logits(clip, x, CLASSES, [templates[0]("{}"), "a {}"]), 1e-13)


@pytest.mark.parametrize("mode", ["shortest", "squash"])
def test_preprocessing_equals_open_clips(mode):
    clip = build_clip("CLIP")
    config = PreprocessCfg(size=(16, 16), resize_mode=mode, interpolation="bicubic")
    open_clip.model.set_model_preprocess_cfg(clip, vars(config))
    prepared = load_model(zero_shot(clip, text(12))).preprocess
    theirs = image_transform_v2(config, is_train=False)
    for size in ((40, 30), (17, 90)):
        image: Image.Image = picture(*size)
        assert_close(prepared.normalise(prepared.view(image)[None])[0], theirs(image), 1e-6)


def test_the_callers_clip_stays_unchanged():
    clip = build_clip("SigLIP with its bias").float()
    before = {name: value.clone() for name, value in clip.state_dict().items()}
    load_clip(clip, CLASSES, tokenizer=TOKENIZER)
    after = clip.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        ("CoCa", {"attentional_pool": True}),
        ("CustomResidualAttentionBlock", {"scale_attn": True}),
        ("ModifiedResNet", {"layers": (1, 1, 1, 1), "patch_size": None, "image_size": 32, "head_width": 64}),
    ],
)
def test_towers_that_are_not_plain_vision_transformers_raise(message, changes):
    clip = CLIP(16, TOWER | changes, TEXT).eval()
    with pytest.raises(NotRepresentable, match=message):
        load_clip(clip, CLASSES, tokenizer=TOKENIZER)


def test_invalid_classes_templates_and_weights_raise(tmp_path):
    clip = build_clip("CLIP")
    for classes, templates, message in (
        ("tabby", TEMPLATES, "a list of names"),
        ([], TEMPLATES, "a list of names"),
        ([*CLASSES, ""], TEMPLATES, "a list of names"),
        (CLASSES, [len], "prompts with one {}"),
        (CLASSES, "a photo of a {}", "prompts with one {}"),
        (CLASSES, ["a photo"], "prompts with one {}"),
        (CLASSES, [], "prompts with one {}"),
    ):
        with pytest.raises(InputError, match=message):
            text_embeddings(clip, TOKENIZER, classes, templates)
    with pytest.raises(InputError, match=r"\[class, 12\]"):
        zero_shot(clip, text(7))
    with pytest.raises(InputError, match="length 1"):
        zero_shot(clip, 2 * text(12))
    with pytest.raises(InputError, match="needs a tokenizer"):
        load_clip(clip, CLASSES)
    with pytest.raises(InputError, match="did you mean 'ViT-B-32"):
        load_clip("ViT-B-23", CLASSES)
    with pytest.raises(InputError, match="no file at"):
        load_clip("ViT-B-32", CLASSES, checkpoint=tmp_path / "none.pt")
    with pytest.raises(CircuitStoreError, match="no tag"):
        load_clip("ViT-S-32", CLASSES, pretrained="no tag")
