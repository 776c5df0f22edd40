"""What the driver raises, and what it means."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from botocore.exceptions import BotoCoreError, ClientError

from aiostore.errors import ConfigurationError, StoreError, UnavailableError

Meaning: TypeAlias = tuple[type[StoreError], str]

THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceeded",  # as a reason of a cancelled transaction
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottledException",
        "ThrottlingError",  # likewise
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""Nothing was done, for there were too many requests."""

CONTENTION = frozenset(
    {
        "ReplicatedWriteConflictException",  # of a global table that is strongly consistent
        "TransactionConflict",  # as a reason of a cancelled transaction
        "TransactionConflictException",
    }
)
"""Nothing was done, for another request was at work on the item."""

REPEATABLE = THROTTLED | CONTENTION | {"TransactionInProgressException"}
"""Codes of requests that are to be sent again."""

CONDITION_FAILED = frozenset({"ConditionalCheckFailed", "ConditionalCheckFailedException"})
CANCELLED = "TransactionCanceledException"
NO_TABLE = "ResourceNotFoundException"
INVALID = "ValidationException"

_DENIED: Meaning = (
    ConfigurationError,
    "the credentials do not allow it: see the permissions in docs/dynamodb.md",
)
_UNKNOWN_KEY: Meaning = (
    ConfigurationError,
    "the credentials are not known here: check the access key, the profile and the region",
)
_EXPIRED: Meaning = (ConfigurationError, "the credentials have expired: renew them")
_SESSION_OVER: Meaning = (ConfigurationError, "there are no credentials: log in to AWS again")
_SIGNATURE: Meaning = (
    ConfigurationError,
    "the signature was refused: check the secret key, and this machine's clock",
)
_MISSING: Meaning = (
    ConfigurationError,
    "there is no such table yet: run `aiostore dynamodb create-table`, or open with ?create=true",
)
BUSY: Meaning = (
    UnavailableError,
    "the table's capacity is used up, or one partition's: raise it, or spread the load",
)

_FAILED: Meaning = (UnavailableError, "the server failed")
_NOT_DYNAMODB: Meaning = (
    ConfigurationError,
    "what answers there is no DynamoDB: check endpoint_url",
)

_AWAY: Meaning = (UnavailableError, "the server cannot be reached, or went away")
UNUSABLE: Meaning = (ConfigurationError, "the AWS configuration cannot be used")

_MEANINGS: dict[str, Meaning] = {
    **dict.fromkeys(THROTTLED, BUSY),
    **dict.fromkeys(CONTENTION, (UnavailableError, "other writers were faster each time")),
    "TransactionInProgressException": (
        UnavailableError,
        "the same transaction is still under way",
    ),
    "AccessDenied": _DENIED,
    "AccessDeniedException": _DENIED,
    "IncompleteSignature": _SIGNATURE,
    "InvalidSignatureException": _SIGNATURE,
    "RequestTimeTooSkewed": _SIGNATURE,
    "SignatureDoesNotMatch": _SIGNATURE,
    "InvalidClientTokenId": _UNKNOWN_KEY,
    "MissingAuthenticationToken": _UNKNOWN_KEY,
    "MissingAuthenticationTokenException": _UNKNOWN_KEY,
    "OptInRequired": _UNKNOWN_KEY,
    "UnrecognizedClientException": _UNKNOWN_KEY,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "RequestExpired": _EXPIRED,
    NO_TABLE: _MISSING,
    "InternalServerError": _FAILED,
    "ServiceUnavailable": (UnavailableError, "the service is not available"),
}


class ForeignAnswerError(BotoCoreError):  # type: ignore[misc]  # published without types
    """An answer that is none of DynamoDB's."""

    fmt = "it answers {beginning!r}"


