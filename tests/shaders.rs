//! Every variant of every kernel is valid WGSL, is bound to what the executor binds, and is told what the host tells it.
#![cfg(feature = "gpu")]

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, StorageAccess};
use wasm_chord::gpu::kernels::{Field, Job, Parameters, Step};
use wasm_chord::gpu::shaders::{BINDINGS, Kernel, OP_BYTES, STEP_BYTES, Variant};
use wasm_chord::program::KvFormat;

fn parse(kernel: Kernel, variant: Variant) -> naga::Module {
    let source = kernel.source(variant);
    naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|e| panic!("{}: {}", kernel.name_in(variant), e.emit_to_string(&source)))
}

#[test]
fn every_variant_is_valid_and_bound_as_the_executor_binds() {
    for kernel in Kernel::all() {
        for variant in Variant::all().filter(|variant| kernel.is_in(*variant)) {
            let module = parse(kernel, variant);
            let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
            validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
            validator.subgroup_operations(naga::valid::SubgroupOperationSet::all());
            if let Err(error) = validator.validate(&module) {
                panic!("{}: {}", kernel.name_in(variant), error.emit_to_string(&kernel.source(variant)));
            }
            let mut layouter = naga::proc::Layouter::default();
            layouter.update(module.to_ctx()).expect("types have layouts");
            for (_, variable) in module.global_variables.iter() {
                let Some(binding) = &variable.binding else { continue };
                assert_eq!(binding.group, 0, "{}", kernel.name());
                let wgpu::BindingType::Buffer { ty, .. } = BINDINGS[binding.binding as usize] else { unreachable!() };
                match (ty, variable.space) {
                    (wgpu::BufferBindingType::Uniform, AddressSpace::Uniform) => {
                        let size = layouter[variable.ty].size as usize;
                        let most = if binding.binding == 0 { STEP_BYTES } else { OP_BYTES };
                        assert!(size <= most, "{}: a uniform of {size} bytes", kernel.name());
                    }
                    (wgpu::BufferBindingType::Storage { read_only }, AddressSpace::Storage { access }) => {
                        assert_eq!(read_only, !access.contains(StorageAccess::STORE), "{}", kernel.name());
                    }
                    _ => panic!("{}: binding {} is something else", kernel.name(), binding.binding),
                }
            }
        }
    }
}

/// A type as WGSL writes it.
fn name_of(module: &naga::Module, ty: naga::Handle<naga::Type>) -> String {
    let ty = &module.types[ty];
    let scalar = |scalar: naga::Scalar| match scalar.kind {
        naga::ScalarKind::Uint => "u32",
        naga::ScalarKind::Float => "f32",
        _ => "another scalar",
    };
    match ty.inner {
        naga::TypeInner::Scalar(kind) => scalar(kind).into(),
        naga::TypeInner::Vector { size, scalar: kind } => format!("vec{}<{}>", size as u8, scalar(kind)),
        naga::TypeInner::Array { base, size: naga::ArraySize::Constant(size), .. } => {
            format!("array<{}, {size}>", name_of(module, base))
        }
        _ => ty.name.clone().unwrap_or_default(),
    }
}

/// Where the fields of a struct of the shader differ from those that the host writes, without padding.
fn differences(module: &naga::Module, name: &str, fields: &[Field]) -> Option<String> {
    let found = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name));
    let Some((_, naga::Type { inner: naga::TypeInner::Struct { members, .. }, .. })) = found else {
        return Some(format!("there is no struct {name}"));
    };
    let is_padding = |name: &str| name == "pad";
    let shader = members.iter().map(|m| (m.name.clone().unwrap_or_default(), m.offset, name_of(module, m.ty)));
    let shader: Vec<_> = shader.filter(|(name, ..)| !is_padding(name)).collect();
    let host = fields.iter().map(|f| (f.name.to_string(), 4 * f.word as u32, f.wgsl.to_string()));
    let host: Vec<_> = host.filter(|(name, ..)| !is_padding(name)).collect();
    (shader != host).then(|| format!("{name}: {shader:?} in the shader, {host:?} on the host"))
}

#[test]
fn parameters_have_the_same_names_offsets_and_types_on_both_sides() {
    for kernel in Kernel::all() {
        for variant in Variant::all().filter(|variant| kernel.is_in(*variant)) {
            let module = parse(kernel, variant);
            let mut structs = vec![("Op", kernel.parameters()), ("Step", Step::FIELDS)];
            if matches!(kernel, Kernel::MatVec(_) | Kernel::MatMat(_)) {
                structs.push(("Job", Job::FIELDS));
            }
            for (name, fields) in structs {
                assert_eq!(differences(&module, name, fields), None, "{}", kernel.name_in(variant));
            }
        }
    }
}

#[test]
fn a_field_that_moved_is_a_difference() {
    let module = parse(Kernel::Norm, Variant::PLAIN);
    let mut fields = Kernel::Norm.parameters().to_vec();
    assert_eq!(differences(&module, "Op", &fields), None);
    fields.swap(2, 5);
    assert!(differences(&module, "Op", &fields).is_some());
    assert!(differences(&module, "Op", Kernel::Rope(KvFormat::F16).parameters()).is_some());
}

#[test]
fn every_file_of_shaders_is_part_of_some_kernel() {
    let variants = |kernel: Kernel| Variant::all().map(move |variant| kernel.source(variant));
    let sources: Vec<String> = Kernel::all().flat_map(variants).collect();
    for folder in ["shaders", "shaders/shared"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(folder).expect("the shaders") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "wgsl") {
                let text = std::fs::read_to_string(&path).expect("a shader");
                // Its first line says what it computes.
                let first = text.lines().next().expect("a line");
                assert!(sources.iter().any(|source| source.contains(first)), "{} is used by no kernel", path.display());
            }
        }
    }
}
