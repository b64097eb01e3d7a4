"""Logs: lines for people on standard error or in a file of bounded size, or JSON for programs."""

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from loguru import logger as log

from stepwise_server import limits

if TYPE_CHECKING:
    from loguru import Record

FOR_PEOPLE = "{time:YYYY-MM-DD HH:mm:ss.SSS} {level: <7} {message} {extra}\n{exception}"


def configure(file: Path | None = None, *, as_json: bool = False) -> None:
    """Send this process's logs to a file, or else to standard error, in place of what was set before.

    Args:
        file: at most `limits.LOG_FILES` of `limits.LOG_FILE_BYTES` are kept of it.
        as_json: one JSON object a line: time, level, message and what belongs to it.
    """
    log.remove()
    line = _json_line if as_json else FOR_PEOPLE
    if file:
        log.add(file, format=line, level="DEBUG", rotation=limits.LOG_FILE_BYTES, retention=limits.LOG_FILES)
        file.chmod(0o600)
    else:
        log.add(sys.stderr, format=line, level="DEBUG", colorize=False)
    logging.basicConfig(handlers=[_FromLogging()], level=logging.WARNING, force=True)


def _json_line(record: "Record") -> str:
    """Put the JSON of a record where the format, which is returned, finds it."""
    facts = {"time": record["time"].isoformat(), "level": record["level"].name, "message": record["message"]}
    extra = {name: value for name, value in record["extra"].items() if name != "json"}
    if exception := record["exception"]:
        import traceback

        facts["exception"] = "".join(traceback.format_exception(exception.value))
    record["extra"]["json"] = json.dumps({**facts, **extra}, default=str)
    return "{extra[json]}\n"


class _FromLogging(logging.Handler):
    """Hands what libraries log, such as uvicorn, to our log."""

    def emit(self, record: logging.LogRecord) -> None:
        log.opt(exception=record.exc_info).log(record.levelname, "{}", record.getMessage())
