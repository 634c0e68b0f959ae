"""Audio language models of transformers, built from tiny random configurations: likelihoods equal those of a plain loop,
unsupported inputs are errors, and an in-context run works offline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeThinkerConfig

from superbench import BadAudio, BadCheckpoint, CommandError, SuperbenchError, check, run
from superbench.contract import Continuing
from superbench.plugins.continuing import that_continue
from upstream.from_hf_lm import AudioLanguageModel, load
from upstream.shared.audio_families import BREAK, joined

TEXT: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "vocab_size": 320, "max_position_embeddings": 4096,
}  # fmt: skip
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<|image|>", "<|video|>"]
LISTS = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for part in message['content'] %}{% if part['type'] == 'audio' %}"
    "<|audio_bos|><|AUDIO|><|audio_eos|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXTS = (
    "{% for message in messages %}<|im_start|>{{ message['role'] + '\n' + message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Chat templates that take lists of contents, and texts alone."""


def tokenizer(template: str) -> Any:
    """Bytes, a few merges, and the special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("y", "e"), ("ye", "s"), ("Ċ", "y"), ("n", "o")]
    vocabulary = {token: number for number, token in enumerate([*alphabet, *("".join(pair) for pair in merges)])}
    plain = Tokenizer(models.BPE(vocabulary, merges))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    plain.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, additional_special_tokens=SPECIAL, chat_template=template, pad_token="<|im_end|>",
        eos_token="<|im_end|>",
    )  # fmt: skip


def place(words: Any) -> int:
    return int(words.convert_tokens_to_ids("<|AUDIO|>"))


def qwen2_audio(words: Any) -> tuple[Any, Any]:
    audio = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "num_mel_bins": 16,
             "max_source_positions": 100}  # fmt: skip
    config = transformers.Qwen2AudioConfig(audio_config=audio, text_config=TEXT, audio_token_index=place(words))
    return transformers.Qwen2AudioForConditionalGeneration(config), transformers.WhisperFeatureExtractor(16, chunk_length=2)


def qwen2_5_omni(words: Any) -> tuple[Any, Any]:
    audio = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "num_mel_bins": 16,
             "output_dim": 32, "n_window": 20}  # fmt: skip
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32}
    text = TEXT | {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0}}
    config = transformers.Qwen2_5OmniThinkerConfig(
        audio_config=audio, vision_config=vision, text_config=text, audio_token_index=place(words),
        image_token_index=place(words) + 3, video_token_index=place(words) + 4, vision_start_token_id=318,
    )  # fmt: skip
    return transformers.Qwen2_5OmniThinkerForConditionalGeneration(config), transformers.WhisperFeatureExtractor(16)


def qwen3_omni_moe(words: Any) -> tuple[Any, Any]:
    audio = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "num_mel_bins": 16,
             "output_dim": 32, "downsample_hidden_size": 8}  # fmt: skip
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32,
              "deepstack_visual_indexes": [0]}  # fmt: skip
    text = TEXT | {
        "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0},
    }  # fmt: skip
    config = Qwen3OmniMoeThinkerConfig(
        audio_config=audio, vision_config=vision, text_config=text, audio_token_id=place(words),
        image_token_id=place(words) + 3, video_token_id=place(words) + 4, vision_start_token_id=318,
    )  # fmt: skip
    return transformers.Qwen3OmniMoeThinkerForConditionalGeneration(config), transformers.WhisperFeatureExtractor(16)


def phi4_multimodal(words: Any) -> tuple[Any, Any]:
    audio = {"hidden_size": 16, "intermediate_size": 16, "num_blocks": 2, "num_attention_heads": 2, "ext_pw_out_channel": 16,
             "depthwise_separable_out_channel": 16, "nemo_conv_channels": 8, "audio_token_id": place(words)}  # fmt: skip
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "crop_size": 28,
              "image_size": 28, "image_token_id": place(words) + 3}  # fmt: skip
    config = transformers.Phi4MultimodalConfig(
        **TEXT, audio_config=audio, vision_config=vision, pad_token_id=0, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return transformers.Phi4MultimodalForCausalLM(config), transformers.Phi4MultimodalFeatureExtractor()


def granite_speech(words: Any) -> tuple[Any, Any]:
    encoder = {"input_dim": 160, "num_layers": 2, "hidden_dim": 16, "num_heads": 2, "output_dim": 8, "context_size": 50,
               "max_pos_emb": 64}  # fmt: skip
    projector = {"model_type": "blip_2_qformer", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                 "intermediate_size": 16, "encoder_hidden_size": 16}  # fmt: skip
    config = transformers.GraniteSpeechConfig(
        text_config={"model_type": "granite", **TEXT}, encoder_config=encoder, projector_config=projector,
        audio_token_index=place(words), has_lora_adapter=False,
    )  # fmt: skip
    return transformers.GraniteSpeechForConditionalGeneration(config), transformers.GraniteSpeechFeatureExtractor()


def audioflamingo3(words: Any) -> tuple[Any, Any]:
    audio = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "num_mel_bins": 16,
             "max_source_positions": 100}  # fmt: skip
    config = transformers.AudioFlamingo3Config(
        audio_config=audio, text_config={"model_type": "qwen2", **TEXT}, audio_token_id=place(words)
    )
    return transformers.AudioFlamingo3ForConditionalGeneration(config), transformers.WhisperFeatureExtractor(16, chunk_length=2)


def glmasr(words: Any) -> tuple[Any, Any]:
    audio = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "num_mel_bins": 16}
    text = {"model_type": "llama", **TEXT, "eos_token_id": [1]}
    config = transformers.GlmAsrConfig(audio_config=audio, text_config=text, audio_token_id=place(words))
    return transformers.GlmAsrForConditionalGeneration(config), transformers.WhisperFeatureExtractor(16, chunk_length=2)


def musicflamingo(words: Any) -> tuple[Any, Any]:
    audio = {"model_type": "audioflamingo3_encoder", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 16, "num_mel_bins": 16, "max_source_positions": 100}  # fmt: skip
    config = transformers.MusicFlamingoConfig(
        audio_config=audio, text_config={"model_type": "qwen2", **TEXT}, audio_token_id=place(words), head_dim=8,
        audio_bos_token_id=place(words) + 1, audio_eos_token_id=place(words) + 2,
    )  # fmt: skip
    return transformers.MusicFlamingoForConditionalGeneration(config), transformers.WhisperFeatureExtractor(16, chunk_length=2)


def voxtral(words: Any) -> tuple[Any, Any]:
    audio = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "num_mel_bins": 16,
             "max_source_positions": 100}  # fmt: skip
    config = transformers.VoxtralConfig(
        audio_config=audio, text_config={"model_type": "llama", **TEXT}, audio_token_id=place(words)
    )
    return transformers.VoxtralForConditionalGeneration(config), transformers.WhisperFeatureExtractor(16, chunk_length=2)


BUILT: dict[str, tuple[Callable[[Any], tuple[Any, Any]], str]] = {
    "qwen2_audio": (qwen2_audio, LISTS), "qwen2_5_omni": (qwen2_5_omni, LISTS),
    "qwen3_omni_moe": (qwen3_omni_moe, LISTS),
    "phi4_multimodal": (phi4_multimodal, LISTS), "granite_speech": (granite_speech, TEXTS),
    "audioflamingo3": (audioflamingo3, LISTS), "glmasr": (glmasr, LISTS),
    "musicflamingo": (musicflamingo, LISTS), "voxtral": (voxtral, LISTS),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes the tiny model of a family, once."""

    def write(family: str) -> Path:
        root = tmp_path_factory.getbasetemp() / f"tiny-{family}"
        if root.exists():
            return root
        build, template = BUILT[family]
        words = tokenizer(template)
        torch.manual_seed(0)
        model, extractor = build(words)
        for part in (model.eval(), words, extractor):
            part.save_pretrained(root)
        return root

    return write


