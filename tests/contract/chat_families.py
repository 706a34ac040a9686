# ruff: noqa: E501
"""Chat templates of the shapes that well-known model families use, in our own words.

Each writes the marks in the places where its family has them; ``marks`` are the tokens it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ChatFamily:
    name: str
    template: str
    marks: tuple[str, ...] = ()
    end: str = "</s>"  # what a model must learn to write behind an answer
    bos: bool = True  # the template spells the beginning mark itself
    system: bool = True  # there is a place for a system message


def turns(opening: str, closing: str, asking: str, first: str = "{{ bos_token }}") -> str:
    """A template that writes ``opening`` and ``closing`` around each message."""
    return (
        first
        + "{% for m in messages %}"
        + opening
        + "{{ m['content'] }}"
        + closing
        + "{% endfor %}{% if add_generation_prompt %}"
        + asking
        + "{% endif %}"
    )


CHATML = turns(
    "{{ '<|im_start|>' + m['role'] + '\n' }}", "{{ '<|im_end|>\n' }}",
    "{{ '<|im_start|>assistant\n' }}", first="",
)  # fmt: skip
LLAMA2 = """{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set sys = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}{% else %}{% set rest = messages %}{% set sys = '' %}{% endif %}{% for m in rest %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + (sys if loop.first else '') + m['content'].strip() + ' [/INST]' }}{% else %}{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""
LLAMA3 = """{% for m in messages %}{% set piece = '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' %}{{ bos_token + piece if loop.first else piece }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"""
ZEPHYR = turns(
    "{{ '<|' + m['role'] + '|>\n' }}", "{{ eos_token + '\n' }}", "{{ '<|assistant|>\n' }}", first=""
)
MISTRAL = """{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('turns must alternate') }}{% endif %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"""
GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no place for a system message') }}{% endif %}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"""
PHI3 = turns(
    "{{ '<|' + m['role'] + '|>\n' }}", "{{ '<|end|>\n' }}", "{{ '<|assistant|>\n' }}", first=""
)
QWEN = """{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe helpful.<|im_end|>\n' }}{% endif %}{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ m['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
DEEPSEEK = """{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}{% elif m['role'] == 'user' %}{{ '<|User|>' + m['content'] }}{% else %}{{ '<|Assistant|>' + m['content'] + eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|Assistant|>' }}{% endif %}"""
VICUNA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}{% set rest = messages[1:] %}{% else %}{{ 'A chat.' }}{% set rest = messages %}{% endif %}{% for m in rest %}{% if m['role'] == 'user' %}{{ ' USER: ' + m['content'] }}{% else %}{{ ' ASSISTANT: ' + m['content'] + eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ ' ASSISTANT:' }}{% endif %}"""
ALPACA = """{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] + '\n\n' }}{% elif m['role'] == 'user' %}{{ '### Instruction:\n' + m['content'] + '\n\n' }}{% else %}{{ '### Response:\n' + m['content'] + eos_token + '\n\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}"""
COMMAND_R = """{{ bos_token }}{% for m in messages %}{{ '<|TURN|>' + {'system': '<|SYSTEM|>', 'user': '<|USER|>', 'assistant': '<|CHATBOT|>'}[m['role']] + m['content'].strip() + '<|END_OF_TURN|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|TURN|><|CHATBOT|>' }}{% endif %}"""

FAMILIES = (
    ChatFamily("chatml", CHATML, ("<|im_start|>", "<|im_end|>"), "<|im_end|>", bos=False),
    ChatFamily("llama2", LLAMA2),
    ChatFamily(
        "llama3", LLAMA3, ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "<|eot_id|>"
    ),
    ChatFamily("zephyr", ZEPHYR, bos=False),
    ChatFamily("mistral", MISTRAL, ("[INST]", "[/INST]"), system=False),
    ChatFamily("gemma", GEMMA, ("<start_of_turn>", "<end_of_turn>"), "<end_of_turn>", system=False),
    ChatFamily(
        "phi3", PHI3, ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), "<|end|>", bos=False
    ),
    ChatFamily("qwen", QWEN, ("<|im_start|>", "<|im_end|>"), "<|im_end|>", bos=False),
    ChatFamily("deepseek", DEEPSEEK, ("<|User|>", "<|Assistant|>")),
    ChatFamily("vicuna", VICUNA),
    ChatFamily("alpaca", ALPACA),
    ChatFamily(
        "command-r",
        COMMAND_R,
        ("<|TURN|>", "<|SYSTEM|>", "<|USER|>", "<|CHATBOT|>", "<|END_OF_TURN|>"),
        "<|END_OF_TURN|>",
    ),
)

WORDS = (
    "A chat between a user and an assistant. ### Instruction: name the colour of the sky. "
    "### Response: The sky is blue. USER: what is two plus two? ASSISTANT: It is four. "
    "Below is an instruction that describes a task. café naïve 你好 "
)


def tokenizer(
    kind: str, marks: tuple[str, ...] = (), template: str | None = None, adds_bos: bool = True
) -> Any:
    """A small tokenizer trained on a few words.

    ``kind`` is "bytes" (as GPT-2 or Llama 3) or "pieces" (as Llama 2: word pieces with a space
    before the first, unknown characters as bytes).
    """
    from tokenizers import (
        AddedToken,
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
        processors,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>", "<pad>"]
    if kind == "bytes":
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        backend.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
        alphabet = [chr(i) for i in range(33, 127)]
        special += [f"<0x{i:02X}>" for i in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([WORDS] * 20, trainer)
    if kind == "pieces":  # byte pieces are part of the vocabulary, not added tokens
        import json

        layout = json.loads(backend.to_str())
        layout["added_tokens"] = [
            t for t in layout["added_tokens"] if not t["content"].startswith("<0x")
        ]
        backend = Tokenizer.from_str(json.dumps(layout))
    if adds_bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
        )
    found = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        pad_token="<pad>",
    )  # fmt: skip
    found.add_tokens([AddedToken(m, special=True, normalized=False) for m in marks], True)
    found.chat_template = template
    return found
