"""``python -m fraudlab.cloud action=submit|register|deploy|status|rollback ...``: Vertex AI and Cloud Run."""

from fraudlab.cli import command
from fraudlab.config.cloud import CloudConfig


@command("cloud")
def main(config: CloudConfig) -> None:
    from fraudlab.deployment.actions import ACTIONS

    for line in ACTIONS[config.action](config):
        print(line, flush=True)


if __name__ == "__main__":
    main()
