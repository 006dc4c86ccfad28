"""The configuration: `schema` declares, `loader` reads, `example` writes it; `overrides` are a scan's own settings.

In: YAML that a person wrote. Out: frozen, checked settings, or ConfigError with every mistake's line. May import
output (for the names of what can be delivered and how it is written), model, errors and display.
"""
