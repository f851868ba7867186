-- The acceptance cases of the configuration contract (section 13) that a load can show, by their ids.
--
-- Elsewhere, because a load cannot show them: src-21 to src-24 (watching: io and proxy), pro-4, pro-5, sel-7 to
-- sel-12, fil-5, fil-6 (requests: route and codec), grp-2, grp-3, mat-1, mat-2, mat-7, mat-9 to mat-11, mat-13,
-- sch-1, sch-2, sch-4 to sch-7 (decisions: sched).
local case = require 'spec.support.config_case'
local config = require 'spec.config'
local json = require 'spec.support.json'

-- ---- helpers ----

local function load(source, more)
  local v = { yaml = type(source) == 'string' and source or nil, files = type(source) == 'table' and source or nil }
  for k, x in pairs(more or {}) do v[k] = x end
  return case.load(v)
end

local function loaded(source, more)
  local r = load(source, more)
  assert(r.ok, r.printed)
  local c = case.shape(r)
  c.result = r
  return c
end

local function refused(needle, source, more)
  local r = load(source, more)
  assert(not r.ok, 'loads, but must be refused: ' .. needle)
  local text = case.messages(r)
  assert(text:find(needle, 1, true), ('no message holds %q:\n%s'):format(needle, r.printed))
  return r
end

local function not_refused_for(needle, r)
  assert(not case.messages(r):find(needle, 1, true), r.printed)
end

local dir = { config_dir = 'd' }
local function two(a, b) return { { 'd/1.yaml', a }, { 'd/2.yaml', b } } end

-- One model with the given lines (indented by four already if there are several).
local function model(lines, id)
  return ('models:\n  %s:\n    %s\n'):format(id or 'model1', lines)
end

local function groups_of(c) return c.routing.router.settings.groups end

-- ---- sources ----

describe('sources', function()
  it('src-1 needs a file or a directory', function()
    refused('at least one of -config or -config-dir', {})
  end)

  it('src-2 src-3 reads a directory, and a file beside it', function()
    local c = loaded({ { 'd/a.yaml', model('cmd: a ${PORT}', 'alpha') }, { 'd/b.yaml', model('cmd: b ${PORT}',
      'beta') } }, dir)
    assert.equal('a 5800', c.models.alpha.cmd)
    assert.equal('b 5801', c.models.beta.cmd)
    c = loaded({ { 'main.yaml', model('cmd: a ${PORT}', 'base') }, { 'd/x.yaml', model('cmd: b ${PORT}', 'ext') } },
      { config = 'main.yaml', config_dir = 'd' })
    assert.is_truthy(c.models.base)
    assert.is_truthy(c.models.ext)
  end)

  it('src-4 refuses a file that the directory holds as well', function()
    refused('is also present in -config-dir', { { 'd/a.yaml', 'globalTTL: 1\n' } }, { config = 'd/a.yaml',
      config_dir = 'd' })
    refused('is also present in -config-dir', { { 'd/a.yaml', 'globalTTL: 1\n' } }, { config = './d/../d//a.yaml',
      config_dir = 'd/' })
  end)

  it('src-5 src-6 refuses one name in two files', function()
    local m = model('cmd: a ${PORT}', 'dup')
    refused('duplicate models "dup"', two(m, m), dir)
    refused('duplicate groups "g1"', two('groups: {g1: {members: []}}', 'groups: {g1: {members: []}}'), dir)
    refused('duplicate peers "remote"',
      two('peers: {remote: {proxy: "http://a", models: [m]}}', 'peers: {remote: {proxy: "http://b", models: [n]}}'),
        dir)
    local s = 'selectors: {public: {strategy: pin, targets: [x]}}'
    refused('duplicate selectors "public"', two(s, s), dir)
  end)

  it('src-7 src-12 scalars must agree', function()
    refused('conflict at "globalTTL"', two('globalTTL: 100', 'globalTTL: 200'), dir)
    assert.equal(100, loaded(two('globalTTL: 100', 'globalTTL: 100'), dir).globalTTL)
    refused('incompatible YAML node kinds', two('startPort: 5800', 'startPort: [5800, 5801]'), dir)
  end)

  it('src-8 src-9 macros of all files count', function()
    local c = loaded(two('macros: {LOW: 1}', 'macros: {HIGH: 2}'), dir)
    assert.same({ { 'LOW', 1 }, { 'HIGH', 2 } }, c.macros)
    c = loaded({ { 'd/macros.yaml', 'macros: {BIN: /opt/srv}' }, { 'd/use.yaml', model('cmd: "${BIN} ${PORT}"') } },
      dir)
    assert.equal('/opt/srv 5800', c.models.model1.cmd)
  end)

  it('src-10 src-11 src-13 lists are joined, groups and routing come together', function()
    assert.same({ 'k1', 'k2' }, loaded(two('apiKeys: [k1]', 'apiKeys: [k2]'), dir).apiKeys)
    local g = 'routing: {router: {settings: {groups: {%s: {members: []}}}}}'
    local groups = groups_of(loaded(two(g:format 'groupA', g:format 'groupB'), dir))
    assert.is_truthy(groups.groupA)
    assert.is_truthy(groups.groupB)
    assert.equal('fifo', loaded(two('globalTTL: 1', 'routing: {scheduler: {use: fifo}}'), dir).routing.scheduler.use)
  end)

  it('src-14 an empty directory is fine beside a file', function()
    local more = { config = 'main.yaml', config_dir = 'd', mkdir = { 'd' } }
    assert.equal(7, loaded({ { 'main.yaml', 'globalTTL: 7' } }, more).globalTTL)
    refused('no configuration sources found', {}, { config_dir = 'd', mkdir = { 'd' } })
    refused('-config-dir d:', {}, { config_dir = 'd' })
  end)

  it('src-15 src-20 variables in files of a directory, two levels deep', function()
    local c = loaded({ { 'd/k.yaml', 'apiKeys: [${env.TEST_API_KEY}]' } }, { config_dir = 'd',
      env = { TEST_API_KEY = 'secret123' } })
    assert.same({ 'secret123' }, c.apiKeys)
    assert.equal('debug', loaded('logLevel: ${env.N1}', { env = { N1 = '${env.N2}', N2 = 'debug' } }).logLevel)
  end)

  it('src-16 src-17 blank values in one of two files', function()
    refused('expected a mapping', two('models:\n', model 'cmd: a ${PORT}'), dir)
    assert.equal(5, loaded(two('globalTTL:\n', 'globalTTL: 5'), dir).globalTTL)
    refused('conflict at "globalTTL"', two('globalTTL: ~\n', 'globalTTL: 5'), dir)
  end)

  it('src-18 src-19 a file with a bare word is empty; ports follow ids, not files', function()
    assert.equal(3, loaded(two('hello', 'globalTTL: 3'), dir).globalTTL)
    local c = loaded({ { 'd/z.yaml', model('cmd: b ${PORT}', 'b') },
      { 'd/a.yaml', 'models: {c: {cmd: "c ${PORT}"}, a: {cmd: "a ${PORT}"}}' } }, dir)
    assert.equal('a 5800', c.models.a.cmd)
    assert.equal('b 5801', c.models.b.cmd)
    assert.equal('c 5802', c.models.c.cmd)
  end)

  it('skips other extensions, sub-directories and names in capitals, and reads hidden files', function()
    local c = loaded({ { 'd/.hidden.yml', 'globalTTL: 9' }, { 'd/A.YAML', 'globalTTL: 1' }, { 'd/notes.txt', '[' },
      { 'd/sub.yaml/x.yaml', 'globalTTL: 2' } }, dir)
    assert.equal(9, c.globalTTL)
  end)
end)

