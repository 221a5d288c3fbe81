"""Where in a JSON document an offset lies, as a path."""

import re

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{},:\n]', re.DOTALL)
DEEPEST = 64


class JsonPath:
    """Follows a document from its start; offsets must be asked for in rising order."""

    def __init__(self, text: bytes) -> None:
        self._tokens = _TOKEN.finditer(text)
        self._steps: list[str | int] = []
        self._word = b""
        self._line = 0
        self._next = next(self._tokens, None)

    def at(self, offset: int) -> str:
        """The path of the value that holds the offset; a line of JSON lines is named by its number."""
        following = self._next
        while following and following.end() <= offset:
            self._step(following[0])
            following = next(self._tokens, None)
        self._next = following
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self._steps[:DEEPEST])
        return f"line {self._line + 1} ${path}" if self._line else f"${path}"

    def _step(self, token: bytes) -> None:
        steps = self._steps
        if token == b":":
            if steps:
                steps[-1] = self._word[1:65].removesuffix(b'"').decode("utf-8", "replace")
        elif token == b",":
            if steps and isinstance(steps[-1], int):
                steps[-1] += 1
        elif token == b"{":
            steps.append("")
        elif token == b"[":
            steps.append(0)
        elif token == b"\n":
            self._line += not steps
        elif token[0] == 34:
            self._word = token
        elif steps:
            steps.pop()
