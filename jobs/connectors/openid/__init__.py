"""OpenID Connect: sign-in of people by a provider, with the authorization code flow and PKCE."""
