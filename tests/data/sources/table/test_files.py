"""Which files an address names: folders, partitions, globs, addresses elsewhere."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import polars as pl
import pytest

from fraudlab.errors import UserError
from tests.support.server import free_port
from tests.support.tables import load, roles, write


def test_hidden_files_and_what_is_no_table_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", {"a": [1], "fraud": [0]})
    for name in (".a.csv", "._a.csv", "_SUCCESS", "README.txt", "notes.md"):
        (tmp_path / name).write_text("no table")
    load(tmp_path)  # leaves a cache beside the files
    assert load(tmp_path, cache=tmp_path).frame.collect()["a"].to_list() == [1]
    assert load(tmp_path, cache=tmp_path, card="a").frame.collect()["a"].to_list() == [1]
    assert load(tmp_path / "*.csv").frame.collect()["a"].to_list() == [1]


def test_sub_folders_and_the_partitions_that_they_name(tmp_path: Path) -> None:
    for month, kind in ((1, "csv"), (2, "csv"), (10, "csv")):
        folder = tmp_path / f"month={month}" / "shop=x"
        folder.mkdir(parents=True)
        write(folder / f"p.{kind}", {"a": [month * 10], "fraud": [month % 2]})
    for path in (tmp_path, tmp_path / "**" / "*.csv"):
        source = load(path, cache=tmp_path / ".cache")
        frame = source.frame.collect().sort("a")
        assert frame.select("a", "month", "shop").rows() == [(10, 1, "x"), (20, 2, "x"), (100, 10, "x")]
        assert roles(source)["month"] == "numeric"
    with pytest.raises(UserError, match=r"matches no file; .*sub-folders too: .*\*\*/p\.csv"):
        load(tmp_path / "p.csv*")


def test_a_column_that_some_files_lack_is_missing_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "1.csv", {"a": [1], "fraud": [0]})
    write(tmp_path / "2.csv", {"fraud": [1], "more": ["x"], "a": [2]})
    frame = load(tmp_path).frame.collect()
    assert frame.select("a", "more", "fraud").rows() == [(1, None, 0), (2, "x", 1)]
    assert "column more is missing in the rows of 1 of 2 files (1.csv)" in caplog.text


def test_files_of_several_kinds_are_refused_with_a_glob(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", {"fraud": [0]})
    write(tmp_path / "t.parquet", {"fraud": [0]})
    with pytest.raises(UserError, match=r"CSV and Parquet files; give a glob .*\*\*/\*\.(csv|parquet)"):
        load(tmp_path)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """Address of a web server that serves ``tmp_path``."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_file_on_a_web_server(site: str, tmp_path: Path) -> None:
    write(tmp_path / "t.csv", {"a": [1, 2], "fraud": [0, 1]})
    assert load(f"{site}/t.csv", cache=tmp_path / "cache").frame.collect()["a"].to_list() == [1, 2]
    write(tmp_path / "t.csv", {"a": [3, 2, 1], "fraud": [0, 1, 1]})
    assert load(f"{site}/t.csv", cache=tmp_path / "cache").frame.collect()["a"].to_list() == [3, 2, 1]
    with pytest.raises(UserError, match="none.csv cannot be read .*check the address"):
        load(f"{site}/none.csv", cache=tmp_path / "cache")


def test_a_folder_that_fsspec_knows(tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/bucket/tx/month=2/b.csv", b"a,fraud\n2,1\n")
    files.pipe("/bucket/tx/month=1/a.csv", b"a,fraud\n1,0\n")
    files.pipe("/bucket/tx/_SUCCESS", b"")
    for address in ("memory://bucket/tx", "memory://bucket/tx/**/*.csv"):
        frame = load(address, cache=tmp_path).frame.collect()
        assert frame.select("a", "month", "fraud").rows() == [(1, 1, 0), (2, 2, 1)]
    with pytest.raises(UserError, match="memory://bucket/none .*check the address"):
        load("memory://bucket/none", cache=tmp_path)


@pytest.fixture
def gs(monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    """A bucket ``tables`` of an emulated Google Cloud Storage."""
    from gcp_storage_emulator.server import create_server

    # gcsfs would ask for a bucket's kind in a way that the emulator does not answer.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    import gcsfs

    port = free_port()
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="tables")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    gcsfs.GCSFileSystem.clear_instance_cache()
    yield gcsfs.GCSFileSystem()
    gcsfs.GCSFileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    """A bucket ``tables`` of a server that speaks as S3 does."""
    s3fs, moto = pytest.importorskip("s3fs"), pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    files.mkdir("tables")
    yield files
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.mark.parametrize("kind", ["gs", "s3"])
def test_a_bucket(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    files = request.getfixturevalue(kind)
    files.pipe("tables/tx/month=1/a.csv", b"a,fraud\n1,0\n")
    files.pipe("tables/tx/month=2/b.csv", b"a,fraud\n2,1\n")
    for address in (f"{kind}://tables/tx", f"{kind}://tables/tx/**/*.csv"):
        frame = load(address, cache=tmp_path).frame.collect()
        assert frame.select("a", "month", "fraud").rows() == [(1, 1, 0), (2, 2, 1)]
    files.pipe("tables/tx/month=2/b.csv", b"a,fraud\n3,1\n")
    files.invalidate_cache()
    assert load(f"{kind}://tables/tx/month=2/b.csv", cache=tmp_path).frame.collect()["a"].to_list() == [3]
    with pytest.raises(UserError, match=f"data.path={kind}://tables/none .*check the address"):
        load(f"{kind}://tables/none", cache=tmp_path)


def test_the_rows_of_a_file_are_the_same_wherever_it_lies(tmp_path: Path) -> None:
    content = pl.DataFrame({"a": [1, 2], "fraud": [0, 1]}).write_csv().encode()
    (tmp_path / "t.csv").write_bytes(content)
    fsspec.filesystem("memory").pipe("/bucket/t.csv", content)
    here, there = load(tmp_path / "t.csv"), load("memory://bucket/t.csv", cache=tmp_path / "cache")
    assert here.data_fingerprint == there.data_fingerprint
