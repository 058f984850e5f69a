"""A real etcd, kube-apiserver and kube-scheduler on loopback ports, for the tests, the benchmarks and the demo.

`ControlPlane` (cluster.py) is the way in. Nothing here knows pytest, and all of it is synchronous: code that runs in an
event loop calls it through `asyncio.to_thread`.
"""