_LOCAL: dict[str, Meaning] = {
    "ChecksumError": (UnavailableError, "the answer was damaged on its way"),
    "ForeignAnswerError": (UnavailableError, _NOT_DYNAMODB[1]),
    "NoCredentialsError": (
        ConfigurationError,
        "there are no credentials: set them up as for any AWS client (environment, profile, role)",
    ),
    "PartialCredentialsError": (ConfigurationError, "the credentials are incomplete"),
    "CredentialRetrievalError": (UnavailableError, "the credentials could not be fetched"),
    "LoginError": _SESSION_OVER,
    "SSOError": _SESSION_OVER,
    "TokenRetrievalError": _SESSION_OVER,
    "ProfileNotFound": (ConfigurationError, "there is no such profile in the AWS configuration"),
    "NoRegionError": (
        ConfigurationError,
        "no region is set: name it in the URL, ?region=…, or in AWS_DEFAULT_REGION",
    ),
    "InvalidRegionError": (ConfigurationError, "there is no such region"),
    "ConfigParseError": (ConfigurationError, "the AWS configuration cannot be read"),
    "SSLError": (
        ConfigurationError,
        "no secure connection can be made: check endpoint_url, and whose certificates are trusted",
    ),
}
"""Of what the driver finds out by itself, before or instead of a request: an error, or its kind."""

_CONFIDING = frozenset(
    {"IncompleteSignature", "InvalidSignatureException", "SignatureDoesNotMatch"}
)
"""The messages of these repeat the request's headers, a session's token among them."""

_MOST_TOLD = 500
"""Characters of a message: what is no DynamoDB answers with whole pages."""


@contextmanager
def translated(store: str, unknown: Meaning = _AWAY) -> Iterator[None]:
    """Errors of the driver become the library's, by their codes.

    Args:
        store: the store's name.
        unknown: what it means when the driver itself fails in a way that has no meaning here.
    """
    try:
        yield
    except ClientError as error:
        confiding = code_of(error) in _CONFIDING
        kind, advice = _meaning(error)
        message = "" if confiding else error.response["Error"].get("Message") or ""
        told = " ".join(message.split())
        raised = kind(f"{advice}: {told:.{_MOST_TOLD}}" if told else advice, store=store)
        raise raised from (None if confiding else error)
    except BotoCoreError as error:
        kinds = [_LOCAL[each.__name__] for each in type(error).__mro__ if each.__name__ in _LOCAL]
        kind, advice = [*kinds, unknown][0]
        raise kind(f"{advice}: {error}", store=store) from error
    except (TimeoutError, OSError) as error:  # aiohttp's are among them
        kind, advice = unknown
        raise kind(f"{advice}: {error}", store=store) from error


def code_of(error: ClientError) -> str:
    """The code that an error carries."""
    return str(error.response["Error"].get("Code", ""))


def hindrances_of(error: ClientError) -> list[str]:
    """The code that an error carries; of a cancelled transaction those that hindered its items.

    Conditions that failed are left out there, unless nothing else has hindered it: they count when
    it is decided.
    """
    if code_of(error) != CANCELLED:
        return [code_of(error)]
    reasons = error.response.get("CancellationReasons", ())
    codes = [reason["Code"] for reason in reasons if reason.get("Code", "None") != "None"]
    return [code for code in codes if code not in CONDITION_FAILED] or codes


def is_repeatable(error: ClientError) -> bool:
    """Whether nothing was done, and may be done if it is sent again."""
    codes = hindrances_of(error)
    return bool(codes) and REPEATABLE.issuperset(codes)


def is_throttled(error: ClientError) -> bool:
    """Whether it was refused because there were too many requests."""
    return not THROTTLED.isdisjoint(hindrances_of(error))


def _meaning(error: ClientError) -> Meaning:
    codes = hindrances_of(error)
    code = codes[0] if is_repeatable(error) else code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    known = _MEANINGS.get(code)
    if known is not None and (status < 500 or known[0] is UnavailableError):
        return known
    if status >= 500:  # whatever it is called, the server does not say that nothing was done
        return _FAILED
    if code_of(error).isdecimal():  # the driver's, for an answer without one
        return _NOT_DYNAMODB
    return StoreError, "DynamoDB refused"
