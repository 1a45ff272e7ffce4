"""Fits in a store, and values that a run keeps by id: what comes back, and what verify, rebuild and gc do with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from circuitstore.circuits import Fit, FitUse, Intervention, Response
from circuitstore.errors import InputError
from circuitstore.store import FITS, RESPONSE, Store, create_store, open_store, rebuild_store
from circuitstore.store.encoding import header_of
from circuitstore.testing.factories import make_fit, make_item, make_responses
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays


def steered(strength: float) -> Response:
    """Return a synthetic response under an intervention that no circuit refers to."""
    response = make_responses(make_item(), "c" * 64)["full"]
    intervention = Intervention.of("steer", {"strength": strength})
    return replace(response, trial=replace(response.trial, intervention=intervention))


def differences(store: Store) -> list[tuple[str, str]]:
    return [(row["kind"], row["id"]) for row in store.verify()]


def test_a_fit_comes_back_bit_by_bit(folder: Path) -> None:
    fit = replace(make_fit(), provenance={"device": "cpu"})
    with create_store(folder) as store, store.writer() as writer:
        writer.put(fit, run="run")
        there = store.fit(fit.id[:20])
        assert (there.id, there.sha256, there.images, there.facts) == (fit.id, fit.sha256, fit.images, {"bar": 0.5})
        assert (there.use, there.model, there.provenance) == (fit.use, fit.model, {"device": "cpu"})
        for name, values in fit.arrays.items():
            assert np.array_equal(there.arrays[name], values) and there.arrays[name].dtype == values.dtype
        assert there.to_pandas().equals(fit.to_pandas())


@given(
    arrays.arrays(st.sampled_from(["<f4", ">f8", "<i8", "|b1", "|u1"]), arrays.array_shapes(min_dims=0, min_side=0)),
    st.integers(0, 3),
)
def test_any_numbers_survive_encoding(values: np.ndarray, others: int) -> None:
    fit = Fit("detector", FitUse.of("mine"), make_item().model, "d", (), {str(i): np.ones(i) for i in range(others)})
    fit = replace(fit, arrays={**fit.arrays, "last": values})
    table = FITS.encode(fit, 1)
    there = FITS.decode(header_of(table.schema), table)
    assert (there.id, there.sha256) == (fit.id, fit.sha256)
    assert there.arrays["last"].tobytes() == values.astype(values.dtype.newbyteorder("<")).tobytes()
    assert there.arrays["last"].shape == values.shape


def test_every_part_of_a_fit_is_in_its_id() -> None:
    fit = make_fit()
    moved = {**fit.arrays, "offsets": fit.arrays["offsets"] + 1e-9}
    other = replace(fit.model, id="f" * 64)
    changes = {"thing": "detector", "use": FitUse.of("sum"), "model": other, "dataset": "photos", "arrays": moved}
    changes |= {"images": fit.images[::-1], "facts": {"bar": 0.6}}
    ids = {replace(fit, **{name: value}).id for name, value in changes.items()}
    assert len(ids | {fit.id}) == len(changes) + 1
    assert replace(fit, provenance={"device": "cuda"}).id == fit.id


def test_fits_that_cannot_be_stored_are_rejected() -> None:
    with pytest.raises(InputError, match="unknown thing 'probe'"):
        replace(make_fit(), thing="probe")
    with pytest.raises(InputError, match="arrays: names: expected numbers or booleans, got <U1"):
        replace(make_fit(), arrays={"names": np.array(["a"])})


def test_fits_are_listed_by_what_they_are(folder: Path) -> None:
    with create_store(folder) as store, store.writer() as writer:
        writer.put(make_fit(), run="run")
        writer.put(replace(make_fit(), thing="detector"), run="other")
        assert len(store.fits()) == 2 and store.fits("run")["thing"].tolist() == ["directions"]
        (row,) = store.fits(thing="directions").to_dict("records")
        assert (row["fit"], row["n_images"]) == ("split(quantile=0.95)", 3)
        with pytest.raises(InputError, match="column of fits"):
            store.fits(things="detector")
        with pytest.raises(InputError, match=r"no fit has an id that begins with 'x'; .* table of fits"):
            store.fit("x")


def test_a_run_keeps_values_by_id(folder: Path) -> None:
    """Values that nobody keeps are collected; those of two runs go with the last of them."""
    kept, shared = make_fit(), make_fit(seed=1)
    response = steered(1.0)
    loose = steered(2.0)
    with create_store(folder) as store, store.writer() as writer:
        writer.start_run("run", "spec", [])
        assert writer.keep("run", RESPONSE, [response.id, response.id]) == [response.id]
        writer.put(kept, shared, response, loose, run="run")
        writer.put(shared, run="other")
        assert writer.keep("run", RESPONSE, [response.id]) == []
        assert store.responses("run")["id"].tolist() == [response.id]
        assert differences(store) == []
        counts = {row["what"]: row["count"] for row in writer.gc()}
        assert counts["responses removed from the catalog"] == 1 and counts["fits removed from the catalog"] == 0
        writer.delete_run("run")
        writer.gc()
        assert store.fits()["id"].tolist() == [shared.id] and len(store.responses()) == 0
        assert differences(store) == []


def test_a_value_whose_writer_was_killed_before_listing_it_is_adopted(folder: Path) -> None:
    fits = [make_fit(seed=i) for i in range(2)]
    with create_store(folder) as store:
        with store.writer() as writer:
            assert writer.keep("run", FITS, [fit.id for fit in fits]) == [fit.id for fit in fits]
            writer.archive.write(fits[0], 1)
        assert differences(store) == [("orphan file", fits[0].id)]
        with store.writer() as writer:
            assert writer.keep("run", FITS, [fit.id for fit in fits]) == [fits[1].id]
        assert differences(store) == [] and store.fits("run")["id"].tolist() == [fits[0].id]


def test_a_lost_or_damaged_value_is_asked_for_again(folder: Path) -> None:
    fits = [make_fit(seed=i) for i in range(3)]
    ids = [fit.id for fit in fits]
    with create_store(folder) as store, store.writer() as writer:
        writer.put(*fits, run="run")
        store.archive.path("fit", ids[0]).unlink()
        cut = store.archive.path("fit", ids[1])
        cut.write_bytes(cut.read_bytes()[:-9])
        assert set(differences(store)) == {("missing file", ids[0]), ("damaged file", ids[1])}
        assert writer.keep("run", FITS, ids) == ids[:2]
        writer.put(*fits, run="run")
        assert differences(store) == []


def test_a_rebuilt_store_has_the_same_fits_and_keeps_them(folder: Path) -> None:
    fit, response = make_fit(), steered(1.0)
    with create_store(folder) as store:
        with store.writer() as writer:
            writer.keep("run", RESPONSE, [response.id])
            writer.put(fit, response, run="run")
        listed = store.fits("run")
    (folder / "catalog.sqlite").unlink()
    rebuild_store(folder)
    with open_store(folder) as store:
        assert store.fits("run").equals(listed)
        with store.writer() as writer:
            writer.gc()
        assert store.fits("run").equals(listed) and store.responses("run")["id"].tolist() == [response.id]
        assert differences(store) == []


def test_lost_requests_are_written_again_from_the_catalog(folder: Path) -> None:
    fit = make_fit()
    with create_store(folder) as store:
        with store.writer() as writer:
            writer.put(fit, run="run")
            for id in list(store.archive.ids("run")):
                store.archive.path("run", id).unlink()
            writer.rebuild()
        assert store.fits("run")["id"].tolist() == [fit.id] and differences(store) == []


def test_a_fit_of_no_run_is_recovered(folder: Path) -> None:
    with create_store(folder) as store, store.writer() as writer:
        writer.archive.write(make_fit(), 1)
        writer.rebuild()
        assert store.fits("recovered")["id"].tolist() == [make_fit().id] and differences(store) == []
