"""What the Docker engine reads out of the daemon's answers, as far as it needs no daemon."""

from node.engine.dockerd import never_started
from node.ports import EngineContainer


def test_created_container_is_read_from_its_row_alone() -> None:
    row = {
        "Id": "f" * 64,
        "Names": ["/r-web_nginx_1"],
        "Labels": {"io.rancher.container.uuid": "uuid-1", "io.corral.cluster": "c" * 32},
        "State": "created",
    }
    assert never_started(row) == EngineContainer(
        external_id="f" * 64,
        uuid="uuid-1",
        name="r-web_nginx_1",
        status="created",
        exit_code=None,
        started=None,
        finished=None,
    )


def test_created_container_without_labels_has_no_uuid() -> None:
    assert never_started({"Id": "a", "Names": ["/a"], "Labels": None, "State": "created"}).uuid == ""
