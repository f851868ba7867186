-- api_upstream_spec.lua: /upstream/<model>/<path> (http.md 9.1).
local http = require 'spec.support.http_raw'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local function models(top)
  return (top or '') .. 'models:\n' .. server.model('m1', '--silent', { aliases = { 'nick' } }) ..
    '    filters:\n      stripParams: "x"\n' ..
    server.model('author', '--silent') .. server.model('author/model', '--silent') ..
    'selectors:\n  pick:\n    strategy: pin\n    targets: [m1]\n'
end

describe('/upstream', function()
  local srv
  setup(function() srv = server.start { config = models() } end)
  teardown(server.stop_all)

  local function echo(path, opts)
    local r = http.exchange(srv.port, opts and opts.method or 'GET', path, opts)
    assert.equal(200, r.status, r.body)
    return r:json()
  end

  it('A130 passes any path of the model through and starts it', function()
    local got = echo '/upstream/m1/echo?a=%20b&c'
    assert.equal('m1', got.model)
    assert.equal('/echo?a=%20b&c', got.target)
    assert.equal('GET /', srv:get '/upstream/m1/'.body)
    local r = srv:get '/upstream/m1/no/such'
    assert.equal(404, r.status)
    assert.equal('m1', r:get 'x-fake-model')
    assert.equal('m1', echo '/upstream/nick/echo'.model)
  end)

  it('A028 A029 takes the longest name', function()
    local r = srv:get '/upstream/author/model/v1/models'
    assert.equal('author/model', r:json().data[1].id)
    assert.equal('author', srv:get '/upstream/author/v1/models':json().data[1].id)
  end)

  it('answers 404 for a name that nobody has, for a selector, and for nothing', function()
    for _, path in ipairs { '/upstream/nobody/x', '/upstream/nobody', '/upstream/pick/x' } do
      local r = srv:get(path)
      assert.equal(404, r.status, path)
      assert.is_truthy(r:json().error.message:find 'model not found')
    end
    assert.equal(404, srv:get '/upstream/'.status)
  end)

  it('A130 A131 redirects a bare name to its directory', function()
    local r = srv:get '/upstream/m1?x=1&y'
    assert.equal(301, r.status)
    assert.equal('/upstream/m1/?x=1&y', r:get 'location')
    assert.equal('/upstream/author/model/', http.exchange(srv.port, 'HEAD', '/upstream/author%2Fmodel'):get 'location')
    r = srv:post('/upstream/m1', '{}')
    assert.equal(308, r.status)
    assert.equal('/upstream/m1/', r:get 'location')
  end)

  it('A132 keeps the escapes of the rest', function()
    for _, rest in ipairs { '/api/userdata/workflows%2Fexample.txt2', '/a%252Fb', '/%C3%A4%20x',
      '/echo%2F..%2Fx?q=%2F' } do
      for name, model in pairs { m1 = 'm1', ['author%2Fmodel'] = 'author/model' } do
        local c = srv:connect()
        c:request('POST', '/upstream/' .. name .. rest, { body = { fake = { echo = true } } })
        local r = c:response()
        c:close()
        assert.equal(200, r.status, r.body)
        assert.equal(rest, r:json().target)
        assert.equal(model, r:json().model)
      end
    end
  end)

  it('A033 does not look into the body', function()
    local text = '{"model":"author","model":"author","x":1,"fake":{"echo":true}}'
    local got = echo('/upstream/m1/v1/chat/completions', { method = 'POST', body = text,
      headers = { ['Content-Type'] = 'application/json' } })
    assert.equal('m1', got.model)
    assert.equal(text, got.body)
    got = echo('/upstream/m1/echo', { method = 'PUT', body = 'not json {',
      headers = { ['Content-Type'] = 'application/json' } })
    assert.equal('not json {', got.body)
    assert.equal('PUT', got.method)
    got = echo('/upstream/m1/echo', { method = 'PATCH', chunked = { 'ab', 'cd' } })
    assert.equal('abcd', got.body)
  end)

  it('passes every method but OPTIONS', function()
    for _, method in ipairs { 'GET', 'POST', 'PUT', 'PATCH', 'DELETE' } do
      assert.equal(method, echo('/upstream/m1/echo', { method = method }).method)
    end
    local r = http.exchange(srv.port, 'HEAD', '/upstream/m1/echo')
    assert.equal(200, r.status)
    assert.equal('', r.body)
    assert.equal(204, http.exchange(srv.port, 'OPTIONS', '/upstream/m1/echo').status)
  end)

  it('streams', function()
    local c = srv:connect()
    c:request('GET', '/upstream/m1/sse?tps=100')
    local r = assert(c:head())
    assert.equal('text/event-stream', r:get 'content-type')
    for _ = 1, 3 do assert.is_truthy(c:event(r, 5)) end
    c:close()
    assert.is_truthy(echo '/upstream/m1/echo')
  end)

  it('refuses a bad escape in the name', function()
    assert.equal(400, srv:get '/upstream/m1%zz/'.status)
  end)
end)

describe('upstream.ignorePaths', function()
  after_each(server.stop_all)

  it('A133 do not start a model, and are served when it is ready', function()
    local srv = server.start { config = models() }
    local r = srv:get '/upstream/m1/static/app.js'
    assert.equal(409, r.status)
    assert.equal('conflict', r:json().error.code)
    assert.is_truthy(r:json().error.message:find 'not loaded')
    assert.equal(409, srv:get '/upstream/m1/favicon.ico?v=2'.status)
    assert.equal(0, #srv:models())
    assert.equal(200, srv:get '/upstream/m1/'.status)
    assert.equal('m1', srv:get '/upstream/m1/static/app.js':get 'x-fake-model')
    assert.equal(409, srv:get '/upstream/author/app.js'.status)
    assert.equal(1, #srv:models())
  end)

  it('are regular expressions on the decoded rest', function()
    local srv = server.start { config = models 'upstream:\n  ignorePaths: ["^/static/", "\\\\.map$"]\n' }
    assert.equal(409, srv:get '/upstream/m1/static/x'.status)
    assert.equal(409, srv:get '/upstream/m1/%73tatic/x'.status)
    assert.equal(409, srv:get '/upstream/m1/a.map'.status)
    assert.equal(0, #srv:models())
    assert.equal('m1', srv:get '/upstream/m1/app.js':get 'x-fake-model')
  end)

  it('do not serve while the model is still starting', function()
    local srv = server.start { config = server.config('', { { 'slow', '--silent --load-ms 100000' } }) }
    local c = srv:connect()
    c:request('GET', '/upstream/slow/')
    wait.till(function() return #srv:get '/running':json().running == 1 end, 10, 'the model to start')
    assert.equal(409, srv:get '/upstream/slow/app.js'.status)
    c:close()
  end)
end)
