"""The machines and the jobs of MAPA's experiment (Ranganath et al., SC'21)."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from benchmarks.experiments.published import rows_of
from gpu_topology.placement import mask_of
from gpu_topology.topology import Gpu, NodeTopology

MACHINES: Final = ("dgx-v", "dgx-p", "summit", "torus-2d", "cubeMesh-16")

_NVLINKS: Final = {"PCIe": 0, "SingleNVLink": 1, "DoubleNVLink": 2}
_GPUS_PER_ROOT: Final = {"dgx-v": 4, "dgx-p": 4, "summit": 3, "torus-2d": 4, "cubeMesh-16": 4}
"""GPUs under one PCIe root; the experiment's "topology-aware" policy keeps jobs within one."""
_PRODUCT: Final = "Tesla V100-SXM2-16GB"
_PRODUCT_OF: Final = {"dgx-p": "Tesla P100-SXM2-16GB"}


@dataclass(frozen=True, slots=True)
class Job:
    """A job of the experiment.

    Attributes:
        cycles: how long it runs.
        sensitive: whether its speed depends on bandwidth; only such jobs are judged by what they get.
    """

    gpus: int
    cycles: int
    sensitive: bool


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of the experiment.

    Attributes:
        topology: the links. PCIe ancestors and NUMA nodes are not among the published data.
        sums: n x n; the GB/s of every pair, as the experiment's own policies add them up.
        roots: the GPUs under each PCIe root, as masks.
    """

    name: str
    topology: NodeTopology
    sums: tuple[tuple[float, ...], ...]
    roots: tuple[int, ...]


def machine_of(name: str) -> Machine:
    """A machine by its name in the published table.

    Raises:
        SettingsError: the published data are not there.
    """
    rows = [row for row in rows_of("mapa_topologies.csv") if row["topology"] == name]
    pairs = {frozenset((int(row["gpu_i"]), int(row["gpu_j"]))): row for row in rows}
    gpus = range(1 + max(map(max, pairs)))
    product = _PRODUCT_OF.get(name, _PRODUCT)
    topology = NodeTopology(
        gpus=tuple(Gpu(product=product) for _ in gpus),
        pcie=tuple((None,) * len(gpus) for _ in gpus),
        nvlinks=tuple(tuple(0 if i == j else _NVLINKS[pairs[frozenset((i, j))]["link"]] for j in gpus) for i in gpus),
        nvswitch=False,
    )
    sums = tuple(tuple(0.0 if i == j else float(pairs[frozenset((i, j))]["gbps"]) for j in gpus) for i in gpus)
    per_root = _GPUS_PER_ROOT[name]
    roots = tuple(mask_of(range(first, first + per_root)) for first in gpus[::per_root])
    return Machine(name, topology, sums, roots)


def job_lists() -> list[list[Job]]:
    """The published lists of 300 jobs each, one list for each seed, in the order of the queue.

    Raises:
        SettingsError: the published data are not there.
    """
    lists: defaultdict[int, list[Job]] = defaultdict(list)
    for row in rows_of("mapa_jobs.csv"):
        job = Job(int(row["gpus"]), int(row["service_cycles"]), row["bw_sensitive"] == "1")
        lists[int(row["seed"])].append(job)
    return list(lists.values())