def sound(seed: int, seconds: float) -> Tensor:
    return 0.1 * torch.randn(round(16_000 * seconds), generator=torch.Generator().manual_seed(seed))


TONE = torch.sin(torch.arange(17_600) * 0.3)
PROMPT: list[Any] = ["Which word?", sound(1, 0.9), "yes", sound(2, 1.3), "no", sound(3, 1.1)]
LABELS = ["yes", "no", "y", "neither of them", "yesno"]


def by_hand(model: AudioLanguageModel, prompt: list[Any], label: str) -> float:
    """Log-probability of a label from one pass over the whole conversation, prepared as by the processor of transformers."""
    text = model.text(prompt)
    sounds = [part for part in prompt if not isinstance(part, str)]
    sounds = [joined(sounds)] if model.family.joined else sounds
    arguments, counts = model.family.heard(model.extractor, [part.numpy() for part in sounds])
    pieces = (text + label).split(model.placeholder)
    expanded = pieces[0] + "".join(model.placeholder * n + piece for n, piece in zip(counts, pieces[1:], strict=True))
    ids = torch.tensor([model.tokenizer(expanded, add_special_tokens=False)["input_ids"]])
    tail = len(model.tokenizer(label, add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        logits = model.model(input_ids=ids, attention_mask=torch.ones_like(ids), **arguments).logits[0].log_softmax(-1)
    return float(logits[-tail - 1 : -1].gather(1, ids[0, -tail:, None]).sum())


@pytest.mark.slow
@pytest.mark.parametrize("family", BUILT)
def test_likelihoods_equal_a_loop_by_hand(family: str, folder: Callable[[str], Path]) -> None:
    model = load(str(folder(family)), None)
    assert isinstance(model, Continuing)
    second_prompt = ["Which word?", sound(5, 1.0)]
    for prompt, likelihoods in zip(
        (PROMPT, second_prompt), model.log_likelihood([PROMPT, second_prompt], [[[x] for x in LABELS]] * 2), strict=True
    ):
        assert [likelihood.value for likelihood in likelihoods] == pytest.approx(
            [by_hand(model, prompt, label) for label in LABELS], abs=1e-5
        )
        assert [likelihood.characters for likelihood in likelihoods] == [len(label) for label in LABELS]
        assert [likelihood.tokens for likelihood in likelihoods] == [1, 1, 1, 15, 2]


@pytest.mark.slow
@pytest.mark.parametrize("family", BUILT)
def test_every_sound_of_the_prompt_changes_the_likelihood(family: str, folder: Callable[[str], Path]) -> None:
    model = load(str(folder(family)), None)
    for parameter in model.parameters():  # initial weights are small, and so is the effect of a sound
        parameter.data *= 10 if parameter.dim() > 1 else 1
    prompts = [PROMPT, [*PROMPT[:-1], TONE], [*PROMPT[:1], TONE, *PROMPT[2:]]]
    values = [likelihoods[0].value for likelihoods in model.log_likelihood(prompts, [[["yes"]]] * 3)]
    assert min(abs(values[0] - values[1]), abs(values[0] - values[2]), abs(values[1] - values[2])) > 1e-3


@pytest.mark.slow
def test_a_likelihood_does_not_depend_on_the_other_labels(folder: Callable[[str], Path]) -> None:
    model = load(str(folder("qwen2_audio")), None)
    together = model.log_likelihood([PROMPT], [[[f"word {n}"] for n in range(20)]])[0]
    alone = [model.log_likelihood([PROMPT], [[[f"word {n}"]]])[0][0].value for n in range(20)]
    assert [likelihood.value for likelihood in together] == pytest.approx(alone, abs=1e-5)


@pytest.mark.slow
def test_a_label_beyond_the_turning_point_is_scored_with_its_whole_prompt(folder: Callable[[str], Path]) -> None:
    model = load(str(folder("phi4_multimodal")), None)
    expected = [likelihood.value for likelihood in model.log_likelihood([PROMPT], [[[x] for x in LABELS]])[0]]
    length = model.begun(PROMPT, model.tokens_of(model.text(PROMPT))).tokens.shape[1]
    model.turning_point = length + 1
    measured = [likelihood.value for likelihood in model.log_likelihood([PROMPT], [[[x] for x in LABELS]])[0]]
    assert measured == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_a_sound_longer_than_the_model_takes_is_an_error(folder: Callable[[str], Path]) -> None:
    model = load(str(folder("qwen2_audio")), None)
    with pytest.raises(BadAudio, match=r"hears at most 2 s, and would cut a sound of 2\.1 s"):
        model.log_likelihood([["Which word?", sound(1, 2.1)]], [[["yes"]]])


def test_a_template_without_a_place_for_sound_is_an_error(folder: Callable[[str], Path], tmp_path: Path) -> None:
    model = load(str(folder("qwen2_audio")), None)
    model.template = "{% for message in messages %}{{ message['role'] }}{% endfor %}"
    with pytest.raises(CommandError, match="its chat template has no place for sound"):
        model.log_likelihood([PROMPT], [[["yes"]]])


def test_a_tokenizer_without_the_audio_token_is_an_error(folder: Callable[[str], Path], tmp_path: Path) -> None:
    for file in folder("qwen2_audio").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"audio_token_index": 300, "audio_token_id": 300}))
    with pytest.raises(BadCheckpoint, match="the token of a sound is number 300"):
        load(str(tmp_path), None)


