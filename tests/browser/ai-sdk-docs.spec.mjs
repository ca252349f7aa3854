// The examples of the AI SDK's documentation, which its package brings along, run as they are printed: only the model is the
// page's. Each is named by its page and what it is about.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { transform } from 'esbuild';
import { asker, speaker } from '../support/talking-models.mjs';
import { bundled, openStage, root } from './support.mjs';

const CONTEXT = 2048;
const sdk = await bundled(`
  export * from 'ai';
  export { createOpenAICompatible } from '@ai-sdk/openai-compatible';
  export { z } from 'zod';`);
const docs = join(root, 'node_modules/ai/docs');

const HELLO = 'Hello there.';
const RECIPE = { name: 'Lasagna', ingredients: [{ name: 'flour', amount: '200 g' }], steps: ['Mix.', 'Bake.'] };
const WEATHER = { location: 'San Francisco' };
const weatherAsker = asker('weather', WEATHER, 'It is mild.', CONTEXT);
const speaks = (value) => speaker(typeof value === 'string' ? value : JSON.stringify(value), CONTEXT);

const TEXT = '03-ai-sdk-core/05-generating-text';
const DATA = '03-ai-sdk-core/10-generating-structured-data';
const TOOLS = '03-ai-sdk-core/15-tools-and-tool-calling';
const SETTINGS = '03-ai-sdk-core/25-settings';
const EMBEDDINGS = '03-ai-sdk-core/30-embeddings';
const MIDDLEWARE = '03-ai-sdk-core/40-middleware';
const ERRORS = '03-ai-sdk-core/50-error-handling';
const AGENTS = '03-agents/02-building-agents';
const DIRECT = '04-ai-sdk-ui/21-transport';

/**
 * By page: what an example is about, a pattern that only its code has, the model that is asked, an expression for what it has
 * come to, and what that is. `before` is what the page takes for granted, `behind` what it leaves to the reader.
 */
