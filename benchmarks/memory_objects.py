"""Nodes and pods in the API server's JSON form, as large as real ones are: most of it is of no use to an extender."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import NAMESPACE_DNS, uuid5

from benchmarks.synthetic_cluster import node
from gpu_topology.contract import (
    STATE_ANNOTATION,
    TOPOLOGY_ANNOTATION,
    Allocation,
    Holder,
    NodeState,
    encode_state,
    encode_topology,
    topology_hash,
)
from gpu_topology.request import GPU_RESOURCE
from gpu_topology.topology import NodeTopology
from topology_agent.simulation import with_uuids

NAMESPACES: Final = 50
PODS_PER_OWNER: Final = 4
_CREATED: Final = datetime.now(UTC) - timedelta(hours=1)


class GpuMachine(NamedTuple):
    """A node that never changes: its name, the UUIDs of its GPUs and its topology annotation."""

    name: str
    uuids: tuple[str, ...]
    topology: str

    @classmethod
    def of(cls, name: str, topology: NodeTopology) -> "GpuMachine":
        """A machine of this profile, with UUIDs of its own."""
        own = with_uuids(topology, name)
        return cls(name, tuple(str(gpu.uuid) for gpu in own.gpus), encode_topology(own))


class PodRow(NamedTuple):
    """What distinguishes one pod from the others.

    Attributes:
        number: gives it its name, namespace, UID and owner.
        node: name of the node that it is bound to.
        uuid: of the GPU that it has; None for a pod without one.
        phase: "Pending", "Running" or "Succeeded".
    """

    number: int
    node: str
    uuid: str | None
    phase: str = "Running"

    @property
    def namespace(self) -> str:
        """The pod's."""
        return f"team-{self.number % NAMESPACES}"

    @property
    def name(self) -> str:
        """As a controller makes it."""
        return f"train-{self.number // PODS_PER_OWNER:08x}-{self.number % PODS_PER_OWNER}-x7k2q"

    @property
    def key(self) -> str:
        """As an agent names it: "<namespace>/<name>"."""
        return f"{self.namespace}/{self.name}"


def node_object(machine: GpuMachine, holders: tuple[str | None, ...], sequence: int, version: int) -> dict[str, Any]:
    """A node whose agent has published.

    Args:
        machine: the node.
        holders: for each GPU "<namespace>/<name>" of the pod that has it, or None.
        sequence: of the agent's report.
        version: the resource version.
    """
    state = NodeState(
        topology_hash=topology_hash(machine.topology),
        sequence=sequence,
        free=tuple(gpu for gpu, pod in enumerate(holders) if pod is None),
        held=tuple(Holder(pod, "main", (gpu,)) for gpu, pod in enumerate(holders) if pod is not None),
        allocation=Allocation.BEST,
    )
    annotations = {
        **_NODE_ANNOTATIONS,
        TOPOLOGY_ANNOTATION: machine.topology,
        STATE_ANNOTATION: encode_state(state),
    }
    made = node(machine.name, len(holders), annotations)
    made["metadata"] |= {
        "resourceVersion": str(version),
        "creationTimestamp": _time(0),
        "labels": {**_NODE_LABELS, "kubernetes.io/hostname": machine.name},
        "managedFields": [_managed(manager) for manager in ("kubelet", "kube-controller-manager", "topology-agent")],
    }
    made["spec"] = {"podCIDR": "10.0.0.0/24", "providerID": f"cloud://{machine.name}"}
    made["status"] |= {"conditions": _CONDITIONS, "images": _IMAGES, "nodeInfo": _NODE_INFO}
    return made


def pod_object(pod: PodRow, version: int) -> dict[str, Any]:
    """A pod that is bound, with one container and a sidecar, of a controller."""
    owner = str(uuid5(NAMESPACE_DNS, f"owner-{pod.number // PODS_PER_OWNER}"))
    app = f"train-{pod.number // PODS_PER_OWNER:08x}"
    resources = {"cpu": "8", "memory": "64Gi"} | ({} if pod.uuid is None else {GPU_RESOURCE: "1"})
    return {
        "metadata": {
            "name": pod.name,
            "generateName": f"{app}-",
            "namespace": pod.namespace,
            "uid": str(uuid5(NAMESPACE_DNS, pod.key)),
            "resourceVersion": str(version),
            "creationTimestamp": _time(pod.number),
            "labels": {**_POD_LABELS, "app": app, "batch.kubernetes.io/job-name": app, "controller-uid": owner},
            "annotations": {"gpu-scheduler/communication": "heavy", "example/checksum": owner, **_POD_ANNOTATIONS},
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": app, "uid": owner, "controller": True}
            ],
            "managedFields": [_managed(manager) for manager in ("kube-controller-manager", "kubelet")],
        },
        "spec": {
            "nodeName": pod.node,
            "schedulerName": "gpu-scheduler",
            "serviceAccountName": "default",
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 30,
            "containers": [_container("main", resources), _container("logs", {"cpu": "100m", "memory": "64Mi"})],
            "volumes": _VOLUMES,
            "tolerations": _TOLERATIONS,
        },
        "status": _pod_status(pod),
    }


