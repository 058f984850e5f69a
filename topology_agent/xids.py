"""The XID errors of the NVIDIA driver, and which of them mean that a GPU is lost to pods."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

APPLICATION_XIDS: Final = frozenset({13, 31, 43, 45, 68, 109})
"""Errors of the program that ran, after which the GPU is as good as before: those that NVIDIA's device plugin passes
over (NVIDIA/k8s-device-plugin, internal/rm/health.go)."""

LOST_GPU_XIDS: Final[Mapping[int, str]] = {
    46: "stopped processing",
    48: "double-bit ECC error",
    62: "internal micro-controller halted",
    64: "memory could not be remapped",
    79: "fell off the bus",
    95: "uncontained memory error",
    110: "security fault",
    119: "its system processor (GSP) does not answer",
    120: "error of its system processor (GSP)",
    140: "unrecovered ECC error",
    143: "could not be initialised",
    156: "a defective part is retired at the next reset",
    158: "fatal timeout",
}
"""XID to what happened, in our words. These are the errors of a GPU by itself for which NVIDIA's XID catalogue
(docs.nvidia.com/deploy/xid-errors, "Analyzing Xid Errors with the Xid Catalog") names a reset of the GPU or a restart
of the machine as the immediate action; for 48 it says so in the text.

Left out on purpose: 109, for which the catalogue names a reset too, but which the device plugin passes over; and the
errors of NVLinks (74, 136, 144 to 150, 155), after which the links are read again and published as they are. What is in
neither table takes away no GPU by itself. The hardware is read again, and a GPU that the device plugin gives up for
such an error is missing from what it offers to the kubelet, where it is seen too."""


@dataclass(frozen=True, slots=True)
class XidEvent:
    """An XID error at run time.

    Attributes:
        gpu: its index; None where NVML did not tell it in a way that is known.
        xid: the number.
    """

    gpu: int | None
    xid: int

    @property
    def is_of_an_application(self) -> bool:
        """Whether only the program that ran is at fault."""
        return self.xid in APPLICATION_XIDS

    @property
    def loss(self) -> str | None:
        """Why the GPU is lost, for a person to read; None where it is not."""
        happened = LOST_GPU_XIDS.get(self.xid)
        return None if happened is None else f"XID {self.xid}: {happened}"
