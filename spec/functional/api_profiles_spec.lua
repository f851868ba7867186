-- api_profiles_spec.lua: /api/profiles, what an active profile changes, and /comfyui.
local http = require 'spec.support.http_raw'
local json = require 'spec.support.json'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local function put(srv, body, headers)
  return http.exchange(srv.port, 'PUT', '/api/profiles/active', { body = body, headers = headers })
end

describe('profiles', function()
  local srv
  setup(function()
    srv = server.start { config = 'models:\n' .. server.model('m1', '--silent', { aliases = { 'nick' } }) ..
      '    filters:\n      setParamsByID:\n        variant:\n          temperature: 3\n' ..
      server.model('other', '--silent') .. server.model('hidden', '--silent', { unlisted = true }) .. [[
peers:
  far:
    proxy: http://127.0.0.1:1
    models: [bare]
selectors:
  pick:
    strategy: pin
    targets: [other]
profiles:
  coding:
    description: for work
    pins:
      public: variant
      off: ""
      m1: other
      nick: other
      hidden: m1
      bare: m1
      author: other
      author/public: m1
      via: pick
  empty:
    pins:
      m1: other
]] }
  end)
  teardown(server.stop_all)
  before_each(function() put(srv, { name = json.null }) end)

  local function echo(path, body)
    body.fake = { echo = true }
    local r = srv:post(path, body)
    assert.equal(200, r.status, r.body)
    return r:json()
  end

  it('A114 are listed with their pins, none active at the start', function()
    local r = srv:get '/api/profiles'
    assert.equal('application/json', r:get 'content-type')
    local doc = r:json()
    assert.equal(json.null, doc.active)
    assert.equal(2, #doc.profiles)
    assert.equal('coding', doc.profiles[1].id)
    assert.equal('for work', doc.profiles[1].description)
    assert.equal('', doc.profiles[1].pins.off)
    assert.equal('variant', doc.profiles[1].pins.public)
    assert.equal('empty', doc.profiles[2].id)
  end)

  it('A115 are switched; an unknown one changes nothing', function()
    assert.equal(200, put(srv, { name = 'coding' }).status)
    assert.equal('coding', srv:get '/api/profiles':json().active)
    local r = put(srv, { name = 'missing' })
    assert.equal(404, r.status)
    assert.equal('not_found', r:json().error.code)
    for _, bad in ipairs { 'nonsense', '[]', '{}', '{"name":1}', '{"name":true}', '{"name":["coding"]}', '' } do
      assert.equal(400, put(srv, bad).status, bad)
    end
    assert.equal('coding', srv:get '/api/profiles':json().active)
    for _, none in ipairs { '{"name":null}', '{"name":""}' } do
      put(srv, { name = 'coding' })
      local off = put(srv, none, { ['Content-Type'] = 'text/plain' })
      assert.equal(200, off.status)
      assert.equal(json.null, off:json().active)
      assert.equal(json.null, srv:get '/api/profiles':json().active)
    end
  end)

  it('A116 A117 rename requests, choose parameters, and disable names', function()
    assert.equal(404, srv:chat 'public'.status)
    put(srv, { name = 'coding' })
    local got = echo('/v1/chat/completions', { model = 'public' })
    assert.equal('m1', got.model)
    local sent = json.decode(got.body)
    assert.equal('variant', sent.model)
    assert.equal(3, sent.temperature)
    assert.equal('other', echo('/v1/chat/completions', { model = 'm1' }).model)
    local r = srv:chat 'off'
    assert.equal(404, r.status)
    assert.equal('not_found', r:json().error.code)
  end)

  it('A118 A119 apply to /upstream, the longest pin first, and leave the body alone', function()
    put(srv, { name = 'coding' })
    local got = echo('/upstream/public/v1/chat/completions', { model = 'public' })
    assert.equal('m1', got.model)
    assert.equal('public', json.decode(got.body).model)
    assert.equal('other', echo('/upstream/author/x', {}).model)
    assert.equal('m1', echo('/upstream/author/public/x', {}).model)
    assert.equal(404, srv:get '/upstream/off/x'.status)
    assert.equal('/upstream/variant/', srv:get '/upstream/public':get 'location')
  end)

  it('are those that were active when the request came in', function()
    put(srv, { name = 'coding' })
    local c = srv:connect()
    local body = '{"model":"m1","fake":{"echo":true}}'
    c:send(('POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n' ..
      'Expect: 100-continue\r\n\r\n'):format(#body))
    assert.matches('^HTTP/1.1 100 ', c.sock:recv(100, 10)) -- it is in, its body is not
    put(srv, { name = json.null })
    c.sock:send(body, 10)
    assert.equal('other', c:response():json().model)
    c:close()
    assert.equal('m1', echo('/v1/chat/completions', { model = 'm1' }).model)
  end)

  it('A121 do not apply to unloading and to logs', function()
    put(srv, { name = 'coding' })
    assert.equal(404, srv:post('/api/models/unload/public', '').status)
    assert.equal(400, srv:get '/logs/stream/public'.status)
    assert.equal('other', echo('/v1/chat/completions', { model = 'm1' }).model)
    assert.equal(200, srv:post('/api/models/unload/m1', '').status)
    assert.equal('other', srv:get '/running':json().running[1].model)
  end)

  it('A108 are listed by their pins where those are names of their own', function()
    local function pins()
      local list = {}
      for _, m in ipairs(srv:get '/v1/models':json().data) do
        if m.meta.llamaswap.type == 'profile' then
          list[#list + 1] = m.id
          assert.same({ type = 'profile' }, m.meta.llamaswap)
          assert.is_nil(m.name)
          assert.equal('unloaded', m.status.value)
        end
      end
      return list
    end
    assert.same({}, pins())
    put(srv, { name = 'coding' })
    assert.same({ 'author', 'author/public', 'public', 'via' }, pins())
    put(srv, { name = 'empty' })
    assert.same({}, pins())
  end)
end)

describe('/comfyui', function()
  after_each(server.stop_all)

  it('A134 redirects to its directory, after the key was checked', function()
    local srv = server.start { config = 'apiKeys: [k]\nmodels: {}\n' }
    assert.equal(401, srv:get '/comfyui'.status)
    assert.equal(401, srv:get '/comfyui/'.status)
    local key = { ['x-api-key'] = 'k' }
    local r = srv:get('/comfyui?token=value', { headers = key })
    assert.equal(301, r.status)
    assert.equal('/comfyui/?token=value', r:get 'location')
    assert.equal(308, srv:post('/comfyui', '', { headers = key }).status)
    -- A137
    assert.equal(404, srv:get('/comfyui/', { headers = key }).status)
  end)

  it('A135 A136 is started by its front page only, and gets its paths as they were escaped', function()
    local srv = server.start { config = server.config('', { { 'comfyui_auto', '--silent' }, { 'b', '--silent' } }) }
    local r = srv:post('/comfyui/api/prompt', '{}')
    assert.equal(409, r.status)
    assert.is_truthy(r:json().error.message:find('only /comfyui/ can start it', 1, true))
    assert.equal(0, #srv:models())
    assert.equal('GET /', srv:get '/comfyui/?x'.body)
    r = srv:post('/comfyui/api/userdata/a%252Fb%2F%C3%A4?q=%2F', { fake = { echo = true } })
    assert.equal('/api/userdata/a%252Fb%2F%C3%A4?q=%2F', r:json().target)
    assert.equal(200, srv:chat 'b'.status)
    assert.equal(409, srv:get '/comfyui/api/queue'.status)
    assert.equal('b', srv:get '/running':json().running[1].model)
  end)

  it('A135 refuses other paths while it is starting', function()
    local srv = server.start { config = server.config('', { { 'comfyui_auto', '--silent --load-ms 100000' } }) }
    local c = srv:connect()
    c:request('GET', '/comfyui/')
    wait.till(function() return #srv:get '/running':json().running == 1 end, 10, 'it to start')
    assert.equal(409, srv:get '/comfyui/api/prompt'.status)
    c:close()
  end)

  it('A137 is no alias and no peer model of that name', function()
    local srv = server.start { config = server.config('', { { 'a', '--silent', { aliases = { 'comfyui_auto' } } } }) ..
      'peers:\n  far:\n    proxy: http://127.0.0.1:1\n    models: [comfyui_auto]\n' }
    assert.equal(404, srv:get '/comfyui/'.status)
  end)
end)
