-- http_raw.lua: a strict HTTP/1.1 client for specs. It sends exactly the bytes it is given and accepts only
-- well-formed answers: anything else is an error with the offending bytes, so that each functional spec
-- also checks the framing of what luaswap writes.
--
--   local http = require 'spec.support.http_raw'
--   local r = http.post(port, '/v1/chat/completions', { model = 'a' })      one exchange, own connection
--   local c = http.connect(port)                                            keep-alive, pipelining, streams
--   c:send('GET / HTTP/1.1\r\n...')    c:request('POST', path, { headers = {...}, body = text|table })
--   local r = c:head([timeout])        the head only; then:
--   for piece in c:pieces(r) do ... end     for ev in c:events(r) do ... ev.data ... end     c:finish(r)
--   local r = c:response([timeout])    head and body
--   http.all(list [, timeout])         many requests at once; each gets .response and its times
--
-- A response: status, reason, version, headers (list of {name, value}), r:get(name), body, json(), chunked,
-- keep_alive, done (ended as it should), cut ('closed', 'reset' or 'timeout' when it ended early),
-- interim (list of 1xx), t_head and t_done (net.now() of arrival).
local json = require 'spec.support.json'
local net = require 'spec.net'
local slow = require 'spec.support.wait'.slow

local http = { timeout = 20 * slow }
local Conn, Response = {}, {}
Conn.__index, Response.__index = Conn, Response

-- ---- parsing ----------------------------------------------------------------------------------

local function malformed(what, bytes)
  error(('malformed answer: %s: %q'):format(what, (bytes or ''):sub(1, 200)), 0)
end

function Response:get(name)
  local found
  for _, h in ipairs(self.headers) do
    if h[1]:lower() == name:lower() then found = found and found .. ', ' .. h[2] or h[2] end
  end
  return found
end

function Response:count(name)
  local n = 0
  for _, h in ipairs(self.headers) do
    if h[1]:lower() == name:lower() then n = n + 1 end
  end
  return n
end

function Response:json()
  return json.decode(self.body)
end

