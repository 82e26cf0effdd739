"""Every key is documented, and the pages are those of the types."""

import msgspec
import pytest

from app.config.docs import PAGES, keys_of, page
from app.config.keys import tables_of

TABLES = [(path or "top level", kind) for root in PAGES for path, kind in tables_of(root)]


@pytest.mark.parametrize("root", PAGES, ids=lambda root: root.__name__)
def test_the_page_is_that_of_the_types(root: type[msgspec.Struct]) -> None:
    assert PAGES[root].read_text(encoding="utf-8") == page(root), "run: make docs"


@pytest.mark.parametrize(("path", "kind"), TABLES, ids=[f"{kind.__name__} {path}" for path, kind in TABLES])
def test_every_key_says_what_it_means(path: str, kind: type[msgspec.Struct]) -> None:
    keys = keys_of(kind)
    assert [key.name for key in keys if len(key.meaning.split()) < 3] == []
    assert [key.name for key in keys if key.name.endswith("_s") and not key.meaning.startswith("Seconds")] == []
    assert [key.name for key in keys if key.name.endswith("_bps") and "Bits per second" not in key.meaning] == []


def test_keys_that_were_documented_nowhere_are_there_now() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES.values())
    for key in ("replication_factor", "drain", "pinned_prefixes", "cap_bps", "urpf", "exports_learned_routes"):
        assert f"| `{key}` |" in text, key
    for key in ("marker_asn", "maximum_prefix", "min_prefix_length4", "max_prefix_length6"):
        assert f"| `{key}` |" in text, key
    assert "`observe`" in text
