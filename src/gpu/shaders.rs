//! The kernels' sources, put together from their parts: bindings, block decoding, sums, the kernel itself.

use crate::quant::Dtype;

/// A kernel, one for each format where it reads a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    Embed(Dtype),
    MatVec(Dtype),
    MatMat(Dtype),
    Norm,
    Rope,
    Attention,
    AttentionReduce,
    Elementwise,
    Route,
    ExpertSum,
    Sample,
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

/// Bytes of the step's uniform, and of one op's at most.
pub const STEP_BYTES: usize = 64;
pub const OP_BYTES: usize = 256;

macro_rules! shader {
    ($name:literal) => {
        include_str!(concat!("../../shaders/", $name, ".wgsl"))
    };
}

impl Kernel {
    /// Every kernel.
    pub fn all() -> impl Iterator<Item = Kernel> {
        use Kernel::*;
        let plain = [Norm, Rope, Attention, AttentionReduce, Elementwise, Route, ExpertSum, Sample];
        Dtype::ALL.into_iter().flat_map(|d| [Embed(d), MatVec(d), MatMat(d)]).chain(plain)
    }

    /// Its name, as statistics show it.
    pub fn name(self) -> String {
        match self {
            Kernel::Embed(dtype) => format!("embed {}", dtype.name()),
            Kernel::MatVec(dtype) => format!("matvec {}", dtype.name()),
            Kernel::MatMat(dtype) => format!("matmat {}", dtype.name()),
            Kernel::Norm => "norm".into(),
            Kernel::Rope => "rope".into(),
            Kernel::Attention => "attention".into(),
            Kernel::AttentionReduce => "attention_reduce".into(),
            Kernel::Elementwise => "elementwise".into(),
            Kernel::Route => "route".into(),
            Kernel::ExpertSum => "expert_sum".into(),
            Kernel::Sample => "sample".into(),
        }
    }

    /// Whether it sums over a workgroup, and so has a variant with subgroups.
    pub fn has_sums(self) -> bool {
        matches!(self, Kernel::MatVec(_) | Kernel::Norm | Kernel::Rope)
    }

    /// The whole source. (naga knows subgroups without an `enable`, and wgpu offers them natively only.)
    pub fn source(self, subgroups: bool) -> String {
        let mut parts = Vec::new();
        let subgroups = subgroups && self.has_sums();
        parts.push(shader!("shared/bindings"));
        if let Kernel::Embed(dtype) | Kernel::MatVec(dtype) | Kernel::MatMat(dtype) = self {
            parts.extend([shader!("shared/decode"), shader!("shared/codebook"), decoder(dtype)]);
        }
        if let Kernel::Embed(Dtype::F16 | Dtype::BF16)
        | Kernel::MatVec(Dtype::F16 | Dtype::BF16)
        | Kernel::MatMat(Dtype::F16 | Dtype::BF16) = self
        {
            parts.push(shader!("shared/halves"));
        }
        if matches!(self, Kernel::Attention | Kernel::AttentionReduce) {
            parts.push(shader!("shared/attention"));
        }
        if matches!(self, Kernel::MatVec(_) | Kernel::MatMat(_)) {
            parts.push(shader!("shared/matrix"));
        }
        if self.has_sums() {
            parts.push(if subgroups { shader!("shared/sum_subgroups") } else { shader!("shared/sum") });
        }
        parts.push(match self {
            Kernel::Embed(_) => shader!("embed"),
            Kernel::MatVec(_) => shader!("matvec"),
            Kernel::MatMat(_) => shader!("matmat"),
            Kernel::Norm => shader!("norm"),
            Kernel::Rope => shader!("rope"),
            Kernel::Attention => shader!("attention"),
            Kernel::AttentionReduce => shader!("attention_reduce"),
            Kernel::Elementwise => shader!("elementwise"),
            Kernel::Route => shader!("route"),
            Kernel::ExpertSum => shader!("expert_sum"),
            Kernel::Sample => shader!("sample"),
        });
        let source = parts.join("\n");
        // Lines that only the variant with subgroups has are comments elsewhere.
        if subgroups { source.replace("//SUBGROUPS ", "") } else { source }
    }
}

fn decoder(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => shader!("shared/f32"),
        Dtype::F16 => shader!("shared/f16"),
        Dtype::BF16 => shader!("shared/bf16"),
        Dtype::Q4_0 => shader!("shared/q4_0"),
        Dtype::Q4_1 => shader!("shared/q4_1"),
        Dtype::Q5_0 => shader!("shared/q5_0"),
        Dtype::Q5_1 => shader!("shared/q5_1"),
        Dtype::Q8_0 => shader!("shared/q8_0"),
        Dtype::Q2_K => shader!("shared/q2_k"),
        Dtype::Q3_K => shader!("shared/q3_k"),
        Dtype::Q4_K => shader!("shared/q4_k"),
        Dtype::Q5_K => shader!("shared/q5_k"),
        Dtype::Q6_K => shader!("shared/q6_k"),
        Dtype::Q8_K => shader!("shared/q8_k"),
        Dtype::IQ4_NL => shader!("shared/iq4_nl"),
        Dtype::IQ4_XS => shader!("shared/iq4_xs"),
        Dtype::MXFP4 => shader!("shared/mxfp4"),
    }
}
