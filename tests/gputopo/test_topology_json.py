"""The canonical JSON, whole and in part."""

from typing import Any

import orjson
import pytest
from hypothesis import given

from gpu_topology.contract import encode_topology
from gpu_topology.errors import TopologyError
from gpu_topology.topology import Gpu, NodeTopology
from gputopo.topology_json import topology_of
from tests.gpu_topology.strategies import topologies

PAIR: dict[str, Any] = {"gpus": 2, "pcie": [["X", "PIX"], ["PIX", "X"]], "nvlinks": [[0, 0], [0, 0]]}


@given(topologies())
def test_the_whole_json_gives_the_machine_back(topology: NodeTopology) -> None:
    assert topology_of(orjson.loads(encode_topology(topology))) == topology


def test_what_few_callers_know_may_be_left_out() -> None:
    topology = topology_of(PAIR)

    assert topology.gpus == (Gpu(), Gpu())
    assert topology.nvswitch is None
    assert topology.nvlinks_complete
    assert topology.nics == ()


def test_a_device_may_tell_its_model_alone() -> None:
    topology = topology_of({**PAIR, "devices": [{"product": "NVIDIA A100-SXM4-40GB"}, {}]})

    assert topology.gpus == (Gpu(product="NVIDIA A100-SXM4-40GB"), Gpu())


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "a topology must be a JSON object"),
        (None, "a topology must be a JSON object"),
        ({}, "topology: gpus: Field required"),
        ({**PAIR, "gpus": 3}, "topology: pcie: not 3 x 3"),
        ({**PAIR, "gpus": 10**18}, "topology: gpus: Input should be less than or equal to 64"),
        ({**PAIR, "gpus": "2"}, "topology: gpus: Input should be a valid integer"),
        ({**PAIR, "devices": [{}]}, "but 1 devices are listed"),
        ({**PAIR, "devices": "two"}, "topology: devices: Input should be a valid array"),
        ({**PAIR, "devices": ["a", "b"]}, "topology: devices.0: "),
        ({**PAIR, "version": 2}, "version '2'"),
        ({**PAIR, "pcie": [["X", "SOC"], ["SOC", "X"]]}, "topology: pcie.0.1"),
        ({**PAIR, "nvlinks": [[0, 1], [2, 0]]}, "nvlinks: GPU 0 and GPU 1 are linked by 1 one way and 2 the other"),
    ],
)
def test_what_is_no_machine_is_refused_in_one_sentence(document: object, message: str) -> None:
    with pytest.raises(TopologyError) as refusal:
        topology_of(document)

    assert message in str(refusal.value)
    assert "gpu-scheduler/" not in str(refusal.value)
