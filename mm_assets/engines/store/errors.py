"""Errors of a store: their classes, codes and descriptions."""

from botocore.exceptions import BotoCoreError, ClientError

STORE_ERRORS = (BotoCoreError, ClientError)
# Codes for a missing object; a number where the answer had no body.
MISSING = {"404", "NoSuchKey", "NotFound"}


def code_of(error: ClientError | BotoCoreError) -> str:
    """The code of an error: the store's own, or the name of botocore's class."""
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__


def described(error: ClientError | BotoCoreError) -> str:
    """`<code>: <message>` of an error, on one line."""
    text = error.response["Error"].get("Message", "") if isinstance(error, ClientError) else str(error)
    return ": ".join(filter(None, [code_of(error), " ".join(text.split())]))
