"""Detectors on toy models: what they read, what they drop, which images they flag, and what they reject."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from circuitstore.circuits import Circuit, FitUse
from circuitstore.defence import DETECTORS, FittedDetector, fit_detector, score_images
from circuitstore.defence.detectors.features.layers import LAYERS
from circuitstore.defence.detectors.features.pixels import PIXELS
from circuitstore.defence.detectors.seen import Seen
from circuitstore.discovery import score_edges
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution, ImagePairs
from circuitstore.evaluation.interventions import ablate_components, gated
from circuitstore.models import ViT, zero_outputs
from torch import Tensor

CHEAP = {"method": "eap", "form": "block"}


@pytest.fixture(scope="module")
def toy(toy_vit) -> ViT:
    return toy_vit()


def of_classes(model: ViT, images, per_class: int = 6, seed: int = 1) -> Tensor:
    """Return random images, the same number of each class that the model predicts often, in order of the class."""
    drawn = images(model, 200, seed)
    predicted = model.logits(drawn).argmax(dim=1)
    often = [c for c in range(model.n_classes) if (predicted == c).sum() >= per_class]
    assert len(often) >= 2
    return torch.cat([drawn[predicted == c][:per_class] for c in often])


@pytest.fixture(scope="module")
def reference(toy, images) -> Tensor:
    return of_classes(toy, images)


def resolved(key: str, **params) -> FitUse:
    cheap = CHEAP if "form" in DETECTORS[key].params else {}
    own = {name: value for name, value in {"neighbours": 3, **cheap, **params}.items() if name in DETECTORS[key].params}
    return DETECTORS.resolve(key, own)


@pytest.mark.parametrize("key", DETECTORS)
def test_scores_of_an_image_do_not_depend_on_the_others(key: str, toy, reference, images) -> None:
    fitted = fit_detector(toy, reference, None, resolved(key), selection=images(toy, 40, 3), false_alarms=0.5)
    new = images(toy, 5, 4)
    together = fitted.scores(toy, new)
    one_by_one = np.concatenate([fitted.scores(toy, new[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(together, one_by_one, rtol=1e-6)
    in_batches = fitted.scores(toy, new, execution=Execution(batch_size=2))
    np.testing.assert_allclose(together, in_batches, rtol=1e-6)
    assert together.std() > 0
    assert ((score_images(toy, fitted, new).scores > fitted.threshold) == score_images(toy, fitted, new).flagged).all()


@pytest.mark.parametrize("key", DETECTORS)
def test_a_detector_is_its_arrays(key: str, toy, reference, images) -> None:
    fitted = fit_detector(toy, reference, None, resolved(key))
    copies = {name: values.copy() for name, values in fitted.arrays.items()}
    again = FittedDetector(FitUse.from_dict(fitted.use.to_dict()), fitted.model, copies)
    new = images(toy, 3, 5)
    assert np.array_equal(again.scores(toy, new), fitted.scores(toy, new))
    assert all(values.dtype.kind in "bif" for values in copies.values())


@pytest.mark.parametrize("transform", ["none", "root"])
def test_edges_are_scored_for_the_predicted_class_against_the_mean(transform: str, toy, reference, images) -> None:
    use = DETECTORS.resolve("edges-deviation", {"form": "head", "steps": 3, "transform": transform})
    fitted, new = fit_detector(toy, reference, None, use), images(toy, 4, 6)
    mean = reference.mean(dim=0).expand_as(new)
    labels = toy.logits(new).argmax(dim=1)
    scores = score_edges(toy, ImagePairs.of(toy, new, mean, labels), "eap-ig", form="head", steps=3).per_image
    expected = scores if transform == "none" else np.copysign(np.sqrt(np.abs(scores)), scores)
    measured = fitted.measured(toy, new)
    np.testing.assert_allclose(measured.features, expected[:, fitted.arrays["kept"]], rtol=1e-6)
    assert fitted.names == tuple(np.array(toy.graph("head").edge_names)[fitted.arrays["kept"]])
    assert np.array_equal(measured.predicted, labels.numpy())


@pytest.mark.parametrize("changes", [{}, {"class_token": False, "global_pool": "avg"}])
def test_layers_have_the_class_token_and_the_mean_patch(changes: dict, toy_vit, images) -> None:
    model = toy_vit(**changes)
    new = images(model, 3)
    stream, streams = model.embed(new), []
    with torch.no_grad():
        for block in model.blocks:
            streams.append(stream)
            stream = block(stream)
    first = 0 if changes else 1
    expected = [s[:, 0] for s in (*streams, stream)] * first
    expected += [s[:, first:].mean(dim=1) for s in (*streams, stream)]
    np.testing.assert_allclose(LAYERS.read(Seen(model, new), {}), torch.cat(expected, dim=1), rtol=1e-9)


def test_pixels_are_as_worked_out_by_hand(toy) -> None:
    views = np.zeros((1, 8, 8, 3), np.uint8)
    views[0, :, 4:] = 100  # one of seven columns of differences, of 14 of rows and columns
    values = PIXELS.read(Seen(toy, toy.preprocess.normalise(views).double()), {})
    np.testing.assert_allclose(values, [[100 / 14, 13 / 14]])


def test_features_that_do_not_vary_are_dropped(toy, reference) -> None:
    fitted = fit_detector(toy, reference, None, "layers-mahalanobis")
    assert fitted.facts["dropped"] == 16  # the class token before block 0
    assert fitted.facts["features"] == 4 * 16 * 2 - 16
    assert any("16 of 128 features do not vary" in note for note in fitted.notes())
    kept = fitted.arrays["kept"]
    assert not kept[:16].any() and kept[16:].all()
    with pytest.raises(InputError, match=r"none of its 2 features varies .+; give images that differ"):
        fit_detector(toy, torch.zeros_like(reference[:4]), None, "pixels-mahalanobis")


def test_the_notes_say_what_the_shrunk_covariance_did(toy, reference) -> None:
    few = fit_detector(toy, reference[:12], None, "layers-mahalanobis")
    assert few.facts["images"] == 12 and 0 < few.facts["shrinkage"] <= 1
    (note,) = [note for note in few.notes() if "covariance" in note]
    assert f"shrunk by {few.facts['shrinkage']:.3f}; there are no more images than features" in note


def test_misclassified_images_are_left_out(toy, reference, images) -> None:
    labels = toy.logits(reference).argmax(dim=1)
    wrong = labels.clone()
    wrong[2] = (wrong[2] + 1) % toy.n_classes
    hashes = [f"{i:064x}" for i in range(len(reference))]
    fitted = fit_detector(toy, reference, wrong, resolved("edges-mahalanobis"), hashes=hashes)
    kept = torch.arange(len(reference)) != 2
    other = fit_detector(toy, reference[kept], None, resolved("edges-mahalanobis"))
    assert fitted.facts["misclassified"] == 1 and fitted.images == (*hashes[:2], *hashes[3:])
    assert all(np.array_equal(fitted.arrays[name], values) for name, values in other.arrays.items())
    assert "1 reference images that the model misclassifies were left out" in fitted.notes()


def test_an_image_of_a_class_without_reference_images_is_flagged(toy, images) -> None:
    several = of_classes(toy, images)
    labels = toy.logits(several).argmax(dim=1)
    one = several[labels == labels[0]]
    fitted = fit_detector(toy, one, None, resolved("edges-deviation"), selection=one, false_alarms=0.5)
    scored = score_images(toy, fitted, several)
    unknown = (labels != labels[0]).numpy()
    assert np.isinf(scored.scores[unknown]).all() and scored.flagged[unknown].all()
    assert np.isfinite(scored.scores[~unknown]).all()
    assert set(scored.edges_against()["image"]) <= {str(i) for i in np.flatnonzero(~unknown)}
    nearest = fit_detector(toy, one, None, "penultimate-mahalanobis")
    assert np.isfinite(nearest.scores(toy, several)).all()


def test_the_edges_against_an_image_deviate_furthest(toy, reference, images) -> None:
    fitted = fit_detector(toy, reference, None, resolved("edges-mahalanobis"), selection=reference, false_alarms=0.5)
    new = 4 * images(toy, 6, 7)
    hashes = [f"{i:064x}" for i in range(6)]
    scored = score_images(toy, fitted, new, edges=4, hashes=hashes)
    measured, arrays = fitted.measured(toy, new), fitted.arrays
    z = (measured.features - arrays["means"][measured.rows]) / arrays["scale"]
    table = scored.edges_against(flagged_only=False)
    assert table.columns.tolist() == ["image", "predicted", "rank", "edge", "deviation"]
    first = table[table["rank"] == 1].set_index("image")
    assert first.index.tolist() == [hashes[i] for i in np.argsort(-measured.scores)]
    for i, hash_ in enumerate(hashes):
        if measured.rows[i] < 0:
            continue
        place = np.abs(z[i]).argmax()
        assert first.loc[hash_, "edge"] == fitted.names[place]
        assert first.loc[hash_, "deviation"] == pytest.approx(z[i, place])
    assert len(scored.edges_against()) == 4 * scored.flagged.sum()
    rows = scored.to_pandas()
    assert rows.columns.tolist() == ["image", "predicted", "score", "flagged", "against"]
    assert rows["score"].is_monotonic_decreasing and "ScoredImages(6 images" in repr(scored)


def test_features_without_names_have_nothing_against_an_image(toy, reference, images) -> None:
    fitted = fit_detector(toy, reference, None, "layers-mahalanobis")
    scored = score_images(toy, fitted, images(toy, 3))
    assert scored.to_pandas().columns.tolist() == ["image", "predicted", "score"]
    assert scored.edges_against(flagged_only=False).empty
    with pytest.raises(InputError, match="detector layers-mahalanobis: it has no threshold"):
        _ = scored.flagged
    with pytest.raises(InputError, match="it has no threshold, because it was fitted without selection images"):
        _ = fitted.threshold


@pytest.mark.parametrize("keep", [0.05, 0.5, 1.0])
def test_a_share_of_the_edges_is_kept(keep: float, toy, reference) -> None:
    fitted = fit_detector(toy, reference, None, resolved("edges-deviation", keep=keep))
    everything = fit_detector(toy, reference, None, resolved("edges-deviation"))
    dropped = toy.graph("block").n_edges - everything.facts["features"]
    kept = round(keep * toy.graph("block").n_edges)
    assert kept - dropped <= fitted.facts["features"] <= kept
    largest = np.abs(everything.arrays["means"]).max(axis=0)
    used = np.isin(everything.names, fitted.names)
    assert largest[used].min() >= largest[~used].max(initial=0)


def test_a_detector_can_observe_the_edges_of_circuits_only(toy, reference) -> None:
    graph = toy.graph("block")
    circuits = [Circuit.from_edges(graph, path) for path in (["input->m1", "m1->logits"], ["input->m2", "m2->logits"])]
    fitted = fit_detector(toy, reference, None, resolved("edges-deviation"), circuits=circuits)
    everything = fit_detector(toy, reference, None, resolved("edges-deviation"))
    assert set(fitted.names) == {*circuits[0].edges, *circuits[1].edges} & set(everything.names)
    assert {"input->m1", "m1->logits"} <= set(fitted.names)
    other = Circuit.from_edges(toy.graph("head"), ["input->logits"])
    with pytest.raises(InputError, match=r"circuits: expected circuits over the block form .+ got one over"):
        fit_detector(toy, reference, None, resolved("edges-deviation"), circuits=[other])
    with pytest.raises(InputError, match="'energy' does not observe edges"):
        fit_detector(toy, reference, None, "energy", circuits=circuits)


def test_a_detector_of_another_model_or_version_is_rejected(toy, toy_vit, reference, images) -> None:
    fitted = fit_detector(toy, reference, None, "energy")
    other = toy_vit(seed=1)
    with pytest.raises(
        InputError, match=f"the detector energy was fitted to .+{toy.fingerprint[:12]}.+fit one to this"
    ):
        score_images(other, fitted, images(other))
    later = replace(fitted, use=replace(fitted.use, version=2))
    with pytest.raises(InputError, match="detector energy: fitted with version 2, and version 1 is installed; fit it"):
        later.scores(toy, images(toy))


def test_input_that_does_not_fit_is_rejected(toy, reference, images) -> None:
    with pytest.raises(InputError, match="unknown detector 'edges-gaussian'"):
        fit_detector(toy, reference, None, "edges-gaussian")
    with pytest.raises(InputError, match=r"at least two reference images of each class.+got one image of"):
        fit_detector(toy, reference[:7], None, "pixels-mahalanobis")
    labels = (toy.logits(reference).argmax(dim=1) + 1) % toy.n_classes
    with pytest.raises(InputError, match=r"at least two reference images of each class.+got none"):
        fit_detector(toy, reference, labels, "pixels-mahalanobis")
    with pytest.raises(InputError, match="hashes: expected one per image"):
        fit_detector(toy, reference, None, "energy", hashes=["a"])
    with pytest.raises(InputError, match="needs at least 19 selection images, got 4"):
        fit_detector(toy, reference, None, "energy", selection=reference[:4])
    with pytest.raises(InputError, match="images: expected"):
        fit_detector(toy, reference[..., :4], None, "energy")
    fitted = fit_detector(toy, reference, None, "energy")
    with pytest.raises(InputError, match="edges: expected a whole number of at least 0, got -1"):
        score_images(toy, fitted, reference, edges=-1)
    with pytest.raises(InputError, match="hashes: expected one per image"):
        score_images(toy, fitted, reference, hashes=["a"])


def test_progress_counts_images(toy, reference) -> None:
    seen: list[tuple[int, int]] = []
    execution = Execution(batch_size=5, progress=lambda done, total: seen.append((done, total)))
    fit_detector(toy, reference, None, resolved("edges-mahalanobis"), execution=execution)
    assert seen[-1] == (len(reference),) * 2 and len(seen) == -(-len(reference) // 5)


def test_passes_are_those_of_the_method() -> None:
    passes = {key: DETECTORS[key].passes(**dict(DETECTORS.resolve(key).params)) for key in DETECTORS}
    assert passes["edges-mahalanobis"] == (8, 5) and passes["energy"] == (1, 0)
    assert DETECTORS["edges-deviation"].passes(**dict(resolved("edges-deviation").params)) == (3, 1)


def test_a_detector_is_the_gate_of_an_edit(toy, reference, images) -> None:
    selection, new = images(toy, 40, 3), images(toy, 6, 4)
    detector = fit_detector(toy, reference, None, resolved("edges-mahalanobis"), selection=selection, false_alarms=0.5)
    silent = ablate_components(toy, ["m0"], zero_outputs(toy))
    edit, flagged = gated(silent, detector), detector.scores(toy, new) > detector.threshold
    assert 0 < flagged.sum() < len(new)
    with edit.applied(toy):
        found = toy.logits(new)
    with silent.applied(toy):
        changed = toy.logits(new)
    assert torch.equal(found[~flagged], toy.logits(new)[~flagged])
    assert torch.allclose(found[flagged], changed[flagged], rtol=1e-9)
    looser = fit_detector(toy, reference, None, resolved("edges-mahalanobis"), selection=selection, false_alarms=0.6)
    assert edit.intervention == gated(silent, detector).intervention != gated(silent, looser).intervention
