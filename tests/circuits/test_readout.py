"""Read-outs: named axes, means, selections, rows and pictures."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from circuitstore.circuits import Axis, Readout, ReadoutUse
from circuitstore.errors import InputError
from hypothesis import given
from hypothesis import strategies as st

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("image", "point", "head", "class")


@st.composite
def readouts(draw, least: int = 1) -> Readout:
    """A read-out of one to four axes of one to three entries."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=least, max_size=4, unique=True))
    axes = tuple(Axis(name, tuple(f"{name}{i}" for i in range(draw(st.integers(1, 3))))) for name in names)
    values = np.random.default_rng(draw(st.integers(0, 99))).normal(size=[len(axis) for axis in axes])
    return Readout(ReadoutUse.of("made-up", {"norm": True}), axes, values)


def lens(points: int = 3, classes: int = 2, images: int = 4) -> Readout:
    sizes = {"image": images, "point": points, "class": classes}
    axes = tuple(Axis(name, tuple(f"{name}{i}" for i in range(size))) for name, size in sizes.items())
    values = np.random.default_rng(0).normal(size=tuple(sizes.values()))
    return Readout(ReadoutUse.of("logit-lens"), axes, values)


@given(readouts())
def test_every_row_is_the_number_at_its_labels(readout):
    frame = readout.to_pandas()
    assert len(frame) == readout.values.size
    for row in frame.to_dict("records"):
        value = row.pop("value")
        assert readout.select(**row).values == value


@given(readouts(), st.data())
def test_a_mean_is_the_mean_of_the_selections(readout, data):
    name = data.draw(st.sampled_from(readout.names))
    parts = np.stack([readout.select(**{name: label}).values for label in readout.axis(name).labels])
    mean = readout.mean(name)
    assert mean.names == tuple(other for other in readout.names if other != name)
    assert np.allclose(mean.values, parts.mean(axis=0), rtol=0, atol=1e-12)
    if len(parts) == 1:
        assert mean.std is None
    else:
        assert np.allclose(mean.std, parts.std(axis=0, ddof=1), rtol=0, atol=1e-12)
        assert "std" in mean.to_pandas()


@given(readouts(least=2), st.data())
def test_selections_of_two_axes_commute_and_keep_the_order_of_labels(readout, data):
    first, second = data.draw(st.permutations(readout.names))[:2]
    some = data.draw(st.permutations(readout.axis(first).labels))
    one = readout.axis(second).labels[-1]
    a, b = readout.select(**{first: some, second: one}), readout.select(**{second: one}).select(**{first: some})
    assert a.names == b.names and np.array_equal(a.values, b.values)
    assert a.axis(first).labels == tuple(some)


def test_the_standard_deviation_is_selected_with_the_mean():
    mean = lens().mean()
    part = mean.select(point="point1")
    assert np.array_equal(part.std, mean.std[1]) and part.names == ("class",)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"layer": 0}, "unknown axis of logit-lens 'layer'.*valid: class, image, point"),
        ({"class": "class9"}, "unknown label of axis 'class' 'class9'; did you mean"),
        ({"point": ["point0", "point7"]}, "unknown label of axis 'point' 'point7'"),
    ],
)
def test_an_unknown_axis_or_label_is_named(labels, message):
    with pytest.raises(InputError, match=message):
        lens().select(**labels)


def test_axes_and_values_must_fit():
    axes = (Axis("image", (0, 1)), Axis("class", ("a", "b", "c")))
    with pytest.raises(InputError, match=r"expected the shape \(2, 3\) of the axes \('image', 'class'\), got \(3, 2\)"):
        Readout(ReadoutUse("x"), axes, np.zeros((3, 2)))
    with pytest.raises(InputError, match="different names"):
        Readout(ReadoutUse("x"), (axes[0], axes[0]), np.zeros((2, 2)))
    with pytest.raises(InputError, match="different labels"):
        Axis("class", ("crane", "crane"))
    with pytest.raises(InputError, match="at least one entry to average"):
        lens(images=0).mean()


