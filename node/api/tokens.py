"""`/v1/token`: how to log in, logging in, and logging out; the one type that may be asked for without proof."""

from node.api.access import Access, code_of, login_of
from node.api.call import Urls
from node.api.definitions.accounts import identity_values
from node.api.errors import ApiError
from node.api.http import Request
from node.api.ids import format_id
from node.api.listing import empty_collection
from node.api.output import Json
from node.api.parse import parse_body
from node.auth.access import Caller
from node.model import Account, State
from node.state.accounts import PROVIDER


def _values(state: State, urls: Urls) -> Json:
    return {
        "id": None,
        "type": "token",
        "links": {"self": urls.collection("tokens")},
        "actions": {},
        "accountId": None,
        "authProvider": state.settings.get(PROVIDER),
        "clientId": None,
        "code": None,
        "enabled": not state.cluster.open_access and PROVIDER in state.settings,
        "identities": None,
        "jwt": None,
        "redirectUrl": None,
        "security": not state.cluster.open_access,
        "user": None,
        "userIdentity": None,
        "userType": None,
    }


def _granted(state: State, urls: Urls, token: str, account: Account) -> Json:
    identity = identity_values(state, account, urls)
    return {
        **_values(state, urls),
        "accountId": format_id("project", account.id),
        "identities": [identity],
        "jwt": token,
        "user": login_of(state, account.id),
        "userIdentity": identity,
        "userType": account.kind,
    }


async def answer_token(
    request: Request, method: str, urls: Urls, state: State, caller: Caller, access: Access
) -> tuple[int, Json]:
    """GET says how to log in, POST logs in, DELETE ends the session that it was sent with."""
    match method:
        case "GET":
            self_url = urls.collection("tokens")
            return 200, {**empty_collection("token", self_url), "data": [_values(state, urls)]}
        case "POST":
            token, account, _ = await access.log_in(code_of(parse_body(request, [])), request.client)
            return 201, _granted(state, urls, token, account)
        case "DELETE":
            if caller.session is None:
                raise ApiError("Unauthorized", "log out with the session's own token")
            await access.log_out(caller.session)
            return 200, _values(state, urls)
    raise ApiError("Method not allowed")
