// Writes small Llama models with seeded random weights, so that tests of loading and of the API need
// no file. Their text means nothing, but every token of it comes through the real path.

const TYPE = { u32: 4, f32: 6, bool: 7, string: 8, array: 9, i32: 5, u16: 2 };
const ALIGNMENT = 32;

/** Control tokens of the chat template; ids follow the byte tokens. */
export const CONTROL = ['<|start|>', '<|end|>'];

const TEMPLATE = "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}";

/**
 * The bytes of a model. With `parts` above 1: the files of the split model, the tensors spread evenly.
 * `metadata` adds or replaces entries `[name, type, value]`; undefined values remove them. `says`: pieces that the model
 * writes behind a line feed, one after the other, before it ends; each is a token of its own, a control token if it stands
 * in a list. `added`: what is added to tensors, as `tinyAdapter` gives it, and how often. With `experts` each layer has so
 * many, of which a token uses two.
 */
export function tinyModel({ layers = 2, width = 64, feedForward = 128, experts = 0, context = 256, parts = 1, seed = 1, metadata = [], says, added = [] } = {}) {
  const tokens = [...vocabulary(), ...(says ?? []).map((piece) => (Array.isArray(piece) ? { text: piece[0], score: 0, type: 3 } : { text: piece, score: 0, type: 4 }))];
  const entries = new Map([
    ['general.architecture', TYPE.string, 'llama'],
    ['general.name', TYPE.string, 'tiny random'],
    ['llama.block_count', TYPE.u32, layers],
    ['llama.context_length', TYPE.u32, context],
    ['llama.embedding_length', TYPE.u32, width],
    ['llama.feed_forward_length', TYPE.u32, feedForward],
    ...experts > 0 ? [['llama.expert_count', TYPE.u32, experts], ['llama.expert_used_count', TYPE.u32, 2]] : [],
    ['llama.attention.head_count', TYPE.u32, 4],
    ['llama.attention.head_count_kv', TYPE.u32, 2],
    ['llama.attention.layer_norm_rms_epsilon', TYPE.f32, 1e-5],
    ['llama.rope.dimension_count', TYPE.u32, width / 4],
    ['tokenizer.ggml.model', TYPE.string, 'llama'],
    ['tokenizer.ggml.tokens', TYPE.array, [TYPE.string, tokens.map(({ text }) => text)]],
    ['tokenizer.ggml.scores', TYPE.array, [TYPE.f32, tokens.map(({ score }) => score)]],
    ['tokenizer.ggml.token_type', TYPE.array, [TYPE.i32, tokens.map(({ type }) => type)]],
    ['tokenizer.ggml.bos_token_id', TYPE.u32, 1],
    ['tokenizer.ggml.eos_token_id', TYPE.u32, 2],
    ['tokenizer.ggml.unknown_token_id', TYPE.u32, 0],
    ['tokenizer.ggml.add_bos_token', TYPE.bool, true],
    ['tokenizer.chat_template', TYPE.string, TEMPLATE],
    ...metadata,
  ].map(([name, ...value]) => [name, value]));
  for (const [name, [, value]] of entries) if (value === undefined) entries.delete(name);
  const tensors = tensorList(layers, width, feedForward, tokens.length, experts);
  if (says) recite(tensors, width, says.length);
  const random = generator(seed);
  for (const tensor of tensors) tensor.data = tensor.fill(random);
  for (const [changes, scale] of added) {
    for (const { name, data } of tensors) changes.get(name)?.forEach((value, index) => { data[index] += scale * value; });
  }
  if (parts === 1) return file(entries, tensors);
  const share = Math.ceil(tensors.length / parts);
  return Array.from({ length: parts }, (_, part) => {
    const split = new Map([
      ['split.no', [TYPE.u16, part]], ['split.count', [TYPE.u16, parts]], ['split.tensors.count', [TYPE.i32, tensors.length]],
    ]);
    const own = part === 0 ? new Map([...entries, ...split]) : split;
    return file(own, tensors.slice(part * share, (part + 1) * share));
  });
}

/** A LoRA adapter for such a model: the bytes of its file, and what it adds to which tensor. */
export function tinyAdapter({ layers = 2, width = 64, feedForward = 128, rank = 4, alpha = 8, seed = 1, architecture = 'llama' } = {}) {
  const entries = new Map([
    ['general.type', [TYPE.string, 'adapter']], ['general.architecture', [TYPE.string, architecture]], ['general.name', [TYPE.string, `adapter ${seed}`]],
    ['adapter.type', [TYPE.string, 'lora']], ['adapter.lora.alpha', [TYPE.f32, alpha]],
  ]);
  const random = generator(seed);
  const changes = new Map();
  const matrices = tensorList(layers, width, feedForward, VOCABULARY_SIZE).filter(({ name, shape }) => shape.length === 2 && name !== 'token_embd.weight');
  const tensors = matrices.flatMap(({ name, shape: [columns, rows] }) => {
    const a = uniform(random, columns * rank, 0.15);
    const b = uniform(random, rank * rows, 0.15);
    changes.set(name, Float32Array.from({ length: rows * columns }, (_, at) => {
      let sum = 0;
      for (let r = 0; r < rank; r += 1) sum += b[Math.floor(at / columns) * rank + r] * a[r * columns + at % columns];
      return sum * alpha / rank;
    }));
    return [{ name: `${name}.lora_a`, shape: [columns, rank], data: a }, { name: `${name}.lora_b`, shape: [rank, rows], data: b }];
  });
  return { file: file(entries, tensors), changes };
}

