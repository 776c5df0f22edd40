"""Values to encoded bodies and back, exactly.

A collection's type decides the codec: `dict` (the default), a dataclass, a TypedDict, a
`msgspec.Struct` or a pydantic model. A typed value is refused at the write if it would not come
back equal.
"""

import dataclasses
from contextlib import suppress
from copy import deepcopy
from typing import Any, Generic, Protocol, TypeVar, is_typeddict

import msgspec

from aiostore.errors import ConfigurationError, CorruptRecordError, InvalidValueError
from aiostore.filters import Path
from aiostore.limits import Arrays, Limits, check_body, check_value, is_sound
from aiostore.orders import Coarse, coarse, coarse_at

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode

_NUL = r"\u0000"
"""As it is encoded; the same characters may stand for themselves, after another backslash."""


class Codec(Protocol[T]):
    """Between the values of a collection's type and the JSON text that adaptors store."""

    def encode(self, value: T, limits: Limits, /) -> str:
        """The value as compact JSON text, checked against the portability contract.

        Raises:
            InvalidValueError: the value breaks the contract or is not of the type.
            TooLargeError: its encoding is too large.
        """
        ...

    def decode(self, body: str, /) -> T:
        """The value; a new one at every call.

        Raises:
            CorruptRecordError: the text is not JSON or does not fit the type.
        """
        ...


def codec_for(type_: type[T]) -> Codec[T]:
    """The codec of a collection's type.

    Raises:
        ConfigurationError: documents cannot be of this type.
    """
    if type_ is dict:
        return _JSONCodec(dict[str, Any])
    if is_typeddict(type_):
        return _JSONCodec(type_)
    if isinstance(type_, type):
        if issubclass(type_, msgspec.Struct) or dataclasses.is_dataclass(type_):
            return _StructuredCodec(type_)
        if _is_pydantic_model(type_):
            return _PydanticCodec(type_)
    raise ConfigurationError(
        f"documents cannot be of the type {type_!r:.120}: use dict, a dataclass, a TypedDict, a "
        "msgspec.Struct or a pydantic model"
    )


def decode_plain(body: str) -> dict[str, Any]:
    """The value as a plain dict, whatever the collection's type.

    Raises:
        CorruptRecordError: the text is not JSON, or no object.
    """
    return _decoded(_plain, body)


def coarse_in(body: str | None, path: Path) -> Coarse:
    """Where a record with this body sorts; one that is none, or is damaged, where nothing is.

    Whoever reads the damaged one is told.
    """
    if body is None:
        return coarse()
    try:
        return coarse_at(decode_plain(body), path)
    except CorruptRecordError:
        return coarse()


class _JSONCodec(Generic[T]):
    """Plain dicts, which hold JSON's own types only; a TypedDict's names and types are checked."""

    def __init__(self, type_: Any) -> None:
        self._decoder: msgspec.json.Decoder[T] = _decoder(type_)
        self._typed = is_typeddict(type_)
        self._type = type_

    def encode(self, value: T, limits: Limits, /) -> str:
        body = _encoded(value, limits)
        if self._typed:
            _check_readable(self._decoder, body, value, self._type)
        return body

    def decode(self, body: str, /) -> T:
        return _decoded(self._decoder, body)


class _StructuredCodec(Generic[T]):
    """Dataclasses and msgspec Structs; fields may be of any type that msgspec knows.

    Values without equality (`eq=False`) are trusted to come back as they went.
    """

    def __init__(self, type_: type[T]) -> None:
        self._decoder: msgspec.json.Decoder[T] = _decoder(type_)
        self._type = type_

    def encode(self, value: T, limits: Limits, /) -> str:
        _check_instance(value, self._type)
        try:
            plain = msgspec.to_builtins(value, str_keys=True)
        except RecursionError as error:
            raise InvalidValueError("the value holds itself, or is nested too deep") from error
        except (TypeError, ValueError) as error:
            raise InvalidValueError(f"the value cannot be encoded as JSON: {error}") from error
        body = _encoded(plain, limits, arrays=(list, tuple))
        _check_readable(self._decoder, body, value, self._type)
        return body

    def decode(self, body: str, /) -> T:
        return _decoded(self._decoder, body)


class _PydanticCodec(Generic[T]):
    """Pydantic models, written by alias so that they validate again."""

    def __init__(self, type_: type[T]) -> None:
        self._type = type_
        self._model: Any = type_  # pydantic is not imported here, so its class has no static type

    def encode(self, value: T, limits: Limits, /) -> str:
        _check_instance(value, self._type)
        model: Any = value
        try:
            plain = model.model_dump(mode="json", by_alias=True, round_trip=True, warnings="none")
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidValueError(f"the model cannot be encoded as JSON: {error}") from error
        body = _encoded(plain, limits)
        try:
            restored = self._model.model_validate_json(body)
        except ValueError as error:
            raise _unreadable(self._type, error) from error
        # Not the models themselves: their private attributes are no part of the document.
        if _fields_of(restored) != _fields_of(model):
            raise _changed(self._type)
        return body

    def decode(self, body: str, /) -> T:
        try:
            model: T = self._model.model_validate_json(body)
        except ValueError as error:
            raise CorruptRecordError(
                f"the stored document does not fit the type {self._type.__name__}: {error}"
            ) from error
        return model


def _decoder(type_: Any) -> Any:
    try:
        return msgspec.json.Decoder(type_)
    except (TypeError, NameError) as error:
        raise ConfigurationError(
            f"documents cannot be of the type {type_!r:.120}: {error}"
        ) from error


_plain = msgspec.json.Decoder(dict[str, Any])


def _encoded(plain: Any, limits: Limits, arrays: Arrays = list) -> str:
    if is_sound(plain, limits, arrays):
        with suppress(UnicodeEncodeError):
            body = _encode(plain).decode()
            if _NUL not in body:
                check_body(body, limits)
                return body
    check_value(plain, limits, arrays)
    body = _encode(plain).decode()
    check_body(body, limits)
    return body


def _decoded(decoder: "msgspec.json.Decoder[T]", body: str) -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise CorruptRecordError(
            f"the stored document does not fit its collection's type: {error}"
        ) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise CorruptRecordError(f"the stored document is not JSON: {error}") from error


def _check_instance(value: object, type_: type) -> None:
    if type(value) is not type_:  # a subclass would come back without what it adds
        raise InvalidValueError(
            f"the collection's documents are {type_.__name__}, not {type(value).__name__}"
        )


def _check_readable(
    decoder: "msgspec.json.Decoder[Any]", body: str, value: object, type_: type
) -> None:
    try:
        restored = decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise _unreadable(type_, error) from error
    if restored != value and deepcopy(value) == value:  # else it has no equality to judge by
        raise _changed(type_)


def _fields_of(model: Any) -> Any:
    return model.model_dump(round_trip=True, warnings="none")


def _unreadable(type_: type, error: Exception) -> InvalidValueError:
    return InvalidValueError(f"the value could not be read again as {type_.__name__}: {error}")


def _changed(type_: type) -> InvalidValueError:
    return InvalidValueError(
        f"the value would come back as another {type_.__name__}: give every field a type, a name "
        "and an alias that read as they write"
    )


def _is_pydantic_model(type_: type) -> bool:
    return hasattr(type_, "model_validate_json") and hasattr(type_, "model_dump")
