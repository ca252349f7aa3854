//! Reading a tokeniser from the metadata of a file. The keys are those of
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#tokenizer>.

use super::accents::Accents;
use super::bpe::{Bpe, decode_alphabet};
use super::charsmap::Charsmap;
use super::end::{WellKnown, is_marker, well_known};
use super::longest::{Longest, unescape};
use super::merge::NO_TOKEN;
use super::patterns::PreTokeniser;
use super::plamo::Plamo;
use super::special::Specials;
use super::spm::{Spm, byte_of_name, decode_spaces};
use super::unigram::Unigram;
use super::vocabulary::{Kind, Vocabulary};
use super::wordpiece::WordPiece;
use super::{Model, Tokenizer};
use crate::error::{ChordError, Result};
use crate::gguf::{Array, Metadata, StringArray, Value};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";

/// How a file writes its tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// Not as text.
    None,
    /// As text with U+2581 for spaces, cut by merging, by the longest token, or by the likeliest.
    Spm,
    WordPiece,
    Unigram,
    /// As characters that stand for bytes.
    Bytes,
    /// With escapes, cut by the longest token.
    Escapes,
    /// As text, cut by the likeliest token.
    Plain,
}

/// The tokens that files name by id.
struct SpecialIds {
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    eom: Option<u32>,
    unknown: Option<u32>,
    separator: Option<u32>,
}

impl Tokenizer {
    /// Reads the tokeniser, and takes the tokens and merges out of `metadata`, so that they are not
    /// held twice. Gives also warnings for people, about what the file does not say or says wrongly
    /// without harm. `InvalidModel` if its parts contradict each other.
    pub fn from_metadata(metadata: &mut Metadata) -> Result<(Tokenizer, Vec<String>)> {
        let mut warnings = Vec::new();
        let writing = writing(metadata, &mut warnings)?;
        let pre_tokeniser = pre_tokeniser(metadata, writing, &mut warnings)?;
        let tokens = match (metadata.opt_strings(TOKENS)?, writing) {
            (Some(_), _) => metadata.take_strings(TOKENS).unwrap_or_default(),
            (None, Writing::None) => StringArray::default(),
            (None, _) => return Err(ChordError::model(format!("the header has no '{TOKENS}'"))),
        };
        let ids = special_ids(metadata, writing, tokens.len(), &mut warnings)?;
        let mut kinds = kinds(metadata, &tokens, &ids)?;
        let known = find_markers(metadata, &tokens, &ids, &mut kinds, &mut warnings)?;
        let scores = scores(metadata, tokens.len())?;
        let vocabulary = vocabulary(writing, &tokens, &kinds)?;
        drop(tokens);
        let model = match writing {
            Writing::None => Model::None,
            Writing::Spm => Model::Spm(Spm::new(scores.into_iter(), byte_tokens(&vocabulary))),
            Writing::WordPiece => Model::WordPiece(word_piece(metadata)?),
            Writing::Unigram => Model::Unigram(unigram(metadata, &vocabulary, scores)?),
            Writing::Escapes => Model::Longest(Longest::new(&vocabulary)),
            Writing::Plain => Model::Plamo(Plamo::new(&vocabulary, &scores, byte_tokens(&vocabulary))),
            Writing::Bytes => Model::Bpe(bpe(metadata, pre_tokeniser, &vocabulary, &mut warnings)?),
        };
        let mut tokenizer = assemble(vocabulary, model, ids, known);
        tokenizer.read_flags(metadata, writing, pre_tokeniser.add_bos, &mut warnings)?;
        Ok((tokenizer, warnings))
    }

