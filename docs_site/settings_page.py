"""Writes docs/settings.md from the settings of both programs: `python -m docs_site.settings_page`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic_settings import BaseSettings

from extender.settings import Settings as ExtenderSettings
from topology_agent.settings import Settings as AgentSettings

PAGE: Final = Path(__file__).parents[1] / "docs" / "settings.md"
"""The page itself."""
_HEAD: Final = """# Settings

Every setting is an option and an environment variable; the option wins. In a cluster set the variables, in an overlay
([installation](install.md)). A setting that cannot be used ends the program with status 2 and one line. This page is
made from the programs themselves (`make docs`), and says what their `--help` does.
"""
_TABLE: Final = "| variable | default | |\n|---|---|---|\n"
_PROGRAMS: Final[tuple[tuple[str, str, type[BaseSettings]], ...]] = (
    (
        "The extender",
        "`python -m extender`: `GPU_SCHEDULER_VERBS_PORT` is `--verbs-port`, and so on.",
        ExtenderSettings,
    ),
    ("The agent", "`python -m topology_agent`: `TOPOLOGY_AGENT_NODE_NAME` is `--node-name`, and so on.", AgentSettings),
)


def page() -> str:
    """The page as it should be."""
    return _HEAD + "".join(
        f"\n## {title}\n\n{how}\n\n{_TABLE}{''.join(rows(settings))}" for title, how, settings in _PROGRAMS
    )


def rows(settings: type[BaseSettings]) -> Iterator[str]:
    """The row of each setting: variable, default, and what it is."""
    prefix = settings.model_config["env_prefix"]
    for name, field in settings.model_fields.items():
        default = field.default if field.default_factory is None else None
        yield f"| `{prefix}{name.upper()}` | {_shown(default)} | {_in_a_cell(field.description or '')} |\n"


def _shown(default: object) -> str:
    if default is None:
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _in_a_cell(text: str) -> str:
    one_line = re.sub(r"\s+", " ", text.replace("|", "\\|"))
    return re.sub(r"(?<![\w`])(--[a-z][a-z-]*[a-z])", r"`\1`", one_line)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
