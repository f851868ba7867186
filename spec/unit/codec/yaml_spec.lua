-- YAML texts to trees: types of scalars, anchors and merges, errors with their places, limits.
local json = require 'spec.support.json'
local yaml = require 'spec.yaml'

local function parse(text) return json.decode((assert(yaml.parse(text), text))) end

local function wrong(text, max)
  local tree, errors = yaml.parse(text, max)
  assert.is_nil(tree)
  return errors
end

local function first(text)
  local e = wrong(text)[1]
  return ('%d:%d %s'):format(e.line, e.col, e.text)
end

describe('plain scalars', function()
  local function types(kind, list)
    for given, want in pairs(list) do
      local t, text = yaml.resolve(given)
      assert.equal(kind, t, given)
      if want ~= true then assert.equal(want, text, given) end
    end
  end

  it('are numbers in many spellings', function()
    types('a number', {
      ['0'] = '0', ['007'] = '7', ['010'] = '8', ['0x1F'] = '31', ['0XfF'] = '255', ['0o17'] = '15', ['0b11'] = '3',
      ['-0x10'] = '-16', ['+7'] = '7', ['-12'] = '-12', ['1_000'] = '1000', ['0_7'] = '7', ['1__2'] = '12',
      ['9223372036854775807'] = '9223372036854775807', ['9223372036854775808'] = '9223372036854775808',
      ['18446744073709551615'] = '18446744073709551615', ['18446744073709551616'] = '1.8446744073709552e+19',
      ['-9223372036854775808'] = '-9223372036854775808', ['-9223372036854775809'] = '-9.223372036854776e+18',
      ['08'] = '8', ['1.10'] = '1.1', ['1.0'] = '1', ['1e3'] = '1000', ['.5'] = '0.5', ['1.'] = '1',
        ['-.5e-3'] = '-0.0005',
      ['+.5'] = '0.5', ['1.e2'] = '100', ['100000000.0'] = '1e+08', ['.inf'] = '.inf', ['-.Inf'] = '-.inf',
        ['.NaN'] = '.nan',
      ['1_0.2_5'] = '10.25', ['1e-400'] = '0',
    })
  end)

  it('are words, dates and nothing', function()
    types('a boolean', { ['true'] = 'true', True = 'true', FALSE = 'false' })
    types('null', { ['~'] = '', null = '', NULL = '', [''] = '' })
    types('a date', {
      ['2024-01-01'] = '2024-01-01T00:00:00Z', ['2024-1-2'] = '2024-01-02T00:00:00Z',
      ['2001-12-14t21:59:43.10-05:00'] = '2001-12-14T21:59:43.1-05:00',
        ['2001-12-14 21:59:43.10'] = '2001-12-14T21:59:43.1Z',
      ['2001-12-14T1:2:3Z'] = '2001-12-14T01:02:03Z', ['2024-02-29'] = true,
        ['2001-12-14T01:02:03+00:00'] = '2001-12-14T01:02:03Z',
    })
  end)

  it('are text otherwise', function()
    for _, s in ipairs { 'yes', 'No', 'on', 'tRue', 'Null ', '1:30', '1.2.3', '12abc', '0x', '0xg', '0b2', '0o8',
      '1e', '.', '-', '+',
      '--1', '1e400', '2023-02-29', '2024-13-01', '2024-01-01T', '2024-01-01 25:00:00', '0b', '.e1', '_1', 'nan',
        'inf', '<<', '=' } do
      assert.equal('text', (yaml.resolve(s)), s)
    end
  end)

  it('give the shortest digits that read back as the number', function()
    local forms = { [1e6] = '1e+06', [999999.0] = '999999', [123456789.5] = '1.234567895e+08', [1e21] = '1e+21',
      [0.0001] = '0.0001',
      [0.00001] = '1e-05', [3.14] = '3.14', [100000.5] = '100000.5', [5e-324] = '5e-324',
        [1.7976931348623157e308] = '1.7976931348623157e+308' }
    for f, text in pairs(forms) do assert.equal(text, (yaml.float(f))) end
    assert.equal('-0', (yaml.float(-0.0)))
    assert.same({ '+Inf', 'null' }, { yaml.float(math.huge) })
    assert.same({ '1e+21', '1e+21' }, { yaml.float(1e21) })
    assert.same({ '1e+20', '100000000000000000000' }, { yaml.float(1e20) })
    assert.same({ '1e-07', '1e-7' }, { yaml.float(1e-7) })
    local seed = os.time()
    math.randomseed(seed)
    for _ = 1, 5000 do
      local f = string.unpack('d', string.pack('i8', math.random(0)))
      if f == f and f ~= math.huge and f ~= -math.huge then
        local text, js = yaml.float(f)
        assert(tonumber(text) == f, ('seed %d: %s for %.17g'):format(seed, text, f))
        assert(tonumber(js) + 0.0 == f, ('seed %d: %s for %.17g'):format(seed, js, f))
        local digits = #text:gsub('e.*', ''):gsub('%D', ''):gsub('^0+', ''):gsub('0+$', '')
        if digits > 1 then
          local shorter = tonumber(('%.' .. (digits - 2) .. 'e'):format(f))
          assert(shorter ~= f, ('seed %d: %s could be shorter'):format(seed, text))
        end
      end
    end
  end)
end)

