-- The table of keys (src/config/schema.def), the loader, config.schema.json, docs/config.md and
-- config.example.yaml agree.
-- LUASWAP_UPDATE=1 writes the two generated texts anew.
local case = require 'spec.support.config_case'
local config = require 'spec.config'
local json = require 'spec.support.json'
local root = require 'spec.shell'.root
local schema = require 'spec.support.json_schema'
local yaml = require 'spec.yaml'

local function read(name)
  local f = assert(io.open(root .. '/' .. name, 'rb'))
  local text = f:read 'a'
  f:close()
  return text
end

local function write(name, text)
  local f = assert(io.open(root .. '/' .. name, 'wb'))
  f:write(text)
  f:close()
end

local begin_mark, end_mark = '<!-- keys: begin -->\n', '<!-- keys: end -->'

local function with_tables(doc)
  local from = select(2, doc:find(begin_mark, 1, true))
  local to = doc:find(end_mark, 1, true)
  return doc:sub(1, from) .. config.schema_docs() .. doc:sub(to)
end

if os.getenv 'LUASWAP_UPDATE' == '1' then
  write('config.schema.json', config.schema_json())
  write('docs/config.md', with_tables(read 'docs/config.md'))
end

local compiled = json.decode(config.schema_json())

local function refuses(text)
  return #schema.check(compiled, json.decode(yaml.parse(text))) > 0
end

describe('the table of keys', function()
  it('is what config.schema.json says', function()
    assert.equal(config.schema_json(), read 'config.schema.json')
  end)

  it('is what the tables of docs/config.md say', function()
    local doc = read 'docs/config.md'
    assert.equal(with_tables(doc), doc)
  end)

  it('names no reference-only word that the loader does not know', function()
    local r = config.load { text = read 'config.example.yaml' }
    assert.is_true(r.ok)
    assert.is_nil(r.printed:find('unknown key', 1, true), r.printed)
  end)
end)

