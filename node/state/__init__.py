"""The state machine: `apply` alone turns commands into states, the codec alone turns states into bytes.

Pure: equal histories give equal states on every replica.  Nothing here reads a clock or draws a number.
"""

from node.state.apply import MAX_RECENT, TOO_OLD, Applied, AppliedAll, apply, apply_proposal, apply_proposals
from node.state.codec import decode_state, encode_state, state_digest
from node.state.indexes import Indexes
from node.state.taken import Taken

__all__ = [
    "MAX_RECENT",
    "TOO_OLD",
    "Applied",
    "AppliedAll",
    "Indexes",
    "Taken",
    "apply",
    "apply_proposal",
    "apply_proposals",
    "decode_state",
    "encode_state",
    "state_digest",
]
