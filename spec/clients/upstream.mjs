// upstream.mjs: a model server for what the demo model cannot do. node upstream.mjs PORT
//
// The last message's text decides: "hang" never answers, "break" breaks off inside a stream, "endless" streams until
// the client leaves, "refuse" is a 400 of its own; with `tools`, the answer is a call of the first one.
import { createServer } from 'node:http';

const stats = { requests: 0, aborted: 0 };
const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64');

async function body(req) {
  const parts = [];
  for await (const p of req) parts.push(p);
  return Buffer.concat(parts);
}

function json(res, value, status = 200) {
  res.writeHead(status, { 'Content-Type': 'application/json' });
  res.end(JSON.stringify(value));
}

const stream = (res) => res.writeHead(200, { 'Content-Type': 'text/event-stream' });
const data = (res, value) => res.write(`data: ${JSON.stringify(value)}\n\n`);
const event = (res, value) => res.write(`event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`);

// The last message's text; a picture in it is said by its size.
function words(ask) {
  const last = (ask.messages ?? []).at(-1)?.content ?? '';
  if (typeof last === 'string') return last;
  const size = (p) => {
    const data = p.source?.data ?? p.image_url?.url.split(',')[1];
    return data === undefined ? '' : ` picture of ${Buffer.from(data, 'base64').length}`;
  };
  return last.map((p) => (p.text ?? '') + size(p)).join('');
}

const chunk = (delta, finish = null) => ({
  id: 'c1', object: 'chat.completion.chunk', created: 1, model: 'maker', choices: [{ index: 0, delta, finish_reason: finish }],
});

function chat(ask, res) {
  const text = words(ask);
  const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
  if (text === 'hang') return;
  if (text === 'refuse') return json(res, { error: { message: 'context too long', type: 'invalid_request_error', code: 'context_length_exceeded' } }, 400);
  if (text === 'endless' || text === 'break') {
    stream(res);
    let n = 0;
    const timer = setInterval(() => {
      data(res, chunk({ content: `${n++} ` }));
      if (text === 'break' && n === 5) res.destroy();
    }, 5);
    res.on('close', () => clearInterval(timer));
    return;
  }
  if (ask.response_format) return json(res, { id: 'c1', object: 'chat.completion', created: 1, model: 'maker', usage, choices: [{ index: 0,
    finish_reason: 'stop', message: { role: 'assistant', content: JSON.stringify({ format: ask.response_format.type }) } }] });
  const call = { id: 'call_1', type: 'function', function: { name: ask.tools?.[0]?.function.name, arguments: '{"city":"Paris"}' } };
  const answer = ask.tools && !ask.messages.some((m) => m.role === 'tool');
  if (!ask.stream) {
    return json(res, { id: 'c1', object: 'chat.completion', created: 1, model: 'maker', usage, choices: [{ index: 0,
      finish_reason: answer ? 'tool_calls' : 'stop',
      message: answer ? { role: 'assistant', content: null, tool_calls: [call] } : { role: 'assistant', content: `said: ${text}` } }] });
  }
  stream(res);
  if (answer) {
    data(res, chunk({ role: 'assistant', tool_calls: [{ index: 0, ...call, function: { name: call.function.name, arguments: '' } }] }));
    for (const piece of ['{"city":', '"Paris"}']) data(res, chunk({ tool_calls: [{ index: 0, function: { arguments: piece } }] }));
    data(res, chunk({}, 'tool_calls'));
  } else {
    data(res, chunk({ role: 'assistant', content: `said: ${text}` }));
    data(res, chunk({}, 'stop'));
  }
  res.end('data: [DONE]\n\n');
}

