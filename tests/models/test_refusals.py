"""Arguments of a wrong type, as from a program without type checks, raise an error with a clear message."""

import subprocess
import sys

import pytest

SCRIPT = """
import warnings
import numpy as np, timm, torch
import circuitstore as cs

warnings.simplefilter("ignore")
model = cs.load_model("digits")
module = timm.create_model("test_vit")
x = torch.randn(2, 3, 64, 64)

def attempt(what, run):
    try:
        run()
        print(what, "|", "accepted")
    except cs.CircuitStoreError as error:
        print(what, "|", str(error).replace("\\n", " "))
    except Exception as error:
        print(what, "|", "bare", type(error).__name__, str(error).replace("\\n", " ")[:200])

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", UserWarning)
    cs.load_model("test_vit")
print("random weights |", caught[0].filename, caught[0].message)

attempt("load_model(None)", lambda: cs.load_model(None))
attempt("load_model(3)", lambda: cs.load_model(3))
attempt("load_clip(None)", lambda: cs.load_clip(None, ["a"]))
attempt("checkpoint 3", lambda: cs.load_model("test_vit", checkpoint=3))
attempt("image_size text", lambda: cs.load_model("test_vit", image_size="160"))
attempt("seed text", lambda: cs.load_model("test_vit", seed="1"))
attempt("device None", lambda: cs.load_model("digits", device=None))
attempt("name 3", lambda: cs.load_model("digits", name=3))
attempt("mean text", lambda: cs.load_model("test_vit", mean="imagenet"))
attempt("crop text", lambda: cs.load_model("test_vit", crop="0.9"))
attempt("labels of numbers", lambda: cs.load_model("digits", labels=range(10)))
attempt("mean as array", lambda: cs.load_model("test_vit", mean=np.array([0.5, 0.5, 0.5]), std=torch.ones(3).numpy()))
attempt("crop 1", lambda: cs.load_model("test_vit", crop=1))
pairs = cs.ImagePairs.of(model, x, x.flip(0), [1, 2])
circuit = cs.Circuit.from_edges(model.graph("block"), ["input->m0", "m0->logits"])
for name, run in {
    "score_edges": cs.score_edges, "discover": cs.discover, "magnitude_scores": cs.magnitude_scores,
    "patch_edges": lambda m, p: cs.patch_edges(m, p, ["m0->logits"]), "patch_nodes": cs.patch_nodes,
    "patch_path": lambda m, p: cs.patch_path(m, p, ["m0", "logits"]),
    "head_to_head": lambda m, p: cs.head_to_head(m, p, 0, 1),
    "evaluate": lambda m, p: cs.evaluate(m, p, circuit), "random_curves": cs.random_curves,
    "faithfulness_curve": lambda m, p: cs.faithfulness_curve(m, p, cs.score_edges(model, pairs, "eap")),
    "minimality": lambda m, p: cs.minimality(m, p, circuit),
    "completeness": lambda m, p: cs.completeness(m, p, circuit),
    "hypothesis_tests": lambda m, p: cs.hypothesis_tests(m, p, circuit),
}.items():
    attempt(f"{name} of a module", lambda: run(module, pairs))
    attempt(f"{name} of a name", lambda: run("digits", pairs))
    attempt(f"{name} on tensors", lambda: run(model, x))
attempt("discover on two on tensors", lambda: cs.discover(model, x, x.flip(0)))
attempt("score_edges on two on tensors", lambda: cs.score_edges(model, x, x.flip(0)))
attempt("discover with an unknown method on tensors", lambda: cs.discover(model, x, "none"))
for name, run in {
    "token_groups": cs.token_groups, "image_pairs": lambda m: cs.image_pairs("digits", m, "three"),
    "ImagePairs": lambda m: cs.ImagePairs.of(m, x, x.flip(0), [1, 2]),
}.items():
    attempt(f"{name} of a module", lambda: run(module))
    attempt(f"{name} of a name", lambda: run("digits"))
for what, n in (("0", 0), ("-1", -1), ("2.5", 2.5), ("text", "8"), ("True", True)):
    attempt(f"image_pairs n {what}", lambda: cs.image_pairs("digits", model, "three", n))
for what, source in (("None", None), ("3", 3), ("list", ["digits"]), ("array", np.zeros(3))):
    attempt(f"image_pairs source {what}", lambda: cs.image_pairs(source, model, "three"))
attempt("image_pairs n of numpy", lambda: cs.image_pairs("digits", model, "three", np.int64(3)))
attempt("by keyword", lambda: cs.score_edges(model=None, pairs=pairs))
attempt("labels as names", lambda: cs.ImagePairs.of(model, x, x.flip(0), ["one", "two"]))
attempt("labels None", lambda: cs.ImagePairs.of(model, x, x.flip(0), None))
"""


@pytest.mark.slow
def test_every_wrong_type_raises_a_clear_error():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    printed = dict(line.split(" | ", 1) for line in done.stdout.splitlines())
    assert not {what: found for what, found in printed.items() if found.startswith("bare")}
    accepted = {what for what, found in printed.items() if found == "accepted"}
    assert accepted == {"mean as array", "crop 1", "image_pairs n of numpy"}
    assert printed["image_pairs n 2.5"] == "n: expected a positive whole number of images, got 2.5"
    assert printed["image_pairs source 3"].startswith(
        "source: expected 'digits' or another key, the Path of a folder, "
    )
    assert printed["random weights"].startswith("<string> test_vit: its weights are random")  # at the caller's line
    assert printed["load_model(None)"] == (
        "source: expected 'digits', the name of a timm or torchvision model, a folder of Hugging Face or an nn.Module, "
        "got NoneType"
    )
    assert (
        printed["load_clip(None)"]
        == "source: expected the name of an open_clip model or the model itself, got NoneType"
    )
    assert printed["score_edges of a name"] == (
        "model: expected a loaded model, got 'digits'; load it: model = cs.load_model('digits')"
    )
    assert printed["evaluate of a module"] == (
        "model: expected a loaded model, got VisionTransformer; load it: model = cs.load_model(module)"
    )
    assert all("load it: " in found for what, found in printed.items() if " of a " in what)
    on_tensors = {found for what, found in printed.items() if what.endswith(" on tensors")}
    created = "create them from tensors with cs.ImagePairs.of(model, clean, corrupted, labels)"
    assert on_tensors == {f"pairs: expected ImagePairs, got Tensor; {created}"}
    assert "model.labels.index(name)" in printed["labels as names"]
