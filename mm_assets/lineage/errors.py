"""Why a step cannot be done or published: each message is one sentence that says what to do."""

from mm_assets.judging.verdicts import Verdict, failed_sentences


class RefusalError(Exception):
    """The step cannot be done as things stand; the message is one sentence that says what to do."""


class BlockedError(RefusalError):
    """The data are not fit to be published: nothing was committed; `verdicts` are those of all blocking checks."""

    def __init__(self, asset: str, verdicts: tuple[Verdict, ...]) -> None:
        super().__init__(f"{asset}: nothing was published; {failed_sentences(verdicts)}")
        self.asset, self.verdicts = asset, verdicts