-- ---- defaults ----

describe('defaults and scalars', function()
  local one = model 'cmd: "path/to/cmd --port ${PORT}"'

  it('def-1 fills in every default', function()
    local c = loaded(one)
    assert.equal(120, c.healthCheckTimeout)
    assert.equal(5800, c.startPort)
    assert.equal('info', c.logLevel)
    assert.equal('', c.logTimeFormat)
    assert.equal(10, c.unloadTimeout)
    local m = c.models.model1
    assert.equal('path/to/cmd --port 5800', m.cmd)
    assert.equal('http://localhost:5800', m.proxy)
    assert.equal('/health', m.checkEndpoint)
    assert.equal(0, m.ttl)
    assert.equal(0, m.concurrencyLimit)
    assert.same({}, m.aliases)
    assert.same({}, m.env)
    assert.equal('', m.cmdStop)
  end)

  it('def-2 def-3 ungrouped models form the default group', function()
    local c = loaded(one)
    assert.same({ swap = true, exclusive = true, persistent = false, members = { 'model1' } },
      groups_of(c)['(default)'])
    assert.equal('group', c.routing.router.use)
    assert.equal('serial', json.decode(c.result.json).routing.scheduler.use)
    assert.is_false(c.result.scheduler_given)
    local four = 'models:\n'
    for i = 1, 4 do four = four .. ('  model%d: {cmd: "m ${PORT}"}\n'):format(i) end
    local g = groups_of(loaded(four .. 'groups:\n  group1: {exclusive: false, members: [model2]}\n' ..
      '  forever: {persistent: true, members: [model4]}\n'))
    assert.same({ 'model1', 'model3' }, g['(default)'].members)
    assert.is_true(g.group1.swap)
    assert.is_false(g.group1.exclusive)
    assert.is_true(g.forever.swap)
    assert.is_true(g.forever.persistent)
  end)

  it('def-4 healthCheckTimeout is at least 15 and reaches every model', function()
    local function health(text)
      local raw = json.decode(load(text .. one).json)
      return raw.healthCheckTimeout, raw.models.model1.healthCheckTimeout
    end
    assert.same({ 15, 15 }, { health 'healthCheckTimeout: 15\n' })
    assert.same({ 15, 15 }, { health 'healthCheckTimeout: 0\n' })
    assert.same({ 15, 15 }, { health 'healthCheckTimeout: -5\n' })
    assert.same({ 300, 300 }, { health 'healthCheckTimeout: 300\n' })
    local raw = json.decode(load('healthCheckTimeout: 300\n' .. one .. '    healthCheckTimeout: 900\n').json)
    assert.equal(900, raw.models.model1.healthCheckTimeout) -- decisions.md: honoured
  end)

  it('def-5 def-6 ttl and unloadTimeout fall back to the global values', function()
    local function ttl(global, own)
      return loaded(global .. one .. own).models.model1.ttl
    end
    assert.equal(300, ttl('globalTTL: 300\n', ''))
    assert.equal(0, ttl('globalTTL: 300\n', '    ttl: 0\n'))
    assert.equal(600, ttl('globalTTL: 300\n', '    ttl: 600\n'))
    assert.equal(0, ttl('', ''))
    refused('globalTTL must be >= 0', 'globalTTL: -1\n')
    local function unload(global, own)
      return loaded(global .. one .. own).models.model1.unloadTimeout
    end
    assert.equal(25, unload('unloadTimeout: 25\n', ''))
    assert.equal(25, unload('unloadTimeout: 25\n', '    unloadTimeout: 0\n'))
    assert.equal(45, unload('unloadTimeout: 25\n', '    unloadTimeout: 45\n'))
    assert.equal(10, unload('', ''))
    refused('unloadTimeout must be >= 0', 'unloadTimeout: -1\n')
    refused('model model1: invalid unloadTimeout value -1', one .. '    unloadTimeout: -1\n')
  end)

  it('def-7 startPort', function()
    refused('cannot unmarshal', 'startPort: abcd')
    refused('startPort must be greater than 1', 'startPort: -99')
    assert.equal(1000, loaded('startPort: 1000').startPort)
    assert.equal(5800, loaded('').startPort)
  end)

  it('def-8 store.path must be a place to write', function()
    assert.equal('x.db', loaded('store: {path: x.db}').store.path)
    assert.equal('d/y.db', loaded({ { 'config.yaml', 'store: {path: d/y.db}' }, { 'd/y.db', '' } },
      { config = 'config.yaml' }).store.path)
    refused('not writable', 'store: {path: missing/x.db}')
    refused('store.path must not be empty', 'store: {path: ""}')
    refused('is a directory, not a file', 'store: {path: .}')
  end)

  it('def-9 session ids are trimmed and unique', function()
    local function ids(text) return loaded(text).ui.activity.session_id end
    assert.same({ 'X-Trace-ID', 'X-Session-ID' },
      ids "ui: {activity: {session_id: [' X-Trace-ID ', '', x-trace-id, X-Session-ID]}}")
    assert.same({}, ids 'ui: {activity: {session_id: []}}')
    assert.same({ 'X-Session-ID', 'X-Litellm-Session-Id' }, ids '')
  end)

  it('def-10 performance', function()
    local function every(text) return loaded(text).performance.every_ns // 1000000 end
    assert.equal(5000, every '')
    assert.is_false(loaded('').performance.disabled)
    assert.equal(30000, every 'performance: {every: 30s}')
    assert.equal(90000, every 'performance: {every: 1m30s}')
    refused('every must be at least 5s', 'performance: {every: 4s}')
    assert.equal(5000, every 'performance: {disabled: true}')
    assert.is_true(loaded('performance: {disabled: true}').performance.disabled)
    assert.is_false(loaded('performance: {enable: true}').performance.disabled)
  end)

  it('def-11 def-12 upstream.ignorePaths', function()
    local dflt = { [[.*\.(js|json|css|png|gif|jpg|jpeg|ico|txt)$]] }
    assert.same(dflt, loaded('').upstream.ignorePaths)
    assert.same(dflt, loaded('upstream: {}').upstream.ignorePaths)
    assert.same(dflt, loaded('upstream: {ignorePaths: []}').upstream.ignorePaths)
    local r = refused('upstream.ignorePaths', 'upstream: {ignorePaths: ["[invalid("]}')
    assert.is_truthy(case.messages(r):find('invalid regular expression', 1, true))
  end)

  it('def-13 api keys', function()
    refused('empty api key found in apiKeys', 'apiKeys: [""]')
    for _, k in ipairs { '" key"', '"a b"', '"   "' } do
      refused('apiKeys[0]: api key cannot contain spaces', 'apiKeys: [' .. k .. ']')
    end
    refused('apiKeys[1]', 'apiKeys: [good, "b d"]')
  end)

  it('def-14 timeouts of models and peers', function()
    local dflt = { connect = 30, keepalive = 30, responseHeader = 0, tlsHandshake = 10, expectContinue = 1,
      idleConn = 90 }
    local peer = 'peers: {p: {proxy: "http://p", models: [m]%s}}\n'
    local c = loaded(one .. peer:format '')
    assert.same(dflt, c.models.model1.timeouts)
    dflt.responseHeader = 60
    assert.same(dflt, c.peers.p.timeouts)
    c = loaded(one .. '    timeouts: {connect: 0, idleConn: 7}\n' .. peer:format ', timeouts: {responseHeader: 0}')
    assert.equal(0, c.models.model1.timeouts.connect)
    assert.equal(7, c.models.model1.timeouts.idleConn)
    assert.equal(0, c.peers.p.timeouts.responseHeader)
  end)

  it('def-15 def-16 sendLoadingState and comfyui_auto', function()
    local c = loaded(
      'sendLoadingState: true\nmodels: {a: {cmd: "a ${PORT}", sendLoadingState: false}, b: {cmd: "b ${PORT}"}}')
    assert.is_false(c.models.a.sendLoadingState)
    assert.is_true(c.models.b.sendLoadingState)
    for limit, want in pairs { [0] = 50, [10] = 50, [50] = 50, [60] = 60 } do
      c = loaded((
        'models: {comfyui_auto: {cmd: "c ${PORT}", concurrencyLimit: %d, compat: {ignoreWebsockets: false}},' ..
        ' o: {cmd: "o ${PORT}", concurrencyLimit: 3}}'):format(limit))
      assert.equal(want, c.models.comfyui_auto.concurrencyLimit)
      assert.is_true(c.models.comfyui_auto.compat.ignoreWebsockets)
      assert.equal(3, c.models.o.concurrencyLimit)
      assert.is_false(c.models.o.compat.ignoreWebsockets)
    end
  end)

  it('def-17 def-18 capabilities', function()
    local c = loaded(one .. '    capabilities: {tools: false, reranker: true}\n')
    assert.is_false(c.models.model1.capabilities.tools)
    assert.is_true(c.models.model1.capabilities.reranker)
    local r = refused('capabilities.in: invalid modality', one .. '    capabilities: {in: [text, video]}\n')
    assert.is_truthy(case.messages(r):find('video', 1, true))
    refused('capabilities.context', one .. '    capabilities: {context: -1}\n')
  end)

  it('def-19 numbers', function()
    refused('cannot unmarshal', one .. '    ttl: "60"\n')
    assert.equal(1, loaded(one .. '    ttl: 1.9\n').models.model1.ttl)
    assert.equal(16, loaded(one .. '    ttl: 0x10\n').models.model1.ttl)
    refused('invalid TTL value -2', one .. '    ttl: -2\n')
  end)

  it('def-20 booleans', function()
    for _, w in ipairs { 'yes', '"yes"', 'on', 'y' } do
      assert.is_true(loaded(one .. '    unlisted: ' .. w .. '\n').models.model1.unlisted)
    end
    for _, w in ipairs { '"true"', '1' } do refused('cannot unmarshal', one .. '    unlisted: ' .. w .. '\n') end
  end)
end)

