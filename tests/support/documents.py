"""The code blocks of the README and the documents, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.conftest import REPOSITORY

PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "examples" / "README.md",
    *(page for page in sorted((REPOSITORY / "docs").glob("*.md")) if page.stem != "changelog"),  # made by make docs
]
_FENCE = re.compile(r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]*)\")?$")
_INLINE = re.compile(r"`((?:python -m (?:fraudlab|benchmarks)\.|make )[^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block, or a command within a sentence, whose language is ``inline``."""

    page: Path
    line: int
    language: str
    title: str
    text: str
    before: str  # the last line above that is not empty

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"

    @property
    def file(self) -> str | None:
        """Where the page says that the block is to be saved: a path and a colon end the paragraph above."""
        named = re.search(r"`([\w./]+\.(?:ya?ml|py))`:$", self.before)
        return named[1] if named else None


def blocks(page: Path) -> Iterator[Block]:
    """Every block of a page in its order.

    Raises:
        AssertionError: a block is indented, has no language or does not end.
    """
    lines = page.read_text(encoding="utf-8").splitlines()
    before, prose, number = "", [], 0
    while number < len(lines):
        line = lines[number]
        where = f"{page.name}:{number + 1}"
        if line.startswith("```"):
            fence = _FENCE.match(line)
            assert fence is not None, f"{where}: {line} is no fence with a language"
            assert fence["language"], f"{where}: a block without a language"
            end = next((at for at in range(number + 1, len(lines)) if lines[at] == "```"), None)
            assert end is not None, f"{where}: a block that does not end"
            text = "\n".join(lines[number + 1 : end]) + "\n"
            yield Block(page, number + 1, fence["language"], fence["title"] or "", text, before)
            number = end
        else:
            above = lines[number - 1].strip()
            code = line.startswith("    ") and (not above or above.startswith("<!--")) and not _in_list(lines[:number])
            assert not code, f"{where}: an indented block has no language; fence it"
            prose.append((number + 1, line))
            before = line if line.strip() else before
        number += 1
    text = "\n".join(line for _, line in prose)
    for found in _INLINE.finditer(text):
        at, _ = prose[text[: found.start()].count("\n")]
        yield Block(page, at, "inline", "", found[1].replace("\n", " "), "")


def help_examples() -> Iterator[Block]:
    """The examples at the end of each command's ``--help``."""
    for path in sorted((REPOSITORY / "conf" / "hydra" / "help").glob("*.yaml")):
        footer = yaml.safe_load(path.read_text(encoding="utf-8"))["footer"]
        yield Block(path, 1, "sh", "", footer.partition("Examples:\n")[2].partition("\n\n")[0], "")


def _in_list(above: list[str]) -> bool:
    last = next((line for line in reversed(above) if line and not line.startswith(" ")), "")
    return re.match(r"([-*]|\d+\.) ", last) is not None


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell block, with ``<name>`` filled in, without assignments and redirections."""
    text = re.sub(r"(?m)^#.*$|(?<=\s)#(\s.*)?$", "", text.replace("\\\n", " "))
    text = re.sub(r"<([a-z][\w .-]*)>", lambda found: re.sub(r"\W", "_", found[1]), text)
    text = re.sub(r"\$\((?:[^()]|\([^()]*\))*\)", "computed", text)
    text = re.sub(r"\$\{\w+:\+[^{}]*\}", "", text)  # as where the variable is not set
    text = re.sub(r"\$\{[^{}]*\}", "computed", text)
    text = re.sub(r"\$(\w+|\?)", "computed", text)
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    skip = False
    for word in [*lexer, "\n"]:
        if set(word) <= set("|&;\n"):
            if words:
                yield words
            words, skip = [], False
        elif set(word) <= set("<>"):
            skip = True  # the file that follows
        elif not skip and not (not words and re.match(r"\w+=", word)):
            words.append(word)
        else:
            skip = False