    /// Reads what the file says about adding tokens and spaces.
    fn read_flags(
        &mut self,
        metadata: &Metadata,
        writing: Writing,
        pre_adds_bos: bool,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        let (spm, is_words) = (writing == Writing::Spm, writing == Writing::WordPiece);
        self.space_prefix = metadata.opt_bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(spm) && spm;
        self.add_bos = metadata.opt_bool("tokenizer.ggml.add_bos_token")?.unwrap_or(spm || pre_adds_bos);
        let is_unigram = writing == Writing::Unigram;
        self.add_eos = metadata.opt_bool("tokenizer.ggml.add_eos_token")?.unwrap_or(is_unigram);
        self.add_separator = metadata.opt_bool("tokenizer.ggml.add_sep_token")?.unwrap_or(false) && !is_words;
        if is_words {
            // Each text has its token of a beginning before it and its separator behind it, whatever the file says.
            (self.add_bos, self.add_eos, self.eos) = (true, true, self.separator);
        }
        if let Model::Unigram(unigram) = &self.model {
            self.space_prefix = unigram.adds_space || unigram.merges_spaces;
        }
        for (add, id, name) in [(&mut self.add_bos, self.bos, "start"), (&mut self.add_eos, self.eos, "end")] {
            if *add && id.is_none() {
                *add = false;
                warnings.push(format!("the model wants the {name} token added, but its header names none"));
            }
        }
        let name = metadata.opt_str("general.name")?.unwrap_or_default().to_ascii_lowercase();
        if name.contains("phi-3") || name.contains("phi3") {
            self.strips = self.phi3_strips();
        }
        Ok(())
    }

    /// The tokens after which Phi-3 drops white space, which files do not say: all special ones but
    /// three.
    fn phi3_strips(&self) -> Vec<u32> {
        let keeps = |id: &u32| matches!(self.vocabulary.bytes(*id), b"<unk>" | b"<s>" | b"<|endoftext|>");
        let mut strips: Vec<u32> = self.specials.ids().iter().copied().filter(|id| !keeps(id)).collect();
        strips.sort_unstable();
        strips
    }
}

fn assemble(vocabulary: Vocabulary, model: Model, ids: SpecialIds, known: WellKnown) -> Tokenizer {
    let mut ends = known.ends;
    ends.extend([ids.eos, ids.eot, ids.eom].into_iter().flatten());
    ends.sort_unstable();
    ends.dedup();
    Tokenizer {
        specials: Specials::new(&vocabulary),
        vocabulary,
        model,
        bos: ids.bos,
        eos: ids.eos,
        eot: ids.eot.or(known.turn),
        unknown: ids.unknown,
        separator: ids.separator,
        add_bos: false,
        add_eos: false,
        add_separator: false,
        space_prefix: false,
        ends,
        strips: Vec::new(),
    }
}

/// How the file writes its tokens, by the name of its tokeniser.
fn writing(metadata: &Metadata, warnings: &mut Vec<String>) -> Result<Writing> {
    Ok(match metadata.opt_str(MODEL)? {
        Some("llama") => Writing::Spm,
        Some("gpt2") => Writing::Bytes,
        Some("bert") => Writing::WordPiece,
        Some("t5") => Writing::Unigram,
        Some("rwkv") => Writing::Escapes,
        Some("plamo2") => Writing::Plain,
        Some("none" | "no_vocab" | "test") | None => Writing::None,
        Some(other) => {
            warnings.push(format!("the tokeniser '{other}' is not supported: prompts must be token ids"));
            Writing::None
        }
    })
}

/// The pre-tokeniser that the file names.
fn pre_tokeniser(metadata: &Metadata, writing: Writing, warnings: &mut Vec<String>) -> Result<PreTokeniser> {
    let name = metadata.opt_str(PRE)?;
    let found = name.and_then(PreTokeniser::by_name);
    if writing == Writing::Bytes && found.is_none() {
        warnings.push(match name {
            Some(name) => {
                format!("the pre-tokeniser '{name}' is not known: 'default' is used, and answers may be worse")
            }
            None => "the header names no pre-tokeniser: 'default' is used, and answers may be worse".into(),
        });
    }
    Ok(found.unwrap_or_else(PreTokeniser::fallback))
}

/// The tokens named by id. An id beyond the vocabulary counts as none, with a warning unless it is
/// the number that some files write for none.
fn special_ids(metadata: &Metadata, writing: Writing, count: usize, warnings: &mut Vec<String>) -> Result<SpecialIds> {
    let of = |which: Writing, id: u32| (writing == which).then_some(id);
    let spm = |id: u32| of(Writing::Spm, id).or(of(Writing::Plain, id));
    let mut read = |name: &str, default: Option<u32>| {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let inside = |id: &u32| (*id as usize) < count;
        let found = match metadata.get(&key) {
            // Some converters write −1 for none.
            Some(value) if value.as_integer() == Some(-1) => None,
            _ => metadata.opt_u32(&key)?,
        };
        if let Some(id) = found.filter(|id| !inside(id) && *id != u32::MAX) {
            warnings.push(format!("'{key}' is {id}, which is outside the vocabulary of {count} tokens; it is ignored"));
        }
        Ok::<_, ChordError>(found.filter(inside).or(default.filter(inside)))
    };
    Ok(SpecialIds {
        bos: read("bos", spm(1).or(of(Writing::WordPiece, 101)))?,
        eos: read("eos", spm(2).or(of(Writing::Unigram, 1)))?,
        eot: read("eot", None)?,
        eom: read("eom", None)?,
        unknown: read("unknown", spm(0).or(of(Writing::WordPiece, 100)).or(of(Writing::Unigram, 2)))?,
        // The key is spelt like this.
        separator: read("seperator", of(Writing::WordPiece, 102))?,
    })
}