def test_numbers_of_an_axis_stay_numbers(tmp_path):
    readout = Readout(ReadoutUse("x"), (Axis("head", (0, 1)), Axis("token", (2, 0))), np.arange(4.0).reshape(2, 2))
    assert [str(kind) for kind in readout.to_pandas().dtypes] == ["int64", "int64", "float64"]
    readout.to_parquet(tmp_path / "readout.parquet")
    assert (tmp_path / "readout.parquet").stat().st_size > 0


def lines_of(readout: Readout) -> list[ET.Element]:
    return list(ET.fromstring(readout.draw().svg).iter(f"{SVG}polyline"))


def test_a_lens_is_drawn_as_a_line_per_class():
    readout = lens(points=5, classes=3)
    found = lines_of(readout)
    order = np.argsort(-readout.mean().values[-1])
    assert [line.findtext(f"{SVG}title").split(",")[0] for line in found] == [f"class{i}" for i in order]
    heights = np.array([[float(p.split(",")[1]) for p in line.get("points").split()] for line in found])
    shown = readout.mean().values[:, order].T
    assert np.array_equal(np.argsort(-heights.ravel()), np.argsort(shown.ravel()))


def test_of_many_classes_the_best_at_the_end_are_drawn():
    readout = lens(classes=30)
    best = np.argsort(-readout.mean().values[-1])[:10]
    assert [line.findtext(f"{SVG}title").split(",")[0] for line in lines_of(readout)] == [f"class{i}" for i in best]


def test_one_axis_is_drawn_as_bars_in_order():
    readout = lens().select(point="point2")
    svg = ET.fromstring(readout.draw().svg)
    bars = [rect for rect in svg.iter(f"{SVG}rect") if rect.findtext(f"{SVG}title")]
    lengths = np.array([float(bar.get("width")) for bar in bars])
    values = readout.mean().values
    assert np.allclose(lengths / lengths.max(), np.abs(values) / np.abs(values).max(), atol=1e-3)
    assert [bar.findtext(f"{SVG}title").split()[0] for bar in bars] == ["class0", "class1"]


@given(readouts(least=2))
def test_two_axes_are_drawn_and_more_ask_for_a_selection(readout):
    left = [name for name in readout.names if name != "image"]
    if 1 <= len(left) <= 2:
        root = ET.fromstring(readout.draw().svg)
        assert "NaN" not in readout.draw().svg and root.get("aria-label").startswith("made-up(norm=True): logit")
        assert "<svg" in readout._repr_html_()
    else:
        with pytest.raises(InputError, match="select a label, or average an axis"):
            readout.draw()
        assert "<svg" not in readout._repr_html_() and "<table" in readout._repr_html_()


def test_a_heat_map_has_a_cell_per_number():
    axes = (Axis("head", tuple(range(3))), Axis("token", tuple(range(7))))
    readout = Readout(ReadoutUse("x"), axes, np.arange(21.0).reshape(3, 7) - 10)
    cells = [r for r in ET.fromstring(readout.draw().svg).iter(f"{SVG}rect") if r.findtext(f"{SVG}title")]
    assert [cell.findtext(f"{SVG}title") for cell in cells][:2] == ["0, 0: -10", "0, 1: -9"]
    assert len(cells) == 21 and cells[10].get("fill") == "#ffffff"
    with pytest.raises(InputError, match="at most 20000 cells"):
        Readout(
            ReadoutUse("x"), (Axis("a", tuple(range(200))), Axis("b", tuple(range(200)))), np.zeros((200, 200))
        ).draw()


def test_equal_numbers_can_be_drawn():
    readout = Readout(ReadoutUse("x"), (Axis("point", ("a",)), Axis("class", ("b",))), np.zeros((1, 1)))
    assert "nan" not in readout.draw().svg
    assert "nan" not in readout.select(point="a").draw().svg
