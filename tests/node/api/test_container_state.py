"""A container's state, from what is wanted of it and what was seen: the table of API.md 3."""

from typing import Any

import msgspec
import pytest

from node.api.states import container_state
from node.model import Container, LaunchConfig, Seen

PLACED = Container(
    id=1, uuid="u", created=0, environment_id=5, name="c", launch=LaunchConfig(image_uuid="docker:x"), host_id=1
)
SERVICE = {"service_id": 1}
ONCE = {**SERVICE, "launch": LaunchConfig(image_uuid="docker:x", labels={"io.rancher.container.start_once": "true"})}


@pytest.mark.parametrize(
    ("changes", "seen", "expected"),
    [
        ({"host_id": None}, {}, "requested"),
        ({}, {}, "creating"),
        ({}, {"status": "pulling"}, "creating"),
        ({}, {"status": "gone"}, "creating"),
        ({}, {"status": "created"}, "starting"),
        ({}, {"status": "running", "starts": 1}, "running"),
        ({"restarts_wanted": 1}, {"status": "running", "starts": 1}, "restarting"),
        ({"restarts_wanted": 1}, {"status": "running", "starts": 2}, "running"),
        ({}, {"status": "exited", "starts": 1}, "stopped"),
        ({"restarts_wanted": 1}, {"status": "exited", "starts": 1}, "starting"),
        (SERVICE, {"status": "exited", "starts": 1}, "starting"),
        (ONCE, {"status": "exited", "starts": 1}, "stopped"),
        ({}, {"status": "error"}, "error"),
        ({"desired": "stopped"}, {}, "stopped"),
        ({"desired": "stopped"}, {"status": "running", "starts": 1}, "stopping"),
        ({"desired": "stopped"}, {"status": "exited", "starts": 1}, "stopped"),
        ({"desired": "removed"}, {"status": "running", "starts": 1}, "stopping"),
        ({"desired": "removed"}, {"status": "exited", "starts": 1}, "removing"),
        ({"desired": "removed", "host_id": None}, {}, "removing"),
        ({"desired": "removed", "removed": 9}, {"status": "gone"}, "removed"),
    ],
)
def test_container_shows_the_state_its_row_is_in(changes: dict[str, Any], seen: dict[str, Any], expected: str) -> None:
    assert container_state(msgspec.structs.replace(PLACED, **changes, seen=Seen(**seen))) == expected
