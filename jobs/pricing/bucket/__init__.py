"""One bucket's repricing: its state, its watcher, its commands and its decisions."""
