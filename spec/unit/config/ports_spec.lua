-- ports_spec.lua: numbers of ${PORT} over a reload: what runs keeps its own, what is new gets one that is free.
local config = require 'spec.config'
local json = require 'spec.support.json'

local function text(top, ...)
  local out = { top, 'models:' }
  for _, name in ipairs { ... } do
    out[#out + 1] = ('  %s: { cmd: "serve --port ${PORT} %s" }'):format(name, name)
  end
  return table.concat(out, '\n') .. '\n'
end

-- { a = 5800, ... } after loading `new` while `old` is in force
local function ports(new, old)
  local r = config.load { text = new, previous = old }
  assert.is_true(r.ok, r.printed)
  local found = {}
  for name, m in pairs(json.decode(r.json).models) do
    found[name] = tonumber(m.cmd:match '%-%-port (%d+)')
    if found[name] then assert.equal('http://localhost:' .. found[name], m.proxy) end
  end
  return found
end

describe('ports over a reload', function()
  it('are counted in the order of ids when nothing is in force', function()
    assert.same({ a = 5800, b = 5801, c = 5802 }, ports(text('', 'c', 'a', 'b')))
  end)

  it('stay with their models when one is added in front', function()
    assert.same({ a = 5802, b = 5800, c = 5801 }, ports(text('', 'a', 'b', 'c'), text('', 'b', 'c')))
  end)

  it('stay with their models when one is removed; its number is not used again at once', function()
    assert.same({ b = 5801, c = 5802 }, ports(text('', 'b', 'c'), text('', 'a', 'b', 'c')))
    assert.same({ b = 5801, c = 5802, d = 5803 }, ports(text('', 'b', 'c', 'd'), text('', 'a', 'b', 'c')))
  end)

  it('fill the gaps that neither snapshot uses', function()
    local old = 'models:\n  a: { cmd: "x", proxy: "http://localhost:1" }\n  b: { cmd: "serve --port ${PORT}" }\n'
    assert.same({ a = 5801, b = 5800, c = 5802 }, ports(text('', 'a', 'b', 'c'), old))
  end)

  it('are given to a model that had none, and kept when only the rest of the command changes', function()
    assert.same({ a = 5800 }, ports('models:\n  a: { cmd: "other --port ${PORT}" }\n', text('', 'a')))
  end)

  it('a model that stops to use ${PORT} keeps none', function()
    local new = 'models:\n  a: { cmd: "x", proxy: "http://localhost:1" }\n  b: { cmd: "serve --port ${PORT}" }\n'
    assert.same({ b = 5801 }, ports(new, text('', 'a', 'b')))
  end)

  it('are counted anew when startPort changes', function()
    assert.same({ a = 5800, b = 5801 }, ports(text('', 'a', 'b'), text('startPort: 7000', 'a', 'b')))
    assert.same({ a = 7000, b = 7001 }, ports(text('startPort: 7000', 'a', 'b'), text('', 'b')))
  end)

  it('never meet, whatever is added and removed', function()
    local seed = tonumber(os.getenv 'LUASWAP_SEED') or os.time()
    math.randomseed(seed)
    local old
    for _ = 1, 60 do
      local names = {}
      for i = 1, 12 do
        if math.random(2) == 1 then names[#names + 1] = ('m%02d'):format(i) end
      end
      local new = text('', table.unpack(names))
      local before, now, used = old and ports(old) or {}, ports(new, old), {}
      for name, port in pairs(now) do
        assert.is_nil(used[port], ('port %d twice, LUASWAP_SEED=%d'):format(port, seed))
        used[port] = true
        if before[name] then assert.equal(before[name], port) end
      end
      for name, port in pairs(before) do
        assert.is_true(now[name] == port or not used[port], ('port %d moved, LUASWAP_SEED=%d'):format(port, seed))
      end
      old = new
    end
  end)
end)
