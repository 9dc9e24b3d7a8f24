"""Docker's refusals are told apart by status and words."""

import docker.errors
import pytest
import requests
import requests.exceptions
import urllib3.exceptions

from node.engine.errors import engine_error


def api_error(status: int, words: str) -> docker.errors.APIError:
    response = requests.Response()
    response.status_code = status
    return docker.errors.APIError(words, response=response, explanation=words)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (api_error(500, "driver failed: Bind for 0.0.0.0:80 failed: port is already allocated"), "port-taken"),
        (api_error(500, "listen tcp4 0.0.0.0:80: bind: address already in use"), "port-taken"),
        (api_error(403, "Address already in use"), "address-taken"),
        (api_error(409, 'Conflict. The container name "/r-a" is already in use by container "f"'), "name-taken"),
        (api_error(404, "No such image: nginx:9"), "image-missing"),
        (api_error(404, "No such container: f"), "not-found"),
        (api_error(400, "invalid volume specification"), "invalid"),
        (api_error(500, "OCI runtime create failed"), "failed"),
        (requests.exceptions.ConnectionError("refused"), "unavailable"),
        (FileNotFoundError("no socket"), "unavailable"),
        (urllib3.exceptions.ProtocolError("Connection broken: IncompleteRead"), "unavailable"),
        (docker.errors.InvalidArgument("network_mode is incompatible with port_bindings"), "invalid"),
        (docker.errors.InvalidRepository("Repository name cannot contain a scheme"), "invalid"),
        (ValueError("not enough values to unpack"), "failed"),
        (KeyError("State"), "failed"),
    ],
)
def test_refusal_has_its_code(error: Exception, code: str) -> None:
    assert engine_error(error).code == code
