"""The choice of a container's GPUs: always one that the kubelet can make, and the one that was promised."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_topology.contract import Allocation
from gpu_topology.placement import assess, mask_of, tables_of
from gpu_topology.placement.choose import pod_worth
from gpu_topology.request import Communication, ContainerKind, ContainerRequest, GpuRequest, Require, Wishes
from topology_agent.device_plugin.decide import Machine, Question, decide
from topology_agent.device_plugin.identify import Subject
from topology_agent.profiles import load_machine


def machine_of(name: str) -> Machine:
    topology = load_machine(name)
    return Machine(tables_of(topology), tuple(f"GPU-{index}" for index in range(len(topology))))


MACHINES = [machine_of(name) for name in ("dgx-1v", "bridged-pairs-8", "pcie-8", "hgx-h100", "p4-nvlink-4")]
DGX = MACHINES[0]

machines = st.sampled_from(MACHINES)
wishes = st.builds(
    Wishes,
    min_bandwidth_gbps=st.sampled_from([0.0, 20.0, 48.0, 1000.0]),
    require=st.sampled_from(Require),
    communication=st.none() | st.sampled_from(Communication),
)


@st.composite
def requests(draw: st.DrawFn) -> GpuRequest:
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    first = draw(st.lists(st.sampled_from(ContainerKind), min_size=len(sizes), max_size=len(sizes)))
    kinds = sorted(first, key=lambda kind: kind is ContainerKind.MAIN)
    containers = (
        ContainerRequest(f"c{index}", size, kind) for index, (size, kind) in enumerate(zip(sizes, kinds, strict=True))
    )
    return GpuRequest(tuple(containers), draw(wishes))


@st.composite
def questions(draw: st.DrawFn, machine: Machine) -> Question:
    available = draw(st.permutations(machine.uuids))[: draw(st.integers(1, len(machine.uuids)))]
    size = draw(st.integers(1, len(available)))
    required = available[: draw(st.integers(0, size))]
    return Question(tuple(available), tuple(required), size)


def subject(request: GpuRequest, position: int = 0, held: Sequence[str] = (), assigned: Sequence[str] = ()) -> Subject:
    return Subject("default/a", request, position, frozenset(held), frozenset(assigned))


def mask(machine: Machine, uuids: Sequence[str]) -> int:
    return mask_of(machine.uuids.index(uuid) for uuid in uuids)


def admit(machine: Machine, free: Sequence[str], request: GpuRequest) -> list[tuple[str, ...]]:
    """What a pod's containers get of a kubelet that asks us, without NUMA alignment."""
    rest, reusable, listed, got = list(free), list[str](), list[str](), list[tuple[str, ...]]()
    for position, container in enumerate(request.containers):
        devices = tuple(reusable[: container.gpus])
        if len(devices) < container.gpus:
            question = Question((*rest, *devices), devices, container.gpus)
            answer = decide(machine, question, subject(request, position, listed))
            assert answer is not None
            devices = answer
        rest = [device for device in rest if device not in devices]
        reusable = [device for device in reusable if device not in devices]
        if container.kind is ContainerKind.INIT:
            reusable.extend(devices)
        else:
            listed.extend(devices)
        got.append(tuple(sorted(devices)))
    return got


@given(st.data(), machines, st.none() | requests())
def test_the_kubelet_can_always_make_the_choice(data: st.DataObject, machine: Machine, request: GpuRequest) -> None:
    """Of the available ones, with the required ones, of the right size; whoever asks, whatever is recorded."""
    question = data.draw(questions(machine))
    asking = None
    if request is not None:
        recorded = data.draw(st.lists(st.sampled_from(machine.uuids), max_size=question.size, unique=True))
        first = replace(request.containers[0], gpus=question.size)
        asking = subject(GpuRequest((first, *request.containers[1:]), request.wishes), assigned=recorded)
    out_of_service = data.draw(st.frozensets(st.integers(0, len(machine.uuids) - 1)))
    chosen = decide(replace(machine, out_of_service=out_of_service), question, asking)
    assert chosen is not None
    assert len(set(chosen)) == len(chosen) == question.size
    assert set(question.required) <= set(chosen) <= set(question.available)


