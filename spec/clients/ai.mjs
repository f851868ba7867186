// ai.mjs: the `ai` package (AI SDK) with `@ai-sdk/openai-compatible`.
import assert from 'node:assert/strict';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, embed, embedMany, generateImage, generateText, jsonSchema, Output, stepCountIs, streamText, tool } from 'ai';
import { run, till, weather } from './swap.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false;

await run('ai', (swap) => {
  const provider = createOpenAICompatible({ name: 'luaswap', baseURL: `${swap.url}/v1`, apiKey: swap.key, includeUsage: true });
  const talker = provider('talker'), maker = provider('maker');
  const tools = (seen) => ({ weather: tool({ inputSchema: jsonSchema(weather), execute: async (a) => { seen.push(a); return 'hail'; } }) });
  const more = { maxRetries: 0 };
  return [
    ['generates text', async () => {
      const r = await generateText({ model: talker, prompt: 'hello there', ...more });
      assert.ok(r.text.length > 10);
      assert.ok(r.usage.outputTokens > 0);
    }],
    ['streams text', async () => {
      const r = streamText({ model: talker, prompt: 'hello there', ...more });
      let n = 0;
      for await (const _ of r.textStream) n++;
      assert.ok(n > 5);
      assert.ok((await r.usage).outputTokens > 0);
      assert.equal(await r.finishReason, 'stop');
    }],
    ['runs tools', async () => {
      const seen = [];
      const r = await generateText({ model: maker, prompt: 'hi', tools: tools(seen), stopWhen: stepCountIs(3), ...more });
      assert.deepEqual(seen, [{ city: 'Paris' }]);
      assert.match(r.text, /^said: .*hail/);
    }],
    ['runs tools from a stream', async () => {
      const seen = [];
      const r = streamText({ model: maker, prompt: 'hi', tools: tools(seen), stopWhen: stepCountIs(3), ...more });
      let text = '';
      for await (const t of r.textStream) text += t;
      assert.deepEqual(seen, [{ city: 'Paris' }]);
      assert.match(text, /^said: .*hail/);
    }],
    ['completes, also in a stream', async () => {
      const r = await generateText({ model: provider.completionModel('maker'), prompt: 'Once', ...more });
      assert.match(r.text, /Once/);
      const s = streamText({ model: provider.completionModel('talker'), prompt: 'Once', ...more });
      let text = '';
      for await (const t of s.textStream) text += t;
      assert.ok(text.length > 10);
    }],
    ['gets an object', async () => {
      const schema = jsonSchema({ type: 'object', properties: { format: { type: 'string' } }, required: ['format'] });
      const r = await generateText({ model: maker, prompt: 'hi', output: Output.object({ schema }), ...more });
      assert.match(r.output.format, /^json/);
    }],
    ['shows a picture', async () => {
      const content = [{ type: 'text', text: 'a' }, { type: 'image', image: Buffer.alloc(2 << 20), mediaType: 'image/png' }];
      const r = await generateText({ model: maker, messages: [{ role: 'user', content }], ...more });
      assert.equal(r.text, `said: a picture of ${2 << 20}`);
    }],
    ['embeds', async () => {
      const one = await embed({ model: provider.embeddingModel('talker'), value: 'one', ...more });
      assert.ok(one.embedding.length > 3);
      const r = await embedMany({ model: provider.embeddingModel('talker'), values: ['one', 'two'], ...more });
      assert.equal(r.embeddings.length, 2);
    }],
    ['makes an image', async () => {
      const r = await generateImage({ model: provider.imageModel('maker'), prompt: 'a dot', ...more });
      assert.equal(Buffer.from(r.image.uint8Array).subarray(1, 4).toString(), 'PNG');
    }],
    ['edits an image', async () => {
      const images = [Buffer.from('not really a picture')];
      const r = await generateImage({ model: provider.imageModel('maker'), prompt: { text: 'bluer', images }, ...more });
      assert.equal(Buffer.from(r.image.uint8Array).subarray(1, 4).toString(), 'PNG');
    }],
    ['leaves before the answer, and the model hears of it', async () => {
      const before = (await swap.stats()).aborted;
      const stop = new AbortController();
      const p = generateText({ model: maker, prompt: 'hang', abortSignal: stop.signal, ...more });
      setTimeout(() => stop.abort(), 100);
      await assert.rejects(p);
      await till(async () => (await swap.stats()).aborted > before, 'the abort');
    }],
    ['leaves in the middle of a stream, and the model hears of it', async () => {
      const before = (await swap.stats()).aborted;
      const stop = new AbortController();
      const r = streamText({ model: maker, prompt: 'endless', abortSignal: stop.signal, onError() {}, ...more });
      let n = 0;
      try {
        for await (const _ of r.textStream) if (++n === 5) stop.abort();
      } catch { /* some versions throw here, some end */ }
      await till(async () => (await swap.stats()).aborted > before, 'the abort');
    }],
    ['times out', async () => {
      await assert.rejects(generateText({ model: maker, prompt: 'hang', abortSignal: AbortSignal.timeout(300), ...more }));
    }],
    ['gets APICallError with 404 for an unknown model', async () => {
      const e = await generateText({ model: provider('nobody'), prompt: 'hi', ...more }).catch((x) => x);
      assert.ok(APICallError.isInstance(e));
      assert.equal(e.statusCode, 404);
      assert.equal(e.isRetryable, false);
      assert.match(e.message, /nobody/);
      let seen;
      const r = streamText({ model: provider('nobody'), prompt: 'hi', onError({ error }) { seen = error; }, ...more });
      for await (const _ of r.textStream);
      assert.equal(seen.statusCode, 404);
      const image = await generateImage({ model: provider.imageModel('nobody'), prompt: 'x', ...more }).catch((x) => x);
      assert.equal(image.statusCode, 404);
      const vector = await embed({ model: provider.embeddingModel('nobody'), value: 'x', ...more }).catch((x) => x);
      assert.equal(vector.statusCode, 404);
    }],
    ['gets APICallError with 401 for a wrong key', async () => {
      const other = createOpenAICompatible({ name: 'luaswap', baseURL: `${swap.url}/v1`, apiKey: 'wrong' });
      const e = await generateText({ model: other('talker'), prompt: 'hi', ...more }).catch((x) => x);
      assert.ok(APICallError.isInstance(e));
      assert.equal(e.statusCode, 401);
    }],
    ['notices a stream that broke off', async () => {
      let seen;
      const r = streamText({ model: maker, prompt: 'break', onError({ error }) { seen = error; }, ...more });
      try {
        for await (const _ of r.textStream);
      } catch (e) {
        seen ??= e;
      }
      assert.ok(seen);
    }],
    ['gets the model\'s own errors as they are', async () => {
      const e = await generateText({ model: maker, prompt: 'refuse', ...more }).catch((x) => x);
      assert.equal(e.statusCode, 400);
      assert.match(e.message, /context too long/);
    }],
  ];
});
