"""The table of faithfulness has the stored values, and says which circuit is nearer to 1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from circuitstore.analysis.faithfulness import faithfulness, natural_gaps, random_faithfulness

from ..toy_studies import Answers, contrasted, effect_items, study_of, with_faithfulness


def test_faithfulness_of_random_circuits_is_that_of_their_metric(toys):
    evaluation = toys.records[0].evaluation
    values = random_faithfulness(evaluation)
    gap = evaluation.metric_full - evaluation.metric_empty
    assert values == pytest.approx([(m - evaluation.metric_empty) / gap for m in evaluation.metric_random])
    assert np.mean(values) == pytest.approx(evaluation.faithfulness_random)
    assert random_faithfulness(replace(evaluation, faithfulness=None)) == []


def test_the_faithfulness_table_has_the_values_of_the_records():
    records = Answers.to(effect_items()).records
    table = faithfulness(study_of(records).circuits).drop(columns=["nearer_than_random", "gap", "gap_circuit"])
    assert len(table) == len(records)
    for record, row in zip(records, table.to_dict("records"), strict=True):
        stored = record.properties()
        assert {k: stored[k] for k in row} == row


@pytest.mark.parametrize(
    ("own", "random", "nearer"),
    [(0.9, 0.2, True), (3.82, 1.21, False), (1.1, 0.8, True), (1.3, 0.8, False), (0.5, 1.4, False), (1.0, 1.0, False)],
)
def test_nearer_than_random_means_nearer_to_1(own, random, nearer):
    records = [with_faithfulness(r, own, random) for r in Answers.to(effect_items(1, ("natural",))).records]
    (found,) = faithfulness(study_of(records).circuits)["nearer_than_random"]
    assert found == nearer


def test_without_random_circuits_or_faithfulness_none_is_nearer():
    records = Answers.to(effect_items(2, ("natural",))).records
    records[0] = replace(records[0], evaluation=replace(records[0].evaluation, metric_random=()))
    records[1] = replace(records[1], evaluation=replace(records[1].evaluation, faithfulness=None))
    assert faithfulness(study_of(records).circuits)["nearer_than_random"].isna().all()


def test_word_target_and_contrast_are_columns_if_a_circuit_has_them():
    plain, attacked = effect_items(1)
    table = faithfulness(study_of(Answers.to([plain]).records).circuits)
    assert not {"word", "target", "against", "flag"} & set(table)
    items = [contrasted(plain, "b", "c"), contrasted(attacked, "b", "c", word="ipod")]
    table = faithfulness(study_of(Answers.to(items).records).circuits)
    assert table["against"].tolist() == ["b, c"] * 2
    assert table["word"].fillna("").tolist() == table["target"].fillna("").tolist() == ["", "ipod"]


def with_metrics(record, full: float, empty: float, circuit: float, faithfulness: float | None):
    metrics = {"metric_full": full, "metric_empty": empty, "metric_circuit": circuit, "faithfulness": faithfulness}
    return replace(record, evaluation=replace(record.evaluation, **metrics))


def test_gaps_are_in_units_of_the_natural_gap_of_the_class():
    natural, attacked = Answers.to(effect_items(1)).records
    records = [with_metrics(natural, 4.0, -1.0, 3.0, 0.8), with_metrics(attacked, -0.5, -1.0, 0.25, None)]
    table = faithfulness(study_of(records).circuits)
    assert table["gap"].tolist() == pytest.approx([1.0, 0.1])
    assert table["gap_circuit"].tolist() == pytest.approx([0.8, 0.25])
    assert table["gap_circuit"].iloc[0] == table["faithfulness"].iloc[0]


def test_without_a_natural_gap_there_are_no_units():
    natural, attacked = Answers.to(effect_items(1)).records
    small = [with_metrics(natural, 0.1, 0.0, 0.1, None), attacked]
    assert natural_gaps(study_of(small).circuits).isna().all(axis=None)
    for records in (small, [attacked], [natural]):
        assert "gap" not in faithfulness(study_of(records).circuits)
