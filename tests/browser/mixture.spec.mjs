// A mixture of experts under a memory ceiling: those of its experts are in memory that are used most, the others are read
// from the store when a token chooses them.

import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { tinyModel } from '../support/tiny-gguf.mjs';
import { withChord } from './engine-page.mjs';
import { isFirefox, openStage } from './support.mjs';

const MODEL = '/mixture.gguf';
const model = tinyModel({ layers: 3, experts: 24, feedForward: 128 });
const stage = await openStage({ files: { [MODEL]: model } });
const options = { model: MODEL, device: 'cpu', network: { backoffMs: 20 }, storeSettings: { pageBytes: 256 * 1024 } };

describe('a mixture under a ceiling', { skip: isFirefox && 'stored files have one reader there' }, () => {
  let whole;
  let plan;
  before(() => withChord(stage, async (page) => {
    whole = await page.evaluate((given) => window.chord.outcome(given), options);
    plan = await page.evaluate((given) => window.chord.planned(given), options);
  }));

  test('answers with the same tokens from the store, and reads the experts that are used', () => withChord(stage, async (page) => {
    assert.equal(whole.code, undefined, whole.message);
    assert.equal(whole.experts, undefined, 'all of them are in memory');
    let cached = -1;
    for (const share of [0, 0.3, 0.6, 0.95]) {
      const maxResidentBytes = Math.round(plan.leastBytes + share * (plan.budgetBytes - plan.leastBytes));
      // The first time the model comes from the server.
      for (const visit of ['first', 'second']) {
        const result = await page.evaluate((given) => window.chord.outcome(given), { ...options, maxResidentBytes });
        assert.deepEqual([result.ids, result.logprobs], [whole.ids, whole.logprobs], `${visit} visit at ${share}: ${result.message}`);
        const { experts, memory, layers } = result;
        assert.ok(memory.peakResidentBytes <= maxResidentBytes, `${memory.peakResidentBytes} of ${maxResidentBytes}`);
        assert.ok(experts.reads > 0 && experts.cacheBytes < experts.bytes, JSON.stringify(result));
        assert.ok(experts.cacheBytes >= cached, 'more memory has more experts');
        cached = experts.cacheBytes;
        if (share <= 0.5) continue;
        assert.ok(experts.hits > 0 && experts.cacheBytes > 0.3 * experts.bytes, JSON.stringify(result));
        assert.ok(layers.hits > 2 * layers.direct, `beside experts only the embedding stays on disk: ${JSON.stringify(layers)}`);
      }
      const { reasons, fits } = await page.evaluate((given) => window.chord.planned(given), { ...options, maxResidentBytes });
      assert.equal(fits, true);
      assert.match(reasons.join(), new RegExp(`the experts, \\d+ bytes, stay on the disk.* ${cached} bytes of memory keep those that are used most`));
    }
    assert.deepEqual(plan.reasons, []);
  }));
});
