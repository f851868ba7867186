-- The matrix solver against spec/vectors/matrix_solve.jsonl, and the language of its sets.
local json = require 'dkjson'
local sched = require 'spec.sched'

local root = require 'spec.shell'.root

local function sorted(list)
  table.sort(list)
  return list
end

describe('matrix: recorded answers', function()
  for line in assert(io.open(root .. '/spec/vectors/matrix_solve.jsonl')):lines() do
    local v = assert(json.decode(line, 1, nil))
    it(v.id .. ': ' .. v.note, function()
      local m = assert(sched.matrix { models = v.models, vars = v.vars, costs = v.evict_costs, sets = v.sets })
      local a = m:solve(v.target, v.running)
      assert.same(v.expect.evict, a.evict)
      assert.equal(v.expect.set, a.set)
      assert.equal(v.expect.cost, a.cost)
      assert.same(v.expect.target_set, sorted(a.witness))
      assert.equal(v.expect.running_fits, m:fits(v.running))
      assert.same(a.evict, m:solve(v.target, v.running).evict)
    end)
  end
end)

describe('matrix: the language', function()
  local abcd = { 'a', 'b', 'c', 'd' }

  local function solve(text, target, running, more)
    local src = { models = abcd, sets = { { 's', text } } }
    for k, v in pairs(more or {}) do src[k] = v end
    return assert(sched.matrix(src)):solve(target, running)
  end

  -- Whether these can live together under one set.
  local function fits(sets, models)
    if type(sets) == 'string' then sets = { { 's', sets } } end
    return assert(sched.matrix { models = abcd, sets = sets }):fits(models)
  end

  it('A074: `a | b & c`, products, doubles, references', function()
    assert.is_true(fits('a | b & c', { 'b', 'c' }))
    assert.is_true(fits('a | b & c', { 'a' }))
    assert.is_false(fits('a | b & c', { 'a', 'b' }))
    for _, two in ipairs { { 'a', 'c' }, { 'a', 'd' }, { 'b', 'c' }, { 'b', 'd' } } do
      assert.is_true(fits('(a|b)&(c|d)', two))
    end
    assert.is_false(fits('(a|b)&(c|d)', { 'a', 'b' }))
    assert.is_false(fits('(a|b)&(c|d)', { 'a', 'c', 'd' }))
    assert.is_true(fits('a & a', { 'a' }))
    assert.is_true(fits({ { 's', 'a & +t' }, { 't', 'b | c' } }, { 'a', 'c' }))
    assert.is_true(fits({ { 't', 'a | b' }, { 's', '+t & (a | b)' } }, { 'a', 'b' }))
    assert.is_true(fits('a\n  & (b\t| c)', { 'a', 'b' }))
  end)

  it('A075: errors name the set, the reason and the place', function()
    local cases = {
      { ' \n', 'empty DSL expression', 0 },
      { '(a', 'missing closing parenthesis', 0 },
      { 'a & (b | (c & d', 'missing closing parenthesis', 9 },
      { 'a)', 'unexpected token', 1 },
      { '()', 'unexpected token', 1 },
      { 'a b', 'unexpected token', 2 },
      { 'a &', 'unexpected token', 3 },
      { '| a', 'unexpected token', 0 },
      { 'a && b', 'unexpected token', 3 },
      { 'a - b', 'unexpected token', 2 },
      { 'a & ghost', 'unknown var or model', 4 },
      { 'a & +nowhere', 'references undefined set', 4 },
      { '+', 'expected set name after \'+\'', 0 },
      { '+ s', 'expected set name after \'+\'', 0 },
      { 'a @ b', 'unexpected character', 2 },
      { 'a & \xff', 'unexpected character', 4 },
      { '+s', 'circular reference', 0 },
    }
    for _, c in ipairs(cases) do
      local m, text, what, index, offset = sched.matrix { models = abcd, sets = { { 'ok', 'a' }, { 's', c[1] } } }
      assert.is_nil(m, c[1])
      assert.matches(c[2], text, 1, true)
      assert.same({ 'set', 2, c[3] }, { what, index, offset }, c[1])
    end
    local _, text = sched.matrix { models = abcd, sets = { { 'x', '+y' }, { 'y', '+z & a' }, { 'z', '+x' } } }
    assert.matches('circular reference', text)
  end)

  it('vars and costs are checked', function()
    local function wrong(more, needle, what)
      local src = { models = abcd, sets = { { 's', 'a' } } }
      for k, v in pairs(more) do src[k] = v end
      local m, text, w = sched.matrix(src)
      assert.is_nil(m)
      assert.matches(needle, text, 1, true)
      assert.equal(what, w)
    end
    wrong({ sets = {} }, 'must define at least one set', 'none')
    wrong({ vars = { ['a_b'] = 'a' } }, 'must contain only alphanumeric', 'var')
    wrong({ vars = { [''] = 'a' } }, 'must contain only alphanumeric', 'var')
    wrong({ vars = { [('v'):rep(33)] = 'a' } }, '1-32 characters', 'var')
    wrong({ vars = { v = 'ghost' } }, 'references unknown model', 'var')
    wrong({ costs = { a = 0 } }, 'must be a positive integer', 'cost')
    wrong({ costs = { a = -2 } }, 'must be a positive integer', 'cost')
    wrong({ costs = { ghost = 1 } }, 'unknown var or model', 'cost')
    wrong({ vars = { v = 'a' }, costs = { v = 2, a = 3 } }, 'second cost', 'cost') -- D13, D-M3
    assert.same({ 'c' }, solve('a & b | a & c', 'a', { 'b', 'c' }, { vars = { v = 'b' }, costs = { v = 5 } }).evict)
    assert.same({ 'b' }, solve('a & b | a & c', 'a', { 'b', 'c' }, { costs = { c = 5 } }).evict)
    assert.same({ 'b' }, solve('a & b | a & c', 'a', { 'b', 'c' }, { costs = { c = math.maxinteger // 2 } }).evict)
  end)

  it('a var hides a model of the same name; ids that are no names need a var', function()
    assert.is_true(assert(sched.matrix { models = { 'a', 'b', 'x/y:z' }, vars = { a = 'b', q = 'x/y:z' },
                                         sets = { { 's', 'a & q' } } }):fits { 'b', 'x/y:z' })
    assert.is_true(assert(sched.matrix { models = { 'modèle' }, sets = { { 's', 'modèle' } } }):fits { 'modèle' })
  end)

  it('the order of the reference\'s pruned list decides a tie', function()
    assert.same({ 'b' }, solve('a & (b | c | (b & d)) & d', 'a', { 'b', 'c', 'd' }).evict)
  end)

  it('deep nesting and long chains of references are refused, not followed', function()
    local deep = ('('):rep(300) .. 'a' .. (')'):rep(300)
    local m, text = sched.matrix { models = abcd, sets = { { 's', deep } } }
    assert.is_nil(m)
    assert.matches('nested too deeply', text)
    local chain = { { 's0', 'a' } }
    for i = 1, 1000 do chain[#chain + 1] = { 's' .. i, '+s' .. i - 1 } end
    m, text = sched.matrix { models = abcd, sets = chain }
    assert.is_nil(m)
    assert.matches('nested too deeply', text)
  end)

  it('A076: 10^6 combinations, 71 relevant models -> in time, only the outsider goes', function()
    local models, terms, running = { 'outside', 't' }, { 't' }, { 'outside' }
    for f = 1, 6 do
      local choice = {}
      for i = 0, 9 do
        local id = ('f%d%d'):format(f, i)
        models[#models + 1], choice[#choice + 1] = id, id
      end
      terms[#terms + 1] = '(' .. table.concat(choice, '|') .. ')'
      running[#running + 1] = ('f%d%d'):format(f, f)
    end
    for i = 1, 63 do
      models[#models + 1], terms[#terms + 1], running[#running + 1] = 'w' .. i, 'w' .. i, 'w' .. i
    end
    local m = assert(sched.matrix { models = models, sets = { { 's', table.concat(terms, ' & ') } } })
    local from = os.clock()
    local a = m:solve('t', running)
    local ms = (os.clock() - from) * 1000
    assert.same({ 'outside' }, a.evict)
    assert.equal(70, #a.witness)
    assert.is_true(ms < 50, ms .. ' ms') -- 5 in a release build; this one may be instrumented
  end)

  it('10^6 combinations with every choice running: the cheapest is found without multiplying out', function()
    local models, terms, running, costs = { 't' }, { 't' }, {}, {}
    for f = 1, 6 do
      local choice = {}
      for i = 0, 9 do
        local id = ('f%d%d'):format(f, i)
        models[#models + 1], choice[#choice + 1], running[#running + 1] = id, id, id
        costs[id] = i == 7 and 9 or 1 + i % 3
      end
      terms[#terms + 1] = '(' .. table.concat(choice, '|') .. ')'
    end
    local m = assert(sched.matrix { models = models, sets = { { 's', table.concat(terms, ' & ') } }, costs = costs })
    local from = os.clock()
    local a = m:solve('t', running)
    assert.is_true((os.clock() - from) * 1000 < 50)
    local kept = {}
    for _, id in ipairs(a.witness) do kept[id] = true end
    for f = 1, 6 do assert.is_true(kept[('f%d7'):format(f)]) end
    assert.equal(54, #a.evict)
  end)
end)

-- A second solver, written from config.md 7.5 as it stands, on random programs.
describe('matrix: against a plain implementation of the text', function()
  local function contains(big, small)
    for k in pairs(small) do if not big[k] then return false end end
    return true
  end

  local function insert(list, s)
    for _, o in ipairs(list) do if contains(o, s) then return end end
    for i = #list, 1, -1 do if contains(s, list[i]) then table.remove(list, i) end end
    list[#list + 1] = s
  end

  local function states(e, relevant)
    local list = {}
    if type(e) == 'string' then
      return { relevant[e] and { [e] = true } or {} }
    elseif e.op == '|' then
      for _, c in ipairs(e) do for _, s in ipairs(states(c, relevant)) do insert(list, s) end end
      return list
    end
    list[1] = {}
    for _, c in ipairs(e) do
      local new, right = {}, states(c, relevant)
      for _, l in ipairs(list) do
        for _, r in ipairs(right) do
          local u = {}
          for k in pairs(l) do u[k] = true end
          for k in pairs(r) do u[k] = true end
          insert(new, u)
        end
      end
      list = new
    end
    return list
  end

  local function text(e)
    if type(e) == 'string' then return e end
    local parts = {}
    for i, c in ipairs(e) do parts[i] = text(c) end
    return '(' .. table.concat(parts, e.op) .. ')'
  end

  it('same evictions, same set', function()
    local seed = tonumber(os.getenv 'LUASWAP_SEED') or os.time()
    math.randomseed(seed)
    local all = { 'a', 'b', 'c', 'd', 'e', 'f', 'g' }
    local function expr(depth)
      if depth == 0 or math.random(4) == 1 then return all[math.random(#all)] end
      local e = { op = math.random(2) == 1 and '&' or '|' }
      for i = 1, math.random(2, 3) do e[i] = expr(depth - 1) end
      return e
    end
    for round = 1, 1500 do
      local sets, trees, costs = {}, {}, {}
      for i = 1, math.random(3) do
        trees[i] = expr(3)
        sets[i] = { 's' .. i, text(trees[i]) }
      end
      for _, id in ipairs(all) do if math.random(3) == 1 then costs[id] = math.random(4) end end
      local target, running, relevant = all[math.random(#all)], {}, {}
      for _, id in ipairs(all) do if id ~= target and math.random(2) == 1 then running[#running + 1] = id end end
      relevant[target] = true
      for _, id in ipairs(running) do relevant[id] = true end
      local best, won, name
      for i, tree in ipairs(trees) do
        for _, s in ipairs(states(tree, relevant)) do
          local cost = 0
          for _, id in ipairs(running) do if not s[id] then cost = cost + (costs[id] or 1) end end
          if s[target] and (not best or cost < best) then best, won, name = cost, s, 's' .. i end
        end
      end
      local evict = {}
      for _, id in ipairs(running) do if not (won and won[id]) then evict[#evict + 1] = id end end
      local a = assert(sched.matrix { models = all, sets = sets, costs = costs }):solve(target, running)
      local where = ('seed %d round %d: %s'):format(seed, round, sets[1][2])
      assert.same(evict, a.evict, where)
      assert.equal(name or '', a.set, where)
    end
  end)
end)
