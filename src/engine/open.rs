//! From the bytes of a header to an open engine.

use super::adapters::{self, Adapters};
use super::backend::Backend;
use super::compute::Compute;
use super::follower::{Deliveries, Follower};
use super::lanes::Lanes;
use super::loading::Loading;
#[cfg(feature = "gpu")]
use super::memory::Demand;
use super::opened::Opened;
use super::pooling::{Pooling, Ranking};
use super::report::json;
use super::sequence::Sequence;
use super::shelf::Shelf;
use super::{Engine, MemoryPlan, ModelDescription, ModelInfo, OpenOptions, OpenPlan};
use crate::cpu::Shard;
use crate::error::{ChordError, ErrorCode, Result};
use crate::gguf::{self, Header, Metadata, Parser, Progress};
#[cfg(feature = "gpu")]
use crate::gpu::{Design, Gpu, Ways};
use crate::model::{self, Config};
use crate::program::{KvFormat, Program};
use crate::state::{Layout, Rewind};
use crate::template::{ChatTemplate, ChatTemplates, ControlTexts};
use crate::tokenizer::Tokenizer;
use std::collections::HashMap;

/// The key of the file's chat template.
const CHAT_TEMPLATE: &str = "tokenizer.chat_template";

/// Reads the headers of a model's parts, one after the other, and then those of its adapters.
pub struct HeaderReader {
    /// The part that is being read; none between a closed part and the next.
    parser: Option<Parser>,
    finished: Vec<Header>,
    /// What all of them come to, once somebody asked for that.
    joined: Option<Joined>,
}

/// The headers that belong to an engine.
struct Joined {
    /// Of the model, from all of its parts.
    model: Header,
    /// How many those are.
    parts: usize,
    /// Of each adapter.
    adapters: Vec<Header>,
}

impl HeaderReader {
    /// A reader that begins with part 0, of `file_bytes` bytes if that is known.
    pub fn new(file_bytes: Option<u64>) -> HeaderReader {
        HeaderReader { parser: Some(Parser::new(file_bytes)), finished: Vec::new(), joined: None }
    }

