-- api.lua: the policy API as luaswap.lint asks for it, and the names that stand near a wrong one.
local api = {}

function api.words(s)
  local set = {}
  for w in s:gmatch '%S+' do set[w] = true end
  return set
end

-- Letters to change, add, drop or swap with their neighbour.
local function distance(a, b)
  local rows = { [0] = {} }
  for j = 0, #b do rows[0][j] = j end
  for i = 1, #a do
    local row, up = { [0] = i }, rows[i - 1]
    for j = 1, #b do
      row[j] = math.min(up[j - 1] + (a:byte(i) == b:byte(j) and 0 or 1), up[j] + 1, row[j - 1] + 1)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], rows[i - 2][j - 2] + 1)
      end
    end
    rows[i] = row
  end
  return rows[#a][#b]
end

-- The name in the set that is nearest, or nil; ties go to the one that comes first.
function api.near(name, set)
  local best, least, sorted = nil, #name // 3 + 1, {}
  for k in pairs(set) do
    if type(k) == 'string' then sorted[#sorted + 1] = k end
  end
  table.sort(sorted)
  for _, k in ipairs(sorted) do
    local d = distance(name:lower(), k:lower())
    if #name > 2 and k:sub(1, #name) == name then d = math.min(d, 1) end
    if d <= least then best, least = k, d - 1 end
  end
  return best
end

-- ": did you mean x?" or nothing
function api.like(name, set)
  local n = api.near(name, set)
  return n and (': did you mean %s?'):format(n) or ''
end

-- The tables of the API as sets.
local kind_phase = { Y = 'R', D = 'D', N = 'N' }

function api.index(raw)
  local a = { hooks = {}, funcs = {}, tables = { [''] = {} }, views = {}, members = {}, answers = {}, caps = {}, deprecated = {} }
  for _, h in ipairs(raw.hooks) do
    local params = {}
    for p in h.args:gmatch '[^,]+' do params[#params + 1] = p:match 'luaswap%.(%a+)%s*$' or false end
    a.hooks[h.name] = { phase = kind_phase[h.kind], params = params, ret = h.ret:match 'luaswap%.(%a+)' }
    a.members[h.name] = true
  end
  for _, m in ipairs(raw.members) do a.members[m.name] = true end
  for _, f in ipairs(raw.fields) do
    a.views[f.of] = a.views[f.of] or {}
    a.views[f.of][f.name] = { type = f.type, only = f.doc:match '^([%a_]+) only' or f.doc:match '^(route), after a wait',
      needs = f.doc:match 'needs requires = { "(%a+)" }' }
  end
  for _, m in ipairs(raw.methods) do
    a.views[m.of][m.name] = { method = true, type = m.sig:match '%):? ?(.*)$', needs = m.doc:match 'needs requires = { "(%a+)" }' }
  end
  for _, f in ipairs(raw.funcs) do
    a.tables[f.table] = a.tables[f.table] or {}
    a.tables[f.table][f.name] = true
    a.tables[''][f.table ~= '' and f.table or f.name] = true
    a.funcs['luaswap.' .. (f.table ~= '' and f.table .. '.' or '') .. f.name] = f
  end
  for _, v in ipairs(raw.values) do
    a.tables[v.table] = a.tables[v.table] or {}
    a.tables[v.table][v.name] = true
  end
  for _, r in ipairs(raw.answers) do
    a.answers[r.of] = a.answers[r.of] or {}
    local one_of
    if r.type:find '^"' then
      one_of = {}
      for v in r.type:gmatch '"([^"]+)"' do one_of[v] = true end
    end
    a.answers[r.of][r.name] = { one_of = one_of }
  end
  a.paths = {} -- everything under luaswap, for suggestions
  for path in pairs(a.funcs) do a.paths[path:sub(9)] = true end
  for name in pairs(a.tables['']) do a.paths[name] = true end
  for _, c in ipairs(raw.capabilities) do a.caps[c.name] = true end
  for _, d in ipairs(raw.deprecated) do a.deprecated[d.name] = d end
  a.level, a.compatible = raw.level, raw.compatible
  return a
end

-- "luaswap.Model?" -> view Model; "luaswap.Model[]" -> list of it; "fun(): luaswap.Request?" -> iterator
function api.value_of_type(a, text)
  local name, rest = (text or ''):match '^luaswap%.(%a+)(.*)$'
  if name and a.views[name] then
    return rest:find '^%[%]' and { k = 'list', of = name } or { k = 'view', type = name }
  end
  name = (text or ''):match '^fun%(%): luaswap%.(%a+)'
  return name and { k = 'iter', of = name } or nil
end

return api
