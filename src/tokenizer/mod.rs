//! Text to token ids and back: SentencePiece (`spm`) and byte-level BPE (`bpe`).
