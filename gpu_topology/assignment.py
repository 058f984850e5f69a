"""The annotation by which the extender records its choice of GPUs on a pod, in the write that binds it.

The schema is in this package's README.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gpu_topology.annotation import VERSION, Document, decode, encode
from gpu_topology.errors import ContractError

ASSIGNED_ANNOTATION: Final = "gpu-scheduler/assigned"


@dataclass(frozen=True, slots=True)
class Assignment:
    """The GPUs that were chosen for a pod when it was bound.

    Attributes:
        pod_uid: the pod that it is about; on any other, which somebody may have copied it to, it means nothing.
        node: where the pod was bound.
        containers: each container with whole GPUs, with their UUIDs.
        bandwidth_gbps: what the slowest link in the best ring of the slowest container's set sustains, in GB/s; None
            where no container has several GPUs.
        enforced: whether the node gives the pod exactly these; else it is what the vendor's device plugin is expected
            to pick, of which only the number is sure.
    """

    pod_uid: str
    node: str
    containers: tuple[tuple[str, tuple[str, ...]], ...]
    bandwidth_gbps: float | None
    enforced: bool


def encode_assignment(assignment: Assignment) -> str:
    """The value of `gpu-scheduler/assigned`: compact JSON.

    Raises:
        OversizedError: it would not fit into an object's annotations.
    """
    return encode(ASSIGNED_ANNOTATION, _AssignmentDocument.of(assignment))


def decode_assignment(annotation: str) -> Assignment:
    """The assignment that `encode_assignment` wrote. Who wrote it, and about which pod, is for the reader to check.

    Raises:
        MalformedError, OversizedError, ForeignVersionError: it is not what `encode_assignment` writes.
    """
    return decode(ASSIGNED_ANNOTATION, annotation, _AssignmentDocument).assignment()


def assignment_of(pod: Mapping[str, Any]) -> Assignment | None:
    """What is recorded on a pod in the API server's JSON form, about this pod on its node.

    Returns:
        None where nothing is, where it cannot be read, and where it is a copy of another pod's record. Whether somebody
        else than the extender can have written it is for the caller to know.
    """
    metadata, spec = (section if isinstance(section := pod.get(key), Mapping) else {} for key in ("metadata", "spec"))
    annotations = metadata.get("annotations")
    record = annotations.get(ASSIGNED_ANNOTATION) if isinstance(annotations, Mapping) else None
    if not isinstance(record, str):
        return None
    try:
        assignment = decode_assignment(record)
    except ContractError:
        return None
    is_own = (assignment.pod_uid, assignment.node) == (metadata.get("uid"), spec.get("nodeName"))
    return assignment if is_own else None


class _AssignmentDocument(Document):
    version: Literal[1]
    pod_uid: str
    node: str
    containers: dict[str, list[str]]
    bandwidth_gbps: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    enforced: bool

    @classmethod
    def of(cls, assignment: Assignment) -> "_AssignmentDocument":
        return cls(
            version=VERSION,
            pod_uid=assignment.pod_uid,
            node=assignment.node,
            containers={name: list(uuids) for name, uuids in assignment.containers},
            bandwidth_gbps=assignment.bandwidth_gbps,
            enforced=assignment.enforced,
        )

    def assignment(self) -> Assignment:
        containers = tuple((name, tuple(uuids)) for name, uuids in self.containers.items())
        return Assignment(self.pod_uid, self.node, containers, self.bandwidth_gbps, self.enforced)
