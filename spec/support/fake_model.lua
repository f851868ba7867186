-- fake_model.lua: the fake upstream of the functional specs; run by luaswap as a model's command:
--
--   luaswap-spec --run spec/support/fake_model.lua --port N [option]...
--
-- An OpenAI-compatible responder with every bad habit a model server can have. One thread, one poll loop,
-- one coroutine per connection. What it does to the whole process is an option:
--
--   --model NAME           shows in answers              --respond TEXT       content of answers ("hi")
--   --load-ms N            503 on /health, answers wait  --listen-after-ms N  not even listening before
--   --no-health            health is never answered      --health-status N    health always says N
--   --flip-health N        after ready, every Nth health probe fails
--   --exit-after-ms N      ends by itself                --exit-code N        of every orderly end
--   --crash-on-request     dies when asked               --crash-after-ms N   SIGKILLs itself
--   --ignore-term          SIGTERM does nothing          --term-delay-ms N    SIGTERM takes that long
--   --fork-child           a child in a session of its own that ignores SIGTERM and holds nothing
--   --hold-pipe            the same, but it keeps stdout and stderr open
--   --burst N              N bytes of log lines at start --silent             no log lines
--   --tokens N (10)        --tps N (0: at once)          --log FILE           JSON lines of what happened
--   --tls-cert FILE        --tls-key FILE                speaks TLS
--
-- What it does to one request is a member of the JSON body's "fake" object or of the query:
--
--   tokens, tps, wait_ms (before the head), stream, status, respond, size (answer of that many bytes),
--   chunk_bytes, drop_after (end of the connection inside a chunk, after N events), reset_after (same, RST),
--   endless (events until the client goes), slow_head_ms (head byte by byte), slow_read_ms (pause between
--   reads of the request body; query only), die (the process ends), die_after (after N events),
--   close (Connection: close), no_length (body until the end of the connection), burst, echo, headers (map),
--   early (answers before the request's body was read; query only)
--
-- Paths: /health, /, /echo, /env, /test, /slow-respond, /sse, /ws, /upload, /v1/models, everything that POSTs.
-- Log events (t = monotonic seconds, comparable between processes): up, listen, ready, start (head and body
-- read), first (first byte of the answer), end, gone (client left), term, exit; with req = x-request-id
-- header or "id" of the body.
local json = require 'spec.support.json'
local net = require 'spec.net'

local opts = { model = 'fake', respond = 'hi', tokens = 10, tps = 0, ['load-ms'] = 0, host = '127.0.0.1' }
local flags = { silent = 1, ['ignore-term'] = 1, ['no-health'] = 1, ['crash-on-request'] = 1, ['fork-child'] = 1,
  ['hold-pipe'] = 1 }
do
  local i = 1
  while arg[i] do
    local name = arg[i]:match '^%-%-?([%w-]+)$' or error('fake_model: what is ' .. arg[i] .. '?', 0)
    if flags[name] then
      opts[name] = true
    else
      i = i + 1
      local v = arg[i] or error('fake_model: ' .. name .. ' needs a value', 0)
      opts[name] = (name == 'model' or name == 'respond' or name == 'log' or name == 'host'
        or name:match '^tls%-') and v
        or math.tointeger(tonumber(v)) or tonumber(v) or error('fake_model: ' .. name .. ' needs a number', 0)
    end
    i = i + 1
  end
end
local pid = tonumber(io.open('/proc/self/stat'):read 'n')
local born = net.now()
io.stdout:setvbuf 'line'

local log_file = opts.log and assert(io.open(opts.log, 'a'))
if log_file then log_file:setvbuf 'full' end

local function event(ev, fields)
  if not log_file then return end
  local e = fields or {}
  e.t, e.ev, e.pid, e.model = net.now(), ev, pid, opts.model
  log_file:write(json.encode(e), '\n')
  log_file:flush() -- one write(2): lines of several processes never mix
end

local function say(fmt, ...)
  if not opts.silent then print(fmt:format(...)) end
end

local function quit(code)
  event('exit', { code = code })
  os.exit(code, true)
end

local function burst(bytes)
  local line = ('burst %s %s\n'):format(opts.model, ('x'):rep(90))
  for _ = 1, math.ceil(bytes / #line) do io.stdout:write(line) end
  io.stdout:flush()
end

-- ---- the loop: tasks that wait for time, or for a socket ----------------------------------------

local tasks, ended = {}, {}
local GONE = setmetatable({}, { __tostring = function() return 'client gone' end })

local function add_task(fn, conn)
  local t = { co = coroutine.create(fn), conn = conn, at = 0 }
  tasks[#tasks + 1] = t
  return t
end

-- All of these are called from inside a task.
local function sleep(s)
  if s > 0 then coroutine.yield('time', net.now() + s) end
end

local function read_more(conn, max)
  while true do
    local data, why = conn.sock:recv(max or 65536, 0)
    if data then
      conn.buf = conn.buf .. data
      return true
    end
    if why ~= 'timeout' then return false end
    coroutine.yield 'read'
  end
end

local function write(conn, data)
  local at = 1
  while at <= #data do
    local n, why, part = conn.sock:send(at == 1 and data or data:sub(at), 0)
    at = at + (n or part)
    if not n then
      if why ~= 'timeout' then error(GONE, 0) end
      coroutine.yield 'write'
    end
  end
end

local function resume(t, ...)
  local ok, what, at = coroutine.resume(t.co, ...)
  if coroutine.status(t.co) == 'dead' then
    t.dead = true
    if t.conn then t.conn.sock:close() end
    if not ok and what ~= GONE then io.stderr:write('fake_model: ', tostring(what), '\n') end
  else
    t.wants, t.at = what, at
  end
end

local signals = not opts['ignore-term'] and net.signals { 'TERM', 'INT' } or net.signals { 'INT' }
if opts['ignore-term'] then net.ignore 'TERM' end

local function on_signal(sig)
  if sig == 15 then
    event 'term'
    add_task(function()
      sleep((opts['term-delay-ms'] or 0) / 1000)
      quit(opts['exit-code'] or 0)
    end)
  else
    ended.int = (ended.int or 0) + 1
    if ended.int >= 2 then quit(opts['exit-code'] or 0) end
  end
end

local function turn()
  local now, due, readers, writers, by = net.now(), math.huge, { signals }, {}, {}
  for _, t in ipairs(tasks) do
    if t.wants == nil then due = now
    elseif t.wants == 'time' then
      due = math.min(due, t.at)
      -- a client that leaves while we take our time is noticed at once
      if t.conn and not t.conn.half_closed then readers[#readers + 1], by[t.conn.sock] = t.conn.sock, t end
    elseif t.wants == 'read' then readers[#readers + 1], by[t.conn.sock] = t.conn.sock, t
    elseif t.wants == 'accept' then readers[#readers + 1], by[t.sock] = t.sock, t
    elseif t.wants == 'write' then writers[#writers + 1], by[t.conn.sock] = t.conn.sock, t end
  end
  local can_read, can_write = net.poll(readers, math.min(3600, math.max(0, due - now)), writers)
  now = net.now()
  for _, s in ipairs(can_read) do
    local t = by[s]
    if s == signals then
      for sig in signals.read, signals do on_signal(sig) end
    elseif t.wants == 'time' then
      local data, why = t.conn.sock:recv(65536, 0)
      if data then t.conn.buf = t.conn.buf .. data
        if #t.conn.buf > 1 << 20 then t.conn.half_closed = true end -- pipelined: look again later
      elseif why == 'closed' or why == 'reset' then
        t.conn.gone = true
        t.wants = nil
      end
    else
      t.wants = nil
    end
  end
  for _, s in ipairs(can_write) do by[s].wants = nil end
  for i = 1, #tasks do
    local t = tasks[i]
    if not t.dead and (t.wants == nil or (t.wants == 'time' and t.at <= now)) then
      if t.conn and t.conn.gone then
        t.dead = true
        t.conn.sock:close()
        if t.conn.on_gone then t.conn.on_gone() end
      else
        resume(t)
      end
    end
  end
  local alive = {}
  for _, t in ipairs(tasks) do
    if not t.dead then alive[#alive + 1] = t end
  end
  tasks = alive
end

-- ---- requests ---------------------------------------------------------------------------------

local function unescape(s)
  return (s:gsub('%+', ' '):gsub('%%(%x%x)', function(h) return string.char(tonumber(h, 16)) end))
end

local function read_head(conn)
  while true do
    local head, at = conn.buf:match('^(.-\r\n)\r\n()')
    if head then
      conn.buf = conn.buf:sub(at)
      local req = { raw = head, headers = {}, query = {} }
      req.method, req.target, req.version = head:match '^(%S+) (%S+) HTTP/(%d%.%d)\r\n'
      if not req.method then return nil end
      for name, value in head:gmatch '\r\n([^:\r\n]+):[ \t]*([^\r\n]*)' do
        req.headers[#req.headers + 1] = { name, value }
        req[name:lower()] = req[name:lower()] or value
      end
      req.path = req.target:match '^[^?]*'
      for k, v in (req.target:match '%?(.*)$' or ''):gmatch '([^&=]+)=?([^&]*)' do
        req.query[unescape(k)] = tonumber(v) or (v == '' or v == 'true') or (v ~= 'false' and unescape(v))
      end
      return req
    end
    if #conn.buf > 1 << 20 or not read_more(conn) then return nil end
  end
end

-- Reads the body; `keep` false only counts it. False when the client left inside it.
local function read_body(conn, req, keep)
  local parts, total, pause = {}, 0, (req.query.slow_read_ms or 0) / 1000
  local function eat(n)
    while n > 0 do
      if conn.buf == '' then
        sleep(pause)
        if not read_more(conn, pause > 0 and 4096 or nil) then return false end
      end
      local piece = conn.buf:sub(1, n)
      conn.buf, n, total = conn.buf:sub(#piece + 1), n - #piece, total + #piece
      if keep then parts[#parts + 1] = piece end
    end
    return true
  end
  local function line()
    while not conn.buf:find('\r\n', 1, true) do
      if not read_more(conn) then return nil end
    end
    local l, at = conn.buf:match '^(.-)\r\n()'
    conn.buf = conn.buf:sub(at)
    return l
  end
  if (req.expect or ''):lower() == '100-continue' then write(conn, 'HTTP/1.1 100 Continue\r\n\r\n') end
  if (req['transfer-encoding'] or ''):lower() == 'chunked' then
    while true do
      local size = tonumber((line() or ''):match '^%x+', 16)
      if not size then return false end
      if size == 0 then break end
      if not eat(size) or line() ~= '' then return false end
    end
    repeat local l = line() until l == '' or l == nil
  elseif req['content-length'] then
    if not eat(tonumber(req['content-length'])) then return false end
  end
  req.body, req.body_len = table.concat(parts), total
  return true
end

local reasons = { [200] = 'OK', [400] = 'Bad Request', [404] = 'Not Found', [503] = 'Service Unavailable' }

local function head(conn, req, status, fields)
  local k = req.knobs or {}
  local lines = { ('HTTP/1.1 %d %s'):format(status, reasons[status] or 'Status'),
    'X-Fake-Model: ' .. opts.model, 'X-Fake-Pid: ' .. pid }
  for name, value in pairs(k.headers or {}) do fields[name] = value end
  if k.close or req.close then fields.Connection, req.close = 'close', true end
  for name, value in pairs(fields) do lines[#lines + 1] = ('%s: %s'):format(name, value) end
  local text = table.concat(lines, '\r\n') .. '\r\n\r\n'
  if k.slow_head_ms then
    for i = 1, #text do
      write(conn, text:sub(i, i))
      sleep(k.slow_head_ms / 1000 / #text)
    end
  else
    write(conn, text)
  end
  event('first', { req = req.id })
end

local function answer(conn, req, status, body, ctype)
  local fields = { ['Content-Type'] = ctype or 'application/json' }
  if req.knobs and req.knobs.no_length then
    req.close = true
  else
    fields['Content-Length'] = #body
  end
  head(conn, req, status, fields)
  if req.method ~= 'HEAD' then write(conn, body) end
end

local function chunk(conn, text)
  if text ~= '' then write(conn, ('%x\r\n%s\r\n'):format(#text, text)) end
end

local function loaded() return net.now() - born >= (opts['load-ms'] or 0) / 1000 end

local function await_load()
  sleep(born + (opts['load-ms'] or 0) / 1000 - net.now())
end

local words = { 'lorem', 'ipsum', 'dolor', 'sit', 'amet', 'elit', 'sed', 'do', 'tempor', 'magna' }

local function sse_event(req, text, last)
  local path = req.path
  if path == '/v1/messages' then
    return ('event: content_block_delta\ndata: %s\n\n'):format(json.encode {
      type = 'content_block_delta', index = 0, delta = { type = 'text_delta', text = text } })
  elseif path == '/v1/responses' then
    return ('event: response.output_text.delta\ndata: %s\n\n'):format(json.encode {
      type = 'response.output_text.delta', delta = text })
  elseif path == '/v1/completions' or path == '/completion' or path == '/infill' then
    return ('data: %s\n\n'):format(json.encode { model = opts.model, content = text,
      choices = { { index = 0, text = text } } })
  end
  return ('data: %s\n\n'):format(json.encode { object = 'chat.completion.chunk', model = opts.model,
    choices = { { index = 0, delta = { content = text }, finish_reason = last and 'stop' or nil } } })
end

local function usage(n)
  return { prompt_tokens = 25, completion_tokens = n, total_tokens = 25 + n }
end

local function breaks(conn, req, n)
  local k = req.knobs
  if k.die_after == n then quit(opts['exit-code'] or 7) end
  if k.drop_after == n or k.reset_after == n then
    write(conn, '400\r\ndata: {"cut') -- a chunk that claims 1024 bytes
    if k.reset_after == n then conn.sock:rst() end
    event('end', { req = req.id, cut = true })
    error(GONE, 0)
  end
end

local function stream(conn, req)
  local k = req.knobs
  local n, tps = k.tokens or opts.tokens, k.tps or opts.tps
  head(conn, req, k.status or 200, { ['Content-Type'] = 'text/event-stream', ['Cache-Control'] = 'no-cache',
    ['Transfer-Encoding'] = 'chunked' })
  local i, start = 0, net.now()
  breaks(conn, req, 0)
  while k.endless or i < n do
    i = i + 1
    local text = k.respond or (i == 1 and opts.respond) or ' ' .. words[i % #words + 1]
    if k.chunk_bytes then text = ('x'):rep(k.chunk_bytes) end
    chunk(conn, sse_event(req, text, i == n and not k.endless))
    breaks(conn, req, i)
    if tps > 0 then sleep(start + i / tps - net.now())
    elseif i % 64 == 0 then coroutine.yield('time', 0) end
  end
  if req.path == '/v1/chat/completions' then
    chunk(conn, ('data: %s\n\n'):format(json.encode { model = opts.model, choices = json.decode '[]', usage = usage(n),
      timings = { prompt_n = 25, predicted_n = n, prompt_ms = 1.5, predicted_ms = 2.5,
        prompt_per_second = 16666, predicted_per_second = 4000 } }))
  end
  if req.path ~= '/v1/messages' and req.path ~= '/v1/responses' then chunk(conn, 'data: [DONE]\n\n') end
  write(conn, '0\r\n\r\n')
end

local function echo(req)
  local printable = req.body and not req.body:find '[^\t\n\r -~]'
  return json.encode { model = opts.model, pid = pid, method = req.method, target = req.target, path = req.path,
    headers = req.headers, body = printable and req.body or nil, body_len = req.body_len,
    body_hex = not printable and req.body and #req.body < 1 << 20
      and req.body:gsub('.', function(c) return ('%02x'):format(c:byte()) end) or nil }
end

local function infer(conn, req)
  local k = req.knobs
  await_load()
  if opts['crash-on-request'] or k.die then quit(opts['exit-code'] or 7) end
  if k.burst then burst(k.burst) end
  if k.wait_ms then sleep(k.wait_ms / 1000) end
  if k.stream then return stream(conn, req) end
  if k.echo then return answer(conn, req, k.status or 200, echo(req)) end
  local n, tps = k.tokens or opts.tokens, k.tps or opts.tps
  if tps > 0 then sleep(n / tps) end
  if k.size then
    head(conn, req, k.status or 200, { ['Content-Type'] = 'application/octet-stream', ['Content-Length'] = k.size })
    local block = ('0123456789abcde\n'):rep(4096)
    local left = k.size
    while left > 0 do
      write(conn, left >= #block and block or block:sub(1, left))
      left = left - #block
    end
    return
  end
  local text = k.respond or opts.respond
  local a = { model = opts.model, fake = { pid = pid, model_asked = req.json and req.json.model or nil,
    body_len = req.body_len, req = req.id }, usage = usage(n), content = text }
  if req.path == '/v1/embeddings' then
    a.object, a.data = 'list', { { object = 'embedding', index = 0, embedding = { 0.5, -0.25, 1 } } }
  elseif req.path == '/v1/rerank' then
    a.results = { { index = 0, relevance_score = 0.5 } }
  elseif req.path == '/v1/messages' then
    a.type, a.content = 'message', { { type = 'text', text = text } }
  else
    a.object = 'chat.completion'
    a.choices = { { index = 0, finish_reason = 'stop', text = text,
      message = { role = 'assistant', content = text } } }
  end
  answer(conn, req, k.status or 200, json.encode(a))
end

local probes = 0
local function health(conn, req)
  probes = probes + 1
  event('health', { n = probes })
  if opts['no-health'] then sleep(3600) end
  local status = opts['health-status'] or (loaded() and 200 or 503)
  if opts['flip-health'] and loaded() and probes % opts['flip-health'] == 0 then status = 503 end
  answer(conn, req, status, json.encode { status = status == 200 and 'ok' or 'loading' })
end

local function websocket(conn, req)
  local sha1 = require 'spec.support.sha1'
  local key = req['sec-websocket-key']
  if not key then return answer(conn, req, 400, '{}') end
  write(conn, ('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' ..
    'Sec-WebSocket-Accept: %s\r\nX-Fake-Model: %s\r\n\r\n'):format(
    sha1.base64(sha1.digest(key .. '258EAFA5-E914-47DA-95CA-C5AB0DC85B11')), opts.model))
  local function need(n)
    while #conn.buf < n do
      if not read_more(conn) then error(GONE, 0) end
    end
    local s = conn.buf:sub(1, n)
    conn.buf = conn.buf:sub(n + 1)
    return s
  end
  while true do
    local b1, b2 = need(2):byte(1, 2)
    local len = b2 & 127
    if len == 126 then len = string.unpack('>I2', need(2)) end
    if len == 127 then len = string.unpack('>I8', need(8)) end
    local mask = b2 >= 128 and { need(4):byte(1, 4) }
    local i = 0
    local data = need(len):gsub('.', function(ch)
      i = i + 1
      return mask and string.char(ch:byte() ~ mask[(i - 1) % 4 + 1]) or ch
    end)
    local size = len < 126 and string.char(len) or len < 65536 and '\126' .. string.pack('>I2', len)
      or '\127' .. string.pack('>I8', len)
    write(conn, string.char(b1) .. size .. data)
    if b1 & 15 == 8 then return true end
  end
end

local function slow_respond(conn, req)
  local text, delay = req.query.echo, tonumber(tostring(req.query.delay):match '^%d+') or 100
  if type(text) ~= 'string' then text = 'slow answer' end
  head(conn, req, 200, { ['Content-Type'] = 'text/plain', ['Content-Length'] = #text })
  for c in text:gmatch '.' do
    write(conn, c)
    sleep(delay / 1000)
  end
end

local routes = {
  ['/health'] = health,
  ['/'] = function(c, r) answer(c, r, 200, ('%s %s'):format(r.method, r.path), 'text/plain') end,
  ['/test'] = function(c, r) answer(c, r, 200, opts.respond, 'text/plain') end,
  ['/echo'] = function(c, r) answer(c, r, 200, echo(r)) end,
  ['/env'] = function(c, r)
    answer(c, r, 200, (io.open('/proc/self/environ'):read 'a':gsub('%z', '\n')), 'text/plain')
  end,
  ['/slow-respond'] = slow_respond,
  ['/ws'] = websocket,
  ['/sse'] = function(c, r)
    r.knobs.endless = true
    stream(c, r)
  end,
  ['/upload'] = function(c, r) answer(c, r, 200, json.encode { bytes = r.body_len, model = opts.model }) end,
  ['/v1/models'] = function(c, r)
    answer(c, r, 200, json.encode { object = 'list', data = { { id = opts.model, object = 'model' } } })
  end,
}

-- Knobs: the query, over them the body's "fake" object.
local function knobs_of(req)
  local k = {}
  for name, v in pairs(req.query) do k[name] = v end
  local body = req.json
  if type(body) == 'table' then
    if body.stream == true then k.stream = true end
    if math.type(body.max_tokens) == 'integer' then k.tokens = body.max_tokens end
    for name, v in pairs(type(body.fake) == 'table' and body.fake or {}) do k[name] = v end
  end
  return k
end

local function serve(sock)
  if opts['tls-cert'] then
    sock = require 'spec.tls'.server(sock, { cert = opts['tls-cert'], key = opts['tls-key'] })
  end
  local conn = { sock = sock, buf = '' }
  add_task(function()
    while true do
      local req = read_head(conn)
      if not req then return end
      req.id = req['x-request-id']
      if req.query.early then
        req.knobs, req.close = req.query, true
        return answer(conn, req, req.query.status or 400, '{"early":true}')
      end
      local keep = req.path ~= '/upload'
      if not read_body(conn, req, keep) then
        event('gone', { req = req.id, path = req.path, at = 'body' })
        return
      end
      if (req['content-type'] or ''):find 'json' or (req.body or ''):match '^%s*{' then
        req.json = json.try(req.body)
      end
      req.knobs = knobs_of(req)
      req.id = req.id or (type(req.json) == 'table' and req.json.id) or req.knobs.id
      req.close = (req.connection or ''):lower() == 'close' or req.version == '1.0'
      if req.path ~= '/health' then
        say('%s %s', req.method, req.path)
        event('start', { req = req.id, path = req.path })
        conn.on_gone = function() event('gone', { req = req.id, path = req.path, at = 'answer' }) end
      end
      local handler = routes[req.path] or (req.method == 'POST' and infer)
      local ok, err = pcall(function()
        if handler then return handler(conn, req) end
        answer(conn, req, 404, '{"error":"no such path"}')
      end)
      if not ok then
        if err == GONE and req.path ~= '/health' then event('gone', { req = req.id, path = req.path, at = 'write' }) end
        error(err, 0)
      end
      conn.on_gone = nil
      if req.path ~= '/health' then event('end', { req = req.id, path = req.path }) end
      if req.close or err then return end
    end
  end, conn)
end

-- ---- life of the process ----------------------------------------------------------------------

local function stray_child()
  local shell = require 'spec.shell'
  local hold = opts['hold-pipe']
  net.spawn { shell.exe, '--run', shell.root .. '/spec/support/stray.lua', setsid = true, outlive = true,
    stdout = hold and 'inherit' or '/dev/null', stderr = hold and 'inherit' or '/dev/null' }
end

event 'up'
say('fake model %s pid %d', opts.model, pid)
if opts.burst then burst(opts.burst) end
if opts['fork-child'] or opts['hold-pipe'] then stray_child() end
if opts['exit-after-ms'] then
  add_task(function()
    sleep(opts['exit-after-ms'] / 1000)
    quit(opts['exit-code'] or 0)
  end)
end
if opts['crash-after-ms'] then
  add_task(function()
    sleep(opts['crash-after-ms'] / 1000)
    net.kill(pid, 'KILL')
  end)
end
local acceptor = add_task(function()
  sleep((opts['listen-after-ms'] or 0) / 1000)
  local listener, why = net.listen(opts.host, opts.port or 8080)
  if not listener then
    io.stderr:write(('fake_model: cannot listen on port %s: %s\n'):format(opts.port, why))
    quit(1)
  end
  event('listen', { port = listener:port() })
  say('listening on port %d', listener:port())
  while true do
    local sock, err = listener:accept(0)
    if sock then serve(sock)
    elseif err == 'timeout' then
      ended.acceptor.sock = listener
      coroutine.yield 'accept'
    else sleep(0.05) end -- out of descriptors, say
  end
end)
ended.acceptor = acceptor
if opts['load-ms'] > 0 then
  add_task(function()
    await_load()
    event 'ready'
    say('ready')
  end)
end

while true do turn() end
