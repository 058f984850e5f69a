"""How long a job runs on the sets that its pods got.

The model: a job computes, and communicates a fixed amount. Computing takes the same time on every set; communication
takes time in inverse proportion to the set's bandwidth. With r seconds of communication at `REFERENCE_GBPS` for each
second of computing, the time on a set with B GB/s is::

    T(B) = C (1 + r REFERENCE_GBPS / B)        and so        T(B) / T(best) = (1 + r ref / B) / (1 + r ref / best)

`MEASURED_RATIOS` are calibrated on the execution times that Amaral et al. (SC'17) measured for AlexNet and GoogLeNet
on two P100s, in one socket (two NVLinks, `REFERENCE_GBPS`) and across sockets (`ACROSS_GBPS`). Their batch sizes share
one amount of communication for each network, because what is exchanged in an iteration does not depend on the batch;
`benchmarks.experiments.amaral.calibrate` fits it and states the error. GPUs of different models compute equally fast
here: only links are compared.
"""

from collections.abc import Iterable
from typing import Final

from gpu_topology.links import NVLINK_GBPS, pcie_gbps

REFERENCE_GBPS: Final = 2 * NVLINK_GBPS[1]
"""Between the two P100s of one socket of the measured machine."""
ACROSS_GBPS: Final = pcie_gbps(None)
"""Between two P100s of different sockets of the measured machine."""
NETWORK_GBPS: Final = 25.0
"""Between the pods of one job on different nodes: a 200 Gbit/s network card. An assumption."""

MEASURED_RATIOS: Final = (0.1455, 0.1190, 0.0176, 0.0092, 0.0155, 0.0075, 0.0007, 0.0003)
"""r of AlexNet with batches of 1, 4, 64 and 128, then of GoogLeNet: with them the model predicts the measured times
across sockets with an error of 1.6 % at most; of a batch that is left out of the fit, 2.1 %."""


def slowdown(communication: float, bandwidth_gbps: float, best_gbps: float) -> float:
    """The time that a job takes on a set, over the time on the best set; 1 where it has no link to be slow.

    Args:
        communication: r.
        bandwidth_gbps: of the set that it got; 0 for a single GPU.
        best_gbps: of the best set.
    """
    if bandwidth_gbps <= 0 or best_gbps <= 0:
        return 1.0
    return (1 + communication * REFERENCE_GBPS / bandwidth_gbps) / (1 + communication * REFERENCE_GBPS / best_gbps)


def joint_bandwidth(bandwidths: Iterable[float]) -> float:
    """GB/s of a job whose pods got sets of these bandwidths: the slowest one's, or the network's between several.

    A pod with a single GPU, 0, has no link of its own.
    """
    of_pods = list(bandwidths)
    links = [bandwidth for bandwidth in of_pods if bandwidth > 0]
    if len(of_pods) > 1:
        links.append(NETWORK_GBPS)
    return min(links, default=0.0)
