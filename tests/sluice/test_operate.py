"""The operator's side of the control records, against the real Kafka and the real owner."""

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from ingest.config import ConfigError
from ingest.credentials import Keyring
from ingest.errors import Misconfigured
from ingest.producing import Outgoing
from schemas.control import Status, Wish
from sluice import operate
from sluice.applying import Plan, carry_out, parse, plan
from sluice.connecting import Asked, admissible, built, read_document, resolved, sign_in
from sluice.operate import Desk, View
from sluice.terminal import FailedError, WrongCallError

pytestmark = pytest.mark.kafka


def asked(name: str = "mine", **more: Any) -> Asked:
    """Ask for a notebook."""
    settings = {"account": more.pop("account", f"a-{name}"), "password": more.pop("password", "right")}
    return Asked(name=name, provider=more.pop("provider", "notebook"), settings=settings, **more)


async def connect(desk: Desk, one: Asked, seconds: float = 0) -> Wish:
    """Do what `sluice connect` does."""
    wishes = (await desk.view()).wishes
    admissible(desk, one, wishes)
    connected = await sign_in(desk, one, built(desk.kind(one.provider), one.settings), wishes)
    await desk.store(connected.wish, seconds)
    return connected.wish


async def test_connect_reaches_the_owner(desk: Desk, owner: Any, canary: str) -> None:
    """A new connector is stored sealed, and the owner reports the revision it runs."""
    one = asked(password=canary)
    wishes = (await desk.view()).wishes
    connected = await sign_in(desk, one, built(desk.kind("notebook"), one.settings), wishes)
    assert [(grant.capability, grant.missing) for grant in connected.grants] == [
        ("accounts", ()),
        ("groups", ("groups:read",)),
    ]
    assert canary.encode() not in connected.wish.dump()
    async with owner:
        outcome = await desk.store(connected.wish, 20)
        assert outcome.change == "applied"
        async with View(desk.cluster) as view:
            assert await view.until(lambda: getattr(view.status("mine"), "state", "") == "running", 20)
    assert desk.links.settings(connected.wish).password.get_secret_value() == canary


async def test_without_an_owner_it_is_accepted(desk: Desk) -> None:
    """Nobody runs it: the wish is stored all the same."""
    await connect(desk, asked())
    wish = await desk.wish("mine")
    assert wish.instance == "a-mine"
    again = wish.model_copy(update={"revision": 2})
    assert (await desk.store(again, 0.5)).change == "unowned"


async def test_disable_enable_disconnect(desk: Desk, owner: Any) -> None:
    """Each change is a revision that the owner reports; a removal leaves no wish, and the name is free."""
    async with owner:
        first = await connect(desk, asked(), 20)
        off = await desk.able("mine", enabled=False, seconds=20)
        assert off.change == "applied"
        assert off.status is not None
        assert off.status.revision == 2
        assert (await desk.able("mine", enabled=False)).change == "unchanged"
        assert (await desk.able("mine", enabled=True, seconds=20)).change == "applied"
        assert (await desk.disconnect("mine", 20)).change == "removed"
        with pytest.raises(WrongCallError, match="there is no connector 'mine'"):
            await desk.wish("mine")
        second = await connect(desk, asked(), 20)
        assert second.incarnation != first.incarnation


async def test_disconnect_without_an_owner_can_be_completed(desk: Desk, owner: Any) -> None:
    """The wish says that it is being removed, until an owner has cleaned up and the call is repeated."""
    await connect(desk, asked())
    assert (await desk.disconnect("mine", 0.5)).change == "unowned"
    assert (await desk.wish("mine")).removing
    with pytest.raises(WrongCallError, match="being removed"):
        await connect(desk, asked())
    async with owner:
        assert (await desk.disconnect("mine", 20)).change == "removed"


