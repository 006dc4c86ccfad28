"""What can go wrong with a page at a server, by whose fault it is."""

import math

from ocrd.errors import ConfigError

MIB = 2**20
_OTHER_SCAN = "Scan the page again, or try another engine for this document."


class ServerFault(Exception):  # noqa: N818 - it is what happened, not an error of the program
    """The server failed at the page, and perhaps only at this one: the page goes to another."""

    remedy = "Look at this page of the original, and scan it again if it looks damaged."
    """What to do where it fails at this page again and again."""


class ProxyTimeout(ServerFault):
    """A proxy before the server waited no longer for its answer."""

    remedy = "Let the proxy wait as long as engine.openai.timeout (nginx: proxy_read_timeout), and read this once more."


class Lost(ServerFault):
    """The server is gone, with every page that was in it."""


class Overloaded(ServerFault):
    """The server is well, and has too much to do."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        """Take what it said, and for how many seconds it wants to be left alone, where it said that."""
        super().__init__(what)
        self.wait = wait


class Crowded(ServerFault):
    """The server failed for want of room; beside other pages that is too much to do, alone it is as any failure."""

    remedy = "Give the server more room for each page (llama.cpp: -np and -c), and read this once more."


class Misconfigured(ServerFault):
    """The server will read no page before somebody changes a setting."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} {remedy}")
        self.error = ConfigError(what, remedy)


class TooLarge(Misconfigured):
    """The server, or a proxy before it, takes no request of so many bytes; that says nothing of the page."""

    def __init__(self, length: int, said: str) -> None:
        """Take the length of the request, bytes, and what was said of it."""
        room = 1 << max(6, math.ceil(math.log2(length / MIB)))
        super().__init__(
            f"It takes no request of {length / MIB:.1f} MiB ({said}), and a page can be as large.",
            f"Raise its limit, or that of the proxy before it, to {room} MiB (nginx: client_max_body_size {room}m).",
        )
        self.length = length


class Disagreement(Misconfigured):
    """The server runs another model than the others."""


class RefusesAll(ServerFault):
    """The server would not even have the test page."""


class Refusal(Exception):  # noqa: N818 - as above
    """The server is well, and will not have this page."""

    def __init__(self, what: str, remedy: str = _OTHER_SCAN) -> None:
        """Take what it said, and what to do if others say the same."""
        super().__init__(what)
        self.remedy = remedy
