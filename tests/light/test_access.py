"""Access control on real daemons: turned on through one, logged in through another, ended everywhere."""

from pathlib import Path

from scripts.lightlib.cluster import Answer, LightCluster, LightNode, eventually, run_node

ENABLE = {
    "type": "localAuthConfig",
    "enabled": True,
    "accessMode": "unrestricted",
    "name": "The Admin",
    "username": "root",
    "password": "secret of root",
}


def ask(node: LightNode, method: str, path: str, body: object = None, *, token: str | None = None) -> Answer:
    headers = {"X-API-No-Challenge": "true"}
    return node.ask(method, path, body, headers=headers if token is None else {**headers, "Authorization": token})


def everywhere(cluster: LightCluster, status: int, what: str, *, token: str | None = None) -> None:
    """Wait until every node answers with that status: a node may be a moment behind what another has acknowledged."""
    for node in cluster.nodes:
        eventually(lambda: ask(node, "GET", "/v1/projects", token=token).status == status or None, what)  # noqa: B023


def log_in(node: LightNode, password: str) -> Answer:
    return ask(node, "POST", "/v1/token", {"code": f"root:{password}", "authProvider": "localauthconfig"})


def test_session_of_one_node_counts_at_every_node_until_it_is_ended_at_any(light: LightCluster) -> None:
    first, second, third = light.make(3)
    assert ask(first, "GET", "/v1/token").body["data"][0]["security"] is False
    assert ask(first, "POST", "/v1/localauthconfig", ENABLE).status == 201
    everywhere(light, 401, "nobody gets in without proof")
    told = ask(third, "GET", "/v1/token").body["data"][0]
    assert (told["security"], told["authProvider"]) == (True, "localauthconfig")

    assert log_in(second, "wrong").status == 401
    answer = log_in(second, "secret of root")
    assert answer.status == 201, answer.body
    token = f"Bearer {answer.body['jwt']}"
    everywhere(light, 200, "the session counts", token=token)
    assert ask(third, "POST", "/v1/projects/1a5/environments", {"name": "shop"}, token=token).status == 201
    cookie = {"Cookie": f"token={answer.body['jwt']}"}
    assert third.ask("GET", "/v1/projects", headers=cookie).status == 200

    light.kill(second)
    light.start(second)
    everywhere(light, 200, "the session outlives the daemon that made it", token=token)

    # A cluster that elects answers 503; the session of a first try that counted all the same is refused at the second.
    eventually(lambda: ask(third, "DELETE", "/v1/token", token=token).status in (200, 401) or None, "logged out")
    everywhere(light, 401, "the session is over", token=token)
    for node in light.nodes:
        text = node.log()
        assert "Traceback" not in text
        assert "secret of root" not in text
        assert answer.body["jwt"] not in text


def test_command_line_logs_in_at_another_node_than_the_one_that_closed_the_door(
    light: LightCluster, tmp_path: Path
) -> None:
    first, second = light.found(), light.join()
    variables, root = {"XDG_CONFIG_HOME": str(tmp_path / "config")}, ("--socket", str(first.run / "api.sock"))

    def typed(*words: str, code: int = 0, password: str = "") -> str:
        ran = run_node(*words, variables=variables, stdin=f"{password}\n")
        assert ran.code == code, ran.err
        assert not password or password not in ran.out + ran.err
        return ran.out + ran.err

    assert "ACCESS CONTROL IS OFF" in typed("status", *root)
    typed("access-control", "enable", "--login", "root", "--password-stdin", *root, password="secret of root")
    typed("account", "create", "alice", "--password-stdin", *root, password="secret of alice")
    assert "ACCESS CONTROL IS OFF" not in typed("status", *root)
    there = ("--socket", str(second.run / "api.sock"))
    eventually(lambda: "alice" in typed("account", "ls", *there) or None, "the other node knows alice")
    typed("ctx", "add", "two", "--url", second.url)
    typed("host", "ls", "--context", "two", code=1)
    typed("login", "alice", "--password-stdin", "--context", "two", password="secret of alice")
    assert "alice-Default" in typed("env", "ls", "--context", "two")
    typed("logout", "--context", "two")
    typed("env", "ls", "--context", "two", code=1)
    typed("access-control", "disable", "--yes", *root)
    assert "ACCESS CONTROL IS OFF" in typed("status", *root)
    for node in light.nodes:
        assert "secret of" not in node.log()
