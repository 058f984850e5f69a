"""CRI's messages, and its services served by plain asynchronous methods.

The messages come from cri.proto, which is compiled as this module is imported: there is no generated code to keep.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

messages: Final[Any] = grpc.protos("tests/kubelet/runtime/cri.proto")


class NoSuchObjectError(Exception):
    """The kubelet asks for a pod, container or program that is not there."""


def handler(service: str, implementation: object) -> "grpc.GenericRpcHandler[Any, Any]":
    """Serve each call of a CRI service by the method of that name, in Python's spelling.

    Such a method takes the request and returns the response. NoSuchObjectError becomes the status NOT_FOUND.
    """
    descriptor = messages.DESCRIPTOR.services_by_name[service]
    methods = {
        method.name: _method(method, getattr(implementation, _snake_case(method.name))) for method in descriptor.methods
    }
    return grpc.method_handlers_generic_handler(descriptor.full_name, methods)


def _method(
    method: MethodDescriptor, implementation: Callable[[Any], Awaitable[Any]]
) -> "grpc.RpcMethodHandler[Any, Any]":
    async def serve(request: Any, context: Any) -> Any:
        try:
            return await implementation(request)
        except NoSuchObjectError as error:
            return await context.abort(grpc.StatusCode.NOT_FOUND, str(error))

    return grpc.unary_unary_rpc_method_handler(
        serve,
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