function messages(ask, res) {
  const text = words(ask);
  const usage = { input_tokens: 1, output_tokens: 1 };
  const head = { id: 'm1', type: 'message', role: 'assistant', model: 'maker', stop_sequence: null };
  if (text === 'hang') return;
  if (text === 'refuse') return json(res, { type: 'error', error: { type: 'invalid_request_error', message: 'context too long' } }, 400);
  if (text === 'endless' || text === 'break') {
    stream(res);
    event(res, { type: 'message_start', message: { ...head, content: [], stop_reason: null, usage } });
    event(res, { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } });
    let n = 0;
    const timer = setInterval(() => {
      event(res, { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'x ' } });
      if (text === 'break' && ++n === 5) res.destroy();
    }, 5);
    res.on('close', () => clearInterval(timer));
    return;
  }
  if (!ask.tools) return json(res, { ...head, content: [{ type: 'text', text: `said: ${text}` }], stop_reason: 'end_turn', usage });
  const use = { type: 'tool_use', id: 'toolu_1', name: ask.tools?.[0]?.name, input: { city: 'Paris' } };
  if (!ask.stream) return json(res, { ...head, content: [use], stop_reason: 'tool_use', usage });
  stream(res);
  event(res, { type: 'message_start', message: { ...head, content: [], stop_reason: null, usage } });
  event(res, { type: 'content_block_start', index: 0, content_block: { ...use, input: {} } });
  for (const piece of ['{"city":', '"Paris"}']) event(res, { type: 'content_block_delta', index: 0, delta: { type: 'input_json_delta', partial_json: piece } });
  event(res, { type: 'content_block_stop', index: 0 });
  event(res, { type: 'message_delta', delta: { stop_reason: 'tool_use', stop_sequence: null }, usage });
  event(res, { type: 'message_stop' });
  res.end();
}

// The responses API: a call of the first tool, or the input said again; "endless" streams until the client leaves.
function responses(ask, res) {
  const items = typeof ask.input === 'string' ? [{ role: 'user', content: ask.input }] : ask.input;
  const last = items.at(-1);
  const text = last.type === 'function_call_output' ? last.output : words({ messages: [last] });
  const head = { id: 'r1', object: 'response', created_at: 1, model: 'maker', status: 'completed', error: null };
  if (text === 'endless') {
    stream(res);
    let n = 0;
    event(res, { type: 'response.created', sequence_number: n++, response: { ...head, status: 'in_progress', output: [] } });
    const timer = setInterval(() => event(res, { type: 'response.output_text.delta', sequence_number: n++, item_id: 'i1',
      output_index: 0, content_index: 0, delta: 'x ', logprobs: [] }), 5);
    res.on('close', () => clearInterval(timer));
    return;
  }
  const call = { type: 'function_call', id: 'f1', call_id: 'call_1', name: ask.tools?.[0]?.name, arguments: '{"city":"Paris"}', status: 'completed' };
  const said = { type: 'message', id: 'i1', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: `said: ${text}`, annotations: [] }] };
  json(res, { ...head, output: [ask.tools && last.type !== 'function_call_output' ? call : said] });
}

// The parts of a form: name -> { filename, type, bytes }.
function form(req, bytes) {
  const boundary = /boundary="?([^";]+)/.exec(req.headers['content-type'])[1];
  const found = {};
  for (const part of bytes.toString('latin1').split(`--${boundary}`).slice(1, -1)) {
    const at = part.indexOf('\r\n\r\n');
    const name = / name="([^"]*)"/.exec(part)[1];
    found[name] = { filename: / filename="([^"]*)"/.exec(part)?.[1], text: part.slice(at + 4, -2) };
  }
  return found;
}

const image = () => ({ created: 1, data: [{ b64_json: png.toString('base64') }] });

const server = createServer(async (req, res) => {
  const path = req.url.replace(/\?.*/, '');
  if (path === '/health') return json(res, { status: 'ok' });
  if (path === '/stats') return json(res, stats);
  stats.requests++;
  res.on('close', () => {
    if (!res.writableFinished) stats.aborted++;
  });
  let bytes;
  try {
    bytes = await body(req);
  } catch {
    return undefined;
  }
  const ask = (req.headers['content-type'] ?? '').includes('application/json') ? JSON.parse(bytes) : {};
  switch (path) {
    case '/v1/chat/completions': return chat(ask, res);
    case '/v1/completions': return json(res, { id: 'c1', object: 'text_completion', created: 1, model: 'maker',
      choices: [{ index: 0, text: ` ${ask.prompt}`, finish_reason: 'stop' }] });
    case '/v1/responses': return responses(ask, res);
    case '/v1/messages': return messages(ask, res);
    case '/v1/messages/count_tokens': return json(res, { input_tokens: 7 });
    case '/v1/images/generations': return json(res, image());
    case '/v1/images/edits': return json(res, { ...image(), asked: form(req, bytes).prompt.text });
    case '/v1/audio/transcriptions': {
      const f = form(req, bytes);
      return json(res, { text: `${f.model.text} ${f.file.filename} ${f.file.text.length}` });
    }
    case '/v1/audio/speech':
      res.writeHead(200, { 'Content-Type': 'audio/mpeg' });
      return res.end(Buffer.alloc(200000, ask.input));
    default: return json(res, { error: { message: `no ${path}` } }, 404);
  }
});
server.listen(Number(process.argv[2]), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
