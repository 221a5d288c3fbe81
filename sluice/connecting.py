"""Connecting: settings from a file, secrets by reference, a trial sign-in, and the wish that comes of it."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from consumers.governance.policies import PolicyError, document
from ingest.cluster import spread
from ingest.config import ConfigError
from ingest.credentials import split
from ingest.custody import TOKENS, BorrowedTokens, NewTokens, sealable, wished_tokens
from ingest.provider import Consent, Grant, Instance, Misconfigured, Provider
from ingest.token_endpoint import TokenSet
from schemas.control import Wish
from sluice.operate import Desk, checked_name
from sluice.terminal import FailedError, WrongCallError


class Asked(BaseModel):
    """One connector as an operator writes it down."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str
    provider: str
    settings: dict[str, Any] = {}
    components: tuple[str, ...] = ()
    enabled: bool = True


class Connected(NamedTuple):
    """A wish that may be stored, whom it leads to, and what the provider grants."""

    wish: Wish
    instance: Instance
    grants: list[Grant]


def read_document(file: str) -> Any:
    """Read a YAML or JSON file, `-` for stdin; the errors quote nothing of it.

    Raises:
        ConfigError: It can't be read, or is neither.
    """
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8 text") from None
    try:
        return document(text)
    except PolicyError as error:
        raise ConfigError(f"{file}: {error}") from None


def resolved(value: Any, folder: Path, where: str = "") -> Any:
    """Replace `env:NAME` and `file:PATH` by what they name; a relative path starts at `folder`.

    Raises:
        ConfigError: A variable or file is not there; the message names the setting, never a value.
    """
    if isinstance(value, dict):
        return {name: resolved(each, folder, f"{where}.{name}".lstrip(".")) for name, each in value.items()}
    if isinstance(value, list):
        return [resolved(each, folder, f"{where}.{number}") for number, each in enumerate(value)]
    if isinstance(value, str) and value.startswith("env:"):
        if (found := os.environ.get(value[4:])) is None:
            raise ConfigError(f"{where}: the environment has no {value[4:]}: set it, or name another")
        return found
    if isinstance(value, str) and value.startswith("file:"):
        try:
            return (folder / Path(value[5:]).expanduser()).read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"{where}: the file {value[5:]} can't be read as text") from None
    return value


def folder_of(file: str) -> Path:
    """Name the folder that a file's references start at."""
    return Path() if file == "-" else Path(file).parent


def complaints(error: ValidationError, known: Sequence[str] = ()) -> list[str]:
    """Say what is wrong with which field and what to do, without any value."""
    lines = []
    for one in error.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(part) for part in one["loc"])
        match one["type"]:
            case "missing":
                what = "is missing: add it"
            case "extra_forbidden":
                what = f"there is no such setting{'; there are: ' + ', '.join(known) if known else ''}"
            case _:
                what = one["msg"]
        lines.append(f"{name}: {what}" if name else what)
    return lines


def built(kind: type[Provider[Any]], raw: Any) -> BaseModel:
    """Make a provider's settings of what was read.

    Raises:
        ConfigError: They don't fit; the message lists every field.
    """
    known = list(kind.settings_type.model_fields)
    if not isinstance(raw, dict):
        raise ConfigError(f"the settings of {kind.name} must be a mapping of: {', '.join(known)}")
    try:
        return kind.settings_type.model_validate(raw)
    except ValidationError as error:
        wrong = "\n  ".join(complaints(error, known))
        raise ConfigError(f"the settings don't fit {kind.name}:\n  {wrong}") from None


def admissible(desk: Desk, asked: Asked, wishes: Mapping[str, Wish]) -> None:
    """Check what can be checked before signing in.

    Raises:
        WrongCallError: The name, the provider or a component is wrong, or another connector is in the way.
    """
    checked_name(asked.name)
    kind, have = desk.kind(asked.provider), wishes.get(asked.name)
    if have is not None and have.removing:
        raise WrongCallError(f"{asked.name} is being removed: finish with `sluice disconnect {asked.name}`")
    if have is not None and have.provider != asked.provider:
        raise WrongCallError(f"{asked.name} is a connector of {have.provider}: choose another name")
    if unknown := sorted(set(asked.components) - set(kind.components)):
        known = ", ".join(sorted(kind.components)) or "none"
        raise WrongCallError(f"{kind.name} has no component {', '.join(unknown)}; there are: {known}")
    if not asked.enabled and not kind.can_disable:
        raise WrongCallError(f"a connector of {kind.name} can't be disabled: leave `enabled` away")
    others = [one.name for one in wishes.values() if one.provider == kind.name and one.name != asked.name]
    if others and not kind.many:
        raise WrongCallError(
            f"only one {kind.name} can be connected, and {others[0]} is: disconnect it first"
        )


