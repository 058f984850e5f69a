"""The log of a process, which is set up once and for all."""

import json
import subprocess
import sys

PROGRAM = """
import logging, sys, structlog
from extender.logs import configure_logs
configure_logs("info", sys.argv[1])
log = structlog.get_logger("extender")
log.debug("hidden")
log.info("decided", pod="team/a", candidates={1, 2})
logging.getLogger("library").info("hidden")
logging.getLogger("library").warning("something is %s", "wrong")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("library").exception("broken")
"""


def lines(log_format: str) -> list[str]:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, log_format], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == ""
    return ended.stderr.splitlines()


def test_json_is_one_object_a_line_for_us_and_for_libraries() -> None:
    decided, warned, broken = map(json.loads, lines("json"))
    assert (decided["event"], decided["level"], decided["pod"]) == ("decided", "info", "team/a")
    assert decided["candidates"] == "{1, 2}"
    assert (warned["event"], warned["level"]) == ("something is wrong", "warning")
    assert "ZeroDivisionError" in broken["exception"]
    assert all("timestamp" in line for line in (decided, warned, broken))


def test_console_is_text() -> None:
    decided, warned, *_ = lines("console")
    assert "decided" in decided
    assert "pod=team/a" in decided
    assert "something is wrong" in warned
