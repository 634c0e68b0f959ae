"""Conversations of a chat model: a prompt becomes turns, the turns become text by the model's own chat template.

A text that follows a sound is the answer to it, in the assistant's turn; sounds and all other texts are the user's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superbench import CommandError, Parts

Turn = tuple[str, list[str | None]]
"""The role, and texts; None stands for a sound."""


def turns(prompt: Parts) -> list[Turn]:
    """Returns the turns of a prompt.

    >>> import torch
    >>> sound = torch.zeros(3)
    >>> turns(["Which word?", sound, "yes", sound])
    [('user', ['Which word?', None]), ('assistant', ['yes']), ('user', [None])]
    """
    found: list[Turn] = []
    for part in prompt:
        text = part if isinstance(part, str) else None
        answers = text is not None and bool(found) and found[-1][0] == "user" and found[-1][1][-1] is None
        role = "assistant" if answers else "user"
        if not found or found[-1][0] != role:
            found.append((role, []))
        found[-1][1].append(text)
    return found


def as_one_sound(prompt: Parts) -> list[Turn]:
    """Returns one turn of the user for a model that hears one sound in a prompt, the sounds joined: the answers are numbered
    after it, and the last number has none."""
    texts: list[str] = []
    answers: list[str] = []
    for role, parts in turns(prompt):
        (answers if role == "assistant" else texts).extend(part for part in parts if part is not None)
    numbered = " ".join(f"{number}. {answer}" for number, answer in enumerate(answers, start=1))
    several = f"The recording has {len(answers) + 1} sounds, with silence between them." if answers else ""
    said = " ".join(filter(None, [*texts, several, numbered, f"{len(answers) + 1}." if answers else ""]))
    return [("user", [None, said])]


def rendered(name: str, tokenizer: Any, template: str | None, said: Sequence[Turn], placeholder: str) -> str:
    """Returns the text of a conversation, up to where the assistant's next answer begins. Templates that take no lists of
    contents get texts with the placeholder in them; raises `CommandError` for one that passes the sounds on in neither way."""
    sounds = sum(part is None for _, parts in said for part in parts)
    tried = ""
    for messages in (_in_lists(said), _in_texts(said, placeholder)):
        try:
            text = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # whatever a template of somebody else raises
            tried = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            continue
        if text.count(placeholder) == sounds:
            return text
        tried = f"it puts {text.count(placeholder)} of {placeholder!r} into the text of {sounds} sounds"
    raise CommandError(
        f"{name}: its chat template has no place for sound ({tried}). Expected one that writes {placeholder!r} for each sound; "
        "bring the chat_template.jinja of the model's authors."
    )


def _in_lists(said: Sequence[Turn]) -> list[dict[str, Any]]:
    return [
        {
            "role": role,
            "content": [{"type": "audio", "audio": ""} if part is None else {"type": "text", "text": part} for part in parts],
        }
        for role, parts in said
    ]


def _in_texts(said: Sequence[Turn], placeholder: str) -> list[Mapping[str, str]]:
    return [
        {"role": role, "content": "\n".join(placeholder if part is None else part for part in parts)} for role, parts in said
    ]
