"""``python -m fraudlab.serving '<settings as JSON>'``: what ``python -m fraudlab.serve`` becomes, without Hydra."""

import json
import sys


def main() -> None:
    from fraudlab.config.serve import ServingConfig
    from fraudlab.errors import UserError
    from fraudlab.serving.server import run

    given = json.loads(sys.argv[1])
    try:
        run(given["bundle"], ServingConfig(**given["serving"]), given["plugins"])
    except (UserError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":  # worker processes import this file
    main()
