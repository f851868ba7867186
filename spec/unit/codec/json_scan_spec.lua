-- The scanner of top-level members: what it finds, what it takes for the same name, where it stops.
local J = require 'spec.codec_json'

local function find(body, ...)
  local found, top = J.scan(body, ...)
  assert.is_table(found, top)
  return found, top
end

describe('json_scan', function()
  it('finds members and their exact values', function()
    local body = ' { "model" : "a b" , "n":-1.5e3,"o":{"model":"x"} , "l":[1,"]"],"t":true }\n'
    local f, top = find(body, 'model', 'n', 'o', 'l', 't')
    assert.same({ model = '"a b"', n = '-1.5e3', o = '{"model":"x"}', l = '[1,"]"]', t = 'true' }, f)
    assert.is_true(top.complete)
    assert.equal(5, top.n)
    assert.equal(1, top.open_at)
  end)

  it('takes escaped spellings of a name for the name', function()
    assert.same({ model = '1' }, (find([[{"mod\u0065l":1}]], 'model')))
    assert.same({ model = '1' }, (find([[{"\u006d\u006F\u0064el":1}]], 'model')))
    assert.same({ ['a/b'] = '1' }, (find([[{"a\/b":1}]], 'a/b')))
    assert.same({ ['🦦'] = '1' }, (find([[{"\ud83e\udda6":1}]], '🦦')))
    assert.same({}, (find([[{"mod\u0065l2":1,"model\u0000":2,"Model":3,"mode":4}]], 'model')))
  end)

  it('refuses a second member only where it must be unique', function()
    for _, body in ipairs {
      '{"model":"a","model":"b"}', '{"model":"a","x":[{}],"model":"a"}',
      [[{"model":"a","mod\u0065l":"b"}]], [[{"mod\u0065l":"a","model":"b"}]], [[{"\u006dodel":1,"mode\u006c":2}]],
      '{"model":"a","model":', '{"model":1,"model":2} tail',
    } do
      local f, err, msg = J.scan(body, '!model')
      if body == '{"model":"a","model":' then
        assert.is_table(f) -- there is no second member, it is cut off
      else
        assert.is_nil(f, body)
        assert.equal('ERR_DUPLICATE', err)
        assert.matches('model', msg)
      end
    end
    assert.same({ stream = 'true' }, (find('{"stream":true,"stream":false}', 'stream')))
    assert.same({ model = '1' }, (find('{"model":1,"o":{"model":2}}', '!model')))
  end)

  it('yields what stands in front of a break', function()
    for body, model in pairs {
      ['{"model":"otter",}'] = '"otter"',
      ['{"model":"otter" "x":1}'] = '"otter"',
      ['{"model":"otter"'] = '"otter"',
      ['{"model":"otter","l":[1,2'] = '"otter"',
      ['{"model":"otter","t":"abc'] = '"otter"',
      ['{"model":"otter",x:1}'] = '"otter"',
      ['{"model":"ott'] = false,
      ['{"x":,"model":"otter"}'] = false,
      ["{'model':'otter'}"] = false,
      ['{model:"otter"}'] = false,
      ['[{"model":"otter"}]'] = false,
      ['"model"'] = false,
      ['12'] = false, [''] = false, ['{'] = false, ['{"'] = false, ['{"model"'] = false, ['{"model":'] = false,
    } do
      local f, top = find(body, 'model')
      assert.equal(model or nil, f.model, body)
      assert.is_false(top.complete, body)
    end
  end)

  it('looks past a byte order mark, blanks and what follows', function()
    assert.equal('"o"', find('\xEF\xBB\xBF \r\n\t{"model":"o"}', 'model').model)
    local f, top = find('{"model":"o"} {"model":"p"}', '!model')
    assert.equal('"o"', f.model)
    assert.is_true(top.complete)
    assert.equal(13, top.end_at)
  end)

  it('takes bare words as values', function()
    local f = find('{"t":NaN,"u":-Infinity,"model":"o"}', 't', 'u', 'model')
    assert.same({ t = 'NaN', u = '-Infinity', model = '"o"' }, f)
  end)

  it('has no limit on depth', function()
    local n = 200000
    local body = '{"a":' .. ('['):rep(n) .. (']'):rep(n) .. ',"model":"o"}'
    assert.equal('"o"', find(body, 'model').model)
  end)
end)

describe('json text of a value', function()
  it('decodes strings', function()
    assert.equal('a/b\n"c"', J.text [["a\u002fb\n\"c\""]])
    assert.equal('\b\f\n\r\t\\/', J.text [["\b\f\n\r\t\\\/"]])
    assert.equal('🦦é', J.text [["\ud83e\udda6\u00e9"]])
    assert.equal('', J.text '""')
    assert.equal('a\0b', J.text [["a\u0000b"]])
  end)
  it('replaces what stands for no character', function()
    local bad = '\xEF\xBF\xBD'
    assert.equal(bad .. 'x', J.text [["\ud83ex"]])
    assert.equal(bad .. bad, J.text [["\ud83e\ud83e"]])
    assert.equal(bad .. 'A', J.text [["\udda6\u0041"]])
    assert.equal(bad, J.text [["\q"]])
    assert.equal(bad .. '12', J.text [["\u12"]])
  end)
  it('keeps integers and spells other numbers out', function()
    for raw, text in pairs {
      ['42'] = '42', ['-7'] = '-7', ['12345678901234567890'] = '12345678901234567890', ['007'] = '007',
      ['1e3'] = '1000', ['1.50'] = '1.5', ['1.0'] = '1', ['-2.5E-3'] = '-0.0025', ['1e400'] = '1e400',
      ['-'] = '-', ['NaN'] = 'NaN',
      ['true'] = 'true', ['false'] = 'false', ['null'] = '', ['{"a": 1}'] = '{"a": 1}', ['[ ]'] = '[ ]',
    } do
      assert.equal(text, J.text(raw), raw)
    end
  end)
  it('knows which values mean true', function()
    for _, raw in ipairs { 'true', '1', '-1', '0.5', '1e-9', '10', '"true"', '"TRUE"', '"1"', '"t"', '"T"' } do
      assert.is_true(J.is_true(raw), raw)
    end
    for _, raw in ipairs { 'false', 'null', '0', '-0', '0.0', '0e5', '""', '"false"', '"0"', '"yes"',
      '[true]', '{}', '', 'tru', '"2"' } do
      assert.is_false(J.is_true(raw), raw)
    end
  end)
end)
