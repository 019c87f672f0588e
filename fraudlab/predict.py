"""``python -m fraudlab.predict bundle=... input=... output=...``: scores of a file's transactions, of any number."""

import logging
from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import PredictConfig

log = logging.getLogger(__name__)


@command("predict")
def main(config: PredictConfig) -> None:
    from fraudlab.bundle import load
    from fraudlab.bundle.scoring import score_file, score_table
    from fraudlab.config.engine import engine_of
    from fraudlab.features.threads import cores

    bundle = load(config.bundle)
    past = None
    if config.history is not None:
        from fraudlab.serving.history.of_file import past_of

        past = past_of(bundle, config.history)
    threads = config.threads or cores()
    if config.threads and config.engine == "ray":
        log.warning("threads=%s is not used with engine=ray: see ray.cpus_per_task", config.threads)
    with engine_of(config.engine, config.ray, config.plugins) as engine:
        scored = score_file(bundle, config.input, Path(config.output), threads, past, engine)
    print(score_table(bundle, scored))
    print(f"\nscores: {config.output}")


if __name__ == "__main__":
    main()
