//! The kernels' sources, put together from their parts: bindings, block decoding, sums, the kernel itself.

use crate::program::KvFormat;
use crate::quant::Dtype;

/// A kernel, one for each format where it reads a matrix, or where it meets keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Rows of a table, as they are.
    Embed(Dtype),
    /// A matrix times the column of one token.
    MatVec(Dtype),
    /// A matrix times the columns of a prompt, in tiles.
    MatMat(Dtype),
    /// Activations in the arithmetic of tiles, before [`Kernel::MatMat`].
    Prepare,
    /// A norm of rows or of heads.
    Norm,
    /// Norms of heads, rotation, and the way into the cache.
    Rope(KvFormat),
    /// Attention of one head of one token; of a long cache a part, for [`Kernel::AttentionReduce`].
    Attention(KvFormat),
    /// Joins the parts of a head.
    AttentionReduce,
    /// Attention of a prompt, in tiles.
    AttentionTiles(KvFormat),
    /// What happens to each value on its own: sums, factors, activations.
    Elementwise,
    /// The choice of experts.
    Route,
    /// What the chosen experts answer, weighed.
    ExpertSum,
    /// The best tokens of each segment of the vocabulary.
    Top,
    /// The next token, from those.
    Sample,
    /// Runs of values from one slot to another.
    Copy,
    /// A short convolution over the tokens before, which are its state.
    Conv,
    /// A selective scan, which moves its state on.
    Scan,
    /// The gated delta rule, which moves its state on.
    Delta,
    /// What RWKV keeps, moved on.
    Wkv,
    /// What a token answers to itself.
    Echo,
}

/// What the tiles of matrix·matrix are multiplied in. Sums are f32 always; weights that are floats in the
/// file are multiplied in f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// f32 activations and weights.
    #[default]
    Single,
    /// f16 activations, divided by the largest of their 32 so that they are in range, and quants in f16.
    Half,
    /// Activations as 8-bit integers with a scale for 32, as the CPU has them, by `dot4I8Packed`.
    Integer,
}

impl Arithmetic {
    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Arithmetic> {
        [Arithmetic::Single, Arithmetic::Half, Arithmetic::Integer].into_iter().find(|a| a.name() == name)
    }

    /// Its name, as statistics show it.
    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::Single => "f32",
            Arithmetic::Half => "f16",
            Arithmetic::Integer => "int8",
        }
    }
}

/// In which variant kernels are made. A kernel that has none of it is the same in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// Sums within subgroups.
    pub subgroups: bool,
    /// `None`: a prompt goes token by token, without tiles.
    pub tiles: Option<Arithmetic>,
}

/// What all kernels are bound to, in order of the binding numbers.
pub const BINDINGS: [wgpu::BindingType; 6] =
    [uniform(), storage(false), storage(true), storage(true), storage(false), uniform()];

const fn uniform() -> wgpu::BindingType {
    wgpu::BindingType::Buffer {
        ty: wgpu::BufferBindingType::Uniform,
        has_dynamic_offset: false,
        min_binding_size: None,
    }
}

const fn storage(read_only: bool) -> wgpu::BindingType {
    wgpu::BindingType::Buffer {
        ty: wgpu::BufferBindingType::Storage { read_only },
        has_dynamic_offset: false,
        min_binding_size: None,
    }
}

/// Bytes of the step's uniform.
pub const STEP_BYTES: usize = 64;
/// Bytes of one dispatch's parameters at most, and from each to the next: the alignment of offsets that every device has.
pub const OP_BYTES: usize = 256;

macro_rules! shader {
    ($name:literal) => {
        include_str!(concat!("../../shaders/", $name, ".wgsl"))
    };
}

impl Variant {
    /// What every device can run.
    pub const PLAIN: Variant = Variant { subgroups: false, tiles: Some(Arithmetic::Single) };

    /// Every variant that has tiles.
    pub fn all() -> impl Iterator<Item = Variant> {
        let arithmetics = [Arithmetic::Single, Arithmetic::Half, Arithmetic::Integer];
        let variant = move |subgroups| arithmetics.map(|arithmetic| Variant { subgroups, tiles: Some(arithmetic) });
        [false, true].into_iter().flat_map(variant)
    }

    /// Whether activations are prepared for tiles.
    pub fn prepares(self) -> bool {
        matches!(self.tiles, Some(Arithmetic::Half | Arithmetic::Integer))
    }
}

