//! The wasm-bindgen surface: the only module that knows JavaScript. The engine worker drives it.

mod constrain;
mod requests;
#[cfg(feature = "selftest")]
mod selftest;
mod sequences;
mod threads;

use self::threads::{Follower, JsPeers};
use crate::cpu::DiskReader;
use crate::engine::{Engine as Core, HeaderReader as Reader, Moment, OpenOptions};
use crate::error::ChordError;
use crate::pager::{Pace, SourceRange};
use crate::template::CivilTime;
use crate::tokenizer::EncodeOptions;
use js_sys::{Date, Float64Array, Math, Object, Reflect, Uint8Array};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;
use wasm_bindgen::prelude::*;

type JsResult<T> = Result<T, JsValue>;

/// `{code, message, details}`, which the scripts make a `ChordError` of.
fn thrown(error: ChordError) -> JsValue {
    let object = Object::new();
    let set = |name: &str, value: JsValue| {
        Reflect::set(&object, &name.into(), &value).expect("a new object takes properties")
    };
    set("code", format!("{:?}", error.code).into());
    set("message", error.message.into());
    let details = serde_json::to_string(&error.details).expect("details are plain JSON");
    set("details", js_sys::JSON::parse(&details).unwrap_or(JsValue::UNDEFINED));
    object.into()
}

/// A file size as JavaScript has it: NaN is unknown.
fn file_bytes(size: f64) -> Option<u64> {
    (size.is_finite() && size >= 0.0).then_some(size as u64)
}

/// The page's time and a random seed.
fn moment() -> Moment {
    let date = Date::new_0();
    let now = CivilTime {
        year: date.get_full_year() as i32,
        month: date.get_month() as u8 + 1,
        day: date.get_date() as u8,
        hour: date.get_hours() as u8,
        minute: date.get_minutes() as u8,
        second: date.get_seconds() as u8,
    };
    Moment { now, seed: (Math::random() * 2f64.powi(53)) as u64 }
}

/// Panics tell their message to the console before the trap.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|info| report(&info.to_string())));
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn report(message: &str);
}

#[wasm_bindgen]
extern "C" {
    /// `FileSystemSyncAccessHandle`, or what reads a file of the person's as that does.
    pub type SyncFile;

    /// Reads from `options.at` on; the number of bytes that were read.
    #[wasm_bindgen(method, catch)]
    fn read(this: &SyncFile, buffer: &mut [u8], options: &Object) -> Result<f64, JsValue>;
}

/// Which vector instructions this build uses.
#[wasm_bindgen]
pub fn simd() -> String {
    if cfg!(target_feature = "relaxed-simd") { "relaxed".into() } else { "simd128".into() }
}

/// Reads the headers of a model's parts.
#[wasm_bindgen]
pub struct HeaderReader {
    reader: Reader,
}

#[wasm_bindgen]
impl HeaderReader {
    /// A reader of part 0, of `file_size` bytes; NaN if that is not known.
    #[wasm_bindgen(constructor)]
    pub fn new(file_size: f64) -> HeaderReader {
        HeaderReader { reader: Reader::new(file_bytes(file_size)) }
    }

    /// Takes the next bytes; true when the header of the part is complete.
    pub fn feed(&mut self, bytes: &[u8]) -> JsResult<bool> {
        self.reader.feed(bytes).map_err(thrown)
    }

    /// The error of a file that ends before its header does.
    pub fn truncated(&self) -> JsValue {
        thrown(self.reader.truncated())
    }

    /// Parts of the model, once the first header is complete.
    #[wasm_bindgen(js_name = partCount)]
    pub fn part_count(&mut self) -> JsResult<u32> {
        self.reader.part_count().map(|count| count as u32).map_err(thrown)
    }

    /// Begins the next part.
    #[wasm_bindgen(js_name = nextPart)]
    pub fn next_part(&mut self, file_size: f64) -> JsResult<()> {
        self.reader.next_part(file_bytes(file_size)).map_err(thrown)
    }

    /// Bytes that the model would take of a 64-bit memory, if it is to stay in memory and this build's cannot hold
    /// it. All headers must be complete.
    pub fn outgrown(&mut self, options: &str) -> JsResult<Option<f64>> {
        let options = OpenOptions::from_json(options).map_err(thrown)?;
        self.reader.outgrown(&options).map(|bytes| bytes.map(|bytes| bytes as f64)).map_err(thrown)
    }