    /// Takes the next bytes of the part; true when its header is complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<bool> {
        match &mut self.parser {
            Some(parser) => Ok(matches!(parser.feed(bytes)?, Progress::Done { .. })),
            None => Err(ChordError::new(ErrorCode::Internal, "bytes came between two parts")),
        }
    }

    /// The error of a part that ends before its header does.
    pub fn truncated(&self) -> ChordError {
        match &self.parser {
            Some(parser) => parser.truncated(),
            None => ChordError::new(ErrorCode::Internal, "no part is being read"),
        }
    }

    /// Parts that the model has, as its first part says. That part must be complete.
    pub fn part_count(&mut self) -> Result<usize> {
        self.close()?;
        gguf::part_count(&self.finished[0])
    }

    /// Closes the current part and begins the next, or an adapter behind the last.
    pub fn next_part(&mut self, file_bytes: Option<u64>) -> Result<()> {
        self.close()?;
        self.parser = Some(Parser::new(file_bytes));
        Ok(())
    }

    /// Closes the current part, whose header must be complete.
    fn close(&mut self) -> Result<()> {
        if let Some(parser) = self.parser.take() {
            self.finished.push(parser.finish()?);
        }
        Ok(())
    }

    /// The headers of all parts joined, and those of the adapters.
    fn join(&mut self, options: &OpenOptions) -> Result<Joined> {
        self.close()?;
        if let Some(joined) = self.joined.take() {
            return Ok(joined);
        }
        let mut finished = std::mem::take(&mut self.finished);
        let parts = finished.len().saturating_sub(options.adapters.len()).max(1);
        let adapters = finished.split_off(parts.min(finished.len()));
        if adapters.len() != options.adapters.len() {
            let text = format!("{} adapters are named, and {} were read", options.adapters.len(), adapters.len());
            return Err(ChordError::internal(text));
        }
        Ok(Joined { model: gguf::join(finished)?, parts, adapters })
    }

    /// Bytes that the model would take of a 64-bit memory, if it is to stay in memory and this build's cannot hold
    /// it. All headers must be complete.
    pub fn outgrown(&mut self, options: &OpenOptions) -> Result<Option<u64>> {
        let joined = self.join(options)?;
        let Compiled { config, program, .. } = compile(&joined, options)?;
        self.joined = Some(joined);
        Ok(MemoryPlan::outgrown(&program, config.context, options))
    }

    /// What opening the model on the CPU would take, from the header alone, as [`OpenPlan`] has it.
    pub fn plan(self, options: &OpenOptions) -> Result<serde_json::Value> {
        self.plan_by(options, MemoryPlan::on_threads).map(|plan| json(&plan))
    }

    /// The same on a GPU. Where the device does not suit the model or its ceiling the figures are the CPU's,
    /// and `unsuited` says why.
    #[cfg(feature = "gpu")]
    pub fn plan_on(self, device: &crate::gpu::Device, options: &OpenOptions) -> Result<serde_json::Value> {
        let mut unsuited = None;
        let plan = self.plan_by(options, |program, context, options| {
            if unsuited.is_some() {
                return MemoryPlan::new(program, context, options);
            }
            let design = Design::new(device, program, context, Ways::of(device));
            let sizes = design.map(|design| design.group_bytes(program));
            match sizes.and_then(|sizes| gpu_memory(sizes, u64::MAX, program, context, options)) {
                Err(error) if is_left_to_cpu(&error, options) => {
                    unsuited = Some(error.message);
                    MemoryPlan::new(program, context, options)
                }
                planned => planned,
            }
        })?;
        Ok(json(&OpenPlan { unsuited, ..plan }))
    }

    fn plan_by(
        mut self,
        options: &OpenOptions,
        mut memory: impl FnMut(&Program, usize, &OpenOptions) -> Result<MemoryPlan>,
    ) -> Result<OpenPlan> {
        let joined = self.join(options)?;
        let Compiled { config, program, .. } = compile(&joined, options)?;
        let (memory, reason) = match memory(&program, config.context, options) {
            Ok(plan) => (plan, None),
            Err(error) => {
                let unlimited = OpenOptions { max_resident_bytes: None, device_bytes: None, ..options.clone() };
                (memory(&program, config.context, &unlimited)?, Some(error.message))
            }
        };
        Ok(OpenPlan {
            model: describe(&joined.model, &config, &program),
            download_bytes: joined.files().flat_map(|header| &header.tensors).map(|t| t.bytes).sum(),
            memory,
            reason,
            unsuited: None,
        })
    }

    /// Opens the part of thread number `shard` of `shards` of a model that another thread has opened for so many.
    /// Its rows of the weights are supplied to it in any order.
    pub fn follow(mut self, options: &OpenOptions, shard: usize, shards: usize) -> Result<Follower> {
        let joined = self.join(options)?;
        let Compiled { config, program, .. } = compile(&joined, options)?;
        let scales = Adapters::of(&options.adapters).defaults();
        Follower::new(program, config.context, [shard, shards], options.lanes_max(), &scales)
    }

    /// Opens the model on the CPU: compiles its program, builds its tokenizer, and allocates cache and scratch.
    pub fn open(self, options: &OpenOptions) -> Result<Engine> {
        self.open_by(options, on_cpu)
    }

    /// Opens the model on a GPU, or on the CPU if the device does not suit it or its ceiling.
    #[cfg(feature = "gpu")]
    pub fn open_on(self, device: crate::gpu::Device, options: &OpenOptions) -> Result<Engine> {
        let device = std::rc::Rc::new(device);
        self.open_by(options, |program, context, options| match on_gpu(device, u64::MAX, program, context, options) {
            Err(error) if is_left_to_cpu(&error, options) => on_cpu(program, context, options),
            opened => opened,
        })
    }

    fn open_by(
        mut self,
        options: &OpenOptions,
        backend: impl FnOnce(&Program, usize, &OpenOptions) -> Result<Opening>,
    ) -> Result<Engine> {
        let joined = self.join(options)?;
        let Compiled { config, program, warnings: passed_over } = compile(&joined, options)?;
        let adapters = Adapters::new(&options.adapters, &joined.adapters);
        let mut header = joined.model;
        let (tokenizer, found) = Tokenizer::from_metadata(&mut header.metadata)?;
        check_vocabulary(&tokenizer, &config)?;
        let mut warnings = std::mem::take(&mut header.warnings);
        warnings.extend(found);
        warnings.extend(context_warning(&config, options));
        warnings.extend(format_warning(&program, options));
        warnings.extend(passed_over);
        let template = match header.metadata.opt_str(CHAT_TEMPLATE)? {
            Some(source) => {
                let template = ChatTemplate::new(source);
                warnings.extend(template.as_ref().err().map(|e| format!("the chat template cannot be used: {e}")));
                template
            }
            None => missing_template(&tokenizer, &mut warnings),
        };
        let template = ChatTemplates::new(template, named_templates(&header.metadata));
        warnings.extend(template.errors().map(|error| format!("a chat template cannot be used: {error}")));
        let description = describe(&header, &config, &program);
        let info = ModelInfo { description, warnings, has_text: tokenizer.has_text() };
        let pooling = Pooling::from_metadata(&header.metadata);
        let (ranking, looks_ahead) = (Ranking::new(&config), config.looks_ahead);
        // Texts whose tokens look ahead are computed whole, and by themselves.
        let lanes_max = if looks_ahead { 1 } else { options.lanes_max() };
        let Opening { mut backend, plan, deliveries } = backend(&program, config.context, options)?;
        let scales = adapters.defaults();
        if !scales.is_empty() {
            backend.adapt(&scales);
        }
        let rewind = if program.fixed_values() > 0 { Rewind::Copies } else { Rewind::Anywhere };
        Ok(Engine {
            loading: Loading::new(&program, plan, options, deliveries),
            compute: Compute::new(backend, &program),
            sequence: Sequence::new(config.context, rewind, scales.clone()),
            scales,
            shelf: Shelf::default(),
            lanes: Lanes::default(),
            prepared: None,
            generation: None,
            constrainer: None,
            opened: Opened {
                layout: Layout::new(&program, config.context),
                adapters,
                controls: ControlTexts::new(tokenizer.control_texts()),
                config,
                program,
                tokenizer,
                template,
                pooling,
                ranking,
                looks_ahead,
                lanes_max,
                info: json(&info),
            },
        })
    }
}

