"""What a real kubelet needs."""

from tests.kubelet.conftest import (  # noqa: F401  fixtures, and the hook that builds the programs before the first test
    fake_nvml,
    gpu_node_of,
    kubelet_programs,
    node_folder,
    node_of,
    pytest_collection_finish,
)