/// The kind of every token. Where the file does not say, byte tokens are known by their names and
/// control tokens by being named by id.
fn kinds(metadata: &Metadata, tokens: &StringArray, ids: &SpecialIds) -> Result<Vec<Kind>> {
    if let Some(types) = metadata.opt_i32s(TYPES)? {
        check_length(TYPES, types.len(), tokens.len())?;
        return Ok(types.iter().map(|&number| Kind::from_number(number)).collect());
    }
    let byte_or_normal = |token| if byte_of_name(token).is_some() { Kind::Byte } else { Kind::Normal };
    let mut kinds: Vec<Kind> = tokens.iter().map(byte_or_normal).collect();
    for id in [ids.bos, ids.eos, ids.eot, ids.eom, ids.unknown].into_iter().flatten() {
        kinds[id as usize] = Kind::Control;
    }
    Ok(kinds)
}

/// Makes control tokens of those that mark turns and ends, by their names or because the file names them by id,
/// and says which of them the file has as something else.
fn find_markers(
    metadata: &Metadata,
    tokens: &StringArray,
    ids: &SpecialIds,
    kinds: &mut [Kind],
    warnings: &mut Vec<String>,
) -> Result<WellKnown> {
    const SHOWN_MAX: usize = 8;
    let is_typed = metadata.contains(TYPES);
    let merges = metadata.opt_strings(MERGES)?;
    let is_word = |token: &[u8]| merges.is_some_and(|merges| merges.iter().any(|merge| makes(merge, token)));
    let mut known = well_known(tokens, |id| is_typed.then(|| kinds[id as usize]), is_word);
    let named = [ids.bos, ids.eos, ids.eot, ids.eom].into_iter().flatten();
    let is_text = |id: &u32| kinds[*id as usize] == Kind::Normal && is_marker(tokens.get(*id as usize));
    known.mistyped.extend(named.filter(is_text));
    known.mistyped.sort_unstable();
    known.mistyped.dedup();
    known.ends.iter().chain(&known.mistyped).for_each(|&id| kinds[id as usize] = Kind::Control);
    if !known.mistyped.is_empty() {
        let name = |&id: &u32| String::from_utf8_lossy(tokens.get(id as usize)).into_owned();
        let mut names: Vec<String> = known.mistyped.iter().take(SHOWN_MAX).map(name).collect();
        if known.mistyped.len() > SHOWN_MAX {
            names.push("…".into());
        }
        let names = names.join(", ");
        warnings.push(format!("the file has {names} as text: control tokens are made of what marks turns and ends"));
    }
    Ok(known)
}

/// Whether a merge, two tokens with a space between them, makes `token`.
fn makes(merge: &[u8], token: &[u8]) -> bool {
    merge.len() == token.len() + 1 && {
        let split = (1..token.len()).find(|&at| merge[at] == b' ' && merge[..at] == token[..at]);
        split.is_some_and(|at| merge[at + 1..] == token[at..])
    }
}

/// The score of every token; 0 where the file has none.
fn scores(metadata: &Metadata, count: usize) -> Result<Vec<f32>> {
    let scores = metadata.opt_f32s(SCORES)?.unwrap_or_else(|| vec![0.0; count]);
    check_length(SCORES, scores.len(), count)?;
    Ok(scores)
}

fn check_length(key: &str, length: usize, tokens: usize) -> Result<()> {
    if length == tokens {
        return Ok(());
    }
    let message = format!("'{key}' has {length} elements for {tokens} tokens");
    Err(ChordError::model(message).with("need", tokens).with("have", length))
}

