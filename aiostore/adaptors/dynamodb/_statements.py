"""Writes and checks as requests, and their conditions as expressions."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from aiostore.adaptors.dynamodb._items import Items, record_of, size_of
from aiostore.adaptors.dynamodb._tables import PARTITION, SORT
from aiostore.protocols import Absent, Check, Exactly, Mark, Outcome, Purge, Record, Write

OLD_ITEM = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
"""A refusal tells what it met, so that missing and other versions are one request."""


def condition(item: Write | Check) -> dict[str, Any]:
    """The parameters that make a request conditional."""
    values: dict[str, dict[str, str]] = {}
    match item.condition:
        case Absent():
            text = "attribute_not_exists(#pk)"
        case Exactly(version=version, unexpired_at=moment):
            text = "#version = :version"
            values[":version"] = {"S": version}
            if moment is not None:
                text += " AND (attribute_not_exists(#expires) OR #expires > :moment)"
                values[":moment"] = {"N": str(moment)}
            text += _marked(item.mark, values)
        case _:  # `Newer`, which only writes have
            text = "#version < :version"
            values[":version"] = {"S": _version_of(item)}
            text = f"attribute_not_exists(#pk) OR ({text}{_marked(item.mark, values)})"
    parameters = {
        "ConditionExpression": text,
        "ExpressionAttributeNames": _names_in(text),
        **OLD_ITEM,
    }
    return parameters | ({"ExpressionAttributeValues": values} if values else {})


def request_of(write: Write, items: Items) -> tuple[str, dict[str, Any]]:
    """The operation that decides and stores a write in one step, and its parameters.

    Raises:
        StoreError: it could not be stored; see `Items.item`.
    """
    kind, parameters = _change(write, items)
    if kind == "Update":
        parameters["ReturnValues"] = "ALL_OLD"  # it holds the moment of creation
    return f"{kind}Item", parameters


def outcome_of(write: Write, answer: dict[str, Any]) -> Outcome:
    """What a request that was not refused has done."""
    if write.erase:
        return Outcome(applied=True, record=None)
    if "Attributes" not in answer:
        return Outcome(applied=True, record=write.record)
    created_at = record_of(answer["Attributes"]).created_at
    return Outcome(
        applied=True, record=msgspec.structs.replace(write.record, created_at=created_at)
    )


def transaction(
    parts: Sequence[Write | Check], items: Items
) -> tuple[list[dict[str, Any]], str | None]:
    """The items of a transaction, and the token by which a repetition is recognised.

    Checks alone have none, that is, a new one each time: they are to be decided anew.

    Raises:
        StoreError: one could not be stored; see `Items.item`.
    """
    actions = [_action(part, items) for part in parts]
    if all(isinstance(part, Check) for part in parts):
        return actions, None
    # Of the same content and the same versions, which no other writer makes: those of erasures,
    # too, of which two may be alike else, and of two alike DynamoDB would do one and grant both.
    versions = [part.record.version for part in parts if isinstance(part, Write)]
    digest = hashlib.sha256(msgspec.json.encode([actions, versions], order="deterministic"))
    return actions, digest.hexdigest()[:36]


def size_of_all(actions: Sequence[dict[str, Any]]) -> int:
    """Bytes of what a transaction would store."""
    parameters = [each for action in actions for each in action.values()]
    stored = (each.get("Item") or each.get("ExpressionAttributeValues", {}) for each in parameters)
    return sum(map(size_of, stored))


def filtered(text: str, numbers: dict[str, int]) -> dict[str, Any]:
    """The parameters of a query that leaves out what does not meet a condition.

    It saves the way, not the capacity.

    Args:
        text: the condition, with `:name` for each of `numbers`.
        numbers: values.
    """
    return _expressed("FilterExpression", text, numbers)


def doomed(request: Purge) -> dict[str, Any]:
    """The parameters of a query for the keys of what a purge removes."""
    projected = {"ProjectionExpression": "#pk, #sk"}
    names = {"#pk": PARTITION, "#sk": SORT}
    if request.everything:
        return {**projected, "ExpressionAttributeNames": names}
    parameters = filtered(*_doom(request))
    return merged(parameters, {**projected, "ExpressionAttributeNames": names})


def removal(request: Purge) -> dict[str, Any]:
    """The parameters of a deletion of what a purge still means."""
    text, numbers = _doom(request)
    return _expressed("ConditionExpression", text, numbers)


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The parameters of both; names and values of expressions are put together."""
    both = {**one, **other}
    for name in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
        if name in one and name in other:
            both[name] = one[name] | other[name]
    return both


