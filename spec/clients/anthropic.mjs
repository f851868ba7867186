// anthropic.mjs: the `@anthropic-ai/sdk` package.
import assert from 'node:assert/strict';
import Anthropic from '@anthropic-ai/sdk';
import { run, till, weather } from './swap.mjs';

const ask = (model, content, more = {}) => ({ model, max_tokens: 30, messages: [{ role: 'user', content }], ...more });

await run('anthropic', (swap) => {
  const client = new Anthropic({ baseURL: swap.url, apiKey: swap.key, maxRetries: 0 });
  const tools = [{ name: 'weather', description: 'the weather', input_schema: weather }];
  return [
    ['sends a message', async () => {
      const r = await client.messages.create(ask('talker', 'hello there'));
      assert.equal(r.role, 'assistant');
      assert.ok(r.content[0].text.length > 10);
      assert.ok(r.usage.output_tokens > 0);
    }],
    ['streams a message', async () => {
      const s = client.messages.stream(ask('talker', 'hello there'));
      let n = 0;
      s.on('text', () => n++);
      const m = await s.finalMessage();
      assert.ok(n > 5);
      assert.ok(m.content[0].text.length > 10);
      assert.ok(m.stop_reason);
    }],
    ['counts tokens', async () => {
      const r = await client.messages.countTokens({ model: 'maker', messages: [{ role: 'user', content: 'x' }] });
      assert.equal(r.input_tokens, 7);
    }],
    ['uses tools', async () => {
      const r = await client.messages.create(ask('maker', 'hi', { tools }));
      assert.deepEqual(r.content[0], { type: 'tool_use', id: 'toolu_1', name: 'weather', input: { city: 'Paris' } });
    }],
    ['streams tool use', async () => {
      const m = await client.messages.stream(ask('maker', 'hi', { tools })).finalMessage();
      assert.deepEqual(m.content[0].input, { city: 'Paris' });
      assert.equal(m.stop_reason, 'tool_use');
    }],
    ['leaves in the middle of a stream, and the model hears of it', async () => {
      const before = (await swap.stats()).aborted;
      const s = client.messages.stream(ask('maker', 'endless'));
      let n = 0;
      s.on('text', () => {
        if (++n === 5) s.abort();
      });
      await assert.rejects(s.finalMessage(), Anthropic.APIUserAbortError);
      await till(async () => (await swap.stats()).aborted > before, 'the abort');
    }],
    ['leaves before the answer, and the model hears of it', async () => {
      const before = (await swap.stats()).aborted;
      const stop = new AbortController();
      const p = client.messages.create(ask('maker', 'hang'), { signal: stop.signal });
      setTimeout(() => stop.abort(), 100);
      await assert.rejects(p, Anthropic.APIUserAbortError);
      await till(async () => (await swap.stats()).aborted > before, 'the abort');
    }],
    ['shows a picture', async () => {
      const source = { type: 'base64', media_type: 'image/png', data: Buffer.alloc(2 << 20).toString('base64') };
      const r = await client.messages.create(ask('maker', [{ type: 'text', text: 'a' }, { type: 'image', source }]));
      assert.equal(r.content[0].text, `said: a picture of ${2 << 20}`);
    }],
    ['lists the models', async () => {
      const names = [];
      for await (const m of client.models.list()) names.push(m.id);
      assert.deepEqual(names, ['maker', 'talker']);
    }],
    ['gets the model\'s own errors as they are', async () => {
      const e = await client.messages.create(ask('maker', 'refuse')).catch((x) => x);
      assert.ok(e instanceof Anthropic.BadRequestError);
      assert.equal(e.error.error.message, 'context too long');
    }],
    ['notices a stream that broke off', async () => {
      await assert.rejects(client.messages.stream(ask('maker', 'break')).finalMessage());
    }],
    ['times out', async () => {
      await assert.rejects(client.messages.create(ask('maker', 'hang'), { timeout: 300 }), Anthropic.APIConnectionTimeoutError);
    }],
    ['gets NotFoundError for an unknown model', async () => {
      const e = await client.messages.create(ask('nobody', 'hi')).catch((x) => x);
      assert.ok(e instanceof Anthropic.NotFoundError);
      assert.equal(e.status, 404);
      assert.match(e.message, /nobody/);
      await assert.rejects(client.messages.stream(ask('nobody', 'hi')).finalMessage(), Anthropic.NotFoundError);
      await assert.rejects(client.messages.countTokens({ model: 'nobody', messages: [{ role: 'user', content: 'x' }] }), Anthropic.NotFoundError);
    }],
    ['gets AuthenticationError for a wrong key', async () => {
      const other = new Anthropic({ baseURL: swap.url, apiKey: 'wrong', maxRetries: 0 });
      await assert.rejects(other.messages.create(ask('talker', 'hi')), Anthropic.AuthenticationError);
    }],
    ['lets in with a bearer token', async () => {
      const other = new Anthropic({ baseURL: swap.url, apiKey: null, authToken: swap.key, maxRetries: 0 });
      const r = await other.messages.create(ask('talker', 'hello'));
      assert.ok(r.content[0].text.length > 0);
    }],
  ];
});
