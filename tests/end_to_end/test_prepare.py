"""prepare fills the cache and says what is in it; a second call finds it."""

from pathlib import Path

from tests.conftest import Command

SMALL_DATA = ("data.customers=50", "data.terminals=40", "data.radius=30", "data.days=20", "data.seed=7")


def test_prepare_says_what_it_wrote(command: Command, tmp_path: Path) -> None:
    outputs = [command("prepare", *SMALL_DATA, f"hydra.run.dir={tmp_path}/{n}") for n in (1, 2)]
    for done in outputs:
        assert done.returncode == 0, done.stderr
        assert "simulated data" in done.stdout
        assert "15 numeric, 0 categorical" in done.stdout
    assert outputs[0].stdout.splitlines()[-7:] == outputs[1].stdout.splitlines()


def test_prepare_encodes_what_a_training_then_finds(command: Command, tmp_path: Path) -> None:
    data = ("data=ieee_cis_simulated", "data.rows=3000")
    done = command("prepare", *data, "split=four_months_gap")
    assert done.returncode == 0, done.stderr
    for said in ("3,000, simulated data", "columns    435", "time       day 1.0", "45.", "244 numeric", "drift "):
        assert said in done.stdout
    written = Path(next(line for line in done.stdout.splitlines() if line.startswith("written")).split()[1])
    cache = sorted(written.parent.glob("ieee_cis_simulated-*"))
    trained = command("train", *data, "debug=fast", f"hydra.run.dir={tmp_path}/run")
    assert trained.returncode == 0, trained.stderr
    assert sorted(written.parent.glob("ieee_cis_simulated-*")) == cache
    assert (tmp_path / "run/predictions/test.parquet").exists()


def test_features_that_need_other_columns_are_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,fraud\n1,0\n2,1\n")
    done = command("prepare", "data=table", f"data.path={tmp_path}/t.csv", "data.label=fraud")
    assert done.returncode == 1
    assert "use features=columns" in done.stderr
