//! Every variant of every kernel is valid WGSL, and is bound to what the executor binds.
#![cfg(feature = "gpu")]

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, StorageAccess};
use wasm_chord::gpu::shaders::{BINDINGS, Kernel, OP_BYTES, STEP_BYTES, Variant};

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
