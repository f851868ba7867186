// openai.mjs: the `openai` package.
import assert from 'node:assert/strict';
import OpenAI, { toFile } from 'openai';
import { run, till, tone, weather } from './swap.mjs';

const hi = [{ role: 'user', content: 'hello there' }];
const say = (content) => [{ role: 'user', content }];

await run('openai', (swap) => {
  const client = new OpenAI({ baseURL: `${swap.url}/v1`, apiKey: swap.key, maxRetries: 0 });
  const tools = [{ type: 'function', function: { name: 'weather', parameters: weather } }];
  return [
    ['lists the models', async () => {
      const names = [];
      for await (const m of client.models.list()) names.push(m.id);
      assert.deepEqual(names, ['maker', 'talker']);
    }],
    ['chats', async () => {
      const r = await client.chat.completions.create({ model: 'talker', messages: hi, max_tokens: 12 });
      assert.equal(r.object, 'chat.completion');
      assert.ok(r.choices[0].message.content.length > 10);
      assert.ok(r.usage.completion_tokens > 0);
    }],
    ['streams a chat', async () => {
      const s = await client.chat.completions.create({ model: 'talker', messages: hi, stream: true, stream_options: { include_usage: true } });
      let text = '', n = 0, usage;
      for await (const c of s) {
        n++;
        text += c.choices[0]?.delta.content ?? '';
        usage ??= c.usage;
      }
      assert.ok(n > 10 && text.length > 20);
      assert.ok(usage.total_tokens > 0);
    }],
    ['completes', async () => {
      const r = await client.completions.create({ model: 'talker', prompt: 'Once', max_tokens: 5 });
      assert.ok(r.choices[0].text.length > 0);
    }],
    ['streams a completion', async () => {
      const s = await client.completions.create({ model: 'talker', prompt: 'Once', max_tokens: 5, stream: true });
      let text = '';
      for await (const c of s) text += c.choices[0]?.text ?? '';
      assert.ok(text.length > 0);
    }],
    ['shows a picture', async () => {
      const r = await client.chat.completions.create({ model: 'maker', messages: say([{ type: 'text', text: 'a' },
        { type: 'image_url', image_url: { url: `data:image/png;base64,${Buffer.alloc(2 << 20).toString('base64')}` } }]) });
      assert.equal(r.choices[0].message.content, `said: a picture of ${2 << 20}`);
    }],
    ['leaves in the middle of a stream, and the model hears of it', async () => {
      const before = (await swap.stats()).aborted;
      const s = await client.chat.completions.create({ model: 'maker', messages: say('endless'), stream: true });
      let n = 0;
      for await (const _ of s) if (++n === 5) break; // the SDK aborts
      await till(async () => (await swap.stats()).aborted > before, 'the abort');
      const stop = new AbortController();
      const p = client.chat.completions.create({ model: 'maker', messages: say('hang') }, { signal: stop.signal });
      setTimeout(() => stop.abort(), 100);
      await assert.rejects(p, OpenAI.APIUserAbortError);
      await till(async () => (await swap.stats()).aborted > before + 1, 'the second abort');
    }],
    ['times out, and the next request is served', async () => {
      await assert.rejects(client.chat.completions.create({ model: 'maker', messages: say('hang') }, { timeout: 300 }),
        OpenAI.APIConnectionTimeoutError);
      const r = await client.chat.completions.create({ model: 'maker', messages: say('back') });
      assert.equal(r.choices[0].message.content, 'said: back');
    }],
    ['calls tools', async () => {
      const r = await client.chat.completions.create({ model: 'maker', messages: hi, tools });
      assert.equal(r.choices[0].message.tool_calls[0].function.name, 'weather');
      assert.deepEqual(JSON.parse(r.choices[0].message.tool_calls[0].function.arguments), { city: 'Paris' });
      const end = await client.chat.completions.create({ model: 'maker', tools, messages: [...hi, r.choices[0].message,
        { role: 'tool', tool_call_id: 'call_1', content: 'rain' }] });
      assert.equal(end.choices[0].message.content, 'said: rain');
    }],
    ['streams tool calls and runs them', async () => {
      let asked;
      const runner = client.chat.completions.runTools({ model: 'maker', stream: true, messages: hi, tools: [{ type: 'function',
        function: { name: 'weather', parameters: weather, parse: JSON.parse, function: (a) => { asked = a; return 'snow'; } } }] });
      assert.equal(await runner.finalContent(), 'said: snow');
      assert.deepEqual(asked, { city: 'Paris' });
    }],
    ['gets embeddings', async () => {
      const r = await client.embeddings.create({ model: 'talker', input: ['one', 'two'], encoding_format: 'float' });
      assert.equal(r.data.length, 2);
      assert.ok(r.data[1].embedding.length > 3);
    }],
    ['uses the responses API', async () => {
      const r = await client.responses.create({ model: 'talker', input: 'hello' });
      assert.ok(r.output_text.length > 10);
    }],
    ['streams a response', async () => {
      const s = await client.responses.create({ model: 'talker', input: 'hello', stream: true });
      let text = '', done;
      for await (const ev of s) {
        if (ev.type === 'response.output_text.delta') text += ev.delta;
        if (ev.type === 'response.completed') done = ev.response;
      }
      assert.ok(text.length > 10);
      assert.equal(done.status, 'completed');
    }],
    ['calls tools through the responses API', async () => {
      const more = { model: 'maker', tools: [{ type: 'function', name: 'weather', parameters: weather, strict: false }] };
      const r = await client.responses.create({ ...more, input: 'hi' });
      assert.deepEqual(JSON.parse(r.output[0].arguments), { city: 'Paris' });
      const end = await client.responses.create({ ...more, input: [{ role: 'user', content: 'hi' }, r.output[0],
        { type: 'function_call_output', call_id: 'call_1', output: 'fog' }] });
      assert.equal(end.output_text, 'said: fog');
    }],
    ['leaves in the middle of a response', async () => {
      const before = (await swap.stats()).aborted;
      const s = await client.responses.create({ model: 'maker', input: 'endless', stream: true });
      let n = 0;
      for await (const _ of s) if (++n === 5) break;
      await till(async () => (await swap.stats()).aborted > before, 'the abort');
    }],
    ['uploads audio', async () => {
      const r = await client.audio.transcriptions.create({ model: 'maker', file: await toFile(tone, 'tone.wav') });
      assert.equal(r.text, `maker tone.wav ${tone.length}`);
    }],
    ['gets speech', async () => {
      const r = await client.audio.speech.create({ model: 'maker', voice: 'alloy', input: 'la' });
      assert.equal((await r.arrayBuffer()).byteLength, 200000);
    }],
    ['makes and edits images', async () => {
      const r = await client.images.generate({ model: 'maker', prompt: 'a dot' });
      const bytes = Buffer.from(r.data[0].b64_json, 'base64');
      assert.equal(bytes.subarray(1, 4).toString(), 'PNG');
      const e = await client.images.edit({ model: 'maker', prompt: 'bluer', image: await toFile(bytes, 'dot.png', { type: 'image/png' }) });
      assert.equal(e.asked, 'bluer');
    }],
    ['gets NotFoundError for an unknown model', async () => {
      const e = await client.chat.completions.create({ model: 'nobody', messages: hi }).catch((x) => x);
      assert.ok(e instanceof OpenAI.NotFoundError);
      assert.equal(e.status, 404);
      assert.match(e.message, /nobody/);
      assert.equal(e.type, 'invalid_request_error');
      const stream = client.chat.completions.create({ model: 'nobody', messages: hi, stream: true });
      await assert.rejects(stream, OpenAI.NotFoundError);
      await assert.rejects(client.responses.create({ model: 'nobody', input: 'hi' }), OpenAI.NotFoundError);
      await assert.rejects(client.embeddings.create({ model: 'nobody', input: 'hi' }), OpenAI.NotFoundError);
      await assert.rejects(client.images.generate({ model: 'nobody', prompt: 'hi' }), OpenAI.NotFoundError);
      const upload = client.audio.transcriptions.create({ model: 'nobody', file: await toFile(tone, 'tone.wav') });
      await assert.rejects(upload, OpenAI.NotFoundError);
    }],
    ['gets AuthenticationError for a wrong key', async () => {
      const other = new OpenAI({ baseURL: `${swap.url}/v1`, apiKey: 'wrong', maxRetries: 0 });
      await assert.rejects(other.chat.completions.create({ model: 'talker', messages: hi }), OpenAI.AuthenticationError);
    }],
    ['gets the model\'s own errors as they are', async () => {
      const e = await client.chat.completions.create({ model: 'maker', messages: say('refuse') }).catch((x) => x);
      assert.ok(e instanceof OpenAI.BadRequestError);
      assert.equal(e.code, 'context_length_exceeded');
    }],
    ['notices a stream that broke off', async () => {
      const s = await client.chat.completions.create({ model: 'maker', messages: say('break'), stream: true });
      await assert.rejects(async () => {
        for await (const _ of s);
      });
    }],
    ['keeps many requests apart', async () => {
      const all = await Promise.all(Array.from({ length: 20 }, (_, i) => client.chat.completions.create({ model: 'maker', messages: say(`n${i}`) })));
      all.forEach((r, i) => assert.equal(r.choices[0].message.content, `said: n${i}`));
    }],
  ];
});
