"""The API server, as far as this project needs it: the only package that knows the Kubernetes client.

Objects are plain dictionaries in the API server's JSON form. The client's object models are left aside on purpose:
they cost more time and memory than the annotations and the few fields that are read here.
"""

from kubernetes_api.cluster import Cluster, Resource
from kubernetes_api.created import NodeEvent, PodEvent, PodReference
from kubernetes_api.errors import ApiError, ConflictError, DeferredError, NotFoundError
from kubernetes_api.leases import Lease
from kubernetes_api.reflector import Handler, Reflector, Restart

__all__ = [
    "ApiError",
    "Cluster",
    "ConflictError",
    "DeferredError",
    "Handler",
    "Lease",
    "NodeEvent",
    "NotFoundError",
    "PodEvent",
    "PodReference",
    "Reflector",
    "Resource",
    "Restart",
]
