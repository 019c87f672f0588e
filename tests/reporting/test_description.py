"""The plots of a table's description."""

from xml.etree import ElementTree

import pytest

from fraudlab.data.description.facts import Bar
from fraudlab.reporting.description import plot


def test_a_plot_is_svg_whatever_the_names() -> None:
    bars = [Bar('<script>alert("1")</script>', 0.75, 0.1), Bar("a & b", 0.25, None)]
    svg = plot(bars, 0.08, 'Share of "x<y>"')
    picture = ElementTree.fromstring(svg)
    assert picture.attrib["aria-label"] == 'Share of "x<y>"'
    assert [each.text for each in picture.iter("title")] == [
        '<script>alert("1")</script>: 75.00% of the rows, 10.00% of them frauds',
        "a & b: 25.00% of the rows",
    ]
    heights = [float(bar.attrib["height"]) for bar in picture.iter("rect")]
    assert heights[0] == pytest.approx(3 * heights[1], abs=0.2)
    assert len(list(picture.iter("circle"))) == 1
    assert plot([], 0.1, "nothing") == ""
