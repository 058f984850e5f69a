"""Every error that the project raises on purpose.

::

    GpuTopologyError
    ├── TopologyError          a description of a machine contradicts itself
    ├── DumpError              a `nvidia-smi topo -m` output cannot be read without guessing
    ├── ContractError          an annotation does not hold what it must
    │   ├── MalformedError     not JSON, cut short, a field missing or of the wrong type
    │   ├── OversizedError     larger than the API server takes
    │   └── ForeignVersionError   written by a version that this one does not speak
    ├── WishError              a pod's `gpu-scheduler/*` annotation cannot be read
    ├── PlacementError         a question about GPU sets that has no answer
    ├── SettingsError          a setting or a command-line option cannot be used
    └── SourceError            NVML, the kubelet or the API server did not answer as needed

Each message is one sentence that a person can act on. The error that caused another is chained.
"""


class GpuTopologyError(Exception):
    """The root: catch it to tell the project's own refusals from defects."""


class TopologyError(GpuTopologyError):
    """A description of a machine contradicts itself, for example a matrix that is not square."""


class DumpError(GpuTopologyError):
    """A `nvidia-smi topo -m` output cannot be read without guessing.

    Attributes:
        line: number of the offending line, from 1, or None where no single line is at fault.
        cell: the offending text, or None.
    """

    def __init__(self, message: str, *, line: int | None = None, cell: str | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.cell = cell


class ContractError(GpuTopologyError):
    """An annotation does not hold what `gpu_topology.contract` says it must.

    Attributes:
        annotation: the key of the annotation.
    """

    def __init__(self, annotation: str, message: str) -> None:
        super().__init__(f"{annotation}: {message}")
        self.annotation = annotation


class MalformedError(ContractError):
    """Not JSON, cut short, or a field is missing, of the wrong type or out of range."""


class OversizedError(ContractError):
    """Larger than an object's annotations may be together."""


class ForeignVersionError(ContractError):
    """Written by a version of the contract that this one does not speak."""


class WishError(GpuTopologyError):
    """A pod's `gpu-scheduler/*` annotation cannot be read."""


class PlacementError(GpuTopologyError):
    """A question about GPU sets that has no answer, for example a set of nine of eight GPUs."""


class SettingsError(GpuTopologyError):
    """A setting, a configuration file or a command-line option cannot be used."""


class SourceError(GpuTopologyError):
    """NVML, the kubelet or the API server did not answer as needed."""
