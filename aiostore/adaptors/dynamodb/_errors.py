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

CONTENTION = frozenset({"TransactionConflict", "TransactionConflictException"})
"""Nothing was done, for a transaction was at work on the item."""

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
_SIGNATURE: Meaning = (
    ConfigurationError,
    "the signature was refused: check the secret key, and this machine's clock",
)
_MISSING: Meaning = (
    ConfigurationError,
    "there is no such table yet: run `aiostore dynamodb create-table`, or open with ?create=true",
)
_BUSY: Meaning = (
    UnavailableError,
    "the table's capacity is used up, or one partition's: raise it, or spread the load",
)

_MEANINGS: dict[str, Meaning] = {
    **dict.fromkeys(THROTTLED, _BUSY),
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
    "InternalServerError": (UnavailableError, "the server failed"),
    "ServiceUnavailable": (UnavailableError, "the service is not available"),
}

_LOCAL: dict[str, Meaning] = {
    "NoCredentialsError": (
        ConfigurationError,
        "there are no credentials: set them up as for any AWS client (environment, profile, role)",
    ),
    "PartialCredentialsError": (ConfigurationError, "the credentials are incomplete"),
    "CredentialRetrievalError": (UnavailableError, "the credentials could not be fetched"),
    "ProfileNotFound": (ConfigurationError, "there is no such profile in the AWS configuration"),
    "NoRegionError": (
        ConfigurationError,
        "no region is set: name it in the URL, ?region=…, or in AWS_DEFAULT_REGION",
    ),
    "InvalidRegionError": (ConfigurationError, "the region is none"),
    "ConfigParseError": (ConfigurationError, "the AWS configuration cannot be read"),
    "SSLError": (ConfigurationError, "the server's certificate is not trusted"),
}
"""Of what the driver finds out by itself, before or instead of a request."""

_CONFIDING = frozenset({"InvalidSignatureException", "SignatureDoesNotMatch"})
"""The messages of these repeat the request's headers, a session's token among them."""


@contextmanager
def translated(store: str) -> Iterator[None]:
    """Errors of the driver become the library's, by their codes."""
    try:
        yield
    except ClientError as error:
        code = code_of(error)
        kind, advice = _meaning(error, code)
        told = "" if code in _CONFIDING else error.response["Error"].get("Message") or ""
        raised = kind(f"{advice}: {told}" if told else advice, store=store)
        raise raised from (None if code in _CONFIDING else error)
    except BotoCoreError as error:
        kind, advice = _LOCAL.get(
            type(error).__name__, (UnavailableError, "the server cannot be reached, or went away")
        )
        raise kind(f"{advice}: {error}", store=store) from error
    except (TimeoutError, OSError) as error:  # aiohttp's are among them
        advice = "the server cannot be reached, or went away"
        raise UnavailableError(f"{advice}: {error}", store=store) from error


def code_of(error: ClientError) -> str:
    """The code that an error carries."""
    return str(error.response["Error"].get("Code", ""))


def _meaning(error: ClientError, code: str) -> Meaning:
    found = _MEANINGS.get(code)
    if found is not None:
        return found
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status >= 500:  # whatever it is called, the server does not say that nothing was done
        return UnavailableError, "the server failed"
    return StoreError, "DynamoDB refused"