describe('config.example.yaml', function()
  local example = read 'config.example.yaml'

  it('loads without errors and warnings', function()
    local r = config.load { text = example, name = 'config.example.yaml' }
    assert(r.ok, r.printed)
    assert.equal('0 errors, 0 warnings\n', r.printed)
  end)

  it('loads as a file', function()
    local r = config.load { cwd = case.dir { { 'config.yaml', example } }, file = 'config.yaml' }
    assert(r.ok, r.printed)
  end)

  it('is legal by the schema', function()
    local wrong = schema.check(json.decode(read 'config.schema.json'), json.decode(yaml.parse(example)))
    assert.same({}, wrong)
  end)

  it('shows every key', function()
    -- old spellings cannot stand beside the new ones
    local exempt = { ['groups'] = true, ['matrix'] = true, ['models.*.filters.strip_params'] = true }
    local missing = {}
    local all = compiled
    local function walk(node, values, path)
      node = schema.resolve(all, node)
      for _, alternative in ipairs(node.anyOf or {}) do walk(alternative, values, path) end
      if node.properties then
        for key, sub in pairs(node.properties) do
          local here = path == '' and key or path .. '.' .. key
          local found = {}
          for _, v in ipairs(values) do
            if type(v) == 'table' and v[key] ~= nil then found[#found + 1] = v[key] end
          end
          if #found == 0 then
            if not exempt[here] then missing[#missing + 1] = here end
          else
            walk(sub, found, here)
          end
        end
      elseif type(node.additionalProperties) == 'table' or type(node.items) == 'table' then
        local inside = {}
        for _, v in ipairs(values) do
          if type(v) == 'table' then
            for _, x in pairs(v) do inside[#inside + 1] = x end
          end
        end
        walk(type(node.items) == 'table' and node.items or node.additionalProperties, inside, path .. '.*')
      end
    end
    walk(all, { json.decode(yaml.parse(example)) }, '')
    table.sort(missing)
    assert.same({}, missing)
  end)

  it('explains every key in docs/config.md', function()
    local doc, text = read 'docs/config.md', config.schema_json()
    for key in example:gmatch '\n *([%a_]+):' do
      local known = text:find('"' .. key .. '": {\n', 1, true)
      if known then assert(doc:find(key .. '`', 1, true), key) end
    end
  end)
end)

describe('config.schema.json and the loader', function()
  it('agree on every single-file vector that loads', function()
    local checked = 0
    for _, v in ipairs(json.vectors 'config_load') do
      local text = v.yaml and not v.env and yaml.parse(v.yaml)
      if v.expect and text and text ~= '' and text:sub(1, 1) == '{' then
        local wrong = schema.check(compiled, json.decode(text))
        assert(#wrong == 0, v.id .. ': ' .. table.concat(wrong, '; '))
        checked = checked + 1
      end
    end
    assert(checked > 150, checked)
  end)

  -- one wrong value for each kind of key: both must refuse it; one right value: both must take it
  local function put(path, value)
    local open, close = '', ''
    for key in path:gmatch '[^.]+' do
      open = open .. '{' .. (key == '#' and 'k' or key) .. ': '
      close = '}' .. close
    end
    return open .. value .. close
  end
  local all = compiled
  local function each_key(node, path, fn)
    node = schema.resolve(all, node)
    for _, alternative in ipairs(node.anyOf or {}) do each_key(alternative, path, fn) end
    if node.properties then
      for key, sub in pairs(node.properties) do
        local here = path == '' and key or path .. '.' .. key
        fn(here, sub)
        each_key(sub, here, fn)
      end
    elseif type(node.additionalProperties) == 'table' then
      each_key(node.additionalProperties, path .. '.#', fn)
    end
  end

  it('refuse a list where a scalar or mapping is needed, and a scalar where a list is', function()
    local seen = 0
    each_key(all, '', function(path, node)
      -- free-form mappings take only mappings; `matrix` and `groups` have two spellings that exclude each other
      local is_list = schema.accepts(all, node, json.decode '[]')
      local text = put(path, is_list and '{x: 1}' or '[[1]]')
      if path:find '^routing.router.settings.matrix' or path:find '^routing.router.settings.groups' then
        text = '{routing: {router: {use: ' .. (path:find 'matrix' and 'matrix' or 'group') ..
          text:match '^{routing: {router: (.*)}}$':gsub('^{', ', ') .. '}}'
      end
      local r = config.load { text = text }
      assert(not r.ok, text .. ' loads')
      assert(refuses(text), text .. ' is legal by the schema')
      seen = seen + 1
    end)
    assert.is_true(seen > 120)
  end)

  it('agree on bounds and words', function()
    local cases = {
      { 'globalTTL: -1', false }, { 'unloadTimeout: -1', false }, { 'startPort: 0', false },
      { 'limits: {connections: 0}', false }, { 'limits: {jsonBody: 1 MiB}', true },
      { 'limits: {jsonBody: 1 megabyte}', false }, { 'limits: {spool: 0}', true },
      { 'routing: {scheduler: {settings: {serial: {maxQueue: -1}}}}', false },
      { 'routing: {scheduler: {settings: {fifo: {orphanLoad: perhaps}}}}', false },
      { 'routing: {scheduler: {settings: {fifo: {orphanLoad: abort}}}}', true },
      { 'routing: {scheduler: {use: lifo}}', false }, { 'routing: {scheduler: {use: mine.lua}}', true },
      { 'routing: {router: {use: ring}}', false },
      { 'logToStdout: stderr', false }, { 'logToStdout: none', true }, { 'policies: [{mode: enforce}]', false },
      { 'policies: [{file: a.lua, mode: maybe}]', false }, { 'policies: [{file: a.lua, on_eject: exit}]', true },
      { 'policies: [{file: a.lua, limits: {wall_ms: 0}}]', false }, { 'reload: {drain: 0}', true },
      { 'policies: [{file: a.lua, limits: {stop_hook_s: 0.2, hold_limit: 1.5}}]', true },
      { 'policies: [{file: a.lua, limits: {hold_limit: 0.5}}]', false },
      { 'policies: [{file: a.lua, limits: {stop_hook_s: 60.001}}]', false },
      { 'policies: [{file: a.lua, limits: {stop_hook_s: -0.5}}]', false },
      { 'limits: {headerRead: 0.9}', false }, { 'limits: {headerRead: 1.5}', true },
      { 'models: {a: {cmd: "a ${PORT}", ttl: -1.5}}', true }, -- upstream's keys: cut off
      { 'upstream: {forwardAuth: no}', true }, { 'upstream: {forwardAuth: "true"}', false },
      { 'selectors: {s: {strategy: hot, targets: [x]}}', false },
      { 'models: {a: {cmd: "a ${PORT}", capabilities: {in: [smell]}}}', false },
      { 'models: {a: {cmd: "a ${PORT}", ttl: -2}}', false }, { 'models: {a: ~}', false },
    }
    for _, c in ipairs(cases) do
      local r = config.load { text = c[1] }
      assert(r.ok == c[2], c[1] .. '\n' .. r.printed)
      assert(refuses(c[1]) ~= c[2], c[1] .. ': schema disagrees')
    end
  end)

  it('keep fractions of seconds in our own keys, and cut them off in upstream\'s', function()
    local r = config.load { text = [[
unloadTimeout: 2.9
reload: { drain: 0.25 }
policies: [{ file: a.lua, limits: { stop_hook_s: 0.2, hold_limit: 1.5, starve_after: 90 } }]
]] }
    assert(r.ok, r.printed)
    local c = json.decode(r.json)
    assert.equal(2, c.unloadTimeout)
    assert.equal(0.25, c.reload.drain)
    local l = c.policies[1].limits
    assert.same({ 0.2, 1.5, 90 }, { l.stop_hook_s, l.hold_limit, l.starve_after })
  end)
end)
