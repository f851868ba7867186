-- api_routing_spec.lua: which endpoint and which model a request reaches, and what errors look like.
local http = require 'spec.support.http_raw'
local json = require 'spec.support.json'
local server = require 'spec.support.server'

local config = table.concat({
  'models:\n',
  server.model('m1', '--silent', { aliases = { 'nick', 'shared' } }),
  '    filters:\n      setParamsByID:\n        "m1:hot":\n          temperature: 2\n',
  server.model('author', '--silent'),
  server.model('author/model', '--silent'),
  server.model('renamed', '--silent', { useModelName = 'inner-name' }),
  'peers:\n  far:\n    proxy: http://127.0.0.1:1\n    models: [m1, shared]\n',
})

describe('routing', function()
  local srv
  setup(function() srv = server.start { config = config } end)
  teardown(server.stop_all)

  local function echo(path, body, opts)
    body.fake = { echo = true }
    local r = srv:post(path, body, opts)
    assert.equal(200, r.status, r.body)
    return r:json(), r
  end

  local function json_post(path, text, headers)
    return srv:post(path, text, { headers = headers or { ['Content-Type'] = 'application/json' } })
  end

  local function is_envelope(r, status, code)
    assert.equal(status, r.status, r.body)
    assert.equal('application/json', r:get 'content-type')
    local e = r:json()
    assert.equal('llama-swap', e.src)
    assert.equal('string', type(e.error.message))
    assert.is_true(#e.error.message > 0)
    assert.equal('string', type(e.error.type))
    assert.equal(json.null, e.error.param)
    assert.equal(code, e.error.code)
    return e.error
  end

  it('A001 sends a chat to the local model with its body unchanged', function()
    local text = '{ "model" : "m1",\n "messages":[], "n": 1.0e0, "n": 2, "fake":{"echo":true} }'
    local r = json_post('/v1/chat/completions', text)
    assert.equal(200, r.status)
    assert.equal(text, r:json().body)
    assert.equal('m1', r:json().model)
  end)

  it('A003 prefers the local model to a peer that offers the same name', function()
    assert.equal('m1', echo('/v1/chat/completions', { model = 'm1' }).model)
    assert.equal('m1', echo('/v1/chat/completions', { model = 'shared' }).model)
  end)

  it('A004 A034 answers an unknown model with the 404 envelope', function()
    local e = is_envelope(json_post('/v1/chat/completions', '{"model":"nobody"}'), 404, 'not_found')
    assert.equal('invalid_request_error', e.type)
  end)

  it('A005 answers a body without a model, or with an empty one, with 404', function()
    is_envelope(json_post('/v1/chat/completions', '{"messages":[]}'), 404, 'not_found')
    is_envelope(json_post('/v1/chat/completions', '{"model":""}'), 404, 'not_found')
  end)

  it('A006 answers a body that is no JSON with 404, not 400', function()
    is_envelope(json_post('/v1/chat/completions', 'not-json'), 404, 'not_found')
  end)

  it('A007 finds no model in JSON that does not say that it is JSON', function()
    is_envelope(srv:post('/v1/chat/completions', '{"model":"m1"}'), 404, 'not_found')
  end)

  it('A008 answers an unknown path with plain 404', function()
    local r = srv:get '/does-not-exist'
    assert.equal(404, r.status)
    assert.equal('404 page not found\n', r.body)
    assert.equal('text/plain; charset=utf-8', r:get 'content-type')
    assert.equal('nosniff', r:get 'x-content-type-options')
    assert.equal(404, srv:get '/running/'.status)
    assert.equal(404, srv:get '/v1/models/m1'.status)
  end)

  it('A009 A010 answers a wrong method with 405 and what is allowed', function()
    local r = srv:get '/v1/chat/completions'
    assert.equal(405, r.status)
    assert.equal('POST', r:get 'allow')
    r = srv:post('/v1/models', '')
    assert.equal(405, r.status)
    assert.equal('GET, HEAD', r:get 'allow')
    r = http.exchange(srv.port, 'PUT', '/v1/audio/voices')
    assert.equal(405, r.status)
    assert.equal('GET, HEAD, POST', r:get 'allow')
  end)

  it('A011 A012 sends a browser to the page, which loads nothing from elsewhere', function()
    for path, to in pairs { ['/'] = '/ui', ['/upstream'] = '/ui/models', ['/upstream?x=1'] = '/ui/models' } do
      local r = srv:get(path)
      assert.equal(302, r.status, path)
      assert.equal(to, r:get 'location', path)
    end
    local r = srv:get '/ui?x=%20'
    assert.equal(307, r.status)
    assert.equal('/ui/?x=%20', r:get 'location')
    for _, path in ipairs { '/ui/', '/ui/models', '/ui/index.html', '/ui/a/b' } do
      r = srv:get(path)
      assert.equal(200, r.status, path)
      assert.equal('text/html; charset=utf-8', r:get 'content-type')
      assert.is_truthy(r.body:find('author/model', 1, true))
      assert.is_nil(r.body:find '<script')
      assert.is_nil(r.body:find 'src=')
      assert.is_truthy(r:get 'content-security-policy':find("default-src 'none'", 1, true))
    end
    for _, path in ipairs { '/ui/missing.js', '/ui/a/b.css', '/favicon.ico' } do
      r = srv:get(path)
      assert.equal(404, r.status, path)
      assert.equal('404 page not found\n', r.body)
    end
  end)

  it('sends a path that lacks its last slash there by a 307, where that has the method', function()
    local r = srv:post('/upstream?x=1', '{}')
    assert.equal(307, r.status)
    assert.equal('/upstream/?x=1', r:get 'location')
    is_envelope(srv:post('/upstream/', '{}'), 404, 'not_found')
    is_envelope(srv:post('/api/models/unload/', ''), 404, 'not_found')
    r = srv:post('/ui', '')
    assert.equal(405, r.status)
    assert.equal('GET, HEAD', r:get 'allow')
    r = srv:get '/api/models/unload'
    assert.equal(405, r.status)
    assert.equal('POST', r:get 'allow')
    assert.equal(404, srv:post('/health/', '').status)
    local c = srv:connect()
    c:request('GET', '/logs/stream/')
    assert.equal(200, c:head().status)
    c:close()
  end)

  it('treats a method that it does not know as any other wrong one, and passes it to /upstream', function()
    for _, method in ipairs { 'BREW', 'get', 'TRACE', 'M-SEARCH' } do
      local c = srv:connect()
      for path, want in pairs { ['/v1/models'] = 405, ['/nowhere'] = 404, ['/health'] = 405 } do
        c:send(('%s %s HTTP/1.1\r\nHost: x\r\n\r\n'):format(method, path))
        local r = c:response()
        assert.equal(want, r.status, method .. path)
        assert.equal(want == 405 and 'GET, HEAD' or nil, r:get 'allow')
        assert.is_true(r.keep_alive)
      end
      c:send(('%s /upstream/m1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi'):format(method))
      local r = c:response()
      assert.equal(200, r.status)
      assert.equal(method, r:json().method)
      assert.equal('hi', r:json().body)
      c:close()
    end
  end)

  it('takes bytes above 127 in a path and a query, and passes them on as escapes', function()
    local r = srv:get '/upstream/m1/\u{fc}/\xff%2F?q=\u{20ac}&r=%20'
    assert.equal('m1', r:get 'x-fake-model')
    r = srv:post('/upstream/m1/\u{fc}/\xff%2F?q=\u{20ac}&r=%20', { fake = { echo = true } })
    assert.equal('/%C3%BC/%FF%2F?q=%E2%82%AC&r=%20', r:json().target)
    r = srv:get '/\u{fc}//x?\u{fc}'
    assert.equal(307, r.status)
    assert.equal('/%C3%BC/x?%C3%BC', r:get 'location')
    assert.equal(404, srv:get '/\u{fc}'.status)
    local long = ('\u{fc}'):rep(30000) -- nearly all that a head may hold, three times as long when it is sent on
    r = srv:post('/upstream/m1/' .. long, { fake = { echo = true } })
    assert.equal(200, r.status, r.body)
    assert.is_true(r:json().target == '/' .. ('%C3%BC'):rep(30000))
    local log = srv:get '/logs'.body
    assert.is_truthy(log:find('GET /%C3%BC HTTP/1.1" 404', 1, true))
    assert.is_nil(log:find '[\x80-\xff]/x')
  end)

  it('A018 answers HEAD without a body', function()
    for _, path in ipairs { '/health', '/v1/models', '/running', '/ui/', '/logs', '/logs/stream' } do
      local r = http.exchange(srv.port, 'HEAD', path)
      assert.equal(200, r.status, path)
      assert.equal('', r.body)
    end
    assert.equal(302, http.exchange(srv.port, 'HEAD', '/').status)
    local r = http.exchange(srv.port, 'HEAD', '/v1/chat/completions')
    assert.equal(405, r.status)
    assert.equal('POST', r:get 'allow')
    -- the model is named by the query, the model's own answer has no body either
    r = http.exchange(srv.port, 'HEAD', '/props?model=m1')
    assert.equal('m1', r:get 'x-fake-model')
    assert.equal('', r.body)
  end)

  it('cleans a path with // or dots by a 307 that keeps the query', function()
    local r = srv:get '//running?x=1'
    assert.equal(307, r.status)
    assert.equal('/running?x=1', r:get 'location')
    assert.equal('/health', srv:get '/v1/../health':get 'location')
  end)

  it('A014 sends /audioapi/v1/tasks/run upstream as /v1/tasks/run', function()
    assert.equal('/v1/tasks/run', echo('/audioapi/v1/tasks/run', { model = 'm1' }).target)
  end)

  it('A015 sends /v/x upstream as /x and leaves /v1 alone', function()
    assert.equal('/chat/completions', echo('/v/chat/completions', { model = 'm1' }).target)
    assert.equal('/embeddings?a=b', echo('/v/embeddings?a=b', { model = 'm1' }).target)
    assert.equal('/v1/chat/completions', echo('/v1/chat/completions', { model = 'm1' }).target)
    for _, path in ipairs { '/v/chat/completions', '/v/responses', '/v/completions', '/v/messages',
      '/v/messages/count_tokens', '/v/embeddings', '/v/rerank', '/v/reranking' } do
      assert.equal(path:sub(3), echo(path, { model = 'm1' }).target)
    end
    assert.equal(404, json_post('/v/moderations', '{"model":"m1"}').status)
  end)

  it('does not redirect to a part of a path that is too long for it', function()
    local big = server.start { config = 'limits:\n  headerBlock: 2000000\n' .. config }
    local long = ('\u{fc}'):rep(40000)
    local r = big:get('/upstream//' .. long)
    assert.equal(307, r.status)
    assert.is_true(r:get 'location' == '/upstream/' .. ('%C3%BC'):rep(40000))
    for _, path in ipairs { '//' .. ('x'):rep(300000), '//' .. ('\u{fc}'):rep(100000), '/ui?' .. ('x'):rep(300000),
      '/comfyui?' .. ('x'):rep(300000), '/upstream/m1?' .. ('x'):rep(600000) } do
      assert.equal(414, big:get(path).status, path:sub(1, 20))
    end
    assert.equal(404, big:get('/' .. ('x'):rep(300000)).status)
    big:stop()
  end)

  it('knows a path also with escapes that need not be, but takes no %2F for a slash', function()
    assert.equal(200, srv:get '/v1/%6dodels'.status)
    assert.equal('/v1/messages/count%5Ftokens', echo('/v1/messages/count%5Ftokens', { model = 'm1' }).target)
    assert.equal('/messages/count_tokens', echo('/%76/messages/count%5ftokens', { model = 'm1' }).target)
    local r = srv:post('/v1/%6dodels', '')
    assert.equal(405, r.status)
    for _, path in ipairs { '/v1%2Fmodels', '/v1/models%2f', '/v1/%256dodels', '/%2Fv1/models', '/v1/models%20' } do
      assert.equal(404, srv:get(path).status, path)
    end
  end)

  it('A016 finds the model of a GET in the query and forwards the query', function()
    -- the fake model has no /props: its own 404 shows what it got
    local r = srv:get '/props?model=author/model&autoload=1'
    assert.equal(404, r.status, r.body)
    assert.equal('author/model', r:get 'x-fake-model')
    is_envelope(srv:get '/props', 404, 'not_found')
  end)

  it('A017 sends voices upstream by GET and by POST', function()
    local r = srv:get '/v1/audio/voices?model=author'
    assert.equal('author', r:get 'x-fake-model')
    assert.equal('/v1/audio/voices', echo('/v1/audio/voices', { model = 'author' }).target)
  end)

  it('A019 resolves an alias and leaves it in the body', function()
    local got = echo('/v1/chat/completions', { model = 'nick' })
    assert.equal('m1', got.model)
    assert.equal('nick', json.decode(got.body).model)
  end)

  it('A059 puts useModelName into the body', function()
    local got = echo('/v1/chat/completions', { model = 'renamed' })
    assert.equal('inner-name', json.decode(got.body).model)
    assert.equal('renamed', got.model)
  end)

  it('A020 A061 takes a setParamsByID key as a name and applies its parameters', function()
    local got = echo('/v1/chat/completions', { model = 'm1:hot' })
    assert.equal('m1', got.model)
    assert.equal(2, json.decode(got.body).temperature)
  end)

  it('serves every path that names a model', function()
    for _, path in ipairs { '/v1/chat/completions', '/v1/responses', '/v1/completions', '/v1/messages',
      '/v1/messages/count_tokens', '/v1/embeddings', '/rerank', '/reranking', '/v1/rerank', '/v1/reranking', '/infill',
      '/completion', '/v1/audio/speech', '/v1/audio/voices', '/v1/audio/transcriptions', '/v1/images/generations',
      '/v1/images/edits', '/sdapi/v1/txt2img', '/sdapi/v1/img2img' } do
      assert.equal(path, echo(path, { model = 'm1' }).target)
    end
    assert.equal('m1', srv:get '/sdapi/v1/loras?model=m1':get 'x-fake-model')
  end)

  it('A023 A024 A025 A026 A027 finds the model in forms and in the query, and delivers the body as it came', function()
    local function sent(path, ctype, text)
      local r = srv:post(path, text, { headers = { ['Content-Type'] = ctype } })
      assert.equal(200, r.status, r.body)
      assert.equal(text, r:json().body)
      return r:json().model
    end
    assert.equal('m1', sent('/v1/audio/transcriptions?echo=1', 'application/x-www-form-urlencoded',
      'a=%20&model=m1&stream=true'))
    local form = '--XX\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n' ..
      '--XX\r\nContent-Disposition: form-data; name="model"\r\n\r\nauthor\r\n--XX--\r\n'
    assert.equal('author', sent('/v1/audio/transcriptions?echo=1', 'multipart/form-data; boundary=XX', form))
    assert.equal('m1', sent('/v1/audio/transcriptions?echo=1&model=m1', 'multipart/form-data; boundary=XX', form))
    assert.equal('m1', sent('/v1/audio/transcriptions?echo=1&model=m1', 'text/plain', 'model=author'))
    is_envelope(srv:post('/v1/audio/transcriptions', form:gsub('name="model"', 'name="other"'),
      { headers = { ['Content-Type'] = 'multipart/form-data; boundary=XX' } }), 404, 'not_found')
  end)

  it('A035 A036 writes errors as text or HTML for those who ask for that', function()
    local r = srv:post('/v1/chat/completions', { model = 'a<b' }, { headers = { Accept = 'text/plain' } })
    assert.equal(404, r.status)
    assert.equal('text/plain', r:get 'content-type')
    assert.equal('llama-swap: ', r.body:sub(1, 12))
    r = srv:get('/logs/stream/nobody', { headers = { Accept = 'text/html,*/*' } })
    assert.equal(400, r.status)
    assert.equal('text/html', r:get 'content-type')
    assert.is_truthy(r.body:find('<h1>llama-swap</h1>', 1, true))
    assert.is_nil(r.body:find '"proxy"')
  end)

  it('A045 uses the same envelope on /v1/messages', function()
    is_envelope(json_post('/v1/messages', '{"model":"nobody"}'), 404, 'not_found')
  end)

  it('refuses a body with two models', function()
    is_envelope(json_post('/v1/chat/completions', '{"model":"m1","model":"author"}'), 400, 'bad_request')
  end)

  it('refuses a JSON body above the limit with 413 and goes on', function()
    local small = server.start { config = 'limits:\n  jsonBody: 2048\n' .. config }
    is_envelope(small:post('/v1/chat/completions', { model = 'm1', pad = ('x'):rep(4096) }), 413, 'invalid_request')
    is_envelope(http.exchange(small.port, 'POST', '/v1/chat/completions', { headers = { ['Content-Type'] = 'application/json' },
      chunked = { '{"model":"m1","pad":"', ('x'):rep(1500), ('x'):rep(1500), '"}' } }), 413, 'invalid_request')
    -- nobody asks for the body of what is too large anyway
    local c = small:connect()
    c:send('POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n' ..
      'Content-Length: 5000\r\nExpect: 100-continue\r\n\r\n')
    local early = c:response()
    assert.equal(413, early.status)
    assert.equal(0, #early.interim)
    c:close()
    local r = small:post('/v1/chat/completions', { model = 'm1' })
    assert.equal(200, r.status, r.body)
    small:stop()
  end)
end)

describe('model errors', function()
  after_each(server.stop_all)

  it('A038 answers a full model with 429 in JSON whatever was asked for', function()
    local srv = server.start { config = server.config('sendLoadingState: true', {
      { 'a', '--silent', { concurrencyLimit = 1 } } }) }
    local c = srv:connect()
    c:request('POST', '/v1/chat/completions', { body = { model = 'a', fake = { wait_ms = 60000 } } })
    require 'spec.support.wait'.till(function() return #srv:models() > 0 end, 10, 'the model to start')
    -- A039: no loading events, although the client asked for a stream
    for _, stream in ipairs { false, true } do
      local r = srv:chat('a', { stream = stream }, { headers = { Accept = 'text/plain' } })
      assert.equal(429, r.status)
      assert.equal('application/json', r:get 'content-type')
      assert.equal('1', r:get 'retry-after')
      local e = r:json().error
      assert.equal('rate_limit_error', e.type)
      assert.equal('concurrency_limit', e.code)
      assert.is_true(#e.message > 0)
    end
    c:close()
  end)

  it('A040 answers everybody who waited for a start that failed with 500', function()
    local srv = server.start { config = 'models:\n  bad:\n    cmd: sh -c "echo no such weights >&2; exit 3"\n' ..
      '    proxy: http://127.0.0.1:1\n' }
    local list = {}
    for i = 1, 3 do
      list[i] = { port = srv.port, path = '/v1/chat/completions', body = { model = 'bad' } }
    end
    http.all(list, 30)
    for _, e in ipairs(list) do
      assert.equal(500, e.response.status)
      assert.equal('llama-swap', e.response:json().src)
      assert.equal('internal_error', e.response:json().error.code)
    end
    assert.is_truthy(srv:log():find('no such weights', 1, true))
  end)

  it('A042 answers 502 with the envelope when the model does not listen', function()
    local srv = server.start { config = 'models:\n  deaf:\n    cmd: sleep 1000\n    proxy: http://127.0.0.1:1\n' ..
      '    checkEndpoint: none\n' }
    local r = srv:chat 'deaf'
    assert.equal(502, r.status)
    assert.equal('bad_gateway', r:json().error.code)
    assert.equal('llama-swap', r:json().src)
  end)
end)
