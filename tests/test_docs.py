"""The pages are read as a newcomer reads them: short lines, narrow tables, links that lead somewhere, code that runs."""

import re
from pathlib import Path

import pytest

from shredder.io.files import sha256

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [page.name for page in PAGES]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def test_the_readme_is_one_screen():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150 and len(text.encode()) <= 12_000


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_lines_are_short_and_tables_narrow(page):
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        assert len(line) < 121, f"{page.name}:{number}"
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) <= 8, f"{page.name}:{number} has more than seven columns"


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(place), f"{page.name}: {target}"


@pytest.mark.parametrize("name", ["README.md", "docs/files.md"])
def test_code_that_loads_shipped_noise_runs(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    for block in blocks(ROOT / name, "python"):
        found = {}
        exec(block, found)
        shape = found["noisy_activation"].shape
        assert shape in ((120, 1, 1), (120,)), shape


def test_scripts_name_their_page():
    for script in ROOT.glob("*.py"):
        pages = re.findall(r"docs/\w+\.md|models/README\.md", script.read_text().split('"""')[1])
        assert pages and all((ROOT / page).exists() for page in pages), script.name


def test_shipped_files_have_their_checksums():
    folder = ROOT / "artifacts"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    shipped = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    shipped = {name for name in shipped if not re.search(r"(^|/)\.", name)}  # such as a notebook's checkpoints
    assert shipped - {"README.md", "SHA256SUMS"} == set(listed)
    assert all(sha256(folder / name) == digest for name, digest in listed.items())
