"""The command line: one machine, from a file, without a cluster; and a cluster, from its API server or an extender.

Reads and writes answers. What the answers are is the business of `gpu_topology` and, for a cluster, of `extender`.
"""
