"""XML parts by expat: fast, streamed, and closed to document types."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NoReturn
from xml.parsers import expat  # the doctype handler below is what defusedxml would add

from consumers.dlp.budget import UnreadableError
from consumers.dlp.status import Reason

# Elements that end a word, a line or a cell. All others are taken as part of the line: Word splits a number
# into runs wherever its spelling checker looked.
BREAKS = frozenset(
    {"p", "br", "cr", "tab", "tc", "tr", "si", "author", "comment", "text", "v", "f", "pt", "docPr", "cNvPr"}
)
# Attributes that hold words of the author, by element.
HYPHEN = "noBreakHyphen"
SPOKEN: dict[str, tuple[str, ...]] = {
    "docPr": ("name", "descr", "title"),
    "cNvPr": ("name", "descr", "title"),
    "sheet": ("name",),
    "definedName": ("name", "comment"),
    "hyperlink": ("display", "tooltip", "location"),
    "Relationship": ("Target",),
    "property": ("name",),
    "cmAuthor": ("name",),
    "comment": ("author", "initials"),
    "ins": ("author",),
    "del": ("author",),
    "person": ("displayName",),
    "docVar": ("name", "val"),
    "dataValidation": ("prompt", "error"),
}


def parser() -> expat.XMLParserType:
    """Make a parser that raises `UnreadableError` at a document type or an entity declaration."""
    made = expat.ParserCreate()
    made.buffer_text = True
    made.ordered_attributes = True
    made.StartDoctypeDeclHandler = _refuse
    made.EntityDeclHandler = _refuse
    made.ExternalEntityRefHandler = _refuse
    return made


def parse(made: expat.XMLParserType, pieces: Iterable[bytes]) -> Iterator[None]:
    """Feed the parser piece by piece, yielding after each so that its text can be taken away.

    Raises:
        UnreadableError: The part is not well-formed.
    """
    try:
        for piece in pieces:
            made.Parse(piece, False)
            yield
        made.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError):
        raise UnreadableError(Reason.MALFORMED) from None
    yield


@lru_cache(maxsize=4096)
def local(name: str) -> str:
    """The name without its prefix."""
    return name[name.find(":") + 1 :]


@lru_cache(maxsize=4096)
def _breaks(name: str) -> bool:
    return local(name) in BREAKS


@lru_cache(maxsize=4096)
def _spoken(name: str) -> tuple[str, ...]:
    return SPOKEN.get(local(name), (HYPHEN,) if local(name) == HYPHEN else ())


class Words:
    """Collects all character data of a part, and the attributes that hold words."""

    def __init__(self, *, loose: bool = False, mute: bool = False) -> None:
        """Begin.

        `loose` ends the line after each element, as property lists need it. `mute` is for parts with no words
        by their schema (styles, themes): only character data is looked for there, which is far cheaper.
        """
        self.parser = parser()
        self.parser.CharacterDataHandler = self._data
        if not mute:
            self.parser.StartElementHandler = self._start
            self.parser.EndElementHandler = self._end
        self._loose = loose
        self._held: list[str] = []
        self._aside: dict[str, None] = {}

    def take(self) -> bytes:
        """The text collected since the last call."""
        text = "".join(self._held).encode("utf-8", "replace")
        self._held.clear()
        return text

    def aside(self) -> bytes:
        """The words of attributes, each once; they stand apart lest they part a number."""
        return "\n".join(("", *self._aside)).encode("utf-8", "replace")

    def _data(self, data: str) -> None:
        self._held.append(data)

    def _start(self, name: str, attributes: list[str]) -> None:
        wanted = _spoken(name)
        if wanted:
            if wanted[0] is HYPHEN:
                self._held.append("-")
            pairs = zip(attributes[::2], attributes[1::2], strict=True)
            self._aside.update({value: None for key, value in pairs if local(key) in wanted})

    def _end(self, name: str) -> None:
        if self._loose or _breaks(name):
            self._held.append("\n")


def _refuse(*_: object) -> NoReturn:
    raise UnreadableError(Reason.DOCTYPE)
