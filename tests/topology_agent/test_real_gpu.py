"""The agent's reading of the GPUs of this very machine, compared with the driver's own tool."""

import os
import shutil
import subprocess

import pytest

from gpu_topology.errors import SourceError
from gpu_topology.nvidia_smi import parse_topology_matrix
from gpu_topology.topology import NodeTopology
from topology_agent.sources.nvml import Reading, read_node

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def reading() -> Reading:
    try:
        return read_node()
    except SourceError as error:
        pytest.skip(f"This machine has no GPU to read: {error}")


@pytest.fixture(scope="module")
def matrix() -> NodeTopology:
    """What `nvidia-smi topo -m` shows."""
    if shutil.which("nvidia-smi") is None:
        pytest.skip("nvidia-smi is not installed.")
    shown = subprocess.run(
        ["nvidia-smi", "topo", "-m"], env=os.environ | {"LC_ALL": "C"}, capture_output=True, text=True, check=True
    )
    return parse_topology_matrix(shown.stdout).topology


def test_the_reading_shows_the_links_that_nvidia_smi_shows(reading: Reading, matrix: NodeTopology) -> None:
    assert len(reading.topology) == len(matrix)
    for first, second in matrix.pairs():
        assert reading.topology.token(first, second) == matrix.token(first, second)


def test_the_gpus_of_the_reading_are_those_that_nvidia_smi_lists(reading: Reading) -> None:
    query = ["nvidia-smi", "--query-gpu=uuid,name,memory.total", "--format=csv,noheader,nounits"]
    shown = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    gpus = reading.topology.gpus
    assert [f"{gpu.uuid}, {gpu.product}, {gpu.memory_mib}" for gpu in gpus] == shown


def test_every_gpu_answers_and_has_a_place(reading: Reading) -> None:
    assert not reading.unhealthy
    assert all(gpu.pci_bus_id is not None for gpu in reading.topology.gpus)
