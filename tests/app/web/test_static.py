"""What the browser loads: ours, vendored with checksums, nothing inline, nothing from elsewhere."""

import hashlib
import re

from app.web.pages import STATIC

VENDOR = STATIC / "vendor"


def test_vendored_files_are_those_of_the_checksums() -> None:
    rows = (line.split() for line in (VENDOR / "SHA256SUMS").read_text().splitlines())
    listed = {name: checksum for checksum, name in rows}
    files = {path.name: path for path in VENDOR.iterdir() if path.name != "SHA256SUMS"}
    assert listed == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert "MIT License" in files["uPlot.LICENSE"].read_text()


def test_the_list_of_overrides_judges_by_the_progress_of_each_and_nothing_else() -> None:
    """As `autopilot overrides` does: what a router did for another exit of the prefix confirmed no override."""
    lists = (STATIC / "lists.js").read_text()
    assert re.findall(r"([\w.]*)routers\[", lists) == ["progress."] * 2


def test_the_page_has_nothing_inline_and_loads_nothing_from_elsewhere() -> None:
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded
    assert [path for path in loaded if not (STATIC / path.removeprefix("/static/")).is_file()] == []
    ours = [path.read_text() for path in STATIC.glob("*.*")]
    assert not [text for text in ours if re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)]
