// What a token costs that is held to a grammar: the module that reads grammars, with the vocabulary of a model, in Node.
//
//   cargo xtask bench masks --model FILE.gguf
//
// Texts are random: each token is drawn evenly from those that are allowed, so that grammars are seen in every state.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { join } from 'node:path';
import { root } from '../support/browser.mjs';

const { values: { model, tokens: wanted } } = parseArgs({ options: { model: { type: 'string' }, tokens: { type: 'string', default: '400' } } });
if (model === undefined) throw new Error('which model? --model FILE.gguf');

/** The texts of a GGUF file's tokens, and their kinds. */
function vocabulary(file) {
  const bytes = readFileSync(file);
  let at = 8;
  const u32 = () => bytes.readUInt32LE((at += 4) - 4);
  const u64 = () => Number(bytes.readBigUInt64LE((at += 8) - 8));
  const text = () => { const length = u64(); return bytes.toString('utf8', at, at += length); };
  const sizes = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
  const value = (type) => {
    if (type === 8) return text();
    if (type === 9) { const inner = u32(); return Array.from({ length: u64() }, () => value(inner)); }
    const size = sizes[type];
    at += size;
    return size === 4 ? bytes.readUInt32LE(at - 4) : undefined;
  };
  u64();
  const pairs = u64();
  const found = {};
  for (let pair = 0; pair < pairs; pair++) { const key = text(); found[key] = value(u32()); }
  return { texts: found['tokenizer.ggml.tokens'], kinds: found['tokenizer.ggml.token_type'], end: found['tokenizer.ggml.eos_token_id'], kind: found['tokenizer.ggml.model'] };
}

/** Bytes by GPT-2's characters for them. */
function byteOf() {
  const plain = [[33, 126], [161, 172], [174, 255]];
  const map = new Map();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const isPlain = plain.some(([from, to]) => byte >= from && byte <= to);
    map.set(String.fromCodePoint(isPlain ? byte : next++), byte);
  }
  return map;
}

function pieces({ texts, kinds, kind }) {
  const bytes = byteOf();
  return texts.map((text, id) => {
    if (kinds?.[id] === 3 || kinds?.[id] === 2) return new Uint8Array();
    if (kind === 'gpt2') return Uint8Array.from([...text].map((char) => bytes.get(char)).filter((byte) => byte !== undefined));
    const single = /^<0x([0-9A-F]{2})>$/.exec(text);
    return single ? Uint8Array.of(parseInt(single[1], 16)) : new TextEncoder().encode(text.replaceAll('\u2581', ' '));
  });
}

const words = vocabulary(model);
const tokens = pieces(words);
const started = performance.now();
const compiled = await WebAssembly.compile(readFileSync(join(root, 'pkg/wasm/chord-constrain.wasm')));
const { exports: module } = await WebAssembly.instantiate(compiled, { env: { now: () => performance.now() } });
const write = (bytes) => {
  // Memory that grows has another buffer.
  const address = module.reserve(bytes.length);
  new Uint8Array(module.memory.buffer, address, bytes.length).set(bytes);
};
const told = () => new TextDecoder().decode(new Uint8Array(module.memory.buffer, module.address(), module.length()));
const checked = (number) => { if (number < 0) throw new Error(told()); return number; };

const compiledMs = performance.now() - started;
const numbers = Uint32Array.from([[tokens.length, 1, words.end], tokens.map(({ length }) => length)].flat());
write(Buffer.concat([Buffer.from(numbers.buffer), ...tokens]));
const before = performance.now();
checked(module.vocabulary());
console.log(`${tokens.length} tokens: ${compiledMs.toFixed(0)} ms to compile the module, ${(performance.now() - before).toFixed(0)} ms for the vocabulary, ${(module.memory.buffer.byteLength / 1e6).toFixed(0)} MB`);

const person = {
  type: 'object',
  properties: { name: { type: 'string' }, age: { type: 'integer', minimum: 0 }, tags: { type: 'array', items: { enum: ['a', 'b', 'cd'] } }, more: { type: 'object' } },
  required: ['name', 'age', 'tags', 'more'],
};
const json = `root ::= object
value ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\\"" ( [^"\\\\\\x7F\\x00-\\x1F] | "\\\\" (["\\\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\\n" [ \\t]{0,20}`;
const grammars = {
  'schema': { json_schema: person },
  'any object': { json_object: {} },
  'regex': { regex: '[A-Z][a-z]+( [A-Z][a-z]+)*, [0-9]{1,3}\\.' },
  'GBNF without recursion': { grammar: 'root ::= "The " ("fox" | "dog") " " [a-z ]+ "."' },
  'GBNF of JSON': { grammar: json },
};

let state = 1;
const random = (below) => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor(state / 2 ** 32 * below);
};
const length = Math.ceil(tokens.length / 32);

for (const [name, grammar] of Object.entries(grammars)) {
  write(new TextEncoder().encode(JSON.stringify(grammar)));
  const begin = performance.now();
  const number = checked(module.compile());
  const compileMs = performance.now() - begin;
  const masks = [];
  const commits = [];
  while (masks.length < Number(wanted)) {
    const start = performance.now();
    const mask = module.mask(number);
    masks.push(performance.now() - start);
    if (mask < 0) { console.log(`${name}: ${told()}`); break; }
    const allowed = [];
    new Uint32Array(module.memory.buffer, mask, length).forEach((word, at) => {
      for (let bit = 0; word !== 0 && bit < 32; bit++) if (word >>> bit & 1) allowed.push(at * 32 + bit);
    });
    const token = allowed[random(allowed.length)];
    const commit = performance.now();
    const isComplete = token === words.end || checked(module.commit(number, token)) === 1;
    commits.push(performance.now() - commit);
    if (isComplete) module.restart(number);
  }
  const share = (list, part) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * part))]?.toFixed(2);
  console.log(`${name}: compiled in ${compileMs.toFixed(0)} ms; a mask ${share(masks, 0.5)} ms, p99 ${share(masks, 0.99)}, first ${masks[0]?.toFixed(1)}; a token ${share(commits, 0.5)} ms, p99 ${share(commits, 0.99)}; ${(module.memory.buffer.byteLength / 1e6).toFixed(0)} MB`);
  module.release(number);
}
