-- listen_spec.lua: where luaswap listens: Unix sockets, IPv6, and sockets that an activator hands over.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local shell = require 'spec.shell'
local wait = require 'spec.support.wait'

local config = function() return server.config('', { { 'a', '--silent' } }) end

local function exists(path)
  local f = net.connect('unix:' .. path, 0, 1)
  if f then f:close() end
  return f ~= nil
end

local function file_there(path)
  return os.rename(path, path) ~= nil
end

local function up(srv, text)
  wait.till(function() return srv:log():find(text, 1, true) end, 20, text)
end

describe('listening', function()
  after_each(server.stop_all)

  it('on a Unix socket, which goes when the program ends', function()
    local path = net.tmpdir() .. '/s'
    local srv = server.start { config = config(), no_listen = true, no_wait = true, args = { '-listen', 'unix:' .. path } }
    up(srv, 'listening on http://unix:' .. path)
    local r = http.post('unix:' .. path, '/v1/chat/completions', { model = 'a', fake = { echo = true } })
    assert.equal(200, r.status)
    assert.is_falsy(r.body:lower():find('forwarded-for', 1, true)) -- there is no address to tell
    wait.till(function() return srv:log():find('Request unix "POST', 1, true) end, 5, 'the line of the access log')
    srv:stop()
    assert.is_false(file_there(path))
  end)

  it('takes over the file of a program that is gone, never one that is in use', function()
    local path = net.tmpdir() .. '/s'
    local srv = server.start { config = config(), no_listen = true, no_wait = true, args = { '-listen', 'unix:' .. path } }
    up(srv, 'listening on')
    local second = server.start { config = config(), no_listen = true, no_wait = true, args = { '-listen', 'unix:' .. path } }
    assert.equal(1, (second.proc:wait(20)))
    assert.matches('http server error: listen on unix:', second:log(), 1, true)
    second:destroy()
    assert.equal(200, http.get('unix:' .. path, '/health').status)
    srv:kill9()
    srv:destroy()
    assert.is_true(file_there(path))
    srv = server.start { config = config(), no_listen = true, no_wait = true, args = { '-listen', 'unix:' .. path } }
    up(srv, 'listening on')
    assert.equal(200, http.get('unix:' .. path, '/health').status)
    srv:stop()
    -- something else under that name is not touched
    server.write_file(path, 'precious')
    srv = server.start { config = config(), no_listen = true, no_wait = true, args = { '-listen', 'unix:' .. path } }
    assert.equal(1, (srv.proc:wait(20)))
    srv:destroy()
    assert.equal('precious', server.read_file(path))
    assert.is_false(exists(path))
  end)

  it('on IPv6', function()
    local probe = net.listen('::1', 0)
    if not probe then pending 'no IPv6 here' return end
    probe:close()
    local srv = server.start { config = config(), no_listen = true, no_wait = true, args = { '-listen', '[::1]:0' } }
    up(srv, 'listening on http://[::1]:')
    local port = tonumber(srv:log():match 'listening on http://%[::1%]:(%d+)')
    local r = http.post({ '::1', port }, '/v1/chat/completions', { model = 'a' })
    assert.equal(200, r.status)
    wait.till(function() return srv:log():find('Request ::1 "POST', 1, true) end, 5, 'the access log')
  end)

  it('on every address, of both families, by default', function()
    local probe = net.listen('::1', 0)
    if not probe then pending 'no IPv6 here' return end
    probe:close()
    local srv = server.start { config = config(), no_listen = true, no_wait = true, args = { '-listen', ':0' } }
    up(srv, 'listening on http://[::]:')
    local port = tonumber(srv:log():match 'listening on http://%[::%]:(%d+)')
    for host, shown in pairs { ['127.0.0.1'] = '127%.0%.0%.1', ['::1'] = '::1' } do
      local r = http.post({ host, port }, '/upstream/a/echo', 'x')
      assert.equal(200, r.status)
      local seen
      for _, h in ipairs(r:json().headers) do if h[1]:lower() == 'x-forwarded-for' then seen = h[2] end end
      assert.matches('^' .. shown .. '$', seen)
      wait.till(function() return srv:log():find('Request ' .. shown .. ' "POST') end, 5, 'the access log')
    end
  end)

  it('again at once where connections of the last life still linger', function()
    local why
    for _ = 1, 5 do -- somebody else may take the port meanwhile
      local srv = server.start { config = config() }
      local port = srv.port
      local r = http.get(port, '/health', { headers = { Connection = 'close' } }) -- our side closes first: TIME_WAIT
      assert.equal(200, r.status)
      srv:stop()
      local again = server.start { config = config(), no_listen = true, no_wait = true,
        args = { '-listen', '127.0.0.1:' .. port } }
      wait.till(function() return again:log():find('listening on', 1, true) or again:log():find('error', 1, true) end, 20,
        'an address or an error')
      why = again:log()
      if why:find('listening on', 1, true) then
        assert.equal(200, http.get(port, '/health').status)
        return
      end
      again:destroy()
    end
    error(why)
  end)

  -- As systemd does it: descriptor 3 listens already, the variables name our process.
  local function activate(addresses)
    local wrapper = server.write_file(net.tmpdir() .. '/activate', ('#!/bin/sh\nexec "%s" --run "%s" %s "%s" "$@"\n'):format(
      shell.exe, shell.root .. '/spec/support/activate.lua', addresses, server.bin()))
    return server.start { bin = '/bin/sh', script = wrapper, config = config(), no_listen = true, no_wait = true }
  end

  local function links(pid)
    local found = {}
    local f = io.popen(('readlink /proc/%d/fd/* 2>/dev/null'):format(pid))
    for line in f:lines() do found[line] = true end
    f:close()
    return found
  end

  it('on sockets that were handed over, instead of -listen; models know nothing of it', function()
    local path = net.tmpdir() .. '/handed'
    local srv = activate('127.0.0.1,unix:' .. path)
    up(srv, 'listening on http://127.0.0.1:')
    local port = tonumber(srv:log():match 'listening on http://127.0.0.1:(%d+)')
    assert.equal(200, http.post(port, '/v1/chat/completions', { model = 'a' }).status)
    assert.equal(200, http.get('unix:' .. path, '/health').status)
    assert.is_nil(http.get(port, '/upstream/a/env').body:find('LISTEN_', 1, true))
    local f = io.popen(('readlink /proc/%d/fd/3'):format(srv.pid))
    local socket = f:read 'l'
    f:close()
    assert.matches('^socket:', socket)
    assert.is_true(links(srv.pid)[socket])
    local models = srv:models()
    assert.equal(1, #models)
    for _, p in ipairs(srv:tree()) do
      if p.pid ~= srv.pid then assert.is_nil(links(p.pid)[socket], p.cmdline) end
    end
    srv:stop()
    assert.is_true(file_there(path)) -- it belongs to the activator
  end)

  it('not when the variables are for somebody else', function()
    local srv = server.start { config = config(), env = { LISTEN_FDS = '1', LISTEN_PID = '1' } }
    assert.equal(200, srv:get('/health').status)
    srv:chat 'a'
    assert.is_nil(srv:get('/upstream/a/env').body:find('LISTEN_', 1, true))
  end)
end)
