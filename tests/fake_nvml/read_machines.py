"""Read machines through the fake library, one after the other, as an agent does whose driver is restarted.

`python -m tests.fake_nvml.read_machines` takes lines "<sysfs root> TAB <machine file>" and answers each with a JSON
object in one line: `topology` (the annotation), `unhealthy`, `faults` and `mig_parents`, or `source_error` and the
name of its `cause`. LD_LIBRARY_PATH names the library's folder.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from gpu_topology.contract import encode_topology
from gpu_topology.errors import SourceError
from topology_agent.sources.nvml import read_node


def read(sysfs_root: Path) -> dict[str, Any]:
    """The reading of the machine that FAKE_NVML_MACHINE names, for JSON."""
    try:
        reading = read_node(sysfs_root)
    except SourceError as error:
        return {"source_error": str(error), "cause": type(error.__cause__).__name__}
    return {
        "topology": encode_topology(reading.topology),
        "unhealthy": dict(reading.unhealthy),
        "faults": dict(reading.faults),
        "mig_parents": dict(reading.mig_parents),
    }


def main() -> None:
    """Read each machine and print it."""
    for line in sys.stdin:
        sysfs_root, machine = line.rstrip("\n").split("\t")
        os.environ["FAKE_NVML_MACHINE"] = machine
        sys.stdout.write(json.dumps(read(Path(sysfs_root))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
