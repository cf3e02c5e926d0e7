"""Errors of a step that cannot be done or published. Each message is one sentence that says what to do."""

from mm_assets.judging.verdicts import Verdict, failed_sentences


class RefusalError(Exception):
    """The step cannot be done now; the message is one sentence that says what to do."""


class BlockedError(RefusalError):
    """The data failed a blocking check, and nothing was committed; `verdicts` has all blocking checks."""

    def __init__(self, asset: str, verdicts: tuple[Verdict, ...]) -> None:
        super().__init__(f"{asset}: nothing was published; {failed_sentences(verdicts)}")
        self.asset, self.verdicts = asset, verdicts
