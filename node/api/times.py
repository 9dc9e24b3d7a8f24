"""Times as the API writes and reads them: UTC to the second, and milliseconds since the epoch beside it."""

import re
from datetime import UTC, datetime
from typing import Any

_DIGITS = re.compile(r"-?[0-9]{1,18}\Z")


def format_time(milliseconds: int) -> str:
    """Return `2016-04-12T08:00:00Z`."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_date(value: Any) -> int | None:
    """Return milliseconds since the epoch from such a number or an ISO 8601 text; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    if _DIGITS.match(value):
        return int(value)
    try:
        moment = datetime.fromisoformat(value)
        # A year near the limits has no timestamp in every time zone.
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
