"""Features, elasticity models and the state of facts, computed from cells.

All objects are pure: they use neither Flink nor Redis nor the wall clock.

To add a feature: add one :class:`features.registry.FeatureSpec` to ``FEATURES``. To add an elasticity model: add
one file to ``features/elasticity`` and its class to ``MODELS``. ``make schemas`` rewrites feature_repo.
"""