def test_a_model_that_takes_one_sound_gets_all_sounds_concatenated(folder: Callable[[str], Path]) -> None:
    model = load(str(folder("glmasr")), None)
    text = model.text(PROMPT)
    assert text.count(model.placeholder) == 1
    assert "Which word? The recording has 3 sounds, with silence between them. 1. yes 2. no 3.<|im_end|>" in text
    sound_of_two = joined([torch.ones(3), torch.ones(2)])
    assert sound_of_two.tolist() == [1.0] * 3 + [0.0] * BREAK + [1.0] * 2


def test_an_empty_label_has_no_tokens(folder: Callable[[str], Path]) -> None:
    likelihoods = load(str(folder("qwen2_audio")), None).log_likelihood([PROMPT], [[[""], ["yes"]]])[0]
    assert [likelihood.tokens for likelihood in likelihoods] == [0, 1]


def test_granite_without_its_adapter_is_an_error(folder: Callable[[str], Path], tmp_path: Path) -> None:
    for file in folder("granite_speech").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"has_lora_adapter": True}))
    with pytest.raises(SuperbenchError, match="hears through an adapter"):
        load(str(tmp_path), None)


@pytest.mark.parametrize(
    ("model_type", "reason"),
    [
        ("voxtral", r"has no tokenizer\.json: its release tokenizes with mistral-common"),
        ("qwen3_asr", r"a label is no continuation of a prompt\. Supported: qwen2_audio, .*voxtral"),
        ("gpt2", r"is a gpt2 model, which is not read here: how it hears.*Supported: qwen2_audio, .*glmasr"),
        ("moss_transcribe_diarize", "Supported: qwen2_audio"),
        ("vibevoice_asr", "Supported: qwen2_audio"),
        ("voxtral_realtime", "Supported: qwen2_audio"),
    ],
)
def test_other_architectures_are_refused_with_the_reason(model_type: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CommandError, match=reason):
        load(str(tmp_path), None)