/** The bytes of a small BERT, whose words are of one letter but for some: an encoder, or with `ranks` a reranker. */
export function tinyEncoder({ layers = 2, width = 64, feedForward = 128, context = 64, seed = 1, ranks = false } = {}) {
  const letters = [...'abcdefghijklmnopqrstuvwxyz'].flatMap((letter) => [`\u2581${letter}`, letter]);
  const tokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', ...letters, '\u2581hello', '\u2581the', '\u2581?'];
  const kinds = tokens.map((_, id) => (id < 5 ? 3 : 1));
  const entries = new Map([
    ['general.architecture', TYPE.string, 'bert'],
    ['general.name', TYPE.string, 'tiny encoder'],
    ['bert.block_count', TYPE.u32, layers],
    ['bert.context_length', TYPE.u32, context],
    ['bert.embedding_length', TYPE.u32, width],
    ['bert.feed_forward_length', TYPE.u32, feedForward],
    ['bert.attention.head_count', TYPE.u32, 4],
    ['bert.attention.layer_norm_epsilon', TYPE.f32, 1e-12],
    ['bert.pooling_type', TYPE.u32, ranks ? 4 : 1],
    ['tokenizer.ggml.model', TYPE.string, 'bert'],
    ['tokenizer.ggml.tokens', TYPE.array, [TYPE.string, tokens]],
    ['tokenizer.ggml.token_type', TYPE.array, [TYPE.i32, kinds]],
    ['tokenizer.ggml.bos_token_id', TYPE.u32, 2],
    ['tokenizer.ggml.seperator_token_id', TYPE.u32, 3],
    ['tokenizer.ggml.unknown_token_id', TYPE.u32, 1],
  ].map(([name, ...value]) => [name, value]));
  const matrix = (name, columns, rows) => ({ name: `${name}.weight`, shape: [columns, rows], fill: (random) => uniform(random, columns * rows, Math.sqrt(3 / columns)) });
  const vector = (name, length, mean = 0) => ({ name, shape: [length], fill: (random) => uniform(random, length, 0.2).map((value) => value + mean) });
  const linear = (name, columns, rows) => [matrix(name, columns, rows), vector(`${name}.bias`, rows)];
  const norm = (name) => [vector(`${name}.weight`, width, 1), vector(`${name}.bias`, width)];
  const layer = (_, number) => [
    ...['attn_q', 'attn_k', 'attn_v', 'attn_output'].flatMap((name) => linear(`blk.${number}.${name}`, width, width)),
    ...norm(`blk.${number}.attn_output_norm`),
    ...linear(`blk.${number}.ffn_up`, width, feedForward),
    ...linear(`blk.${number}.ffn_down`, feedForward, width),
    ...norm(`blk.${number}.layer_output_norm`),
  ];
  const tensors = [
    matrix('token_embd', width, tokens.length), matrix('token_types', width, 2), matrix('position_embd', width, context), ...norm('token_embd_norm'),
    ...Array.from({ length: layers }, layer).flat(),
    ...ranks ? [...linear('cls', width, width), ...linear('cls.output', width, 1)] : [],
  ];
  const random = generator(seed);
  for (const tensor of tensors) tensor.data = tensor.fill(random);
  return file(entries, tensors);
}

/** Tokens of every such model. */
export const VOCABULARY_SIZE = vocabulary().length;

/** Byte tokens, printable characters and a few words, after the special tokens. */
function vocabulary() {
  const normal = 1, unknown = 2, control = 3, byte = 6;
  const tokens = [
    { text: '<unk>', score: 0, type: unknown }, { text: '<s>', score: 0, type: control }, { text: '</s>', score: 0, type: control },
  ];
  for (let value = 0; value < 256; value += 1) {
    tokens.push({ text: `<0x${value.toString(16).toUpperCase().padStart(2, '0')}>`, score: 0, type: byte });
  }
  for (const text of CONTROL) tokens.push({ text, score: 0, type: control });
  const words = ['\u2581', ...'abcdefghijklmnopqrstuvwxyz.,!?', '\u2581a', 'th', '\u2581th', '\u2581the', 'he', 'll', 'lo', 'hello', '\u2581hello'];
  words.forEach((text, index) => tokens.push({ text, score: -1 - index, type: normal }));
  return tokens;
}

/**
 * Lets every token be followed by the next of the last `count` tokens, the first of them by a line feed's: each has a
 * dimension of its own, which the head turns into its successor, and the layers add nothing.
 */
