-- soak.lua: a day of traffic, compressed: many requests over several models while models are killed, unloaded,
-- cancelled and read slowly; then the books are checked.
--
--   luaswap-spec --run spec/bench/soak.lua [--scheduler fifo|serial] [--requests N] [--clients N] [--seed N]
--                                          [--calm] [--reload] [--luaswap FILE]
--   require 'spec.bench.soak'.run{ scheduler =, requests =, clients =, seed =, calm =, reload =, bin = } -> report
--
-- A request has a number that goes to the model and comes back in the answer. Each ends in exactly one way: a whole
-- answer with its number in it, a refusal (429 of a full model), left by its client, or failed. Failed is right only
-- when its model was killed or unloaded while it was under way. report.bad holds everything that was not right;
-- run() does not raise for it. report.rss: mean RSS of luaswap (KiB) in each quarter of the run.
-- calm: no kills and no unloads, so nothing may fail. reload: SIGHUP now and then (nothing has changed).
local http = require 'spec.support.http_raw'
local json = require 'spec.support.json'
local net = require 'spec.net'
local server = require 'spec.support.server'

local soak = {}
local names = { 'a', 'b', 'c', 'd', 'e', 'f' }
local small_limit = 3 -- of f; e stays beside the others under fifo, f has a ttl of a second

local function config(o, log)
  local models = {}
  for _, m in ipairs(names) do
    models[#models + 1] = { m, ('--silent --tokens 3 --log %s'):format(log),
      { concurrencyLimit = m == 'f' and small_limit or 1000, ttl = m == 'f' and 1 or 0 } }
  end
  return server.config(([[
healthCheckTimeout: 60
routing:
  scheduler: { use: %s, settings: { serial: { maxQueue: 0 } } }
  router: { settings: { groups: { side: { swap: true, exclusive: false, persistent: true, members: [e] } } } }
]]):format(o.scheduler), models)
end

local function read(path)
  local f = io.open(path, 'rb')
  if not f then return '' end
  local text = f:read 'a'
  f:close()
  return text or ''
end

local rss = net.rss_kb

-- ---- one request -------------------------------------------------------------------------------

local Run = {}
Run.__index = Run

-- kind, and the knobs of the fake model. Delays are short under serial, where they add up.
local function choose(self)
  local x, serial = math.random(1000), self.o.scheduler == 'serial'
  if x <= 40 then return 'cancel', { wait_ms = math.random(0, serial and 4 or 60) } end
  if x <= 60 then return 'cancel', { stream = true, tokens = 20, tps = serial and 2000 or 300 } end
  if x <= 180 then return 'stream', { stream = true, tokens = math.random(1, 12) } end
  if x <= 200 then return 'stream', { stream = true, tokens = 20, tps = serial and 2000 or 200 } end
  if x <= 215 then return 'large', { size = math.random(10, 2000) * 1024 } end
  if x <= 225 then return 'slow', { size = math.random(200, 900) * 1024 } end
  if x <= 235 then return 'upload', {} end
  if x <= 236 and not self.o.calm then return 'die', { die = true } end
  if x <= 237 and not self.o.calm then return 'die', { stream = true, tokens = 9, die_after = math.random(0, 5) } end
  if x <= 280 then return 'plain', { wait_ms = math.random(0, serial and 3 or 30) } end
  return 'plain', {}
end

local function close(slot)
  if slot.conn then slot.conn:close() end
  slot.conn, slot.resp = nil, nil
end

