"""What the users of an API server asked of it, by its audit log."""

import json
from pathlib import Path
from typing import NamedTuple

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""


class Request(NamedTuple):
    """A kind of request, in the terms of RBAC."""

    verb: str
    group: str
    resource: str
    namespace: str


class Audit:
    """The audit log of an API server that was started with `arguments`.

    Args:
        folder: where policy and log are written; it has to exist.
    """

    def __init__(self, folder: Path) -> None:
        policy, self._log = folder / "audit-policy.yaml", folder / "audit.log"
        policy.write_text(POLICY)
        self.arguments = [f"--audit-policy-file={policy}", f"--audit-log-path={self._log}"]

    def requests_of(self, user: str) -> set[Request]:
        """All that a user has asked for, allowed or not; the namespace is empty where it was asked for all."""
        events = map(json.loads, self._log.read_text().splitlines())
        return {_request(event["verb"], event["objectRef"]) for event in events if event["user"]["username"] == user}


def _request(verb: str, asked: dict[str, str]) -> Request:
    resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
    return Request(verb, asked.get("apiGroup", ""), resource, asked.get("namespace", ""))
