"""The network of chord-tiny for training: the llama architecture as GGUF stores it, with rotated neighbours in rope."""

import jax
import jax.numpy as jnp
import numpy as np

VOCABULARY = 1536
CONTEXT = 512
QUERY_BLOCK = 64
SHAPE = {
    "width": 128, "layers": 4, "heads": 4, "kv_heads": 2, "head": 32, "inner": 384,
    "rope_base": 10000.0, "rms_epsilon": 1e-5,
}


def initial(seed):
    """Fresh weights, each matrix as rows of outputs over columns of inputs, the names as in GGUF."""
    rng = np.random.default_rng(seed)
    width, inner, kv = SHAPE["width"], SHAPE["inner"], SHAPE["kv_heads"] * SHAPE["head"]

    def matrix(rows, columns, scale=1.0):
        return (rng.standard_normal((rows, columns)) * scale * columns**-0.5).astype(np.float32)

    weights = {"token_embd": (rng.standard_normal((VOCABULARY, width)) * 0.02).astype(np.float32),
               "output_norm": np.ones(width, np.float32)}
    smaller = (2 * SHAPE["layers"]) ** -0.5
    for layer in range(SHAPE["layers"]):
        weights |= {
            f"blk.{layer}.attn_norm": np.ones(width, np.float32),
            f"blk.{layer}.attn_q": matrix(width, width),
            f"blk.{layer}.attn_k": matrix(kv, width),
            f"blk.{layer}.attn_v": matrix(kv, width),
            f"blk.{layer}.attn_output": matrix(width, width, smaller),
            f"blk.{layer}.ffn_norm": np.ones(width, np.float32),
            f"blk.{layer}.ffn_gate": matrix(inner, width),
            f"blk.{layer}.ffn_up": matrix(inner, width),
            f"blk.{layer}.ffn_down": matrix(width, inner, smaller),
        }
    return weights


def rms_norm(x, gain):
    """x / rms(x) · gain over the last axis."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + SHAPE["rms_epsilon"]) * gain


def rotate(x, positions):
    """Rope on [batch, time, heads, head]: the pair (2i, 2i+1) turns by position · base^(-2i/head)."""
    half = SHAPE["head"] // 2
    angles = positions[:, None] * SHAPE["rope_base"] ** (-jnp.arange(half) / half)
    cos, sin = jnp.cos(angles)[None, :, None, :], jnp.sin(angles)[None, :, None, :]
    even, odd = x[..., 0::2], x[..., 1::2]
    return jnp.stack([even * cos - odd * sin, even * sin + odd * cos], -1).reshape(x.shape)


def attention(weights, layer, x, mask):
    """Causal grouped-query attention; `mask` [batch, time, time] is true where a token may look."""
    batch, time, _ = x.shape
    heads, kv_heads, head = SHAPE["heads"], SHAPE["kv_heads"], SHAPE["head"]
    positions = jnp.arange(time, dtype=jnp.float32)
    q = rotate((x @ weights[f"blk.{layer}.attn_q"].T).reshape(batch, time, heads, head), positions)
    k = rotate((x @ weights[f"blk.{layer}.attn_k"].T).reshape(batch, time, kv_heads, head), positions)
    v = (x @ weights[f"blk.{layer}.attn_v"].T).reshape(batch, time, kv_heads, head)
    q, k, v = (each.transpose(0, 2, 1, 3) for each in (q, k, v))
    mixed = []
    # A block of queries looks at no key after its end, so nearly half of the scores are never computed.
    for start in range(0, time, QUERY_BLOCK):
        end = min(start + QUERY_BLOCK, time)
        rows = q[:, :, start:end].reshape(batch, kv_heads, -1, head)
        scores = (rows @ k[:, :, :end].swapaxes(2, 3)).reshape(batch, heads, end - start, end) * head**-0.5
        scores = jnp.where(mask[:, None, start:end, :end], scores, -1e9)
        shares = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
        shares = shares.reshape(batch, kv_heads, -1, end)
        block = (shares @ v[:, :, :end]) / jnp.sum(shares, -1, keepdims=True)
        mixed.append(block.reshape(batch, heads, end - start, head))
    mixed = jnp.concatenate(mixed, 2).transpose(0, 2, 1, 3).reshape(batch, time, heads * head)
    return mixed @ weights[f"blk.{layer}.attn_output"].T


def forward(weights, tokens, segments):
    """Logits [batch, time, vocabulary]; a token sees only earlier ones of its own segment (document)."""
    time = tokens.shape[1]
    mask = (segments[:, :, None] == segments[:, None, :]) & jnp.tril(jnp.ones((time, time), bool))
    x = weights["token_embd"][tokens]
    for layer in range(SHAPE["layers"]):
        x = x + attention(weights, layer, rms_norm(x, weights[f"blk.{layer}.attn_norm"]), mask)
        y = rms_norm(x, weights[f"blk.{layer}.ffn_norm"])
        gated = jax.nn.silu(y @ weights[f"blk.{layer}.ffn_gate"].T) * (y @ weights[f"blk.{layer}.ffn_up"].T)
        x = x + gated @ weights[f"blk.{layer}.ffn_down"].T
    return rms_norm(x, weights["output_norm"]) @ weights["token_embd"].T


def loss(weights, tokens, segments, importance):
    """Mean cross-entropy in nats of the next tokens, weighted by `importance` of the token that is predicted."""
    logits = forward(weights, tokens[:, :-1], segments[:, :-1])
    following = tokens[:, 1:]
    chosen = jnp.take_along_axis(logits, following[..., None], -1)[..., 0]
    surprise = jax.nn.logsumexp(logits, -1) - chosen
    counted = importance[:, 1:] * (segments[:, 1:] == segments[:, :-1])
    return jnp.sum(surprise * counted) / jnp.sum(counted)
