"""What the kubelet tells of this node's devices, over its PodResources socket.

`client` asks (the only file that knows gRPC), `listing` is the answer, and `tracker` makes sense of it: pure, with the
time given.
"""
