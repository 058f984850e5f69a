"""A thin synchronous client of the API server: objects are plain JSON dicts, requests are what the API documents.

Tests look through it at what the software did, so it shares no code with the software's own client.
"""

import json
import math
import ssl
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from tests.control_plane.certificates import KeyPair

Object = dict[str, Any]
Objects = list[Object]

FIELD_MANAGER = "tests"
REQUEST_SECONDS = 30.0


class ApiError(Exception):
    """The API server refused a request.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Client:
    """One user's connection to one API server; a context manager.

    Kinds are named as in manifests (`Pod`, or `Deployment` with `api_version="apps/v1"`); their paths come from the
    server's discovery. The namespace counts for namespaced kinds only. Every method raises ApiError where the server
    refuses, and httpx.TransportError where it cannot be reached.

    Args:
        server: The API server's URL.
        authority: The certificate that the server's own is checked by.
        identity: The user's certificate and key.
    """

    def __init__(self, server: str, authority: Path, identity: KeyPair) -> None:
        self._server = server
        self._tls = ssl.create_default_context(cafile=authority)
        self._tls.load_cert_chain(identity.certificate, identity.key)
        self._kinds: dict[tuple[str, str], Mapping[str, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        if "_http" in self.__dict__:
            self._http.close()
            del self._http

    def ready(self) -> bool:
        """Whether the server says that it is ready and has made the namespace `default`."""
        try:
            return all(self._http.get(path).is_success for path in ("/readyz", "/api/v1/namespaces/default"))
        except httpx.TransportError:
            return False

    def version(self) -> str:
        """The version of Kubernetes that the server says it has, such as v1.36.3."""
        return str(self._request("GET", "/version")["gitVersion"])

    def create(self, obj: Mapping[str, Any]) -> Object:
        """Create an object, status included where the API takes one on creation (it does for nodes)."""
        metadata = obj["metadata"]
        path = self._path(obj["apiVersion"], obj["kind"], metadata.get("namespace", "default"))
        return self._request("POST", path, json=obj)

    def get(self, kind: str, name: str, namespace: str = "default", *, api_version: str = "v1") -> Object:
        """One object, as the server has it now."""
        return self._request("GET", self._path(api_version, kind, namespace, name))

    def list(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        api_version: str = "v1",
        label_selector: str = "",
        field_selector: str = "",
    ) -> Objects:
        """The objects of a kind; in all namespaces where none is given."""
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        answer = self._request("GET", self._path(api_version, kind, namespace), params=selectors)
        # The items of a list carry neither of the two.
        return [{"apiVersion": api_version, "kind": kind, **item} for item in answer["items"]]

    def patch(  # noqa: PLR0913 - what is patched, and with what
        self,
        kind: str,
        name: str,
        patch: Mapping[str, Any],
        namespace: str = "default",
        *,
        api_version: str = "v1",
        subresource: str = "",
    ) -> Object:
        """Merge a patch into an object (RFC 7396: null removes a key), or into its `status` as a subresource."""
        path = self._path(api_version, kind, namespace, name, subresource)
        return self._request("PATCH", path, json=patch, headers={"Content-Type": "application/merge-patch+json"})

    def apply(self, manifests: str | Iterable[Mapping[str, Any]]) -> Objects:
        """Apply manifests server-side, in the order given, taking over fields that others own.

        Args:
            manifests: YAML of one or more documents, or objects.
        """
        objects = yaml.safe_load_all(manifests) if isinstance(manifests, str) else manifests
        return [self._apply(obj) for obj in objects if obj]

    def delete(
        self, kind: str, name: str, namespace: str = "default", *, api_version: str = "v1", grace_seconds: int = 0
    ) -> None:
        """Delete one object; without grace it is gone when this returns, unless a finalizer holds it."""
        options = {"gracePeriodSeconds": grace_seconds}
        self._request("DELETE", self._path(api_version, kind, namespace, name), json=options)

    def delete_all(self, kind: str, *, api_version: str = "v1") -> None:
        """Delete every object of a kind, in all namespaces, without grace."""
        namespaces = {obj["metadata"].get("namespace") for obj in self.list(kind, api_version=api_version)}
        for namespace in namespaces:
            self._request("DELETE", self._path(api_version, kind, namespace), json={"gracePeriodSeconds": 0})

    def service_account_token(self, namespace: str, name: str, *, pod: str | None = None, seconds: int = 86_400) -> str:
        """A bearer token of an existing service account.

        Args:
            namespace: The account's, and the pod's.
            name: The account's.
            pod: An existing pod of the account's. The token is bound to it, as one that a kubelet mounts, and tells the
                pod's node. None: it is bound to nothing.
            seconds: How long it holds.
        """
        spec: dict[str, Any] = {"expirationSeconds": seconds}
        if pod is not None:
            uid = self.get("Pod", pod, namespace)["metadata"]["uid"]
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = self._request("POST", self._path("v1", "ServiceAccount", namespace, name, "token"), json=request)
        return str(answer["status"]["token"])

    def watch(  # noqa: PLR0913 - the API's own parameters
        self,
        kind: str,
        namespace: str | None = None,
        *,
        api_version: str = "v1",
        field_selector: str = "",
        resource_version: str = "",
        seconds: float = 60.0,
    ) -> Generator[tuple[str, Object], None, None]:
        """The changes since `resource_version`, as (type of event, object), for so many seconds.

        Without a resource version it begins with the objects that exist, as `ADDED`.
        """
        deadline = time.monotonic() + seconds
        params: dict[str, str | int] = {
            "watch": "true",
            "fieldSelector": field_selector,
            "resourceVersion": resource_version,
            "timeoutSeconds": max(1, math.ceil(seconds)),
        }
        path = self._path(api_version, kind, namespace)
        with self._http.stream("GET", path, params=params, timeout=seconds + 1) as response:
            if response.is_error:
                response.read()
                raise _api_error(response)
            for line in response.iter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"]["code"], event["object"]["message"])
                yield event["type"], event["object"]
                if time.monotonic() > deadline:
                    return

    def wait_for(  # noqa: PLR0913 - which object, until what, for how long
        self,
        kind: str,
        name: str,
        predicate: Callable[[Object], bool],
        namespace: str = "default",
        *,
        api_version: str = "v1",
        seconds: float = 30.0,
    ) -> Object:
        """Watch one object, which need not exist yet, until it is as wanted; return it as it is then.

        Raises:
            TimeoutError: It is not so after `seconds`; the message has the object as last seen.
        """
        last_seen: Object | None = None
        only_this = f"metadata.name={name}"
        events = self.watch(kind, namespace, api_version=api_version, field_selector=only_this, seconds=seconds)
        with closing(events):
            for change, obj in events:
                last_seen = None if change == "DELETED" else obj
                if last_seen is not None and predicate(last_seen):
                    return last_seen
        raise TimeoutError(f"{kind} {name} is not as wanted after {seconds:g} s; last seen: {json.dumps(last_seen)}")

    def wait_until_deleted(
        self, kind: str, name: str, namespace: str = "default", *, api_version: str = "v1", seconds: float = 30.0
    ) -> None:
        """Watch until there is no such object.

        Raises:
            TimeoutError: It is still there after `seconds`.
        """
        only_this = {"fieldSelector": f"metadata.name={name}"}
        found = self._request("GET", self._path(api_version, kind, namespace), params=only_this)
        if not found["items"]:
            return
        events = self.watch(
            kind,
            namespace,
            api_version=api_version,
            field_selector=only_this["fieldSelector"],
            resource_version=found["metadata"]["resourceVersion"],
            seconds=seconds,
        )
        with closing(events):
            if not any(change == "DELETED" for change, _ in events):
                raise TimeoutError(f"{kind} {name} is still there after {seconds:g} s.")

    def _apply(self, obj: Mapping[str, Any]) -> Object:
        metadata = obj["metadata"]
        path = self._path(obj["apiVersion"], obj["kind"], metadata.get("namespace", "default"), metadata["name"])
        params = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return self._request(
            "PATCH", path, params=params, json=obj, headers={"Content-Type": "application/apply-patch+yaml"}
        )

    @cached_property
    def _http(self) -> httpx.Client:
        return httpx.Client(base_url=self._server, verify=self._tls, trust_env=False, timeout=REQUEST_SECONDS)

    def _request(self, method: str, path: str, **arguments: Any) -> Object:
        response = self._http.request(method, path, **arguments)
        if response.is_error:
            raise _api_error(response)
        answer: Object = response.json()
        return answer

    def _path(self, api_version: str, kind: str, namespace: str | None, *rest: str) -> str:
        resource = self._resource(api_version, kind)
        scope = ["namespaces", namespace] if resource["namespaced"] and namespace is not None else []
        return "/".join([_root(api_version), *scope, resource["name"], *filter(None, rest)])

    def _resource(self, api_version: str, kind: str) -> Mapping[str, Any]:
        if (api_version, kind) not in self._kinds:
            for resource in self._request("GET", _root(api_version))["resources"]:
                if "/" not in resource["name"]:  # the others are subresources
                    self._kinds[api_version, resource["kind"]] = resource
        return self._kinds[api_version, kind]


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _api_error(response: httpx.Response) -> ApiError:
    try:
        message = response.json()["message"]
    except (ValueError, KeyError, TypeError):
        message = response.text
    return ApiError(response.status_code, message)
