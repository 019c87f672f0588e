"""Simulated transactions in the form of IEEE-CIS: written once, then read by the code that reads Kaggle's files."""

import logging
import shutil
from pathlib import Path

from fraudlab.config import IEEECISConfig, IEEECISSimulatedConfig
from fraudlab.data.simulators import ieee_cis as simulator
from fraudlab.data.sources import ieee_cis
from fraudlab.data.sources.contract import Source
from fraudlab.files import make_once

log = logging.getLogger(__name__)

_VERSION = 2  # raised whenever the simulator gives other rows for the same seed


def load(config: IEEECISSimulatedConfig, cache_dir: Path) -> Source:
    """The simulated table; its two CSV files, as ``fraudlab.simulate`` makes them, are kept under ``cache_dir``.

    Raises:
        UserError: ``data.rows`` or ``data.seed`` is out of range.
    """
    folder = cache_dir / f"ieee_cis_simulated_v{_VERSION}_{config.rows}_{config.seed}"
    if folder.exists() and not (folder / simulator.TRANSACTIONS).exists():  # the last of the files to take its name
        shutil.rmtree(folder)

    def write(aside: Path) -> None:
        log.info("simulating %d transactions in the form of IEEE-CIS", config.rows)
        simulator.simulate(aside, config.rows, config.seed)

    make_once(folder, write)
    return ieee_cis.load(IEEECISConfig(name=config.name, raw_dir=str(folder)), cache_dir)
