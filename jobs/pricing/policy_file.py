"""Read a policy file, or one section of it.

:class:`jobs.pricing.policy.Policy` reads and validates the whole file, for which it imports every strategy and
guardrail. A process that needs one section, as the quote port does, reads that section alone, without the packages
of strategies and guardrails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from jobs.pricing.policy_section import PolicySection

SectionT = TypeVar("SectionT", bound=PolicySection)


class PolicyError(ValueError):
    """An invalid policy; the message has one part per wrong key, with the expected and the actual value."""


def read_policy(path: str | Path) -> Any:
    """Return the content of a policy file, an empty dict for an empty file.

    Raises
    ------
    PolicyError
        If the file cannot be read or is not YAML; the message names the file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyError(
            f"{path}: expected a readable policy file, got {error.strerror}; WALRAS_POLICY names the file"
        ) from error
    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise PolicyError(f"{path}: expected YAML, got {error}") from error


def read_section(path: str | Path, key: str, kind: type[SectionT]) -> SectionT:
    """Return one section of a policy file; absent keys take their defaults, other sections are not validated.

    Parameters
    ----------
    key : name of the section in the file.

    Raises
    ------
    PolicyError
        If the file cannot be read or a key of the section is wrong; the message names the file, the key, the
        expected and the actual value.

    Examples
    --------
    >>> import tempfile
    >>> from jobs.pricing.policy_limits import Locks
    >>> file = Path(tempfile.mkdtemp()) / "policy.yaml"
    >>> _ = file.write_text("locks: {minutes: 45}")
    >>> read_section(file, "locks", Locks).minutes
    45
    """
    content = read_policy(path)
    if not isinstance(content, dict):
        raise PolicyError(f"{path}: expected a mapping of sections, got {content!r}")
    try:
        return kind.model_validate(content.get(key, {}))
    except ValidationError as error:
        raise PolicyError(f"{path}: " + "; ".join(wrong_keys(error, key))) from None


def wrong_keys(error: ValidationError, *inside: str) -> list[str]:
    """Return one line per wrong key: the key, the expected and the actual value.

    Parameters
    ----------
    inside : names of the sections that the validated value lies in.
    """
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in (*inside, *problem["loc"])) or "(whole)"
        what = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{key}: {what[0].lower()}{what[1:]}; got {problem['input']!r}")
    return lines