def _doom(request: Purge) -> tuple[str, dict[str, int]]:
    parts, numbers = [], {}
    if request.expired_before is not None:
        parts.append("(attribute_exists(#body) AND #expires < :expired)")
        numbers["expired"] = request.expired_before
    if request.deleted_before is not None:
        parts.append("(attribute_not_exists(#body) AND #updated < :deleted)")
        numbers["deleted"] = request.deleted_before
    return " OR ".join(parts), numbers


def _expressed(kind: str, text: str, numbers: dict[str, int]) -> dict[str, Any]:
    return {
        kind: text,
        "ExpressionAttributeNames": _names_in(text),
        "ExpressionAttributeValues": {
            f":{name}": {"N": str(number)} for name, number in numbers.items()
        },
    }


def _names_in(text: str) -> dict[str, str]:
    """Names in expressions are replaced, for many words are reserved."""
    return {f"#{name}": name for name in re.findall(r"#(\w+)", text)}


def _action(part: Write | Check, items: Items) -> dict[str, Any]:
    if isinstance(part, Check):
        return {"ConditionCheck": {"Key": items.key(part.id), **condition(part)}}
    kind, parameters = _change(part, items)
    return {kind: parameters}


def _change(write: Write, items: Items) -> tuple[str, dict[str, Any]]:
    """What a write is called, as a request and in a transaction, and its parameters."""
    parameters = condition(write)
    if write.erase:
        return "Delete", {"Key": items.key(write.record.id), **parameters}
    item = items.item(write.record)
    if write.keep_created_at and isinstance(write.condition, Exactly):
        return "Update", _update(item, items, parameters)
    return "Put", {"Item": item, **parameters}


def _update(
    item: dict[str, dict[str, str]], items: Items, parameters: dict[str, Any]
) -> dict[str, Any]:
    """Every attribute but the moment of creation becomes as `item` has it."""
    names: dict[str, str] = {}
    values: dict[str, dict[str, str]] = {}
    stored, removed = [], []
    optional = ("body", "expires", "ttl", "mark", *items.indexes.values())
    for number, name in enumerate(("version", "updated", *optional)):
        names[f"#a{number}"] = name
        if name in item:
            values[f":a{number}"] = item[name]
            stored.append(f"#a{number} = :a{number}")
        else:
            removed.append(f"#a{number}")
    text = f"SET {', '.join(stored)}" + (f" REMOVE {', '.join(removed)}" if removed else "")
    return {
        **parameters,
        "Key": {"pk": item["pk"], "sk": item["sk"]},
        "UpdateExpression": text,
        "ExpressionAttributeNames": parameters["ExpressionAttributeNames"] | names,
        "ExpressionAttributeValues": parameters["ExpressionAttributeValues"] | values,
    }


def _marked(mark: Mark | None, values: dict[str, dict[str, str]]) -> str:
    if mark is None:
        return ""
    if mark is Mark.LIVE:
        return " AND attribute_not_exists(#mark)"
    values[":mark"] = {"S": mark.value}
    return " AND #mark = :mark"


def _version_of(item: Write | Check) -> str:
    record: Record = item.record  # type: ignore[union-attr]  # checks are never `Newer`
    return record.version
