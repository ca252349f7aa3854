//! The architectures, one row each, by the names of `general.architecture`.

use super::arch::*;
use super::builder::{Builder, Layer};
use super::config::Config;
use super::keys::Keys;
use crate::error::{ChordError, ErrorCode, Result};
use crate::program::Norm::{self, Layer as Centred, Rms};
use crate::program::RopeStyle::{self, Halves, Interleaved};

/// What there is to know of an architecture.
pub struct Architecture {
    /// As files have it in `general.architecture`; also what their other keys begin with.
    pub name: &'static str,
    /// Which values of a head rotate together.
    pub rope: RopeStyle,
    /// How its rows are normalised.
    pub norm: Norm,
    /// Reads what its files have beside the keys that all architectures share.
    pub configure: fn(&mut Config, &Keys) -> Result<()>,
    /// Writes a layer.
    pub layer: fn(&mut Builder, &Layer) -> Result<()>,
}

/// All architectures.
pub const REGISTRY: &[Architecture] = &[
    row("llama", Interleaved, Rms, llama::configure, llama::layer),
    row("llama4", Interleaved, Rms, llama4::configure, llama4::layer),
    row("mistral3", Interleaved, Rms, llama::configure_tempered, llama::layer),
    row("qwen", Halves, Rms, qwen::configure, qwen::layer),
    row("qwen2", Halves, Rms, qwen2::configure, qwen2::layer),
    row("qwen2moe", Halves, Rms, qwen2moe::configure, qwen2moe::layer),
    row("qwen2vl", Halves, Rms, qwen2::configure_vision, qwen2::layer),
    row("qwen3", Halves, Rms, qwen3::configure, qwen3::layer),
    row("qwen3vl", Halves, Rms, qwen3::configure, qwen3::layer_of_vision),
    row("qwen3moe", Halves, Rms, qwen3moe::configure, qwen3moe::layer),
    row("gemma", Halves, Rms, gemma::configure, gemma::layer),
    row("gemma2", Halves, Rms, gemma2::configure, gemma2::layer),
    row("gemma3", Halves, Rms, gemma3::configure, gemma3::layer),
    row("gemma3n", Halves, Rms, gemma3n::configure, gemma3n::layer),
    row("gemma4", Halves, Rms, gemma4::configure, gemma4::layer),
    row("phi2", Halves, Centred, phi2::configure, phi2::layer),
    row("phi3", Halves, Rms, phi3::configure, phi3::layer),
    row("phimoe", Halves, Rms, llama::configure, deepseek::layer),
    row("smollm3", Interleaved, Rms, smollm3::configure, smollm3::layer),
    row("olmo2", Halves, Rms, olmo2::configure, olmo2::layer),
    row("openelm", Halves, Rms, openelm::configure, openelm::layer),
    row("smallthinker", Halves, Rms, smallthinker::configure, smallthinker::layer),
    row("olmoe", Halves, Rms, olmoe::configure, olmoe::layer),
    row("granite", Interleaved, Rms, granite::configure, granite::layer),
    row("granitemoe", Interleaved, Rms, granite::configure, granite::layer),
    row("gpt-oss", Halves, Rms, gpt_oss::configure, gpt_oss::layer),
    row("gpt2", Halves, Centred, gpt2::configure, gpt2::layer),
    row("gptneox", Halves, Centred, gptneox::configure, gptneox::layer),
    row("starcoder", Halves, Centred, gpt2::configure, gpt2::layer),
    row("starcoder2", Halves, Centred, starcoder2::configure, starcoder2::layer),
    row("falcon", Halves, Centred, falcon::configure, falcon::layer),
    row("stablelm", Halves, Centred, stablelm::configure, stablelm::layer),
    row("bloom", Halves, Centred, bloom::configure, bloom::layer),
    row("mpt", Halves, Centred, mpt::configure, mpt::layer),
    row("command-r", Interleaved, Centred, command_r::configure, command_r::layer),
    row("cohere2", Interleaved, Centred, command_r::configure_sliding, command_r::layer_sliding),
    row("internlm2", Interleaved, Rms, qwen2::configure, qwen2::layer),
    row("baichuan", Interleaved, Rms, baichuan::configure, baichuan::layer),
    row("xverse", Interleaved, Rms, qwen2::configure, qwen2::layer),
    row("exaone4", Halves, Rms, exaone4::configure, exaone4::layer),
    row("glm4", Interleaved, Rms, glm4::configure, glm4::layer),
    row("glm4moe", Halves, Rms, glm4moe::configure, glm4moe::layer),
    row("chatglm", Interleaved, Rms, qwen2::configure, qwen2::layer),
    row("ernie4_5", Interleaved, Rms, ernie4_5::configure, ernie4_5::layer),
    row("ernie4_5-moe", Interleaved, Rms, ernie4_5::configure_experts, ernie4_5::layer),
    row("hunyuan-dense", Halves, Rms, hunyuan::configure, hunyuan::layer),
    row("nemotron", Halves, Centred, nemotron::configure, nemotron::layer),
    row("arcee", Interleaved, Rms, arcee::configure, arcee::layer),
    row("minicpm", Interleaved, Rms, minicpm::configure, minicpm::layer),
    row("seed_oss", Halves, Rms, seed_oss::configure, seed_oss::layer),
    row("deepseek", Interleaved, Rms, deepseek::configure, deepseek::layer),
    row("deepseek2", Interleaved, Rms, deepseek2::configure, deepseek2::layer),
    row("minicpm3", Halves, Rms, minicpm3::configure, minicpm3::layer),
    row("kimi-linear", Halves, Rms, kimi_linear::configure, kimi_linear::layer),
    row("dots1", Halves, Rms, dots1::configure, dots1::layer),
    row("bailingmoe2", Halves, Rms, dots1::configure, dots1::layer),
    row("qwen3next", Halves, Rms, qwen35::configure, qwen35::layer_of_next),
    row("qwen35", Halves, Rms, qwen35::configure, qwen35::layer),
    row("qwen35moe", Halves, Rms, qwen35::configure, qwen35::layer),
    row("mamba", Halves, Rms, mamba::configure, mamba::layer),
    row("mamba2", Halves, Rms, mamba::configure, mamba::layer_of_2),
    row("granitehybrid", Interleaved, Rms, granitehybrid::configure, granitehybrid::layer),
    row("falcon-h1", Halves, Rms, falcon_h1::configure, falcon_h1::layer),
    row("nemotron_h", Halves, Rms, nemotron_h::configure, nemotron_h::layer),
    row("nemotron_h_moe", Halves, Rms, nemotron_h::configure, nemotron_h::layer),
    row("jamba", Halves, Rms, jamba::configure, jamba::layer),
    row("plamo2", Halves, Rms, plamo2::configure, plamo2::layer),
    row("lfm2", Halves, Rms, lfm2::configure, lfm2::layer),
    row("lfm2moe", Halves, Rms, lfm2::configure_experts, lfm2::layer),
    row("minimax-m2", Halves, Rms, minimax_m2::configure, minimax_m2::layer),
    row("bitnet", Halves, Rms, bitnet::configure, bitnet::layer),
    row("apertus", Halves, Rms, apertus::configure, apertus::layer),
    row("hunyuan-moe", Halves, Rms, hunyuan::configure_experts, hunyuan::layer),
    row("maincoder", Interleaved, Rms, hunyuan::configure, hunyuan::layer),
    row("dbrx", Halves, Centred, dbrx::configure, dbrx::layer),
    row("grok", Halves, Rms, grok::configure, grok::layer),
    row("arctic", Interleaved, Rms, arctic::configure, arctic::layer),
    row("olmo", Interleaved, Centred, olmo::configure, llama::layer),
    row("bailingmoe", Interleaved, Rms, bailingmoe::configure, deepseek::layer),
    row("exaone", Halves, Rms, qwen2::configure, qwen2::layer),
    row("exaone-moe", Halves, Rms, dots1::configure_sliding, dots1::layer),
    row("afmoe", Halves, Rms, afmoe::configure, afmoe::layer),
    row("orion", Halves, Centred, qwen2::configure, qwen2::layer),
    row("codeshell", Halves, Centred, starcoder2::configure, starcoder2::layer),
    row("refact", Halves, Rms, bloom::configure, qwen2::layer),
    row("jais", Halves, Centred, jais::configure, qwen2::layer),
    row("plamo", Halves, Rms, qwen2::configure, command_r::layer),
    row("deci", Interleaved, Rms, deci::configure, deci::layer),
    row("qwen3vlmoe", Halves, Rms, qwen3moe::configure, qwen3moe::layer),
    row("pangu-embedded", Halves, Rms, qwen2::configure, qwen2::layer),
    row("paddleocr", Halves, Rms, ernie4_5::configure, ernie4_5::layer),
    row("llada", Interleaved, Rms, llada::configure, llada::layer),
    row("llada-moe", Halves, Rms, llada::configure_experts, llada::layer_of_kin),
    row("dream", Halves, Rms, llada::configure, llada::layer_of_kin),
    row("rnd1", Halves, Rms, llada::configure, llada::layer_of_kin),
    row("mimo2", Halves, Rms, mimo2::configure, mimo2::layer),
    row("mistral4", Interleaved, Rms, deepseek2::configure, deepseek2::layer),
    row("plamo3", Halves, Rms, plamo3::configure, plamo3::layer),
    row("plm", Interleaved, Rms, plm::configure, plm::layer),
    row("jais2", Halves, Centred, nemotron::configure, nemotron::layer),
    row("deepseek2-ocr", Interleaved, Rms, deepseek::configure_vision, deepseek::layer),
    row("granite_swa", Interleaved, Rms, granite::configure_sliding, granite::layer),
    row("mellum", Halves, Rms, olmo2::configure, qwen3moe::layer),
    row("cohere2moe", Interleaved, Centred, command_r::configure_experts, command_r::layer_of_experts),
    row("hunyuan_vl", Halves, Rms, hunyuan::configure_vision, hunyuan::layer),
    row("rwkv6", Halves, Centred, rwkv::configure, rwkv::layer_6),
    row("rwkv7", Halves, Centred, rwkv::configure_7, rwkv::layer_7),
    row("rwkv6qwen2", Halves, Rms, rwkv::configure, rwkv::layer_6_qwen),
    row("arwkv7", Halves, Rms, rwkv::configure_7, rwkv::layer_7_qwen),
    row("bert", Halves, Centred, bert::configure, bert::layer),
    row("nomic-bert", Halves, Centred, bert::configure_rotating, bert::layer_gated),
    row("jina-bert-v2", Halves, Centred, bert::configure_alibi, bert::layer_alibi),
    row("jina-bert-v3", Halves, Centred, bert::configure_rotating, bert::layer),
    row("nomic-bert-moe", Halves, Centred, bert::configure_experts, bert::layer),
    row("modern-bert", Halves, Centred, modern_bert::configure, modern_bert::layer),
    row("eurobert", Halves, Rms, modern_bert::configure_euro, modern_bert::layer_silu),
    row("llama-embed", Interleaved, Rms, modern_bert::configure_euro, modern_bert::layer_silu),
    row("neo-bert", Interleaved, Rms, modern_bert::configure_neo, modern_bert::layer_silu),
    row("gemma-embedding", Halves, Rms, gemma_embedding::configure, gemma_embedding::layer),
];

const fn row(
    name: &'static str,
    rope: RopeStyle,
    norm: Norm,
    configure: fn(&mut Config, &Keys) -> Result<()>,
    layer: fn(&mut Builder, &Layer) -> Result<()>,
) -> Architecture {
    Architecture { name, rope, norm, configure, layer }
}

/// The architecture of this name.
pub fn architecture(name: &str) -> Result<&'static Architecture> {
    REGISTRY.iter().find(|architecture| architecture.name == name).ok_or_else(|| {
        let known: Vec<_> = REGISTRY.iter().map(|architecture| architecture.name).collect();
        ChordError::new(
            ErrorCode::UnsupportedArchitecture,
            format!("architecture '{name}' is not supported; supported are {}", known.join(", ")),
        )
        .with("architecture", name)
    })
}