async def test_two_operators_at_once(desk: Desk) -> None:
    """Who finds another's change of the same or a later revision is told so."""
    wish = await connect(desk, asked())
    ours = wish.model_copy(update={"revision": 2, "enabled": False})
    status = Status(connector="mine", state="running", revision=3, incarnation=wish.incarnation)
    await desk.write(Outgoing("cursors", wish.partition, b"mine/@status", status.dump()))
    with pytest.raises(FailedError, match="changed by someone else"):
        await desk.store(ours, 5)


async def test_what_can_not_be_connected(desk: Desk) -> None:
    """Taken names, taken instances, a second of what there is one of, unknown components, no way to rest."""
    await connect(desk, asked())
    await connect(desk, asked("me", provider="diary"))
    for wrong, why in (
        (asked("Mine!"), "can't be a connector's name"),
        (asked("x" * 64), "can't be a connector's name"),
        (asked("mine", provider="diary"), "is a connector of notebook"),
        (asked("you", provider="diary"), "only one diary"),
        (asked("other", components=("covers",)), "no component covers; there are: margins"),
        (asked("other", provider="nothing"), "known are: diary, notebook"),
        (asked("me", provider="diary", enabled=False), "can't be disabled"),
    ):
        with pytest.raises(WrongCallError, match=why):
            await connect(desk, wrong)
    with pytest.raises(FailedError, match="a-mine is connected already, as mine"):
        await connect(desk, asked("other", account="a-mine"))
    with pytest.raises(FailedError, match="under a name of its own"):
        await connect(desk, asked("mine", account="a-third"))
    with pytest.raises(Misconfigured, match="refuses the password"):
        await connect(desk, asked("other", password="wrong"))
    with pytest.raises(WrongCallError, match="me can't be disabled"):
        await desk.able("me", enabled=False)


async def test_settings_are_refused_without_their_values(desk: Desk, canary: str) -> None:
    """Every field that is wrong is named, and no value."""
    raw = {"password": canary, "pages": canary, canary[:6]: 1}
    with pytest.raises(ConfigError) as wrong:
        built(desk.kind("notebook"), raw)
    assert "account: is missing" in str(wrong.value)
    assert "pages: " in str(wrong.value)
    assert "there is no such setting; there are: endpoints, reserve, account, password, pages" in str(
        wrong.value
    )
    assert canary not in str(wrong.value)


def test_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`env:` and `file:` are replaced at any depth; what is not there is named."""
    (tmp_path / "secret").write_text("two\n")
    monkeypatch.setenv("NOTEBOOK_ONE", "one")
    raw = {"a": "env:NOTEBOOK_ONE", "b": ["file:secret", {"c": "plain"}], "d": 4}
    assert resolved(raw, tmp_path) == {"a": "one", "b": ["two", {"c": "plain"}], "d": 4}
    with pytest.raises(ConfigError, match=r"^a\.b: the environment has no NOTEBOOK_TWO"):
        resolved({"a": {"b": "env:NOTEBOOK_TWO"}}, tmp_path)
    with pytest.raises(ConfigError, match=r"^a\.0: the file nothing"):
        resolved({"a": ["file:nothing"]}, tmp_path)


@pytest.mark.parametrize("text", ["password: *{}\n", "a: [{}\n", "\t{}: 1", "{}: %x\n  : :"])
def test_a_broken_file_is_not_quoted(tmp_path: Path, canary: str, text: str) -> None:
    """What YAML complains of is told by its place."""
    path = tmp_path / "settings.yaml"
    path.write_text(text.replace("{}", canary))
    with pytest.raises(ConfigError) as wrong:
        read_document(str(path))
    assert canary not in str(wrong.value)
    assert "line" in str(wrong.value)


def sheet(**more: Any) -> dict[str, Any]:
    """Write a file with one connector and one policy."""
    connector = {
        "name": "mine", "provider": "notebook",
        "settings": {"account": "a-mine", "password": more.pop("password", "right")}, **more,
    }  # fmt: skip
    policy = {
        "name": "tear-cards",
        "match": {"on": "finding", "detectors": ["credit_card"]},
        "action": "tear",
    }
    return {"connectors": [connector], "policies": [policy]}


async def planned(desk: Desk, document: Any, *, prune: bool = False) -> Plan:
    """Plan a document."""
    return await plan(desk, *parse(document, Path(), desk.kinds), prune=prune)


def verbs(made: Plan) -> dict[str, str]:
    """Show a plan's verbs by name."""
    return {one.name: one.verb for one in made.changes}