impl Kernel {
    /// Every kernel.
    pub fn all() -> impl Iterator<Item = Kernel> {
        use Kernel::*;
        let plain = [Prepare, Norm, AttentionReduce, Elementwise, Route, ExpertSum, Top, Sample, Copy];
        let of_past = [Conv, Scan, Delta, Wkv, Echo];
        let of_matrices = Dtype::ALL.into_iter().flat_map(|d| [Embed(d), MatVec(d), MatMat(d)]);
        let of_cache =
            [KvFormat::F16, KvFormat::Q8_0].into_iter().flat_map(|f| [Rope(f), Attention(f), AttentionTiles(f)]);
        of_matrices.chain(of_cache).chain(plain).chain(of_past)
    }

    /// Its name, as statistics show it.
    pub fn name(self) -> String {
        match self {
            Kernel::Embed(dtype) => format!("embed {}", dtype.name()),
            Kernel::MatVec(dtype) => format!("matvec {}", dtype.name()),
            Kernel::MatMat(dtype) => format!("matmat {}", dtype.name()),
            Kernel::Prepare => "prepare".into(),
            Kernel::Norm => "norm".into(),
            Kernel::Rope(format) => of_format("rope", format),
            Kernel::Attention(format) => of_format("attention", format),
            Kernel::AttentionReduce => "attention_reduce".into(),
            Kernel::AttentionTiles(format) => of_format("attention_tiles", format),
            Kernel::Elementwise => "elementwise".into(),
            Kernel::Route => "route".into(),
            Kernel::ExpertSum => "expert_sum".into(),
            Kernel::Top => "top".into(),
            Kernel::Sample => "sample".into(),
            Kernel::Copy => "copy".into(),
            Kernel::Conv => "conv".into(),
            Kernel::Scan => "scan".into(),
            Kernel::Delta => "delta".into(),
            Kernel::Wkv => "wkv".into(),
            Kernel::Echo => "echo".into(),
        }
    }

    /// Its name with what sets the variant apart.
    pub fn name_in(self, variant: Variant) -> String {
        let Variant { subgroups, tiles } = self.variant(variant);
        let arithmetic = match tiles {
            Some(Arithmetic::Half) => " in f16",
            Some(Arithmetic::Integer) => " in int8",
            Some(Arithmetic::Single) | None => "",
        };
        format!("{}{}{arithmetic}", self.name(), if subgroups { " with subgroups" } else { "" })
    }

    /// Whether a variant has this kernel.
    pub fn is_in(self, variant: Variant) -> bool {
        match self {
            Kernel::Prepare => variant.prepares(),
            Kernel::MatMat(_) | Kernel::AttentionTiles(_) => variant.tiles.is_some(),
            _ => true,
        }
    }

    /// The variant without what makes no difference to this kernel.
    pub fn variant(self, variant: Variant) -> Variant {
        let has_sums = matches!(self, Kernel::MatVec(_) | Kernel::Norm | Kernel::Rope(_));
        let tiles = match self {
            Kernel::MatMat(dtype) if is_block(dtype) => variant.tiles,
            Kernel::Prepare => variant.tiles,
            _ => Variant::PLAIN.tiles,
        };
        Variant { subgroups: variant.subgroups && has_sums, tiles }
    }

