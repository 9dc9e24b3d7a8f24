"""README and docs name only what exists: files, scripts, commands with their flags, and every dependency."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from node.cli.root import cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README_ORDER = [
    "Two machines to a running service",
    "One node",
    "Words",
    "What it guarantees, and what it does not",
    "Working on it",
]
NAMED_FILE = re.compile(r"[A-Za-z0-9_-]+\.(md|py|toml|lock)")
PROMPT = re.compile(r"(?:h\d)?[#$] ")


def name_of(path: Path) -> str:
    return path.name


def spans_of(page: Path) -> list[str]:
    """Return the inline code of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", text)


def typed_in(page: Path) -> list[str]:
    """Return what a page has people type, in code blocks and inline."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [PROMPT.sub("", line) for block in blocks for line in block.splitlines()] + spans_of(page)


def words_of(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def is_ours(word: str) -> bool:
    """Whether a word names something in this repository."""
    first = word.partition("/")[0]
    return bool(NAMED_FILE.fullmatch(word)) or ("/" in word and first not in ("", "dist") and (ROOT / first).is_dir())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_names_only_files_that_exist(page: Path) -> None:
    named = {word.rstrip(",.;:") for text in typed_in(page) for word in words_of(text)[:1] if is_ours(word)}
    missing = [name for name in sorted(named) if not list(ROOT.glob(name.rstrip("/"))) and not _is_module(name)]
    assert not missing


def _is_module(name: str) -> bool:
    """`node/plan/services` and `dns/answer` mean modules, as prose names them."""
    return (ROOT / f"{name}.py").exists()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_links_only_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    assert not [link for link in links if "://" not in link and not (page.parent / link).exists()]


def commands_in(page: Path) -> Iterator[list[str]]:
    for text in typed_in(page):
        words = words_of(text)
        if len(words) > 1 and words[0] in ("node", "corral"):
            yield words[1:]


def flags_of(command: click.Command) -> set[str]:
    own = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    return own | {name for option in cli.params for name in option.opts} | {"--help", "-h"}


def what_is_wrong(words: list[str]) -> str | None:
    """Return why a command line would not be understood."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            break
        name, words = words[0].rstrip(",.;:"), words[1:]
        found = None if name not in command.list_commands(context) else command.get_command(context, name)
        if found is None:
            return f"no command {name}"
        command = found
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in flags_of(command)]
    return f"{command.name} knows no {unknown}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_names_only_commands_that_exist(page: Path) -> None:
    wrong = {" ".join(words): why for words in commands_in(page) if (why := what_is_wrong(words))}
    assert not wrong


def test_checks_of_commands_notice_what_is_wrong() -> None:
    assert what_is_wrong(["service", "scale", "web/nginx=3", "--no-wait"]) is None
    assert what_is_wrong(["service", "shrink"]) == "no command shrink"
    assert what_is_wrong(["host", "ls", "--wide"]) == "ls knows no ['--wide']"


def test_readme_keeps_its_order() -> None:
    text = (ROOT / "README.md").read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == README_ORDER
    opening = text.partition("## ")[0].split("\n\n", 1)[1].strip()
    assert opening.count(". ") == 0
    assert opening.endswith(".")


def test_readme_comes_to_a_service_in_five_commands() -> None:
    section = (ROOT / "README.md").read_text().split("## ")[1]
    typed = [line for line in section.splitlines() if PROMPT.match(line)]
    assert 1 < len(typed) <= 5


def words_in_table(page: Path, heading: str) -> set[str]:
    """Return the first column of the table below a heading."""
    part = page.read_text().split(heading, 1)[1].split("\n#", 1)[0]
    rows = [line.split("|")[1].strip() for line in part.splitlines() if line.startswith("|")]
    return set(rows[2:])


def test_readme_explains_words_as_the_glossary_does() -> None:
    glossary = words_in_table(ROOT / "docs" / "glossary.md", "# Glossary")
    assert words_in_table(ROOT / "README.md", "## Words") <= glossary


def names_of(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[; ]", requirement, maxsplit=1)[0] for requirement in requirements}


def test_each_dependency_has_a_written_reason_and_nothing_else_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    page = ROOT / "docs" / "dependencies.md"
    assert words_in_table(page, "## At run time") == names_of(project["project"]["dependencies"])
    assert words_in_table(page, "## Development") == names_of(project["dependency-groups"]["dev"])


def test_security_page_has_all_checks_and_names_only_tests_that_exist() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, 26))
    written = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert not [name for name in re.findall(r"`(test_\w+)`", text) if f"def {name}(" not in written]


def test_licence_is_the_declared_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]
