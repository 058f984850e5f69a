"""How the kubelet places containers on NUMA nodes, from its configuration file."""

from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gpu_topology.errors import SourceError


@dataclass(frozen=True, slots=True)
class TopologyManager:
    """The kubelet's Topology Manager.

    Attributes:
        policy: "none", "best-effort", "restricted" or "single-numa-node"; the kubelet may learn others.
        scope: "container" or "pod": what is aligned as one.
    """

    policy: str
    scope: str


class _Document(BaseModel):
    """The fields of a KubeletConfiguration (kubelet.config.k8s.io/v1beta1) that are read, with its own defaults."""

    model_config = ConfigDict(extra="ignore")

    kind: str = Field(pattern="^KubeletConfiguration$")
    policy: str = Field(default="none", alias="topologyManagerPolicy")
    scope: str = Field(default="container", alias="topologyManagerScope")


def read_topology_manager(path: Path) -> TopologyManager:
    """The Topology Manager as the file sets it. Flags of the kubelet, which win over the file, are not seen.

    Raises:
        SourceError: the file cannot be read or holds no KubeletConfiguration.
    """
    try:
        document = _Document.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        raise SourceError(f"{path} is no kubelet configuration: {field}: {first['msg']}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SourceError(
            f"{path} cannot be read as a kubelet configuration: {' '.join(str(error).split())}"
        ) from error
    return TopologyManager(document.policy, document.scope)
