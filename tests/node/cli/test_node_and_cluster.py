"""Status, hosts, environments, tokens, keys, the raw API and contexts, against the real API."""

import json
import time
from pathlib import Path

import pytest

from tests.node.cli.conftest import Typed
from tests.node.cli.served import Served


def test_status_names_cluster_environment_role_and_members(typed: Typed) -> None:
    result = typed("status")
    assert result.code == 0
    shown = dict(line.split(None, 1) for line in result.out.splitlines()[:9])
    assert shown["Cluster"] == "c0" * 16
    assert shown["Environment"] == "Default (1a5)"
    assert shown["Role"].startswith("leader, term 1")
    assert shown["Leader"] == "h1"
    assert shown["Access"] == "by key"
    assert [line.split()[0] for line in result.out.splitlines() if "alive" in line] == ["h1", "h2", "h3"]


def test_status_tells_since_when_there_is_no_leader(typed: Typed, served: Served) -> None:
    served.replica.leaderless_since = served.replica.now
    assert "!! NO LEADER since 2016-04-12T06:00:00Z" in typed("status").out


def test_status_without_a_daemon_says_so_and_how_to_start(away: Typed, tmp_path: Path) -> None:
    result = away("status", "--data-dir", str(tmp_path / "fresh"))
    assert (result.code, result.out) == (1, "")
    assert "no node runs on this host" in result.err
    assert "`node start`" in result.err


def test_hosts_are_listed_with_what_they_are(typed: Typed) -> None:
    lines = typed("host", "ls").out.splitlines()
    assert lines[0].split()[:4] == ["ID", "NAME", "STATE", "ADDRESS"]
    assert lines[1].split()[:4] == ["1h1", "h1", "active", "192.0.2.1"]


def test_host_labels_are_set_and_taken_away_and_filtered_by(typed: Typed) -> None:
    assert typed("host", "label", "h1", "zone=a", "disk=ssd").out == "h1  disk=ssd,zone=a\n"
    assert typed("host", "label", "h1", "disk-").out == "h1  zone=a\n"
    assert typed("host", "ls", "--filter", "labels.zone=a", "-q").out == "1h1\n"
    assert typed("host", "ls", "--filter", "label=zone=a", "-q").out == "1h1\n"
    assert typed("host", "label", "h1", "nonsense").code == 2


def test_host_is_removed_only_when_deactivated_and_confirmed(typed: Typed) -> None:
    refused = typed("host", "rm", "h3", "--yes")
    assert refused.code == 1
    assert "`node host deactivate h3`" in refused.err
    assert typed("host", "deactivate", "h3").code == 0
    assert "say --yes" in typed("host", "rm", "h3").err
    assert typed("host", "rm", "h3", "--yes").code == 0
    assert typed("host", "ls", "--format", "{{.name}}").out.split() == ["h1", "h2"]


def test_environments_are_made_renamed_used_and_removed(typed: Typed) -> None:
    assert typed("env", "create", "test").code == 0
    assert typed("env", "rename", "Default", "dev").code == 0
    typed("stack", "create", "web", "--env", "test")
    assert typed("stack", "ls", "-q").out == ""
    assert typed("env", "use", "test").code == 0
    assert typed("stack", "ls", "--format", "{{.name}}").out == "web\n"
    assert "test *" in typed("env", "ls").out
    assert typed("--env", "dev", "stack", "ls", "-q").out == ""
    assert typed("env", "rm", "test", "--yes").code == 0


def test_unknown_environment_is_an_error_that_lists_what_there_is(typed: Typed) -> None:
    result = typed("stack", "ls", "--env", "nowhere")
    assert result.code == 1
    assert "no environment 'nowhere'" in result.err
    assert "there are: Default" in result.err


def test_token_is_made_rotated_and_the_old_one_refused_from_then_on(typed: Typed) -> None:
    first = typed("token", "create")
    assert first.out.startswith("node join http://192.0.2.1:8080 --token corral1_1a5_")
    assert typed("token", "create", "-q").out.startswith("corral1_1a5_")
    rotated = typed("token", "rotate")
    assert "2 older tokens are refused from now on" in rotated.err
    states = [row["state"] for row in typed("token", "ls", "--json").json]
    assert states == ["inactive", "inactive", "active"]


def test_token_expires_when_asked_to(typed: Typed, served: Served) -> None:
    before = time.time()
    assert typed("token", "create", "--expires", "100d").code == 0
    expires = served.replica.state.tokens[1].expires
    assert expires is not None
    assert before + 100 * 86400 - 1 <= expires / 1000 <= time.time() + 100 * 86400 + 1
    assert typed("token", "create", "--expires", "tomorrow").code == 2


