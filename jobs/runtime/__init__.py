"""What every process shares: settings, the run's Clock, metrics, pseudonyms."""