def _pod_status(pod: PodRow) -> dict[str, Any]:
    scheduled_at = _time(pod.number)
    bound = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": scheduled_at}
    if pod.phase == "Pending":
        return {"phase": pod.phase, "conditions": [bound], "qosClass": "Burstable"}
    running = {"running": {"startedAt": scheduled_at}}
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": scheduled_at, "finishedAt": _now()}}
    state = running if pod.phase == "Running" else ended
    main = _container_status("main", state)
    if pod.uuid is not None:
        main["allocatedResourcesStatus"] = [
            {"name": GPU_RESOURCE, "resources": [{"resourceID": pod.uuid, "health": "Healthy"}]}
        ]
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
    return {
        "phase": pod.phase,
        "qosClass": "Burstable",
        "startTime": scheduled_at,
        "hostIP": "10.1.2.3",
        "podIP": "10.0.0.17",
        "conditions": [*(dict(bound, type=kind) for kind in kinds), bound],
        "containerStatuses": [main, _container_status("logs", state)],
    }


def _container_status(name: str, state: dict[str, Any]) -> dict[str, Any]:
    digest = "registry.example/train@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    return {
        "name": name,
        "state": state,
        "lastState": {},
        "ready": True,
        "restartCount": 0,
        "image": "registry.example/train:1",
        "imageID": digest,
        "containerID": "containerd://2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
        "started": True,
    }


def _container(name: str, resources: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": "registry.example/train:1",
        "command": ["python", "-m", "train", "--config", "/etc/train/config.yaml"],
        "env": [{"name": f"TRAIN_SETTING_{index}", "value": f"value-{index}"} for index in range(12)],
        "resources": {"limits": resources, "requests": resources},
        "volumeMounts": [{"name": volume["name"], "mountPath": f"/mnt/{volume['name']}"} for volume in _VOLUMES],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }


def _managed(manager: str) -> dict[str, Any]:
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, **{f"f:label-{index}": {} for index in range(8)}}},
            "f:status": {f'k:{{"type":"Condition{index}"}}': {".": {}, "f:status": {}} for index in range(8)},
        },
    }


def _time(number: int) -> str:
    """A moment within the hour before this process began, as the API server writes it."""
    return (_CREATED + timedelta(seconds=number % 3600)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_NODE_ANNOTATIONS: Final = {
    "node.alpha.kubernetes.io/ttl": "0",
    "volumes.kubernetes.io/controller-managed-attach-detach": "true",
    "csi.volume.kubernetes.io/nodeid": '{"block.example":"i-0123456789abcdef0","files.example":"i-0123456789abcdef0"}',
}
_NODE_LABELS: Final = {
    "kubernetes.io/arch": "amd64",
    "kubernetes.io/os": "linux",
    "topology.kubernetes.io/region": "eu-central",
    "topology.kubernetes.io/zone": "eu-central-1a",
    **{f"nvidia.com/gpu.feature-{index}": "true" for index in range(25)},
}
_NODE_INFO: Final = {
    "kernelVersion": "6.8.0-generic",
    "osImage": "Linux",
    "containerRuntimeVersion": "containerd://2.1.0",
    "kubeletVersion": "v1.36.3",
    "architecture": "amd64",
}
_IMAGES: Final = [
    {
        "names": [f"registry.example/image-{index}@sha256:{index:064x}", f"registry.example/image-{index}:1.0"],
        "sizeBytes": 10**9 + index,
    }
    for index in range(50)
]
"""As many as the kubelet names (its nodeStatusMaxImages)."""
_CONDITIONS: Final = [
    {
        "type": kind,
        "status": "False",
        "reason": f"KubeletHasNo{kind}",
        "message": f"kubelet has no {kind}",
        "lastHeartbeatTime": "2026-01-01T00:00:00Z",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
]
_POD_LABELS: Final = {f"team.example/label-{index}": f"value-{index}" for index in range(6)}
_POD_ANNOTATIONS: Final = {"example/config": "a line of somebody's configuration, " * 8}
_VOLUMES: Final = [
    {"name": "config", "configMap": {"name": "train-config", "defaultMode": 420}},
    {"name": "data", "persistentVolumeClaim": {"claimName": "training-data"}},
    {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Gi"}},
    {"name": "kube-api-access-x7k2q", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
]
_TOLERATIONS: Final = [
    {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
    {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
    {"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"},
]