def consent_wanted(desk: Desk, asked: Asked, made: BaseModel, have: Wish | None) -> Consent | None:
    """Find the consent that an admin must give first; None: none is needed, or the one at hand serves."""
    wanted = desk.links.consent(asked.provider, made)
    if wanted is None or have is None or not wished_tokens(desk.keyring, have):
        return wanted
    try:
        given = desk.links.consent(have.provider, desk.links.settings(have))
    except Misconfigured:
        return wanted
    same = given is not None and given._replace(secret=wanted.secret) == wanted
    return None if same else wanted


async def sign_in(
    desk: Desk,
    asked: Asked,
    made: BaseModel,
    wishes: Mapping[str, Wish],
    consented: TokenSet | None = None,
) -> Connected:
    """Sign in with settings, ask who it is and what is granted, and make the wish.

    Args:
        desk: The deployment.
        asked: What is to be connected.
        made: Its settings.
        wishes: All that are stored.
        consented: What came of an admin's consent given now.

    Raises:
        SourceError: The provider refuses.
        FailedError: The instance is connected under another name, it is another than before, or an admin
            must consent first.
    """
    have, custody = wishes.get(asked.name), NewTokens(consented) if consented else None
    if custody is None and consent_wanted(desk, asked, made, have) is not None:
        raise FailedError(
            f"{asked.name} needs an admin's consent in a browser: give it with "
            f"`sluice connect {asked.provider} {asked.name} --settings FILE`"
        )
    stored = BorrowedTokens(desk.cluster, desk.keyring, have) if have else None
    async with desk.links.bare(asked.provider, made, asked.name, custody=custody or stored) as link:
        instance = link.instance
        grants = [grant async for grant in link.provider.probe()]
    for one in wishes.values():
        if one.name != asked.name and one.provider == asked.provider and one.instance == instance.id:
            raise FailedError(
                f"{instance.id} is connected already, as {one.name}: change that one, or disconnect it first"
            )
    if have is not None and have.instance and have.instance != instance.id:
        raise FailedError(
            f"these settings lead to {instance.id}, but {asked.name} is connected to {have.instance}: "
            "connect the new one under a name of its own"
        )
    tokens = custody.tokens if custody else None
    return Connected(_wish(desk, asked, made, instance, wishes, tokens), instance, grants)


def unchanged(desk: Desk, asked: Asked, made: BaseModel, have: Wish) -> bool:
    """Whether a connector is as asked for already; sealed settings are compared by opening them."""
    plain, secret = split(made)
    opened = _opened(desk, have)
    opened.pop(TOKENS, None)
    return (
        have.settings == plain
        and opened == secret
        and have.components == asked.components
        and have.enabled == asked.enabled
    )


def _opened(desk: Desk, wish: Wish) -> Any:
    return desk.keyring.open(wish.sealed, f"{wish.name}/{wish.incarnation}") if wish.sealed else {}


def _wish(
    desk: Desk,
    asked: Asked,
    made: BaseModel,
    instance: Instance,
    wishes: Mapping[str, Wish],
    tokens: TokenSet | None,
) -> Wish:
    have = wishes.get(asked.name)
    plain, secret = split(made)
    kept = sealable(tokens) if tokens else wished_tokens(desk.keyring, have) if have else None
    if kept and desk.links.consent(asked.provider, made):
        secret[TOKENS] = kept
    if have is None:
        incarnation = uuid4().hex
        partition = spread(asked.name, range(desk.cluster.owners), [one.partition for one in wishes.values()])
        have = Wish(
            name=asked.name, provider=asked.provider, tenant=desk.cluster.config.tenant,
            partition=partition, incarnation=incarnation, revision=0, generation=0,
        )  # fmt: skip
    fresh = not have.revision or _opened(desk, have) != secret
    owner = f"{have.name}/{have.incarnation}"
    sealed = (desk.keyring.seal(secret, owner) if secret else "") if fresh else have.sealed
    update = {
        "instance": instance.id, "instance_name": instance.name, "settings": plain, "sealed": sealed,
        "components": asked.components, "enabled": asked.enabled, "revision": have.revision + 1,
        "generation": have.generation + fresh,
    }  # fmt: skip
    return have.model_copy(update=update)
