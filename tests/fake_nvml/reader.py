"""Reading machines through the fake library in a process of its own, and what a reading gave."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from gpu_topology.contract import decode_topology
from gpu_topology.topology import NodeTopology

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Result:
    """What reading one machine gave: a topology, or an error."""

    topology: NodeTopology | None = None
    unhealthy: dict[int, str] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    mig_parents: dict[str, int] = field(default_factory=dict)
    source_error: str | None = None
    cause: str | None = None

    @classmethod
    def parse(cls, line: str) -> "Result":
        document = json.loads(line)
        if "source_error" in document:
            return cls(source_error=document["source_error"], cause=document["cause"])
        unhealthy, faults = (
            {int(gpu): reason for gpu, reason in document[key].items()} for key in ("unhealthy", "faults")
        )
        return cls(decode_topology(document["topology"]), unhealthy, faults, document["mig_parents"])

    @property
    def known(self) -> NodeTopology:
        assert self.topology is not None, self.source_error
        return self.topology


class Reader:
    """A process that reads machines through the library in a folder; see `tests.fake_nvml.read_machines`."""

    def __init__(self, library_folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.fake_nvml.read_machines"],
            cwd=REPOSITORY,
            env=os.environ | {"LD_LIBRARY_PATH": str(library_folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def read(self, sysfs_root: Path, machine_file: Path) -> Result:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{sysfs_root}\t{machine_file}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the reading ended with an exception:\n{self._process.communicate()[1]}"
        return Result.parse(line)

    def close(self) -> None:
        """Let the process end, which it does at the end of its input."""
        self._process.communicate()
