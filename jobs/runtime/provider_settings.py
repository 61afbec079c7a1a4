"""ProviderSettings: the settings of sign-in by an OpenID Connect provider, a part of all Settings."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from jobs.runtime.addresses import protected_url


class ProviderSettings(BaseModel):
    """Which provider signs people in to the operator port, and what its claims give them.

    Raises
    ------
    pydantic.ValidationError
        If the issuer is no protected URL, or is given without client id and roles.

    Examples
    --------
    >>> ProviderSettings().oidc_issuer is None
    True
    >>> acme = {"oidc_issuer": "https://login.example.org", "oidc_client_id": "walras"}
    >>> ProviderSettings(**acme, oidc_roles="pricing=pricing_manager@acme").oidc_claim
    'groups'
    """

    oidc_issuer: str | None = Field(
        None, description="issuer URL of the OpenID Connect provider of people; None: sign-in by key alone"
    )
    oidc_name: str = Field(
        "your company account", min_length=1, max_length=60, description="the provider's name on the sign-in page"
    )
    oidc_client_id: str | None = Field(None, description="the console's client id at the provider")
    oidc_client_secret: SecretStr | None = Field(
        None, description="the client's secret; None: a public client, protected by PKCE alone"
    )
    oidc_scopes: str = Field(
        "openid", pattern=r"^(.* )?openid( .*)?$", description="scopes that are requested, separated by spaces"
    )
    oidc_claim: str = Field(
        "groups", min_length=1, description="claim of the ID token that gives a user's role and tenant"
    )
    oidc_roles: str | None = Field(
        None,
        description="its values as `<value>=<role>@<tenant>`, separated by semicolons; tenant `*`: every tenant; "
        "the first entry whose value a user has applies",
    )
    oidc_author_claim: str = Field(
        "sub",
        min_length=1,
        description="claim that names the author of commands; choose one that users cannot change themselves",
    )
    oidc_timeout_s: float = Field(
        5.0, gt=0, le=60, description="longest wait for one reply of the provider, wall seconds"
    )

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer_is_protected(cls, value: str | None) -> str | None:
        return None if value is None else protected_url(value, "WALRAS_OIDC_ISSUER")

    @model_validator(mode="after")
    def _provider_is_complete(self) -> Self:
        missing = [name for name in ("oidc_client_id", "oidc_roles") if not getattr(self, name)]
        if self.oidc_issuer is not None and missing:
            names = " and ".join(f"WALRAS_{name.upper()}" for name in missing)
            raise ValueError(
                f"WALRAS_OIDC_ISSUER: expected {names} with it, got none; set {names}, or unset the issuer to "
                "sign in by key alone"
            )
        return self
