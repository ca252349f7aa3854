"""Trains chord-tiny on the corpus that corpus.py writes, on one CPU core, and keeps the log beside it.

    python train.py                    writes ../target/chord-tiny.npz and training.log
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np

import network
from corpus import Corpus
from tokenizer import Tokenizer, learn

HERE = Path(__file__).parent
TOKENS_PER_STEP = 2048
# Greatest rates of the two optimisers, and the weight decay of the matrices.
MUON_RATE, ADAM_RATE, DECAY = 0.015, 0.003, 0.2
# What a token counts in the loss: what the model says counts fully, what people type only a little.
SPOKEN, TYPED = 1.0, 0.05
# The documents from which the vocabulary is learned, and how many windows measure the held-out loss.
VOCABULARY_DOCUMENTS, HELD_OUT_WINDOWS = 12000, 64


def make_tokenizer():
    """The vocabulary, learned from the first documents of the corpus."""
    source = Corpus("vocabulary")
    texts = [text for _ in range(VOCABULARY_DOCUMENTS) for _, text in source.document()]
    return Tokenizer(learn(texts, network.VOCABULARY - 256 - 3))


def encode_document(tokenizer, document):
    """Token ids of a document and what each counts in the loss."""
    if document[0][0] == "text":
        ids = [*tokenizer.encode(document[0][1]), tokenizer.control["<|endoftext|>"]]
        return ids, [SPOKEN] * len(ids)
    ids, counts = [], []
    line_end, opening = tokenizer.encode("\n"), len(tokenizer.encode("assistant\n")) + 1
    for role, text in document:
        message = tokenizer.message(role, text)
        spoken = SPOKEN if role == "assistant" else TYPED
        ids += message + line_end
        counts += [TYPED] * opening + [spoken] * (len(message) - opening) + [TYPED] * len(line_end)
    return ids, counts


class Windows:
    """Windows of whole documents, packed so that little is left over."""

    def __init__(self, tokenizer, seed, held, length):
        self.tokenizer, self.length = tokenizer, length
        self.source, self.pool = Corpus(seed, held), []

    def window(self):
        """One window: ids, the number of the document of each (0 is padding), and what each counts."""
        tokens, segments, counts = (np.zeros(self.length, kind) for kind in (np.int32, np.int32, np.float32))
        filled, number = 0, 0
        while True:
            while len(self.pool) < 32:
                ids, worth = encode_document(self.tokenizer, self.source.document())
                self.pool.append((ids[:self.length], worth[:self.length]))
            fitting = [at for at, (ids, _) in enumerate(self.pool) if filled + len(ids) <= self.length]
            if not fitting:
                return tokens, segments, counts
            # The oldest document starts a window, so that none waits for ever; the longest that fits follows.
            at = 0 if filled == 0 else max(fitting, key=lambda index: len(self.pool[index][0]))
            ids, worth = self.pool.pop(at)
            end, number = filled + len(ids), number + 1
            tokens[filled:end], segments[filled:end], counts[filled:end] = ids, number, worth
            filled = end

    def batch(self, windows):
        """Several windows stacked."""
        return tuple(map(np.stack, zip(*(self.window() for _ in range(windows)))))


def orthogonal(matrix):
    """The nearest matrix with equal singular values, by five Newton-Schulz steps (the Muon optimiser, K. Jordan)."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (jnp.linalg.norm(x) + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if tall else x


def by_muon(name):
    """Whether a weight is a hidden matrix, which Muon trains; Adam trains the embedding and the norms."""
    return not name.endswith("norm") and name != "token_embd"


def update(weights, state, gradients, step, rate):
    """One step of Muon and Adam; `rate` scales both. Returns the new weights and moments."""
    fresh, moments = {}, {}
    for name, gradient in gradients.items():
        if by_muon(name):
            momentum = 0.95 * state[name][0] + 0.05 * gradient
            direction = orthogonal(0.95 * momentum + 0.05 * gradient)
            stretch = max(1.0, gradient.shape[0] / gradient.shape[1]) ** 0.5
            fresh[name] = weights[name] * (1 - rate * MUON_RATE * DECAY) - rate * MUON_RATE * stretch * direction
            moments[name] = (momentum,)
        else:
            first = 0.9 * state[name][0] + 0.1 * gradient
            second = 0.98 * state[name][1] + 0.02 * gradient**2
            scaled = first / (1 - 0.9**step) / (jnp.sqrt(second / (1 - 0.98**step)) + 1e-8)
            fresh[name] = weights[name] - rate * ADAM_RATE * scaled
            moments[name] = (first, second)
    return fresh, moments