-- ---- macros ----

describe('macros', function()
  local function cmd(text, id) return loaded(text).models[id or 'model1'].cmd end

  it('mac-1 mac-2 ports are given in the order of the ids, and only with a ${PORT} in cmd', function()
    local c = loaded [[
models:
  model2: {cmd: "svr --port ${PORT}"}
  model1: {cmd: "svr --port ${PORT}"}
  model3: {cmd: "svr --port 1999", proxy: "http://1.2.3.4:1999"}
]]
    assert.equal('svr --port 5800', c.models.model1.cmd)
    assert.equal('svr --port 5801', c.models.model2.cmd)
    assert.equal('http://1.2.3.4:1999', c.models.model3.proxy)
    local r = refused('proxy uses', model 'cmd: svr --port 111')
    assert.equal('model model1: proxy uses ${PORT} but cmd does not - ${PORT} is only available when used in cmd',
      r.issues[1].text)
  end)

  it('mac-3 globals, nested ports, overriding, comment lines', function()
    local c = loaded [[
startPort: 9990
macros:
  svr-path: path/to/server
  argOne: --arg1
  argTwo: --arg2
  autoPort: --port ${PORT}
  overriddenByModelMacro: failed
models:
  model1:
    macros:
      overriddenByModelMacro: success
      argThree: --arg3 three
    cmd: |
      ${svr-path} ${argTwo}
      # the automatic port
      ${autoPort}
      ${argOne}
      ${argThree}
      --overridden ${overriddenByModelMacro}
    cmdStop: |
      /path/to/stop.sh --port ${PORT} ${argTwo}
]]
    assert.equal('path/to/server --arg2 --port 9990 --arg1 --arg3 three --overridden success',
      table.concat(config.split(c.models.model1.cmd), ' '))
    assert.equal('/path/to/stop.sh --port 9990 --arg2', table.concat(config.split(c.models.model1.cmdStop), ' '))
  end)

  it('mac-4 reserved names', function()
    for _, name in ipairs { 'PORT', 'PID', 'MODEL_ID' } do
      refused(("macro name '%s' is reserved"):format(name), ('macros: {%s: x}'):format(name))
      refused(("model model1: macro name '%s' is reserved"):format(name),
        model('cmd: a ${PORT}\n    macros: {' .. name .. ': x}'))
    end
  end)

  it('mac-5 unknown macros are named with their field', function()
    local fields = {
      cmd = 'cmd: "${unknownMacro} ${PORT}"', cmdStop = 'cmd: a ${PORT}\n    cmdStop: "${unknownMacro}"',
      proxy = 'cmd: a ${PORT}\n    proxy: "http://localhost:${unknownMacro}"',
      checkEndpoint = 'cmd: a ${PORT}\n    checkEndpoint: "http://localhost:${unknownMacro}/health"',
      ['filters.stripParams'] = 'cmd: a ${PORT}\n    filters: {stripParams: "model,${unknownMacro}"}',
    }
    for field, text in pairs(fields) do
      refused("unknown macro '${unknownMacro}' found in model1." .. field, model(text))
    end
  end)

  it('mac-6 a macro in a comment line does not expand', function()
    local text = cmd [[
macros:
  latest-llama: /server/one --many --words
models:
  model1:
    cmd: |
      # ${latest-llama} is the newest build
      ${latest-llama} --port ${PORT}
]]
    assert.equal(1, select(2, text:gsub('/server/one', '')))
    assert.is_nil(text:find('newest', 1, true))
  end)

  it('mac-7 MODEL_ID, directly and through macros; ports in byte order of ids', function()
    local c = loaded [[
startPort: 9000
macros: {docker: "run --name ${MODEL_ID} -p ${PORT}"}
models:
  model2: {cmd: "${docker}"}
  model1: {cmd: "srv ${PORT} -hf ${MODEL_ID}"}
  author/model:F16: {cmd: "srv ${PORT} -hf ${MODEL_ID}", cmdStop: "halt ${MODEL_ID}"}
]]
    assert.equal('srv 9000 -hf author/model:F16', c.models['author/model:F16'].cmd)
    assert.equal('halt author/model:F16', c.models['author/model:F16'].cmdStop)
    assert.equal('srv 9001 -hf model1', c.models.model1.cmd)
    assert.equal('run --name model2 -p 9002', c.models.model2.cmd)
  end)

  it('mac-8 mac-9 mac-10 typed values in metadata', function()
    local c = loaded [[
macros: {PORT_NUM: 10001, TEMP: 0.7, ENABLED: true, CTX: 16384, NAME: global, BOTH: g}
models:
  model1:
    macros: {NAME: own, LOCAL: l}
    cmd: srv ${PORT}
    metadata:
      port: ${PORT_NUM}
      temperature: ${TEMP}
      enabled: "${ENABLED}"
      context: ${CTX}
      text: "on ${PORT_NUM} at ${TEMP} with ${CTX}"
      nested: {deep: ["${CTX}", {name: "${NAME}"}], mine: "${LOCAL}-${BOTH}"}
      auto: "${PORT}"
      mixed: "port:${PORT}"
]]
    local m = c.models.model1.metadata
    assert.equal('integer', math.type(m.port))
    assert.same({ port = 10001, temperature = 0.7, enabled = true, context = 16384,
      text = 'on 10001 at 0.7 with 16384',
      nested = { deep = { 16384, { name = 'own' } }, mine = 'l-g' }, auto = 5800, mixed = 'port:5800' }, m)
    assert.equal('integer', math.type(m.auto))
  end)

  it('mac-11 mac-12 kinds of values and names', function()
    refused('must be a scalar type', 'macros: {A: [1]}')
    refused('must be a scalar type', 'macros: {A: {b: 1}}')
    loaded 'macros: {A: text, B: 1, C: 1.5, D: true}'
    refused('contains invalid characters', 'macros: {a.b: 1}')
    refused('exceeds maximum length', 'macros: {' .. ('n'):rep(64) .. ': 1}')
    loaded('macros: {' .. ('n'):rep(63) .. ': 1}')
  end)

  it('mac-13 mac-14 mac-15 mac-29 references between macros', function()
    assert.equal('/opt/models/x.gguf 5800',
      cmd('macros: {base: /opt, path: "${base}/models", full: "${path}/x.gguf"}\n' ..
      model 'cmd: "${full} ${PORT}"'))
    refused("unknown macro '${SECOND}'", 'macros: {FIRST: "${SECOND}", SECOND: x}\n' ..
      model 'cmd: "${FIRST} ${PORT}"')
    assert.equal('echo value-model-level', cmd('macros: {tag: global, msg: "value-${tag}"}\n' ..
      model 'cmd: echo ${msg}\n    macros: {tag: model-level}\n    proxy: http://x'))
    refused('self-reference', 'macros: {recursive: "value-${recursive}"}')
    refused("unknown macro '${undefined}'", 'macros: {A: "${undefined}"}\n' .. model 'cmd: "${A} ${PORT}"')
    loaded('macros: {A: "${undefined}"}\n' .. model 'cmd: "a ${PORT}"')
    refused('unknown macro', 'macros: {A: "${LOCAL}"}\n' .. model 'cmd: "${A} ${PORT}"\n    macros: {LOCAL: x}')
  end)

  it('mac-16 name and description expand', function()
    local m = loaded('macros: {A: x}\n' ..
      model 'cmd: a ${PORT}\n    name: "${MODEL_ID} ${A}"\n    description: "d ${A}"').models.model1
    assert.equal('model1 x', m.name)
    assert.equal('d x', m.description)
    refused("unknown macro '${B}' found in model1.description", model 'cmd: a ${PORT}\n    description: "${B}"')
  end)

  it('mac-17 typed values in global and model fields', function()
    local c = loaded [[
macros: {TTL: 99, YES: true, HEADER: X-My, NAME: model1, MODEL_TTL: 45, SECONDS: 7, VALUE: v}
globalTTL: ${TTL}
sendLoadingState: "${YES}"
ui: {activity: {session_id: ["${HEADER}"]}}
hooks: {on_startup: {preload: ["${NAME}"]}}
models:
  model1:
    macros: {MODEL_TTL: 30}
    cmd: a ${PORT}
    ttl: "${MODEL_TTL}"
    timeouts: {connect: "${SECONDS}"}
    env: ["K=${VALUE}"]
]]
    assert.equal(99, c.globalTTL)
    assert.is_true(c.sendLoadingState)
    assert.same({ 'X-My' }, c.ui.activity.session_id)
    assert.same({ 'model1' }, c.hooks.on_startup.preload)
    assert.equal(30, c.models.model1.ttl)
    assert.equal(7, c.models.model1.timeouts.connect)
    assert.same({ 'K=v' }, c.models.model1.env)
  end)

  it('mac-18 keys stay as written, except those of setParamsByID', function()
    local c = loaded(('macros: {KEY: k, A: same, B: same}\nstartPort: 6300\n') ..
      model('cmd: a ${PORT}\n    metadata: {"${KEY}": v}\n    filters: {setParamsByID: ' ..
        '{"${MODEL_ID}:${PORT}": {x: 1}}}'))
    assert.equal('v', c.models.model1.metadata['${KEY}'])
    assert.same({ 'model1:6300' }, c.models.model1.aliases)
    refused('resolve to the same value', 'macros: {A: same, B: same}\n' ..
      model 'cmd: a ${PORT}\n    filters: {setParamsByID: {"${A}": {x: 1}, "${B}": {x: 2}}}')
  end)

  it('mac-19 mac-20 PORT everywhere in its model, PID in cmdStop only', function()
    local m = loaded(model('cmd: a ${PORT}\n    checkEndpoint: /h/${PORT}\n    aliases: ["a${PORT}"]\n  ' ..
      '  metadata: {p: "${PORT}"}')).models.model1
    assert.equal('/h/5800', m.checkEndpoint)
    assert.same({ 'a5800' }, m.aliases)
    assert.equal(5800, m.metadata.p)
    assert.equal('kill ${PID}', loaded(model 'cmd: a ${PORT}\n    cmdStop: kill ${PID}').models.model1.cmdStop)
    assert.equal('kill ${PID}', loaded('macros: {K: "kill ${PID}"}\n' ..
      model 'cmd: a ${PORT}\n    cmdStop: "${K}"').models.model1.cmdStop)
    refused("unknown macro '${PID}'", model 'cmd: a ${PORT}\n    metadata: {p: "${PID}"}')
  end)

  it('mac-21 mac-22 startPort from a macro; macros of one model are unknown in another', function()
    local c = loaded('macros: {FIRST_PORT: 6200}\nstartPort: "${FIRST_PORT}"\n' .. model 'cmd: a ${PORT}')
    assert.equal(6200, c.startPort)
    assert.equal('a 6200', c.models.model1.cmd)
    refused("unknown macro '${LOCAL}' found in other.cmd",
      'models: {owner: {cmd: "a ${PORT}", macros: {LOCAL: x}}, other: {cmd: "${LOCAL} ${PORT}"}}')
  end)

  it('mac-23 mac-24 capabilities and peers', function()
    local caps = loaded('macros: {CTX: 4096, IN: text, T: true}\n' ..
      model('cmd: a ${PORT}\n    capabilities: {context: "${CTX}", in: ["${IN}"], ' ..
        'tools: "${T}"}')).models.model1.capabilities
    assert.same({ context = 4096, ['in'] = { 'text' }, out = {}, tools = true, reranker = false }, caps)
    refused("capabilities: unknown macro '${undefined_macro}'",
      model 'cmd: a ${PORT}\n    capabilities: {context: "${undefined_macro}"}')
    local peer = 'peers: {openrouter: {proxy: "http://x", models: [m], apiKey: "${%s}", ' ..
      'filters: {stripParams: "a,${S}", setParams: {n: "${N}"}}}}'
    local p = loaded('macros: {K: sk, S: b, N: 4096}\n' .. peer:format 'K').peers.openrouter
    assert.equal('sk', p.apiKey)
    assert.same({ 'a', 'b' }, p.filters.strip_list)
    assert.equal(4096, p.filters.setParams.n)
    local r = refused('peers.openrouter.apiKey', 'macros: {S: b, N: 1}\n' .. peer:format 'X')
    assert.is_truthy(case.messages(r):find('unknown macro', 1, true))
  end)

  it('mac-25 mac-26 variables reach every value, and must be set there', function()
    local env = { env = { A = 'x', K = 'key' } }
    local c = loaded([[
apiKeys: ["${env.K}"]
macros: {M: "m${env.A}"}
peers: {p: {proxy: "http://${env.A}", models: ["${env.A}"], apiKey: "${env.K}"}}
models:
  model1:
    cmd: a ${env.A} ${M} ${PORT} # ${env.A}
    cmdStop: stop ${env.A}
    proxy: http://${env.A}:${PORT}
    checkEndpoint: /${env.A}
    metadata: {a: "${env.A}"}
    filters: {stripParams: "${env.A}"}
]], env)
    local m = c.models.model1
    assert.equal('a x mx 5800', m.cmd)
    assert.same({ 'stop x', 'http://x:5800', '/x', 'x' }, { m.cmdStop, m.proxy, m.checkEndpoint, m.metadata.a })
    assert.same({ 'key' }, c.apiKeys)
    assert.equal('http://x', c.peers.p.proxy)
    local r = refused('NOT_HERE', model 'cmd: a ${env.NOT_HERE} ${PORT}')
    assert.is_truthy(case.messages(r):find('not set', 1, true))
    loaded('# ${env.NOT_HERE}\nglobalTTL: 1 # ${env.NOT_HERE}\n')
  end)

  it('mac-27 mac-28 values with newlines, quotes, nothing', function()
    for _, bad in ipairs { 'a\nb', 'a\rb' } do
      local r = refused('newlines', 'logLevel: "${env.V}"', { env = { V = bad } })
      assert.is_truthy(case.messages(r):find("'V'", 1, true))
    end
    local c = loaded([[models: {m: {cmd: "srv \"${env.V}\" ${PORT}"}}]], { env = { V = [[a "q" \ b]] } })
    assert.equal([[srv "a "q" \ b" 5800]], c.models.m.cmd)
    refused('empty api key found in apiKeys', 'apiKeys: ["${env.E}"]', { env = { E = '' } })
    refused('empty api key found in apiKeys', 'apiKeys:\n  - ${env.E}\n', { env = { E = '' } }) -- D5: repaired
  end)

  it('mac-30 numbers in text', function()
    assert.equal('1e+06 131072 8 p', cmd('macros: {A: 1000000.0, B: 131072.0, C: 010}\n' ..
      model 'cmd: "${A} ${B} ${C} p"\n    proxy: http://x'))
  end)

  it('mac-31 where leftovers matter', function()
    refused('UNSET', model 'cmd: |\n      # ${env.UNSET}\n      a ${PORT}')
    loaded('x-templates: {a: "${NOPE}"}\n')
    refused("model a zip: unknown macro '${NOPE}'", model('cmd: a ${PORT}\n    zip: ${NOPE}', 'a'))
  end)
end)

