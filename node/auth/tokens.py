"""Join tokens as the API meets them: whether one is good now, by the replicated state.

Pure; admission itself decides by protocol.admission, when the host speaks to a member's peer port.
"""

from node.api.ids import parse_id
from node.model import State
from protocol.tokens import JoinToken, is_expired, secret_matches, token_secret_hash

_NOBODYS_HASH = token_secret_hash("")


def is_good(state: State, token: JoinToken, now: int) -> bool:
    """Whether hosts may join with it; an unknown one costs as much as a wrong one."""
    row = next((each for each in state.tokens.values() if each.token_id == token.token_id), None)
    is_right = secret_matches(_NOBODYS_HASH if row is None else row.secret_hash, token.secret)
    if row is None or not is_right or row.state != "active":
        return False
    return row.environment_id == parse_id(token.environment_id) and not is_expired(row.expires, now)