def test_inputs_of_voxtral_are_padded_to_whole_windows_as_its_processor_does(folder: Callable[[str], Path]) -> None:
    from transformers.models.voxtral.processing_voxtral import VoxtralProcessor

    model = load(str(folder("voxtral")), None)
    waves = [sound(1, 1.2).numpy(), sound(2, 4.1).numpy()]
    inputs, counts = model.family.heard(model.extractor, waves)
    processor: Any = VoxtralProcessor(model.extractor, model.tokenizer)
    options = {**processor.audio_kwargs, "pad_to_multiple_of": 32_000, "max_source_positions": 200}
    torch.testing.assert_close(inputs["input_features"], processor._retrieve_input_features(waves, **options))
    assert counts == [25, 75]


def test_a_checkpoint_file_after_the_name_is_refused() -> None:
    with pytest.raises(CommandError, match="takes no @FILE"):
        load("some/model", Path("x.safetensors"))


def test_a_run_in_context_end_to_end(folder: Callable[[str], Path], miniature: Callable[[str], Path], tmp_path: Path) -> None:
    spec = f"tiny=hf-lm/{folder('qwen2_audio')}"
    options: Any = {"data": miniature("ks"), "out": tmp_path / "out", "store": tmp_path / "store", "workers": 1}
    report = run([spec], ["ks"], protocol="in-context", shots=(0,), draws=2, **options)
    (result,) = report.results
    assert (result.task.protocol, result.schema_) == ("in-context", 2)
    (entry,) = result.shots or ()
    assert entry.draws == 2
    rules = {"by sum", "by per token", "by per character", "by calibrated"}
    assert set(entry.controls) == {"no sound", "other sound", "majority class"} | rules
    assert result.environment["outputs"]["values"]
    assert run([spec], ["ks"], protocol="in-context", shots=(0,), draws=2, **options).ended[0].state == "found"
    (refused,) = run([spec], ["ks"], protocol="few-shot", **options).ended
    assert refused.state == "failed"
    assert "is for in-context alone: add --protocol in-context" in refused.message


@pytest.mark.slow
@pytest.mark.parametrize("family", BUILT)
def test_the_doctor_checks_likelihoods(family: str, folder: Callable[[str], Path]) -> None:
    report = check(f"hf-lm/{folder(family)}", device="cpu")
    assert report.healthy, report.reasons
    assert {finding.name for finding in report.examination.findings} >= {"features", "candidates", "shared prompt"}


def test_the_hub_is_listed_among_models_with_likelihoods() -> None:
    assert that_continue() == ["speech_gpt", "hf-lm/ID"]
