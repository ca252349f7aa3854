"""Writes chord-tiny as GGUF: matrices as Q8_0, norms as F32, the vocabulary and the chat template.

    python export.py                   reads ../target/chord-tiny.npz, writes chord-tiny.gguf
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np

from network import CONTEXT, SHAPE
from tokenizer import CONTROL, Tokenizer

HERE = Path(__file__).parent
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def write_header(writer, tokenizer):
    """Name, shape, vocabulary and template."""
    writer.add_name("chord-tiny")
    writer.add_description("A small model of simple English, made with wasm-chord for its demo and tests")
    writer.add_license("MIT")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(SHAPE["width"])
    writer.add_block_count(SHAPE["layers"])
    writer.add_feed_forward_length(SHAPE["inner"])
    writer.add_head_count(SHAPE["heads"])
    writer.add_head_count_kv(SHAPE["kv_heads"])
    writer.add_rope_dimension_count(SHAPE["head"])
    writer.add_rope_freq_base(SHAPE["rope_base"])
    writer.add_layer_norm_rms_eps(SHAPE["rms_epsilon"])
    writer.add_vocab_size(len(tokenizer.tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokenizer.tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in CONTROL else gguf.TokenType.NORMAL
                            for token in tokenizer.tokens])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer.merges])
    control = tokenizer.control
    writer.add_bos_token_id(control["<|endoftext|>"])
    writer.add_eos_token_id(control["<|im_end|>"])
    writer.add_eot_token_id(control["<|endoftext|>"])
    writer.add_pad_token_id(control["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(TEMPLATE)


def write(path, tokenizer, weights):
    """The whole file. The output projection is the embedding, so it has no tensor of its own."""
    writer = gguf.GGUFWriter(path, "llama")
    write_header(writer, tokenizer)
    kind = gguf.GGMLQuantizationType.Q8_0
    for name, value in weights.items():
        if value.ndim == 1:
            writer.add_tensor(f"{name}.weight", value)
        else:
            writer.add_tensor(f"{name}.weight", gguf.quants.quantize(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    """Reads the checkpoint and writes the model."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--checkpoint", type=Path, default=HERE.parent / "target" / "chord-tiny.npz")
    arguments.add_argument("--out", type=Path, default=HERE / "chord-tiny.gguf")
    chosen = arguments.parse_args()
    stored = np.load(chosen.checkpoint)
    tokenizer = Tokenizer(json.loads(str(stored["merges"])))
    prefix = "weights/"
    weights = {name[len(prefix):]: stored[name] for name in stored.files if name.startswith(prefix)}
    write(chosen.out, tokenizer, weights)
    print(f"{chosen.out}: {chosen.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
