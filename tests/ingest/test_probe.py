"""Linear probes: what they are trained on, that they are optimal, and that the trained head is a model's classifier."""

from pathlib import Path

import numpy as np
import pytest
import torch
from circuitstore.errors import InputError
from circuitstore.images import SPLITS, open_source
from circuitstore.ingest import Spec, parse_spec, preview, probe_file, train_probe
from circuitstore.models import LinearHead, load_model
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ..command import refused, run

TEXT = """
name = "probed"
model = {{ timm = "test_vit", seed = 0, image_size = 32, head = "{head}"{more} }}
[images]
source = {source}
per_class = 4
[[condition]]
kind = "natural"
[[recipe]]
method = "eap"
form = "block"
[[extract]]
edges = 4
"""


def spec_of(source: str = '"digits"', head: str = "probe.safetensors", more: str = "") -> Spec:
    return parse_spec(TEXT.format(source=source, head=head, more=more))


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """Nine pictures each of three classes that differ in colour, and a file that is no picture."""
    root, rng = tmp_path / "tiles", np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        (root / name).mkdir(parents=True)
        for k in range(9):
            pixels = rng.integers(0, 120, (32, 32, 3), np.uint8)
            pixels[..., channel] += 100
            Image.fromarray(pixels).save(root / name / f"{k}.png")
    broken = (root / "red" / "0.png").read_bytes()
    (root / "red" / "broken.png").write_bytes(broken[: len(broken) // 2])
    return root


def of_folder(folder: Path, classes: str = "", more: str = "") -> Spec:
    return spec_of(f'{{ folder = "{folder.as_posix()}"{classes} }}', more=more)


def test_a_probe_of_a_folder_has_its_names_and_becomes_the_models_classifier(tiles, tmp_path):
    spec = of_folder(tiles)
    probe = train_probe(spec)
    assert probe.head.labels == ("blue", "green", "red")
    frame = probe.table.to_pandas().set_index("split")
    assert frame.loc["discovery", "images"] > frame.loc["report", "images"] and frame.images.sum() == 27
    assert frame.accuracy["discovery"] == 1
    probe.head.save(tmp_path / "probe.safetensors")
    located = parse_spec(spec.text, folder=tmp_path)
    model = preview(located).plan.model
    assert model.labels == probe.head.labels and model.name == "test_vit/probe"
    source = open_source({"folder": tiles}, model)
    for split in SPLITS:
        refs = [(cls, ref) for cls in source.classes for ref in source.candidates(cls) if source.split_of(ref) == split]
        found = [(cls, source.view(ref)) for cls, ref in refs if "broken" not in ref.origin]
        top = model.logits(model.preprocess.normalise(np.stack([view for _, view in found]))).argmax(dim=1).numpy()
        assert np.mean(top == [cls.class_index for cls, _ in found]) == frame.accuracy[split]


@pytest.mark.slow
def test_a_probe_is_scikit_learns_on_discovery_images(monkeypatch):
    monkeypatch.setattr("circuitstore.ingest.probe.PENALTIES", (0.1,))
    probe = train_probe(spec_of())
    model = load_model("test_vit", seed=0, image_size=32, head=probe.head.labels)
    source = open_source("digits", model)
    refs = [
        (c.class_index, r) for c in source.classes for r in source.candidates(c) if source.split_of(r) == "discovery"
    ]
    pooled = model.pooled(model.preprocess.normalise(np.stack([source.view(ref) for _, ref in refs]))).double().numpy()
    scaler = StandardScaler().fit(pooled)
    expected = LogisticRegression(C=0.1, max_iter=1000, tol=1e-8).fit(scaler.transform(pooled), [i for i, _ in refs])
    found = pooled @ probe.head.weight.double().numpy().T + probe.head.bias.double().numpy()
    wanted = expected.decision_function(scaler.transform(pooled))
    centred = [values - values.mean(axis=1, keepdims=True) for values in (found, wanted)]
    assert np.abs(centred[0] - centred[1]).max() < 0.005 * np.abs(centred[1]).max()  # fitted on float32 features


def test_two_classes_have_two_logits_whose_softmax_is_the_probability(tiles):
    probe = train_probe(of_folder(tiles, ", classes = { red = 0, blue = 1 }", ', classes = ["warm", "cold"]'))
    assert probe.head.labels == ("warm", "cold") and probe.head.weight.shape[0] == 2
    assert torch.allclose(probe.head.weight[0], -probe.head.weight[1])
    assert probe.table.to_pandas().images.sum() == 18


def test_the_models_own_classifier_does_not_matter():
    text = spec_of().text.replace(
        '{ timm = "test_vit", seed = 0, image_size = 32, head = "probe.safetensors" }', '"digits"'
    )
    own = train_probe(parse_spec(text))
    assert own.head.labels is not None and own.head.labels[3] == "three" and own.head.weight.shape == (10, 64)
    again = train_probe(parse_spec(text))
    assert torch.equal(own.head.weight, again.head.weight) and torch.equal(own.head.bias, again.head.bias)


def test_too_few_images_or_classes_raise(tiles):
    for path in sorted((tiles / "green").iterdir())[1:]:
        path.unlink()
    spec = of_folder(tiles)
    assert train_probe(spec).table.to_pandas().images.sum() == 19  # one image is for discovery
    (tiles / "green" / "0.png").write_text("no picture")
    with pytest.raises(InputError, match=r"images\.source: too few images: green; expected at least four per class"):
        train_probe(spec)
    with pytest.raises(InputError, match="at least two classes, got red"):
        train_probe(of_folder(tiles, ", classes = { red = 0 }", ', classes = ["red"]'))
    for name in ("green", "blue"):
        for path in (tiles / name).iterdir():
            path.unlink()
    for path in sorted((tiles / "red").iterdir())[1:]:
        path.unlink()
    with pytest.raises(InputError, match="too few images: blue, green"):
        train_probe(spec)


def test_sources_without_names_need_classes(tiles):
    for spec in (of_folder(tiles, ", classes = { red = 0, blue = 1 }"), of_folder(tiles / "none")):
        with pytest.raises(InputError, match=r"model\.classes: this field is missing; name the classes of the head"):
            train_probe(spec)


def test_the_file_of_a_probe_is_the_specs_head(tmp_path):
    spec = parse_spec(spec_of(head="sub/probe.safetensors").text, folder=tmp_path)
    with pytest.raises(InputError, match=r"model\.head: .+sub is not a writable folder; create it"):
        probe_file(spec)
    (tmp_path / "sub").mkdir()
    assert probe_file(spec) == tmp_path / "sub" / "probe.safetensors"
    with pytest.raises(InputError, match=r"model\.head: this field is missing; name the file"):
        probe_file(parse_spec(spec.text.replace(', head = "sub/probe.safetensors"', "")))


def test_the_command_writes_the_head_and_never_over_another(tiles, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("spec.toml").write_text(of_folder(tiles).text)
    message = refused("preview", "spec.toml")
    assert "model: head: no file at" in message and "`circuitstore probe SPEC.toml` trains one" in message
    done = run("probe", "spec.toml", "--format", "csv", "--no-progress")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("split,images,accuracy\ndiscovery,")
    assert "broken.png" in done.stderr and done.stderr.endswith("probe.safetensors\n")
    assert LinearHead.read("probe.safetensors").labels == ("blue", "green", "red")
    assert "model.head:" in refused("probe", "spec.toml")
    assert run("preview", "spec.toml", "--no-progress").returncode == 0