impl Joined {
    /// Of the model and of each adapter.
    fn files(&self) -> impl Iterator<Item = &Header> {
        [&self.model].into_iter().chain(&self.adapters)
    }
}

/// A model's program, and what is to be said of its adapters.
struct Compiled {
    config: Config,
    program: Program,
    warnings: Vec<String>,
}

/// The model's program with its adapters, and keys and values kept as these options say.
fn compile(Joined { model, parts, adapters: files }: &Joined, options: &OpenOptions) -> Result<Compiled> {
    adapters::check(&options.adapters)?;
    let config = Config::from_header(model, options.context_length)?;
    let mut program = model::compile(model, &config)?;
    program.keep_in(options.kv_cache);
    let names = options.adapters.iter().map(|adapter| adapter.name.as_str());
    let named: Vec<(&str, &Header)> = names.zip(files).collect();
    let warnings = model::adapt(&mut program, model, *parts, &named)?;
    Ok(Compiled { config, program, warnings })
}

/// What to say of layers whose keys and values are not kept as these options say.
fn format_warning(program: &Program, options: &OpenOptions) -> Option<String> {
    let all = program.kv_formats().count();
    let left = program.kv_formats().filter(|format| *format != options.kv_cache).count();
    let asked = options.kv_cache.name();
    if options.kv_cache == KvFormat::F16 || (left == 0 && all > 0) {
        return None;
    }
    let block = KvFormat::BLOCK;
    Some(match all {
        0 => format!("kvCache is {asked}, but the model keeps no keys and values"),
        _ => format!(
            "kvCache is {asked}, but {left} of {all} layers keep keys and values in f16: their heads are not made of \
             whole blocks of {block} values"
        ),
    })
}

/// Where a model is to be computed.
pub struct Opening {
    pub backend: Backend,
    pub plan: MemoryPlan,
    pub deliveries: Deliveries,
}

/// The CPU with room for the model, on as many threads as are allowed and pay.
pub fn on_cpu(program: &Program, context: usize, options: &OpenOptions) -> Result<Opening> {
    let plan = MemoryPlan::on_threads(program, context, options)?;
    let mut cpu = Shard::new(program, context, 0, plan.threads, options.lanes_max())?;
    cpu.set_read_bytes(plan.read_bytes);
    cpu.make_room_for_experts(plan.expert_cache_bytes)?;
    let deliveries = Deliveries::new(program, plan.threads);
    Ok(Opening { backend: Backend::Cpu(Box::new(cpu)), plan, deliveries })
}

/// Whether the CPU takes over what a GPU refuses: a ceiling that is too small for it only where the caller did
/// not name the device.
#[cfg(feature = "gpu")]
pub fn is_left_to_cpu(error: &ChordError, options: &OpenOptions) -> bool {
    error.code == ErrorCode::GpuUnsuited || (error.code == ErrorCode::BudgetTooSmall && !options.is_device_named)
}

