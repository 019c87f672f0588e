"""What an earlier format holds is translated when it is read; a later format is refused."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import fraudlab.bundle
from fraudlab.bundle import formats as bundle_formats
from fraudlab.errors import UserError

FIRST = Path(__file__).parent / "fixtures" / "format_1"


def rewrite(bundle: Path, name: str, content: Any) -> None:
    """Change a JSON file of a bundle and make its manifest agree."""
    data = json.dumps(content).encode()
    (bundle / name).write_bytes(data)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_the_files_of_an_older_bundle_are_translated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A format 2 that calls the fields of ``schema.json`` by another name than format 1 did."""

    def from_1(name: str, content: Any) -> Any:
        if name == "schema.json":
            content["fields"] = content.pop("columns")
        return content

    old = Path(shutil.copytree(FIRST / "bundle_with_masks", tmp_path / "old"))
    schema = json.loads((old / "schema.json").read_text())
    rewrite(
        old, "schema.json", {**{key: schema[key] for key in schema if key != "fields"}, "columns": schema["fields"]}
    )
    with pytest.raises(KeyError):
        fraudlab.bundle.load(old)
    monkeypatch.setattr(bundle_formats, "UPGRADES", (from_1,))
    monkeypatch.setattr(bundle_formats, "FORMAT", 2)
    bundle = fraudlab.bundle.load(old)
    bundle.check()
    assert bundle.schema == schema

    new = Path(shutil.copytree(FIRST / "bundle_with_masks", tmp_path / "new"))
    manifest = json.loads((new / "manifest.json").read_text())
    (new / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))
    assert fraudlab.bundle.load(new).schema == schema


@pytest.mark.parametrize("written", [bundle_formats.FORMAT + 1, 0, -1, "1", None])
def test_a_bundle_of_an_unknown_format_is_refused(tmp_path: Path, written: Any) -> None:
    later = Path(shutil.copytree(FIRST / "bundle_with_masks", tmp_path / "later"))
    manifest = json.loads((later / "manifest.json").read_text())
    (later / "manifest.json").write_text(json.dumps({**manifest, "format": written}))
    with pytest.raises(UserError, match=f"format {written} is not known here"):
        fraudlab.bundle.load(later)
