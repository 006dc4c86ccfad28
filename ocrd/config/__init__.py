"""The configuration: `schema` declares, `loader` reads, `example` writes it; `overrides` are a scan's own settings.

In: YAML that a person wrote. Out: frozen, checked settings, or ConfigError with every mistake's line. May import
model, errors and display.
"""
