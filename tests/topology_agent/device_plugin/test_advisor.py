"""The advice comes in time, whoever else does not."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from gpu_topology.contract import Allocation, encode_topology
from gpu_topology.errors import SourceError
from gpu_topology.placement import WorthModel, WorthModels, assess, tables_of
from gpu_topology.request import ContainerRequest, GpuRequest
from gpu_topology.topology import NodeTopology
from tests.topology_agent.device_plugin.pods import api_pod, record
from topology_agent.device_plugin.advisor import Advisor
from topology_agent.device_plugin.decide import Question
from topology_agent.kubelet.listing import ContainerListing, Listing
from topology_agent.occupancy import Occupancy
from topology_agent.pods import PodCache
from topology_agent.profiles import load_machine
from topology_agent.report import NodeReport
from topology_agent.simulation import with_uuids

TOPOLOGY = with_uuids(load_machine("dgx-1v"), "n")
UUIDS = tuple(str(gpu.uuid) for gpu in TOPOLOGY.gpus)
BEST_PAIR = (UUIDS[2], UUIDS[3])
PAIR = Question(UUIDS, (), 2)
LISTED = (ContainerListing("default/a", "main", ()),)


class Kubelet:
    """Says what the test wants, after some refusals, or nothing for ever."""

    def __init__(self, *containers: ContainerListing, refusals: int = 0, silent: bool = False) -> None:
        self._listing = Listing(containers, UUIDS, "1")
        self._refusals = refusals
        self._silent = silent

    async def read(self) -> Listing:
        if self._silent:
            await asyncio.Event().wait()
        if self._refusals:
            self._refusals -= 1
            raise SourceError("too many requests")
        return self._listing


def report(topology: NodeTopology | None = TOPOLOGY, *out_of_service: int) -> NodeReport:
    occupancy = Occupancy(None, unhealthy=dict.fromkeys(out_of_service, "cordoned"))
    return NodeReport(encode_topology(topology) if topology else None, occupancy, Allocation.BEST)


def pods(*recorded: str) -> PodCache:
    cache = PodCache(trust_records=True)
    request = GpuRequest((ContainerRequest("main", len(recorded)),))
    cache.changed(api_pod("a", request, record("a", main=recorded)))
    return cache


async def advice(kubelet: Kubelet, cache: PodCache, *reports: NodeReport) -> Sequence[Sequence[str]] | None:
    advisor = Advisor(kubelet, cache)
    for each in reports or [report()]:
        advisor.heard(each)
    return await advisor.advise([PAIR])


async def test_a_known_pod_gets_its_own_set() -> None:
    assert await advice(Kubelet(*LISTED), pods(UUIDS[0], UUIDS[6])) == [(UUIDS[0], UUIDS[6])]


async def test_a_kubelet_that_refuses_is_asked_again() -> None:
    assert await advice(Kubelet(*LISTED, refusals=2), pods(UUIDS[0], UUIDS[6])) == [(UUIDS[0], UUIDS[6])]


async def test_a_silent_kubelet_does_not_hold_the_answer_up() -> None:
    assert await advice(Kubelet(silent=True), pods(UUIDS[0], UUIDS[6])) == [BEST_PAIR]


async def test_a_silent_api_server_does_not_either() -> None:
    assert await advice(Kubelet(*LISTED), PodCache()) == [BEST_PAIR]


async def test_gpus_that_the_agent_knows_to_be_out_of_service_are_left_aside() -> None:
    """By its latest report, also where that speaks of the same hardware."""
    answer = await advice(Kubelet(), PodCache(), report(), report(TOPOLOGY, 0, 1, 2, 3))
    assert answer is not None
    assert set(answer[0]) <= set(UUIDS[4:])


async def test_what_was_known_of_the_hardware_stands_while_it_cannot_be_read() -> None:
    assert await advice(Kubelet(), PodCache(), report(), report(None)) == [BEST_PAIR]


async def test_without_hardware_there_is_no_advice_and_nothing_is_ready() -> None:
    advisor = Advisor(Kubelet(), PodCache())
    advisor.heard(report(None))
    assert await advisor.advise([PAIR]) is None
    assert not advisor.ready.is_set()


async def test_a_gpu_without_a_uuid_is_never_offered_and_does_no_harm() -> None:
    gpus = (replace(TOPOLOGY.gpus[0], uuid=None), *TOPOLOGY.gpus[1:])
    advisor = Advisor(Kubelet(), PodCache())
    advisor.heard(report(replace(TOPOLOGY, gpus=gpus)))
    answer = await advisor.advise([Question(UUIDS[1:], (), 2)])
    assert answer == [BEST_PAIR]


async def test_one_question_left_to_the_plugin_leaves_all_to_it() -> None:
    advisor = Advisor(Kubelet(), PodCache())
    advisor.heard(report())
    assert await advisor.advise([PAIR, Question(("MIG-1",), (), 1)]) is None


async def test_a_machine_that_the_model_does_not_fit_is_left_to_the_plugin() -> None:
    """As the extender, which makes no promise there."""
    advisor = Advisor(Kubelet(), PodCache(), WorthModels(WorthModel.EFFBW))
    advisor.heard(report(load_machine("hgx-h100")))
    assert advisor.ready.is_set()
    assert not advisor.is_able
    assert await advisor.advise([PAIR]) is None


async def test_the_choice_is_made_with_the_extenders_model() -> None:
    """Both have to decide alike."""
    question, request = Question(UUIDS[:7], (), 4), GpuRequest((ContainerRequest("main", 4),))
    for model in WorthModel:
        advisor = Advisor(Kubelet(), PodCache(), WorthModels(model))
        advisor.heard(report())
        promise = assess(tables_of(TOPOLOGY, model), 0b1111111, request, Allocation.BEST)
        assert await advisor.advise([question]) == [tuple(UUIDS[gpu] for gpu in promise.containers[0][1])]
