-- api_auth_spec.lua: who may ask, and what web pages may ask (http.md 5).
local files = require 'spec.support.files'
local http = require 'spec.support.http_raw'
local server = require 'spec.support.server'
local base64 = require 'spec.support.sha1'.base64

local models = 'models:\n' .. server.model('m1', '--silent')

describe('API keys', function()
  local srv
  setup(function() srv = server.start { config = 'apiKeys: [k, second-key]\n' .. models } end)
  teardown(server.stop_all)

  local function status(headers, path)
    return srv:get(path or '/running', { headers = headers }).status
  end

  it('A046 are not needed where none are configured', function()
    local open = server.start { config = models }
    for _, path in ipairs { '/running', '/v1/models', '/logs', '/api/version', '/debug/state' } do
      assert.equal(200, open:get(path).status, path)
    end
    open:stop()
  end)

  it('A047 are taken as Bearer in any case of the scheme', function()
    for _, scheme in ipairs { 'Bearer', 'bearer', 'BEARER' } do
      assert.equal(200, status { Authorization = scheme .. ' k' })
    end
    assert.equal(200, status { Authorization = 'Bearer second-key' })
  end)

  it('A048 are taken as the password of Basic with any user', function()
    assert.equal(200, status { Authorization = 'Basic ' .. base64 'somebody:k' })
    assert.equal(200, status { Authorization = 'bAsIc ' .. base64 ':k' })
    assert.equal(401, status { Authorization = 'Basic ' .. base64 'k:x' })
  end)

  it('A049 are taken as x-api-key', function()
    assert.equal(200, status { ['x-api-key'] = 'k' })
    assert.equal(401, status { ['x-api-key'] = 'K' })
  end)

  it('A050 A051 decide by one candidate only', function()
    assert.equal(200, status { Authorization = 'Bearer k', ['x-api-key'] = 'wrong' })
    assert.equal(401, status { Authorization = 'Bearer wrong', ['x-api-key'] = 'k' })
    assert.equal(200, status { Authorization = 'Basic !!!', ['x-api-key'] = 'k' })
  end)

  it('A052 are asked for with 401 and WWW-Authenticate', function()
    for _, headers in ipairs { {}, { Authorization = 'Bearer x' }, { ['x-api-key'] = '' } } do
      local r = srv:get('/running', { headers = headers })
      assert.equal(401, r.status)
      assert.equal('Basic realm="llama-swap"', r:get 'www-authenticate')
      assert.equal('unauthorized', r:json().error.code)
      assert.equal('authentication_error', r:json().error.type)
    end
  end)

  it('A053 guard everything but the few open endpoints', function()
    for _, path in ipairs { '/running', '/v1/models', '/models', '/logs', '/logs/stream', '/logs/stream/m1', '/unload',
      '/api/version', '/props?model=m1', '/upstream/m1/', '/debug/state', '/debug/sched', '/ui/', '/ui/x.js', '/comfyui/',
      '/comfyui', '/upstream/', '/api/profiles', '/api/policy' } do
      assert.equal(401, status({}, path), path)
    end
    for _, path in ipairs { '/api/models/unload', '/api/models/unload/m1', '/v1/chat/completions', '/upstream/m1',
      '/api/inflight/1/cancel', '/api/models/unload/' } do
      assert.equal(401, srv:post(path, { model = 'm1' }).status, path)
    end
    assert.equal(0, #srv:models())
  end)

  it('A013 are not needed for health, for / and to see 404 and 405', function()
    for _, path in ipairs { '/health', '/wol-health' } do
      local r = srv:get(path)
      assert.equal(200, r.status)
      assert.equal('OK', r.body)
      assert.equal('text/plain; charset=utf-8', r:get 'content-type')
    end
    assert.equal(404, status({}, '/nowhere'))
    assert.equal(405, srv:post('/running', '').status)
  end)

  -- method, path and access of every route there is; a '*' is filled in
  local function routes()
    local list = {}
    for method, path, access in files.read 'src/api/routes.def':gmatch '\nROUTE%("([%u*]+)", "([^"]+)", ([%u_]+)' do
      list[#list + 1] = { method = method, path = (path:gsub('%*', 'x')), key = access == 'API_KEY' }
    end
    assert.is_true(#list > 40)
    return list
  end

  it('guard every route that is not said to be open, for HEAD as well', function()
    for _, r in ipairs(routes()) do
      local methods = r.method == '*' and { 'GET', 'POST', 'BREW' } or r.method == 'GET' and { 'GET', 'HEAD' } or { r.method }
      for _, method in ipairs(methods) do
        local got = http.exchange(srv.port, method, r.path)
        assert.equal(r.key, got.status == 401, method .. ' ' .. r.path .. ' ' .. got.status)
        if r.key then assert.equal('Basic realm="llama-swap"', got:get 'www-authenticate') end
      end
    end
    assert.equal(0, #srv:models())
  end)

  it('are not needed to learn which methods a path has', function()
    local of = {}
    for _, r in ipairs(routes()) do of[r.path] = (of[r.path] or '') .. ' ' .. r.method end
    for path, methods in pairs(of) do
      if not methods:find('*', 1, true) and path ~= '/upstream' then
        local r = http.exchange(srv.port, 'DELETE', path)
        assert.equal(405, r.status, path)
        local allow = r:get 'allow'
        for m in methods:gmatch '%u+' do assert.is_truthy(allow:find(m, 1, true), path .. ' ' .. allow) end
        assert.equal(methods:find 'GET' ~= nil, allow:find('GET, HEAD', 1, true) ~= nil)
        local words = {}
        for w in allow:gmatch '%u+' do words[#words + 1] = w end
        local sorted = table.concat(words, ', ')
        table.sort(words)
        assert.equal(table.concat(words, ', '), sorted)
        assert.equal(sorted, allow)
      end
    end
  end)

  it('are not needed for the ways to the page, but for the page', function()
    for path, want in pairs { ['/'] = 302, ['/upstream'] = 302, ['/ui'] = 307, ['//health'] = 307, ['/ui/'] = 401 } do
      assert.equal(want, status({}, path), path)
    end
    assert.equal(307, srv:post('/upstream', '').status)
    assert.equal(404, srv:post('/api/inflight/1', '').status)
    assert.is_truthy(srv:get('/ui/', { headers = { Authorization = 'Basic ' .. base64 'me:k' } }).body:find 'm1')
  end)
end)

describe('CORS', function()
  local srv
  setup(function() srv = server.start { config = 'apiKeys: [k]\n' .. models } end)
  teardown(server.stop_all)

  local function preflight(headers, path)
    local r = http.exchange(srv.port, 'OPTIONS', path or '/v1/chat/completions', { headers = headers })
    assert.equal(204, r.status)
    assert.equal('', r.body)
    assert.equal('*', r:get 'access-control-allow-origin')
    return r
  end

  it('A054 answers a preflight on any path without a key', function()
    for _, path in ipairs { '/v1/chat/completions', '/nowhere', '/upstream/m1/x', '/logs' } do
      local r = preflight({}, path)
      assert.equal('GET, POST, PUT, PATCH, DELETE, OPTIONS', r:get 'access-control-allow-methods')
      assert.equal('86400', r:get 'access-control-max-age')
      assert.is_nil(r:get 'access-control-allow-credentials')
    end
    assert.equal(0, #srv:models())
  end)

  it('A055 A056 allows the asked headers that are tokens', function()
    for asked, allowed in pairs {
      ['Content-Type, Authorization'] = 'Content-Type, Authorization',
      ['X-Custom ,  Accept'] = 'X-Custom, Accept',
      ['Valid, Bad Header'] = 'Valid',
      ['Bad@Header'] = '',
    } do
      local r = preflight { ['Access-Control-Request-Headers'] = asked }
      assert.equal(allowed, r:get 'access-control-allow-headers', asked)
    end
  end)

  it('A057 allows four headers when none were asked for', function()
    assert.equal('Content-Type, Authorization, Accept, X-Requested-With',
      preflight({}):get 'access-control-allow-headers')
    assert.equal('Content-Type, Authorization, Accept, X-Requested-With',
      preflight { ['Access-Control-Request-Headers'] = '' }:get 'access-control-allow-headers')
    local r = http.exchange(srv.port, 'OPTIONS', '*')
    assert.equal(204, r.status)
  end)

  it('A058 echoes the origin on the listing and nowhere else', function()
    local headers = { Origin = 'http://example.com', ['x-api-key'] = 'k' }
    for _, path in ipairs { '/v1/models', '/models' } do
      assert.equal('http://example.com', srv:get(path, { headers = headers }):get 'access-control-allow-origin')
    end
    assert.is_nil(srv:get('/running', { headers = headers }):get 'access-control-allow-origin')
    assert.is_nil(srv:get('/v1/models', { headers = { ['x-api-key'] = 'k' } }):get 'access-control-allow-origin')
  end)
end)
