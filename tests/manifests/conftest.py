"""A cluster that has the manifests."""

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.control_plane.cluster import ControlPlane
from tests.manifests.files import BASE
from tests.manifests.kubectl import Kubectl
from tests.manifests.policies import wait_for_the_policy_of_records
from tests.manifests.service_accounts import Account, connect_as


@pytest.fixture(scope="package")
def control_plane(
    control_plane_programs: None,  # noqa: ARG001  for its skip
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ControlPlane]:
    """One of its own: the admission policies of the manifests would be in the way of other tests."""
    with ControlPlane(tmp_path_factory.mktemp("manifests")) as running:
        yield running


@pytest.fixture(scope="package")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """Kubectl on a cluster that has the manifests, with their policies in force."""
    run = Kubectl(control_plane.kubeconfig())
    run.apply("-k", str(BASE))
    wait_for_the_policy_of_records(run)
    return run


@pytest.fixture
def account(control_plane: ControlPlane, kubectl: Kubectl) -> Iterator[Account]:  # noqa: ARG001  makes the accounts
    """Connects as a service account of the manifests."""
    with ExitStack() as connections:

        def connect(namespace: str, name: str, pod: str | None = None) -> httpx.Client:
            return connections.enter_context(connect_as(control_plane, namespace, name, pod=pod))

        yield connect
