"""What each scheduler of the comparison chooses, on cases small enough to see."""

from random import Random

import pytest

from gpu_topology.placement import mask_of
from gpu_topology.request import ContainerKind, ContainerRequest, GpuRequest
from simulator.allocators import AnyAllocator, LowestAllocator
from simulator.cluster import Cluster, Held, resources_of
from simulator.engine import Policy
from simulator.jobs import pod_of
from simulator.kube_scheduler import EXTENDER_WEIGHT
from simulator.policies import OURS, POLICIES
from simulator.policies.extended import Extended
from tests.manifests.files import scheduler_config
from tests.simulator.clusters import cluster


def place(nodes: Cluster, policy: Policy, name: str, request: GpuRequest) -> Held:
    """One pod, from the choice of its node to its GPUs."""
    resources = resources_of(request)
    choice = policy.choose(nodes, name, request, resources)
    assert choice is not None
    held = nodes.bind(name, choice.node, request, resources, choice.gpus)
    policy.bound(name, request, held)
    return held


def fill(nodes: Cluster, node: str, gpus: int) -> None:
    """Take the lowest GPUs of a node, behind the policy's back."""
    request = pod_of(gpus)
    nodes.bind(f"filler-{node}", nodes.nodes[node], request, resources_of(request), mask_of(range(gpus)))


@pytest.mark.parametrize(
    ("policy", "node"),
    [
        ("first-fit", "0-pcie-8"),
        ("best-fit", "2-pcie-8"),
        ("fgd", "2-pcie-8"),
        ("most-allocated", "2-pcie-8"),
        ("vendor", "0-pcie-8"),
        ("default", "0-pcie-8"),
        ("extender-best", "2-pcie-8"),
    ],
)
def test_one_gpu_goes_where_the_policy_wants_it(policy: str, node: str) -> None:
    """The nodes have 8, 4 and 2 GPUs free: spreading takes the first, packing the last."""
    nodes = cluster("pcie-8", "pcie-8", "pcie-8", policy=policy)
    fill(nodes, "1-pcie-8", 4)
    fill(nodes, "2-pcie-8", 6)
    assert place(nodes, POLICIES[policy].make(1), "pod", pod_of(1)).node.name == node


@pytest.mark.parametrize("policy", [*OURS, "mapa-greedy", "mapa-preserve"])
def test_a_pod_of_four_goes_to_the_fastest_links(policy: str) -> None:
    """Whoever looks at links sees that those of an H100 machine are faster."""
    nodes = cluster("pcie-8", "dgx-1v", "hgx-h100", policy=policy)
    assert place(nodes, POLICIES[policy].make(1), "pod", pod_of(4)).node.name == "2-hgx-h100"


def test_mapa_takes_a_single_gpu_where_least_bandwidth_is_lost() -> None:
    nodes = cluster("hgx-h100", "pcie-8", policy="mapa-preserve")
    assert place(nodes, POLICIES["mapa-preserve"].make(1), "pod", pod_of(1)).node.name == "1-pcie-8"


def test_socket_keeps_a_pod_in_the_tightest_socket() -> None:
    """Of the DGX-1's first socket one GPU is taken: three are left for a pod of three."""
    nodes = cluster("dgx-1v", policy="socket")
    fill(nodes, "0-dgx-1v", 1)
    assert place(nodes, POLICIES["socket"].make(1), "pod", pod_of(3)).gpus == mask_of((1, 2, 3))


def test_socket_takes_any_gpus_where_no_socket_has_room() -> None:
    nodes = cluster("dgx-1v", policy="socket")
    fill(nodes, "0-dgx-1v", 1)
    assert place(nodes, POLICIES["socket"].make(1), "pod", pod_of(5)).gpus == mask_of((1, 2, 3, 4, 5))


def test_the_extenders_choice_is_what_an_enforcing_node_hands_out() -> None:
    """Two GPUs with two NVLinks, 47.8 GB/s, not the first two, which have one."""
    held = place(cluster("dgx-1v"), Extended.enforcing(1), "pod", pod_of(2))
    assert held.bandwidth_gbps == pytest.approx(47.8)


def test_the_extender_forgets_a_pod_that_has_ended() -> None:
    nodes, policy = cluster("pcie-8"), Extended.enforcing(1)
    place(nodes, policy, "pod", pod_of(8))
    assert policy.choose(nodes, "other", pod_of(1), resources_of(pod_of(1))) is None
    policy.released("pod", nodes.release("pod"))
    assert policy.choose(nodes, "other", pod_of(8), resources_of(pod_of(8))) is not None


@pytest.mark.parametrize("policy", ["extender-best", "extender"])
def test_containers_of_one_pod_have_sets_of_their_own(policy: str) -> None:
    request = GpuRequest((ContainerRequest("a", 2), ContainerRequest("b", 3)))
    held = place(cluster("dgx-1v", policy=policy), POLICIES[policy].make(1), "pod", request)
    assert [gpus.bit_count() for gpus in held.sets] == [2, 3]
    assert held.gpus.bit_count() == 5


def test_what_an_init_container_had_is_used_again() -> None:
    request = GpuRequest((ContainerRequest("warm-up", 2, ContainerKind.INIT), ContainerRequest("main", 2)))
    nodes, policy = cluster("dgx-1v"), Extended.enforcing(1)
    held = place(nodes, policy, "pod", request)
    assert held.sets[0] == held.sets[1]
    assert nodes.free_gpus == 6


def test_no_policy_chooses_where_there_is_no_room() -> None:
    nodes = cluster("pcie-8")
    request = pod_of(9)
    for entry in POLICIES.values():
        assert entry.make(1).choose(nodes, "pod", request, resources_of(request)) is None


def test_the_weight_is_that_of_the_shipped_configuration() -> None:
    [extender] = scheduler_config()["extenders"]
    assert extender["weight"] == EXTENDER_WEIGHT


def test_an_unadvised_kubelet_gives_each_container_free_gpus() -> None:
    request = GpuRequest((ContainerRequest("a", 1), ContainerRequest("b", 2)))
    free = frozenset({1, 3, 5, 7})
    first, second = AnyAllocator(Random(1))(free, request)
    assert (len(first), len(second)) == (1, 2)
    assert len({*first, *second} & free) == 3
    assert LowestAllocator()(free, request) == [(1,), (3, 5)]
