"""What can go wrong with a page at a server, by whose fault it is."""

from ocrd.errors import ConfigError


class ServerFault(Exception):  # noqa: N818 - it is what happened, not an error of the program
    """The server failed at the page, and perhaps only at this one: the page goes to another."""


class Lost(ServerFault):
    """The server is gone, with every page that was in it."""


class Overloaded(ServerFault):
    """The server is well, and has too much to do."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        """Take what it said, and for how many seconds it wants to be left alone, where it said that."""
        super().__init__(what)
        self.wait = wait


class Misconfigured(ServerFault):
    """The server will read no page before somebody changes a setting."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} {remedy}")
        self.error = ConfigError(what, remedy)


class Disagreement(Misconfigured):
    """The server runs another model than the others."""


class RefusesAll(ServerFault):
    """The server would not even have the test page."""


class Refusal(Exception):  # noqa: N818 - as above
    """The server is well, and will not have this page."""