    /// The whole source.
    pub fn source(self, variant: Variant) -> String {
        let Variant { subgroups, tiles } = self.variant(variant);
        let arithmetic = tiles.unwrap_or_default();
        let constants = self.constants(arithmetic).into_iter().flatten();
        let constants: String = constants.map(|(name, value)| format!("const {name}: u32 = {value}u;\n")).collect();
        let mut texts = Vec::new();
        if matches!((self, arithmetic), (Kernel::MatMat(_), Arithmetic::Half)) {
            texts.push("enable f16;");
        }
        // naga knows them without, and not with it.
        if subgroups && cfg!(target_family = "wasm") {
            texts.push("enable subgroups;");
        }
        texts.push(&constants);
        texts.push(shader!("shared/bindings"));
        match self {
            Kernel::Embed(dtype) | Kernel::MatVec(dtype) | Kernel::MatMat(dtype) => {
                texts.extend([shader!("shared/bytes"), shader!("shared/decode")]);
                texts.extend(dtype.format().planes.shader);
                texts.push(if is_block(dtype) { shader!("shared/quants") } else { shader!("shared/floats") });
            }
            Kernel::Attention(_) | Kernel::AttentionTiles(_) => {
                texts.extend([shader!("shared/attention"), shader!("shared/bytes"), shader!("shared/cache")]);
            }
            Kernel::AttentionReduce => texts.push(shader!("shared/attention")),
            Kernel::Rope(_) => texts.extend([shader!("shared/bytes"), shader!("shared/cache")]),
            Kernel::Prepare => texts.push(shader!("shared/prepare")),
            Kernel::Top | Kernel::Sample => texts.push(shader!("shared/candidates")),
            Kernel::Scan | Kernel::Delta | Kernel::Wkv => texts.push(shader!("shared/recurrent")),
            _ => {}
        }
        match self {
            Kernel::MatVec(_) => texts.push(shader!("shared/matrix")),
            Kernel::MatMat(_) => texts.extend([shader!("shared/matrix"), tile(arithmetic)]),
            _ => {}
        }
        if matches!(self, Kernel::MatVec(_) | Kernel::Norm | Kernel::Rope(_) | Kernel::Echo) {
            texts.push(if subgroups { shader!("shared/sum_subgroups") } else { shader!("shared/sum") });
        }
        texts.push(match self {
            Kernel::Embed(_) => shader!("embed"),
            Kernel::MatVec(_) => shader!("matvec"),
            Kernel::MatMat(_) => shader!("matmat"),
            Kernel::Prepare if arithmetic == Arithmetic::Half => shader!("prepare_half"),
            Kernel::Prepare => shader!("prepare_integer"),
            Kernel::Norm => shader!("norm"),
            Kernel::Rope(_) => shader!("rope"),
            Kernel::Attention(_) => shader!("attention"),
            Kernel::AttentionReduce => shader!("attention_reduce"),
            Kernel::AttentionTiles(_) => shader!("attention_tiles"),
            Kernel::Elementwise => shader!("elementwise"),
            Kernel::Route => shader!("route"),
            Kernel::ExpertSum => shader!("expert_sum"),
            Kernel::Top => shader!("top"),
            Kernel::Sample => shader!("sample"),
            Kernel::Copy => shader!("copy"),
            Kernel::Conv => shader!("conv"),
            Kernel::Scan => shader!("scan"),
            Kernel::Delta => shader!("delta"),
            Kernel::Wkv => shader!("wkv"),
            Kernel::Echo => shader!("echo"),
        });
        let kept = match self {
            Kernel::Rope(format) | Kernel::Attention(format) | Kernel::AttentionTiles(format) => Some(format),
            _ => None,
        };
        with_conditions(&texts.join("\n"), |name| match name {
            "SUBGROUPS" => subgroups,
            "F16" => kept == Some(KvFormat::F16),
            "Q8_0" => kept == Some(KvFormat::Q8_0),
            _ => unreachable!("shaders have no other conditions"),
        })
    }
}

/// A source without the lines between `#if NAME` and `#endif` whose condition does not hold, and without those two.
fn with_conditions(source: &str, holds: impl Fn(&str) -> bool) -> String {
    let mut result = String::with_capacity(source.len());
    let mut is_kept = true;
    for line in source.lines() {
        match line.strip_prefix('#').map(|directive| directive.split_once(' ')) {
            Some(Some(("if", name))) => is_kept = holds(name),
            Some(_) => is_kept = true,
            None if is_kept => {
                result.push_str(line);
                result.push('\n');
            }
            None => {}
        }
    }
    result
}

/// The name of a kernel that meets keys and values of this format.
fn of_format(kernel: &str, format: KvFormat) -> String {
    match format {
        KvFormat::F16 => kernel.into(),
        KvFormat::Q8_0 => format!("{kernel} {}", format.name()),
    }
}

/// Whether values are quants with scales rather than floats.
fn is_block(dtype: Dtype) -> bool {
    dtype.quants().is_some()
}

fn tile(arithmetic: Arithmetic) -> &'static str {
    match arithmetic {
        Arithmetic::Single => shader!("shared/tile"),
        Arithmetic::Half => shader!("shared/tile_half"),
        Arithmetic::Integer => shader!("shared/tile_integer"),
    }
}