describe('a YAML text', function()
  it('keeps quoted and tagged scalars as they are', function()
    assert.same({ '5', 'true', '~', '5', 5, 2.0, 'hi', '5', '' },
      parse [=[["5", 'true', "~", !!str 5, !!int "5", !!float 2, !!binary aGk=, !mine 5, !!str ]]=])
  end)

  it('refuses tags that do not fit', function()
    assert.equal('1:4 cannot read `yes` as !!bool', first 'a: !!bool yes')
    assert.equal('1:4 cannot read `x` as !!int', first 'a: !!int x')
    assert.equal('1:4 cannot read `?` as !!binary: it is no base64', first 'a: !!binary "?"')
    assert.equal('1:4 cannot read `1` as !!timestamp', first 'a: !!timestamp 1')
  end)

  it('may be JSON, flow or block, with or without a document mark', function()
    assert.same({ a = { 1, { b = json.null } } }, parse '{"a": [1, {"b": null}]}')
    assert.same({ a = { 1, { b = 2 } } }, parse '---\na:\n- 1\n-\n  b: 2\n...\n')
    assert.equal('', yaml.parse '')
    assert.equal('', yaml.parse '# nothing\n')
    assert.same({ a = 'x\ny\n', b = 'x y', c = 'x\ny' }, parse 'a: |\n  x\n  y\nb: >-\n  x\n  y\nc: |-\n  x\r\n  y\n')
  end)

  it('ends with its first document, but not in the middle of a line', function()
    assert.same({ a = 1 }, parse 'a: 1\n---\n[[[\n')
    assert.same({ a = 1 }, parse 'a: 1\n...\n}}}\n')
    assert.equal('2:1 unexpected text after the end of the document', first '{a: 1}\nb: 2\n')
  end)

  it('may say that it is YAML 1.1 and nothing else', function()
    assert.same({ a = 1 }, parse '%YAML 1.1\n---\na: 1\n')
    assert.is_truthy(first '%YAML 1.2\n---\na: 1\n':find('incompatible YAML document', 1, true))
  end)

  it('shares and merges anchors', function()
    assert.same({ a = { x = 1 }, b = { x = 1 }, c = { x = 2, y = 3, z = 4 } },
      parse 'a: &a {x: 1}\nb: *a\nc: {<<: [{y: 3, x: 9}, {y: 8, z: 4}], x: 2}\n')
    assert.same({ a = 1, b = { 1, 2 } }, parse 'a: &x 1\nb: [*x, &x 2]\n')
    assert.same({ { '<<' }, { ['<<'] = { k = 1 } } }, parse '[[<<], {"<<": {k: 1}}]')
    assert.equal('2:7 map merge requires a mapping or a list of mappings as the value of `<<`',
      first '# x\nk:   {<<: 5, a: 1}\n':gsub('2:7', '2:7'))
  end)

  it('has each key once', function()
    assert.equal('3:1 mapping key "a" already defined at line 1', first 'a: 1\nb: 2\na: 3\n')
    assert.equal('1:7 mapping key "5" already defined at line 1', first '{5: 1,"5": 2}')
    assert.equal('1:14 mapping key "<<" already defined', first '{<<: {a: 1}, <<: {b: 1}}')
    local many = {}
    for i = 1, 40 do many[i] = ('k%d: 1\n'):format(i) end
    assert.equal('41:1 mapping key "k7" already defined at line 7', first(table.concat(many) .. 'k7: 1\n'))
    assert.equal(2, #wrong 'a: {b: 1, b: 2}\nc: {d: 1, d: 2}\n')
  end)

  it('has no lists or mappings as keys', function()
    assert.equal('1:3 invalid map key: a list or mapping cannot be a key', first '? [a]\n: 1\n')
  end)

  it('names anchors that are missing or contain themselves', function()
    assert.is_truthy(first 'a: *nope\n':find("^1:4 unknown anchor 'nope' referenced"))
    assert.equal("1:8 anchor 'a' value contains itself", first 'a: &a [*a]\n')
    assert.equal(2, #wrong 'a: *x\nb: *y\n')
  end)

  it('tells where its syntax ends', function()
    assert.is_truthy(first 'a: [1\nb: 2\n':find '^2:')
    assert.is_truthy(first 'a:\n\tb: 1\n':find '^2:1 ')
    assert.is_truthy(first 'a: "x\n':find '^2:1 ')
    assert.is_truthy(first 'a: b: c\n':find '^1:5 ')
    assert.is_truthy(first 'a: \xff\n':find '^1:1 ')
    assert.is_truthy(first 'a: \0\n':find '^1:1 ')
  end)

  it('may not nest or multiply without bound', function()
    parse(('['):rep(200) .. (']'):rep(200))
    assert.is_truthy(first(('['):rep(300) .. (']'):rep(300)):find('nested too deeply', 1, true))
    local lines = { 'a0: &a0 [x, x, x, x, x, x, x, x, x, x]' }
    for i = 1, 9 do
      local refs = {}
      for k = 1, 10 do refs[k] = '*a' .. (i - 1) end
      lines[#lines + 1] = ('a%d: &a%d [%s]'):format(i, i, table.concat(refs, ', '))
    end
    assert.is_truthy(first(table.concat(lines, '\n')):find('excessive aliasing', 1, true))
    local few = 'x: &x [1, 2, 3]\ny: [' .. ('*x, '):rep(100) .. ']'
    parse(few)
    assert.is_truthy(first('x: &x [' .. ('1, '):rep(50) .. ']\ny: [' .. ('*x, '):rep(2000) .. ']'):find('excessive',
      1, true))
  end)

  it('fits into the memory that it is given', function()
    local text = '[' .. ('some text, '):rep(2000) .. ']'
    local errors = wrong(text, 65536)
    assert.equal(1, #errors)
    assert.equal('the configuration is too large', errors[1].text)
    parse(text)
  end)
end)
