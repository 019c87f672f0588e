"""The commands of docs/deployment.md work as written, but for Google's own, which are marked."""

import shlex
from typing import Any

from fraudlab.bundle import load
from tests.conftest import REPOSITORY
from tests.deployment.conftest import BUNDLES, IMAGE, MASKS, Cloud, told
from tests.support.documents import blocks
from tests.support.google_cloud import GoogleCloud

PAGE = REPOSITORY / "docs" / "deployment.md"


def test_commands_of_the_page_are_run_or_marked(
    cloud: Cloud, google: GoogleCloud, bucket: Any, servers: dict[str, str]
) -> None:
    own = [block.text for block in blocks(PAGE) if block.language == "sh" and not block.title]
    commands = [line for text in own for line in text.replace("\\\n", " ").splitlines()]
    assert len(commands) == 6
    bundle = BUNDLES / MASKS
    image = IMAGE.removeprefix("image=")
    values = {"<train image>": image, "<serve image>": image, "<run>/bundle": str(bundle), "gs://b/": "gs://shop/",
              "gs://b-records/": "gs://shop/",
              "<version>": load(bundle).version, "<project>": "shop"}  # fmt: skip
    google.service_uri = servers[MASKS]
    for command in commands:
        for placeholder, value in values.items():
            command = command.replace(placeholder, value)
        assert "<" not in command
        python, _, module, *settings = shlex.split(command)
        assert (python, module) == ("python", "fraudlab.cloud")
        done = cloud(*settings, *(["service.hold_minutes=0"] if "action=deploy" in settings else []))
        if "action=rollback" in settings:  # of the first revision, before which there is none
            assert "has no earlier revision" in done.stderr
        else:
            told(done)
    assert google.policies
