"""A cluster, its jobs and what is expected of the policies, as a YAML file says it.

    description: a mixed cluster under the sizes and durations of the ITP trace
    nodes: {hgx-h100: 16, pcie-8: 16}          # machine profiles, or paths of `nvidia-smi topo -m` dumps
    jobs: {generator: itp, count: 3000}        # or {trace: jobs.csv}
    load: 0.9                                  # GPU-seconds asked for, over those that the cluster has; or as traced
    seeds: 3
    thresholds:                                # policy to figure to its bounds
      extender-best: {bandwidth_share_mean: {at_least: 0.7}}

Relative paths begin in the file's folder.
"""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gpu_topology.errors import SettingsError
from simulator.comparison import Comparison
from simulator.generators import DISTRIBUTIONS
from simulator.machines import nodes_of
from simulator.metrics import Figures
from simulator.policies import POLICIES
from simulator.scenario import Generated, Scenario, Traced

FOLDER: Final = Path(__file__).parent / "workloads"
"""The workloads that come with the project."""

_FIGURES: Final = frozenset(field.name for field in fields(Figures))


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Bounds(_Document):
    """Between what a figure is expected to be, in the mean over the seeds; None is unbounded."""

    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        bounds = {"at least": self.at_least, "at most": self.at_most}
        return " and ".join(f"{name} {bound:g}" for name, bound in bounds.items() if bound is not None)

    def admit(self, value: float) -> bool:
        """Whether a figure is within the bounds."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


class JobSource(_Document):
    """Where jobs come from: a generator or a trace."""

    generator: str | None = None
    count: Annotated[int, Field(gt=0)] = 3000
    trace: str | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "JobSource":
        if (self.generator is None) == (self.trace is None):
            raise ValueError("jobs must have either a generator or a trace")
        if self.generator is not None and self.generator not in DISTRIBUTIONS:
            raise ValueError(f"the generators are {', '.join(DISTRIBUTIONS)}")
        return self


class Workload(_Document):
    """A workload.

    Attributes:
        folder: where relative paths begin.
    """

    description: str
    nodes: Annotated[dict[str, Annotated[int, Field(gt=0)]], Field(min_length=1)]
    jobs: JobSource
    load: Annotated[float, Field(gt=0)] | None = None
    seeds: Annotated[int, Field(gt=0)] = 3
    thresholds: dict[str, dict[str, Bounds]] = {}
    folder: Path = Path()

    @model_validator(mode="after")
    def _thresholds_are_known(self) -> "Workload":
        for policy, bounds in self.thresholds.items():
            if policy not in POLICIES:
                raise ValueError(f"thresholds: the policies are {', '.join(POLICIES)}")
            if unknown := sorted(bounds.keys() - _FIGURES):
                raise ValueError(f"thresholds: {unknown[0]} is none of the figures {', '.join(sorted(_FIGURES))}")
        return self

    def scenario(self, name: str) -> Scenario:
        """What is simulated.

        Args:
            name: of the workload.

        Raises:
            SettingsError, DumpError: see `nodes_of`.
        """
        if self.jobs.trace is None:
            source: Generated | Traced = Generated(str(self.jobs.generator), self.jobs.count)
        else:
            source = Traced(self.folder / self.jobs.trace)
        return Scenario(name, self.description, nodes_of(self.nodes, self.folder), source, self.load)

    def broken_thresholds(self, comparison: Comparison) -> list[str]:
        """Each threshold that a policy that was run does not keep, as a sentence."""
        return [
            f"{comparison.scenario.name}: {policy}: {figure} is {value:.4g}, which should be {bounds}"
            for policy, expected in self.thresholds.items()
            if policy in comparison.samples
            for figure, bounds in expected.items()
            if not bounds.admit(value := comparison.estimates(policy)[figure].mean)
        ]


def read_workload(file: Path) -> Workload:
    """The workload in a file.

    Raises:
        SettingsError: it cannot be read, or says something that no workload can; the message names the field.
    """
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        return Workload.model_validate({**document, "folder": file.parent})
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, TypeError) as error:
        raise SettingsError(f"{file} is not a YAML mapping: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise SettingsError(f"{file}: {where}: {first['msg']}") from error


def shipped_workloads() -> dict[str, Path]:
    """The workloads that come with the project: name to file."""
    return {file.stem: file for file in sorted(FOLDER.glob("*.yaml"))}
