-- Paths, error bodies, keys, preflight answers, path patterns.
local R = require 'spec.route_request'
local json = require 'dkjson'

local function vectors(name)
  local list = {}
  for line in io.lines('spec/vectors/' .. name .. '.jsonl') do list[#list + 1] = json.decode(line, 1, json.null) end
  return list
end
local function opt(v) if v ~= json.null then return v end end

describe('path_lookup vectors', function()
  local list = vectors 'path_lookup'
  for _, v in ipairs(list) do
    it(v.id .. ': ' .. v.note, function()
      local names, bare = {}, {}
      for peer, models in pairs(v.peers) do
        for _, m in ipairs(models) do
          names[peer .. '/' .. m] = peer .. '/' .. m
          bare[m] = (bare[m] or 0) + 1
        end
      end
      for m, n in pairs(bare) do if n == 1 then names[m] = names[m] or m end end
      for id, aliases in pairs(v.models) do for _, a in ipairs(aliases) do names[a] = id end end
      for id in pairs(v.models) do names[id] = id end
      local got, err = R.lookup(v.path:sub(#'/upstream/' + 1), names)
      if not v.expect.found then
        assert.is_nil(got)
        assert.equal('ERR_NOTFOUND', err)
        return
      end
      for k, want in pairs(v.expect) do if k ~= 'found' then assert.equal(want, got[k], k) end end
    end)
  end
  it('are all there', function() assert.equal(35, #list) end)
end)

describe('path_lookup', function()
  local names = { a = 'A', ['a/b'] = 'AB', ['x y'] = 'X' }
  it('knows a name without anything behind it from one with a slash', function()
    assert.is_true(R.lookup('a', names).bare)
    assert.is_false(R.lookup('a/', names).bare)
    assert.is_true(R.lookup('x%20y', names).bare)
    assert.is_false(R.lookup('a%2F', names).bare)
    assert.equal('/', R.lookup('a%2F', names).forward)
  end)
  it('skips empty segments of a name and keeps those of the rest', function()
    local m = R.lookup('/a//b//c//d', names)
    assert.equal('a/b', m.name)
    assert.equal('//c//d', m.rest)
    assert.equal('//c//d', m.forward)
  end)
  it('puts a slash in front of a rest that began with an escaped one', function()
    local m = R.lookup('a%2Fc%2fd', names)
    assert.equal('/c/d', m.rest)
    assert.equal('/c%2fd', m.forward)
  end)
  it('refuses malformed escapes', function()
    for _, p in ipairs { 'a/%', 'a/%2', 'a/%zz', '%' } do
      assert.equal('ERR_SYNTAX', select(2, R.lookup(p, names)), p)
      assert.equal('ERR_SYNTAX', select(2, R.path_decode(p)), p)
    end
    assert.equal('a b+c/\0', R.path_decode 'a%20b+c%2F%00')
  end)
  it('does not try names longer than there are', function()
    local m = R.lookup('a' .. ('/s'):rep(20000), names)
    assert.equal('a', m.name)
    assert.is_true(m.asked < 5)
    assert.equal('ERR_NOTFOUND', select(2, R.lookup('', names)))
    assert.equal('ERR_NOTFOUND', select(2, R.lookup('///', names)))
  end)
  it('writes names into paths', function()
    assert.equal('org/a%20b:c%25%3F%D0%B2%00', R.path_encode('org/a b:c%?в\0'))
  end)
end)

local function same(a, b)
  if type(a) ~= 'table' then return a == b end
  for k, v in pairs(a) do if not same(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end

describe('error_body vectors', function()
  local list = vectors 'error_body'
  for _, v in ipairs(list) do
    it(v.id .. ': ' .. v.note, function()
      local body, type
      if v.concurrency_limit then
        body, type = R.error_limit(v.message)
      else
        body, type = R.error_body(opt(v.accept), v.status, v.message)
      end
      assert.equal(v.expect.content_type, type)
      if v.json_equal then
        assert.is_true(same(json.decode(v.expect.body, 1, json.null), json.decode(body, 1, json.null)), body)
      else
        assert.equal(v.expect.body, body)
      end
    end)
  end
  it('are all there', function() assert.equal(30, #list) end)
end)

describe('error_body', function()
  it('has the type and code of every status of the contract (http A037)', function()
    local want = {
      [400] = 'invalid_request_error bad_request', [401] = 'authentication_error unauthorized',
      [403] = 'authentication_error forbidden', [404] = 'invalid_request_error not_found',
      [409] = 'invalid_request_error conflict', [429] = 'rate_limit_error rate_limit_exceeded',
      [418] = 'invalid_request_error invalid_request', [500] = 'server_error internal_error',
      [502] = 'server_error bad_gateway', [503] = 'server_error service_unavailable',
      [504] = 'server_error gateway_timeout',
      [302] = 'server_error internal_error',
    }
    for status, text in pairs(want) do
      local e = json.decode((R.error_body(nil, status, 'm')), 1, json.null)
      assert.equal('llama-swap', e.src)
      assert.equal('m', e.error.message)
      assert.equal(json.null, e.error.param)
      assert.equal(text, e.error.type .. ' ' .. e.error.code)
    end
    assert.matches('"code":"request_cancelled"', R.error_body('*/*', 499, 'm', 'request_cancelled'), 1, true)
  end)
  it('is valid UTF-8 whatever the message holds', function()
    assert.matches('a\xEF\xBF\xBDb', (R.error_body(nil, 400, 'a\xffb')), 1, true)
    assert.equal('llama-swap: a\xEF\xBF\xBD\xEF\xBF\xBD', (R.error_body('text/plain', 400, 'a\xe2\x82')))
    assert.matches('<p>\xEF\xBF\xBD&lt;</p>', (R.error_body('text/html', 400, '\x80<')), 1, true)
  end)
  it('prefers plain text over HTML', function()
    assert.equal('text/plain', select(2, R.error_body('text/html, text/plain', 400, '')))
  end)
  it('fits into an event stream', function()
    assert.equal('data: {"src":"llama-swap","error":{"message":"a\\nb",' ..
      '"type":"server_error","param":null,"code":"x"}}\n\n',
      R.error_event(503, 'a\nb', 'x'))
  end)
end)

describe('auth vectors', function()
  local list = vectors 'auth_key'
  for _, v in ipairs(list) do
    it(v.id .. ': ' .. v.note, function()
      local first = {}
      for _, h in ipairs(v.headers) do
        local name = h[1]:lower()
        first[name] = first[name] or h[2]
      end
      assert.equal(v.expect.accepted, R.auth(v.keys, first.authorization, first['x-api-key']))
    end)
  end
  it('are all there', function() assert.equal(31, #list) end)
end)

describe('auth', function()
  local keys = { 'river-key', 'k' }
  it('takes bearer in any case and one candidate only', function()
    for _, s in ipairs { 'Bearer', 'bearer', 'BEARER', 'bEaReR' } do assert.is_true(R.auth(keys, s .. ' river-key')) end
    assert.is_false(R.auth(keys, 'Bearer nope', 'river-key'))
    assert.is_true(R.auth(keys, 'Bearer river-key', 'nope'))
    assert.is_true(R.auth(keys, nil, 'k'))
    assert.is_false(R.auth(keys, nil, ''))
    assert.is_false(R.auth(keys))
    assert.is_false(R.auth(keys, 'Bearer ' .. ('x'):rep(60000)))
    assert.is_false(R.auth(keys, 'Basic ' .. ('QUJD'):rep(30000)))
    assert.equal('Basic realm="llama-swap"', R.www_authenticate)
    assert.equal(('\u{2501}'):rep(5), R.loading_mark)
  end)
  it('finds our keys in headers that must not travel', function()
    assert.is_true(R.holds_key(keys, 'Bearer k'))
    assert.is_true(R.holds_key(keys, 'Basic dTpyaXZlci1rZXk=')) -- u:river-key
    assert.is_false(R.holds_key(keys, 'Bearer other'))
    assert.is_false(R.holds_key({}, 'Bearer k'))
  end)
  it('masks keys', function()
    assert.equal('sk...', R.mask 'sk-12345678')
    assert.equal('...', R.mask 'sk-1234')
    assert.equal('...', R.mask '')
    for _, h in ipairs { 'Authorization', 'proxy-authorization', 'COOKIE', 'Set-Cookie', 'X-Api-Key' } do
      assert.is_true(R.secret(h), h)
    end
    assert.is_false(R.secret 'user-agent')
  end)
end)

describe('cors', function()
  it('echoes tokens only', function()
    assert.equal('Content-Type, Authorization', R.cors 'Content-Type, Authorization')
    assert.equal('X-Custom, Accept', R.cors '  X-Custom ,  Accept ')
    assert.equal('Valid', R.cors 'Valid, Bad Header')
    assert.equal('', R.cors 'Bad@Header')
    assert.equal('', R.cors '')
    assert.equal('a', R.cors ',,a,,"b",c:d,\0,')
    assert.equal("!#$%&'*+-.^_`|~09azAZ", R.cors "!#$%&'*+-.^_`|~09azAZ")
    assert.equal('Content-Type, Authorization, Accept, X-Requested-With', R.cors(nil))
  end)
end)

describe('match', function()
  local default = { [[.*\.(js|json|css|png|gif|jpg|jpeg|ico|txt)$]] }
  it('searches unanchored, at the very end with $', function()
    assert.is_true(R.match(default, '/index.js'))
    assert.is_true(R.match(default, '/a/b.json'))
    assert.is_false(R.match(default, '/index.html'))
    assert.is_false(R.match(default, '/index.js\n'))
    assert.is_false(R.match(default, '/'))
    assert.is_true(R.match({ '' }, '/x'))
    assert.is_true(R.match({ 'nope', '(?i)STATIC' }, '/static/x'))
    assert.is_false(R.match({}, '/x'))
  end)
  it('takes paths that are not UTF-8', function()
    assert.is_true(R.match({ [[\.js$]] }, '/\xff\xfe.js'))
    assert.is_true(R.match({ '^/.$' }, '/в'))
  end)
  it('refuses what RE2 does not have', function()
    for _, p in ipairs { '(?=x)', '(?!x)', '(?<=x)y', [[(a)\1]], '(', '[', 'a**', '(?>x)',
      'a++', [[\Kx]], '(*ACCEPT)' } do
      local ok, err, msg = R.match({ 'fine', p }, 'x')
      assert.is_nil(ok, p)
      assert.equal('ERR_CONFIG', err)
      assert.matches(p, msg, 1, true)
    end
  end)
  it('gives up on a pattern that explodes', function()
    local t = os.clock()
    assert.is_false(R.match({ '^(a+)+$' }, ('a'):rep(5000) .. 'b'))
    assert.is_true(os.clock() - t < 2)
  end)
end)
