"""Where Walras runs: the local platform, Flink's configuration, the policy, reports, documents and decisions.

Only tests import this package.
"""
