"""Audio language models of transformers, for in-context evaluation alone: `hf-lm/ID`, `hf-lm/ID:revision`, `hf-lm/./folder`.

A prompt becomes a conversation by the model's own chat template (see `shared.conversation`), each family hears as its authors
intended (see `shared.audio_families`). The likelihood of a label is the sum of log p over its tokens, read after the whole
conversation was tokenized and cut where the label begins; the end of the turn is no part of it. The prompt passes the model
once for all labels: its keys and values are kept.

* Qwen2-Audio's feature extractor cuts sounds at 30 s without a word: a longer sound is an error here.
* Granite Speech hears only through its adapter, Phi-4-multimodal best through its speech adapter; both need the package peft.
* Phi-4-multimodal turns its positions in another way beyond `original_max_position_embeddings`: a label that crosses this
  length is scored with its whole prompt.
* AudioFlamingo3, MusicFlamingo and GLM-ASR hear one sound in a prompt: sounds are joined, with silence between them.
* Voxtral's release has the tokenizer of mistral-common alone, which writes no text; its folder needs a tokenizer.json and a
  chat template.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from superbench import (
    SAMPLE_RATE,
    BadAudio,
    BadCheckpoint,
    CommandError,
    Features,
    Likelihood,
    MissingExtra,
    Parts,
    SuperbenchError,
)
from upstream.shared.audio_families import FAMILIES, NOT_YET, Family, joined
from upstream.shared.conversation import as_one_sound, rendered, turns
from upstream.shared.model_folder import described, must_be_whole, must_bring_no_code, no_model, quiet, read, source_of

TOGETHER = 8
"""Labels that are scored at once; each holds a copy of the prompt's keys and values."""


@dataclass(frozen=True)
class Config:
    """What the weights do not contain: configuration of the model, digest of the tokenizer, template, feature extractor."""

    model: Mapping[str, Any]
    tokenizer: str
    template: str | None
    extractor: str


@dataclass(frozen=True, slots=True)
class Begun:
    """A prompt that passed the model: its tokens, keys and values, and the logits (vocabulary,) after the last token."""

    tokens: Tensor
    memory: Any
    logits: Tensor
    arguments: Mapping[str, Any]


