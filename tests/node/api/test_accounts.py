"""Access control through the API, as the 1.0 UI turns it on, and what each role may do afterwards."""

from typing import Any

import pytest

from node.state.accounts import PROVIDER
from tests.fakes.replica import FakeReplica
from tests.node.api.client import Client, make_stack

ENABLE = {
    "type": "localAuthConfig",
    "enabled": True,
    "accessMode": "unrestricted",
    "name": "The Admin",
    "username": "root",
    "password": "secret of root",
}


async def enabled() -> tuple[FakeReplica, Client]:
    """Access control, turned on; and the first administrator's session."""
    replica = FakeReplica(open_access=True)
    await Client(replica).make("/v1/localauthconfig", ENABLE)
    return replica, await logged_in(replica, "root", "secret of root")


async def logged_in(replica: FakeReplica, login: str, password: str) -> Client:
    answer = await Client(replica).post("/v1/token", {"code": f"{login}:{password}", "authProvider": "localauthconfig"})
    assert answer.status == 201, answer.body
    return Client(replica, token=answer.body["jwt"])


async def person(replica: FakeReplica, admin: Client, login: str, kind: str = "user") -> str:
    """Make an account with a password as the 1.0 UI does; return its id."""
    account = await admin.make("/v1/accounts", {"type": "account", "kind": kind, "name": login.title()})
    await admin.make(
        "/v1/passwords", {"accountId": account["id"], "publicValue": login, "secretValue": f"pw of {login}"}
    )
    return str(account["id"])


async def member(replica: FakeReplica, admin: Client, login: str, role: str) -> Client:
    number = await person(replica, admin, login)
    rows = (await admin.get("/v1/projects/1a5/projectmembers")).data
    kept = [{"role": row["role"], "externalId": row["externalId"], "externalIdType": "rancher_id"} for row in rows]
    wanted = [*kept, {"role": role, "externalId": number, "externalIdType": "rancher_id"}]
    answer = await admin.post("/v1/projects/1a5/?action=setmembers", {"members": wanted})
    assert answer.status in (200, 202), answer.body
    return await logged_in(replica, login, f"pw of {login}")


async def test_turning_it_on_makes_the_first_administrator_and_closes_the_door() -> None:
    replica = FakeReplica(open_access=True)
    open_door = Client(replica)
    told = (await open_door.get("/v1/token")).data[0]
    assert (told["security"], told["enabled"], told["authProvider"]) == (False, False, None)
    made = await open_door.make("/v1/localauthconfig", ENABLE)
    assert (made["enabled"], made["username"], made["password"]) == (True, "root", None)
    assert (await open_door.get("/v1")).status == 401
    told = (await open_door.get("/v1/token")).data[0]
    assert (told["security"], told["enabled"], told["authProvider"]) == (True, True, "localauthconfig")
    admin = await logged_in(replica, "root", "secret of root")
    assert (await admin.get("/v1")).headers["X-API-Account-Id"] == "1a1"
    assert (await admin.get("/v1/accounts/1a1")).body["name"] == "The Admin"
    assert [row["id"] for row in (await admin.get("/v1/projects")).data] == ["1a5"]
    assert "secret of root" not in repr(replica.submitted)


async def test_turning_it_off_opens_everything_again() -> None:
    replica, admin = await enabled()
    assert (await admin.post("/v1/localauthconfig", {"enabled": None})).body["enabled"] is False
    assert (await Client(replica).get("/v1/projects")).status == 200
    assert PROVIDER not in replica.state.settings


@pytest.mark.parametrize("code", ["root:wrong", "nobody:x", "root", ":", "root:"])
async def test_wrong_login_is_401_whatever_was_wrong(code: str) -> None:
    replica, _ = await enabled()
    answer = await Client(replica).post("/v1/token", {"code": code})
    assert (answer.status, answer.body["code"]) == (401, "Unauthorized")


