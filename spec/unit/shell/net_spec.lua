-- net_spec.lua: the shell's own sockets and processes; the functional specs stand on them.
local net = require 'spec.net'
local shell = require 'spec.shell'
local wait = require 'spec.support.wait'

local function pair(host)
  local l = assert(net.listen(host or '127.0.0.1', 0))
  local c = assert(net.connect(host or '127.0.0.1', l:port()))
  local s = assert(l:accept(5))
  return c, s, l
end

describe('spec.net sockets', function()
  for _, host in ipairs { '127.0.0.1', '::1' } do
    it('carry bytes both ways over ' .. host, function()
      local c, s, l = pair(host)
      assert.equal(5, c:send('he\0lo'))
      assert.equal('he\0lo', s:recv(100, 5))
      assert.equal(l:port(), c:peer_port())
      s:send('x')
      s:close()
      assert.equal('x', c:recv(1, 5))
      assert.same({ nil, 'closed' }, { c:recv(1, 5) })
    end)
  end

  it('carry bytes over a unix socket', function()
    local path = 'unix:' .. net.tmpdir() .. '/s'
    local l = assert(net.listen(path, 0))
    local c = assert(net.connect(path, 0))
    assert.equal(2, c:send('ab'))
    assert.equal('ab', l:accept(5):recv(9, 5))
  end)

  it('say timeout, refused, reset and closed apart', function()
    local c, s, l = pair()
    assert.same({ nil, 'timeout' }, { c:recv(1, 0.01) })
    assert.same({ nil, 'timeout' }, { l:accept(0.01) })
    s:rst()
    assert.same({ nil, 'reset' }, { c:recv(1, 5) })
    local port = l:port()
    l:close()
    assert.same({ nil, 'refused' }, { net.connect('127.0.0.1', port, 5) })
  end)

  it('tell how much of a send fitted when nobody reads', function()
    local c, s = pair()
    c:set_sndbuf(4096)
    s:set_rcvbuf(4096)
    local ok, why, sent = c:send(('x'):rep(8 << 20), 0.05)
    assert.is_nil(ok)
    assert.equal('timeout', why)
    assert.is_true(sent > 0 and sent < 8 << 20)
    assert.is_true(s:unread() > 0)
  end)

  it('refuse addresses that are not loopback', function()
    assert.has_error(function() net.connect('192.0.2.1', 80, 1) end)
    assert.has_error(function() net.listen('0.0.0.0', 0) end)
  end)

  it('are polled for reading and writing', function()
    local c, s = pair()
    local c2 = pair()
    assert.same({ {}, {} }, { net.poll({ c, s }, 0) })
    s:send('x')
    local r, w = net.poll({ c2, c }, 5, { s })
    assert.equal(c, r[1])
    assert.equal(1, #r)
    assert.equal(s, w[1])
  end)
end)

describe('spec.net processes', function()
  it('give exit codes, signals and output', function()
    local p = assert(net.spawn { 'sh', '-c', 'echo out; echo err >&2; exit 3', stdout = 'pipe', stderr = 'pipe' })
    assert.equal(3, p:wait(5))
    assert.equal('out\n', p:read_stdout(5))
    assert.equal('err\n', p:read_stderr(5))
    assert.same({ nil, 'closed' }, { p:read_stdout(5) })
    local q = assert(net.spawn { 'sleep', '60' })
    assert.same({ nil, 'timeout' }, { q:wait(0.01) })
    assert.is_true(q:kill 'TERM')
    assert.same({ nil, 15 }, { q:wait(5) })
    assert.is_false(q:kill 'TERM')
  end)

  it('say when a program cannot be run', function()
    local p, why = net.spawn { '/nonexistent/program' }
    assert.is_nil(p)
    assert.equal('No such file or directory', why)
  end)

  it('get environment, folder and input', function()
    local dir = net.tmpdir()
    net.setenv('SPEC_GONE', 'x')
    local p = assert(net.spawn { 'sh', '-c', 'pwd; echo "$SPEC_A-$SPEC_GONE"; cat', cwd = dir,
      env = { SPEC_A = 'b c', SPEC_GONE = false }, stdin = 'pipe', stdout = 'pipe' })
    net.setenv('SPEC_GONE')
    p:write_stdin 'typed'
    p:close_stdin()
    assert.equal(0, p:wait(5))
    assert.equal(dir .. '\nb c-\ntyped', p:read_stdout(5))
  end)

  it('are seen in /proc with their descendants', function()
    local p = assert(net.spawn { 'sh', '-c', 'sleep 60 & sleep 60; :' })
    local kids = wait.till(function()
      local k = net.children_of(p:pid())
      return #k == 2 and k
    end, 5, 'two children')
    assert.equal('sleep 60', kids[1].cmdline)
    assert.equal(p:pid(), kids[1].ppid)
    local st = net.stat(p:pid())
    assert.is_true(st.rss_kb > 0 and st.fds >= 3 and st.switches >= 0)
    p:kill 'KILL'
    p:wait(5)
    for _, k in ipairs(kids) do net.kill(k.pid, 'KILL') end
    assert.is_nil(net.stat(p:pid()))
  end)

  it('die with the shell', function()
    local script = os.tmpname()
    local f = io.open(script, 'w')
    f:write [[
      local net = require 'spec.net'
      print(net.spawn({ 'sleep', '60' }):pid())
      io.stdout:flush()
      net.nap(60)
    ]]
    f:close()
    local p = assert(net.spawn { shell.exe, '--run', script, stdout = 'pipe' })
    local pid = tonumber(p:read_stdout(10))
    assert.is_truthy(net.stat(pid))
    p:kill 'KILL'
    p:wait(5)
    wait.till(function() local s = net.stat(pid); return not s or s.state == 'Z' end, 5, 'the end of the child')
    os.remove(script)
  end)

  it('leave no temporary folder behind', function()
    local p = assert(net.spawn { shell.exe, '--run', '/dev/stdin', stdin = 'pipe', stdout = 'pipe' })
    p:write_stdin [[
      local d = require 'spec.net'.tmpdir()
      io.open(d .. '/file', 'w'):close()
      print(d) ]]
    p:close_stdin()
    assert.equal(0, p:wait(10))
    local dir = p:read_stdout(5):match '%S+'
    assert.is_nil(io.open(dir))
  end)
end)