@jax.jit
def train_step(weights, state, batch, step, rate):
    """Loss, new weights and new moments."""
    value, gradients = jax.value_and_grad(network.loss)(weights, *batch)
    return value, *update(weights, state, gradients, step, rate)


def rate_at(step, steps):
    """Warm-up, a short plateau, and a straight fall to zero over the last 80%."""
    return min(1.0, step / 50, (steps - step) / (0.8 * steps))


def load(path):
    """What `save` wrote: step, tokens trained, weights and moments."""
    stored = np.load(path)
    names = [name[8:] for name in stored.files if name.startswith("weights/")]
    weights = {name: jnp.asarray(stored[f"weights/{name}"]) for name in names}
    state = {name: tuple(jnp.asarray(stored[f"moment{at}/{name}"]) for at in range(1 if by_muon(name) else 2))
             for name in names}
    return int(stored["step"]), int(stored["trained"]), weights, state


def save(path, step, trained, tokenizer, weights, state):
    """Writes weights, moments and merges, from which training can go on."""
    arrays = {f"weights/{name}": np.asarray(value) for name, value in weights.items()}
    arrays |= {f"moment{at}/{name}": np.asarray(value) for name, values in state.items()
               for at, value in enumerate(values)}
    np.savez(path, step=step, trained=trained, merges=json.dumps(tokenizer.merges), **arrays)


def train(steps, seed, long_share, resume, log):
    """Runs the training; the last `long_share` of the steps use windows of the whole context."""
    tokenizer = make_tokenizer()
    weights = {name: jnp.asarray(value) for name, value in network.initial(seed).items()}
    state = {name: tuple(jnp.zeros_like(value) for _ in range(1 if by_muon(name) else 2))
             for name, value in weights.items()}
    done, trained = 0, 0
    parameters = sum(value.size for value in weights.values())
    log(f"{parameters} parameters, vocabulary {network.VOCABULARY}, {steps} steps of {TOKENS_PER_STEP} tokens, seed {seed}")
    log(f"python {platform.python_version()}, jax {jax.__version__}, numpy {np.__version__}")
    if resume:
        done, trained, weights, state = load(resume)
        log(f"goes on after step {done}")
    short, whole = network.CONTEXT // 2, network.CONTEXT
    held = Windows(tokenizer, "held-out", True, whole)
    held_batches = [held.batch(8) for _ in range(HELD_OUT_WINDOWS // 8)]
    measure = jax.jit(network.loss)
    started, recent = time.time(), []
    windows = Windows(tokenizer, f"train {seed}", False, short)
    for step in range(1, steps + 1):
        if step > steps * (1 - long_share):
            windows.length = whole
        batch = windows.batch(TOKENS_PER_STEP // windows.length)
        if step <= done:
            continue
        trained += int((batch[1] > 0).sum())
        value, weights, state = train_step(weights, state, batch, float(step), rate_at(step, steps))
        recent.append(float(value))
        if step % 50 == 0 or step == steps:
            log(f"step {step} tokens {trained} train {np.mean(recent):.4f} seconds {time.time() - started:.0f}")
            recent = []
        if step % 200 == 0 or step == steps:
            average = np.mean([float(measure(weights, *each)) for each in held_batches])
            log(f"step {step} held-out {average:.4f}")
            yield step, trained, tokenizer, weights, state


def main():
    """Trains and writes the weights, the merges and the log."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, default=1600)
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--long-share", type=float, default=0.15, help="share of the steps with whole windows")
    arguments.add_argument("--resume", type=Path, help="a checkpoint to go on from")
    arguments.add_argument("--out", type=Path, default=HERE.parent / "target" / "chord-tiny.npz")
    arguments.add_argument("--log", type=Path, default=HERE / "training.log")
    chosen = arguments.parse_args()
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    with chosen.log.open("a" if chosen.resume else "w") as file:
        def log(line):
            print(line, flush=True)
            print(line, file=file, flush=True)

        for reached in train(chosen.steps, chosen.seed, chosen.long_share, chosen.resume, log):
            save(chosen.out, *reached)


if __name__ == "__main__":
    main()
