"""Engines turn page images into readings. `base` is what each keeps to, and what an engine of one's own imports.

In: a `PageImage`. Out: a `Reading`, or PageError where this page alone is at fault. Each engine is the only importer
of its library, and imports it late. May import telemetry's output capture, concurrency, config and what lies below.
"""

import importlib

from ocrd.config import resolving, schema
from ocrd.engines.base import Engine, complete
from ocrd.errors import ConfigError, OcrdError


def load(settings: schema.Engine) -> Engine:
    """Make the engine that the configuration names; it is not started yet. Raises ConfigError."""
    match settings.kind:
        case "cpu":
            from ocrd.engines.cpu.engine import CpuEngine

            return CpuEngine(settings.cpu.languages, settings.cpu.letters, settings.cpu.workers)
        case "vllm":
            from ocrd.engines.vllm.engine import VllmEngine

            return VllmEngine(settings.vllm, profile=resolving.find(settings.profile))
        case "openai":
            from ocrd.engines.openai.engine import OpenAiEngine

            return OpenAiEngine(settings.openai, resolving.find(settings.profile))
        case "transformers":
            from ocrd.engines.transformers.engine import TransformersEngine

            return TransformersEngine(settings.transformers, resolving.find(settings.profile))
        case other:
            return _made_by(other, settings.options)


def _made_by(kind: str, options: dict[str, object]) -> Engine:
    """Call the factory `package.module:factory` with the options."""
    module, _, factory = kind.partition(":")
    try:
        engine = complete(getattr(importlib.import_module(module), factory)(options))
    except OcrdError:
        raise
    except Exception as error:  # it is the owner's own, and may raise anything
        raise ConfigError(
            f"engine.kind is {kind!r}, but that can't be loaded: {type(error).__name__}: {error}.",
            "Install or mend its package, or give package.module:factory.",
        ) from error
    return engine