    /// What opening would take, as JSON: [`OpenPlan`](crate::engine::OpenPlan). Consumes the reader.
    pub fn plan(self, options: &str) -> JsResult<String> {
        let options = OpenOptions::from_json(options).map_err(thrown)?;
        self.reader.plan(&options).map(|plan| plan.to_string()).map_err(thrown)
    }

    /// What opening on a GPU would take, as JSON. Consumes the reader.
    #[cfg(feature = "gpu")]
    #[wasm_bindgen(js_name = planOn)]
    pub fn plan_on(self, device: &GpuDevice, options: &str) -> JsResult<String> {
        let options = OpenOptions::from_json(options).map_err(thrown)?;
        self.reader.plan_on(&device.device, &options).map(|plan| plan.to_string()).map_err(thrown)
    }

    /// Opens shard number `shard` of `shards` of a model that another core has opened. Consumes the
    /// reader.
    pub fn follow(self, options: &str, shard: usize, shards: usize) -> JsResult<Follower> {
        let options = OpenOptions::from_json(options).map_err(thrown)?;
        Ok(self.reader.follow(&options, shard, shards).map_err(thrown)?.into())
    }

    /// Opens the model. Consumes the reader.
    pub fn open(self, options: &str) -> JsResult<Engine> {
        let options = OpenOptions::from_json(options).map_err(thrown)?;
        Ok(self.reader.open(&options).map_err(thrown)?.into())
    }

    /// Opens the model on a GPU, or on the CPU if the device does not suit it. Consumes the reader and the
    /// device.
    #[cfg(feature = "gpu")]
    #[wasm_bindgen(js_name = openOn)]
    pub fn open_on(self, device: GpuDevice, options: &str) -> JsResult<Engine> {
        let options = OpenOptions::from_json(options).map_err(thrown)?;
        let core = self.reader.open_on(device.device, &options).map_err(thrown)?;
        Ok(core.into())
    }
}

/// A device of the browser's WebGPU.
#[cfg(feature = "gpu")]
#[wasm_bindgen]
pub struct GpuDevice {
    device: crate::gpu::Device,
}

#[cfg(feature = "gpu")]
#[wasm_bindgen]
impl GpuDevice {
    /// Opens the fastest adapter's device; undefined where there is none, or only one that computes on the
    /// CPU and `software` is false. `arithmetic` names what prompts are multiplied in (`f32`, `f16`, `int8`), if
    /// the device can; without it the `vendor` decides, as the browser names it. `subgroups`: the caller has
    /// browsers asked for them.
    pub async fn open(
        software: bool,
        arithmetic: Option<String>,
        subgroups: bool,
        vendor: Option<String>,
    ) -> Option<GpuDevice> {
        use crate::gpu::{DeviceOptions, Vendor, shaders::Arithmetic};
        let options = DeviceOptions {
            software,
            subgroups,
            arithmetic: arithmetic.as_deref().and_then(Arithmetic::from_name),
            vendor: vendor.as_deref().map(Vendor::from_name),
            ..DeviceOptions::default()
        };
        crate::gpu::Device::open(&options).await.map(|device| GpuDevice { device })
    }
}

/// The files in which parts are.
#[derive(Default)]
struct Files {
    /// The file of each part that has one.
    opened: RefCell<Vec<Option<SyncFile>>>,
    /// Bytes read from all files.
    bytes: Cell<f64>,
}

/// Reads bytes of the files of parts.
fn read_from(files: Rc<Files>) -> DiskReader {
    let (options, at) = (Object::new(), JsValue::from_str("at"));
    Rc::new(move |part, offset, bytes| {
        let opened = files.opened.borrow();
        let Some(Some(file)) = opened.get(usize::from(part)) else { return false };
        let wanted = bytes.len() as f64;
        files.bytes.set(files.bytes.get() + wanted);
        let is_set = Reflect::set(&options, &at, &(offset as f64).into());
        is_set.is_ok() && file.read(bytes, &options).is_ok_and(|count| count == wanted)
    })
}

/// An open model.
#[wasm_bindgen]
pub struct Engine {
    core: Core,
    files: Rc<Files>,
    #[cfg(all(feature = "selftest", feature = "gpu"))]
    logits: Vec<f32>,
}

impl From<Core> for Engine {
    fn from(mut core: Core) -> Engine {
        let files = Rc::<Files>::default();
        core.set_disk(read_from(files.clone()));
        Engine {
            core,
            files,
            #[cfg(all(feature = "selftest", feature = "gpu"))]
            logits: Vec::new(),
        }
    }
}

