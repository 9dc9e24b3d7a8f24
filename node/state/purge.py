"""Dropping rows that were removed long enough ago, never one that another row still refers to."""

from node.commands import PurgeRows
from node.model import Done, State, Table
from node.state.txn import TABLES, Refusal, Txn

CHILDREN_FIRST: tuple[Table, ...] = (
    "containers",
    "services",
    "stacks",
    "hosts",
    "tokens",
    "api_keys",
    "passwords",
    "members",
    "accounts",
    "environments",
)


def purge_rows(txn: Txn, command: PurgeRows) -> Done:
    """Drop the rows named that are removed and that nothing refers to; the others stay for another time."""
    wanted: dict[Table, list[int]] = {table: [] for table in CHILDREN_FIRST}
    for name, row_id in command.rows:
        table = next((table for table in TABLES if table == name), None)
        if table is None:
            raise Refusal("InvalidOption", f"there is no table {name[:40]!r}", "rows")
        wanted[table].append(row_id)
    dropped = 0
    for table, ids in wanted.items():
        if ids:
            dropped += _purge_table(txn, table, ids)
    return Done("purge", dropped)


def _purge_table(txn: Txn, table: Table, ids: list[int]) -> int:
    used = referred_to(txn, table)
    rows = getattr(txn, table)
    ripe = [row_id for row_id in dict.fromkeys(ids) if row_id in rows and rows[row_id].removed is not None]
    for row_id in ripe:
        if row_id not in used:
            txn.drop(table, row_id)
    return sum(row_id not in used for row_id in ripe)


def referred_to(tables: Txn | State, table: Table) -> set[int | None]:
    """Ids of `table` that rows of other tables mention."""
    containers, services = tables.containers.values(), tables.services.values()
    match table:
        case "services":
            return {row.service_id for row in containers}
        case "stacks":
            return {row.stack_id for row in containers} | {row.stack_id for row in services}
        case "hosts":
            return {row.host_id for row in containers}
        case "environments":
            work = (containers, services, tables.stacks.values(), tables.hosts.values())
            keys = (tables.tokens.values(), tables.api_keys.values(), tables.members.values())
            return {row.environment_id for rows in (*work, *keys) for row in rows}
        case "accounts":
            return {row.account_id for rows in (tables.passwords, tables.api_keys) for row in rows.values()}
        case _:
            return set()
