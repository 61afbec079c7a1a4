"""Price locks: a quoted price as a signed token that a checkout verifies, and that one order may use up.

- :mod:`tokens`: a lock as a JSON Web Token with an Ed25519 signature; signing and verification.
- :mod:`keys`: the signing keys, which of them signs, and which are published.
- :mod:`key_file`: the file of the keys, shared by the edges of a deployment; its creation and rotation.
- :mod:`redemption`: a lock is used up once, by one order.
- :mod:`history`: which redemptions of the topic ``redemptions`` count.

The package has no driver. Redis and Kafka are reached through the protocols of :mod:`redemption`.
"""
