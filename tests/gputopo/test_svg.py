"""The drawing of a machine."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given

from gpu_topology.topology import NodeTopology
from gputopo.svg import draw
from tests.gpu_topology.strategies import topologies
from topology_agent.profiles import load_machine

SVG = "{http://www.w3.org/2000/svg}"


def elements(drawing: str, name: str, kind: str) -> list[ET.Element]:
    """The elements of a class."""
    found = ET.fromstring(drawing).iter(f"{SVG}{name}")  # noqa: S314 - of our own making
    return [element for element in found if element.get("class") == kind]


@given(topologies())
def test_it_is_xml_with_a_circle_for_each_gpu_and_a_line_for_each_pair(topology: NodeTopology) -> None:
    drawing = draw(topology)

    assert len(elements(drawing, "circle", "gpu")) == len(topology)
    assert len(elements(drawing, "line", "link")) == len(list(topology.pairs()))


def test_a_faster_link_is_wider() -> None:
    lines = elements(draw(load_machine("dgx-1v")), "line", "link")
    width = {title(line).split()[5].rstrip(","): float(line.get("stroke-width", 0)) for line in lines}

    assert width["NV2"] > width["NV1"] > width["SYS"] > 0


def test_every_link_says_what_it_is() -> None:
    titles = {title(line) for line in elements(draw(load_machine("dgx-1v")), "line", "link")}

    assert "GPU 0 to GPU 3: NV2, 47.8 GB/s" in titles
    assert len(titles) == 28


def test_the_legend_lists_each_kind_of_link_once_the_fastest_first() -> None:
    root = ET.fromstring(draw(load_machine("dgx-1v")))  # noqa: S314 - of our own making
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]

    assert [text.split(",")[0] for text in texts if "GB/s" in text] == ["NV2", "NV1", "SYS"]


@pytest.mark.parametrize("name", ["dgx-2", "gb200-tray"])
def test_nothing_lies_outside_the_picture(name: str) -> None:
    for circle in elements(draw(load_machine(name)), "circle", "gpu"):
        x, y, radius = (float(circle.get(key, "nan")) for key in ("cx", "cy", "r"))
        assert radius <= x <= 660 - radius
        assert radius <= y <= 660 - radius


def title(line: ET.Element) -> str:
    """What a viewer shows when the pointer rests on a line."""
    return line.findtext(f"{SVG}title", "")
