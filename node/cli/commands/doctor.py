"""`doctor`: have a running node check itself and its paths to the others."""

from typing import Any

import click

from node.cli.errors import FAILED
from node.cli.lazy import Command
from node.cli.options import one_options, reach_options
from node.cli.output import Column
from node.cli.session import CLUSTER, Session, pass_session

DOCTOR_TIMEOUT = 120.0
Json = dict[str, Any]


@click.command("doctor", cls=Command, examples=("node doctor", "node doctor --url http://h2:8080 --json"))
@one_options()
@reach_options()
@pass_session
def command(session: Session) -> None:
    """Check this node and its paths to the others; exits 1 if anything fails."""
    report = session.client.post(f"{CLUSTER}/?action=doctor", timeout=DOCTOR_TIMEOUT)
    findings: list[Json] = report.get("findings") or []
    columns = [
        Column("RESULT", lambda row: "FAIL" if row["level"] == "fail" else row["level"], is_state=True),
        Column("CHECK", lambda row: row["check"]),
        Column("DETAIL", lambda row: row.get("detail"), is_whole=True),
        Column("TRY", lambda row: row.get("try") if row["level"] != "ok" else None, is_whole=True),
    ]
    if not any(row["level"] != "ok" for row in findings):
        columns.pop()
    session.printer.rows(columns, findings)
    if any(row["level"] == "fail" for row in findings):
        raise click.exceptions.Exit(FAILED)