async def test_guessing_is_slowed_down_and_says_for_how_long() -> None:
    replica, _ = await enabled()
    client = Client(replica)
    statuses = [(await client.post("/v1/token", {"code": "root:wrong"})).status for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    answer = await client.post("/v1/token", {"code": "root:secret of root"})
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    replica.now += 1000
    assert (await client.post("/v1/token", {"code": "root:secret of root"})).status == 201


async def test_logging_out_ends_the_session_and_no_other() -> None:
    replica, admin = await enabled()
    other = await logged_in(replica, "ROOT", "secret of root")
    assert (await admin.delete("/v1/token")).status == 200
    assert (await admin.get("/v1")).status == 401
    assert (await other.get("/v1")).status == 200


async def test_first_login_makes_a_project_of_ones_own_once() -> None:
    replica, admin = await enabled()
    await person(replica, admin, "alice")
    for _ in range(2):
        alice = await logged_in(replica, "alice", "pw of alice")
        rows = (await alice.get("/v1/projects")).data
        assert [row["name"] for row in rows] == ["alice-Default"]
    assert "setmembers" in rows[0]["actions"]
    members = (await alice.get(f"/v1/projects/{rows[0]['id']}/projectmembers")).data
    assert [(row["role"], row["externalId"]) for row in members] == [("owner", "1a7")]


async def test_session_without_a_project_changes_nothing_inside_of_one() -> None:
    replica, admin = await enabled()
    user = await member(replica, admin, "mem", "member")
    assert (await user.post("/v1/environments", {"name": "shop"})).status in (404, 405)
    assert (await user.get("/v1/accounts")).status == 404
    assert (await user.post("/v1/localauthconfig", {"enabled": False})).status == 404
    assert (await user.post("/v1/projects/1a5/environments", {"name": "shop"})).status == 201
    assert (await user.get("/v1/projects/1a7/environments")).status == 403
    assert (await user.get("/v1/projects/zzz/environments")).status == 400


@pytest.mark.parametrize(
    ("role", "may_make", "may_join", "may_own"),
    [
        ("owner", True, True, True),
        ("member", True, True, False),
        ("restricted", True, False, False),
        ("readonly", False, False, False),
    ],
)
async def test_role_decides_what_a_member_may_do(role: str, may_make: bool, may_join: bool, may_own: bool) -> None:
    replica, admin = await enabled()
    stack = await make_stack(admin, "before")
    user = await member(replica, admin, "mem", role)
    assert (await user.get(f"/v1/projects/1a5/environments/{stack['id']}")).status == 200
    made = (await user.post("/v1/projects/1a5/environments", {"name": "shop"})).status
    assert made == 201 if may_make else made == 405
    token = (await user.post("/v1/projects/1a5/registrationtokens", {})).status
    assert token == 201 if may_join else token in (404, 405)
    renamed = (await user.put("/v1/projects/1a5", {"description": "x"})).status
    assert renamed == (200 if may_own else 403)
    acted = (await user.post(f"/v1/projects/1a5/environments/{stack['id']}/?action=activateservices")).status
    assert acted == (202 if may_make else 403)


async def test_members_lose_sight_of_an_inactive_project_and_owners_keep_it() -> None:
    replica, admin = await enabled()
    mem = await member(replica, admin, "mem", "member")
    boss = await member(replica, admin, "boss", "owner")
    assert (await boss.post("/v1/projects/1a5/?action=deactivate")).status == 202
    assert (await mem.get("/v1/projects/1a5")).status == 404
    assert (await boss.get("/v1/projects/1a5")).body["state"] == "inactive"
    for client in (mem, boss, admin):
        assert (await client.get("/v1/projects/1a5/environments")).status == 403
    assert (await boss.post("/v1/projects/1a5/?action=activate")).status == 202
    assert (await mem.get("/v1/projects/1a5")).status == 200


async def test_members_must_have_an_owner() -> None:
    replica, admin = await enabled()
    number = await person(replica, admin, "alice")
    answer = await admin.post("/v1/projects/1a5/?action=setmembers", {"members": [{"externalId": number}]})
    assert (answer.status, answer.body["code"]) == (400, "InvalidFormat")


async def test_changing_a_password_needs_the_old_one_and_ends_sessions() -> None:
    replica, admin = await enabled()
    await person(replica, admin, "alice")
    alice = await logged_in(replica, "alice", "pw of alice")
    [password] = (await alice.get("/v1/passwords")).data
    url = f"/v1/passwords/{password['id']}/?action=changesecret"
    assert (await alice.post(url, {"oldSecret": "wrong", "newSecret": "n"})).status == 400
    assert (await alice.post(url, {"oldSecret": "pw of alice", "newSecret": "n"})).status in (200, 202)
    assert (await alice.get("/v1")).status == 401
    assert (await logged_in(replica, "alice", "n")).token is not None


async def test_deactivated_account_is_out_with_its_session_and_keys() -> None:
    replica, admin = await enabled()
    number = await person(replica, admin, "alice")
    alice = await logged_in(replica, "alice", "pw of alice")
    made = await alice.make("/v1/apikeys", {"name": "mine"})
    key = Client(replica, key=(made["publicValue"], made["secretValue"]))
    assert made["accountId"] == number
    assert (await key.get("/v1/apikeys")).data[0]["id"] == made["id"]
    assert (await admin.post(f"/v1/accounts/{number}/?action=deactivate")).status == 202
    assert (await alice.get("/v1")).status == (await key.get("/v1")).status == 401
    assert (await Client(replica).post("/v1/token", {"code": "alice:pw of alice"})).status == 401


async def test_people_see_their_own_identity_and_find_others_by_name() -> None:
    replica, admin = await enabled()
    user = await member(replica, admin, "mem", "member")
    assert [row["login"] for row in (await user.get("/v1/identities")).data] == ["mem"]
    [found] = (await user.get("/v1/identities?name=roo")).data
    assert (found["id"], found["externalIdType"], found["login"]) == ("rancher_id:1a1", "rancher_id", "root")
    assert (await user.get("/v1/identities/rancher_id:1a1")).body["name"] == "The Admin"


async def test_administrator_sees_all_projects_only_when_it_asks() -> None:
    replica, admin = await enabled()
    await person(replica, admin, "alice")
    await logged_in(replica, "alice", "pw of alice")
    assert [row["id"] for row in (await admin.get("/v1/projects")).data] == ["1a5"]
    assert [row["id"] for row in (await admin.get("/v1/projects?all=true")).data] == ["1a5", "1a8"]


async def test_administrator_views_as_another_role_and_nobody_else_does() -> None:
    replica, admin = await enabled()
    assert (await admin.post("/v1/environments?_role=readonly", {"name": "x"})).status == 405
    assert (await admin.get("/v1/schemas/setting?_role=user")).body["collectionMethods"] == ["GET"]
    user = await member(replica, admin, "mem", "readonly")
    assert (await user.post("/v1/projects/1a5/environments?_role=superadmin", {"name": "x"})).status == 405


async def test_settings_are_written_by_administrators_and_only_some_are_read_by_others() -> None:
    replica, admin = await enabled()
    assert (await admin.put("/v1/settings/api.host", {"value": "http://h1"})).body["activeValue"] == "http://h1"
    made: Any = await admin.make("/v1/settings", {"name": "my.own", "value": "x"})
    assert (made["id"], made["source"], made["inDb"]) == ("1s!my.own", "Database", True)
    assert (await admin.put("/v1/settings/api.security.enabled", {"value": "false"})).status == 422
    user = await member(replica, admin, "mem", "member")
    assert (await user.get("/v1/settings/api.host")).body["value"] == "http://h1"
    assert (await user.get("/v1/settings/my.own")).status == 404
    assert (await user.put("/v1/settings/api.host", {"value": "x"})).status == 405


async def test_keys_that_were_there_before_go_on_working() -> None:
    replica = FakeReplica()
    root = Client(replica, is_local=True)
    admins, environments = await root.make("/v1/apikeys", {}), await root.make("/v1/projects/1a5/apikeys", {})
    await root.make("/v1/localauthconfig", ENABLE)
    for made in (admins, environments):
        key = Client(replica, key=(made["publicValue"], made["secretValue"]))
        assert (await key.get("/v1/projects")).data[0]["id"] == "1a5"
    assert (await root.get("/v1/accounts")).status == 200