#[wasm_bindgen]
impl Engine {
    /// The model as JSON: [`ModelInfo`](crate::engine::ModelInfo).
    pub fn info(&self) -> String {
        self.core.info().to_string()
    }

    /// The next range to fetch: [part, offset, length, group, and 1 if its bytes stay on disk].
    pub fn want(&mut self) -> JsResult<Option<Float64Array>> {
        let range = self.core.want().map_err(thrown)?;
        Ok(range.map(|r| {
            let on_disk = f64::from(u8::from(self.core.placement(r.group).reads_disk()));
            Float64Array::from(
                [f64::from(r.part), r.offset as f64, r.length as f64, r.group as f64, on_disk].as_slice(),
            )
        }))
    }

    /// The next few bytes that the running request waits for, to be fetched at once and by themselves: [part,
    /// offset, length].
    #[wasm_bindgen(js_name = wantEarly)]
    pub fn want_early(&mut self) -> Option<Float64Array> {
        let range = self.core.want_early()?;
        Some(Float64Array::from([f64::from(range.part), range.offset as f64, range.length as f64].as_slice()))
    }

    /// Bytes that were wanted early and did not come are wanted again.
    #[wasm_bindgen(js_name = refetchEarly)]
    pub fn refetch_early(&mut self, part: u16, offset: f64, length: f64) {
        self.core.refetch_early(SourceRange { group: 0, part, offset: offset as u64, length: length as u64 });
    }

    /// A wanted range that did not come is wanted again.
    pub fn refetch(&mut self, part: u16, offset: f64, length: f64, group: usize) {
        self.core.refetch(SourceRange { group, part, offset: offset as u64, length: length as u64 });
    }

    /// Takes a piece of the source. Its bytes are copied once, to where the weights lie.
    pub fn supply(&mut self, part: u16, offset: f64, bytes: &Uint8Array) {
        let copied: Result<(), Infallible> =
            self.core.supply(part, offset as u64, bytes.length() as usize, |range, destination| {
                bytes.subarray(range.start as u32, range.end as u32).copy_to(destination);
                Ok(())
            });
        match copied {
            Ok(()) => {}
        }
    }

    /// Where the bytes of each group lie, as often as four numbers: group, part, offset, length.
    pub fn ranges(&self) -> Vec<f64> {
        let numbers = |r: SourceRange| [r.group as f64, f64::from(r.part), r.offset as f64, r.length as f64];
        self.core.ranges().flat_map(numbers).collect()
    }

    /// Lets weights be read from a part that is on disk, once [`Engine::supply_from_disk`] is told of them.
    #[wasm_bindgen(js_name = setFile)]
    pub fn set_file(&mut self, part: u16, file: SyncFile) {
        let mut files = self.files.opened.borrow_mut();
        let length = files.len().max(usize::from(part) + 1);
        files.resize_with(length, || None);
        files[usize::from(part)] = Some(file);
    }

    /// A wanted range is in the part's file and was verified. False if it could not be read.
    #[wasm_bindgen(js_name = supplyFromDisk)]
    pub fn supply_from_disk(&mut self, part: u16, offset: f64, length: f64, group: usize) -> bool {
        self.core.supply_from_disk(&SourceRange { group, part, offset: offset as u64, length: length as u64 })
    }

    /// Tells how the passes since the last call went, in milliseconds: from asking for bytes to the first of
    /// them at best, while `bytes` were on their way, and while the core computed one pass.
    pub fn measured(&mut self, latency: f64, bytes: f64, transfer: f64, compute: f64) {
        let compute = compute / self.core.groups().count() as f64;
        self.core.measured(&Pace { latency, per_byte: transfer / bytes.max(1.0), compute });
    }

    /// Bytes read from files.
    #[wasm_bindgen(js_name = diskBytes)]
    pub fn disk_bytes(&self) -> f64 {
        self.files.bytes.get()
    }

    /// Goes on without files; refused if the ceiling does not allow that.
    #[wasm_bindgen(js_name = leaveDisk)]
    pub fn leave_disk(&mut self) -> JsResult<()> {
        self.files.opened.borrow_mut().clear();
        self.core.leave_disk().map_err(thrown)
    }

    /// The state of each group, as its number in [`GroupState::ALL`](crate::engine::GroupState::ALL).
    pub fn groups(&self) -> Vec<u8> {
        self.core.group_states().map(|state| state as u8).collect()
    }

