-- conf_spec.lua: which scheduler and planner a configuration means (runtime A014 to A017, A062).
local case = require 'spec.support.config_case'
local json = require 'spec.support.json'

local function loaded(text)
  local r = case.load { yaml = text }
  assert(r.ok, r.printed)
  return json.decode(r.json)
end

local posix = [[
healthCheckTimeout: 60
logLevel: debug
startPort: 9000
globalTTL: 300
macros:
  svr: /usr/local/bin/llama-server --port ${PORT}
models:
  model1:
    cmd: |
      ${svr} --model /models/one.gguf
      --ctx-size 8192
    proxy: http://localhost:${PORT}
    aliases: [gpt-4o]
    env: ["CUDA_VISIBLE_DEVICES=0"]
    checkEndpoint: /health
    ttl: 60
  model2:
    cmd: docker run --rm --name two -p ${PORT}:8080 image
    cmdStop: docker stop two
    unloadTimeout: 20
    filters: { stripParams: "temperature, top_p" }
groups:
  together: { swap: false, exclusive: true, members: [model1, model2] }
hooks:
  on_startup: { preload: [model1] }
]]

describe('the scheduler of', function()
  it('A014: a full POSIX configuration that says nothing is serial', function()
    local c = loaded(posix)
    assert.equal('serial', c.routing.scheduler.use)
    assert.equal('group', c.routing.router.use)
  end)

  it('A015: a full Windows-flavoured one is serial', function()
    local text = posix:gsub('/usr/local/bin/llama%-server', [[C:\\llama\\llama-server.exe]])
      :gsub('/models/one', [[C:\\models\\one]]):gsub('docker stop two', 'taskkill /f /t /pid ${PID}')
    assert.equal('serial', loaded(text).routing.scheduler.use)
  end)

  it('A016: one with legacy groups is serial, with the group router and its group', function()
    local c = loaded(posix)
    assert.equal('serial', c.routing.scheduler.use)
    local g = c.routing.router.settings.groups.together
    assert.same({ 'model1', 'model2' }, g.members)
    assert.is_false(g.swap)
  end)

  it('A017: two plain models and no routing is serial, with the group router', function()
    local c = loaded 'models:\n  a: { cmd: "m ${PORT}" }\n  b: { cmd: "m ${PORT}" }\n'
    assert.equal('serial', c.routing.scheduler.use)
    assert.equal('group', c.routing.router.use)
    assert.same({ 'a', 'b' }, c.routing.router.settings.groups['(default)'].members)
  end)
end)

describe('a model in two groups', function()
  it('A062: is refused, with both names', function()
    local r = case.load { yaml = 'models:\n  a: { cmd: "m ${PORT}" }\n' ..
      'groups:\n  one: { members: [a] }\n  two: { members: [a] }\n' }
    assert.is_falsy(r.ok)
    for _, word in ipairs { 'one', 'two', 'a' } do assert.is_truthy(r.printed:find(word, 1, true), r.printed) end
  end)
end)
