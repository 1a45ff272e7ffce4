"""Zero and mean ablation in a spec: planned, previewed, indexed and resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from circuitstore.analysis.sheet import draw_sheet
from circuitstore.errors import InputError
from circuitstore.evaluation import ImagePairs, evaluate
from circuitstore.ingest import Spec, dry_run, index, make_plan, parse_spec, preview
from circuitstore.ingest.own import answer
from circuitstore.models import mean_outputs, zero_outputs
from circuitstore.store import open_store

from .own_world import World

SPEC = """
name = "ablated"
model = "digits"
[images]
source = "digits"
per_class = 8
only = ["three", "eight"]
[[condition]]
kind = "natural"
[[recipe]]
method = "eap"
form = "block"
corruption = "zero"
[[recipe]]
method = "gate-ig"
form = "block"
steps = 2
corruption = { kind = "mean", images = 20 }
[[extract]]
edges = 8
"""


@pytest.fixture(scope="module")
def spec() -> Spec:
    return parse_spec(SPEC)


def ids(text: str) -> list[str]:
    return [planned.item.id for planned in make_plan(parse_spec(text)).items]


def test_the_averaged_images_decide_the_items(spec: Spec) -> None:
    before, after = ids(SPEC), ids(SPEC.replace("images = 20", "images = 21"))
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True, False]
    one = SPEC.replace('["three", "eight"]', '["three"]')
    assert ids(one) == before[:2]  # the mean is over all classes of the source, whichever are indexed


def test_a_dry_run_counts_the_passes_of_sender_means_once(tmp_path: Path) -> None:
    def forwards(change: str) -> list[int]:
        table = dry_run(parse_spec(SPEC.replace("images = 20", change)), location=tmp_path / "none")
        return table.to_pandas()["forwards"].tolist()

    zero, mean = forwards("images = 20")
    assert forwards("images = 45") == [zero, mean + 25]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('method = "eap"', 'method = "eap-ig"'), r"recipe\[0\]: method 'eap-ig' follows a path of images"),
        (('method = "eap"', 'method = "conductance"'), r"recipe\[0\]: method 'conductance' follows a path of images"),
        (
            ('method = "eap"', 'method = "eap"\ndirection = "denoising"'),
            r"recipe\[0\]: method 'eap', denoising: .* no image",
        ),
        (("images = 20", "images = 0"), r"recipe\[1\]\.corruption: .*images: expected a whole number, 1 to 100000"),
    ],
)
def test_what_needs_an_image_is_refused_before_a_model_is_loaded(change: tuple[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_plan(parse_spec(SPEC.replace(*change)))


def test_the_preview_has_clean_images_only_and_says_so(spec: Spec) -> None:
    seen = preview(spec)
    for samples in seen.samples(seen.classes[0], 2):
        assert [[view.kind for view in views] for views in samples.images] == [["clean"], ["clean"]]
    assert draw_sheet(seen).size[0] > 0


@pytest.mark.slow
def test_indexed_with_the_provenance_of_the_constants_and_resumed(spec: Spec, tmp_path: Path) -> None:
    done = index(spec, location=tmp_path, progress=False)
    assert (done.done, done.circuits, done.failed) == (4, 4, {})
    assert index(spec, location=tmp_path, progress=False).skipped == 4
    with open_store(tmp_path) as store:
        found = store.circuits("ablated")
        assert sorted(set(found["corruption"])) == ["mean(images=20)", "zero"]
        assert (found["metric_full"] > found["metric_empty"]).all()
        answers = [store.discovery(id) for id in store.items("ablated")["id"]]
    found = [answer.provenance["constants"] for answer in answers]
    assert [constants["images"] for constants in found] == [
        20 if answer.item.recipe.corruption.kind == "mean" else 0 for answer in answers
    ]
    assert len({constants["values_hash"] for constants in found}) == 2  # the classes share the mean


def test_own_results_are_evaluated_with_constants(world: World) -> None:
    images, held_out = world.images(3, corruption="zero"), world.clean(3, 12, 5)
    zeros = zero_outputs(world.model)
    answered = answer(world.result(3, images=images, report=(held_out, zeros)))
    expected = evaluate(world.model, ImagePairs.of(world.model, held_out, zeros, [3] * 5), answered.circuits[0].circuit)
    found = answered.circuits[0].evaluation
    assert found is not None and found.metric_circuit == pytest.approx(expected.metric_circuit)
    with pytest.raises(InputError, match="report: with the corruption zero, expected clean images and the constants"):
        answer(world.result(3, images=images, report=(held_out, held_out.flip(0))))
    with pytest.raises(InputError, match=r"report: with the corruption blur.*, expected clean images and corrupted"):
        answer(world.result(3, report=(held_out, zeros)))
    with pytest.raises(InputError, match="method 'eap-ig' follows a path of images"):
        answer(world.result(3, images=images, method="eap-ig"))


def test_own_means_are_a_part_of_the_question(world: World) -> None:
    averaged = world.clean(3, 12, 5)
    means = [mean_outputs(world.model, [averaged[:n]]) for n in (5, 4, 5)]
    images = world.images(3, corruption="mean")
    found = [answer(world.result(3, images=replace(images, corrupted=mean))) for mean in means]
    one, other, again = (own.discovery.item.id for own in found)
    assert one == again != other and answer(world.result(3, images=images)).discovery.item.id not in (one, other)
    assert found[1].discovery.provenance["constants"] == {"images": 4, "values_hash": means[1].digest}


def test_own_means_fit_the_corruption_and_the_report(world: World) -> None:
    held_out = world.clean(3, 12, 5)
    zeros, mean = zero_outputs(world.model), mean_outputs(world.model, [held_out])
    images = world.images(3, corruption="mean", corrupted=mean)
    with pytest.raises(InputError, match="report: expected the same constants as in `corrupted`"):
        answer(world.result(3, images=images, report=(held_out, zeros)))
    with pytest.raises(InputError, match=r"corrupted: with the corruption blur.*, expected images"):
        answer(world.result(3, images=world.images(3, corrupted=zeros)))
    with pytest.raises(InputError, match="corrupted: these outputs of senders are of the model"):
        answer(world.result(3, images=replace(images, corrupted=replace(mean, model="0" * 64))))
    with pytest.raises(InputError, match="provenance: attack, constants is reserved"):
        answer(world.result(3, provenance={"constants": 1, "attack": 2}))
