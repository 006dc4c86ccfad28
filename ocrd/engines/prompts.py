"""A prompt as the tokens that the model was trained on: as it stands, or through the model's chat template."""

from typing import Any

from ocrd.config.profile import Profile
from ocrd.errors import ConfigError

IMAGE = "<image>"
"""Stands for the image in every prompt of ocrd's settings."""


def tokens(tokenizer: Any, profile: Profile, prompt: str) -> tuple[int, ...]:  # noqa: ANN401 - transformers'
    """Return the token ids of a prompt, with the one that stands for the image. Raises ConfigError.

    Without a template BOS is put first by hand: tokenizers of transformers 5 no longer do it by themselves.
    """
    if profile.chat:
        return tuple(_through_template(tokenizer, profile, prompt, tokenize=True, return_dict=False))
    ids = tokenizer.encode(_with_token(prompt, profile), add_special_tokens=False)
    bos = tokenizer.bos_token_id
    return tuple(ids) if bos is None else (bos, *ids)


def text(processor: Any, profile: Profile, prompt: str) -> str:  # noqa: ANN401 - transformers'
    """Return a prompt as the text that a processor of transformers takes, BOS included. Raises ConfigError."""
    if profile.chat:
        template = processor if getattr(processor, "chat_template", None) else processor.tokenizer
        return str(_through_template(template, profile, prompt, tokenize=False))
    return (processor.tokenizer.bos_token or "") + _with_token(prompt, profile)


def _through_template(template: Any, profile: Profile, prompt: str, **how: bool) -> Any:  # noqa: ANN401 - as above
    if not template.chat_template:
        raise ConfigError(
            f"The profile {profile.name} wants a chat template, and the model's tokenizer has none.",
            "Take the model whole from Hugging Face, or another profile.",
        )
    content = _with_token(prompt, profile) if profile.image_token else _parts(prompt)
    messages = [{"role": "user", "content": content}]
    return template.apply_chat_template(messages, add_generation_prompt=True, **how, **profile.chat_options)


def _with_token(prompt: str, profile: Profile) -> str:
    return prompt.replace(IMAGE, profile.image_token, 1)


def _parts(prompt: str) -> list[dict[str, str]]:
    """Take a prompt apart into the pieces of a message: the image, and the texts before and after it."""
    before, _, after = prompt.partition(IMAGE)
    texts = [[{"type": "text", "text": text}] if text else [] for text in (before, after)]
    return [*texts[0], {"type": "image"}, *texts[1]]
