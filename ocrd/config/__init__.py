"""The configuration: `schema` declares, `loader` reads, `example` writes it; `overrides` are a scan's own settings.

`watch` is one watch's part of the schema; `profile` is what is particular to a model, one file each in `profiles/`,
and `resolving` is where a profile and the owner's settings meet. In: YAML that a person wrote. Out: frozen, checked
settings, or ConfigError with every mistake's line. May import output (for the names of what can be delivered and how
it is written), markup (for the names of dialects), model, errors and display.
"""
