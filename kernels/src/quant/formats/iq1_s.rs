//! IQ1_S: 256 values: an f16 scale; for each 8 values the low byte of the number of a point; for each 32 values a 16-bit
//! word: three upper bits of each of their numbers, three of a scale, and whether values are an eighth below their point
//! rather than above it.

use crate::quant::blocks::half_at;
use crate::quant::book::{IQ1_LEVELS, bytes_of, odd, points, put, shifted};
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::{book::split_iq1, planes::{Planes, wgsl}};
use std::sync::LazyLock;

/// See the module.
pub const FORMAT: Format = Format {
    name: "IQ1_S",
    ggml_id: 19,
    block_values: 256,
    block_bytes: 50,
    scales: Scales::Half(&[0]),
    scale_unit: 0.01,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: None,
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 2, bytes: &[128, 32, 4], split, shader: &[wgsl!("iq1"), wgsl!("book")] },
};

/// 2048 points of 8 numbers, which IQ1_M has, too.
pub static POINTS: LazyLock<Vec<u64>> = LazyLock::new(|| points(&BOOK, &IQ1_LEVELS, 8));

const BOOK: [u8; 821] = bytes_of(
    "\
    55251485a0024251084531a886208aa21a082a201485501482204445251505a00282208818000882a0032aa088bbaa0a90aa0b0022000aaa\
    8c82a0084051084521888050144251088a300898a008802a0845211485204842550845012cc2a0208a26002a24a8aaa208e2af0808282800\
    a0024228aa2820a880200a9b08b9baa820caae89a2aeaa3a7cebeababb820eb822bacad30e920222002220a88aba0a820208002a4ae0a23b\
    22202ba200814081aa8a280822011485501582200945215485a0080223a83a2084822054425108a22008955014022a08b8a88280a0480220\
    0882a268a20228ab2a0885200882300845400045211485a00042510045012982008a822a08a130140550148228084521148520020220aa2a\
    002012b18aae28a8baa1aaa87000820a0802282202840082004880a0eab02aaac2208bba22eadaa78b8b6ea892b02aaa728b8a440c2a2048\
    8440288a2a08aa20c8cca222a2af9aa0e8a8020002002aa888002080a08ba2a228baa08082320ababeb8bafeeba2a02ba2088a0a28eaa200\
    a132020cfaa4eadeef2ba82e8dbe7eebfaf77fbfe67dbade69fb27ffbf26fa12e9e18a2210aabe0e84aa08b2a80b82aeffba24e983800462\
    2c68f2a80aa42b00022a0808e2aa120002822a0aa620c9828990822800a2008c801300820808006c8aaaaabb02a6be8aa0ca02806b972ed0\
    b2e91082102eaade2815d1a504000a82008a82200801a12082aa39ba223284a0098018008aa2620281144451004521ac825014425108aa20\
    28aa870a122a0845211405a00842510845012002a040a22200880008a2086a8a6eb8aaaa8000200a82e2c82221084450144251098a201585\
    5014860a08aa2a2a80000a4251084521a8005014425108e22088820a18822a08aaa2aa8ab08b020a2aaa20288280aa0a28082800a9880222\
    a0be0b28b8088aba4bb2aeffbaa4f8aeaa20522868b6a030e6800a022808226a6280200a02aaaa2baaeaa2a9a0a208081020a08a2200820e\
    0045211485a00a4051084521a906004aaa0208a500100d44148228084521140500088282acf220000000aa0a280aba20eaa2020082480928\
    e91400114b4551004501a802501442510888240888280a40080045011405a0024051084501",
);

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    let points = POINTS.as_slice();
    decoded.scale = half_at(block, 0) / 8.0;
    for sub in 0..8 {
        let word = usize::from(block[34 + 2 * sub]) | usize::from(block[35 + 2 * sub]) << 8;
        decoded.scales[2 * sub..2 * sub + 2].fill(odd((word >> 12 & 7) as u32));
        for i in 0..4 {
            let number = usize::from(block[2 + 4 * sub + i]) | (word >> (3 * i) & 7) << 8;
            put(decoded, 4 * sub + i, shifted(points[number], word >> 15 == 1));
        }
    }
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    split_iq1(decode, [block[0], block[1]], block, put);
}
