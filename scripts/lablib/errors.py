"""The one exception the lab raises for people: its text says what is wrong and what to do about it."""


class LabError(Exception):
    """Something a user can act on; the command line prints it and exits with `code`."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
