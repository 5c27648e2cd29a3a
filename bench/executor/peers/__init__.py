"""Programs of the peers' own environment (`.venv-bench`): nothing here imports Evoline."""
