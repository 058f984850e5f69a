"""The agent's settings: from flags, else from environment variables that begin with TOPOLOGY_AGENT_."""

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, FilePath, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnusableSettings

from gpu_topology.contract import Allocation
from gpu_topology.errors import SettingsError
from gpu_topology.placement.models import readable
from topology_agent.device_plugin.proxy import DEFAULT_FOLDER
from topology_agent.fleet import NODE_NAME_PATTERN
from topology_agent.kubelet.client import DEFAULT_SOCKET


class OccupancySource(StrEnum):
    """Who knows which GPUs are free."""

    KUBELET = "kubelet"
    SIMULATED = "simulated"


def _downward_node_name() -> str | None:
    return os.environ.get("NODE_NAME")


class Settings(BaseSettings):
    """What an agent can be told. `python -m topology_agent --help` shows the same texts."""

    model_config = SettingsConfigDict(
        env_prefix="TOPOLOGY_AGENT_",
        cli_prog_name="python -m topology_agent",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_exit_on_error=False,
        cli_hide_none_type=True,
        use_attribute_docstrings=True,
        frozen=True,
    )

    node_name: str | None = Field(default_factory=_downward_node_name, pattern=NODE_NAME_PATTERN)
    """The node to publish on. By default NODE_NAME, which a DaemonSet sets from `spec.nodeName`."""

    dump: FilePath | None = None
    """Read the hardware from this `nvidia-smi topo -m` output instead of NVML, for a machine that is elsewhere."""

    product: str | None = None
    """The GPU model of the dump, which does not tell it; it decides how fast an NVLink is."""

    machine: str | None = None
    """Read the hardware from this machine profile instead of NVML, for a machine that does not exist."""

    simulate: FilePath | None = None
    """Play all nodes that this YAML file describes, in one process."""

    occupancy: OccupancySource | None = None
    """Who knows which GPUs are free: `kubelet`, or `simulated` from the pods bound to the node. By default the kubelet
    where the hardware is read by NVML, else simulated."""

    allocation: Allocation = Allocation.VENDOR
    """How a simulated node chooses among its free GPUs: as the `vendor` does, or our `best` set."""

    seed: int = 0
    """Of the random order in which the vendor's plugin lists a simulated node's GPUs: equal seeds, equal choices."""

    pod_resources_socket: Path = DEFAULT_SOCKET
    """The kubelet's PodResources socket: the kubelet's own default, which a DaemonSet mounts."""

    enforce: bool = False
    """Make the kubelet give pods the GPUs that their node was scored with, by standing between it and the device
    plugin, whose KUBELET_SOCKET has to be gpu-topology.sock in the device plugin folder."""

    trust_records: bool = False
    """With --enforce, and on simulated nodes with --allocation best: give a pod the GPUs that its
    gpu-scheduler/assigned annotation records. Whoever may create pods may write it, and so choose GPUs, unless an
    admission policy lets the extender alone write it: hence off by default."""

    device_plugin_folder: Path = DEFAULT_FOLDER
    """Where the kubelet and the device plugins have their sockets, with --enforce: the kubelet's own default, which a
    DaemonSet mounts."""

    worth_model: Annotated[str, AfterValidator(readable)] = "ring"
    """How the worth of a set of GPUs is computed, with --enforce: as the extender's GPU_SCHEDULER_WORTH_MODEL says, for
    both have to decide alike."""

    kubelet_config: Path | None = None
    """The kubelet's configuration file, where it is mounted: the Topology Manager's policy and scope are logged."""

    sysfs_root: Path = Path("/sys")
    """Where the kernel's sysfs is: NUMA nodes and network cards are read there. In a pod, the host's /sys mounted at
    another place, for a pod's own lacks the host's network cards."""

    poll_seconds: float = Field(default=2.0, ge=0.1, le=300)
    """Seconds between two looks at the kubelet, which tells nobody of changes. When the API server tells of a pod with
    GPUs that comes or goes, it is asked at once. Two calls each time; the kubelet takes 100 a second."""

    settle_seconds: float = Field(default=5.0, ge=0, le=300)
    """Seconds after the kubelet came up in which GPUs that it no longer lists still count as held: for about one second
    it lists none, though pods hold them."""

    resync_seconds: float = Field(default=300.0, ge=1, le=86_400)
    """Seconds between two readings of the hardware and of the node's annotations, in case a change was missed."""

    watch_xids: bool = True
    """Follow the XID errors that the driver reports. NVML is then open all the time, and a driver cannot be unloaded
    until the agent has ended."""

    lease_namespace: str = Field(default="gpu-topology-agent", pattern=NODE_NAME_PATTERN)
    """The namespace of the agent's lease, which has the node's name and tells that the agent lives."""

    writers: int = Field(default=8, ge=1, le=64)
    """Patches at the same time: more would press the API server when many nodes are simulated."""

    kubeconfig: FilePath | None = None
    """The kubeconfig to use. By default the pod's service account, else the user's own kubeconfig."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe lines to log."""

    log_format: Literal["json", "console"] = "json"
    """`json` for a log collector, `console` for a person."""

    once: bool = False
    """Publish once and end, instead of going on."""

    print: bool = False
    """With --once: print what would be published, one JSON object a node, and do not touch the cluster. A simulated
    node is shown as if no pod was bound to it."""

    @property
    def is_simulated(self) -> bool:
        """Whether free GPUs come from the pods bound to the node."""
        if self.occupancy is None:
            return not self.is_nvml
        return self.occupancy is OccupancySource.SIMULATED

    @property
    def is_nvml(self) -> bool:
        """Whether the hardware is read by NVML."""
        return self.dump is None and self.machine is None and self.simulate is None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if sum(source is not None for source in (self.dump, self.machine, self.simulate)) > 1:
            raise ValueError("give only one of --dump, --machine and --simulate")
        if self.product is not None and self.dump is None:
            raise ValueError("--product goes with --dump: the other sources know the GPU model")
        if self.simulate is None and self.node_name is None:
            raise ValueError("give --node-name, or set NODE_NAME")
        if self.simulate is not None and self.occupancy is OccupancySource.KUBELET:
            raise ValueError("--simulate has no kubelet to ask: leave --occupancy out")
        if self.enforce and (self.is_simulated or self.once):
            raise ValueError("--enforce needs a kubelet, and time: leave out --once and simulated nodes")
        if self.print and not self.once:
            raise ValueError("--print goes with --once")
        return self


def load_settings(arguments: Sequence[str]) -> Settings:
    """The settings from the command line's arguments and the environment.

    Raises:
        SettingsError: an option is unknown or a value cannot be used; one line says which.
    """
    try:
        return Settings(_cli_parse_args=list(arguments))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        option = "".join(f"--{str(part).replace('_', '-')}: " for part in first["loc"][:1])
        raise SettingsError(option + first["msg"].removeprefix("Value error, ")) from error
    except UnusableSettings as error:
        raise SettingsError(" ".join(str(error).split())) from error
    except OSError as error:  # of a name that no file can have
        raise SettingsError(f"{str(error.filename)[:80]!r} cannot be looked at: {error.strerror}") from error
