"""What `sluice status` shows of registrations: how each is doing, and what an operator has to do about it."""

from collections.abc import Iterable
from typing import Any

from ingest.credentials import Keyring, SealError
from ingest.provider import Provider
from schemas.control import Registration
from sluice.terminal import age, say, table

_SHOWN = ("delivered", "recovered", "missed", "suspect", "expires", "axis", "hook")


def registration(one: Registration, keyring: Keyring | None = None, owner: str = "") -> dict[str, Any]:
    """Tell how a registration is doing; with a keyring also the secret, for one that is made by hand.

    Times are in ms since 1970, 0 where there is none. The address, which nobody else should know, is told
    only where an operator has to register it.
    """
    kind = "by hand" if one.manual else one.kind
    told = {"kind": kind, "state": state(one), "fix": fix(one), **one.model_dump(include=set(_SHOWN))}
    if one.manual:
        told["address"] = one.address
        if keyring is not None:
            told["secret"] = _secret(one, keyring, owner)
    return told


def state(one: Registration) -> str:
    """Give the state in a word: wanted, active, unverified, suspect, replacing, removing, by hand."""
    if one.suspect:
        return "suspect"
    if one.manual:
        return "by hand"
    if one.state == "wanted" and one.former is not None:
        return "replacing"
    return one.state if one.healthy or one.state != "active" else "unverified"


def fix(one: Registration) -> str:
    """Say what to do, if anything."""
    if one.why:
        return one.why
    if one.suspect:
        return (
            f"{one.recovered} came by the poll alone: let the provider reach the receiver, and look at what "
            "it says of its deliveries; Sluice registers anew by itself"
        )
    if one.manual and not one.delivered:
        return "register the address at the provider; nothing has come yet"
    return ""


def unreachable(kind: type[Provider[Any]] | None, found: Iterable[Any]) -> str:
    """Say why nothing is registered where something could be."""
    if kind is None or not kind.hooks() or any(found):
        return ""
    return "nothing is pushed: set SLUICE_PUBLIC_URL where ingest runs to the address providers can reach"


def show(rows: list[dict[str, Any]], moment: int) -> None:
    """Print registrations, and the addresses that wait for the operator."""
    heads = ("registration", "axis", "state", "expires in", "last delivery", "recovered", "what to fix")
    table(heads, (_row(one, moment) for one in rows))
    for one in rows:
        if one.get("address"):
            say(f"address to register for {one['hook']}: {one['address']}")
        if one.get("secret"):
            say(f"secret to register with it: {one['secret']}")


def _row(one: dict[str, Any], moment: int) -> tuple[str, ...]:
    left = age(moment, one["expires"]) if one["expires"] else ""
    return (
        f"{one['kind']}: {one['hook']}" if one["hook"] else one["kind"], one["axis"], one["state"], left,
        age(one["delivered"], moment), str(one["recovered"] or ""), one["fix"],
    )  # fmt: skip


def _secret(one: Registration, keyring: Keyring, owner: str) -> str:
    try:
        return str(keyring.open(one.sealed, owner)) if one.sealed else ""
    except SealError as error:
        return f"({error})"