-- ---- commands ----

describe('commands', function()
  it('cmd-1 cmd-2 lines, quotes, comments', function()
    local text = table.concat({ 'python model1.py \\', '    -a "double quotes" \\', "    --arg2 'single quotes'",
      '    -s', '    # comment 1', '    --arg3 123 \\', '    # comment 2', [[    --arg4 '"string in string"']],
      [[    -c "'single quoted'"]] }, '\n')
    assert.same({ 'python', 'model1.py', '-a', 'double quotes', '--arg2', 'single quotes', '-s', '--arg3', '123',
      '--arg4',
      '"string in string"', '-c', "'single quoted'" }, config.split(text))
    assert.same({ nil, 'empty command' }, { config.split '' })
    assert.same({ 'a', '--arg1', 'value1', '--arg2', 'v' }, config.split 'a --arg1 value1 \\\n --arg2 v')
  end)

  it('cmd-3 comment lines', function()
    assert.equal('a\n\nb', config.strip_comments 'a\n   # no\n\nb')
    assert.equal('', config.strip_comments '# a\n  # b')
    assert.equal('a # b', config.strip_comments 'a # b')
  end)

  it('cmd-4 cmd-5 cmd-6 corners', function()
    assert.same({ 'a', '', 'b' }, config.split 'a "" b')
    assert.same({ 'a=' }, config.split 'a=""')
    assert.same({ 'a', 'unterminated b' }, config.split 'a "unterminated b')
    assert.same({ 'a', [[b\c]] }, config.split [[a 'b\'c']])
    assert.same({ '$HOME', '~', '*', '|', '>', '&&', ';' }, config.split '$HOME ~ * | > && ;')
    assert.same({ 'x  \ny' }, config.split '"x \\\ny"')
    assert.same({ 'a', 'b' }, config.split 'a\\\nb')
  end)

  it('refuses a NUL, which no argument can hold', function()
    assert.is_nil((config.split 'a\0b'))
  end)
end)