function recite(tensors, width, count) {
  if (count >= width) throw new Error(`${count} pieces need a width above that`);
  const [lineFeed, end, first] = [3 + 10, 2, VOCABULARY_SIZE];
  const chain = [lineFeed, ...Array.from({ length: count }, (_, index) => first + index), end];
  const unit = (tokenAt, scale, size) => {
    const table = new Float32Array(size);
    for (let index = 0; index <= count; index += 1) table[chain[index + tokenAt] * width + index] = scale;
    return table;
  };
  for (const tensor of tensors) {
    const size = tensor.shape.reduce((product, dimension) => product * dimension, 1);
    if (/attn_output|ffn_down/.test(tensor.name)) tensor.fill = () => new Float32Array(size);
    if (tensor.name === 'token_embd.weight') tensor.fill = () => unit(0, 1, size);
    if (tensor.name === 'output.weight') tensor.fill = () => unit(1, 10, size);
  }
}

function tensorList(layers, width, feedForward, vocabularySize, experts = 0) {
  const matrix = (name, columns, rows) => ({ name, shape: [columns, rows], fill: (random) => uniform(random, columns * rows, Math.sqrt(3 / columns)) });
  const stack = (name, columns, rows) => ({ ...matrix(name, columns, rows * experts), shape: [columns, rows, experts] });
  const norm = (name) => ({ name, shape: [width], fill: () => new Float32Array(width).fill(1) });
  const feed = (prefix) => (experts === 0 ? [
    matrix(`${prefix}.ffn_gate.weight`, width, feedForward),
    matrix(`${prefix}.ffn_up.weight`, width, feedForward),
    matrix(`${prefix}.ffn_down.weight`, feedForward, width),
  ] : [
    matrix(`${prefix}.ffn_gate_inp.weight`, width, experts),
    stack(`${prefix}.ffn_gate_exps.weight`, width, feedForward),
    stack(`${prefix}.ffn_up_exps.weight`, width, feedForward),
    stack(`${prefix}.ffn_down_exps.weight`, feedForward, width),
  ]);
  const keyWidth = width / 2;
  const layer = (number) => {
    const prefix = `blk.${number}`;
    return [
      norm(`${prefix}.attn_norm.weight`),
      matrix(`${prefix}.attn_q.weight`, width, width),
      matrix(`${prefix}.attn_k.weight`, width, keyWidth),
      matrix(`${prefix}.attn_v.weight`, width, keyWidth),
      matrix(`${prefix}.attn_output.weight`, width, width),
      norm(`${prefix}.ffn_norm.weight`),
      ...feed(prefix),
    ];
  };
  return [
    matrix('token_embd.weight', width, vocabularySize),
    ...Array.from({ length: layers }, (_, number) => layer(number)).flat(),
    norm('output_norm.weight'),
    matrix('output.weight', width, vocabularySize),
  ];
}

/** A linear congruential generator: numbers from -1 to 1. */
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

function uniform(random, count, scale) {
  return Float32Array.from({ length: count }, () => random() * scale);
}

function file(entries, tensors) {
  const writer = new Writer();
  writer.bytes(Buffer.from('GGUF')).u32(3).u64(tensors.length).u64(entries.size);
  for (const [name, [type, value]] of entries) writer.string(name).u32(type).value(type, value);
  let offset = 0;
  for (const { name, shape, data } of tensors) {
    writer.string(name).u32(shape.length);
    for (const dimension of shape) writer.u64(dimension);
    writer.u32(0).u64(offset);
    offset = align(offset + data.byteLength);
  }
  const header = writer.finish();
  const chunks = [header, Buffer.alloc(align(header.length) - header.length)];
  for (const { data } of tensors) {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    chunks.push(bytes, Buffer.alloc(align(bytes.length) - bytes.length));
  }
  return Buffer.concat(chunks);
}

function align(offset) {
  return Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
}

class Writer {
  #chunks = [];

  bytes(buffer) {
    this.#chunks.push(buffer);
    return this;
  }

  u32(value) {
    const buffer = Buffer.alloc(4);
    buffer.writeUInt32LE(value >>> 0);
    return this.bytes(buffer);
  }

  u64(value) {
    const buffer = Buffer.alloc(8);
    buffer.writeBigUInt64LE(BigInt(value));
    return this.bytes(buffer);
  }

  string(text) {
    const bytes = Buffer.from(text);
    return this.u64(bytes.length).bytes(bytes);
  }

  value(type, value) {
    switch (type) {
      case TYPE.u16: return this.bytes(Buffer.from([value & 255, value >> 8]));
      case TYPE.u32: case TYPE.i32: return this.u32(value);
      case TYPE.f32: return this.bytes(Buffer.from(Float32Array.of(value).buffer));
      case TYPE.bool: return this.bytes(Buffer.from([value ? 1 : 0]));
      case TYPE.string: return this.string(value);
      case TYPE.array: {
        const [inner, items] = value;
        this.u32(inner).u64(items.length);
        for (const item of items) this.value(inner, item);
        return this;
      }
      default: throw new Error(`no value type ${type}`);
    }
  }

  finish() {
    return Buffer.concat(this.#chunks);
  }
}
