"""Runs a llama GGUF in plain numpy: independent of the training code, used to check the file that ships."""

import gguf
import numpy as np

from tokenizer import Tokenizer


class Model:
    """The weights of a GGUF, dequantised to f32, with its vocabulary and template."""

    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        value = lambda key: reader.fields[key].contents()
        self.layers = value("llama.block_count")
        self.heads = value("llama.attention.head_count")
        self.kv_heads = value("llama.attention.head_count_kv")
        self.head = value("llama.rope.dimension_count")
        self.base = value("llama.rope.freq_base")
        self.epsilon = value("llama.attention.layer_norm_rms_epsilon")
        self.context = value("llama.context_length")
        self.template = value("tokenizer.chat_template")
        self.eos = value("tokenizer.ggml.eos_token_id")
        self.ends = {self.eos, value("tokenizer.ggml.eot_token_id")}
        self.tokenizer = Tokenizer([pair.split(" ") for pair in value("tokenizer.ggml.merges")])
        assert self.tokenizer.tokens == value("tokenizer.ggml.tokens")
        self.weights = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
                        for tensor in reader.tensors}

    def norm(self, x, name):
        """RMS norm over the last axis."""
        return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + np.float32(self.epsilon)) * self.weights[name]

    def rotate(self, x, start):
        """Rope of neighbouring pairs on [time, heads, head], as complex numbers turned by their angles."""
        exponents = -np.arange(0, self.head, 2) / self.head
        angles = np.outer(np.arange(start, start + len(x)), float(self.base) ** exponents)
        turned = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)[:, None]
        return np.stack([turned.real, turned.imag], -1).reshape(x.shape).astype(np.float32)

    def attend(self, x, layer, cache):
        """Attention of new tokens [time, width] over all tokens in the cache and themselves."""
        matrix = lambda name: self.weights[f"blk.{layer}.attn_{name}.weight"].T
        start, time = len(cache[0]), len(x)
        q = self.rotate((x @ matrix("q")).reshape(time, self.heads, self.head), start)
        k = self.rotate((x @ matrix("k")).reshape(time, self.kv_heads, self.head), start)
        cache[0] = np.concatenate([cache[0], k])
        cache[1] = np.concatenate([cache[1], (x @ matrix("v")).reshape(time, self.kv_heads, self.head)])
        visible = np.arange(start + time)[None, :] <= np.arange(start, start + time)[:, None]
        mixed = np.empty_like(q)
        for head in range(self.heads):
            kv = head * self.kv_heads // self.heads
            scores = np.where(visible, q[:, head] @ cache[0][:, kv].T / np.sqrt(self.head), -np.inf)
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            mixed[:, head] = shares @ cache[1][:, kv] / shares.sum(-1, keepdims=True)
        return mixed.reshape(time, -1).astype(np.float32) @ matrix("output")

    def logits(self, tokens, caches):
        """Logits after the last of the new tokens; `caches` (of `fresh_caches`) grow by them."""
        x = self.weights["token_embd.weight"][tokens]
        for layer in range(self.layers):
            x = x + self.attend(self.norm(x, f"blk.{layer}.attn_norm.weight"), layer, caches[layer])
            y = self.norm(x, f"blk.{layer}.ffn_norm.weight")
            gate = y @ self.weights[f"blk.{layer}.ffn_gate.weight"].T
            gated = gate / (1 + np.exp(-gate)) * (y @ self.weights[f"blk.{layer}.ffn_up.weight"].T)
            x = x + gated @ self.weights[f"blk.{layer}.ffn_down.weight"].T
        return self.norm(x[-1], "output_norm.weight") @ self.weights["token_embd.weight"].T

    def fresh_caches(self):
        """An empty key and value cache for each layer."""
        return [[np.zeros((0, self.kv_heads, self.head), np.float32) for _ in range(2)] for _ in range(self.layers)]

    def greedy(self, prompt, limit):
        """Greedy ids (with the end token, if it comes) and the smallest lead of a chosen token over the next best."""
        caches, ids, lead = self.fresh_caches(), [], np.inf
        logits = self.logits(prompt, caches)
        while True:
            second, best = np.argsort(logits)[-2:]
            lead = min(lead, float(logits[best] - logits[second]))
            ids.append(int(best))
            if best in self.ends or len(ids) == limit or len(prompt) + len(ids) == self.context:
                return ids, lead
            logits = self.logits([int(best)], caches)

    def chat_ids(self, messages):
        """Prompt ids of `(role, text)` messages, ready for the answer; the content is encoded as plain text."""
        ids = []
        for role, text in messages:
            ids += self.tokenizer.message(role, text) + self.tokenizer.encode("\n")
        return ids + [self.tokenizer.control["<|im_start|>"], *self.tokenizer.encode("assistant\n")]
