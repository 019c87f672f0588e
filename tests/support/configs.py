"""The typed settings of a training, most of them no defaults."""

from fraudlab import config
from fraudlab.features import handbook


def settings(model: object = None) -> config.TrainConfig:
    return config.TrainConfig(
        data=config.HandbookConfig(customers=7),
        features=config.HistoryFeaturesConfig(**handbook.settings(True), encoder=config.EncoderConfig(clip=3.0)),
        split=config.TimeWindowsConfig(train_start="2018-07-25", train_days=7),
        model=model or config.TabNetConfig(n_d=4, virtual_batch_size=128),
        loss=config.FocalConfig(),
        trainer={"max_epochs": 3},
    )
