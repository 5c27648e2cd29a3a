"""The generated part of `docs/language.md`: `python -m evoline.reference` writes it, `--check` says whether it is current."""