-- ---- aliases, profiles, selectors ----

local small = 'models: {model1: {cmd: "a ${PORT}", aliases: [m1]}, model2: {cmd: "b ${PORT}"}}\n'
local remote = 'peers: {box: {proxy: "http://box", models: [far, also]}}\n'

describe('aliases and profiles', function()
  it('ali-1 ali-2 unique aliases, lookup', function()
    refused('duplicate alias m1 found in model: model',
      'models: {model1: {cmd: "a ${PORT}", aliases: [m1]}, model2: {cmd: "b ${PORT}", aliases: [m1]}}')
    refused('duplicate alias m1 found in model: model1', 'models: {model1: {cmd: "a ${PORT}", aliases: [m1, m1]}}')
    local found = load(small, { lookup = { 'model1', 'm1', 'nothing' } }).lookup
    assert.same({ model1 = { kind = 'local', id = 'model1' }, m1 = { kind = 'local', id = 'model1' } }, found)
  end)

  it('ali-3 ali-4 keys of setParamsByID', function()
    local by_id = 'models: {model1: {cmd: "a ${PORT}", filters: {setParamsByID: {"%s": {x: 1}, ' ..
      '"${MODEL_ID}:low": {x: 2}}}}, ' ..
      'model2: {cmd: "b ${PORT}", filters: {setParamsByID: {"%s": {}}}}}'
    local r = load(by_id:format('${MODEL_ID}:high', 'model2'), { lookup = { 'model1:high' } })
    assert.same({ 'model1:high', 'model1:low' }, case.shape(r).models.model1.aliases)
    assert.same({}, case.shape(r).models.model2.aliases)
    assert.equal('model1', r.lookup['model1:high'].id)
    refused('conflicts with an existing model ID', by_id:format('model2', 'z'))
    refused('duplicate alias', by_id:format('z', 'z'))
  end)

  it('warns of an alias that a model id hides', function()
    local r = load 'models: {a: {cmd: "a ${PORT}"}, b: {cmd: "b ${PORT}", aliases: [a]}}'
    assert.is_true(r.ok)
    assert.is_truthy(r.printed:find('warning: model b: the alias "a" is the id of a model', 1, true))
  end)

  it('pro-1 pins of every kind', function()
    local c = loaded(small .. remote .. [[
profiles:
  p:
    description: d
    pins: {a: model1, b: m1, c: far, d: box/also, e: "", f: ~, model2: model1}
]])
    assert.same({ a = 'model1', b = 'm1', c = 'far', d = 'box/also', e = '', f = '', model2 = 'model1' },
      c.profiles.p.pins)
    assert.equal('d', c.profiles.p.description)
  end)

  it('pro-2 pro-3 what profiles must not be', function()
    refused('legacy list syntax', small .. 'profiles: {p: [model1]}')
    refused('must contain at least one entry', small .. 'profiles: {p: {pins: {}}}')
    refused('must contain at least one entry', small .. 'profiles: {p: ~}')
    refused('references unknown model', small .. 'profiles: {p: {pins: {a: ghost}}}')
    refused('references unknown model "first"', small .. 'profiles: {p: {pins: {first: model1, second: first}}}')
    refused('profile names cannot be empty', small .. 'profiles: {" ": {pins: {a: model1}}}')
    refused('pin names cannot be empty', small .. 'profiles: {p: {pins: {"": model1}}}')
  end)
end)

