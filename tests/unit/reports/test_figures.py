"""Figures: marks stand where the numbers are."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from qharness_reports.figures.bars import BarRow, draw_bars
from qharness_reports.figures.dumbbell import DumbbellRow, Kept, axis_end, draw_dumbbell
from qharness_reports.figures.plane import PlanePoint, draw_plane
from qharness_reports.figures.storage import StoragePoint, draw_storage
from qharness_reports.figures.svg import Scale, element, ticks
from qharness_reports.figures.whisker import draw_whisker


def point(mark, mc, gen):
    return PlanePoint(mark, f"p{mark}", "good", mc, mc - 0.1, mc + 0.1, gen, gen - 0.1, gen + 0.1)


def dots(picture, tag="circle"):
    return [node for node in ET.fromstring(picture).iter(tag) if "dot" in node.get("class", "")]


def test_scale_maps_and_clamps():
    scale = Scale(0, 2, 10, 110)
    assert [scale(v) for v in (0, 1, 2, 5, -1)] == [10, 60, 110, 110, 10]


def test_ticks_are_round_and_few():
    assert ticks(0, 100, 5) == [0, 25, 50, 75, 100]
    assert all(len(ticks(low, low + width)) <= 6 for low in (-0.31, 0, 2.02) for width in (0.01, 0.4, 33))


def test_attributes_are_escaped():
    assert element("g", '<&"', class_='"><script>') == '<g class="&#34;&gt;&lt;script&gt;">&lt;&amp;&#34;</g>'


def test_plane_orders_points_as_the_numbers():
    first, second = dots(draw_plane([point("1", 0.9, 0.3), point("2", 0.4, 0.8)]))
    assert float(first.get("cx")) > float(second.get("cx"))
    assert float(first.get("cy")) > float(second.get("cy"))


def test_a_point_on_the_diagonal_lies_on_the_drawn_diagonal():
    picture = ET.fromstring(draw_plane([point("1", 0.5, 0.5)]))
    diagonal = next(node for node in picture.iter("line") if node.get("class") == "diagonal")
    x1, y1, x2, y2 = (float(diagonal.get(name)) for name in ("x1", "y1", "x2", "y2"))
    dot = next(node for node in picture.iter("circle"))
    share = (float(dot.get("cx")) - x1) / (x2 - x1)
    assert abs(y1 + share * (y2 - y1) - float(dot.get("cy"))) < 0.02


def test_labels_of_close_points_do_not_coincide():
    picture = ET.fromstring(draw_plane([point(str(i), 0.9, 0.9) for i in range(4)]))
    places = {(n.get("x"), n.get("y")) for n in picture.iter("text") if n.get("class") == "mark"}
    assert len(places) == 4


def test_dumbbells_share_an_axis_and_pale_what_is_excluded():
    rows = [
        DumbbellRow("8tags", Kept(1.3, 1.2, 1.4), Kept(0.2, 0.1, 0.3), True),
        DumbbellRow("dyk", Kept(0.5, None, None), Kept(None, None, None), False),
    ]
    assert axis_end(rows) == 1.35
    picture = ET.fromstring(draw_dumbbell(rows, "x", axis_end(rows)))
    classes = [node.get("class") for node in picture.iter("g")]
    assert classes == ["row", "row excluded"]
    assert len(dots(draw_dumbbell(rows, "x", 1.35))) == 2
    assert len(dots(draw_dumbbell(rows, "x", 1.35), "path")) == 1


def test_bars_are_as_long_as_their_numbers_and_negative_ones_point_left():
    picture = ET.fromstring(draw_bars([BarRow("a", 80.0, 40.0), BarRow("b", -20.0, None)]))
    a_mc, a_gen, b_mc = list(picture.iter("rect"))
    assert abs(float(a_mc.get("width")) / float(a_gen.get("width")) - 2) < 0.01
    assert float(b_mc.get("x")) < float(a_mc.get("x"))
    assert "not measured" in "".join(picture.itertext())


def test_storage_draws_one_point_even_alone():
    assert len(dots(draw_storage([StoragePoint("1", "a", 2.0, 0.9, 0.5)]))) == 1


def test_whisker_of_no_loss_stands_right_of_a_loss():
    loss, gain = (dots(draw_whisker(d, d - 0.1, d + 0.1, 1.0, "mc"))[0] for d in (-0.5, 0.1))
    assert float(loss.get("cx")) < float(gain.get("cx"))
