"""``python -m fraudlab.sweep sweep=<name>``: a search over train's settings that goes on wherever it was stopped."""

import signal
from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import SweepConfig
from fraudlab.config.commands import PathsConfig
from fraudlab.config.overrides import literal, literal_text, to_type


@command("sweep")
def main(config: SweepConfig) -> None:
    from fraudlab.tuning.composition import check, config_dir, experiment
    from fraudlab.tuning.definition import load_definition

    definition = load_definition(config)
    if config.wandb:
        from fraudlab.tuning.wandb import wandb_sweep

        check(definition)
        print(wandb_sweep(definition, config_dir()), end="")
        return
    try:
        import optuna
    except ImportError as error:
        from fraudlab.errors import UserError

        raise UserError("a sweep needs Optuna; pip install 'fraudlab[tune]'") from error
    from fraudlab.data.prepared import prepared_table
    from fraudlab.files import write_text
    from fraudlab.reporting.sweep import candidates_table, trials_table, write_sweep_page
    from fraudlab.tuning.stages import Sweep
    from fraudlab.tuning.stop import Stop, Stopped
    from fraudlab.tuning.storage import hidden, open_storage
    from fraudlab.tuning.study import is_first_start, on_stale

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # failures are told here
    base = check(definition)
    folder = Path(config.paths.output_dir)
    address = definition.storage or f"sqlite:///{folder / 'study.db'}"
    storage = open_storage(address, config.grace, on_stale(config.retries))
    sweep = Sweep(definition, config, base, storage, config_dir())
    # Once, before all trials need it.
    table = prepared_table(base.data, base.features, base.label_delay_days, Path(base.paths.data_dir))
    simulated = table.schema.simulated
    print(f"study {definition.name} in {hidden(address)}; runs and results in {folder}")
    metrics = [metric.name for metric in definition.metrics]
    try:
        with Stop().on_signals() as stop:
            trials = sweep.search(stop)
            print("\n" + trials_table(trials, definition, simulated=simulated) + "\n")
            finalists = sweep.finalists()
            if definition.finalists:
                candidates = sweep.repeat("finalists", finalists, metrics, stop, "test=false")
            else:
                candidates = [sweep.once(trial) for trial in finalists]
            best = sweep.best(candidates)
            print("\n" + candidates_table(candidates, definition, best, simulated=simulated))
            name = f"{definition.name}_best"
            tried = f"trial {best.trial} of {len(trials)} of the sweep {definition.name}, chosen on validation"
            # In a folder of its own: Hydra takes every folder beside experiment/ for a config group.
            found = experiment(sweep.best_overrides(best), tried)
            write_text(folder / "best" / "experiment" / f"{name}.yaml", found)
            page = folder / "sweep.html"
            write_sweep_page(page, sweep.study, trials, candidates, best, definition, simulated=simulated)
            where = (
                [] if base.paths.data_dir == PathsConfig.data_dir else [literal("paths.data_dir", base.paths.data_dir)]
            )
            again = to_type("train", "--config-dir", str(folder / "best"), literal("experiment", name), *where)
            print(f"\npage: {page}\nbest: {again}")
            if config.test_best:
                asked = [trial for trial in trials if trial.number == best.trial]
                finished = [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
                asked += [trial for trial in finished if is_first_start(trial) and trial not in asked]
                tested = sweep.repeat("test", asked, ["test.average_precision"], stop, "test=true")
                print("\n" + candidates_table(tested, definition, best, simulated=simulated, tested=True))
                runs = to_type("compare", f"runs=[{literal_text(folder / 'test' / '*')}]")
                print(f"\nside by side: {runs}")
    except Stopped as stopped:
        print("\nstopped; the same command goes on from here")
        raise SystemExit(128 + (stopped.number or signal.SIGTERM)) from None


if __name__ == "__main__":
    main()
