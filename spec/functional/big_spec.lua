-- big_spec.lua: bodies and answers of any size pass in bounded memory. LUASWAP_BIG_MIB sets the size (default 100; the figures for
-- 2048 are in docs/testing.md).
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'

local mib = tonumber(os.getenv 'LUASWAP_BIG_MIB') or 100
local block = ('0123456789abcdef'):rep(65536)

-- An upstream of the spec itself that takes a body of any size and answers with as much.
local function start(port, scheduler)
  return server.start { config = ('routing: { scheduler: { use: %s } }\nmodels:\n  a:\n    cmd: sleep 10000\n' ..
    '    checkEndpoint: none\n    proxy: http://127.0.0.1:%d\n'):format(scheduler, port) }
end

local function resident(srv)
  return tonumber(server.read_file(('/proc/%d/status'):format(srv.pid)):match 'VmRSS:%s+(%d+)')
end

local function head_of(conn)
  local buf = ''
  while not buf:find('\r\n\r\n', 1, true) do buf = buf .. assert(conn:recv(65536, 30)) end
  return buf, #buf - select(2, buf:find('\r\n\r\n', 1, true))
end

-- Held: the upstream hears nothing before the last byte. Streamed: it has everything as soon as it was sent.
local function upload(srv, c, up, streamed)
  local boundary = 'xyz'
  local head = ('--%s\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n--%s\r\n' ..
    'Content-Disposition: form-data; name="file"; filename="f"\r\n\r\n'):format(boundary, boundary)
  local tail = ('\r\n--%s--\r\n'):format(boundary)
  local total = #head + mib * #block + #tail
  c:send(('POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=%s\r\n' ..
    'Content-Length: %d\r\n\r\n%s'):format(boundary, total, head))
  local before, conn, buf, got
  for i = 1, mib do
    c:send(block)
    if streamed and not conn then
      conn = assert(up:accept(60))
      buf, got = head_of(conn)
    end
    while conn and got < i * #block do got = got + #assert(conn:recv(1 << 20, 30)) end
    if i == 8 then before = resident(srv) end
  end
  c:send(tail)
  if not conn then
    conn = assert(up:accept(60))
    buf, got = head_of(conn)
  end
  assert.matches('Content%-Length: ' .. total, buf)
  while got < total do got = got + #assert(conn:recv(1 << 20, 30)) end
  assert.equal(total, got)
  local more = resident(srv) - before
  assert.is_true(more < 4096, ('upload: %d kB more'):format(more))
  return conn, more
end

local function download(srv, c, conn)
  conn:send(('HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n'):format(mib * #block))
  local base = resident(srv)
  local r, why = c:head(20)
  assert.is_truthy(r, tostring(why) .. srv:log())
  local read = 0
  for i = 1, mib do
    conn:send(block)
    while read < i * #block do
      read = read + #assert(c:piece(r, 20))
      r.parts, r.seen = {}, 0
    end
  end
  c:finish(r, 120)
  assert.is_true(r.done)
  local more = resident(srv) - base
  assert.is_true(more < 4096, ('download: %d kB more'):format(more))
  return more
end

describe('big', function()
  after_each(server.stop_all)

  for _, scheduler in ipairs { 'serial', 'fifo' } do
    it('uploads and downloads pass with little growth of memory under ' .. scheduler, function()
      local up = net.listen('127.0.0.1', 0)
      local srv = start(up:port(), scheduler)
      local c = http.connect(srv.port)
      if scheduler == 'fifo' then -- streamed only to a model that is ready
        c:request('GET', '/upstream/a/x')
        local s = assert(up:accept(20))
        head_of(s)
        s:send 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
        assert.equal(200, c:response().status)
        s:close()
      end
      local conn, in_kb = upload(srv, c, up, scheduler == 'fifo')
      local out_kb = download(srv, c, conn)
      if os.getenv 'LUASWAP_BIG_MIB' then
        print(('%s, %d MiB: upload %d kB more, download %d kB more'):format(scheduler, mib, in_kb, out_kb))
      end
      c:close()
      conn:close()
      up:close()
    end)
  end
end)
