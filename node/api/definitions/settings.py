"""Settings: what is set in the state, over the defaults known here."""

from dataclasses import dataclass

from node.api.call import Call
from node.api.definition import Creation, Definition, Input, Values, define
from node.api.errors import ApiError
from node.commands import SetSetting
from node.state.accounts import ACCESS_MODE, PROVIDER, SECURITY

DEFAULTS = {
    ACCESS_MODE: "unrestricted",
    PROVIDER: "",
    SECURITY: "",
    "api.host": "",
    "catalog.url": "",
    "help.enabled": "true",
    "rancher.server.image": "",
    "vm.enabled": "false",
}
PUBLIC = frozenset({
    "api.host", "api.ui.index", "catalog.url", "cattle.version", "docker.machine.version", "engine.install.url",
    "help.enabled", "rancher.compose.darwin.url", "rancher.compose.linux.url", "rancher.compose.version",
    "rancher.compose.windows.url", "rancher.server.image", "vm.enabled",
})  # fmt: skip
"""What others than administrators may read."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting by its name, set or not."""

    id: str


def _rows(call: Call) -> list[Setting]:
    return [Setting(name) for name in sorted({*DEFAULTS, *call.state.settings})]


def _find(call: Call, text: str) -> Setting | None:
    name = text.removeprefix("1s!")
    return Setting(name) if name in DEFAULTS or name in call.state.settings else None


def _values(call: Call, row: Setting) -> Values:
    value = call.state.settings.get(row.id)
    if row.id == SECURITY:
        value = "false" if call.state.cluster.open_access else "true"
    return {
        "activeValue": DEFAULTS.get(row.id) if value is None else value,
        "inDb": value is not None,
        "name": row.id,
        "source": "Default Settings" if value is None else "Database",
        "value": value,
    }


def _create(call: Call, data: Input) -> Creation:
    if not data.get("name"):
        raise ApiError("MissingRequired", "name is needed", field="name")
    return Creation(SetSetting(name=data["name"], value=data.get("value") or ""), identity=f"1s!{data['name']}")


SETTING = Definition(
    id="setting",
    plural="settings",
    fields={
        "activeValue": define("string", is_filter=False),
        "id": define("int", "N"),
        "inDb": define("boolean", is_filter=False, admin_only=True),
        "name": define("string", "cN", max_length=255, admin_create=True),
        "source": define("string", is_filter=False, admin_only=True),
        "value": define("string", "cuN", max_length=1024, admin_create=True),
    },
    acl={"admin": "crud", "project": "r"},
    rows=_rows,
    find=_find,
    may_see=lambda call, row: call.caller.kind == "admin" or row.id in PUBLIC,
    values=_values,
    create=_create,
    update=lambda call, row, data: SetSetting(name=row.id, value=data.get("value")),
    delete=lambda call, row: SetSetting(name=row.id, value=None),
    identify=lambda row: f"1s!{row.id}",
    is_admins=True,
)
