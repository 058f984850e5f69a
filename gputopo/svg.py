"""Draws a machine: its GPUs on a circle, each pair's link as wide as it is fast."""

from collections.abc import Sequence
from math import cos, pi, sin
from typing import Final, NamedTuple, TypeAlias
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from gpu_topology.topology import NodeTopology

_WIDTH: Final = 880
_HEIGHT: Final = 660
_CENTRE: Final = 330
_RADIUS: Final = 250
_GPU_RADIUS: Final = 30
_LEGEND_LEFT: Final = 680
_LEGEND_TOP: Final = 60
_LEGEND_LINE: Final = 40
_LEGEND_STEP: Final = 30
_WIDEST: Final = 9.0
_NARROWEST: Final = 1.0

_COLOURS: Final = {
    "nvswitch": "#3f8f29",
    "nvlink": "#3f8f29",
    "PSB": "#1f6fb2",
    "PIX": "#1f6fb2",
    "PXB": "#4aa3c7",
    "PHB": "#b58a1b",
    "NODE": "#cf7a2b",
    "SYS": "#c9c9c9",
    "unknown": "#c9c9c9",
}


_Point: TypeAlias = tuple[float, float]


class _Link(NamedTuple):
    """A kind of link: those of one kind look alike."""

    gbps: float
    token: str
    kind: str


def draw(topology: NodeTopology) -> str:
    """The machine as an SVG document: a `circle` for each GPU, a `line` of class "link" for each pair."""
    links = {pair: _link(topology, *pair) for pair in topology.pairs()}
    fastest = max((link.gbps for link in links.values()), default=1.0)
    root = Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_WIDTH} {_HEIGHT}")
    root.set("font-family", "sans-serif")
    root.set("role", "img")
    _text(root, f"How {len(topology)} GPUs are linked", "title")
    _text(root, "GPUs on a circle; the wider the line between two of them, the faster their link.", "desc")
    SubElement(root, "rect", width="100%", height="100%", fill="white")
    places = _places(len(topology))
    for (first, second), link in sorted(links.items(), key=lambda item: item[1]):
        line = _line(root, places[first], places[second], link, fastest)
        line.set("class", "link")
        _text(line, f"GPU {first} to GPU {second}: {_described(link)}", "title")
    for gpu, place in enumerate(places):
        _gpu(root, gpu, place)
    _legend(root, sorted(set(links.values()), reverse=True), fastest)
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _link(topology: NodeTopology, first: int, second: int) -> _Link:
    gbps = topology.bandwidth_gbps(first, second)
    return _Link(gbps, topology.token(first, second), topology.link_kind(first, second))


def _described(link: _Link) -> str:
    return f"{link.token}, {link.gbps:.1f} GB/s"


def _places(count: int) -> list[_Point]:
    """Where each GPU stands: clockwise, the first one at the top."""
    angles = [2 * pi * gpu / max(count, 1) - pi / 2 for gpu in range(count)]
    return [(_CENTRE + _RADIUS * cos(angle), _CENTRE + _RADIUS * sin(angle)) for angle in angles]


def _line(parent: Element, start: _Point, end: _Point, link: _Link, fastest: float) -> Element:
    (x1, y1), (x2, y2) = start, end
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    line = SubElement(parent, "line", ends, stroke=_COLOURS[link.kind])
    line.set("stroke-width", f"{max(_WIDEST * link.gbps / fastest, _NARROWEST):.1f}")
    if link.kind == "unknown":
        line.set("stroke-dasharray", "4 4")
    return line


def _gpu(parent: Element, gpu: int, place: _Point) -> None:
    x, y = place
    circle = SubElement(parent, "circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=str(_GPU_RADIUS), fill="#2b2f36")
    circle.set("class", "gpu")
    label = _text(parent, str(gpu), "text", x=f"{x:.1f}", y=f"{y + 6:.1f}", fill="white")
    label.set("text-anchor", "middle")
    label.set("font-weight", "bold")


def _legend(parent: Element, links: Sequence[_Link], fastest: float) -> None:
    for row, link in enumerate(links):
        y = _LEGEND_TOP + row * _LEGEND_STEP
        _line(parent, (_LEGEND_LEFT, y), (_LEGEND_LEFT + _LEGEND_LINE, y), link, fastest)
        _text(parent, _described(link), "text", x=str(_LEGEND_LEFT + _LEGEND_LINE + 12), y=str(y + 5), fill="#2b2f36")


def _text(parent: Element, text: str, tag: str, **attributes: str) -> Element:
    element = SubElement(parent, tag, attributes)
    element.text = text
    return element