@given(st.data(), machines, requests())
def test_a_pod_gets_what_assess_promises(data: st.DataObject, machine: Machine, request: GpuRequest) -> None:
    """Container by container, though the kubelet asks for one at a time and shows no init container."""
    free = data.draw(st.lists(st.sampled_from(machine.uuids), unique=True))
    promise = assess(machine.tables, mask(machine, free), request, Allocation.BEST)
    if promise.refusal is not None or not promise.predictable:
        return
    got = admit(machine, free, request)
    assert [mask(machine, gpus) for gpus in got] == [mask_of(gpus) for _, gpus in promise.containers]
    assert pod_worth(machine.tables, [mask(machine, gpus) for gpus in got]) == promise.worth


@given(st.data(), machines)
def test_an_unknown_container_gets_the_best_set_of_its_size(data: st.DataObject, machine: Machine) -> None:
    """With default wishes."""
    question = replace(data.draw(questions(machine)), required=())
    request = GpuRequest((ContainerRequest("", question.size),))
    promise = assess(machine.tables, mask(machine, question.available), request, Allocation.BEST)
    chosen = decide(machine, question, None)
    assert chosen is not None
    assert machine.tables.worth(mask(machine, chosen)) == promise.worth


def test_a_recorded_set_is_served_even_if_another_is_better() -> None:
    question = Question(DGX.uuids, (), 2)
    request = GpuRequest((ContainerRequest("a", 2),))
    assert decide(DGX, question, subject(request, assigned=["GPU-0", "GPU-5"])) == ("GPU-0", "GPU-5")


@pytest.mark.parametrize(
    ("recorded", "required"),
    [(["GPU-0"], []), (["GPU-0", "GPU-7"], []), (["GPU-0", "GPU-1"], ["GPU-2"]), (["GPU-0", "GPU-x"], [])],
    ids=["too few", "taken", "without what is required", "of another node"],
)
def test_a_recorded_set_that_cannot_be_had_is_passed_over(recorded: list[str], required: list[str]) -> None:
    available = tuple(uuid for uuid in DGX.uuids if uuid != "GPU-7")
    request = GpuRequest((ContainerRequest("a", 2),))
    question = Question(available, tuple(required), 2)
    assert decide(DGX, question, subject(request, assigned=recorded)) == decide(DGX, question, subject(request))


def test_gpus_out_of_service_are_left_aside_while_others_suffice() -> None:
    """The device plugin may not have noticed, or a person has cordoned them."""
    cordoned = replace(DGX, out_of_service=frozenset(range(4)))
    assert set(decide(cordoned, Question(DGX.uuids, (), 4), None) or ()) == {"GPU-4", "GPU-5", "GPU-6", "GPU-7"}
    assert len(decide(cordoned, Question(DGX.uuids, (), 5), None) or ()) == 5


def test_a_wish_is_kept_where_it_can_be() -> None:
    """This pod would otherwise be given the pair that leaves the better one to others."""
    containers = (ContainerRequest("a", 2),)
    quiet = GpuRequest(containers, Wishes(communication=Communication.NONE))
    fast = GpuRequest(containers, Wishes(min_bandwidth_gbps=40, communication=Communication.NONE))
    impossible = GpuRequest(containers, Wishes(min_bandwidth_gbps=400, communication=Communication.NONE))
    question = Question(("GPU-0", "GPU-5", "GPU-7", "GPU-3"), (), 2)
    assert decide(DGX, question, subject(quiet)) == ("GPU-5", "GPU-7")
    assert decide(DGX, question, subject(fast)) == ("GPU-0", "GPU-3")
    assert decide(DGX, question, subject(impossible)) == ("GPU-0", "GPU-3")


def test_where_alignment_leaves_too_few_for_the_later_containers_the_first_is_served_for_itself() -> None:
    request = GpuRequest((ContainerRequest("a", 2), ContainerRequest("b", 4)))
    chosen = decide(DGX, Question(("GPU-0", "GPU-1", "GPU-3"), (), 2), subject(request))
    assert chosen == ("GPU-0", "GPU-3")


@pytest.mark.parametrize(
    "question",
    [
        Question(("GPU-0::1", "GPU-0::2"), (), 1),
        Question(("GPU-0", "MIG-1"), (), 1),
        Question(("GPU-0", "GPU-1"), ("GPU-x",), 2),
        Question(("GPU-0", "GPU-1"), (), 3),
        Question(("GPU-0", "GPU-1"), ("GPU-0", "GPU-1"), 1),
    ],
    ids=["replicas", "parts", "foreign", "too few", "too many required"],
)
def test_what_is_not_ours_to_decide_is_left_alone(question: Question) -> None:
    assert decide(DGX, question, None) is None
