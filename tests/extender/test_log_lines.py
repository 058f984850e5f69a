"""What the extender logs: every line and every field is documented, and no line holds a secret."""

import ast
import json
import re
from collections.abc import Iterator, MutableMapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
import pytest

from extender.failing import FailingNodes
from extender.findings import Allotment, Evidence
from extender.ledger import Ledger
from extender.observer import _SURPRISES
from extender.placed import Placed
from extender.service import Service
from gpu_topology.errors import GpuTopologyError
from kubernetes_api import ApiError, Cluster
from tests.extender.builders import node, pod, switched
from tests.manifests.files import REPOSITORY

PAGE: Final = (REPOSITORY / "docs" / "logs.md").read_text()
LINE: Final = re.compile(r"^\| `([^`]+)` \| ((?:debug|info|warning|error)[^|]*) \| [^|]+ \|([^|]*)\|$", re.MULTILINE)
FIELD: Final = re.compile(r"`(\w+)`")
SECRET: Final = "correct-horse-battery-staple"  # noqa: S105  to be looked for
LEVELS: Final = {"debug", "info", "warning", "error", "exception", "critical"}


class Logged(NamedTuple):
    """A line as the code has it.

    Attributes:
        level: None where it depends.
        fields: those that it names itself.
        has_more: whether others are added from a dictionary.
    """

    event: str
    level: str | None
    fields: frozenset[str]
    has_more: bool


def _lines(path: Path) -> Iterator[Logged]:
    """The calls of loggers in a file whose event is written there."""
    for call in ast.walk(ast.parse(path.read_text())):
        if not isinstance(call, ast.Call) or not call.args or not isinstance(call.args[0], ast.Constant):
            continue
        match call.func:
            case ast.Attribute(attr=level, value=logger) if level in LEVELS and "log" in ast.unparse(logger):
                known: str | None = level
            case ast.Name(id="log"):
                known = None
            case _:
                continue
        named = frozenset(keyword.arg for keyword in call.keywords if keyword.arg)
        yield Logged(str(call.args[0].value), known, named, any(keyword.arg is None for keyword in call.keywords))


LINES: Final = [
    line
    for folder in ("extender", "kubernetes_api")
    for path in (REPOSITORY / folder).glob("*.py")
    for line in _lines(path)
]
EXPECTATION: Final = {"best_node", "gpus_by_container", "bandwidth_gbps"}
ADDED: Final = {
    "placed": {field.name for field in fields(Placed)},
    "filter": EXPECTATION,
    "prioritize": EXPECTATION,
}
DOCUMENTED: Final = {event: (level, frozenset(FIELD.findall(names))) for event, level, names in LINE.findall(PAGE)}


def test_every_line_is_documented_and_no_other() -> None:
    assert {line.event for line in LINES} | set(_SURPRISES.values()) == DOCUMENTED.keys()


@pytest.mark.parametrize("event", sorted({line.event for line in LINES}))
def test_the_level_and_the_fields_of_a_line_are_documented(event: str) -> None:
    same = [line for line in LINES if line.event == event]
    level, documented = DOCUMENTED[event]
    assert all(line.level is None or line.level == level for line in same)
    assert documented == frozenset().union(*(line.fields for line in same), ADDED.get(event, ()))
    assert any(line.has_more for line in same) == (event in ADDED)


@pytest.mark.parametrize("finding", [Allotment, Evidence])
def test_the_fields_of_what_did_not_come_true_are_documented(finding: type[Allotment | Evidence]) -> None:
    _, documented = DOCUMENTED[_SURPRISES[finding]]
    assert documented == {field.name for field in fields(finding)}


def test_every_field_is_explained() -> None:
    explained = {
        name
        for row in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| [^|]+ \|$", PAGE, re.MULTILINE)
        for name in FIELD.findall(row)
    }
    assert frozenset().union(*(names for _, names in DOCUMENTED.values())) <= explained


def secretive(name: str, gpus: int = 2, **wishes: str) -> dict[str, Any]:
    """A pod with the same secret wherever a pod may have one."""
    hiding = pod(name, gpus, **wishes)
    hiding["metadata"]["annotations"]["vault/token"] = SECRET
    hiding["metadata"]["labels"] = {"token": SECRET}
    hiding["spec"]["containers"][0] |= {
        "env": [{"name": "TOKEN", "value": SECRET}],
        "args": [f"--token={SECRET}"],
        "image": f"registry.example/{SECRET}",
    }
    return hiding


def test_no_line_holds_what_a_pod_keeps_to_itself(logged: list[MutableMapping[str, Any]]) -> None:
    """Served, refused, with a wish that cannot be read, and in requests that cannot be read."""
    ledger = Ledger()
    ledger.replace_nodes([node("n", switched(8))])
    service = Service(ledger, failing=FailingNodes(ledger))
    for asked in (secretive("a"), secretive("b", 16), secretive("c", require="the moon")):
        body = {"Pod": asked, "NodeNames": ["n"]}
        service.filter(orjson.dumps(body))
        service.prioritize(orjson.dumps(body))
        service.preempt(orjson.dumps({"Pod": asked, "NodeNameToMetaVictims": {"n": {"Pods": [{"UID": "u"}]}}}))
        service.filter(orjson.dumps(body | {"NodeNames": 7}))
        with pytest.raises(GpuTopologyError):
            service.filter(json.dumps(body).encode()[:-1])
    service.arrivals.changed(secretive("a") | {"spec": {**secretive("a")["spec"], "nodeName": "n"}})
    assert {entry["event"] for entry in logged} >= {"filter", "prioritize", "preempt", "refused"}
    assert SECRET not in repr(logged)


async def test_an_error_of_the_api_server_does_not_hold_the_token(tmp_path: Path) -> None:
    """It goes into the log as a sentence."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [{"name": "u", "user": {"token": SECRET}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    async with await Cluster.connect(kubeconfig) as cluster:
        with pytest.raises(ApiError) as caught:
            await cluster.get_node("n")
    chain = [caught.value, caught.value.__cause__]
    assert not any(SECRET in f"{error!r} {error}" for error in chain)
