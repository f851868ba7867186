-- Path edits on a client's JSON: the reference's answers (spec/vectors/json_edit.jsonl) and what differs on purpose.
local J = require 'spec.codec_json'
local json = require 'dkjson'

-- JSON text of a decoded vector value, as the configuration makes it: keys sorted, shortest numbers.
local function encode(v)
  local t = type(v)
  if v == json.null or v == nil then return 'null' end
  if t == 'boolean' then return tostring(v) end
  if math.type(v) == 'integer' then return tostring(v) end
  if t == 'number' then return J.num(v) end
  if t == 'string' then return J.quote(v) end
  local out = {}
  if getmetatable(v).__jsontype == 'array' then
    for i = 1, #v do out[i] = encode(v[i]) end
    return '[' .. table.concat(out, ',') .. ']'
  end
  local keys = {}
  for k in pairs(v) do keys[#keys + 1] = k end
  table.sort(keys)
  for i, k in ipairs(keys) do out[i] = J.quote(k) .. ':' .. encode(v[k]) end
  return '{' .. table.concat(out, ',') .. '}'
end

local function ops_of(list)
  local ops = {}
  for i, op in ipairs(list) do
    if op[1] == 'model' then
      ops[i] = { 'member', 'model', J.quote(op[2]) }
    else
      ops[i] = { op[1], op[2], op[1] == 'set' and encode(op[3]) or nil }
    end
  end
  return ops
end

-- decisions.md, HTTP: two equal members are refused; `*` and `?` in a filter key are plain characters.
local repaired = {
  ['json-model-dupe'] = { error = 'ERR_DUPLICATE' },
  ['json-model-key-escape'] = { error = 'ERR_DUPLICATE' },
  ['json-set-dupe'] = { error = 'ERR_DUPLICATE' },
  ['json-del-dupe'] = { error = 'ERR_DUPLICATE' },
  ['json-del-dupe-apart'] = { error = 'ERR_DUPLICATE' },
  ['json-del-wild-star'] = { expect = '{"model":"o","abc":1}' },
  ['json-del-wild-question'] = { expect = '{"model":"o","abc":1}' },
  ['json-pat-star-absent-y'] = { expect = '{"model":"o","zz":1,"a*b":5}' },
  ['json-chain-fail-strip'] = { expect = '{"model":"o"}' },
}

local function same(a, b)
  if a == b then return true end
  if type(a) == 'number' and type(b) == 'number' then return math.abs(a - b) <= 1e-9 * math.abs(a) end
  if type(a) ~= 'table' or type(b) ~= 'table' then return false end
  for k, v in pairs(a) do if not same(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end

describe('json_edit vectors', function()
  local seen = 0
  for line in io.lines('spec/vectors/json_edit.jsonl') do
    local v = json.decode(line, 1, json.null)
    local want = repaired[v.id] or v
    seen = seen + 1
    it(v.id .. ': ' .. v.note, function()
      for _, scanned in ipairs { false, true } do
        local got, err, _, failed = J.edit(v.body, ops_of(v.ops), scanned)
        if want.error then
          assert.is_nil(got)
          if type(want.error) == 'table' then
            assert.equal('ERR_CONFIG', err)
            assert.equal(want.error.op, failed)
          else
            assert.equal(want.error, err)
          end
        elseif v.json_equal then
          assert.is_true(same(json.decode(want.expect), json.decode(got)), got)
        else
          assert.equal(want.expect, got)
        end
      end
    end)
  end
  it('are all there', function() assert.equal(155, seen) end)
end)
