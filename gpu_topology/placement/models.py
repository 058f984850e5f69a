"""Which worth model judges which machines."""

from dataclasses import dataclass
from typing import Final

from gpu_topology.interconnect import Interconnect, interconnect_of
from gpu_topology.placement.worth import WorthModel
from gpu_topology.topology import NodeTopology


@dataclass(frozen=True, slots=True)
class WorthModels:
    """A model for all machines, and others for some classes of them.

    Attributes:
        default: for machines of no class that is named, and of unknown class.
        exceptions: class and model.
    """

    default: WorthModel = WorthModel.RING
    exceptions: tuple[tuple[Interconnect, WorthModel], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "WorthModels":
        """Read a setting: a model, then any number of `,<interconnect>=<model>`, such as "ring,nvlink-mesh=effbw".

        Raises:
            ValueError: a model or a class is unknown; the message says which there are.
        """
        default, *exceptions = (part.strip() for part in text.split(","))
        return cls(_model(default), tuple(_exception(part) for part in exceptions))

    def of(self, topology: NodeTopology) -> WorthModel:
        """The model that judges this machine."""
        found = interconnect_of(topology)
        return next((model for interconnect, model in self.exceptions if interconnect is found), self.default)


RING_EVERYWHERE: Final = WorthModels()
"""The default: the ring model for every machine."""


def readable(text: str) -> str:
    """The text, if `WorthModels.parse` can read it: for settings, which are checked before they are used.

    Raises:
        ValueError: as `WorthModels.parse`.
    """
    WorthModels.parse(text)
    return text


def _exception(text: str) -> tuple[Interconnect, WorthModel]:
    interconnect, _, model = text.partition("=")
    if interconnect not in tuple(Interconnect):
        raise ValueError(f"{interconnect!r} is no class of machines: they are {', '.join(Interconnect)}")
    return Interconnect(interconnect), _model(model)


def _model(text: str) -> WorthModel:
    if text not in tuple(WorthModel):
        raise ValueError(f"{text!r} is no worth model: they are {', '.join(WorthModel)}")
    return WorthModel(text)
