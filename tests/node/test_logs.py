"""The log is readable by people in one form and by machines in the other."""

import json
import logging

from node.logs import JsonFormatter, TextFormatter


def record(message: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("corral.gossip", logging.WARNING, __file__, 1, message, args, None)


def test_text_line_has_clock_level_part_and_message() -> None:
    line = TextFormatter().format(record("%s is dead", "h2"))
    assert line.endswith("WARN  gossip: h2 is dead")
    assert line[2] == line[5] == ":"


def test_json_line_is_one_object() -> None:
    fields = json.loads(JsonFormatter().format(record("%s is\ndead", "h2")))
    assert fields["level"] == "warning"
    assert fields["part"] == "gossip"
    assert fields["message"] == "h2 is\ndead"
