"""Byte-level BPE as GPT-2 and llama.cpp (`tokenizer.ggml.model` = gpt2, `pre` = gpt-2) define it, and its training."""

from collections import Counter, defaultdict

import regex

# The pre-tokeniser of GPT-2: words with the space before them, runs of digits, runs of other signs, white space.
PRE = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def byte_alphabet():
    """GPT-2's visible character for each byte, in the order of its vocabulary."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    letters = {byte: chr(byte) for byte in visible} | {byte: chr(256 + at) for at, byte in enumerate(hidden)}
    return {byte: letters[byte] for byte in visible + hidden}


BYTES = byte_alphabet()
UNBYTES = {letter: byte for byte, letter in BYTES.items()}


def spell(word):
    """A word as the visible characters of its UTF-8 bytes."""
    return "".join(BYTES[byte] for byte in word.encode())


def learn(texts, merges_wanted):
    """The merges of byte-level BPE by falling frequency; equal counts go in the order of the text of the pair."""
    counts = Counter(spell(word) for text in texts for word in PRE.findall(text))
    parts = {word: list(word) for word in counts}
    pairs, homes = Counter(), defaultdict(set)
    for word, pieces in parts.items():
        for pair in zip(pieces, pieces[1:]):
            pairs[pair] += counts[word]
            homes[pair].add(word)
    merges = []
    while len(merges) < merges_wanted and pairs:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < 2:
            break
        merges.append(best)
        for word in homes.pop(best):
            pieces = parts[word]
            for pair in zip(pieces, pieces[1:]):
                pairs[pair] -= counts[word]
            parts[word] = merged = join(pieces, best)
            for pair in zip(merged, merged[1:]):
                pairs[pair] += counts[word]
                homes[pair].add(word)
        del pairs[best]
    return merges


def join(pieces, pair):
    """The pieces with every occurrence of the pair joined, from left to right."""
    joined, at = [], 0
    while at < len(pieces):
        if at + 1 < len(pieces) and (pieces[at], pieces[at + 1]) == pair:
            joined.append(pieces[at] + pieces[at + 1])
            at += 2
        else:
            joined.append(pieces[at])
            at += 1
    return joined


class Tokenizer:
    """Vocabulary: the 256 bytes, the merges in order of rank, the control tokens."""

    def __init__(self, merges):
        self.merges = [tuple(pair) for pair in merges]
        self.tokens = [*BYTES.values(), *("".join(pair) for pair in self.merges), *CONTROL]
        self.ids = {token: at for at, token in enumerate(self.tokens)}
        self.ranks = {pair: at for at, pair in enumerate(self.merges)}
        self.known = {}

    @property
    def control(self):
        """Ids of the control tokens by their text."""
        return {text: self.ids[text] for text in CONTROL}

    def word(self, word):
        """Ids of one word of the pre-tokeniser: the pair of lowest rank is joined until none is left."""
        if word not in self.known:
            pieces = list(spell(word))
            while len(pieces) > 1:
                best = min(zip(pieces, pieces[1:]), key=lambda pair: self.ranks.get(pair, len(self.ranks)))
                if best not in self.ranks:
                    break
                pieces = join(pieces, best)
            self.known[word] = [self.ids[piece] for piece in pieces]
        return self.known[word]

    def encode(self, text):
        """Ids of plain text; a control token in it stays text."""
        return [token for word in PRE.findall(text) for token in self.word(word)]

    def decode(self, ids):
        """The text of ids; control tokens have none."""
        first_control = len(self.tokens) - len(CONTROL)
        spelled = "".join(self.tokens[token] for token in ids if token < first_control)
        return bytes(UNBYTES[letter] for letter in spelled).decode("utf-8", "replace")

    def message(self, role, text):
        """Ids of one ChatML message without the final line end."""
        control = self.control
        return [control["<|im_start|>"], *self.encode(f"{role}\n"), *self.encode(text), control["<|im_end|>"]]
