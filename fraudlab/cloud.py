"""``python -m fraudlab.cloud action=submit|register|deploy|watch|status|rollback ...``: Vertex AI, Cloud Run."""

from fraudlab.cli import command
from fraudlab.config.cloud import CloudConfig


@command("cloud")
def main(config: CloudConfig) -> None:
    from fraudlab.deployment.actions import ACTIONS

    for line in ACTIONS[config.action](config):
        print(line, flush=True)


if __name__ == "__main__":
    main()
