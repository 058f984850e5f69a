"""Whatever stands in an option or a variable: settings that can be used, or one line that says what is wrong."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extender.settings import Settings as ExtenderSettings
from extender.settings import read_settings
from gpu_topology.errors import SettingsError
from topology_agent.settings import Settings as AgentSettings
from topology_agent.settings import load_settings

PROGRAMS: dict[str, tuple[type[Any], Callable[[Sequence[str]], Any], list[str]]] = {
    "GPU_SCHEDULER_": (ExtenderSettings, read_settings, []),
    "TOPOLOGY_AGENT_": (AgentSettings, load_settings, ["--node-name", "n"]),
}

VALUES = st.one_of(
    st.sampled_from(
        [
            "",
            " ",
            "0",
            "-1",
            "1e999",
            "nan",
            "inf",
            "9" * 5000,
            "true",
            "null",
            "[]",
            "{}",
            "[1",
            '{"a": 1}',
            "a,b",
            "=",
            "ring,a=b",
            "::1",
            "/",
            "/dev/null",
            "~",
            "%s",
            "{}",
            "--",
            "-h0",
            "@x",
            "\u0661",
            "\ud7ff",
            "a\nb",
        ]
    ),
    st.integers(-(2**65), 2**65).map(str),
    st.floats().map(str),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
)


def refusal(read: Callable[[Sequence[str]], Any], arguments: list[str]) -> str | None:
    """Why the settings cannot be used; None where they can."""
    try:
        read(arguments)
    except SettingsError as error:
        return str(error)
    return None


def check(read: Callable[[Sequence[str]], Any], arguments: list[str]) -> None:
    line = refusal(read, arguments)
    assert line is None or len(line.splitlines()) == 1


@pytest.fixture(autouse=True, scope="module")
def _no_variables() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for prefix, (model, *_) in PROGRAMS.items():
            for name in model.model_fields:
                patch.delenv(f"{prefix}{name.upper()}", raising=False)
        patch.delenv("NODE_NAME", raising=False)
        yield


@pytest.mark.parametrize("prefix", PROGRAMS)
@settings(max_examples=150, deadline=None)
@given(data=st.data(), value=VALUES)
def test_an_option_of_any_value_is_taken_or_refused_in_one_line(prefix: str, data: st.DataObject, value: str) -> None:
    model, read, needed = PROGRAMS[prefix]
    name = data.draw(st.sampled_from(sorted(model.model_fields)))
    check(read, [*needed, f"--{name.replace('_', '-')}={value}"])


@pytest.mark.parametrize("prefix", PROGRAMS)
@settings(max_examples=150, deadline=None)
@given(data=st.data(), value=VALUES)
def test_a_variable_of_any_value_is_taken_or_refused_in_one_line(prefix: str, data: st.DataObject, value: str) -> None:
    model, read, needed = PROGRAMS[prefix]
    name = data.draw(st.sampled_from(sorted(model.model_fields)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"{prefix}{name.upper()}", value)
        check(read, [] if name == "node_name" else needed)


@pytest.mark.parametrize("prefix", PROGRAMS)
@settings(max_examples=100, deadline=None)
@given(arguments=st.lists(VALUES, max_size=4))
def test_any_command_line_is_taken_or_refused_in_one_line(prefix: str, arguments: list[str]) -> None:
    check(PROGRAMS[prefix][1], arguments)


@pytest.mark.parametrize("prefix", PROGRAMS)
def test_a_file_whose_name_no_file_can_have_is_refused(prefix: str) -> None:
    _, read, needed = PROGRAMS[prefix]
    with pytest.raises(SettingsError, match=r"'nnn.*' cannot be looked at: File name too long"):
        read([*needed, f"--kubeconfig={'n' * 5000}"])
