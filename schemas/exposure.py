"""Who can see a thing, in four words that mean the same for every provider.

``private``: its owner and people named one by one. ``internal``: anyone, or a whole group, of the customer's
own organisation. ``external``: someone outside it who was named. ``public``: anyone with the link, or anyone.
"""

from typing import Final, Literal, TypeAlias

Exposure: TypeAlias = Literal["private", "internal", "external", "public"]

ORDER: Final[tuple[Exposure, ...]] = ("private", "internal", "external", "public")
"""Narrowest first."""


def widest(*exposures: Exposure) -> Exposure:
    """Give the widest of several grants' exposures; without any grant a thing is private."""
    return max(exposures, key=ORDER.index, default="private")