class AudioLanguageModel(nn.Module):
    """A chat model that hears and reads. It gives no features."""

    sample_rate = SAMPLE_RATE
    reads_text = True
    only_in_context = True

    def __init__(self, name: str, family: Family, model: Any, tokenizer: Any, template: str | None, extractor: Any) -> None:
        super().__init__()
        self.name, self.family, self.model, self.tokenizer, self.extractor = name, family, model.eval(), tokenizer, extractor
        self.template = template or tokenizer.chat_template
        self.place = _place(name, model.config, tokenizer)
        self.placeholder = tokenizer.convert_ids_to_tokens(self.place)
        text = model.config.get_text_config()
        self.hop, self.layers, self.dim = SAMPLE_RATE // 25, text.num_hidden_layers + 1, text.hidden_size
        digest = hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()[:16]
        self.config = Config(described(model.config), digest, self.template, extractor.to_json_string())
        self.turning_point = getattr(text, "original_max_position_embeddings", None) or 0
        self.keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Raises `CommandError`: there are no features."""
        raise CommandError(f"{self.name} is for in-context evaluation alone: add --protocol in-context.")

    @torch.no_grad()
    def log_likelihood(self, prompts: Sequence[Parts], continuations: Sequence[Sequence[Parts]]) -> list[list[Likelihood]]:
        """Returns how likely each of `continuations[i]`, texts, is after `prompts[i]`; each prompt is computed once."""
        return [self._scored(prompt, following) for prompt, following in zip(prompts, continuations, strict=True)]

    def _scored(self, prompt: Parts, following: Sequence[Parts]) -> list[Likelihood]:
        text = self.text(prompt)
        alone = self.tokens_of(text)
        labels = ["".join(map(str, parts)) for parts in following]
        whole = [self.tokens_of(text + label) for label in labels]
        begin = min(_common(alone, tokens) for tokens in whole)
        own = [tokens[begin:] for tokens in whole]
        first = [
            _common(alone, tokens) - begin for tokens in whole
        ]  # tokens of the prompt that not all labels leave as they are
        begun = self.begun(prompt, alone[:begin])
        values: list[Tensor] = []
        for at in range(0, len(own), TOGETHER):
            values += self._continued(begun, own[at : at + TOGETHER])
        return [
            Likelihood(float(value[start:].sum()), len(value) - start, len(label))
            for value, start, label in zip(values, first, labels, strict=True)
        ]

    def text(self, prompt: Parts) -> str:
        """Returns the text of the conversation up to the answer, with a placeholder for each sound."""
        said = as_one_sound(prompt) if self.family.joined else turns(prompt)
        return rendered(self.name, self.tokenizer, self.template, said, self.placeholder)

    def tokens_of(self, text: str) -> list[int]:
        """Returns the ids of the tokens of a text, without special ones."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def begun(self, prompt: Parts, tokens: Sequence[int]) -> Begun:
        """Passes the prompt through the model."""
        sounds = [part for part in prompt if not isinstance(part, str)]
        arguments, counts = self._heard([joined(sounds)] if self.family.joined and sounds else sounds)
        waiting = iter(counts)
        repeated = [token for one in tokens for token in ([one] * next(waiting) if one == self.place else [one])]
        device = self.model.get_input_embeddings().weight.device
        ids = torch.tensor([repeated], device=device)
        arguments = {name: _placed(value, device, self.model.dtype) for name, value in arguments.items()}
        output = self._passed(ids, 0, use_cache=True, **arguments)
        return Begun(ids, output.past_key_values, output.logits[0, -1].float(), arguments)

    def _heard(self, sounds: Sequence[Tensor]) -> tuple[dict[str, Any], list[int]]:
        most = getattr(self.extractor, "n_samples", 0)
        longest = max((len(sound) for sound in sounds), default=0)
        if self.family.cuts and longest > most:
            raise BadAudio(
                f"{self.name} hears at most {most / SAMPLE_RATE:g} s, and would cut a sound of {longest / SAMPLE_RATE:.1f} s "
                "without a word. Leave the task out, or choose a model that hears longer sounds."
            )
        return self.family.heard(self.extractor, [sound.float().cpu().numpy() for sound in sounds]) if sounds else ({}, [])

    def _passed(self, ids: Tensor, before: int, **arguments: Any) -> Any:
        """Passes tokens (batch, time), which follow `before` others; nothing is padded in front of them."""
        places = torch.arange(before, before + ids.shape[1], device=ids.device).expand(len(ids), -1)
        keep = {"logits_to_keep": 1} if self.keeps_logits and not before else {}
        return self.model(input_ids=ids, position_ids=places, **keep, **arguments)

    def _continued(self, begun: Begun, labels: Sequence[Sequence[int]]) -> list[Tensor]:
        """Returns log p of each token of each label."""
        before, longest = begun.tokens.shape[1], max(map(len, labels))
        if before <= self.turning_point < before + longest:
            return [self._alone(begun, label) for label in labels]
        padded = torch.zeros(len(labels), longest, dtype=torch.long, device=begun.tokens.device)
        for row, label in enumerate(labels):
            padded[row, : len(label)] = torch.tensor(label)
        logits = begun.logits.expand(len(labels), 1, -1)
        if longest > 1:
            memory = copy.deepcopy(begun.memory)
            memory.batch_repeat_interleave(len(labels))
            further = self._passed(padded[:, :-1], before, past_key_values=memory, use_cache=True).logits
            logits = torch.cat([logits, further.float()], 1)
        chosen = logits.log_softmax(-1).gather(2, padded[..., None])[..., 0]
        return [row[: len(label)] for row, label in zip(chosen, labels, strict=True)]

    def _alone(self, begun: Begun, label: Sequence[int]) -> Tensor:
        """Returns log p of each token of a label, by a pass of the whole conversation."""
        own = torch.tensor([label], device=begun.tokens.device)
        ids = torch.cat([begun.tokens, own], 1)
        places = torch.arange(ids.shape[1], device=ids.device)[None]
        logits = self.model(input_ids=ids, position_ids=places, use_cache=False, **begun.arguments).logits
        return logits[0, -len(label) - 1 : -1].float().log_softmax(-1).gather(1, own[0][:, None])[:, 0]


