"""Versions and stages of a model as Git tags, by the package gto: ``fraud@v1.2.0``, ``fraud#prod#1``."""

from fraudlab.errors import UserError


def tag(name: str, version: str, stage: str | None) -> str:
    """Tag the commit that is checked out as a version of the model, and that version as the one at a stage.

    Args:
        name: of the model.
        version: as ``v1.2.0``.
        stage: as ``prod``; None leaves stages alone.

    Returns:
        What to tell.

    Raises:
        UserError: there is no repository here, its commit has another version, or gto is not installed.
    """
    try:
        from gto import api
        from gto.exceptions import GTOException
        from scmrepo.exceptions import SCMError
        from scmrepo.git import Git
    except ImportError as error:
        raise UserError("version=<version> needs gto: pip install 'fraudlab[data]'") from error
    try:
        with Git(".") as repository:
            tag = f"{name}@{version}"
            if tag in repository.list_tags():
                at, head = repository.resolve_rev(f"refs/tags/{tag}^{{}}"), repository.get_rev()
                if at != head:
                    raise UserError(f"{tag} is of commit {at[:12]}, this is {head[:12]}; choose another version")
            else:
                api.register(repository, name, ref="HEAD", version=version)
            found = next(each for each in api.show(repository, name) if each["version"] == version)
            if stage is not None and not any(each["stage"] == stage and each["is_active"] for each in found["stages"]):
                api.assign(repository, name, stage, version=version)
    except (GTOException, SCMError) as error:
        raise UserError(
            f"{error}; run this in the Git repository of the model, where a commit has one version"
        ) from error
    said = f"{name}@{version}" + (f", {name}#{stage}" if stage else "")
    return f"tags     {said}; publish them with: git push --tags"