/// A device with the model planned on it, in `bytes_max` of its memory at most.
#[cfg(feature = "gpu")]
pub fn on_gpu(
    device: std::rc::Rc<crate::gpu::Device>,
    bytes_max: u64,
    program: &Program,
    context: usize,
    options: &OpenOptions,
) -> Result<Opening> {
    let ways = Ways::of(&device);
    let design = Design::new(&device, program, context, ways)?;
    // Nothing is made on a device that has to be left for its ceiling.
    let plan = gpu_memory(design.group_bytes(program), bytes_max, program, context, options)?;
    let mut gpu = Gpu::make(device, program, design, ways);
    gpu.weights.pin(&plan.kept());
    Ok(Opening { backend: Backend::Gpu(Box::new(gpu)), plan, deliveries: Deliveries::default() })
}

/// What stays in a GPU's memory, whose groups take these bytes. Buffers cannot be read from disk while they are
/// multiplied: what does not fit passes through the ring.
#[cfg(feature = "gpu")]
fn gpu_memory(
    sizes: Vec<u64>,
    bytes_max: u64,
    program: &Program,
    context: usize,
    options: &OpenOptions,
) -> Result<MemoryPlan> {
    let scratch_bytes = Gpu::scratch_bytes(program, context);
    MemoryPlan::of(Demand { sizes, scratch_bytes, bytes_max, reads_disk: false }, program, context, options)
}

/// The token list and the embedding table must be of one size.
fn check_vocabulary(tokenizer: &Tokenizer, config: &Config) -> Result<()> {
    let tokens = tokenizer.vocabulary_size();
    if tokens == 0 || tokens == config.vocabulary {
        return Ok(());
    }
    Err(ChordError::model(format!("{tokens} tokens do not fit an embedding table of {} rows", config.vocabulary)))
}

/// What to say of a context beyond that of the training.
fn context_warning(config: &Config, options: &OpenOptions) -> Option<String> {
    let (asked, trained) = (options.context_length?, config.context_length);
    let consequence = match config.context < asked {
        true => "has no positions after those, so that they are its context",
        false => "gives worse answers past those",
    };
    (asked > trained)
        .then(|| format!("contextLength is {asked}, but the model was trained for {trained} tokens and {consequence}"))
}

/// The template of a file that has none: ChatML, if the vocabulary has its tokens. Any other model would answer
/// nonsense to it, so that chats are refused.
fn missing_template(tokenizer: &Tokenizer, warnings: &mut Vec<String>) -> Result<ChatTemplate> {
    let has_chatml = ["<|im_start|>", "<|im_end|>"].iter().all(|name| tokenizer.is_special(name));
    if tokenizer.has_text() {
        let consequence = if has_chatml { "ChatML is used, whose tokens it has" } else { "chats are refused" };
        warnings.push(format!("the file has no chat template: {consequence}"));
    }
    if has_chatml {
        return ChatTemplate::chatml();
    }
    let message = "the file has no chat template, and its vocabulary not the tokens of ChatML: \
                   use completions with a prompt in the model's own format, or a file with a chat template";
    Err(ChordError::new(ErrorCode::TemplateFailed, message).with("reason", "missing"))
}

/// What the header says of the model.
fn describe(header: &Header, config: &Config, program: &Program) -> ModelDescription {
    let metadata = &header.metadata;
    let architecture = metadata.str("general.architecture").unwrap_or_default();
    let name = metadata.opt_str("general.name").ok().flatten().unwrap_or(architecture);
    ModelDescription {
        architecture: architecture.to_owned(),
        name: name.to_owned(),
        layers: config.layers.len(),
        context_length: config.context,
        trained_context_length: config.context_length,
        vocabulary_size: config.vocabulary,
        quantization: quantization(program),
        has_chat_template: metadata.contains(CHAT_TEMPLATE),
        metadata: metadata.to_json(),
    }
}

/// The type that holds most of the matrices' bytes.
fn quantization(program: &Program) -> &'static str {
    let mut bytes: HashMap<&'static str, usize> = HashMap::new();
    for weight in program.weights.iter().filter(|w| w.is_matrix && w.adapter.is_none()) {
        *bytes.entry(weight.dtype.name()).or_default() += weight.bytes;
    }
    bytes.into_iter().max_by_key(|(name, bytes)| (*bytes, *name)).map_or("", |(name, _)| name)
}

impl OpenOptions {
    /// Reads the options of a JSON object.
    pub fn from_json(json: &str) -> Result<OpenOptions> {
        serde_json::from_str(json).map_err(|e| {
            ChordError::new(ErrorCode::InvalidParameter, format!("engine options: {e}")).with("name", "options")
        })
    }
}

/// The file's chat templates that have a name.
fn named_templates(metadata: &Metadata) -> impl Iterator<Item = (&str, &str)> {
    metadata.iter().filter_map(|(key, _)| {
        let name = key.strip_prefix("tokenizer.chat_template.")?;
        Some((name, metadata.opt_str(key).ok()??))
    })
}
