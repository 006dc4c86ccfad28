"""What Hugging Face's library says while it asks for a model's files, told once and in words of ours."""

import logging
import re

log = logging.getLogger(__name__)


def in_our_words() -> None:
    """Take, from now on, the place of the library's own handler; once that is done, do nothing."""
    its = logging.getLogger("huggingface_hub")
    if not any(isinstance(handler, _Retries) for handler in its.handlers):
        its.handlers[:], its.propagate = [_Retries()], False


class _Retries(logging.Handler):
    """Tells once, in words of ours, that a file of the model is asked for again. What else is said passes as it is.

    The library's own handler would print a second time what the log has.
    """

    _FAILED = re.compile(
        r"(?:'(?P<why>.*)'|(?P<status>HTTP Error \d+)) thrown while requesting \w+ (?P<url>\S+)", re.DOTALL
    )
    _AGAIN = re.compile(r".* \[Retry \d+/\d+\]\.?")
    """Comes behind such a failure, unless that was the last."""
    _RESUMED = re.compile(r"Error while downloading from (?P<url>\S+): (?P<why>.*)\nTrying to resume", re.DOTALL)
    _GIVEN_UP = re.compile(r"Error while downloading from .*\nMax retries exceeded", re.DOTALL)
    """Raised, too."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._failed: dict[int | None, re.Match[str]] = {}
        """By thread, each of which fetches a file."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take in what the library says."""
        text = record.getMessage()
        if failed := self._FAILED.fullmatch(text):
            self._failed[record.thread] = failed
        elif self._AGAIN.fullmatch(text):
            self._tell(self._failed.pop(record.thread, None))
        elif resumed := self._RESUMED.match(text):
            self._tell(resumed)
        elif not self._GIVEN_UP.match(text):
            log.handle(record)

    @staticmethod
    def _tell(failed: re.Match[str] | None) -> None:
        if failed:
            why = failed["why"] or failed.groupdict().get("status", "no answer")
            name = re.sub(r".*/resolve/[^/]+/", "", failed["url"])
            log.warning("%s could not be fetched (%s); it is tried again", name, " ".join(why.split()))