def test_api_key_shows_its_secret_once_and_opens_the_api_from_elsewhere(
    typed: Typed, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = typed("apikey", "create", "ci", "--json").json
    typed("stack", "create", "web")
    assert made["secretValue"] not in typed("apikey", "ls", "--json").out
    keys = ["--access-key", made["publicValue"], "--secret-key", made["secretValue"]]
    assert typed("stack", "ls", "--url", served.url, *keys, "--format", "{{.name}}").out == "web\n"
    monkeypatch.setenv("RANCHER_URL", f"{served.url}/v1/projects/1a5")
    monkeypatch.setenv("RANCHER_ACCESS_KEY", made["publicValue"])
    monkeypatch.setenv("RANCHER_SECRET_KEY", made["secretValue"])
    assert typed("stack", "ls", "-q").out == "1e1\n"
    assert typed("apikey", "rm", "ci", "--socket", str(served.socket)).code == 0
    refused = typed("stack", "ls")
    assert refused.code == 1
    assert "does not accept this key" in refused.err


def test_url_without_a_key_is_told_to_bring_one(typed: Typed, served: Served) -> None:
    result = typed("stack", "ls", "--url", served.url)
    assert result.code == 1
    assert "wants a key" in result.err
    assert "--access-key" in result.err


def test_api_prints_the_answer_and_its_head_without_secrets(typed: Typed) -> None:
    result = typed("api", "GET", "/v1/projects/1a5", "-i", "--verbose", "--access-key", "A", "--secret-key", "hidden")
    assert result.code == 0
    assert result.out.startswith("HTTP/1.1 200 OK\n")
    assert '"type": "project"' in result.out
    assert "> GET " in result.err
    assert "hidden" not in result.out + result.err


def test_api_takes_a_relative_path_and_a_body_from_a_file(typed: Typed, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"name": "web"}))
    assert typed("api", "POST", "environments", "-d", f"@{body}").json["name"] == "web"
    assert typed("api", "post", "environments", "-d", "@/nowhere").code == 1


@pytest.mark.parametrize("body", ['{"name', "[]", "{'a': 1}", "nonsense"])
def test_api_with_broken_json_fails_with_the_reason_and_changes_nothing(
    typed: Typed, served: Served, body: str
) -> None:
    result = typed("api", "POST", "environments", "-d", body)
    assert result.code == 1
    assert "InvalidBodyContent" in result.out
    assert "the API answers 400" in result.err
    assert served.replica.submitted == []


def test_doctor_exits_1_when_a_check_fails_and_says_what_to_try(typed: Typed, served: Served) -> None:
    assert typed("doctor").code == 0
    served.chores.findings.append({"check": "h2: peer port", "level": "fail", "detail": "closed", "try": "open it"})
    result = typed("doctor")
    assert result.code == 1
    assert "FAIL" in result.out
    assert "open it" in result.out


def test_leave_needs_a_yes_and_this_hosts_socket(typed: Typed, served: Served) -> None:
    assert "say --yes" in typed("leave").err
    assert "a host leaves by itself" in typed("leave", "--url", served.url, "--yes").err
    assert served.chores.left == []


def test_version_shows_this_program_and_every_node(typed: Typed) -> None:
    found = typed("version", "--json").json
    assert found["client"] == "0.1.0"
    assert [each["name"] for each in found["nodes"]] == ["h1", "h2", "h3"]


def test_version_works_without_a_cluster(away: Typed) -> None:
    assert away("version").out == "client  0.1.0\n"


def test_context_is_saved_privately_chosen_shown_and_forgotten(
    typed: Typed, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = typed("apikey", "create", "ci", "--json").json
    monkeypatch.setenv("CORRAL_SOCKET", str(tmp_path / "nobody.sock"))
    keys = ["--access-key", made["publicValue"], "--secret-key", made["secretValue"]]
    assert typed("ctx", "add", "lab", "--url", served.url, *keys).code == 0
    file = tmp_path / "config" / "corral" / "config.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert typed("stack", "ls").code == 0
    assert "lab *" in typed("ctx", "ls").out
    assert made["secretValue"] not in typed("ctx", "ls", "--json").out + typed("ctx", "show").out
    file.chmod(0o644)
    assert "chmod 600" in typed("stack", "ls").err
    file.chmod(0o600)
    assert typed("ctx", "rm", "lab").code == 0
    assert typed("stack", "ls").code == 1


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--url", "ftp://h1"), "is no URL of an API"),
        (("--url", "http://"), "is no URL of an API"),
        (("--url", "http://h1:notaport"), "is no URL"),
        (("--url", "http://user:pw@h1"), "the URL has a key in it"),
        (("--url", "http://nosuch.invalid"), "cannot find nosuch.invalid"),
        (("--url", "http://127.0.0.1:1"), "cannot reach http://127.0.0.1:1"),
        (("--context", "unknown"), "no context 'unknown' is saved"),
        ((), "no node runs on this host"),
    ],
)
def test_api_that_cannot_be_reached_is_told_apart(away: Typed, words: tuple[str, ...], what: str) -> None:
    result = away("stack", "ls", *words)
    assert (result.code, result.out) == (1, "")
    assert what in result.err
    assert "try:" in result.err


def test_cluster_status_shows_who_leads_who_votes_and_how_far_each_is(typed: Typed) -> None:
    lines = typed("cluster", "status").out.splitlines()
    shown = dict(line.split(None, 1) for line in lines if line and not line.startswith("This"))
    assert (shown["Leader"], shown["Term"], shown["Voters"]) == ("h1", "1", "h1")
    assert shown["Learners"] == "-"
    assert lines[-4].split() == ["MEMBER", "VOTE", "STATUS", "LAG", "HEARD", "SENDING"]
    assert json.loads(typed("cluster", "status", "--json").out)["term"] == 1


def test_leadership_is_handed_to_the_host_that_is_named_or_to_any(typed: Typed, served: Served) -> None:
    assert typed("cluster", "transfer-leader", "h2").out == "h1 leads\n"
    assert typed("cluster", "transfer-leader").code == 0
    assert served.chores.transferred == [2, None]
    assert typed("cluster", "transfer-leader", "nobody").code == 1


def test_promote_and_demote_set_the_label_that_the_leader_goes_by(typed: Typed) -> None:
    typed("host", "label", "h2", "zone=a")
    assert "corral.vote=yes" in typed("cluster", "promote", "h2").out
    assert typed("host", "label", "h2", "x=y").out == "h2  corral.vote=yes,x=y,zone=a\n"
    assert "corral.vote=no" in typed("cluster", "demote", "h2").out