/// The vocabulary, with what tokens stand for instead of how the file writes it.
fn vocabulary(writing: Writing, tokens: &StringArray, kinds: &[Kind]) -> Result<Vocabulary> {
    let mut vocabulary = Vocabulary::with_capacity(tokens.len(), tokens.total_bytes());
    for ((id, token), &kind) in tokens.iter().enumerate().zip(kinds) {
        let byte = match kind {
            Kind::Byte if writing != Writing::None => Some(byte_of_name(token).ok_or_else(|| bad_byte(id, token))?),
            _ => None,
        };
        vocabulary.push(kind, |out| {
            let start = out.len();
            let indexed = match (byte, writing, kind) {
                (Some(byte), ..) => {
                    out.push(byte);
                    return false;
                }
                (None, Writing::Spm | Writing::WordPiece, Kind::Normal) => decode_spaces(token, out),
                (None, Writing::Unigram, Kind::Normal | Kind::Unused) => decode_spaces(token, out),
                (None, Writing::Escapes, Kind::Normal) => {
                    // Escapes are no shorter than what they stand for.
                    unescape(token, out);
                    true
                }
                (None, Writing::Plain, Kind::Normal) => {
                    out.extend_from_slice(token);
                    true
                }
                (None, Writing::Bytes, Kind::Normal) => decode_alphabet(token, out),
                _ => {
                    out.extend_from_slice(token);
                    return false;
                }
            };
            if !indexed && writing == Writing::Bytes {
                out.truncate(start);
                out.extend_from_slice(token);
            }
            indexed
        });
    }
    Ok(vocabulary)
}

fn bad_byte(id: usize, token: &[u8]) -> ChordError {
    let name = String::from_utf8_lossy(&token[..token.len().min(32)]).into_owned();
    ChordError::model(format!("token {id} is a byte token, but '{name}' names no byte")).with("token", id)
}

/// The token of each byte.
fn byte_tokens(vocabulary: &Vocabulary) -> Box<[u32; 256]> {
    let mut ids = Box::new([NO_TOKEN; 256]);
    for id in (0..vocabulary.len() as u32).rev().filter(|&id| vocabulary.kind(id) == Kind::Byte) {
        ids[vocabulary.bytes(id)[0] as usize] = id;
    }
    ids
}

/// How the file wants a text normalised before it is cut into words.
fn word_piece(metadata: &Metadata) -> Result<WordPiece> {
    let flag = |name: &str| metadata.opt_bool(&format!("tokenizer.ggml.normalizer.{name}"));
    let lowercase = flag("lowercase")?.unwrap_or(true);
    let accents = flag("strip_accents")?.unwrap_or(lowercase).then(Accents::new);
    Ok(WordPiece { accents, lowercase })
}

/// The scores and the normalisation of a unigram vocabulary.
fn unigram(metadata: &Metadata, vocabulary: &Vocabulary, scores: Vec<f32>) -> Result<Unigram> {
    let bytes = match metadata.get(CHARSMAP) {
        None => Vec::new(),
        Some(Value::Array(Array::U8(bytes))) => bytes.clone(),
        Some(Value::Array(Array::I8(bytes))) => bytes.iter().map(|byte| byte.cast_unsigned()).collect(),
        Some(_) => return Err(ChordError::model(format!("'{CHARSMAP}' is no list of bytes"))),
    };
    let charsmap = Charsmap::new(&bytes);
    let flag = |name: &str| Ok::<_, ChordError>(metadata.opt_bool(&format!("tokenizer.ggml.{name}"))?.unwrap_or(false));
    let mut unigram = Unigram::new(vocabulary, scores);
    unigram.charsmap = charsmap.ok_or_else(|| ChordError::model(format!("'{CHARSMAP}' ends too early")))?;
    unigram.adds_space = flag("add_space_prefix")?;
    unigram.merges_spaces = flag("remove_extra_whitespaces")?;
    Ok(unigram)
}

/// The merges of a byte-level vocabulary.
fn bpe(
    metadata: &mut Metadata,
    pre_tokeniser: PreTokeniser,
    vocabulary: &Vocabulary,
    warnings: &mut Vec<String>,
) -> Result<Bpe> {
    metadata.strings(MERGES)?;
    let merges = metadata.take_strings(MERGES).unwrap_or_default();
    let (bpe, useless) = Bpe::new(pre_tokeniser, vocabulary, &merges);
    if useless > 0 {
        warnings.push(format!("{useless} of {} merges name tokens that the vocabulary does not have", merges.len()));
    }
    Ok(bpe)
}