async def test_apply_is_idempotent(desk: Desk, owner: Any) -> None:
    """What is applied is unchanged afterwards, a changed secret is a change, what is left out is pruned."""
    async with owner:
        made = await planned(desk, sheet())
        assert verbs(made) == {"mine": "create", "tear-cards": "create"}
        for one in made.work:
            await carry_out(desk, made, one)
        again = await planned(desk, sheet(), prune=True)
        assert verbs(again) == {"mine": "unchanged", "tear-cards": "unchanged"}
        assert again.work == []
        changed = await planned(desk, sheet(password="other", enabled=False))
        assert verbs(changed) == {"mine": "change", "tear-cards": "unchanged"}
        outcome = await carry_out(desk, changed, changed.work[0])
        assert outcome.change == "applied"
        wish = await desk.wish("mine")
        assert (wish.revision, wish.generation, wish.enabled) == (2, 2, False)
        # A section that is not there says nothing; an empty one says that there are none.
        assert (await planned(desk, {}, prune=True)).changes == []
        empty: dict[str, list[object]] = {"connectors": [], "policies": []}
        gone = await planned(desk, empty, prune=True)
        assert verbs(gone) == {"mine": "remove", "tear-cards": "remove"}
        assert [(await carry_out(desk, gone, one)).change for one in gone.work] == ["removed", "removed"]
        assert (await planned(desk, empty, prune=True)).changes == []


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (["a"], "does not fit"),
        ({"connector": []}, "there is no such setting"),
        ({"connectors": [{"name": "a"}]}, "connectors.0.provider: is missing"),
        ({"connectors": sheet()["connectors"] * 2}, "mine is there twice"),
        ({"policies": [{"name": "p"}]}, "policy 'p': match"),
    ],
)
async def test_a_wrong_sheet_is_refused(desk: Desk, document: Any, why: str) -> None:
    """The message names the place."""
    with pytest.raises(ConfigError, match=why):
        parse(document, Path(), desk.kinds)


async def test_rotation_seals_anew(desk: Desk) -> None:
    """With a new key first, each sealed wish is sealed anew and opens without the old one; twice is once."""
    await connect(desk, asked())
    new, old = os.urandom(32), base64.b64decode(desk.cluster.config.key.get_secret_value())
    both = Desk(desk.cluster, Keyring([new, old]), desk.kinds)
    assert await both.reseal() == ["mine"]
    assert await both.reseal() == []
    wish = await both.wish("mine")
    assert (wish.revision, wish.generation) == (2, 2)
    alone = Desk(desk.cluster, Keyring([new]), desk.kinds)
    assert alone.links.settings(wish).password.get_secret_value() == "right"


def test_an_announcement_lasts_as_long_as_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sluice up` tells the other commands its Kafka; what a dead process left counts as nothing."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("SLUICE_KAFKA", raising=False)
    with pytest.raises(FailedError, match="no Kafka"):
        operate.settings()
    operate.announce("127.0.0.1:1", prefix="here.")
    config = operate.settings()
    assert (config.kafka, config.prefix) == ("127.0.0.1:1", "here.")
    assert config.key_file == tmp_path / "sluice" / "key"
    assert (tmp_path / "sluice" / "key").stat().st_mode & 0o777 == 0o600
    operate.withdraw()
    assert operate.announced() is None
    for left in ('{"kafka": "x", "pid": 999999999, "prefix": "", "key_file": ""}', "{", "[]", "null"):
        (tmp_path / "sluice" / "run.json").write_text(left)
        assert operate.announced() is None
