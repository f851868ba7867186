-- The tree view with its caps, the writer of numbers and strings, and path edits beyond the vectors.
local J = require 'spec.codec_json'

describe('json_parse', function()
  it('reads every kind of value', function()
    assert.same({ a = { 1, 2.5, true, false, '<null>', 'x\n', {} }, ['b c'] = { d = {} } },
      J.parse '{"a":[1,2.5,true,false,null,"x\\n",[]],"b c":{"d":{}}}')
    assert.equal(5, J.parse ' 5 ')
  end)
  it('refuses what is not JSON, or more than JSON', function()
    for _, s in ipairs { '', ' ', '{', '{"a":}', '[1,]', '{"a":1}}', '{"a":1} x', 'nul', '"a', "{'a':1}",
      [[{"model\u0<00":1}]], [["\u12"]], [["\u"]], '"a\0b"', '"a\nb"', '[1,\0012]' } do
      local v, err = J.parse(s)
      assert.is_nil(v, s)
      assert.equal('ERR_SYNTAX', err, s)
    end
    assert.equal('ERR_UTF8', select(2, J.parse '"\xff"'))
  end)
  it('has caps on bytes, values and depth', function()
    assert.equal('ERR_LIMIT', select(2, J.parse('[1,2,3]', 3)))
    assert.is_table(J.parse('[1,2,3]', 4))
    assert.is_table(J.parse('["a,b,c,d",1]', 4))
    assert.equal('ERR_LIMIT', select(2, J.parse('[[[1]]]', 100, 2)))
    assert.is_table(J.parse('[["[[["]]', 100, 2))
    assert.equal('ERR_LIMIT', select(2, J.parse('[1]', 10, 10, 2)))
  end)
  it('is case-sensitive and reads NULs as the replacement character', function()
    local v = J.parse [[{"Model":1,"model\u0000x":2,"m":"a\u0000b","n":"\\u0000"}]]
    assert.is_nil(v.model)
    assert.equal(2, v['model\xEF\xBF\xBDx'])
    assert.equal('a\xEF\xBF\xBDb', v.m)
    assert.equal('\\u0000', v.n)
  end)
end)

