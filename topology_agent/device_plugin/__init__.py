"""Stands between the kubelet and the vendor's device plugin, so that pods get the GPUs that their node was scored with.

The plugin stays as it is and registers here instead of at the kubelet; every call is passed on as it came, except the
one question that leaves a choice: which of the available GPUs a container should get (`GetPreferredAllocation`). See
docs/enforcing.md.

- Pure: `decide` chooses the GPUs, `identify` finds out who is being served.
- Edges: `client` and `server` know gRPC, `proxy` the kubelet's folder, `pods` the API server, `advisor` joins them.
"""