def _place(name: str, config: Any, tokenizer: Any) -> int:
    """Returns the token that stands for a sound, by the configuration; raises `BadCheckpoint` if the tokenizer lacks it."""
    audio = getattr(config, "audio_config", None)
    place = getattr(config, "audio_token_id", getattr(audio, "audio_token_id", None))
    token = tokenizer.convert_ids_to_tokens(place) if isinstance(place, int) and place < len(tokenizer) else None
    if place is None or token is None or tokenizer(token, add_special_tokens=False)["input_ids"] != [place]:
        raise BadCheckpoint(
            f"{name}: the token of a sound is number {place} by its config.json, and its tokenizer has none of this number. "
            "Bring the files of one model together."
        )
    return int(place)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Returns how many leading tokens are the same, at least the last of neither left out for nothing."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _placed(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.to(device, dtype) if value.is_floating_point() else value.to(device)


# ---------------------------------------------------------------- loading


def load(name: str, weights: Path | None) -> AudioLanguageModel:
    """Loads the model of a folder (`name` starts with `/ . ~`) or of the hub (`id` or `id:revision`).

    Raises `MissingExtra` without transformers or peft, `CommandError` for an architecture that is none of `FAMILIES`,
    `SuperbenchError` if it cannot be read.
    """
    full = f"hf-lm/{name}"
    if weights is not None:
        raise CommandError(f"{full} takes no @FILE: put {weights} and its config.json into a folder and use hf-lm/FOLDER.")
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra(full, "transformers", "hf") from error
    source, options = source_of(name)
    try:
        with quiet():
            if "local_files_only" in options:
                must_be_whole(full, Path(source))
            config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
            must_bring_no_code(full, config.to_dict())
            family = _family(full, config.model_type)
            _must_have_a_tokenizer(full, config.model_type, source, options)
            kind = getattr(transformers, family.model)
            model = kind.from_pretrained(source, dtype="auto", trust_remote_code=False, **options)
            _with_adapter(full, model, source, options)
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
            extractor = transformers.AutoFeatureExtractor.from_pretrained(source, trust_remote_code=False, **options)
            return AudioLanguageModel(full, family, model, tokenizer, _template(source, options), extractor)
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError, EOFError) as error:
        raise SuperbenchError(no_model(full, source, options, error)) from error


def _family(name: str, kind: str) -> Family:
    if kind not in FAMILIES:
        why = NOT_YET.get(kind, "how it hears, and where its answer begins, is not known to this adapter")
        raise CommandError(f"{name} is a {kind} model, which is not read here: {why}. Supported: {', '.join(FAMILIES)}.")
    return FAMILIES[kind]


def _must_have_a_tokenizer(name: str, kind: str, source: str, options: Mapping[str, Any]) -> None:
    """Raises `CommandError` for a release whose only tokenizer is that of mistral-common (`tekken.json`)."""
    from transformers.utils.hub import cached_file

    if kind == "voxtral" and not cached_file(source, "tokenizer.json", _raise_exceptions_for_missing_entries=False, **options):
        raise CommandError(
            f"{name} has no tokenizer.json: its release tokenizes with mistral-common, which is no part of superbench. Put a "
            "tokenizer.json and a chat_template.jinja of the same vocabulary beside its weights, and give the folder."
        )


def _template(source: str, options: Mapping[str, Any]) -> str | None:
    """Returns the chat template that stands beside the processor, in the older form that tokenizers do not read."""
    from transformers.utils.hub import cached_file

    path = cached_file(source, "chat_template.json", _raise_exceptions_for_missing_entries=False, **options)
    return str(read(Path(path))["chat_template"]) if path else None


def _with_adapter(name: str, model: Any, source: str, options: Mapping[str, Any]) -> None:
    """Puts the adapter for speech to use, which transformers does only within `generate` (Granite) or not at all (Phi-4)."""
    from transformers.utils.hub import cached_file

    granite = bool(getattr(model.config, "has_lora_adapter", False))
    file = "speech-lora/adapter_config.json"
    phi4 = cached_file(source, file, _raise_exceptions_for_missing_entries=False, **options)
    if not granite and not phi4:
        return
    if importlib.util.find_spec("peft") is None:
        raise SuperbenchError(
            f"{name} hears through an adapter (LoRA), which needs the package 'peft', and it is not installed; without it the "
            "model would answer badly and say nothing. Install it with: pip install peft"
        )
    if phi4:
        model.load_adapter(source, adapter_name="speech", adapter_kwargs={"subfolder": "speech-lora"})
        model.set_adapter("speech")
    model.enable_adapters()