-- The events of a whole body that is an event stream.
function Response:events()
  local list = {}
  for block in (self.body .. '\n\n'):gsub('\r\n', '\n'):gmatch('(.-)\n\n+') do
    if block ~= '' then list[#list + 1] = http.parse_event(block) end
  end
  return list
end

function http.parse_event(block)
  local ev, data = { raw = block, comments = {} }, {}
  for line in (block:gsub('\r\n', '\n') .. '\n'):gmatch('(.-)\n') do
    local name, value = line:match('^([^:]*): ?(.*)$')
    name = name or line
    if name == 'data' then data[#data + 1] = value or ''
    elseif name == '' then ev.comments[#ev.comments + 1] = value
    else ev[name] = value end
  end
  if #data > 0 then ev.data = table.concat(data, '\n') end
  return ev
end

local function parse_head(text, method)
  local r = setmetatable({ headers = {}, interim = {}, raw_head = text, body = '', length = 0 }, Response)
  local line, rest = text:match('^(.-)\r\n(.*)$')
  local minor, status, reason = (line or ''):match('^HTTP/1%.([01]) (%d%d%d) ([\t -\126\128-\255]*)$')
  if not minor then malformed('status line', text) end
  r.version, r.status, r.reason = '1.' .. minor, tonumber(status), reason
  for field in rest:gmatch('(.-)\r\n') do
    local name, value = field:match("^([%w!#$%%&'*+%-.^_`|~]+):[ \t]*([\t -\126\128-\255]*)$")
    if not name then malformed('header line', field) end
    r.headers[#r.headers + 1] = { name, (value:gsub('[ \t]+$', '')) }
  end
  if rest:gsub('[^\r\n]*\r\n', '') ~= '' then malformed('line end in the head', text) end
  local te, cl = r:get 'transfer-encoding', r:get 'content-length'
  if te and cl then malformed('both Content-Length and Transfer-Encoding', text) end
  if r:count 'content-length' > 1 or (cl and not cl:match '^%d+$') then malformed('Content-Length', text) end
  if te and te ~= 'chunked' then malformed('Transfer-Encoding', text) end
  if te and minor == '0' then malformed('chunked in HTTP/1.0', text) end
  local connection = (r:get 'connection' or ''):lower()
  r.keep_alive = minor == '1' and not connection:find('close', 1, true)
  local bodyless = method == 'HEAD' or r.status == 204 or r.status == 304 or r.status < 200
  if bodyless and te and method ~= 'HEAD' then malformed('body framing where no body may be', text) end
  if bodyless then r.mode = 'none'
  elseif te then r.mode, r.chunked = 'chunked', true
  elseif cl then r.mode, r.left = 'length', math.tointeger(tonumber(cl))
  else r.mode, r.keep_alive = 'close', false end
  return r
end

local function finish(r, cut)
  r.done, r.cut, r.t_done = not cut, cut, net.now()
end

local function take(r, piece)
  if piece == '' then return end
  r.length = r.length + #piece
  if r.on_data then r.on_data(piece, r) end
  if not r.discard then r.parts[#r.parts + 1] = piece end
end

-- Eats what it can of a chunked body; true when it needs more bytes.
local function chunked_step(c, r)
  if r.in_chunk then
    local piece = c.buf:sub(1, r.in_chunk)
    take(r, piece)
    c.buf, r.in_chunk = c.buf:sub(#piece + 1), r.in_chunk - #piece
    if r.in_chunk > 0 then return true end
    if #c.buf < 2 then return true end
    if c.buf:sub(1, 2) ~= '\r\n' then malformed('chunk end', c.buf) end
    c.buf, r.in_chunk = c.buf:sub(3), nil
    return false
  end
  local line, at = c.buf:match('^([^\n]*)\r\n()')
  if not line then
    if #c.buf > 4096 or c.buf:find('^[^\r]*\n') then malformed('chunk size line', c.buf) end
    return true
  end
  if r.trailers then
    c.buf = c.buf:sub(at)
    if line == '' then finish(r) else r.trailers[#r.trailers + 1] = line end
    return false
  end
  local hex = line:match '^(%x+)$'
  if not hex or #hex > 8 then malformed('chunk size', line) end
  local size = tonumber(hex, 16)
  c.buf = c.buf:sub(at)
  if size == 0 then r.trailers = {} else r.in_chunk = size end
  r.chunks = (r.chunks or 0) + (size > 0 and 1 or 0)
  return false
end

-- Eats as much of the connection's buffer as it can for response r (which may be still without a head).
local function step(c, r)
  while not r.done and not r.cut do
    if not r.status then
      local at = c.buf:find('\r\n\r\n', 1, true)
      if not at then
        if #c.buf > 1 << 20 then malformed('endless head', c.buf) end
        return
      end
      local got = parse_head(c.buf:sub(1, at + 1), r.method)
      c.buf = c.buf:sub(at + 4)
      if got.status < 200 and got.status ~= 101 then
        r.interim[#r.interim + 1] = got
      else
        got.interim, got.parts, got.method, got.on_data, got.discard = r.interim, {}, r.method, r.on_data, r.discard
        for k, v in pairs(got) do r[k] = v end
        r.t_head = net.now()
      end
    elseif r.mode == 'none' or (r.mode == 'length' and r.left == 0) then
      finish(r)
    elseif r.mode == 'chunked' then
      if chunked_step(c, r) then return end
    else
      if c.buf == '' then return end
      local piece = r.mode == 'length' and c.buf:sub(1, r.left) or c.buf
      c.buf = c.buf:sub(#piece + 1)
      if r.mode == 'length' then r.left = r.left - #piece end
      take(r, piece)
    end
  end
end

-- The connection ended: with `why` from recv.
local function ended(r, why)
  if r.done or r.cut then return end
  if r.mode == 'close' and why == 'closed' then finish(r) else finish(r, why) end
end

-- ---- one connection ---------------------------------------------------------------------------

local function new_response(c, on_data)
  local r = setmetatable({ headers = {}, interim = {}, parts = {}, length = 0, on_data = on_data,
    method = table.remove(c.methods, 1) }, Response)
  return r
end

-- where: a port, or 'unix:/path', or { host, port }, or { host, port, tls = options of spec.tls.client }
function http.connect(where, timeout)
  local host, port = '127.0.0.1', where
  if type(where) == 'table' then host, port = where[1], where[2] end
  if type(where) == 'string' then host, port = where, 0 end
  local sock, why = net.connect(host, port, timeout or http.timeout)
  if not sock then error(('connect to %s:%s: %s'):format(host, port, why), 2) end
  if type(where) == 'table' and where.tls then
    sock = require 'spec.tls'.client(sock, where.tls)
    local ok, no = sock:handshake(timeout or http.timeout)
    if not ok then error(('TLS handshake with %s:%s: %s'):format(host, port, no), 2) end
  end
  return setmetatable({ sock = sock, buf = '', methods = {}, host = ('%s:%s'):format(host, port) }, Conn)
end

function Conn:fd() return self.sock:fd() end
function Conn:close() self.sock:close() end
function Conn:rst() self.sock:rst() end

-- Exact bytes; raises when they do not go out within the timeout.
function Conn:send(bytes, timeout)
  local n, why, sent = self.sock:send(bytes, timeout or http.timeout)
  if not n then error(('send: %s after %d of %d bytes'):format(why, sent, #bytes), 2) end
  local method = bytes:match '^(%u+) '
  if method then self.methods[#self.methods + 1] = method end
  return self
end

-- The bytes of a request. opts: headers (list of {name, value} or map), body (text, or a table for JSON),
-- chunked (list of pieces), host (false = none), version.
function http.request_bytes(method, path, opts)
  opts = opts or {}
  local lines = { ('%s %s HTTP/%s'):format(method, path, opts.version or '1.1') }
  local body, given = opts.body, {}
  local function add(name, value)
    lines[#lines + 1] = ('%s: %s'):format(name, value)
    given[name:lower()] = true
  end
  for k, v in pairs(opts.headers or {}) do
    if type(k) == 'number' then add(v[1], v[2]) else add(k, v) end
  end
  if opts.host ~= false and not given.host then add('Host', opts.host or 'localhost') end
  if type(body) == 'table' then
    body = json.encode(body)
    if not given['content-type'] then add('Content-Type', 'application/json') end
  end
  if opts.chunked then
    add('Transfer-Encoding', 'chunked')
    local parts = {}
    for _, p in ipairs(opts.chunked) do parts[#parts + 1] = ('%x\r\n%s\r\n'):format(#p, p) end
    body = table.concat(parts) .. '0\r\n\r\n'
  elseif body and not given['content-length'] then
    add('Content-Length', #body)
  end
  return table.concat(lines, '\r\n') .. '\r\n\r\n' .. (body or '')
end

function Conn:request(method, path, opts)
  return self:send(http.request_bytes(method, path, opts), opts and opts.timeout)
end

-- Reads until fn(r) is true or the response has ended.
local function read_until(c, r, deadline, fn)
  while true do
    step(c, r)
    if fn(r) or r.done or r.cut then return end
    local data, why = c.sock:recv(65536, math.max(0, deadline - net.now()))
    if data then c.buf = c.buf .. data else ended(r, why) end
  end
end

-- The next response's head: r, or nil and why when the connection ended without one.
function Conn:head(timeout, on_data)
  local r = new_response(self, on_data)
  read_until(self, r, net.now() + (timeout or http.timeout), function() return r.status end)
  if not r.status then return nil, r.cut end
  return r
end

local function settle(r)
  if r.parts then r.body = table.concat(r.parts) end
  return r
end

-- Reads the rest of the body; r.body is all of it. r.cut tells when it ended early.
function Conn:finish(r, timeout)
  read_until(self, r, net.now() + (timeout or http.timeout), function() return false end)
  return settle(r)
end

-- For drivers that hold many connections: begin() is the answer to come, advance(r) takes what there is to read
-- without waiting and is true when r has ended.
function Conn:begin(on_data)
  return new_response(self, on_data)
end

function Conn:advance(r)
  local data, why = self.sock:recv(65536, 0)
  if data then self.buf = self.buf .. data
  elseif why ~= 'timeout' then ended(r, why) end
  step(self, r)
  if not (r.done or r.cut) then return false end
  settle(r)
  return true
end

function Conn:response(timeout)
  local deadline = net.now() + (timeout or http.timeout)
  local r, why = self:head(timeout)
  if not r then return nil, why end
  return self:finish(r, deadline - net.now())
end

-- The next piece of the body as it arrives; nil at the end (look at r.cut), nil and 'timeout' when nothing
-- came in time, which does not end the response.
function Conn:piece(r, timeout)
  local deadline = net.now() + (timeout or http.timeout)
  r.seen = r.seen or 0
  while true do
    step(self, r)
    if #r.parts > r.seen then
      r.seen = r.seen + 1
      return r.parts[r.seen]
    end
    if r.done or r.cut then return nil, r.cut end
    local data, why = self.sock:recv(65536, math.max(0, deadline - net.now()))
    if data then self.buf = self.buf .. data
    elseif why == 'timeout' then return nil, why
    else ended(r, why) end
  end
end

function Conn:pieces(r, timeout)
  return function() return (self:piece(r, timeout)) end
end

-- The next server-sent event: data, event, comments, raw, at (time of arrival). nil as with piece().
function Conn:event(r, timeout)
  local deadline = net.now() + (timeout or http.timeout)
  r.sse = r.sse or ''
  while true do
    local block, at = r.sse:match('^(.-)\r?\n\r?\n()')
    if block then
      r.sse = r.sse:sub(at)
      local ev = http.parse_event(block)
      ev.at = net.now()
      return ev
    end
    local piece, why = self:piece(r, math.max(0, deadline - net.now()))
    if not piece then return nil, why end
    r.sse = r.sse .. piece
  end
end

function Conn:events(r, timeout)
  return function() return (self:event(r, timeout)) end
end

-- True when the peer has closed and nothing more is to be read.
function Conn:at_end(timeout)
  local data, why = self.sock:recv(1, timeout or http.timeout)
  if data then self.buf = self.buf .. data end
  return not data and (why == 'closed' or why == 'reset'), why or data
end

-- ---- one exchange -----------------------------------------------------------------------------

-- As Conn:request and Conn:response on a connection of its own. Raises when no whole answer came, unless
-- opts.may_cut.
function http.exchange(where, method, path, opts)
  opts = opts or {}
  local c = http.connect(where, opts.timeout)
  c:request(method, path, opts)
  local r, why = c:response(opts.timeout)
  c:close()
  if not r then
    if opts.may_cut then return nil, why end
    error(('%s %s: no answer: %s'):format(method, path, why), 2)
  end
  if r.cut and not opts.may_cut then
    error(('%s %s: answer %d cut (%s) after %d bytes'):format(method, path, r.status, r.cut, r.length), 2)
  end
  return r
end

function http.get(where, path, opts) return http.exchange(where, 'GET', path, opts) end

function http.post(where, path, body, opts)
  opts = opts or {}
  opts.body = body
  return http.exchange(where, 'POST', path, opts)
end

-- ---- many at once -----------------------------------------------------------------------------

-- What waits on the connection, up to the end of the response; bounded, since some never end.
local function drain(c, r)
  for _ = 1, 64 do
    if r.done or r.cut then return end
    local data, why = c.sock:recv(65536, 0)
    if data then c.buf = c.buf .. data
    elseif why == 'timeout' then return
    else ended(r, why) end
    step(c, r)
  end
end

-- list of { port =, method =, path =, headers =, body =, [conn =], [on_data =], [discard =] }. All are sent
-- first, in the list's order, then answered in whatever order the answers come. Each entry gets .response
-- (nil, with .why, when none came) and .t_sent. With opts.stagger, that many seconds pass between sends.
function http.all(list, timeout, opts)
  local deadline = net.now() + (timeout or http.timeout)
  local open = {}
  for _, e in ipairs(list) do
    local c = e.conn or http.connect(e.port)
    e.conn = c
    c:request(e.method or 'POST', e.path, e)
    e.t_sent = net.now()
    local r = new_response(c, e.on_data)
    r.discard, e.response, open[#open + 1] = e.discard, r, e
    if opts and opts.stagger then net.nap(opts.stagger) end
  end
  while #open > 0 do
    local conns, index = {}, {}
    for i, e in ipairs(open) do conns[i], index[e.conn] = e.conn, i end
    local left = deadline - net.now()
    local last = 0
    for _, c in ipairs(net.poll(conns, math.max(0, left))) do last = math.max(last, index[c]) end
    if left <= 0 then
      for _, e in ipairs(open) do ended(e.response, 'timeout') end
      last = 0
    end
    -- All up to the last that is ready, each until it is empty: poll looks at one connection after the other, and
    -- may have passed by an earlier one just before its answer ended and the next began. So the times of two answers
    -- that came one after the other are in order here too.
    for i = 1, last do drain(open[i].conn, open[i].response) end
    local still = {}
    for _, e in ipairs(open) do
      if not e.response.done and not e.response.cut then still[#still + 1] = e
      elseif not e.response.status then e.why, e.response = e.response.cut, nil
      else settle(e.response) end
      if not (e.response and not e.response.done and not e.response.cut) and not e.keep then e.conn:close() end
    end
    open = still
  end
  return list
end

return http
