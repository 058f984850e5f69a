"""The parser on random machines, rendered as nvidia-smi does, whole and damaged.

Some damage cannot be seen in the text alone, whatever reads it: another valid link in both directions of a pair, or
a whole GPU taken out of the header and of every row. So cells are damaged by deletion and by characters that are in no
link's name, in one place or in one line at a time.
"""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_topology.errors import DumpError
from gpu_topology.nvidia_smi import Dump, parse_topology_matrix

PCIE_LINKS = ("SYS", "NODE", "PHB", "PXB", "PIX", "PSB")
LINKS = (*PCIE_LINKS, *(f"NV{count}" for count in range(1, 19)))
AFFINITIES = ("CPU Affinity", "NUMA Affinity", "GPU NUMA ID")
STRENGTH = {link: rank for rank, link in enumerate(("X", *LINKS))}


@dataclass(frozen=True)
class Machine:
    """A matrix in nvidia-smi's words: `links` between GPUs, `nics` by GPU, and as many affinity columns as `cells`."""

    links: list[list[str]]
    nics: list[list[str]]
    cells: list[list[str]]

    def render(self) -> str:
        """The output, with tabs."""
        names = [f"NIC{index}" for index in range(len(self.nics[0]))]
        gpus = [f"GPU{index}" for index in range(len(self.links))]
        lines = ["\t" + "\t".join([*gpus, *names, *AFFINITIES[: len(self.cells[0])]])]
        for gpu, links, nics, cells in zip(gpus, self.links, self.nics, self.cells, strict=True):
            last = cells if len(cells) < len(AFFINITIES) else [*cells[:2], "", cells[2]]
            lines.append("\t".join([gpu, *(" X " if link == "X" else link for link in links), *nics, *last]))
        for index, name in enumerate(names):
            lines.append("\t".join([name, *(nics[index] for nics in self.nics)]) + "\t X \t")
        return "\n".join([*lines, "", "Legend:", "", "  X    = Self", "  NV#  = Connection over # NVLinks", ""])


@st.composite
def machines(draw: st.DrawFn, min_gpus: int = 1) -> Machine:
    size = draw(st.integers(min_gpus, 12))
    links = [["X"] * size for _ in range(size)]
    for first in range(size):
        for second in range(first):
            links[first][second] = links[second][first] = draw(st.sampled_from(LINKS))
    nics = draw(st.integers(0, 3))
    affinities = draw(st.integers(0, 3))
    cells = [["", "0-7,16-23", "0"], ["", "0", "1", "0-1", "N/A"], ["N/A", "4"]]
    return Machine(
        links=links,
        nics=[[draw(st.sampled_from(PCIE_LINKS)) for _ in range(nics)] for _ in range(size)],
        cells=[[draw(st.sampled_from(cells[column])) for column in range(affinities)] for _ in range(size)],
    )


def links_of(dump: Dump) -> list[list[str]]:
    gpus = range(len(dump.topology))
    return [[dump.topology.token(first, second) for second in gpus] for first in gpus]


def links_or_refusal(text: str) -> list[list[str]] | None:
    """The GPU matrix; None where it was refused. Anything else raised fails the test."""
    try:
        return links_of(parse_topology_matrix(text))
    except DumpError:
        return None


@given(machines())
def test_a_rendered_machine_is_read_back(machine: Machine) -> None:
    dump = parse_topology_matrix(machine.render())
    assert links_of(dump) == machine.links
    assert [
        [nic.pcie[gpu].name for nic in dump.topology.nics if nic.pcie[gpu] is not None]  # type: ignore[union-attr]  # just compared
        for gpu in range(len(dump.topology))
    ] == machine.nics
    for gpu, cells in zip(dump.topology.gpus, machine.cells, strict=True):
        cpus, numa, *_ = [*cells, "", ""]
        assert gpu.cpu_affinity == (cpus or None)
        assert gpu.numa_node == (int(numa) if numa.isdigit() else None)
    assert dump.warnings == ()


@given(machines())
def test_a_machine_with_tabs_turned_into_blanks_is_read_back(machine: Machine) -> None:
    assert links_of(parse_topology_matrix(machine.render().expandtabs())) == machine.links


@given(machines(), st.data())
def test_a_machine_with_cells_glued_is_read_back_or_refused(machine: Machine, data: st.DataObject) -> None:
    text = machine.render()
    tabs = [index for index, character in enumerate(text) if character == "\t"]
    lost = set(data.draw(st.lists(st.sampled_from(tabs), unique=True)))
    glued = "".join(character for index, character in enumerate(text) if index not in lost)
    assert links_or_refusal(glued) in (machine.links, None)


@given(machines(), st.integers(8, 200))
def test_a_machine_wrapped_at_any_width_is_read_back_or_refused(machine: Machine, width: int) -> None:
    lines = machine.render().expandtabs().split("\n")
    wrapped = [line[start : start + width] for line in lines for start in range(0, max(len(line), 1), width)]
    assert links_or_refusal("\n".join(wrapped)) in (machine.links, None)


