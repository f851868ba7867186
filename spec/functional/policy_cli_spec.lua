-- policy_cli_spec.lua: the commands for authors of policies: what they print, and with which status they end.
local json = require 'spec.support.json'
local net = require 'spec.net'
local server = require 'spec.support.server'
local shell = require 'spec.shell'

local dir

-- stdout, status, stderr of `luaswap ARGS`, run in a folder of this test.
local function luaswap(args)
  local p = assert(io.popen(('cd %s && %s %s 2>err'):format(dir, server.bin(), args)))
  local out = p:read 'a'
  local _, _, code = p:close()
  return out, code, server.read_file(dir .. '/err')
end

local function file(name, text)
  server.write_file(dir .. '/' .. name, text)
  return name
end

local good = 'return { api = 1, name = "good", score = function(r) return r.age end }\n'

describe('luaswap check', function()
  before_each(function() dir = net.tmpdir() end)

  it('ends with 0, 1 or 2 and names file and line', function()
    local out, code = luaswap('check ' .. file('good.lua', good))
    assert.equal(0, code, out)
    assert.matches('good.lua: ok', out, 1, true)
    out, code = luaswap('check ' .. file('warn.lua', 'return { api = 1, name = "w",\nroute = function(r) luaswap.http.get("http://x/") end }'))
    assert.equal(1, code, out)
    assert.matches('warn  capability  warn.lua:2: luaswap.http.get needs', out, 1, true)
    out, code = luaswap('check ' .. file('bad.lua', 'return { api = 1, name = "b",\n\nscore = function(r) return r.agee end }'))
    assert.equal(2, code, out)
    assert.matches('error field       bad.lua:3: a Request has no agee: did you mean age?', out, 1, true)
    assert.matches('bad.lua: error', out, 1, true)
  end)

  it('finds what only running shows', function()
    local cases = {
      { 'return { api = 1, name = "x", pick_next = function(q) while true do end end }', 'rehearsal', 'budget' },
      { 'return { api = 1, name = "x", pick_next = function(q) return luaswap.hold(1000) end }', 'rehearsal', '' },
      { 'local u = {}\nreturn { api = 1, name = "x", on_request = function(r) u[r.id] = true end, score = function(r) for id in pairs(u) do return id == r.id and 1 or 0 end end }',
        'order', 'luaswap.sorted_pairs' },
      { 'return { api = 1, name = "x", score = function(r) local n = 0 for _ in luaswap.queue():each() do for i = 1, 100 do n = n + i end end return n end }', 'cost', 'million instructions' },
      { 'return { api = 1, name = "x", settings = { a = { type = "number", min = 5, default = 1 } } }', 'load', 'less than' },
      { 'return { api = 1, name = "Not So", }', 'load', 'name must be' },
      { 'return {\n  api = 1,\n  score = ) }', 'syntax', 'x.lua:3:' },
    }
    for _, c in ipairs(cases) do
      local out, code = luaswap('check ' .. file('x.lua', c[1]))
      assert(code > 0, out)
      local found = false
      for line in out:gmatch '[^\n]+' do found = found or line:find '^[we]%a+ ' and line:find(c[2], 1, true) and line:find(c[3], 1, true) end
      assert(found, c[1] .. '\n' .. out)
    end
    local _, code = luaswap 'check nowhere.lua'
    assert.equal(2, code)
  end)

  it('takes settings and several files, and speaks JSON', function()
    file('s.lua', 'return { api = 1, name = "s", settings = { n = { type = "integer", min = 1 } }, score = function(r) return luaswap.config.n end }')
    local out, code = luaswap [[check s.lua --settings '{"n":0}']]
    assert.equal(2, code)
    assert.matches('0', out)
    out, code = luaswap(('check s.lua %s --settings \'{"n":3}\' --json'):format(file('bad.lua', 'return { api = 1, name = "b", scroe = 1 }')))
    assert.equal(2, code)
    local r = json.decode(out)
    assert.equal('error', r.verdict)
    local hit
    for _, c in ipairs(r.checks) do hit = hit or c.file == 'bad.lua' and c end
    assert.equal(1, hit.line)
    assert.equal('hook', hit.check)
    assert.matches('did you mean score?', hit.text, 1, true)
  end)

  it('looks at a whole configuration and its policies', function()
    local config = 'models:\n  a: { cmd: "server --port ${PORT}" }\n  b: { cmd: "server --port ${PORT}" }\n'
    file('good.lua', good)
    file('config.yaml', config .. 'policies: [ { file: good.lua } ]\nrouting: { scheduler: { use: fifo } }\n')
    local out, code = luaswap 'check config.yaml'
    assert.equal(0, code, out)
    assert.matches('2 models, 1 policies', out, 1, true)
    assert.matches('1 policies on 2 models under fifo: 120 of 120 served', out, 1, true)
    -- serial keeps its promise
    file('config.yaml', config .. 'policies: [ { file: good.lua } ]\n')
    out, code = luaswap 'check config.yaml'
    assert.equal(1, code, out)
    assert.matches('serial.reorder: true', out, 1, true)
    -- two claims on one decision
    file('other.lua', 'return { api = 1, name = "other", score = function() return 1 end }')
    file('config.yaml', config .. 'policies: [ { file: good.lua }, { file: other.lua } ]\n')
    out, code = luaswap 'check config.yaml'
    assert.equal(2, code, out)
    assert.matches('both good.lua and other.lua define score', out, 1, true)
    -- a mistake in the file, a file that is not there, a setting that is not there
    for text, want in pairs { ['models: [1]\n'] = 'config.yaml:1', [config .. 'policies: [ { file: none.lua } ]\n'] = 'none.lua',
      [config .. 'policies: [ { file: good.lua, settings: { x: 1 } } ]\n'] = 'no such setting' } do
      file('config.yaml', text)
      out, code = luaswap 'check config.yaml'
      assert.equal(2, code, out)
      assert.matches(want, out, 1, true)
    end
  end)

  it('is content with what is shipped', function()
    for name in io.popen(('ls %s/policies/*.lua %s/examples/policies/[ck]*.lua | grep -v _spec'):format(shell.root, shell.root)):lines() do
      local out, code = luaswap('check ' .. name)
      assert.equal(0, code, out)
    end
  end)
end)

