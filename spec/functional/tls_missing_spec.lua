-- tls_missing_spec.lua: OpenSSL is loaded when TLS is first used; a machine without it is told so then, not before.
local server = require 'spec.support.server'
local tls_files = require 'spec.support.tls_files'

local NONE = { LUASWAP_LIBSSL = '/no/such/libssl.so.3' }

local function mapped(srv) return server.read_file(('/proc/%d/maps'):format(srv.pid)):find 'libssl' ~= nil end

describe('without OpenSSL', function()
  after_each(server.stop_all)

  it('everything but TLS works, and nothing of it is loaded', function()
    for _, env in ipairs { {}, NONE } do
      local srv = server.start { env = env, config = server.config('', { { 'a', '--silent' } }) }
      assert.equal(200, srv:chat('a').status)
      assert.is_false(mapped(srv))
      srv:stop()
    end
  end)

  it('a TLS listener is refused with the reason', function()
    local cert = tls_files.new():issue { cn = 'x' }
    local srv = server.start { env = NONE, no_wait = true, config = 'models: {}\n',
      args = { '-tls-cert-file', cert.cert, '-tls-key-file', cert.key } }
    assert.equal(1, srv.proc:wait(10))
    assert.is_truthy(srv:log():find('TLS needs OpenSSL: /no/such/libssl.so.3', 1, true))
    srv:destroy()
  end)

  it('a peer behind https is unreachable, and the answer says why', function()
    local srv = server.start { env = NONE,
      config = ('models: {}\npeers:\n  far:\n    proxy: https://127.0.0.1:%d\n    models: [q]\n'):format(1) }
    for _ = 1, 2 do assert.equal(502, srv:chat('q').status) end
    local listener = require 'spec.net'.listen('127.0.0.1', 0)
    local other = server.start { env = NONE, config =
      ('models: {}\npeers:\n  far:\n    proxy: https://127.0.0.1:%d\n    models: [q]\n'):format(listener:port()) }
    for _ = 1, 2 do
      local r = other:chat('q')
      assert.equal(502, r.status)
      assert.is_truthy(r:json().error.message:find('TLS needs OpenSSL: /no/such/libssl.so.3', 1, true), r.body)
    end
    listener:close()
  end)
end)
