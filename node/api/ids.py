"""Ids as clients see them: `1` + the type's letters + the row's number (API.md 1.7)."""

import re

PREFIXES = {
    "project": "1a",
    "account": "1a",
    "password": "1c",
    "projectMember": "1pm",
    "environment": "1e",
    "service": "1s",
    "instance": "1i",
    "container": "1i",
    "host": "1h",
    "apiKey": "1c",
    "registrationToken": "1c",
    "serviceExposeMap": "1sem",
    "serviceConsumeMap": "1scm",
    "image": "1i",
    "ipAddress": "1ia",
    "label": "1l",
    "mount": "1m",
    "network": "1n",
    "physicalHost": "1ph",
    "port": "1p",
    "storagePool": "1sp",
    "volume": "1v",
}

ADMIN_ACCOUNT = "1a1"
"""Rancher's account of the administrator; owner of what belongs to no environment."""

_ID = re.compile(r"1[a-z]{1,8}([0-9]{1,15})\Z")


def format_id(kind: str, number: int | None) -> str | None:
    """Return the id of row `number` of a type; None stays None."""
    return None if number is None else f"{PREFIXES[kind]}{number}"


def parse_id(text: str) -> int | None:
    """Return the row's number, or None if `text` has another form.

    The letters are not checked against the type: `1x7` names service 7 as well as `1s7` does.
    """
    match = _ID.match(text)
    return None if match is None else int(match[1])
