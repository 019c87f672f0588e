"""``python -m fraudlab.sweep sweep=<name>``: a search over train's settings that goes on wherever it was stopped."""

import signal
from importlib.util import find_spec
from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import SweepConfig
from fraudlab.config.composition import config_dir
from fraudlab.config.overrides import literal_text, to_type
from fraudlab.errors import UserError


@command("sweep")
def main(config: SweepConfig) -> None:
    from fraudlab.tuning.composition import check
    from fraudlab.tuning.definition import load_definition
    from fraudlab.tuning.wandb import wandb_sweep

    definition = load_definition(config)
    base = check(definition)
    if config.wandb:
        print(wandb_sweep(definition, config_dir()), end="")
        return
    if find_spec("optuna") is None:
        raise UserError("a sweep needs Optuna; pip install 'fraudlab[tune]'")
    from fraudlab.data.prepared import prepared_table
    from fraudlab.reporting.sweep import candidates_table, trials_table, write_sweep_page
    from fraudlab.tuning.stages import Sweep
    from fraudlab.tuning.stop import Stop, Stopped
    from fraudlab.tuning.storage import hidden, open_storage
    from fraudlab.tuning.study import on_stale

    folder = Path(config.paths.output_dir)
    address = definition.storage or f"sqlite:///{folder / 'study.db'}"
    sweep = Sweep(definition, config, base, open_storage(address, config.grace, on_stale(config.retries)), config_dir())
    data = Path(base.paths.data_dir)
    simulated = prepared_table(base.data, base.features, base.label_delay_days, data, base.split).schema.simulated
    print(f"study {definition.name} in {hidden(address)}; runs and results in {folder}")
    try:
        with Stop().on_signals() as stop:
            trials = sweep.search(stop)
            print("\n" + trials_table(trials, definition, simulated=simulated) + "\n")
            candidates = sweep.candidates(stop)
            best = sweep.best(candidates)
            print("\n" + candidates_table(candidates, definition, best, simulated=simulated))
            page = folder / "sweep.html"
            write_sweep_page(page, sweep.study, trials, candidates, best, definition, simulated=simulated)
            print(f"\npage: {page}\nbest: {sweep.write_best(folder, best, len(trials))}")
            if config.test_best:
                tested = sweep.test(trials, best, stop)
                print("\n" + candidates_table(tested, definition, best, simulated=simulated, tested=True))
                print("\nside by side: " + to_type("compare", f"runs=[{literal_text(folder / 'test' / '*')}]"))
    except Stopped as stopped:
        print("\nstopped; the same command goes on from here")
        raise SystemExit(128 + (stopped.number or signal.SIGTERM)) from None


if __name__ == "__main__":
    main()
