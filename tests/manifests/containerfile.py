"""What a Containerfile says, as far as ours says it."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """One of the images that a Containerfile makes.

    Attributes:
        base: the image or stage that it begins with.
        instructions: each with the rest of its line, in order.
    """

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """What stands behind an instruction, each time that it occurs."""
        return [rest for instruction, rest in self.instructions if instruction == name]

    def copied(self) -> list[str]:
        """What is copied from the build's context."""
        return [source for rest in self.all("COPY") if "--from" not in rest for source in rest.split()[:-1]]


def read_stages(path: Path) -> dict[str, Stage]:
    """The stages by name, `ARG` values put in."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    values: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, _, rest = line.partition(" ")
        if instruction == "ARG":
            name, _, value = rest.partition("=")
            values[f"${{{name}}}"] = value
        elif instruction == "FROM":
            base, _, name = rest.split()
            stages[name] = Stage(name, values.get(base, base))
        else:
            [*_, latest] = stages.values()
            latest.instructions.append((instruction, rest))
    return stages


def command(rest: str) -> list[str]:
    """A command in the form that needs no shell.

    Raises:
        ValueError: it is in another form.
    """
    words = json.loads(rest)
    if not isinstance(words, list):
        raise ValueError(f"{rest} is no list")  # noqa: TRY004  of the file's content
    return words