describe('json numbers', function()
  it('use the fewest digits', function()
    for text, v in pairs {
      ['0.1'] = 0.1, ['0.3333333333333333'] = 1 / 3, ['2500'] = 2500.0, ['-0.5'] = -0.5, ['0'] = 0.0, ['-0'] = -0.0,
      ['1e-7'] = 1e-7, ['0.000001'] = 1e-6, ['1e+21'] = 1e21, ['100000000000000000000'] = 1e20, ['5e-324'] = 5e-324,
      ['1.7976931348623157e+308'] = 1.7976931348623157e308, ['123456.789'] = 123456.789, ['9007199254740993'] = nil,
      ['1.0000000000000002'] = 1.0000000000000002, ['2.2250738585072014e-308'] = 2.2250738585072014e-308,
    } do
      assert.equal(text, J.num(v))
    end
    assert.equal('0.0000001', J.num(1e-7, true))
    assert.equal('1' .. ('0'):rep(21), J.num(1e21, true))
    assert.equal(326, #J.num(5e-324, true))
  end)
  it('read back as the same number', function()
    local seed = os.time()
    math.randomseed(seed)
    for _ = 1, 20000 do
      local v = string.unpack('d', string.pack('I8', math.random(0)))
      if v == v and v ~= math.huge and v ~= -math.huge then
        assert.is_true(v == tonumber(J.num(v)) + 0.0, 'seed ' .. seed)
        assert.is_true(v == tonumber(J.num(v, true)) + 0.0, 'seed ' .. seed)
      end
    end
  end)
end)

describe('json_edit', function()
  local function edit(body, ...) return J.edit(body, { ... }) end

  it('leaves a body alone when nothing changes', function()
    local body = ' {"model":"o" , "x": [1 ]}\n'
    local out, segs, changed = edit(body, { 'delete', 'y' }, { 'delete', 'x.7' }, { 'delete', 'x.y' })
    assert.equal(body, out)
    assert.equal(1, segs)
    assert.is_false(changed)
    assert.equal(body, (edit(body)))
    assert.equal('not json', (edit('not json')))
  end)
  it('needs a well-formed object to work on', function()
    for _, body in ipairs { '', 'x', '[]', '{', '{"a":1,}', '{"a":1', '{"a" 1}', '{"a":{"b" 1}}' } do
      local out, err = edit(body, { 'delete', body:find '{"b' and 'a.b' or 'q' })
      assert.is_nil(out, body)
      assert.equal('ERR_SYNTAX', err, body)
    end
  end)
  it('keeps the order of deletes, sets and deletes again', function()
    assert.equal('{"b":2,"a":9}', (edit('{"a":1,"b":2}', { 'delete', 'a' }, { 'set', 'a', '9' })))
    assert.equal('{"b":2}', (edit('{"b":2}', { 'set', 'a', '9' }, { 'delete', 'a' })))
    assert.equal('{"a":5}', (edit('{}', { 'set', 'a', '1' }, { 'set', 'a', '5' })))
    assert.equal('{}', (edit('{"a":1,"b":2}', { 'delete', 'b' }, { 'delete', 'a' })))
    assert.equal('{}', (edit('{"a":1,"b":2}', { 'delete', 'a' }, { 'delete', 'b' })))
    assert.equal('{"c":3}', (edit('{"a":1,"b":2,"c":3}', { 'delete', 'b' }, { 'delete', 'a' })))
    assert.equal('{"b":2}', (edit('{"a":1,"b":2,"c":3}', { 'delete', 'c' }, { 'delete', 'a' })))
    assert.equal('{"k":5}', (edit('{"a":1,"b":2}', { 'delete', 'a' }, { 'delete', 'b' }, { 'set', 'k', '5' })))
    assert.equal('{"z":1,"y":2}', (edit('{}', { 'set', 'z', '1' }, { 'set', 'y', '2' })))
    assert.equal('{"o":{"a":{"b":[2,7]}}}',
      (edit('{"o":1}', { 'set', 'o.a.b.0', '2' }, { 'set', 'o.c', '3' },
        { 'delete', 'o.c' }, { 'set', 'o.a.b.-1', '7' })))
  end)
  it('goes through values that are no containers', function()
    assert.equal('{"a":{"b":1}}', (edit('{"a":5}', { 'set', 'a.b', '1' })))
    assert.equal('{"a":[1]}', (edit('{"a":"x"}', { 'set', 'a.0', '1' })))
    assert.equal('{"a":[null,1]}', (edit('{"a":null}', { 'set', 'a.1', '1' })))
    assert.equal('{"a":{"b":{"c":1}}}', (edit('{"a":{"b":true}}', { 'set', 'a.b.c', '1' })))
  end)
  it('refuses duplicates anywhere on an edited path, and only there', function()
    for path, body in pairs {
      a = '{"a":1,"a":2}', ['a.b'] = '{"a":{"b":1,"b":2}}', ['a.c'] = [[{"a":{"c":1,"\u0063":2}}]],
      ['x.0.y'] = '{"x":[{"y":1,"y":2}]}',
    } do
      assert.equal('ERR_DUPLICATE', select(2, edit(body, { 'delete', path })), path)
      assert.equal('ERR_DUPLICATE', select(2, edit(body, { 'set', path, '1' })), path)
    end
    assert.equal('{"q":{"b":1,"b":2},"a":1,"x":1}', (edit('{"q":{"b":1,"b":2},"a":1}', { 'set', 'x', '1' })))
    assert.equal('ERR_DUPLICATE', select(2, edit('{"model":1,"mode\\u006c":2}', { 'member', 'model', '"x"' })))
  end)
  it('takes a member name as it is', function()
    assert.equal('{"a.b":1,"a":{"b":2}}', (edit('{"a.b":0,"a":{"b":2}}', { 'member', 'a.b', '1' })))
    assert.equal('{"":1}', (edit('{}', { 'member', '', '1' })))
  end)
  it('works with more members than a scan notes', function()
    local t = {}
    for i = 1, 100 do t[i] = ('"k%d":%d'):format(i, i) end
    local body = '{' .. table.concat(t, ',') .. '}'
    local out = J.edit(body, { { 'delete', 'k1' }, { 'delete', 'k100' }, { 'set', 'k50', '"x"' } }, true)
    assert.equal(body:gsub('"k1":1,', '', 1):gsub(',"k100":100', ''):gsub('"k50":50', '"k50":"x"'), out)
    assert.equal('ERR_DUPLICATE', select(2, J.edit(body:sub(1, -2) .. ',"k99":1}', { { 'delete', 'k99' } }, true)))
  end)
  it('copies nothing of a big body', function()
    local big = ('x'):rep(1000000)
    local out, segs = edit('{"prompt":"' .. big .. '","model":"a","temperature":1,"n":2}',
      { 'member', 'model', '"b"' }, { 'delete', 'temperature' }, { 'set', 'top_p', '0.5' })
    assert.equal('{"prompt":"' .. big .. '","model":"b","n":2,"top_p":0.5}', out)
    assert.is_true(segs <= 8)
  end)
  it('bounds arrays that a path extends', function()
    assert.equal('ERR_CONFIG', select(2, edit('{}', { 'set', 'a.4294967295', '1' })))
    assert.equal('ERR_CONFIG', select(2, edit('{"a":[]}', { 'set', 'a.99999999', '1' })))
    assert.equal('{"b":{"99999999":1}}', (edit('{"b":{}}', { 'set', 'b.99999999', '1' })))
  end)
  it('treats the reference\'s query characters as the reference does where it can', function()
    assert.equal('{"a@b":5,"x":{"y":5}}',
      (edit('{"a@b":1,"x":{"y":2}}', { 'set', 'a@b', '5' }, { 'set', 'x|y', '5' },
        { 'set', '#', '1' }, { 'set', '@this', '1' })))
    for _, p in ipairs { 'a#b', 'a@b', 'a|b', '#', '' } do
      assert.equal('ERR_CONFIG', select(2, J.path_check(p, true)), p)
    end
    assert.is_true(J.path_check('a*b?.c\\|d', true))
    assert.is_true(J.path_check('a#b', false))
    assert.equal('ERR_CONFIG', select(2, J.path_check(('a.'):rep(100), false)))
  end)
end)
