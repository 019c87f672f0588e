"""How many cores a process may use, as the kernel's files say it."""

from pathlib import Path

import pytest

from fraudlab.features import threads


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


@pytest.mark.parametrize(
    ("own", "above", "top", "limit"),
    [
        ("max 100000", "max 100000", "max 100000", float("inf")),
        ("150000 100000", "max 100000", "max 100000", 1.5),
        ("400000 100000", "200000 100000", "max 100000", 2.0),  # the least on the way counts
        (None, None, "300000 100000", 3.0),  # in a container, the name is the host's
        (None, None, None, float("inf")),
    ],
)
def test_the_limit_of_version_2(
    tmp_path: Path, own: str | None, above: str | None, top: str | None, limit: float
) -> None:
    root, said = tmp_path / "cgroup", tmp_path / "self"
    said.write_text("0::/slice/job\n")
    for folder, text in ((root / "slice" / "job", own), (root / "slice", above), (root, top)):
        if text is not None:
            group(folder, cpu__max=text)
    assert threads.cgroup_limit(root, said) == limit


def test_the_limit_of_version_1(tmp_path: Path) -> None:
    root, said = tmp_path / "cgroup", tmp_path / "self"
    said.write_text("5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n0::/\n")
    group(root / "cpu,cpuacct", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert threads.cgroup_limit(root, said) == float("inf")
    group(root / "cpu,cpuacct" / "docker" / "x", cpu__cfs_quota_us="250000", cpu__cfs_period_us="100000")
    assert threads.cgroup_limit(root, said) == 2.5


@pytest.mark.parametrize(("load", "expected"), [(0.1, 4), (3.9, 4), (6.2, 2), (7.9, 1), (30.0, 1)])
def test_threads_are_the_cores_that_are_free(monkeypatch: pytest.MonkeyPatch, load: float, expected: int) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(threads, "busy_cores", lambda _: load)
    assert threads.default_threads() == expected
    monkeypatch.setenv("OMP_NUM_THREADS", "3,1")
    assert threads.default_threads() == 3


def test_busy_cores_are_those_of_the_moment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """proc(5): user, nice, system, idle, iowait, irq, softirq, steal; guest time is within user time."""
    stat = tmp_path / "stat"
    stat.write_text("cpu  1000 0 500 90000 100 0 10 0 40 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    later = "cpu  1040 5 515 90135 115 0 10 0 80 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n"  # 60 of 210 hundredths at work
    monkeypatch.setattr("time.sleep", lambda _: stat.write_text(later))
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    assert threads.busy_cores(stat) == pytest.approx(7 * 60 / 210)
    assert threads.busy_cores(stat) == 0.0  # a kernel that counts nothing
    assert threads.busy_cores(tmp_path / "none") == 0.0
