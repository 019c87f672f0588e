"""Where transactions come from: one module a source, each with ``load(config, cache_dir) -> Source``."""
