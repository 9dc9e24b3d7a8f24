"""`GET scripts/TOKEN`: the shell script that a host runs to join, for whoever shows a join token that is good now.

Pure.  The script is POSIX sh, changes nothing before everything is known to be there, and hands the token on in the
environment, where no list of processes shows it.  Form and variables: API.md 8.
"""

import re

from node.auth.tokens import is_good
from node.model import State
from protocol.errors import DecodeError
from protocol.tokens import parse_token

_PATH = re.compile(r"(/scripts/)[^/]+", re.IGNORECASE)
_SAFE = re.compile(r"[A-Za-z0-9_.:/\[\]-]*\Z")


def redact(path: str) -> str:
    """Return a path as it may be logged: without the token that names a script."""
    return _PATH.sub(r"\1…", path)


def is_welcome(state: State, text: str, now: int) -> bool:
    """Whether a token's text, as in a path, is good now; nothing about it gets into an answer or a log."""
    try:
        token = parse_token(text)
    except DecodeError:
        return False
    return is_good(state, token, now)


def join_line(url: str, token: str) -> str:
    """What a person types on a host that has Corral."""
    return f"node join {url} --token {token}"


def pasted_line(url: str, token: str) -> str:
    """What a person pastes on a host, as Rancher's hosts were added."""
    return f"curl -fsSL {url}/v1/scripts/{token} | sudo sh"


def render_script(base: str, token: str, client: str) -> str:
    """Return the script; `base` is the node's URL as the host sees it."""
    for word in (base, token, client):
        if not _SAFE.match(word):
            raise ValueError("a word that does not belong into a script")
    return _SCRIPT.replace("@BASE@", base).replace("@TOKEN@", token).replace("@CLIENT@", client)


_SCRIPT = """#!/bin/sh
# Makes this host a member of the Corral cluster at @BASE@.
# It installs nothing: it checks what must be there, and runs `corral join`.
set -eu

export CATTLE_REGISTRATION_ACCESS_KEY='registrationToken'
export CATTLE_REGISTRATION_SECRET_KEY='@TOKEN@'
export CATTLE_URL='@BASE@/v1'
export DETECTED_CATTLE_AGENT_IP='@CLIENT@'

fail() {
    printf 'corral: %s\\n' "$1" >&2
    printf '  try: %s\\n' "$2" >&2
    exit 1
}

find_corral() {
    # Another program is called `node` too: the name that is ours alone comes first.
    for place in corral /opt/corral/bin/corral; do
        if command -v "$place" >/dev/null 2>&1; then
            command -v "$place"
            return
        fi
    done
    if node version 2>/dev/null | grep -qi corral; then
        command -v node
    fi
}

[ "$(id -u)" = 0 ] || fail 'only root can join a host' 'pipe this script into: sudo sh'

docker version >/dev/null 2>&1 ||
    fail 'no Docker engine answers on this host' 'install one (apt-get install docker.io), start it, and run this again'

corral=$(find_corral)
if [ -z "$corral" ]; then
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail 'Corral is not installed, and it needs Python 3.11 or newer' 'install python3 and python3-venv first'
    fail 'Corral is not installed here, and nodes hand out no packages, which nobody could verify' \\
        'python3 -m venv /opt/corral && /opt/corral/bin/pip install CORRAL.whl (copied from a member), then this again'
fi

# Options that were given to Rancher's agent: an address, and labels as a=b&c=d.
set -- join '@BASE@'
if [ -n "${CATTLE_AGENT_IP:-}" ]; then
    set -- "$@" --advertise "$CATTLE_AGENT_IP"
fi
labels=${CATTLE_HOST_LABELS:-}
while [ -n "$labels" ]; do
    set -- "$@" --label "${labels%%&*}"
    case $labels in
        *'&'*) labels=${labels#*&} ;;
        *) labels= ;;
    esac
done

export CORRAL_TOKEN="$CATTLE_REGISTRATION_SECRET_KEY"
unset CATTLE_REGISTRATION_SECRET_KEY
printf 'corral: joining %s; see also: corral install, which has systemd start the node\\n' '@BASE@'
exec "$corral" "$@" </dev/null
"""