function Run:issue(slot)
  self.issued = self.issued + 1
  local serial = self.o.scheduler == 'serial'
  if self.issued % (serial and 120 or 250) == 0 then self.hot = names[math.random(#names - 1)] end
  local model = self.hot
  if math.random(100) > (serial and 99 or 85) then model = names[math.random(#names)] end
  local kind, fake = choose(self)
  local id = ('q%d'):format(self.issued)
  if self.o.calm and kind == 'die' then kind, fake = 'plain', {} end
  fake.respond = fake.stream and id or nil
  local body = { model = model, id = id, fake = fake, stream = fake.stream, messages = {} }
  if kind == 'upload' then body.pad = ('p'):rep(math.random(20, 2500) * 1024) end
  local bytes = http.request_bytes('POST', '/v1/chat/completions', { body = body })
  if slot.conn and math.random(20) == 1 then close(slot) end
  slot.conn = slot.conn or http.connect(self.srv.port)
  if kind == 'slow' then slot.conn.sock:set_rcvbuf(16384) end
  local now = net.now()
  slot.req = { id = id, model = model, kind = kind, fake = fake, t = now }
  if kind == 'die' then slot.req.mark = self:disturb(model, now, math.huge) end
  self.open[model] = self.open[model] + 1
  if kind == 'cancel' then
    local how = math.random(4)
    if how == 1 then bytes = bytes:sub(1, math.random(#bytes - 1)) end -- leaves within the request
    slot.conn:send(bytes)
    if how <= 2 then return self:finish(slot, 'left') end
    slot.leave_at = now + math.random() * (serial and 0.01 or 0.08)
    slot.rst = how == 3
  else
    slot.conn:send(bytes, 60)
  end
  slot.resp = slot.conn:begin()
  slot.resp.discard = kind == 'large' or kind == 'slow'
end

function Run:wrong(req, fmt, ...)
  self.n_bad = self.n_bad + 1
  if #self.bad >= 20 then return end
  self.bad[#self.bad + 1] = ('%s (%s of %s): '):format(req.id, req.kind, req.model) .. fmt:format(...)
  if self.o.verbose then io.stderr:write(('%6.0f s %s\n'):format(net.now() - self.t0, self.bad[#self.bad]:sub(1, 500))) end
end

-- Was the model disturbed while the request was under way?
function Run:disturbed(req, now)
  for _, d in ipairs(self.trouble[req.model]) do
    if d[1] <= now and d[2] >= req.t then return true end
  end
end

function Run:disturb(model, from, to)
  local list = self.trouble[model]
  while list[1] and list[1][2] < from - 200 do table.remove(list, 1) end
  local d = { from, to }
  list[#list + 1] = d
  return d
end

local function stream_is_whole(req, body)
  local n = select(2, body:gsub('"' .. req.id .. '"', ''))
  return n == req.fake.tokens and body:sub(-14) == 'data: [DONE]\n\n'
end

-- The one way out of a request.
function Run:finish(slot, how)
  local req, r, now = slot.req, slot.resp, net.now()
  self.open[req.model] = self.open[req.model] - 1
  self.ended[how] = (self.ended[how] or 0) + 1
  self.done = self.done + 1
  self.fate[req.id] = how
  self.slowest = math.max(self.slowest, now - req.t)
  if req.mark then req.mark[2] = now + 0.5 end
  slot.req, slot.leave_at, slot.pause_until = nil, nil, nil
  if how == 'left' then
    if slot.rst then slot.conn:rst() end
    slot.rst = nil
  end
  if how == 'answered' and r.keep_alive and req.kind ~= 'slow' then slot.resp = nil else close(slot) end
end

function Run:answered(slot)
  local req, r, now = slot.req, slot.resp, net.now()
  if req.kind == 'cancel' then self.in_time = self.in_time + 1 end
  if not r.status or r.cut then
    if not self:disturbed(req, now) then
      self:wrong(req, 'cut (%s) after status %s and %d bytes', r.cut, r.status or 'none', r.length)
    end
    return self:finish(slot, 'cut')
  end
  if r.status == 429 then
    if req.model ~= 'f' or not r:get 'retry-after' then self:wrong(req, '429: %s', r.body) end
    return self:finish(slot, 'refused')
  end
  if r.status ~= 200 then
    if not self:disturbed(req, now) then self:wrong(req, '%d: %s', r.status, r.body) end
    self.statuses[r.status] = (self.statuses[r.status] or 0) + 1
    return self:finish(slot, 'failed')
  end
  local pid = math.tointeger(tonumber(r:get 'x-fake-pid'))
  if r:get 'x-fake-model' ~= req.model then
    self:wrong(req, 'answered by %s', r:get 'x-fake-model' or 'nobody')
  elseif req.fake.size and r.length ~= req.fake.size then
    self:wrong(req, '%d of %d bytes', r.length, req.fake.size)
  elseif req.fake.stream and not stream_is_whole(req, r.body) then
    self:wrong(req, 'a stream that is not whole: %s', r.body:sub(-300))
  elseif not req.fake.size and not req.fake.stream and not r.body:find('"req":"' .. req.id .. '"', 1, true) then
    self:wrong(req, 'the answer of another: %s', r.body)
  end
  self.pid[req.model] = pid
  return self:finish(slot, 'answered')
end

-- ---- what goes wrong meanwhile -----------------------------------------------------------------

function Run:kill()
  local model = math.random(2) == 1 and self.hot or names[math.random(#names)]
  local pid = self.pid[model]
  if not pid or not read('/proc/' .. pid .. '/cmdline'):find(self.log, 1, true) then return end
  self:disturb(model, net.now(), net.now() + 0.5)
  net.kill(pid, 'KILL')
  self.pid[model] = nil
  self.kills = self.kills + 1
end

function Run:unload()
  if self.control then return end
  local all = math.random(4) == 1
  local model = math.random(2) == 1 and self.hot or names[math.random(#names)]
  self.unloads = self.unloads + 1
  local c = http.connect(self.srv.port)
  self.control = { conn = c, marks = {} }
  for _, m in ipairs(all and names or { model }) do
    table.insert(self.control.marks, self:disturb(m, net.now(), math.huge))
  end
  if all then c:request('GET', '/unload') else c:request('POST', '/api/models/unload/' .. model, { body = '' }) end
  self.control.resp = c:begin()
end

function Run:unloaded()
  local k = self.control
  if k.resp.status ~= 200 then
    self:wrong({ id = 'unload', kind = 'unload', model = '-' }, '%s %s', k.resp.status or k.resp.cut, k.resp.body)
  end
  for _, d in ipairs(k.marks) do d[2] = net.now() + 0.3 end
  k.conn:close()
  self.control = nil
end

-- By number of ended requests.
function Run:mischief()
  if self.done >= self.next_sample then
    self.next_sample = self.next_sample + math.max(1, self.o.requests // 400)
    local q = math.min(4, 1 + self.done * 4 // self.o.requests)
    local list = self.samples[q]
    list[#list + 1] = rss(self.srv.pid)
    if self.o.verbose and #list % 10 == 0 and self.done > self.said + 1000 then
      self.said = self.done
      io.stderr:write(('%6.0f s %7d done, RSS %d KiB, wrong %d\n'):format(net.now() - self.t0, self.done, list[#list], self.n_bad))
    end
  end
  if self.o.calm then return end
  if self.done >= self.next_kill then
    self.next_kill = self.done + math.random(50, 350)
    self:kill()
  end
  if self.done >= self.next_unload then
    self.next_unload = self.done + math.random(200, 1200)
    self:unload()
  end
  if self.o.reload and self.done >= self.next_reload then
    self.next_reload = self.done + math.random(1000, 3000)
    self.srv.proc:kill 'HUP'
    self.reloads = self.reloads + 1
  end
end

-- ---- the loop ----------------------------------------------------------------------------------

function Run:turn(slots)
  local readers, by, due, now = {}, {}, 0.5, net.now()
  for _, s in ipairs(slots) do
    if s.leave_at and s.req then due = math.min(due, s.leave_at - now) end
    if s.req and s.pause_until and s.pause_until > now then
      due = math.min(due, s.pause_until - now)
    elseif s.resp and s.req then
      readers[#readers + 1], by[s.conn] = s.conn, s
    end
  end
  if self.control then readers[#readers + 1] = self.control.conn end
  for _, c in ipairs((net.poll(readers, math.max(0, due)))) do
    local s = by[c]
    if not s then
      if c:advance(self.control.resp) then self:unloaded() end
    elseif c:advance(s.resp) then
      self:answered(s)
    elseif s.req.kind == 'slow' then
      s.pause_until = net.now() + math.random() * 0.02
    end
  end
  now = net.now()
  for _, s in ipairs(slots) do
    if s.req and s.leave_at and s.leave_at <= now then self:finish(s, 'left') end
    if s.req and now - s.req.t > 120 then
      self:wrong(s.req, 'no answer for two minutes')
      self:finish(s, 'lost')
    end
  end
end

function Run:books(report)
  -- what the models saw: nobody more than twice, and twice only after a crash
  local seen, twice, missing = {}, 0, 0
  for line in io.lines(self.log) do
    if line:find('"ev":"start"', 1, true) then
      local id = line:match '"req":"(q%d+)"'
      if id then seen[id] = (seen[id] or 0) + 1 end
    end
    if line:find('"ev":"up"', 1, true) then report.loads = report.loads + 1 end
  end
  for id, how in pairs(self.fate) do
    local n = seen[id] or 0
    if n > 1 then twice = twice + 1 end
    if n > 2 or (n > 1 and self.o.calm) or (how == 'answered' and n == 0) or (how == 'refused' and n > 0) then
      missing = missing + 1
      if missing <= 20 then self.bad[#self.bad + 1] = ('%s %s, and reached a model %d times'):format(id, how, n) end
    end
  end
  report.asked_again, report.bad_books = twice, missing
end

local function handles(srv)
  local state = srv:get '/debug/state':json()
  return #state.handles, state
end

function Run:at_rest(report)
  local t0 = net.now()
  assert(self.srv:get('/unload', { timeout = 60 }).status == 200)
  local state
  repeat -- the last connections are noticed a moment later
    report.handles_end, state = handles(self.srv)
    report.fds_end = net.fds(self.srv.pid)
    local waiting = 0
    for _, list in pairs(state.requests) do waiting = waiting + #list end
    report.requests_left = waiting - 1 + state.scheduler.waiting + state.scheduler.inflight
    report.buffered = state.buffered_bytes
    report.zombies = 0
    for _, p in ipairs(net.pids()) do
      if p.ppid == self.srv.pid then report.zombies = report.zombies + 1 end
    end
    local rest = report.fds_end <= report.fds_start and report.requests_left == 0 and report.zombies == 0
    if not rest then net.nap(0.05) end
  until rest or net.now() - t0 > 15
  report.checks_failed = state.checks_failed
  report.rss_end = rss(self.srv.pid)
  report.heap_end = self.srv:get '/debug/state':json().heap_bytes
end

function soak.run(o)
  o.clients, o.seed = o.clients or 48, o.seed or os.time()
  math.randomseed(o.seed)
  local log = net.tmpdir() .. '/events'
  local srv = server.start { config = config(o, log), bin = o.bin }
  local self = setmetatable({ o = o, srv = srv, log = log, hot = 'a', issued = 0, done = 0, ended = {}, fate = {}, pid = {},
    open = {}, trouble = {}, bad = {}, n_bad = 0, statuses = {}, samples = { {}, {}, {}, {} }, next_sample = 0,
    next_kill = 100, next_unload = 300, next_reload = 500, kills = 0, unloads = 0, reloads = 0, slowest = 0, in_time = 0, said = 0,
    t0 = net.now() }, Run)
  for _, m in ipairs(names) do self.open[m], self.trouble[m] = 0, {} end
  local report = { scheduler = o.scheduler, requests = o.requests, clients = o.clients, seed = o.seed, loads = 0 }
  report.handles_start = handles(srv)
  report.fds_start = net.fds(srv.pid)
  report.rss_start = rss(srv.pid)
  report.heap_start = srv:get '/debug/state':json().heap_bytes
  local slots = {}
  for i = 1, o.clients do slots[i] = {} end
  while self.done < o.requests do
    for _, s in ipairs(slots) do
      if not s.req and self.issued < o.requests then self:issue(s) end
    end
    self:turn(slots)
    self:mischief()
  end
  while self.control do self:turn(slots) end
  for _, s in ipairs(slots) do
    if s.conn then
      local data = s.conn.buf ~= '' and s.conn.buf or s.conn.sock:recv(1000, 0)
      if data then self:wrong({ id = '-', kind = 'idle', model = '-' }, 'bytes that nobody asked for: %s', data) end
    end
    close(s)
  end
  report.seconds = net.now() - self.t0
  self:at_rest(report)
  srv:stop()
  self:books(report)
  report.rss = {}
  for q = 1, 4 do
    local sum = 0
    for _, kib in ipairs(self.samples[q]) do sum = sum + kib end
    report.rss[q] = sum / math.max(1, #self.samples[q])
  end
  for _, k in ipairs { 'ended', 'bad', 'n_bad', 'statuses', 'kills', 'unloads', 'reloads', 'slowest', 'in_time', 'issued' } do
    report[k] = self[k]
  end
  return report
end

-- What is not as it should be; an empty list when all is well. The RSS rule is for long runs.
function soak.judge(r, with_rss)
  local list = { table.unpack(r.bad) }
  local function need(ok, what, ...) if not ok then list[#list + 1] = what:format(...) end end
  local sum = 0
  for _, n in pairs(r.ended) do sum = sum + n end
  need(sum == r.requests and r.issued == r.requests, '%d requests ended of %d', sum, r.requests)
  need(r.n_bad == 0, '%d requests did not end as they should', r.n_bad)
  need(r.bad_books == 0, '%d requests reached the models too often or never', r.bad_books)
  need(r.requests_left == 0, '%d requests are left inside', r.requests_left)
  need(r.buffered == 0, '%d bytes of bodies are left', r.buffered)
  need(r.checks_failed == 0, '%d internal checks failed', r.checks_failed)
  need(r.zombies == 0, '%d children are left', r.zombies)
  need(r.fds_end <= r.fds_start, '%d descriptors at the start, %d at the end', r.fds_start, r.fds_end)
  if with_rss then -- allocated bytes: rings and tables have a size, nothing grows with the number of requests
    need(r.heap_end <= r.heap_start + (2 << 20), 'heap %d -> %d bytes', r.heap_start, r.heap_end)
  end
  if with_rss then need(r.rss[4] <= 1.05 * r.rss[2], 'RSS %.0f -> %.0f KiB', r.rss[2], r.rss[4]) end
  return list
end

-- For specs: a run of which everything must be right.
function soak.short(o)
  o.seed = tonumber(os.getenv 'LUASWAP_SEED') or os.time()
  o.clients = 24
  local r = soak.run(o)
  local wrong = soak.judge(r)
  if r.ended.answered < 0.75 * r.requests then wrong[#wrong + 1] = ('only %d answers'):format(r.ended.answered) end
  if #wrong > 0 then error(('LUASWAP_SEED=%d: %s'):format(o.seed, table.concat(wrong, '; ')), 2) end
  return r
end

if arg and arg[0] and arg[0]:match 'soak%.lua$' then
  local o = { scheduler = 'fifo', requests = 200000, verbose = true }
  local i = 1
  while arg[i] do
    local name = arg[i]:match '^%-%-(%w+)$' or error('soak: what is ' .. arg[i] .. '?', 0)
    if name == 'calm' or name == 'reload' then o[name] = true
    else
      i = i + 1
      local key = name == 'luaswap' and 'bin' or name
      o[key] = math.tointeger(tonumber(arg[i])) or arg[i]
    end
    i = i + 1
  end
  local r = soak.run(o)
  local wrong = soak.judge(r, r.requests >= 100000) -- shorter runs are warming up for half their time
  r.bad = nil
  print(json.encode(r))
  for _, w in ipairs(wrong) do print('WRONG: ' .. w) end
  print(#wrong == 0 and 'soak: all is well' or 'soak: failed')
  os.exit(#wrong == 0 and 0 or 1, true)
end

return soak
