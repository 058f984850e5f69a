"""Outputs of `nvidia-smi topo -m`: small ones made up here, real ones from beside the repository."""

import csv
import re
from pathlib import Path

from tests.shared_data import SHARED

PAIRS = """\
\tGPU0\tGPU1\tGPU2\tGPU3\tNIC0\tCPU Affinity\tNUMA Affinity
GPU0\t X \tNV4\tPIX\tSYS\tPIX\t0-31\t0
GPU1\tNV4\t X \tPHB\tSYS\tNODE\t0-31\t0
GPU2\tPIX\tPHB\t X \tNV4\tSYS\t0-31\t0
GPU3\tSYS\tSYS\tNV4\t X \tSYS\t32-63\t1
NIC0\tPIX\tNODE\tSYS\tSYS\t X
"""
"""Two pairs with NVLinks; GPU 3 is on the other socket."""

WITHOUT_NVLINK = """\
\tGPU0\tGPU1\tCPU Affinity
GPU0\t X \tSOC\t0-7
GPU1\tSOC\t X \t8-15

Legend:
  SOC  = Connection traversing PCIe as well as the SMP link
"""

_LINK = re.compile(r"X|SYS|SOC|NODE|PHB|PXB|PIX|PSB|NV[0-9]+")


def good_dumps() -> list[Path]:
    """The real outputs that are whole, or none where they are not beside the repository."""
    index = SHARED / "topologies" / "INDEX.tsv"
    if not index.exists():
        return []
    with index.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [index.parent / row["file"] for row in rows if row["status"] == "good"]


def cells(text: str) -> list[list[str]]:
    """The cells between GPUs of a whole output, by splitting its lines at blanks."""
    plain = re.sub("[\x1b\ufffd]\\[[0-9]*m", "", text)
    words = [re.sub("^[# ]+|[|]", " ", line).split() for line in plain.splitlines()]
    rows = [row[1:] for row in words if len(row) > 1 and row[0].startswith("GPU") and _LINK.fullmatch(row[1])]
    return [[cell.replace("SOC", "SYS") for cell in row[: len(rows)]] for row in rows]
