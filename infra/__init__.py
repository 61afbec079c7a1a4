"""Where Walras runs: the local platform, cluster files, configuration, decisions. Nobody imports it but tests."""