describe('selectors', function()
  local function sel(body, more) return small .. remote .. (more or '') .. 'selectors: {s: {' .. body .. '}}\n' end

  it('sel-1 values', function()
    local s = loaded(sel('strategy: spillover, targets: [model1, far], name: n, description: d, ' ..
      'unlisted: true, metadata: {k: 1}')).selectors.s
    assert.equal(1, s.settings.spillover)
    assert.same({ 'n', 'd', true, 1 }, { s.name, s.description, s.unlisted, s.metadata.k })
    assert.equal(4,
      loaded(sel 'strategy: spillover, targets: [far], settings: {spillover: 4}').selectors.s.settings.spillover)
  end)

  it('sel-2 every rule', function()
    refused('selector names cannot be empty', small .. 'selectors: {" ": {strategy: pin, targets: [model1]}}')
    refused('name conflicts with model ID', small .. 'selectors: {model1: {strategy: pin, targets: [model2]}}')
    refused('name conflicts with model alias', small .. 'selectors: {m1: {strategy: pin, targets: [model2]}}')
    refused('strategy is required', sel 'targets: [model1]')
    refused('unknown strategy', sel 'strategy: Warm, targets: [model1]')
    refused('targets must contain at least one entry', sel 'strategy: pin')
    refused('selector chaining is not supported', sel 'strategy: pin, targets: [s]')
    refused('references unknown model', sel 'strategy: pin, targets: [model1, ghost]')
    refused('must resolve to a local model for strategy "warm"', sel 'strategy: warm, targets: [model1, far]')
    refused('settings.spillover must be >= 1', sel 'strategy: spillover, targets: [far], settings: {spillover: 0}')
    loaded(sel 'strategy: pin, targets: [far], settings: {spillover: 0}')
    refused('duplicate resolved model', sel 'strategy: spillover, targets: [far, box/far]')
    refused('duplicate resolved model', sel 'strategy: spillover, targets: [model1, m1]')
    refused('must share a group with swap: false', sel 'strategy: spillover, targets: [model1, model2]')
    refused('must share one routing group', sel('strategy: spillover, targets: [model1, model2]',
      'groups: {g: {swap: false, members: [model1]}}\n'))
    loaded(sel('strategy: spillover, targets: [model1, model2]',
      'groups: {g: {swap: false, members: [model1, model2]}}\n'))
  end)

  it('sel-3 sel-5 sel-6 peers, mixtures, pins', function()
    loaded(small .. remote .. 'selectors: {far: {strategy: pin, targets: [box/far]}}')
    loaded(sel 'strategy: spillover, targets: [far, also]')
    loaded(sel 'strategy: spillover, targets: [model1, far]')
    loaded(sel 'strategy: pin, targets: [model1]' .. 'profiles: {p: {pins: {x: s}}}')
  end)

  it('sel-4 coexistence in the matrix', function()
    local three = 'models: {a: {cmd: "a ${PORT}"}, b: {cmd: "b ${PORT}"}, c: {cmd: "c ${PORT}"}}\n'
    local s = 'selectors: {s: {strategy: spillover, targets: [a, b]}}\n'
    loaded(three .. s .. 'matrix: {sets: {x: "a & b"}}')
    refused('must all appear together in one expanded matrix set', three .. s .. 'matrix: {sets: {x: "a | b"}}')
    local many, factors = 'models:\n', {}
    for f = 1, 4 do
      local ids = {}
      for i = 1, 11 do
        ids[i] = ('m%d-%d'):format(f, i)
        many = many .. ('  %s: {cmd: "x ${PORT}"}\n'):format(ids[i])
      end
      factors[f] = '(' .. table.concat(ids, ' | ') .. ')'
    end
    loaded(many ..
      'selectors: {s: {strategy: spillover, targets: [m1-11, m2-11, m3-11, m4-11]}}\nmatrix: {sets: {x: "' ..
      table.concat(factors, ' & ') .. '"}}')
  end)
end)