    /// Threads that compute: this one, and others that are to be opened by [`HeaderReader::follow`].
    pub fn threads(&self) -> usize {
        self.core.threads()
    }

    /// Values of the largest slice that a thread hands to another.
    #[wasm_bindgen(js_name = sliceValues)]
    pub fn slice_values(&self) -> usize {
        self.core.slice_values()
    }

    /// Sets the way to the other threads.
    #[wasm_bindgen(js_name = setPeers)]
    pub fn set_peers(&mut self, peers: JsPeers) {
        self.core.set_peers(Box::new(peers));
    }

    /// Which bytes of a piece of the source thread number `shard` needs: start and end of each run.
    pub fn deliveries(&self, shard: usize, part: u16, offset: f64, length: usize) -> Vec<u32> {
        let needed = self.core.deliveries(shard, part, offset as u64, length);
        needed.into_iter().flat_map(|range| [range.start as u32, range.end as u32]).collect()
    }

    /// Goes on where another thread's slice was not there; true when there is nothing more to wait for.
    #[wasm_bindgen(js_name = goOn)]
    pub fn go_on(&mut self) -> bool {
        self.core.go_on()
    }

    /// Goes on without the other threads: weights are wanted again, and the running request continues.
    #[wasm_bindgen(js_name = leaveTeam)]
    pub fn leave_team(&mut self) -> JsResult<()> {
        self.core.attach_cpu().map_err(thrown)
    }

    /// Sets what is called when a device has computed what a step that came to `device` waits for.
    #[cfg(feature = "gpu")]
    #[wasm_bindgen(js_name = setWake)]
    pub fn set_wake(&mut self, wake: js_sys::Function) {
        self.core.set_wake(Some(std::rc::Rc::new(move || {
            // What the callback throws is its own affair.
            let _ = wake.call0(&JsValue::UNDEFINED);
        })));
    }

    /// Goes on with another device after a step came to `lost`: weights are wanted again, and the running
    /// request continues. Without a device, with the CPU.
    #[cfg(feature = "gpu")]
    pub fn attach(&mut self, device: Option<GpuDevice>) -> JsResult<()> {
        match device {
            Some(device) => self.core.attach(device.device),
            None => self.core.attach_cpu(),
        }
        .map_err(thrown)
    }

    /// Text to token ids.
    pub fn tokenize(&self, text: &str, add_special: bool, parse_special: bool) -> JsResult<Vec<u32>> {
        self.core.tokenizer().encode(text, EncodeOptions { add_special, parse_special }).map_err(thrown)
    }

    /// Token ids to text.
    pub fn detokenize(&self, tokens: &[u32]) -> JsResult<String> {
        self.core.tokenizer().decode(tokens).map_err(thrown)
    }

    /// The prompt's text of a chat given as JSON.
    #[wasm_bindgen(js_name = applyChatTemplate)]
    pub fn apply_chat_template(&self, chat: &str) -> JsResult<String> {
        self.core.apply_chat_template(chat, moment().now).map_err(thrown)
    }

    /// Tokens of a JSON string or of a JSON array of messages.
    #[wasm_bindgen(js_name = countTokens)]
    pub fn count_tokens(&self, input: &str) -> JsResult<usize> {
        self.core.count_tokens(input, moment().now).map_err(thrown)
    }

    /// Memory and layer statistics as JSON: [`Stats`](crate::engine::Stats).
    pub fn stats(&self) -> String {
        self.core.stats().to_string()
    }

    /// The logits at every position of a sequence, for tests, on the CPU.
    #[cfg(feature = "selftest")]
    pub fn logits(&mut self, tokens: &[u32]) -> JsResult<Vec<f32>> {
        self.core.logits(tokens).map_err(thrown)
    }

    /// Begins to compute them, for [`Engine::step_logits`].
    #[cfg(all(feature = "selftest", feature = "gpu"))]
    #[wasm_bindgen(js_name = beginLogits)]
    pub fn begin_logits(&mut self, tokens: &[u32]) -> JsResult<()> {
        self.logits.clear();
        self.core.begin_logits(tokens).map_err(thrown)
    }

    /// The logits at every position once they are all there; undefined before.
    #[cfg(all(feature = "selftest", feature = "gpu"))]
    #[wasm_bindgen(js_name = stepLogits)]
    pub fn step_logits(&mut self) -> JsResult<Option<Vec<f32>>> {
        let done = self.core.step_logits(&mut self.logits).map_err(thrown)?;
        Ok(done.then(|| std::mem::take(&mut self.logits)))
    }
}
