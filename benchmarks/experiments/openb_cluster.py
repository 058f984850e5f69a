"""The cluster and the pods of FGD's experiment (Weng et al., USENIX ATC'23): Alibaba's openb trace."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Final

from benchmarks.experiments.published import rows_of
from gpu_topology.links import PcieAncestor
from gpu_topology.topology import Gpu, NodeTopology
from simulator.kube_scheduler import Resources
from topology_agent.profiles import load_machine

TRACES: Final = {"default": "openb_pods.csv", "multigpu50": "openb_pods_multigpu50.csv"}
WHOLE_MILLIS: Final = 1000
_PRODUCTS: Final = {"V100M16": "Tesla V100-SXM2-16GB", "V100M32": "Tesla V100-SXM2-32GB"}


@dataclass(frozen=True, slots=True)
class Machines:
    """The nodes of the trace: topologies and what they have, by name."""

    topologies: dict[str, NodeTopology]
    capacities: dict[str, Resources]

    @property
    def gpus(self) -> int:
        """The GPUs of all nodes."""
        return sum(map(len, self.topologies.values()))


def machines() -> Machines:
    """The 1,213 nodes with 6,212 GPUs.

    The trace does not say how GPUs are linked. Eight V100s are taken for a DGX-1V, all others for GPUs on the PCIe
    switches of two sockets.

    Raises:
        SettingsError: the published data are not there.
    """
    rows = rows_of("openb_nodes.csv")
    return Machines(
        {row["node"]: _topology(row["gpu_model"], int(row["gpus"])) for row in rows},
        {row["node"]: Resources(int(row["cpu_milli"]), int(row["mem_mib"]), int(row["gpus"])) for row in rows},
    )


def whole_gpu_pods(file: str) -> list[Resources]:
    """What the pods of a trace ask for that ask for whole GPUs.

    Raises:
        SettingsError: the published data are not there.
    """
    return [
        Resources(int(row["cpu_milli"]), int(row["mem_mib"]), int(row["num_gpu"]))
        for row in rows_of(file)
        if int(row["num_gpu"]) > 0 and int(row["gpu_milli"]) == WHOLE_MILLIS
    ]


def draw(pods: Sequence[Resources], gpus: int, seed: int) -> list[Resources]:
    """Pods drawn at random, with replacement, until they ask for so many GPUs."""
    chooser = Random(f"openb/{seed}")
    drawn: list[Resources] = []
    missing = gpus
    while missing > 0:
        drawn.append(chooser.choice(pods))
        missing -= drawn[-1].gpus
    return drawn


@cache
def _topology(model: str, gpus: int) -> NodeTopology:
    if model in _PRODUCTS and gpus == len(load_machine("dgx-1v")):
        return load_machine("dgx-1v")
    return _on_pcie(gpus, _PRODUCTS.get(model))


def _on_pcie(gpus: int, product: str | None) -> NodeTopology:
    """GPUs without NVLink: the first half in one socket, the rest in the other, each on one switch."""
    half = (gpus + 1) // 2

    def ancestor(first: int, second: int) -> PcieAncestor | None:
        if first == second:
            return None
        return PcieAncestor.PIX if first // half == second // half else PcieAncestor.SYS

    return NodeTopology(
        gpus=tuple(Gpu(product=product, numa_node=gpu // half) for gpu in range(gpus)),
        pcie=tuple(tuple(ancestor(i, j) for j in range(gpus)) for i in range(gpus)),
        nvlinks=((0,) * gpus,) * gpus,
        nvswitch=False,
    )
