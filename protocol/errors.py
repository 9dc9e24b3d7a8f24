"""Errors that protocol code raises on bad input from a peer or a user; each message says what was expected."""


class ProtocolError(Exception):
    """Base of everything raised for input that breaks a rule of the protocol."""


class DecodeError(ProtocolError):
    """Bytes that are no valid frame, datagram, token or certificate of ours."""


class AuthenticityError(ProtocolError):
    """Bytes that decode but were not made by who they claim: wrong key, digest, signature or secret."""