@given(machines(), st.data())
def test_a_truncated_machine_is_read_back_or_refused(machine: Machine, data: st.DataObject) -> None:
    text = machine.render()
    assert links_or_refusal(text[: data.draw(st.integers(0, len(text)))]) in (machine.links, None)


@given(machines(), st.integers(1, 200))
def test_a_machine_cut_at_the_right_margin_is_read_back_or_refused(machine: Machine, width: int) -> None:
    cut = [line[:width] for line in machine.render().expandtabs().split("\n")]
    assert links_or_refusal("\n".join(cut)) in (machine.links, None)


@given(machines(), st.data())
def test_a_machine_that_lost_or_repeats_lines_is_read_back_or_refused(machine: Machine, data: st.DataObject) -> None:
    lines = machine.render().split("\n")
    kept = data.draw(st.lists(st.sampled_from(range(len(lines))), max_size=2 * len(lines)).map(sorted))
    assert links_or_refusal("\n".join(lines[index] for index in kept)) in (machine.links, None)


@given(machines(), st.data())
def test_a_machine_with_characters_garbled_is_read_back_or_refused(machine: Machine, data: st.DataObject) -> None:
    text = list(machine.render())
    for index in data.draw(st.lists(st.integers(0, len(text) - 1), max_size=5)):
        text[index] = data.draw(st.sampled_from("?~*=.\ufffd\x00é"))
    assert links_or_refusal("".join(text)) in (machine.links, None)


@settings(max_examples=300)
@given(machines(min_gpus=2), st.data())
def test_a_machine_that_lost_a_stretch_is_never_read_as_better_linked(machine: Machine, data: st.DataObject) -> None:
    """NV12 without its 2 is a valid link: then the directions differ, the weaker counts, and a warning says so."""
    text = machine.render()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 80)))
    try:
        dump = parse_topology_matrix(text[:start] + text[end:])
    except DumpError:
        return
    links = links_of(dump)
    assert len(links) == len(machine.links)
    for first, second in dump.topology.pairs():
        link, truth = links[first][second], machine.links[first][second]
        warned = any(f"GPU{first} sees GPU{second}" in warning for warning in dump.warnings)
        assert link == truth or (STRENGTH[link] < STRENGTH[truth] and warned)


@given(machines(min_gpus=2), st.data())
def test_the_weaker_direction_of_every_pair_counts(machine: Machine, data: st.DataObject) -> None:
    gpus = range(len(machine.links))
    directed = [["X" if first == second else data.draw(st.sampled_from(LINKS)) for second in gpus] for first in gpus]
    weaker = [[min(directed[i][j], directed[j][i], key=STRENGTH.__getitem__) for j in gpus] for i in gpus]
    differing = sum(directed[i][j] != directed[j][i] for i in gpus for j in range(i))
    dump = parse_topology_matrix(Machine(directed, machine.nics, machine.cells).render())
    assert links_of(dump) == weaker
    assert len(dump.warnings) == differing


WORDS = (
    "GPU0",
    "GPU1",
    "GPU12",
    "X",
    "NV4",
    "SYS",
    "OK",
    "NIC0",
    "CPU Affinity",
    "NUMA",
    "N/A",
    "0-7",
    "|",
    "\t",
    "\n",
)


@settings(max_examples=500)
@given(st.text() | st.lists(st.sampled_from(WORDS) | st.text(max_size=3)).map(" ".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but a refusal is ever raised, and nothing is read that does not name its GPUs."""
    links = links_or_refusal(text)
    assert links is None or all(f"GPU{gpu}" in text for gpu in range(len(links)))


@given(st.lists(st.integers(1, 18), min_size=3, max_size=10))
def test_gpus_behind_one_switch_are_never_taken_for_directly_linked(ports: list[int]) -> None:
    """Behind a switch a pair has as many links as the GPU with fewer."""
    links = [
        ["X" if first == second else f"NV{min(ports[first], ports[second])}" for second in range(len(ports))]
        for first in range(len(ports))
    ]
    machine = Machine(links, [[] for _ in ports], [[] for _ in ports])
    assert parse_topology_matrix(machine.render()).topology.nvswitch is not False


@given(st.data())
def test_gpus_with_their_links_to_one_another_are_never_taken_for_switched(data: st.DataObject) -> None:
    """Without a switch a GPU has at most 18 NVLinks, shared out among its neighbours."""
    size = data.draw(st.integers(2, 8))
    left = [18] * size
    links = [["X" if first == second else "SYS" for second in range(size)] for first in range(size)]
    for first in range(size):
        for second in range(first):
            count = data.draw(st.integers(0, min(left[first], left[second])))
            left[first] -= count
            left[second] -= count
            if count:
                links[first][second] = links[second][first] = f"NV{count}"
    machine = Machine(links, [[] for _ in left], [[] for _ in left])
    assert parse_topology_matrix(machine.render()).topology.nvswitch is not True
