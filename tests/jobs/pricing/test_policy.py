"""The policy: one place for every business number, refusing what it does not know."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from jobs.pricing.policy import Policy, PolicyError

SHIPPED = Path(__file__).parents[3] / "infra" / "config" / "policy.yaml"


def test_the_shipped_policy_writes_out_the_defaults() -> None:
    assert Policy.load(SHIPPED) == Policy()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("limits: {max_step: 7}", ["limits.max_step", "less than or equal to 1", "got 7"]),
        ("limits: {max_stepp: .1}", ["limits.max_stepp", "not permitted"]),
        ("margin: {min_margin: .nan}", ["margin.min_margin"]),
        ("segments: {prior_shares: [.5, .5, .5]}", ["segments", "sum to 1"]),
        ("market: {cap_ratio: 3.0}", ["market", "cap_ratio", "3.0"]),
        ("- 1", ["expected a mapping", "[1]"]),
        ("limits: {", ["expected YAML"]),
    ],
)
def test_a_wrong_key_is_refused_with_its_name_what_was_expected_and_what_came(
    tmp_path: Path, content: str, words: list[str]
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(content)
    with pytest.raises(PolicyError) as refusal:
        Policy.load(path)
    for word in [str(path), *words]:
        assert word in str(refusal.value)


def test_a_policy_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        Policy().limits.max_step = 0.5  # type: ignore[misc]


def test_the_hash_names_the_content() -> None:
    other = Policy.from_dict({"limits": {"max_step": 0.05}})
    assert Policy().hash == Policy.from_dict(Policy().to_dict()).hash != other.hash