-- ---- peers, filters ----

describe('peers and filters', function()
  it('peer-1 what a peer needs', function()
    refused('proxy is required', 'peers: {p: {models: [m]}}')
    refused('proxy is required', 'peers: {p: {proxy: "", models: [m]}}')
    refused('invalid peer proxy URL', 'peers: {p: {proxy: "://invalid", models: [m]}}')
    refused('peer models can not be empty', 'peers: {p: {proxy: "http://x"}}')
    refused('peer models can not be empty', 'peers: {p: {proxy: "http://x", models: [~]}}')
  end)

  it('peer-2 peer-3 full and bare names', function()
    local r = load([[
models: {shared: {cmd: "a ${PORT}"}}
peers:
  p1: {proxy: "http://a", models: [shared, org/model]}
  p2: {proxy: "http://b", models: [shared, unique]}
]], { lookup = { 'p1/shared', 'p1/org/model', 'unique', 'shared' } })
    assert.same({ kind = 'peer', peer = 'p1', model = 'shared' }, r.lookup['p1/shared'])
    assert.same({ kind = 'peer', peer = 'p1', model = 'org/model' }, r.lookup['p1/org/model'])
    assert.same({ kind = 'peer', peer = 'p2', model = 'unique' }, r.lookup.unique)
    assert.same({ kind = 'local', id = 'shared' }, r.lookup.shared)
    r = load('peers: {p1: {proxy: "http://a", models: [m]}, p2: {proxy: "http://b", models: [m, p1/m]}}',
      { lookup = { 'p1/m', 'p2/p1/m', 'm' } })
    assert.same({ kind = 'peer', peer = 'p1', model = 'm' }, r.lookup['p1/m'])
    assert.same({ kind = 'peer', peer = 'p2', model = 'p1/m' }, r.lookup['p2/p1/m'])
    assert.is_nil(r.lookup.m)
  end)

  it('peer-4 full names are reserved', function()
    refused('is ambiguous between',
      'peers: {a: {proxy: "http://a", models: [b/c]}, a/b: {proxy: "http://b", models: [c]}}')
    local needle = 'conflicts with fully qualified peer model name'
    local p = 'peers: {p: {proxy: "http://a", models: [m]}}\n'
    refused(needle, p .. 'models: {p/m: {cmd: "a ${PORT}"}}')
    refused(needle, p .. 'models: {x: {cmd: "a ${PORT}", aliases: [p/m]}}')
    refused(needle, p .. 'models: {x: {cmd: "a ${PORT}", filters: {setParamsByID: {p/m: {}}}}}')
    refused(needle, p .. 'selectors: {p/m: {strategy: pin, targets: [m]}}')
    refused(needle, p .. 'profiles: {q: {pins: {p/m: m}}}')
  end)

  it('fil-1 fil-2 the list to strip', function()
    local text = '"model, top_k, top_k, temperature, ${default_strip}, , ,"'
    for _, key in ipairs { 'stripParams', 'strip_params' } do
      local c = loaded('macros: {default_strip: "temperature, top_p"}\n' .. model('cmd: a ${PORT}\n    filters: {' ..
        key .. ': ' .. text .. '}'))
      assert.same({ 'temperature', 'top_k', 'top_p' }, c.models.model1.filters.strip_list)
    end
    assert.same({},
      loaded(model 'cmd: a ${PORT}\n    filters: {stripParams: "model"}').models.model1.filters.strip_list)
  end)

  it('fil-3 fil-4 parameters to set', function()
    local f = loaded(model('cmd: a ${PORT}\n    filters: {setParams: {z: 1, a: {y: [1], x: 2}}, ' ..
      'setParamsByID: {other: {b: 1}, alone: ~}}')).models.model1
    assert.same({ z = 1, a = { y = { 1 }, x = 2 } }, f.filters.setParams)
    assert.same({ other = { b = 1 }, alone = {} }, f.filters.setParamsByID)
    assert.same({ 'alone', 'other' }, f.aliases)
    local raw = load(model 'cmd: a ${PORT}\n    filters: {setParams: {z: 1, a: {y: 1, x: 2}}}').json
    assert.is_truthy(raw:find('"setParams":{"a":{"x":2,"y":1},"z":1}', 1, true)) -- sorted at every level
  end)
end)

-- ---- routing ----

local abc = 'models: {a: {cmd: "a ${PORT}"}, b: {cmd: "b ${PORT}"}, c: {cmd: "c ${PORT}"}}\n'

describe('routing', function()
  it('rou-1 both spellings', function()
    local g, m = 'groups: {g: {members: [a]}}', 'matrix: {sets: {s: "a & b"}}'
    for _, text in ipairs { g, 'routing: {router: {use: group, settings: {' .. g .. '}}}' } do
      local c = loaded(abc .. text)
      assert.equal('group', c.routing.router.use)
      assert.same({ 'a' }, groups_of(c).g.members)
    end
    for _, text in ipairs { m, 'routing: {router: {use: matrix, settings: {' .. m .. '}}}' } do
      local c = loaded(abc .. text)
      assert.equal('matrix', c.routing.router.use)
      assert.same({}, groups_of(c))
      assert.same({ { 's', 'a & b' } }, c.routing.router.settings.matrix.sets)
    end
    assert.equal('group', loaded(abc).routing.router.use)
  end)

  it('rou-2 rou-3 conflicts', function()
    refused('migrate', abc .. 'groups: {g: {members: [a]}}\nrouting: {router: {use: group}}')
    refused('cannot use both', abc .. 'groups: {g: {members: [a]}}\nmatrix: {sets: {s: a}}')
    refused('routing.router.settings.matrix is not set', abc .. 'routing: {router: {use: matrix}}')
    refused('unknown router', abc .. 'routing: {router: {use: bogus}}')
  end)

  it('rou-4 a matrix beside use: group is ignored, with a warning', function()
    local c = loaded(abc ..
      'routing: {router: {use: group, settings: {groups: {g: {members: [a]}}, matrix: {sets: {s: "("}}}}}')
    assert.equal('group', c.routing.router.use)
    assert.is_truthy(c.result.printed:find('warning: the matrix is ignored', 1, true))
  end)

  it('rou-5 priorities', function()
    refused('unknown model', abc .. 'routing: {scheduler: {settings: {fifo: {priority: {ghost: 1}}}}}')
    local c = loaded('models: {gemma: {cmd: "a ${PORT}", aliases: [g]}}\nrouting: {scheduler: ' ..
      '{settings: {fifo: {priority: {gemma: 5}}}}}')
    assert.equal(5, c.routing.scheduler.settings.fifo.priority.gemma)
    c = loaded('models: {gemma: {cmd: "a ${PORT}", aliases: [g]}}\nrouting: {scheduler: {settings: ' ..
      '{fifo: {priority: {g: 7}}}}}')
    assert.equal(7, c.result.priority.gemma) -- D9: repaired
  end)

  it('grp-1 a model may be in one group', function()
    refused('model member b is used in multiple groups:', abc .. 'groups: {g1: {members: [b]}, g2: {members: [b]}}')
    refused('duplicate model member b found in group: g1', abc .. 'groups: {g1: {members: [b, b]}}')
    refused('no model config for "ghost"', abc .. 'groups: {g1: {members: [ghost]}}')
    local c = loaded(
      'models: {a: {cmd: "a ${PORT}", aliases: [x]}, b: {cmd: "b ${PORT}"}}\ngroups: {g: {members: [x]}}')
    assert.same({ 'a' }, groups_of(c).g.members) -- D7: repaired
    assert.same({ 'b' }, groups_of(c)['(default)'].members)
  end)

  it('sch-3 names of schedulers', function()
    local r = load(abc)
    assert.equal('serial', json.decode(r.json).routing.scheduler.use)
    assert.equal('fifo', loaded(abc .. 'routing: {scheduler: {use: fifo}}').routing.scheduler.use)
    refused('fifo, serial', abc .. 'routing: {scheduler: {use: lifo}}')
    refused('unknown scheduler', abc .. 'routing: {scheduler: {use: lifo}}')
  end)
end)