describe('luaswap policy', function()
  before_each(function() dir = net.tmpdir() end)

  it('new writes a policy that passes its check, its spec and luacheck at once', function()
    local out, code = luaswap 'policy new first-one'
    assert.equal(0, code)
    for _, name in ipairs { 'first-one.lua', 'first-one_spec.lua', '.luacheckrc', 'luaswap.meta.lua', '.luarc.json', '.busted' } do
      assert.matches('wrote ' .. name, out, 1, true)
    end
    out, code = luaswap 'check first-one.lua'
    assert.equal(0, code, out)
    local p = assert(io.popen(('cd %s && env -u LUASWAP_SPEC_TOTALS %s --ignore-lua first-one_spec.lua 2>&1'):format(dir, shell.exe)))
    out = p:read 'a'
    assert(p:close(), out)
    assert.matches('2 passed, 0 failed', out, 1, true)
    if os.execute 'command -v luacheck >/dev/null 2>&1' then
      p = assert(io.popen(('cd %s && luacheck --no-color *.lua 2>&1'):format(dir)))
      out = p:read 'a'
      assert(p:close(), out)
    end
    -- another one beside it; nothing is written over
    out, code = luaswap 'policy new second'
    assert.equal(0, code)
    assert.is_nil(out:find('.luacheckrc', 1, true))
    file('third_spec.lua', '-- mine')
    for name, why in pairs { second = 'second.lua', third = 'third_spec.lua', ['Not.A-Name'] = 'a name is', [('x'):rep(33)] = 'a name is' } do
      local _, c, err = luaswap('policy new ' .. name)
      assert.equal(2, c)
      assert.matches(why, err, 1, true)
    end
    assert.is_nil(server.read_file(dir .. '/third.lua'))
    assert.equal('-- mine', server.read_file(dir .. '/third_spec.lua'))
  end)

  it('api prints the same API in every form', function()
    local api = json.decode((luaswap 'policy api --json'))
    assert.equal(1, api.api_level)
    assert(#api.hooks >= 22 and #api.functions >= 40 and #api.fields > 70 and #api.capabilities == 4)
    local markdown, luacats = luaswap 'policy api', luaswap 'policy api --luacats'
    local tables = load((luaswap 'policy api --lua'))()
    local std = {}
    assert(load(luaswap 'policy api --luacheck', 'std', 't', setmetatable({ stds = std }, { __index = _G })))()
    for _, h in ipairs(api.hooks) do
      assert.matches(('| `%s` |'):format(h.name), markdown, 1, true)
      assert.matches(('---@field %s? fun('):format(h.name), luacats, 1, true)
    end
    for _, f in ipairs(api.functions) do
      assert.matches(('`%s('):format(f.name), markdown, 1, true)
      assert.matches(('function %s('):format(f.name), luacats, 1, true)
      assert(std.luaswap.read_globals.luaswap.fields[f.name:match '^luaswap%.([%w_]+)'] or f.name:find '%..*%.', f.name)
    end
    assert.equal(#api.hooks, #tables.hooks)
    assert.equal(#api.functions, #tables.funcs)
    assert.equal(markdown, server.read_file(shell.root .. '/docs/policy-api.md'), 'make it anew: luaswap policy api > docs/policy-api.md')
    assert.equal(luacats, server.read_file(shell.root .. '/lua/luaswap/meta.lua'), 'make it anew: luaswap policy api --luacats > lua/luaswap/meta.lua')
    local _, code = luaswap 'policy api --xml'
    assert.equal(1, code)
  end)
end)

describe('luaswap simulate', function()
  local day
  before_each(function()
    dir = net.tmpdir()
    day = file('day.jsonl', (luaswap 'trace synth --requests 120'))
    file('good.lua', good)
  end)

  local function rows(args)
    local out, code, err = luaswap('simulate ' .. args .. ' --json')
    assert.equal(0, code, err)
    local list = {}
    for line in out:gmatch '[^\n]+' do list[#list + 1] = json.decode(line) end
    return list
  end

  it('tells all there is to tell', function()
    local r = rows(day .. ' --policy good.lua --compare serial')
    assert.same({ 'built-in fifo', 'good.lua', 'built-in serial' }, { r[1].name, r[2].name, r[3].name })
    assert.equal('score', r[4].kind)
    for _, name in ipairs { 'requests', 'served', 'rejected', 'cancelled', 'unfinished', 'swaps', 'loads', 'evictions', 'load_s', 'slowdown',
      'starvation_s', 'jain_keys', 'jain_models', 'spread_keys', 'spread_models', 'calls', 'holds', 'invalid', 'errors', 'budget', 'ejections' } do
      assert(type(r[2][name]) == 'number', name)
    end
    for _, name in ipairs { 'p50', 'p90', 'p99', 'max', 'mean' } do assert(r[2].wait_s[name] >= 0, name) end
    for _, name in ipairs { 'policy', 'builtin', 'fallback', 'override' } do assert(r[2].decisions[name] >= 0, name) end
    assert(r[2].instructions.max >= r[2].instructions.p50)
    assert.equal(120, r[2].served)
    assert.equal(3, #r[2].keys)
    local n = 0
    for _, k in ipairs(r[2].models) do n = n + k.n end
    assert.equal(120, n)
    local text = luaswap(('simulate %s --policy good.lua'):format(day))
    for _, word in ipairs { 'served', 'swaps', 'loading_s', 'wait p50', 'longest', 'decisions:', 'instructions of a call', 'mean wait by key', 'built-in fifo', 'good.lua' } do
      assert.matches(word, text, 1, true)
    end
  end)

  it('gives the same bytes for the same trace, seed and file', function()
    for _, args in ipairs { '', ' --log', ' --chaos --log --json', ' --chaos --seed 7', ' --stretch 0.2' } do
      local one = luaswap(('simulate %s --policy good.lua%s'):format(day, args))
      assert.equal(one, (luaswap(('simulate %s --policy good.lua%s'):format(day, args))))
    end
    assert.are_not.equal((luaswap('simulate ' .. day .. ' --chaos')), (luaswap('simulate ' .. day .. ' --chaos --seed 2')))
  end)

  it('makes hooks fail under chaos, and everybody is served all the same', function()
    file('busy.lua', 'return { api = 1, name = "busy", pick_next = function(q) return q:first() end, on_serve_done = function() end }')
    local r = rows(day .. ' --policy busy.lua --chaos --seed 3')
    assert(r[2].errors + r[2].budget > 0)
    assert.equal(r[2].requests, r[2].served + r[2].rejected + r[2].cancelled)
  end)

  it('passes settings, combines policies and stops in time', function()
    file('p.lua', 'return { api = 1, name = "p", settings = { sec = { type = "number", default = 0 }, word = { type = "string", default = "" } }, ' ..
      'on_start = function() luaswap.log.info("word %s sec %s", luaswap.config.word, luaswap.config.sec) end }')
    local _, code, err = luaswap(('simulate %s --policy p.lua --policy good.lua --set sec=2.5 --set word=hi'):format(day))
    assert.equal(0, code)
    assert.matches('word hi sec 2.5', err, 1, true)
    local r = rows(day .. ' --until 60')
    assert(r[1].served < 40)
    assert(r[1].unfinished > 0)
  end)

  it('says what is wrong with a trace, where, and what to write', function()
    local model = '{"kind":"model","id":"a","load_s":1}\n'
    local cases = {
      { 'x', 'bad.jsonl:1: not valid JSON' }, { '\n{"a":1}', 'bad.jsonl:2: kind is missing: world, model, req, fact or measure' },
      { '{"kind":"requ"}', 'bad.jsonl:1: kind "requ": it is world,' }, { '[1]', 'bad.jsonl:1: a line is an object' },
      { model .. '{"kind":"req","t":-1,"model":"a"}', 'bad.jsonl:2: req: t must be seconds since the start of the trace' },
      { model .. '{"kind":"req","model":"a"}', 'bad.jsonl:2: req: t must be' }, { model .. '{"kind":"req","t":1}', 'bad.jsonl:2: req: model must be the id of a model line' },
      { model .. '{"kind":"req","t":1,"model":"a","serve_s":"3"}', 'bad.jsonl:2: req: serve_s must be seconds of service' },
      { model .. '\n# a remark\n{"kind":"req","t":1,"model":"b"}', 'bad.jsonl:4: req: there is no model b: add a line {"kind":"model","id":"b"' },
      { model .. '{"kind":"fact","t":1,"crash":"b"}', 'bad.jsonl:2: fact: there is no model b' },
      { '{"kind":"model"}', 'bad.jsonl:1: model: id must be' }, { '{"kind":"model","id":"a","load_s":-1}', 'bad.jsonl:1: model: load_s must be seconds from 0' },
      { '{"kind":"world","scheduler":"lifo"}', 'bad.jsonl:1: world: scheduler must be serial or fifo' },
      { '{"v":2,"kind":"world"}', 'bad.jsonl:1: version 2 of a trace' }, { '{"kind":"world"}', 'bad.jsonl: the trace has no models: each needs' },
      { '{"kind":"world","gpu":[{"mb":1}]}', 'bad.jsonl:1: world: each gpu needs total_mb' },
    }
    for _, c in ipairs(cases) do
      local _, code, err = luaswap('simulate ' .. file('bad.jsonl', c[1]))
      assert.equal(2, code, c[1])
      assert.matches('luaswap simulate: ' .. c[2], err, 1, true)
    end
    local _, code, err = luaswap 'simulate nowhere.jsonl'
    assert.equal(2, code)
    assert.matches('nowhere.jsonl: No such file', err, 1, true)
    for _, args in ipairs { '', day .. ' --seed x', day .. ' --what', day .. ' --scheduler lifo', '--policy' } do
      _, code = luaswap('simulate ' .. args)
      assert.equal(1, code, args)
    end
    _, code, err = luaswap('simulate ' .. day .. ' --policy ' .. file('bad.lua', 'return 5'))
    assert.equal(2, code)
    assert.matches('bad.lua', err, 1, true)
  end)
end)

describe('luaswap trace', function()
  before_each(function() dir = net.tmpdir() end)

  local function lines(text)
    local list = {}
    for line in text:gmatch '[^\n]+' do list[#list + 1] = json.decode(line) end
    return list
  end

  it('synth makes the day that is described, the same each time', function()
    local args = 'trace synth --requests 300 --gap 2 --burst 3 --model chat:4:9000:9 --model draw:20:12000:1 --key ann:1:2 --key bot:3:8 ' ..
      '--gpu 16000 --limit 5 --scheduler serial --start 2026-08-03T08:00:00+02:00 --seed 5'
    local text = luaswap(args)
    assert.equal(text, (luaswap(args)))
    local l = lines(text)
    assert.same({ 'serial', 16000, '2026-08-03T08:00:00+02:00' }, { l[1].scheduler, l[1].gpu[1].total_mb, l[1].start })
    assert.same({ 'chat', 4, 9000, 5 }, { l[2].id, l[2].load_s, l[2].vram_mb, l[2].limit })
    local n, serve = { chat = 0, draw = 0, ann = 0, bot = 0 }, { ann = 0, bot = 0 }
    for i = 4, #l do
      n[l[i].model], n[l[i].key] = n[l[i].model] + 1, n[l[i].key] + 1
      serve[l[i].key] = serve[l[i].key] + l[i].serve_s
      if (i - 4) % 3 > 0 then assert.equal(l[i - 1].t, l[i].t) end
    end
    assert.equal(303, #l)
    assert(n.chat > 240 and n.draw > 10 and n.bot > 190 and n.ann > 50)
    assert(serve.bot / n.bot > 6 and serve.bot / n.bot < 10 and serve.ann / n.ann > 1.5 and serve.ann / n.ann < 2.5)
    for _, bad in ipairs { '--model x', '--model x:y', '--key x', '--gap -1', '--what 5', '--requests' } do
      local _, code = luaswap('trace synth ' .. bad)
      assert(code > 0, bad)
    end
  end)

  it('import reads activity as CSV and as JSON', function()
    local csv = { 'id,timestamp,model,req_path,duration_ms,tokens.input_tokens,tokens.output_tokens,tokens_per_second,resp_status_code,key' }
    local rows = {}
    for i = 1, 24 do
      local model, first = i % 8 < 4 and 'big, one' or 'small', i % 4 == 0
      local at = ('2026-08-22T09:%02d:10Z'):format(i)
      csv[#csv + 1] = ('%d,%s,"%s",/v1/chat/completions,%d,12,30,%s,200,sk-secret-%d'):format(i, at, model, first and 12000 or 2000, i == 1 and '15' or '', i % 2)
      rows[i] = ('{"id":%d,"timestamp":"%s","model":"%s","req_path":"/v1/chat/completions","resp_status_code":200,"duration_ms":%d,' ..
        '"tokens":{"input_tokens":12,"output_tokens":30,"tokens_per_second":-1}}'):format(i, at, model, first and 12000 or 2000)
    end
    csv[#csv + 1] = '25,2026-08-22T10:00:00Z,small,,5,,,,429,'
    file('a.csv', table.concat(csv, '\n') .. '\n')
    local out, code, err = luaswap 'trace import a.csv --scheduler fifo'
    assert.equal(0, code, err)
    assert.matches('24 requests, 1 rows left out', err, 1, true)
    assert.is_nil(out:find('secret', 1, true), 'keys never enter a trace')
    local l = lines(out)
    assert.equal('fifo', l[1].scheduler)
    assert.same({ 'big, one', 10, 'small', 10 }, { l[2].id, l[2].load_s, l[3].id, l[3].load_s })
    assert.same({ 0, 'big, one', 2, 12, 30 }, { l[4].t, l[4].model, l[4].serve_s, l[4].tokens_in, l[4].tokens_out })
    assert.equal('k1', l[4].key)
    assert.equal('k2', l[5].key)
    for name, text in pairs { ['a.json'] = '{"data":[' .. table.concat(rows, ',') .. '],"page":1}', ['b.json'] = '[' .. table.concat(rows, ',\n') .. ']',
      ['a.jsonl'] = table.concat(rows, '\n') } do
      out, code, err = luaswap('trace import ' .. file(name, text))
      assert.equal(0, code, err)
      local k = lines(out)
      assert.equal(27, #k)
      assert.same({ l[2].load_s, l[6].t, l[6].serve_s }, { k[2].load_s, k[6].t, k[6].serve_s })
    end
    code = select(2, luaswap('simulate ' .. file('t.jsonl', out)))
    assert.equal(0, code)
  end)

  it('import says what is wrong with a list, and where', function()
    for name, c in pairs { ['a.csv'] = { 'a,b\n1,2\n', 'a.csv:1: the first line must name at least the columns timestamp' },
      ['b.csv'] = { 'timestamp,model,duration_ms\nyesterday,m,5\n', 'b.csv:2: timestamp "yesterday": write 2026-08-22T09:30:01+02:00' },
      ['c.csv'] = { 'timestamp,model,duration_ms\n\n2026-08-22T09:30:01Z,,5\n', 'c.csv:3: a row without a model' },
      ['d.csv'] = { 'timestamp,model,duration_ms\n2026-08-22T09:30:01Z,m,fast\n', 'd.csv:2: the duration is no number' },
      ['e.json'] = { '{"total":5}', 'e.json:1: neither an array of rows' }, ['f.json'] = { '[{"model":"m"}]', 'f.json:row 1: timestamp' },
      ['g.csv'] = { 'timestamp,model,duration_ms\n', 'g.csv: not one request' },
      ['h.csv'] = { 'timestamp,model,duration_ms\n5,m,5\n2026-08-22T09:30:01Z,m,5\n', 'h.csv: the first and the last row are more than thirty years apart' } } do
      local out, code, err = luaswap('trace import ' .. file(name, c[1]))
      assert.equal(2, code, out)
      assert.matches(c[2], err, 1, true)
    end
    assert.equal(1, (select(2, luaswap 'trace import')))
    assert.equal(2, (select(2, luaswap 'trace import nowhere.csv')))
  end)
end)
