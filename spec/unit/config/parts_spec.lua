-- The small parts of config/: URLs, durations, pattern syntax, splitting against a second reading of the rules.
local config = require 'spec.config'

describe('URLs of proxy settings', function()
  it('are taken apart', function()
    assert.same({ scheme = 'http', userinfo = 'u:p', host = 'h', port = '81', path = '/a%20b', query = 'q=1',
      port_num = 81,
      tls = false }, config.url 'http://u:p@h:81/a%20b?q=1#f')
    assert.equal('::1', config.url('http://[::1]:80/x').host)
    assert.equal(443, config.url('HTTPS://h').port_num)
    assert.equal(80, config.url('http://h').port_num)
    assert.equal(0, config.url('http://h:99999999').port_num)
    assert.equal('', config.url('localhost:8080').host)
    assert.equal('x.sock', config.url('unix:///x.sock').path:sub(2))
    assert.equal('', config.url('').host)
    assert.equal('not-a-url', config.url('not-a-url').path)
    assert.equal('host_name', config.url('http://host_name:1').host)
  end)

  it('are refused as the reference refuses them', function()
    for _, u in ipairs { '://x', 'http://h:abc', 'http://h: 1', 'http://[::1', 'http://a b', 'http://h/%zz',
      'http://%41',
      'http://h/\1', '1.2.3.4:80', 'http://h:80:80/', 'http://[::1]x', 'http://u^@h', 'http://h/#%z', 'http://h%2',
        'http://[x]',
      'http://h\127' } do
      assert.is_nil((config.url(u)), u)
    end
  end)
end)

describe('durations', function()
  it('are read and written', function()
    local ms = 1000000
    for text, want in pairs { ['5s'] = 5000, ['1m30s'] = 90000, ['1.5m'] = 90000, ['+10s'] = 10000, ['500ms'] = 500,
      ['6000000us'] = 6000, ['2h45m'] = 9900000, ['.5s'] = 500, ['1.s'] = 1000, ['0'] = 0, ['-1s'] = -1000 } do
      assert.equal(want * ms, (config.duration(text)), text)
    end
    assert.equal('1m30s', select(2, config.duration '90s'))
    assert.equal('1h0m0s', select(2, config.duration '60m'))
    assert.equal('5.25s', select(2, config.duration '5250ms'))
    assert.equal(1500, (config.duration '1.5\u{b5}s'))
  end)

  it('are refused without a unit', function()
    for _, text in ipairs { '', '5', 's', '.s', '-', '+', '1x', '5 s', '1e3s', '9223372036854775807h', '5s ',
      'often' } do
      assert.is_nil((config.duration(text)), text)
    end
  end)
end)

describe('patterns', function()
  it('of RE2 are accepted', function()
    for _, p in ipairs { '', 'a', [[.*\.(js|json|css)$]], '(?i)abc', '(?i:a)b', '(?P<name>x)', '(?<name>x)', '(?:x)',
      'a|b|', '|',
      'a{2}', 'a{2,}', 'a{2,3}?', 'a{,3}', 'a{', '{', '[a-z]', '[^]a]', '[]a]', '[a-]', '[[:alpha:]_]',
        '[[:^alpha:]]', [=[[\d\-\]]]=],
      [[\d\D\s\S\w\W\b\B\A\z]], [[\pN\p{Greek}\P{^Greek}]], [[\x41\x{10FFFF}\n\t\.\/\_]], [[\Qa.b*\E+]], [[\Q]],
        [[\101\012]],
      'a??', '(a*)*', '(?s-i:.)', 'ü+', '^$', '[[a]', 'x{1000}', '(?U)a+' } do
      local ok, why = config.re2(p)
      assert(ok, p .. ': ' .. why)
    end
  end)

  it('that are none are refused', function()
    for _, p in ipairs { '[invalid(', 'a(?=b)', 'a(?!b)', '(?<=a)b', '(?<!a)b', [[(a)\1]], '(', ')', 'a)', '(a', '*',
      'a**', 'a+*',
      '+a', '(?i)*', 'a{2}{3}', '{2}', 'a{1001}', '(a{100}){100}', 'a{3,2}', '[b-a]', '[a', '[', [[a\]],
        [[\p{Klingon}]], [[\pX]], [[\p{]],
      [[\x{110000}]], [[\xg]], [[\Z]], [[\C]], [[\y]], '(?P<n>a)(?P<n>b)', '(?P<>a)', '(?P<a', '(?z)', '(?', '(?i',
        '(?P=n)',
        '(?>a)', '[[:nope:]]',
      'a\xff', ('('):rep(300) .. (')'):rep(300), '(?-)', 'a|*' } do
      assert.is_false((config.re2(p)), p)
    end
  end)
end)

describe('splitting', function()
  -- the rules of config.md 5.3 once more, in another shape: a table of states
  local function words_of(s)
    local out, word, state, i = {}, nil, 'bare', 1
    while i <= #s do
      local c, n = s:sub(i, i), s:sub(i + 1, i + 1)
      if state == 'bare' then
        if c:find '[ \t\n]' then
          if word then out[#out + 1] = word end
          word = nil
        elseif c == '\\' then
          if n ~= '' and n ~= '\n' then word = (word or '') .. n end
          i = i + 1
        elseif c == '"' or c == "'" then
          state, word = c, word or ''
        else
          word = (word or '') .. c
        end
      elseif c == state then
        state = 'bare'
      elseif state == '"' and c == '\\' and n:find '[$`"\\\n]' then
        if n ~= '\n' then word = word .. n end
        i = i + 1
      else
        word = word .. c
      end
      i = i + 1
    end
    if word then out[#out + 1] = word end
    return out
  end

  it('agrees with a second reading of the rules on random text', function()
    local seed = os.time()
    math.randomseed(seed)
    local alphabet = { 'a', 'b', ' ', '\t', '"', "'", '\\', '$', '`', '\r', '\v', '=', '\u{a0}', '|', '#x' }
    for _ = 1, 3000 do
      local parts = {}
      for i = 1, math.random(0, 12) do parts[i] = alphabet[math.random(#alphabet)] end
      local text = 'x' .. table.concat(parts) .. 'y' -- one line that is no comment and ends in no backslash
      local got = config.split(text)
      assert.same(words_of(text), got, ('seed %d: %q'):format(seed, text))
    end
  end)
end)