describe('matrix', function()
  local function m(text) return abc .. 'matrix: {' .. text .. '}\n' end

  it('mat-3 mat-4 vars', function()
    loaded(m 'sets: {s: "a & b"}')
    loaded(m 'vars: {x: a}, sets: {s: "x & b"}')
    loaded(m 'vars: {b: a}, sets: {s: b}')
    loaded(m('vars: {' .. ('v'):rep(32) .. ': a, k-1: b, k.1: c}, sets: {s: a}'))
    refused('1-32 characters', m('vars: {' .. ('v'):rep(33) .. ': a}, sets: {s: a}'))
    refused("must contain only alphanumeric, '-' or '.'", m 'vars: {a_b: a}, sets: {s: a}')
    refused('var key', m 'vars: {"": a}, sets: {s: a}')
    refused('unknown model', m 'vars: {x: ghost}, sets: {s: a}')
  end)

  it('mat-5 costs', function()
    refused('positive integer', m 'evict_costs: {a: 0}, sets: {s: a}')
    refused('positive integer', m 'evict_costs: {a: -1}, sets: {s: a}')
    refused('unknown var or model', m 'evict_costs: {z: 2}, sets: {s: a}')
    local c = loaded(m 'vars: {x: b}, evict_costs: {a: 5, x: 3}, sets: {s: a}')
    assert.same({ a = 5, x = 3 }, c.routing.router.settings.matrix.evict_costs)
  end)

  it('mat-6 mat-8 sets', function()
    refused('circular reference', m 'sets: {a1: "+b1", b1: "+a1"}')
    refused('references undefined set', m 'sets: {s: "+nonexistent"}')
    refused('at least one set', m 'sets: {}')
    refused('at least one set', m 'vars: {x: a}')
    refused('empty DSL expression', m 'sets: {s: ""}')
    refused('missing closing parenthesis', m 'sets: {s: "(a"}')
    refused('unexpected token', m 'sets: {s: "a)"}')
    refused('unexpected token', m 'sets: {s: "()"}')
    refused("expected set name after '+'", m 'sets: {s: "+"}')
    refused('unexpected character', m 'sets: {s: "a @ b"}')
    refused('failed to decode DSL for set', m 'sets: {s: [a]}')
    refused('sets must be a mapping', m 'sets: [a]')
  end)

  it('mat-12 sets keep the order of the file (D1: repaired)', function()
    local c = loaded(m 'sets: {zeta: a, s10: b, s2: c}')
    assert.same({ { 'zeta', 'a' }, { 's10', 'b' }, { 's2', 'c' } }, c.routing.router.settings.matrix.sets)
  end)

  it('reports what is wrong in several places at once', function()
    local r = refused('unknown var or model',
      m 'vars: {x: ghost}, evict_costs: {a: 0}, sets: {s: "(a", t: "b & nobody", u: "a"}')
    local text = case.messages(r)
    for _, needle in ipairs { 'references unknown model', 'positive integer', 'missing closing parenthesis',
      'unknown var or model' } do
      assert.is_truthy(text:find(needle, 1, true), needle)
    end
  end)
end)

-- ---- YAML ----

describe('YAML', function()
  it('yam-1 a template takes the macros of each user', function()
    local c = loaded [[
x-base: &base
  cmd: srv ${LOCAL} ${PORT}
  env: ["W=${LOCAL}"]
  metadata: {who: "${LOCAL}"}
models:
  a: {<<: *base, macros: {LOCAL: one}}
  b: {<<: *base, macros: {LOCAL: two}}
]]
    assert.equal('srv one 5800', c.models.a.cmd)
    assert.same({ 'W=two' }, c.models.b.env)
    assert.equal('two', c.models.b.metadata.who)
  end)

  it('yam-2 merged capabilities', function()
    local c = loaded [[
x-caps: &caps {tools: true, in: [text]}
models:
  a: {cmd: "a ${PORT}", macros: {N: 1024}, capabilities: {<<: [*caps], context: "${N}"}}
]]
    assert.same({ tools = true, reranker = false, context = 1024, ['in'] = { 'text' }, out = {} },
      c.models.a.capabilities)
  end)

  it('yam-3 duplicate keys, further documents, other versions', function()
    refused('already defined', 'globalTTL: 1\nglobalTTL: 2\n')
    refused('already defined', 'x-any: {deep: [{k: 1, k: 2}]}\n')
    refused('already defined', 'macros: {A: 1, A: 2}\n')
    assert.equal(1, loaded('globalTTL: 1\n---\nglobalTTL: [[[\n').globalTTL)
    refused('incompatible YAML document', '%YAML 1.2\n---\nglobalTTL: 1\n')
  end)

  it('yam-4 texts from other scalars', function()
    for given, want in pairs { ['007'] = '7', ['1.10'] = '1.1', yes = 'yes' } do
      assert.equal(want, loaded(model('cmd: a ${PORT}\n    name: ' .. given)).models.model1.name)
    end
    assert.same({ '1', 'true' }, loaded(model 'cmd: a ${PORT}\n    aliases: [1, ~, true]').models.model1.aliases)
  end)

  it('yam-5 a model id need not be quoted (D2: repaired)', function()
    assert.equal('a 5800', loaded('models: {123: {cmd: "a ${PORT}"}}').models['123'].cmd)
    assert.equal('a 5800', loaded('models: {"123": {cmd: "a ${PORT}"}}').models['123'].cmd)
  end)

  it('keeps what a first error does not hide', function()
    local r = refused('x', 'globalTTL: x\nstartPort: y\nmodels: {a: {cmd: "a ${PORT}", ttl: z}}\n')
    not_refused_for('already', r)
    assert.equal(3, #r.issues)
  end)
end)
