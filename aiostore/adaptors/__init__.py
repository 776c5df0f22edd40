"""One module for each kind of engine; each imports its own driver, and none knows another."""
