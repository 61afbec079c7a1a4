"""What we believe: pure objects over cells that know nothing of Flink, Redis or the wall clock.

To add a feature: one :class:`features.registry.FeatureSpec` in ``FEATURES``. To add a model: one file
under ``features/elasticity`` and its name in ``MODELS``. ``make generate`` rewrites feature_repo.
"""
