"""What the daemon's log looks like: a line for a person, or a JSON object for a machine.

Secrets never come here: records that hold one have a repr without it.
"""

import json
import logging
import sys
import time
from typing import Literal

Format = Literal["text", "json"]


class TextFormatter(logging.Formatter):
    """`12:30:01.250 WARN  gossip: h2 (1a2b3c4d) is suspect`."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = {"WARNING": "WARN", "CRITICAL": "FATAL"}.get(record.levelname, record.levelname)
        part = record.name.removeprefix("corral.")
        line = f"{clock}.{int(record.msecs):03d} {level:<5} {part}: {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One object a line: time (seconds since the epoch), level, part, message, error."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "part": record.name.removeprefix("corral."),
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def set_up(form: Format, *, level: str = "INFO") -> None:
    """Send the log to standard error in one of the two forms."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for library in ("urllib3", "docker", "pyroute2"):
        logging.getLogger(library).setLevel("WARNING")
