//! Who made the adapter: that decides which arithmetic is likely the fastest.

use super::shaders::Arithmetic;

/// A maker of GPUs, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vendor {
    /// GeForce and datacentre GPUs.
    Nvidia,
    /// Integrated and Arc.
    Intel,
    /// Radeon, integrated or not.
    Amd,
    /// Mali and Immortalis, in phones.
    Arm,
    /// Adreno, in phones and some laptops.
    Qualcomm,
    /// Apple's, software, and whoever does not say.
    #[default]
    Other,
}

impl Vendor {
    /// By its PCI number.
    pub fn from_number(number: u32) -> Vendor {
        match number {
            0x10de => Vendor::Nvidia,
            0x8086 => Vendor::Intel,
            0x1002 | 0x1022 => Vendor::Amd,
            0x13b5 => Vendor::Arm,
            0x5143 => Vendor::Qualcomm,
            _ => Vendor::Other,
        }
    }

    /// By the name that browsers use (`GPUAdapterInfo.vendor`).
    pub fn from_name(name: &str) -> Vendor {
        match name {
            "nvidia" => Vendor::Nvidia,
            "intel" => Vendor::Intel,
            "amd" => Vendor::Amd,
            "arm" => Vendor::Arm,
            "qualcomm" => Vendor::Qualcomm,
            _ => Vendor::Other,
        }
    }

    /// What its GPUs multiply tiles in, where they can. 8-bit integers where others published a gain by them on
    /// WebGPU (onnxruntime, for Intel's and NVIDIA's); f16 where its rate is twice that of f32 without matrix
    /// units; else f32: Apple's GPUs have no instruction for the first and no better rate for the second.
    /// Nobody has measured these kernels on such GPUs yet.
    pub fn preferred(self) -> Arithmetic {
        match self {
            Vendor::Nvidia | Vendor::Intel => Arithmetic::Integer,
            Vendor::Amd | Vendor::Arm | Vendor::Qualcomm => Arithmetic::Half,
            Vendor::Other => Arithmetic::Single,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_vendor_computes_in_f32() {
        assert_eq!(Vendor::from_name("intel"), Vendor::from_number(0x8086));
        assert_eq!(Vendor::from_name("intel").preferred(), Arithmetic::Integer);
        for vendor in [Vendor::from_name("apple"), Vendor::from_name(""), Vendor::from_number(0)] {
            assert_eq!(vendor.preferred(), Arithmetic::Single);
        }
    }
}
