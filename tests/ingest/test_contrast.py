# pyright: reportAttributeAccessIssue=false
"""The contrast of an item's images is stored, and can be queried in Cypher and Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from circuitstore.errors import InputError
from circuitstore.images import class_cycle, open_source
from circuitstore.ingest import index, make_plan, parse_spec
from circuitstore.models import ViT
from circuitstore.store import Store, open_store

SPEC = """
name = "contrasts"
model = "digits"
[images]
source = "digits"
per_class = 20
only = ["three"]
[[condition]]
kind = "natural"
[[condition]]
kind = "typographic"
[[recipe]]
method = "eap"
[[recipe]]
method = "eap"
corruption = { kind = "other-class", partners = "eight" }
metric = { kind = "logit-diff", target = "nine" }
conditions = ["natural"]
[[recipe]]
method = "eap"
corruption = "unattacked-twin"
metric = "logit-diff"
conditions = ["typographic"]
[[extract]]
edges = 30
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("contrasts")
    result = index(parse_spec(SPEC), location=folder, progress=False)
    assert not result.failed
    return open_store(folder)


@pytest.mark.slow
def test_a_circuit_has_word_target_and_contrast_classes(store: Store, digits_model: ViT) -> None:
    text = "MATCH (c:Circuit) RETURN c.word AS word, c.target AS target, c.against AS against, c.model_id AS model"
    frame = store.query(text).to_pandas()
    found = {tuple(None if v != v else v for v in row) for row in frame.itertuples(index=False, name=None)}
    cycle = [c.name for c in class_cycle(open_source("digits", digits_model).classes, 0)]
    at = cycle.index("three")
    others = [*cycle[at + 1 :], *cycle[:at]]
    everyone = ", ".join(others)
    assert found == {
        (None, None, everyone, digits_model.fingerprint),
        (others[1], others[1], everyone, digits_model.fingerprint),
        (None, "nine", "eight", digits_model.fingerprint),
        (others[1], others[1], None, digits_model.fingerprint),
    }


def test_the_stored_images_are_those_that_were_dealt(store: Store, digits_model: ViT) -> None:
    circuits = store.circuits(attack="natural", metric="logit")
    images = store.images(circuits["id"][0]).to_pandas()
    assert images.equals(store.images(circuits["discovery_id"][0]).to_pandas())
    assert images["split"].value_counts().to_dict() == {"discovery": 10, "selection": 5, "report": 5}
    source = open_source("digits", digits_model)
    origin = {ref.hash: (cls.name, ref.origin) for cls in source.classes for ref in source.candidates(cls)}
    for row in images.itertuples():
        assert origin[row.hash] == ("three", row.file)
        assert origin[row.against_hash] == (row.against, row.against_file)
    cycle = [c.name for c in class_cycle(source.classes, 0)]
    at = cycle.index("three")
    others = [*cycle[at + 1 :], *cycle[:at]]
    assert images["against"].tolist() == [others[i % 9] for i in range(20)]  # one round goes through all splits


def test_images_that_are_contrasted_with_themselves_have_no_partner(store: Store) -> None:
    circuits = store.circuits(corruption="unattacked-twin")
    images = store.images(circuits["id"][0]).to_pandas()
    assert images["against"].isna().all() and images["file"].notna().all()


def test_the_effect_study_contrasts_both_conditions_alike(store: Store) -> None:
    ids = store.circuits(metric="logit")["id"]
    of_the_attack = ["attacked_hash", "attacked_file", "attacked_as", "linf", "l2"]
    first, second = (store.images(id).to_pandas().drop(columns=of_the_attack) for id in ids)
    assert first.equals(second)


def test_an_unknown_id_has_no_images(store: Store) -> None:
    with pytest.raises(InputError, match="no discovery has an id that begins with 'zzz'"):
        store.images("zzz")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('target = "nine"', 'target = "nien"', ["recipe[1]", "target", "nien", "did you mean 'nine'"]),
        ('target = "nine"', "target = 1.5", ["recipe[1].metric", "target", "1.5"]),
        (
            'target = "nine"',
            'goal = "nine"',
            ["recipe[1].metric: metric 'logit-diff': unknown parameter 'goal'", "target"],
        ),
        ('target = "nine"', 'target = "three"', ["recipe[1]", "target is the only class of the run"]),
        ('partners = "eight"', 'partners = "ate"', ["recipe[1]", "partners", "ate"]),
        ('partners = "eight"', 'partners = "three"', ["recipe[1]", "cannot be contrasted with itself"]),
        (
            'kind = "typographic"',
            'kind = "typographic"\ntext = "iPod"',
            ["recipe[2]", "target of", "class of neither the images nor the model", 'target = "…"'],
        ),
        (
            'kind = "typographic"',
            'kind = "typographic"\ntext = "three"',
            ["recipe[2]", "is the class itself"],
        ),
        ('conditions = ["natural"]', "conditions = []", ["recipe[1].conditions", "at least 1"]),
    ],
)
def test_an_undefined_contrast_is_an_error_in_the_plan(old: str, new: str, said: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        make_plan(parse_spec(SPEC.replace(old, new, 1), origin="mine.toml"))
    assert all(words in str(caught.value) for words in ["mine.toml", *said]), str(caught.value)


def test_the_target_class_itself_is_left_out_and_reported() -> None:
    plan = make_plan(parse_spec(SPEC.replace('only = ["three"]', 'only = ["three", "nine"]')))
    asked = [(p.item.target_class.name, p.item.recipe.metric.text) for p in plan.items]
    assert ("nine", "logit-diff(target=nine)") not in asked and ("three", "logit-diff(target=nine)") in asked
    assert plan.notices == ("class 'nine' is left out for logit-diff(target=nine): it is the target",)


def test_a_target_may_be_the_name_or_the_index_of_a_class() -> None:
    by_name, by_index = (
        make_plan(parse_spec(SPEC.replace('target = "nine"', target))).items[2].item
        for target in ('target = "nine"', "target = 9")
    )
    assert by_name.contrast.target == by_index.contrast.target == "nine"


@pytest.mark.slow
def test_another_seed_deals_other_partners(tmp_path: Path, store: Store) -> None:
    index(parse_spec(SPEC.replace("[images]", "seed = 1\n[images]")), location=tmp_path, progress=False)
    with open_store(tmp_path) as other:
        against = [s.circuits(metric="logit", attack="natural")["against"][0] for s in (store, other)]
    assert against[0] != against[1] and len(against[0]) == len(against[1])
