"""Our records on `budget`: what holders of a provider's quota ask for, and what its owner grants."""

from pydantic import BaseModel, ConfigDict, Field

from schemas.control import Record


class QuotaNeed(BaseModel):
    """What a holder tells of one bucket: its limit as declared, what it wants, what it spent in the window.

    `want` is units a second by lane (governance, live, reconcile, sweep), `least` the units of its next call,
    `calls` how many it would make at once, `busy` how many are under way; `log` is what it spent, as (seconds
    ago, units). Wanting nothing gives everything back.
    """

    model_config = ConfigDict(frozen=True)

    api: str
    bucket: str
    key: str = ""
    n: float = Field(ge=0)
    per: float = Field(gt=0)
    at_once: int | None = None
    want: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    least: float = Field(default=1.0, ge=0)
    calls: int = Field(default=0, ge=0)
    busy: int = Field(default=0, ge=0)
    log: tuple[tuple[float, float], ...] = ()


class QuotaHeard(BaseModel):
    """What a provider said of a bucket, for so many seconds: what is `left`, or (None) to pause.

    A pause without a bucket is the api's, without an api the whole connector's.
    """

    model_config = ConfigDict(frozen=True)

    api: str = ""
    bucket: str = ""
    key: str = ""
    seconds: float
    left: float | None = None


class QuotaShare(BaseModel):
    """What a holder may spend of one bucket: `n` units in any window, evenly at `rate` a second.

    `kept` of them is for governance alone; `elsewhere` is what the others have spent, for the metric.
    """

    model_config = ConfigDict(frozen=True)

    api: str
    bucket: str
    key: str = ""
    n: float
    rate: float
    at_once: int | None = None
    kept: float = 0.0
    elsewhere: float = 0.0


class QuotaAsk(Record):
    """A holder asks the owner for shares (topic `budget`); `seen` is the last grant in force, by `owner`."""

    connector: str
    incarnation: str
    holder: str
    number: int
    owner: str = ""
    seen: int = 0
    needs: tuple[QuotaNeed, ...] = ()
    heard: tuple[QuotaHeard, ...] = ()


class QuotaGrant(Record):
    """The owner's answer to the ask of number `to` (topic `budget`): shares, and the pauses that hold all."""

    connector: str
    holder: str
    owner: str
    number: int
    to: int
    shares: tuple[QuotaShare, ...] = ()
    pauses: tuple[QuotaHeard, ...] = ()
