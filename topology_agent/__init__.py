"""The agent on every GPU node: reads the hardware and who holds it, and publishes both as annotations of the node.

It writes the keys of `gpu_topology.contract` on its own node and nothing else. What it does not know it says so; what
it cannot reach it tries again, within limits. It never ends because the node, the kubelet or the API server is away.
"""