const EXAMPLES = [
  [TEXT, 'a text', /const \{ text \} = await generateText\(\{\s+model: __MODEL__,\s+prompt: 'Write a veg/, speaks(HELLO), 'text', HELLO],
  [TEXT, 'a text by a system message', /professional writer/, speaks(HELLO), 'text', HELLO, { before: "const article = 'Foxes live in dens.';" }],
  [TEXT, 'a callback at the end', /generateText\(\{\s+model: __MODEL__,\s+prompt: 'Invent[^}]*onFinish/s, speaks(HELLO), 'result.text', HELLO],
  [TEXT, 'callbacks of the life cycle', /Generation started/, speaks(HELLO), 'lines.length', 3],
  [TEXT, 'a stream of text', /example: use textStream/, speaks(HELLO), "lines.join('')", HELLO],
  [TEXT, 'a callback for errors of a stream', /streamText.*your error logging logic/s, speaks(HELLO), 'await result.text', HELLO],
  [TEXT, 'a callback for each chunk', /implement your own logic here/, speaks(HELLO), 'await result.text', HELLO],
  [TEXT, 'a callback at the end of a stream', /streamText\(\{\s+model: __MODEL__,\s+prompt: 'Invent[^}]*onFinish/s, speaks(HELLO), 'await result.text', HELLO],
  [TEXT, 'callbacks of the life cycle of a stream', /Streaming started/, speaks(HELLO), '(await result.text, lines.length)', 3],
  [TEXT, 'all parts of a stream', /handle start of stream/, asker('cityAttractions', { city: 'San Francisco' }, HELLO, CONTEXT), '(await result.toolResults)[0].output.attractions.length', 3],
  [TEXT, 'smoothed text', /smoothStream\(\)/, speaks(HELLO), 'await result.text', HELLO, { before: "const prompt = 'a';" }],

  [DATA, 'an object', /generateText.*'Generate a lasagna recipe.'/s, speaks({ recipe: RECIPE }), 'output', { recipe: RECIPE }, { first: true }],
  [DATA, 'a stream of an object', /partialOutputStream/, speaks({ recipe: RECIPE }), 'JSON.parse(lines.at(-1))', { recipe: RECIPE }, { first: true }],
  [DATA, 'a callback for errors', /error tracking service/, speaks(RECIPE), 'await result.output', RECIPE, { before: "const schema = z.any(), prompt = 'a';", fill: 'model, prompt,' }],
  [DATA, 'text', /Output\.text\(\)/, speaks(HELLO), 'output', HELLO, { fill: 'model,' }],
  [DATA, 'a typed object', /information for a test user/, speaks({ name: 'Ada', age: null, labels: ['a'] }), 'output', { name: 'Ada', age: null, labels: ['a'] }, { fill: 'model,' }],
  [DATA, 'an array', /List the weather/, speaks({ elements: [{ location: 'Paris', temperature: 65, condition: 'Cloudy' }] }), 'output', [{ location: 'Paris', temperature: 65, condition: 'Cloudy' }], { fill: 'model,' }],
  [DATA, 'a stream of elements', /elementStream/, speaks({ elements: [{ name: 'a', class: 'b', description: 'c' }] }), 'JSON.parse(lines[0])', { name: 'a', class: 'b', description: 'c' }, { fill: 'model,' }],
  [DATA, 'a choice', /Output\.choice/, speaks({ result: 'rainy' }), 'output', 'rainy', { fill: 'model,' }],
  [DATA, 'any JSON', /Output\.json/, speaks({ Paris: { temperature: 65 } }), 'output', { Paris: { temperature: 65 } }, { fill: 'model,' }],
  [DATA, 'described properties', /The amount of the ingredient/, speaks(RECIPE), 'output', RECIPE],
  [DATA, 'a named schema', /A recipe for a dish/, speaks(RECIPE), 'output', RECIPE],
  [DATA, 'errors of objects', /NoOutputGeneratedError\.isInstance/, speaks('no JSON'), 'lines.length > 0', true, { before: "const schema = z.object({ a: z.string() }), prompt = 'a';" }],

  [TOOLS, 'a loop of steps', /stop after a maximum/, weatherAsker, '[text, steps.length, steps[0].toolResults[0].output.location]', ['It is mild.', 2, 'San Francisco']],
  [TOOLS, 'a tool', /^import \{ z \}.*stopWhen: stepCountIs\(5\),\s+prompt/s, weatherAsker, 'result.text', 'It is mild.', { first: true }],
  // What is forced comes in tokens that this model was not made for: its place is any text.
  [TOOLS, 'a required call', /force the model to call a tool/, weatherAsker, '[result.toolCalls[0].toolName, typeof result.toolResults[0].output.location]', ['weather', 'string']],
  [TOOLS, 'callbacks of a tool’s input', /Received input chunk/, asker('getWeather', WEATHER, HELLO, CONTEXT), "(await result.steps, [lines[0], lines.at(-1).includes('San Francisco')])", ['Tool call starting', true]],
  [TOOLS, 'typed calls', /Greets the user/, asker('firstTool', { name: 'Ada' }, HELLO, CONTEXT), "(await generateSomething('a')).toolResults[0].output", 'Hello, Ada!'],
  [TOOLS, 'messages that go on', /add the response messages to your conversation history/, speaks(HELLO), 'messages.at(-1).content[0].text', HELLO, { fill: "{ role: 'user', content: 'a' }", fills: ['model,'] }],

  [SETTINGS, 'limits and temperature', /maxRetries: 5/, speaks(HELLO), 'result.text', HELLO],
  [SETTINGS, 'a signal', /abortSignal: AbortSignal\.timeout/, speaks(HELLO), 'result.text', HELLO],
  [SETTINGS, 'a time limit', /timeout: 5000, \/\/ 5 s/, speaks(HELLO), 'result.text', HELLO],
  [SETTINGS, 'a time limit of all', /timeout: \{ totalMs: 5000/, speaks(HELLO), 'result.text', HELLO],
  [SETTINGS, 'a time limit of a step', /timeout: \{ stepMs/, speaks(HELLO), 'result.text', HELLO],
  [SETTINGS, 'a time limit of a chunk', /chunkMs: 5000/, speaks(HELLO), 'await result.text', HELLO],
  [SETTINGS, 'headers', /my-prompt-id/, speaks(HELLO), 'result.text', HELLO],

  [EMBEDDINGS, 'one', /single embedding object/, speaks(HELLO), 'embedding.length', 64],
  [EMBEDDINGS, 'several', /array of embedding objects/, speaks(HELLO), 'embeddings.map(({ length }) => length)', [64, 64, 64]],
  [EMBEDDINGS, 'their similarity', /cosineSimilarity/, speaks(HELLO), "lines[0].startsWith('cosine similarity: ')", true],
  [EMBEDDINGS, 'usage', /console\.log\(usage\)/, speaks(HELLO), 'usage.tokens > 0', true],
  [EMBEDDINGS, 'in parallel', /maxParallelCalls/, speaks(HELLO), 'embeddings.length', 3],
  [EMBEDDINGS, 'without retries', /Disable retries/, speaks(HELLO), 'embedding.length', 64],
  [EMBEDDINGS, 'with a signal', /Abort after 1 second/, speaks(HELLO), 'embedding.length', 64],
  [EMBEDDINGS, 'with headers', /X-Custom-Header/, speaks(HELLO), 'embedding.length', 64],
  [EMBEDDINGS, 'the response', /Raw provider response/, speaks(HELLO), "response.body.object", 'list'],

  [MIDDLEWARE, 'thoughts in tags', /tagName: 'think'/, speaker('<think>Hm.</think>Yes.', CONTEXT, '{{ m.content }}'), "(await generateText({ model, prompt: 'a' })).reasoningText", 'Hm.', { model: 'yourModel' }],
  [MIDDLEWARE, 'JSON in a fence', /prompt: 'Generate a recipe.'/, speaks({ name: 'Pie', ingredients: ['a'] }), 'result.output', { name: 'Pie', ingredients: ['a'] }, { model: 'yourModel' }],
  [MIDDLEWARE, 'simulated streaming', /simulateStreamingMiddleware\(\)/, speaks(HELLO), "await streamText({ model, prompt: 'a' }).text", HELLO, { model: 'yourModel' }],
  [MIDDLEWARE, 'settings', /maxOutputTokens: 800/, speaks(HELLO), "(await generateText({ model, prompt: 'a' })).text", HELLO, { model: 'yourModel' }],

  [ERRORS, 'of a text', /try \{\s+const \{ text \} = await generateText/, speaks(HELLO), 'lines.length', 0],
  [ERRORS, 'of a stream', /try \{\s+const \{ textStream \}/, speaks(HELLO), "lines.join('')", HELLO],
  [ERRORS, 'among the parts of a stream', /handle other part types\s+case 'error'/, speaks(HELLO), 'lines.length', 0],
  [ERRORS, 'a stream that is aborted', /Stream completed normally/, speaks(HELLO), 'lines.at(-1)', 'Stream completed normally'],
  [ERRORS, 'parts of a stream that is aborted', /Handle abort directly in stream/, speaks(HELLO), 'lines.length', 0],

  [AGENTS, 'with instructions', /You are a helpful assistant/, speaks(HELLO), "(await myAgent.generate({ prompt: 'a' })).text", HELLO],
  [AGENTS, 'with tools', /Execute Python code/, asker('runCode', { code: '1' }, HELLO, CONTEXT), "(await codeAgent.generate({ prompt: 'a' })).steps.length", 2],
  [AGENTS, 'with a limit of steps', /stepCountIs\(50\)/, speaks(HELLO), "(await agent.generate({ prompt: 'a' })).text", HELLO],
  [AGENTS, 'that has to call', /Force tool use/, speaks(HELLO), "(await agent.generate({ prompt: 'a' })).text", HELLO],
  [AGENTS, 'with a form', /analysisAgent/, speaks({ sentiment: 'neutral', summary: 'a', keyPoints: [] }), 'output.sentiment', 'neutral'],
  [AGENTS, 'that is asked', /What is the weather like/, speaks(HELLO), 'lines[0]', HELLO, { before: 'const myAgent = new ToolLoopAgent({ model });' }],
  [AGENTS, 'that streams', /prompt: 'Tell me a story'/, speaks(HELLO), "lines.join('')", HELLO, { before: 'const myAgent = new ToolLoopAgent({ model });' }],
  [AGENTS, 'with a callback for each step', /latest AI trends/, speaks(HELLO), 'lines.length', 1, { before: 'const myAgent = new ToolLoopAgent({ model });' }],
  [AGENTS, 'with callbacks of both kinds', /per-call tracking/i, speaks(HELLO), 'lines.length', 1, { before: 'const trackUsage = () => undefined;' }],

  [DIRECT, 'a chat without a server', /instructions.*new DirectChatTransport\(\{ agent \}\)/s, weatherAsker, '(await sendMessage({ text: "a" }), messages().at(-1).parts.filter(({ type }) => type === "text")[0].text)', 'It is mild.', {
    before: `const weatherTool = tool({ inputSchema: z.object({ location: z.string() }), execute: () => 'mild' });
      class Chat extends AbstractChat {}
      const useChat = (options) => {
        let [status, error, all] = ['ready', undefined, []];
        const state = {
          get status() { return status; }, set status(now) { status = now; }, get error() { return error; }, set error(now) { error = now; },
          get messages() { return all; }, set messages(now) { all = now; },
          pushMessage: (message) => { all = [...all, message]; }, popMessage: () => { all = all.slice(0, -1); },
          replaceMessage: (index, message) => { all = all.with(index, message); }, snapshot: (value) => structuredClone(value),
        };
        const chat = new Chat({ ...options, state });
        return { messages: () => chat.messages, sendMessage: chat.sendMessage };
      };`,
  }],
];

/** The code of an example, and what stands in for what it leaves out, as the body of a function. */
async function bodyOf(page, pattern, gives, { before = '', fill, fills = [], first = false }) {
  const blocks = [...readFileSync(join(docs, `${page}.mdx`), 'utf8').matchAll(/^```(?:ts|tsx)[^\n]*\n(.*?)^```/gms)].map(([, code]) => code);
  const found = blocks.filter((code) => pattern.test(code));
  assert.ok(first ? found.length > 0 : found.length === 1, `${found.length} examples have ${pattern}`);
  let code = found[0].replace('__PROVIDER_IMPORT__;', '').replaceAll('__MODEL__', 'model').replaceAll(/'openai\/text-embedding-3-small'/g, 'embedder');
  for (const text of fill === undefined ? [] : [fill, ...fills]) code = code.replace(/^ *\/\/ \.\.\.$/m, text);
  code = code.replaceAll(/^import [^;]* from '(?:ai|zod|@ai-sdk\/react)';$/gm, '');
  return (await transform(`${before}\n${code}\nglobalThis.given = ${gives};`, { loader: 'ts' })).code;
}

const addressOf = (index) => `/example-${index}.gguf`;
const stage = await openStage({
  files: { '/sdk.js': sdk, ...Object.fromEntries(EXAMPLES.map(([, , , model], index) => [addressOf(index), model])) },
});

describe('an example of the AI SDK’s documentation', () => {
  for (const [index, [page, about, pattern, , gives, expected, options = {}]] of EXAMPLES.entries()) {
    test(`${page}: ${about}`, async () => {
      const code = await bodyOf(page, pattern, gives, options);
      const given = await stage.visit({}, (tab) => tab.evaluate(async ([body, name, address]) => {
        const { createEngine } = await import('/pkg/index.js');
        const { createFetch } = await import('/pkg/openai.js');
        const sdk = await import('/sdk.js');
        globalThis.AI_SDK_LOG_WARNINGS = false;
        const engine = await createEngine({ model: address, store: 'none', device: 'cpu', threads: 1 });
        const provider = sdk.createOpenAICompatible({ name: 'page', baseURL: 'http://page.invalid/v1', fetch: createFetch(engine), supportsStructuredOutputs: true, includeUsage: true });
        const lines = [];
        const print = (...values) => lines.push(values.map((value) => (typeof value === 'string' ? value : JSON.stringify(value))).join(' '));
        const known = { ...sdk, lines, [name]: provider('any'), embedder: provider.embeddingModel('any'), console: { ...console, log: print }, process: { stdout: { write: print } } };
        const AsyncFunction = (async () => undefined).constructor;
        await new AsyncFunction(...Object.keys(known), body)(...Object.values(known));
        await engine.dispose();
        return globalThis.given;
      }, [code, options.model ?? 'model', addressOf(index)]));
      assert.deepEqual(given, expected);
    });
  }
});
