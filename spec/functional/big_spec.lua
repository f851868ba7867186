-- big_spec.lua: bodies and answers of any size pass in bounded memory. LUASWAP_BIG_MIB sets the size (default 100; the
-- claim in docs/benchmarks.md was measured with 2048).
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'

local mib = tonumber(os.getenv 'LUASWAP_BIG_MIB') or 100

-- An upstream of the spec itself that takes a body of any size and answers with as much.
local function start(port)
  return server.start { config = ('models:\n  a:\n    cmd: sleep 10000\n    checkEndpoint: none\n    proxy: http://127.0.0.1:%d\n')
    :format(port) }
end

describe('big', function()
  after_each(server.stop_all)

  it('uploads and downloads pass with little growth of memory', function()
    local up = net.listen('127.0.0.1', 0)
    local srv = start(up:port())
    local c = http.connect(srv.port)
    local boundary = 'xyz'
    local head = ('--%s\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n--%s\r\n' ..
      'Content-Disposition: form-data; name="file"; filename="f"\r\n\r\n'):format(boundary, boundary)
    local tail = ('\r\n--%s--\r\n'):format(boundary)
    local block = ('0123456789abcdef'):rep(65536)
    local total = #head + mib * #block + #tail
    c:send(('POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=%s\r\n' ..
      'Content-Length: %d\r\n\r\n%s'):format(boundary, total, head))
    local function resident()
      for line in io.lines(('/proc/%d/status'):format(srv.pid)) do
        local kb = line:match '^VmRSS:%s+(%d+)'
        if kb then return tonumber(kb) end
      end
    end
    local before
    for i = 1, mib do
      c:send(block)
      if i == 8 then before = resident() end
    end
    c:send(tail)
    local conn = assert(up:accept(60))
    local buf = ''
    while not buf:find('\r\n\r\n', 1, true) do buf = buf .. assert(conn:recv(65536, 30)) end
    local got = #buf - select(2, buf:find('\r\n\r\n', 1, true))
    assert.matches('Content%-Length: ' .. total, buf)
    while got < total do got = got + #assert(conn:recv(1 << 20, 30)) end
    assert.equal(total, got)
    assert.is_true(resident() - before < 4096, ('upload: %d kB more'):format(resident() - before))
    conn:send(('HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n'):format(mib * #block))
    local base = resident()
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
    assert.is_true(resident() - base < 4096, ('download: %d kB more'):format(resident() - base))
    c:close()
    conn:close()
    up:close()
  end)
end)
