-- traces_spec.lua: every shipped policy is better than the built-in at what it is for, on its own trace (NAME.trace.jsonl,
-- whose first line says how to run it), and the numbers that docs/policies.md gives on the common day hold.
local lab = require 'luaswap.lab'
local json = require 'spec.support.json'
local server = require 'spec.support.server'
local shell = require 'spec.shell'

-- What the program prints with --json, by the name of the row.
local function simulate(args)
  local p = assert(io.popen(('cd %s && %s simulate --json %s'):format(shell.root, server.bin(), args)))
  local text, rows = p:read 'a', {}
  assert(p:close(), text)
  for line in text:gmatch '[^\n]+' do
    local o = json.decode(line)
    rows[o.name or o.kind] = o
  end
  return rows
end

local function first_line(path)
  local f = assert(io.open(shell.root .. '/' .. path))
  local line = json.decode(f:read 'l')
  f:close()
  return line
end

local function wait_of(row, key)
  for _, k in ipairs(row.keys) do if k.name == key then return k.mean_s end end
  error('no key ' .. key)
end

-- name -> what must hold of the policy's row against the built-in's
local better = {
  residency = function(mine, base)
    assert(mine.loads < base.loads * 0.7, 'fewer loads')
    assert(mine.wait_s.mean < base.wait_s.mean * 1.25, 'and the waits stay')
  end,
  aging = function(mine, base)
    assert(wait_of(mine, 'people') < wait_of(base, 'people') * 0.5, 'people wait less')
    assert(mine.wait_s.max <= base.wait_s.max * 1.1, 'and no job is forgotten')
  end,
  fair = function(mine, base)
    for _, key in ipairs { 'ann', 'ben' } do assert(wait_of(mine, key) < wait_of(base, key) * 0.5, key .. ' hardly notices the flood') end
    assert(wait_of(mine, 'flood') < wait_of(base, 'flood') * 1.3, 'which pays little')
  end,
  greedydual = function(mine, base)
    assert(mine.load_s < base.load_s * 0.9, 'less time goes into loading')
    assert(mine.wait_s.mean < base.wait_s.mean, 'and into waiting')
  end,
  ['warm-route'] = function(mine, base)
    assert(mine.loads <= 2 and base.loads > 20, 'the swaps are gone')
    assert(mine.wait_s.mean < base.wait_s.mean * 0.1, 'and the waits with them')
  end,
  gather = function(mine, base)
    assert(mine.loads < base.loads * 0.85, 'fewer loads')
    assert(mine.wait_s.p99 < base.wait_s.p99 + 20, 'for a bounded delay')
  end,
  ['office-hours'] = function(mine, base)
    assert(mine.wait_s.max == 0 and base.wait_s.max >= 20, 'the first of the morning does not wait')
  end,
}

describe('on its own trace', function()
  for name, judge in pairs(better) do
    it(name .. ' is better than the built-in', function()
      local path = 'policies/' .. name .. '.trace.jsonl'
      local try = first_line(path).try
      local args = assert(try:match '^luaswap simulate (.*)$', try)
      assert.matches(path, args, 1, true)
      local rows = simulate(args .. ' --compare builtin')
      local mine, base = rows[name .. '.lua'], rows['built-in fifo'] or rows['built-in serial']
      assert.equal(base.requests, mine.served)
      assert.equal(base.requests, base.served)
      assert.equal(0, mine.errors + mine.invalid + mine.budget + mine.ejections + mine.decisions.override)
      judge(mine, base)
    end)

    it(name .. ' leaves nobody behind when everything fails', function()
      local args = first_line('policies/' .. name .. '.trace.jsonl').try:match '^luaswap simulate (.*)$'
      for seed = 1, 3 do
        local r = simulate(('%s --chaos --seed %d 2>/dev/null'):format(args, seed))[name .. '.lua']
        assert.equal(r.requests, r.served + r.rejected + r.cancelled)
        assert.equal(0, r.invalid)
      end
    end)
  end

  it('every shipped policy has one, and a line that says when it helps', function()
    for path in io.popen('ls ' .. shell.root .. '/policies/*.lua'):lines() do
      local name = path:match '([^/]*)%.lua$'
      if not name:find '_spec$' then
        assert(better[name], name .. ' is not judged here')
        assert(first_line('policies/' .. name .. '.trace.jsonl').note)
        assert.matches('\n%-%- Helps ', server.read_file(path))
        assert(server.read_file(path:gsub('%.lua$', '_spec.lua')))
      end
    end
  end)
end)

-- ---- the common day

local function day()
  local world, list = { models = {} }, {}
  for line in io.lines(shell.root .. '/policies/day.trace.jsonl') do
    local o = json.decode(line)
    if o.kind == 'world' then world.gpu_mb, world.scheduler = o.gpu[1].total_mb, o.scheduler
    elseif o.kind == 'model' then world.models[o.id] = { load_s = o.load_s, stop_s = o.stop_s, vram_mb = o.vram_mb, limit = o.limit }
    elseif o.kind == 'req' then
      list[#list + 1] = { at = o.t, id = o.id, model = o.model, key = o.key, tokens_in = o.tokens_in, tokens_out = o.tokens_out,
        serve_s = o.serve_s }
    end
  end
  return world, list
end

describe('on the common day', function()
  local world, list = day()
  local base = lab.play(lab.new(world, {}), list):result()
  local function with(name, settings)
    local w = lab.play(lab.new(world, 'policies/' .. name .. '.lua', settings), list)
    assert.equal(400, w.served)
    return w:result()
  end

  it('residency saves a fifth of the loads', function() assert(with('residency').loads < base.loads * 0.8) end)
  it('greedydual saves loads without more waiting', function()
    local r = with 'greedydual'
    assert(r.loads < base.loads and r.p99 <= base.p99)
  end)
  it('gather saves loads', function() assert(with('gather').loads < base.loads) end)
  it('fair lets the typical request wait less', function() assert(with('fair').p50 < base.p50) end)
  it('warm-route lets requests wait less', function()
    local r = with('warm-route', { same = { ['big-a'] = { 'big-a', 'big-b' }, ['big-b'] = { 'big-b', 'big-a' } } })
    assert(r.mean < base.mean * 0.95, r.mean .. ' against ' .. base.mean)
  end)
  it('aging and office-hours do no harm to the whole', function()
    assert(with('aging', { base = { alice = 10, bob = 10 }, bonus = 5 }).loads < base.loads * 1.25)
    assert(with('office-hours', { warm = { 'embed' } }).p99 < base.p99 * 1.5)
  end)

  it('the table of docs/policies.md is what the program prints', function()
    local doc = server.read_file(shell.root .. '/docs/policies.md')
    for _, name in ipairs { 'residency', 'greedydual', 'gather', 'fair' } do
      local r = simulate(('policies/day.trace.jsonl --policy policies/%s.lua'):format(name))
      local function row(title, x)
        local loading = ('%.0f'):format(x.load_s):reverse():gsub('(%d%d%d)', '%1,'):reverse():gsub('^,', '')
        return ('| %s | %d | %s | %.1f | %.1f | %.1f | %.1f |'):format(title, x.loads, loading, x.wait_s.p50, x.wait_s.p90, x.wait_s.p99,
          x.starvation_s)
      end
      for _, line in ipairs { row(name, r[name .. '.lua']), row('built-in fifo', r['built-in fifo']) } do
        assert(doc:find(line, 1, true), 'docs/policies.md should say: ' .. line)
      end
    end
  end)
end)
