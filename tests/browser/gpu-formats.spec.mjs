// Every tensor type on the GPU, in f32.

import { logitsTest } from './gpu-logits.mjs';
import { openStage } from './support.mjs';

logitsTest(await openStage({ gpu: true }), 'quant', 19);
