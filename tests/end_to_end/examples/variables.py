"""What the kubelet makes of a container's variables; a test on a real one says that it is so."""

import re

from tests.control_plane.client import Object

LABEL = re.compile(r"metadata\.labels\['(.+)'\]")


def environment(pod: Object) -> dict[str, str]:
    """The variables of a pod's only container, made in order: from labels, and from those before.

    Raises:
        ValueError: one comes from elsewhere.
    """
    [container] = pod["spec"]["containers"]
    made: dict[str, str] = {}
    for variable in container["env"]:
        made[variable["name"]] = (
            _of_the_pod(pod, variable["valueFrom"]["fieldRef"]["fieldPath"])
            if "valueFrom" in variable
            else _expanded(variable["value"], made)
        )
    return made


def command(pod: Object) -> list[str]:
    """The command of a pod's only container, with its variables filled in."""
    [container] = pod["spec"]["containers"]
    return [_expanded(argument, environment(pod)) for argument in container["command"]]


def _of_the_pod(pod: Object, path: str) -> str:
    label = LABEL.fullmatch(path)
    if label is None:
        raise ValueError(f"{path} is no label of a pod")
    return str(pod["metadata"]["labels"][label[1]])


def _expanded(text: str, variables: dict[str, str]) -> str:
    """The text with `$(NAME)` replaced for each variable that there is."""
    return re.sub(r"\$\((\w+)\)", lambda found: variables.get(found[1], found[0]), text)
