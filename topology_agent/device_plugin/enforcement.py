"""The mode as a whole: what the agent starts for it, tells it and asks it."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

from gpu_topology.contract import Allocation
from gpu_topology.placement import WorthModels
from topology_agent.device_plugin.advisor import Advisor
from topology_agent.device_plugin.proxy import Proxy
from topology_agent.pods import PodCache
from topology_agent.real_node import Kubelet
from topology_agent.report import NodeReport

PATIENCE_SECONDS: Final = 10.0
"""For the hardware to be read before plugins may register: longer, and pods would wait for a driver that the plugin
itself can do without."""


class Enforcement:
    """Makes the kubelet give pods the GPUs that their node was scored with."""

    def __init__(self, pods: PodCache, kubelet: Kubelet, folder: Path, models: WorthModels) -> None:
        """Prepare; nothing is started yet.

        Args:
            pods: tells of the node's pods; somebody else keeps it up to date.
            kubelet: the node's kubelet.
            folder: where the kubelet and the plugins have their sockets.
            models: how the worth of a set is computed.
        """
        self._advisor = Advisor(kubelet, pods, models)
        self._proxy = Proxy(folder, self._advisor.advise)

    def heard(self, report: NodeReport) -> None:
        """Take note of what the agent knows of its node."""
        self._advisor.heard(report)

    def allocation(self) -> Allocation:
        """Who chooses at present: this project only while the kubelet really asks here, and can be answered."""
        return Allocation.BEST if self._proxy.enforcing and self._advisor.is_able else Allocation.VENDOR

    async def run(self) -> None:
        """Work until cancelled."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._advisor.ready.wait()
        await self._proxy.run()
