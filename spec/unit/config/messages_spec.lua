-- What a person reads: the place, the key and the remedy of everything that is wrong, all at once; what is hidden.
local case = require 'spec.support.config_case'
local config = require 'spec.config'
local json = require 'spec.support.json'

local function load(text, env) return config.load { text = text, name = 'c.yaml', env = env } end

-- "line:col error|warning [key] text" of every message
local function lines(r)
  local out = {}
  for _, i in ipairs(r.issues) do
    out[#out + 1] = ('%d:%d %s [%s] %s'):format(i.line, i.col, i.error and 'error' or 'warning', i.key, i.text)
  end
  return out
end

local function has(r, wanted)
  for _, l in ipairs(lines(r)) do
    if l:sub(1, #wanted) == wanted then return end
  end
  error(('no message begins with %q:\n%s'):format(wanted, table.concat(lines(r), '\n')), 2)
end

describe('messages of the loader', function()
  it('look like those of a compiler', function()
    local r = load 'globalTTL: soon\n'
    assert.equal('c.yaml:1:12: error: globalTTL: cannot unmarshal text "soon" into a whole number [globalTTL]\n' ..
      '1 error, 0 warnings\n', r.printed)
  end)

  it('name the place of every error of a file', function()
    local r = load [[
startPort: 0
logToStdout: screen
globalTTL: -5
macros:
  A: [1]
  B.c: 2
  PORT: 3
apiKeys:
  - ok
  - not ok
models:
  one:
    cmd: srv --port 1
    ttl: "60"
  two:
    cmd: srv ${PORT} ${GOHST}
    aliases: [x, x]
    capabilities: {in: [text, smell], context: -1}
    unloadTimeout: -3
  three: ~
groups:
  g: {members: [one, nobody, one]}
routing:
  scheduler: {use: lifo}
profiles:
  p: {pins: {a: nowhere}}
selectors:
  s: {strategy: hot, targets: [two, s]}
peers:
  far: {proxy: "http://h:x", models: []}
]]
    assert.is_false(r.ok)
    has(r, '1:12 error [startPort] startPort must be greater than 1')
    has(r, '2:14 error [logToStdout] logToStdout must be one of proxy, upstream, both, none')
    has(r, '3:12 error [globalTTL] globalTTL must be >= 0')
    has(r, "5:6 error [macros.A] macro 'A' must be a scalar type")
    has(r, "6:3 error [macros.B.c] macro name 'B.c' contains invalid characters")
    has(r, "7:3 error [macros.PORT] macro name 'PORT' is reserved")
    has(r, '10:5 error [apiKeys[1]] apiKeys[1]: api key cannot contain spaces')
    has(r, '12:3 error [models.one.proxy] model one: proxy uses ${PORT} but cmd does not')
    has(r, '14:10 error [models.one.ttl] models.one.ttl: cannot unmarshal text "60" into a whole number')
    has(r, "16:10 error [models.two.cmd] unknown macro '${GOHST}' found in two.cmd")
    has(r, '17:18 error [models.two.aliases[1]] duplicate alias x found in model: two')
    has(r, '18:31 error [models.two.capabilities.in[1]] models.two: capabilities.in: invalid modality "smell"')
    has(r, '18:48 error [models.two.capabilities.context] model two: capabilities.context: must be >= 0')
    has(r, '19:20 error [models.two.unloadTimeout] model two: invalid unloadTimeout value -3')
    has(r, '20:3 error [models.three] model three: has no settings')
    has(r, '22:16 error [groups.g.members] group g: no model config for "nobody"')
    has(r, '22:16 error [groups.g.members] duplicate model member one found in group: g')
    has(r, '24:20 error [routing.scheduler.use] routing.scheduler.use: unknown scheduler "lifo"')
    has(r, '26:17 error [profiles.p.pins.a] profiles.p: pin "a" references unknown model "nowhere"')
    has(r, '28:17 error [selectors.s.strategy] selectors.s: unknown strategy "hot"')
    has(r, '28:37 error [selectors.s.targets[1]] selectors.s: target "s" is a selector')
    has(r, '30:16 error [peers.far.proxy] peer far: invalid peer proxy URL "http://h:x"')
    has(r, '30:38 error [peers.far.models] peer far: peer models can not be empty')
    assert.equal(23, #r.issues)
    assert.is_truthy(r.printed:find('\n23 errors, 0 warnings\n', 1, true))
  end)

  it('say what to write instead', function()
    local r = load 'models: {a: {cmd: "a ${PORT}", ttl: "60", name: "${MODELID}"}}'
    local hints = {}
    for _, i in ipairs(r.issues) do hints[i.key] = i.hint end
    assert.equal('write it without quotes', hints['models.a.ttl'])
    assert.equal('did you mean ${MODEL_ID}?', hints['models.a.name'])
  end)

  it('warn once of each unknown key, with a suggestion when one is near', function()
    local r = load [[
healthChekTimeout: 3
x-note: whatever
models:
  a:
    cmd: a ${PORT}
    concurencyLimit: 3
    ignore_websockets: true
    check_endpoint: /h
    timeouts: {conect: 3}
]]
    assert.is_true(r.ok)
    assert.same({
      '1:1 warning [healthChekTimeout] unknown key "healthChekTimeout" is ignored',
      '2:1 warning [x-note] unknown key "x-note" is ignored',
      '6:5 warning [models.a.concurencyLimit] unknown key "concurencyLimit" is ignored',
      '7:5 warning [models.a.ignore_websockets] unknown key "ignore_websockets" is ignored',
      '8:5 warning [models.a.check_endpoint] unknown key "check_endpoint" is ignored',
      '9:16 warning [models.a.timeouts.conect] unknown key "conect" is ignored',
    }, lines(r))
    local hints = {}
    for i, e in ipairs(r.issues) do hints[i] = e.hint end
    assert.same({ 'did you mean `healthCheckTimeout`?', '', 'did you mean `concurrencyLimit`?',
      '`ignoreWebsockets` belongs into `compat`', 'did you mean `checkEndpoint`?', 'did you mean `connect`?' }, hints)
  end)

  it('count columns as the file has them, before variables are put in', function()
    local env = { LONG = ('x'):rep(50), E = '' }
    local r = load('a: {b: "${env.LONG}${env.E}", c: 1, c: 2}\n', env)
    has(r, '1:37 error [] failed to parse config c.yaml: mapping key "c" already defined at line 1')
    r = load('models: {m: {cmd: "${env.LONG} ${PORT}", ttl: never}}\n', env)
    has(r, '1:47 error [models.m.ttl]')
    r = load('models: {m: {cmd: "ü ${env.LONG}${env.LONG} ${PORT}", ttl: never, name: "${env.LONG}"}}\n', env)
    has(r, '1:60 error [models.m.ttl]')
  end)

  it('find a missing variable behind one that is set, also when only the values make it YAML', function()
    has(load('a: "${env.LONG}"; b: 1\n', { LONG = 'long long' }), '1:17 error')
    has(load('# x\na: [${env.L}, ${env.GONE}]\n', { L = 'long long long' }),
      '2:15 error [] config c.yaml: environment')
  end)

  it('keep the place of a value through macros', function()
    local r = load 'macros: {A: "x ${B}"}\nmodels:\n  m:\n    cmd: a ${PORT}\n    name: "${A}"\n'
    has(r, "5:11 error [models.m.name] unknown macro '${B}' found in m.name")
  end)

  it('point into the file of several that is wrong', function()
    local dir = case.dir { { 'd/1.yaml', 'globalTTL: 1\n' }, { 'd/2.yaml', '\nglobalTTL: 2\nunloadTimeout: x\n' } }
    local r = config.load { cwd = dir, dir = 'd' }
    local text = r.printed
    assert.is_truthy(text:find('d/2.yaml:2:12: error: conflict at "globalTTL"', 1, true), text)
    assert.is_truthy(text:find('the earlier one is at d/1.yaml:1:12', 1, true), text)
    assert.is_truthy(text:find('d/2.yaml:3:16: error: unloadTimeout: cannot unmarshal', 1, true), text)
  end)

  it('report a missing variable once and nothing that follows from it', function()
    local r = load 'globalTTL: ${env.GONE}\npeers: {p: {proxy: "${env.GONE}", models: [m]}}\nunloadTimeout: -1\n'
    assert.same({
      "1:12 error [] config c.yaml: environment variable 'GONE' is not set",
      '3:16 error [unloadTimeout] unloadTimeout must be >= 0',
    }, lines(r))
  end)

  it('stay on one line and harmless, whatever the file holds', function()
    local r = load '"a\\nb\\e[31m": 1\n'
    assert.equal('c.yaml:1:1: warning: unknown key "a\\nb\\x1b[31m" is ignored [a\\nb\\x1b[31m]\n' ..
      '0 errors, 1 warning\n', r.printed)
  end)

  it('are cut off after a thousand, and still counted', function()
    local text = {}
    for i = 1, 1500 do text[i] = ('k%d: 1'):format(i) end
    local r = load(table.concat(text, '\n'))
    assert.is_true(r.ok)
    assert.equal(1000, #r.issues)
    assert.is_truthy(r.printed:find('(500 more not shown)\n0 errors, 1500 warnings\n', 1, true))
  end)

  it('tell of settings that load but can hardly be meant', function()
    has(load 'models: {a: {cmd: "", proxy: "http://x"}}', '1:19 warning [models.a.cmd] model a: has no cmd')
    has(load 'models: {a: {cmd: a, proxy: ""}}', '1:29 warning [models.a.proxy] model a: has no upstream address')
    has(load 'models: {a: {cmd: a, proxy: "localhost:1"}}', '1:29 warning [models.a.proxy] model a: the proxy URL')
    has(load 'peers: {p: ~}', '1:9 warning [peers.p] peer p: has no settings')
    has(load 'hooks: {on_startup: {preload: [x]}}', '1:31 warning [hooks.on_startup.preload] preload: there is no')
    has(load 'logLevel: loud', '1:11 warning [logLevel] unknown log level "loud" acts as info')
    has(load 'logTimeFormat: sundial', '1:16 warning [logTimeFormat] unknown time format "sundial"')
    has(load 'startPort: 65536\nmodels: {a: {cmd: "a ${PORT}"}}', '2:9 warning [startPort] the last automatic port')
  end)
end)

describe('--dump-config', function()
  local text = [[
apiKeys: [secret-one]
peers: {p: {proxy: "http://p", models: [m], apiKey: secret-two}}
models: {a: {cmd: "a ${PORT}", metadata: {x: [1, {y: "\n"}]}}}
]]

  it('is JSON with all effective values, and without the keys', function()
    local r = load(text)
    local c = json.decode(r.dump)
    assert.is_nil(r.dump:find('secret', 1, true))
    assert.same({ '***' }, c.apiKeys)
    assert.equal('***', c.peers.p.apiKey)
    assert.equal('a 5800', c.models.a.cmd)
    assert.equal('serial', c.routing.scheduler.use)
    assert.equal(1000, c.routing.scheduler.settings.serial.maxQueue)
    assert.equal(268435456, c.limits.jsonBody)
    assert.equal('\n', c.models.a.metadata.x[2].y)
    assert.equal(json.encode(json.decode(r.json).models), json.encode(c.models))
  end)

  it('hides passwords in URLs and variables with telling names', function()
    local c = json.decode(load([[
models:
  a:
    cmd: a ${PORT} --via http://me:hidden1@h/x --also https://u:hidden2@i --not http://h:80/a@b
    env: [HF_TOKEN=hidden3, "my_api_key=hidden4", PATH=/bin, OPENAI_KEY=, EMPTY]
    proxy: http://u:hidden5@localhost:1
peers: {p: {proxy: "https://u:hidden6@p", models: [m]}}
]]).dump)
    assert.equal('a 5800 --via http://me:***@h/x --also https://u:***@i --not http://h:80/a@b', c.models.a.cmd)
    assert.same({ 'HF_TOKEN=***', 'my_api_key=***', 'PATH=/bin', 'OPENAI_KEY=', 'EMPTY' }, c.models.a.env)
    assert.equal('http://u:***@localhost:1', c.models.a.proxy)
    assert.equal('https://u:***@p', c.peers.p.proxy)
  end)

  it('is a configuration that comes to the same again', function()
    local example = assert(io.open(require 'spec.shell'.root .. '/config.example.yaml')):read 'a'
    local once = load(example).json
    -- a matrix leaves no groups, and macros were put in: everything else must survive
    local again = load(once)
    assert(again.ok, again.printed)
    assert.equal(once, again.json)
  end)
end)

describe('what a reload changes', function()
  local base = 'models: {a: {cmd: "a ${PORT}"}, b: {cmd: "b ${PORT}", name: B}}\n'

  local function models(a, b)
    local out = {}
    for _, d in ipairs((config.diff(a, b))) do out[d.id] = d.change .. (d.key ~= '' and ' ' .. d.key or '') end
    return out
  end

  local function keys(a, b)
    local out = {}
    for _, d in ipairs((select(2, config.diff(a, b)))) do out[#out + 1] = d.path ..
      (d.live and '' or ' (restart)') end
    return out
  end

  it('is nothing for the same text', function()
    assert.same({ a = 'same', b = 'same' }, models(base, base))
    assert.same({}, keys(base, base))
  end)

  it('tells replaced processes from changed settings', function()
    local a = 'models: {a: {cmd: "a -x ${PORT}"}, b: {cmd: "b ${PORT}", name: C}}\n'
    assert.same({ a = 'hard cmd', b = 'soft name' }, models(base, a))
    local soft = { 'ttl: 5', 'unlisted: true', 'concurrencyLimit: 3', 'filters: {setParams: {x: 1}}', 'aliases: [z]',
      'timeouts: {connect: 1}', 'capabilities: {tools: true}', 'compat: {ignoreWebsockets: true}', 'metadata: {k: 1}',
      'sendLoadingState: true', 'useModelName: u', 'unloadTimeout: 99', 'description: d', 'healthCheckTimeout: 99' }
    for _, s in ipairs(soft) do
      assert.equal('soft ' .. s:match '^%w+', models(base, (base:gsub('{PORT}"}', '{PORT}", ' .. s .. '}', 1))).a)
    end
    local hard = { 'env: [A=1]', 'proxy: "http://x:1"', 'checkEndpoint: none', 'cmdStop: s' }
    for _, s in ipairs(hard) do
      assert.equal('hard ' .. s:match '^%w+', models(base, (base:gsub('{PORT}"}', '{PORT}", ' .. s .. '}', 1))).a)
    end
  end)

  it('sees inherited values', function()
    local both = 'soft healthCheckTimeout' -- the running process has passed its check
    assert.same({ a = both, b = both }, models(base, 'healthCheckTimeout: 50\n' .. base))
    assert.same({ a = 'soft ttl', b = 'soft ttl' }, models(base, 'globalTTL: 50\n' .. base))
    assert.same({ a = 'hard cmd', b = 'hard cmd' }, models(base, 'startPort: 7000\n' .. base))
  end)

  it('names new and removed models', function()
    local ab = 'models: {a: {cmd: "a ${PORT}"}, b: {cmd: "b ${PORT}"}}'
    local bc = 'models: {b: {cmd: b, proxy: "http://localhost:5801"}, c: {cmd: "c ${PORT}"}}'
    assert.same({ a = 'removed', b = 'hard cmd', c = 'added' }, models(ab, bc))
    assert.same({ a = 'added', b = 'added' }, models('', ab))
    assert.same({ a = 'removed', b = 'removed' }, models(ab, ''))
  end)

  it('names global keys and whether they need a new start', function()
    assert.same({ 'logToStdout (restart)', 'globalTTL', 'limits.connections' },
      keys('', 'limits: {connections: 5}\nlogToStdout: none\nglobalTTL: 9\n'))
    assert.same({ 'peers' }, keys('', 'peers: {p: {proxy: "http://p", models: [m]}}'))
    assert.same({ 'peers' }, keys('peers: {p: {proxy: "http://p", models: [m], apiKey: a}}',
      'peers: {p: {proxy: "http://p", models: [m], apiKey: b}}'))
    assert.same({ 'apiKeys' }, keys('apiKeys: [a]', 'apiKeys: [b]'))
    assert.same({ 'routing.scheduler.use' }, keys('', 'routing: {scheduler: {use: fifo}}'))
    assert.same({ 'policies' }, keys('', 'policies: [{file: x.lua}]'))
  end)
end)
