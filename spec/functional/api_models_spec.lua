-- api_models_spec.lua: GET /v1/models (http.md 1.4).
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local function listing(srv)
  local r = srv:get '/v1/models'
  assert.equal(200, r.status)
  assert.equal('application/json', r:get 'content-type')
  assert.equal('\n', r.body:sub(-1))
  local doc, by, ids = r:json(), {}, {}
  assert.equal('list', doc.object)
  for i, m in ipairs(doc.data) do
    by[m.id], ids[i] = m, m.id
  end
  return by, ids
end

-- One model that is never started, with the given YAML lines below it.
local function idle(name, yaml)
  local text = ('  %s:\n    cmd: sleep 1\n    proxy: http://127.0.0.1:1\n'):format(name)
  for line in (yaml or ''):gmatch '[^\n]+' do text = text .. '    ' .. line .. '\n' end
  return text
end

local config = table.concat {
  'includeAliasesInList: true\n',
  'models:\n',
  idle('zoo', 'name: " Zoo "\ndescription: animals\naliases: [nick, " "]\nmetadata:\n  colour: red\n  type: mine\n' ..
    '  deep:\n    list: [1, 2]\nfilters:\n  setParamsByID:\n    "zoo:hot":\n      temperature: 2'),
  idle('hidden', 'unlisted: true\naliases: [hidden-nick]'),
  idle('shared'),
  idle('caps', 'capabilities:\n  in: [text, image]\n  out: [text, audio]\n  tools: true\n  context: 100000\n' ..
    'metadata:\n  architecture: x\n  capabilities: y\n  supported_parameters: z\n  context_length: 1\n  own: kept'),
  idle('plain-meta', 'metadata:\n  architecture: x\n  capabilities: y'),
  idle('in-only', 'capabilities:\n  in: [text]'),
  idle('out-only', 'capabilities:\n  out: [text]'),
  idle('a2t', 'capabilities:\n  in: [audio]\n  out: [text]'),
  idle('t2i', 'capabilities:\n  in: [text]\n  out: [image]'),
  idle('i2i', 'capabilities:\n  in: [image]\n  out: [image]'),
  idle('rank', 'capabilities:\n  reranker: true'),
  'peers:\n',
  '  cuda:\n    proxy: http://127.0.0.1:1\n    models: [shared, solo]\n',
  '  strix:\n    proxy: http://127.0.0.1:1\n    models: [shared]\n',
  'selectors:\n',
  '  pick:\n    strategy: pin\n    targets: [zoo, shared]\n    name: Pick\n',
  '    description: one of them\n    metadata:\n      tier: gold\n      targets: no\n',
  '  spill:\n    strategy: spillover\n    targets: [cuda/shared, strix/shared]\n    settings:\n      spillover: 3\n',
  '  secret:\n    strategy: pin\n    targets: [zoo]\n    unlisted: true\n',
}

describe('the model listing', function()
  local srv, by, ids
  setup(function()
    srv = server.start { config = config }
    by, ids = listing(srv)
  end)
  teardown(server.stop_all)

  it('A097 lists visible local models and peer models, sorted, unlisted ones not', function()
    assert.is_truthy(by.zoo and by['cuda/solo'])
    assert.is_nil(by.hidden or by['hidden-nick'] or by.solo)
    local sorted = table.move(ids, 1, #ids, 1, {})
    table.sort(sorted)
    assert.same(sorted, ids)
    assert.same(ids, (select(2, listing(srv))))
    assert.equal(srv:get '/models'.status, 200)
  end)

  it('A098 lists a name shared with peers once bare and once per peer', function()
    local found = {}
    for _, id in ipairs(ids) do
      if id:find 'shared' then found[#found + 1] = id end
    end
    assert.same({ 'cuda/shared', 'shared', 'strix/shared' }, found)
    assert.equal('cuda: shared', by['cuda/shared'].name)
    assert.same({ type = 'peer', peerID = 'cuda' }, by['cuda/shared'].meta.llamaswap)
  end)

  it('has the fields that every client reads', function()
    for _, m in pairs(by) do
      assert.equal('model', m.object)
      assert.equal('llama-swap', m.owned_by)
      assert.equal('integer', math.type(m.created))
      assert.is_true(m.created > 1700000000)
      assert.equal('unloaded', m.status.value)
      assert.equal('string', type(m.meta.llamaswap.type))
    end
  end)

  it('shows name, description and metadata, with our own keys winning', function()
    assert.equal('Zoo', by.zoo.name)
    assert.equal('animals', by.zoo.description)
    assert.same({ colour = 'red', deep = { list = { 1, 2 } }, type = 'model', aliases = { 'nick', ' ', 'zoo:hot' } },
      by.zoo.meta.llamaswap)
    assert.is_nil(by.shared.name)
    assert.is_nil(by.shared.description)
    assert.same({ type = 'model' }, by.shared.meta.llamaswap)
  end)

  it('A099 lists aliases when includeAliasesInList is on', function()
    assert.same({ colour = 'red', deep = { list = { 1, 2 } }, type = 'alias', modelID = 'zoo' }, by.nick.meta.llamaswap)
    assert.equal('Zoo', by.nick.name)
    assert.is_truthy(by['zoo:hot'])
    assert.is_nil(by[' '])
    local without = server.start { config = (config:gsub('includeAliasesInList: true\n', '')) }
    local there = listing(without)
    assert.is_nil(there.nick)
    assert.is_truthy(there.zoo)
    without:stop()
  end)

  it('A101 A105 derives modalities, capabilities and parameters, and drops metadata that says the same', function()
    local m = by.caps
    assert.same({ input_modalities = { 'text', 'image' }, output_modalities = { 'text', 'audio' },
      modality = 'text+image->text+audio' }, m.architecture)
    assert.same({ vision = true, audio_speech = true, function_calling = true }, m.capabilities)
    assert.same({ 'tools', 'tool_choice' }, m.supported_parameters)
    assert.equal(100000, m.context_length)
    assert.equal(100000, m.meta.n_ctx)
    assert.same({ type = 'model', own = 'kept' }, m.meta.llamaswap)
    assert.same({ type = 'model', architecture = 'x', capabilities = 'y' }, by['plain-meta'].meta.llamaswap)
  end)

  it('A102 leaves out what cannot be said', function()
    assert.same({ input_modalities = { 'text' } }, by['in-only'].architecture)
    assert.is_nil(by['in-only'].capabilities)
    assert.same({ output_modalities = { 'text' } }, by['out-only'].architecture)
    assert.is_nil(by['out-only'].capabilities)
  end)

  it('A103 names the single capabilities', function()
    assert.same({ audio_transcriptions = true }, by.a2t.capabilities)
    assert.same({ image_generation = true }, by.t2i.capabilities)
    assert.same({ image_to_image = true, vision = true }, by.i2i.capabilities)
    assert.same({ reranker = true }, by.rank.capabilities)
  end)

  it('A104 has none of these fields without capabilities', function()
    for _, key in ipairs { 'architecture', 'capabilities', 'supported_parameters', 'context_length' } do
      assert.is_nil(by.zoo[key])
    end
    assert.is_nil(by.zoo.meta.n_ctx)
  end)

  it('A106 lists selectors', function()
    assert.equal('Pick', by.pick.name)
    assert.equal('one of them', by.pick.description)
    assert.same({ tier = 'gold', type = 'selector', strategy = 'pin', targets = { 'zoo', 'shared' } },
      by.pick.meta.llamaswap)
    assert.same({ type = 'selector', strategy = 'spillover', spillover = 3,
      targets = { 'cuda/shared', 'strix/shared' } }, by.spill.meta.llamaswap)
    assert.is_nil(by.secret)
  end)

  it('serves an empty list without models', function()
    local none = server.start { config = 'models: {}\n' }
    assert.equal('{"data":[],"object":"list"}\n', none:get '/v1/models'.body)
    assert.equal('{"running":[]}\n', none:get '/running'.body)
    none:stop()
  end)
end)

describe('the status in the listing', function()
  after_each(server.stop_all)

  it('A100 A107 says loaded for a running model, its aliases and selectors that consider it', function()
    local srv = server.start { config = 'includeAliasesInList: true\nmodels:\n' ..
      server.model('a', '--silent', { aliases = { 'nick' } }) .. server.model('b', '--silent --load-ms 100000') ..
      'selectors:\n  first-b:\n    strategy: pin\n    targets: [b, a]\n' ..
      '  any:\n    strategy: warm\n    targets: [b, a]\n' }
    local function status(id) return (listing(srv))[id].status.value end
    assert.equal('unloaded', status 'a')
    assert.equal(200, srv:chat 'a'.status)
    assert.equal('loaded', status 'a')
    assert.equal('loaded', status 'nick')
    assert.equal('unloaded', status 'b')
    assert.equal('unloaded', status 'first-b')
    assert.equal('loaded', status 'any')
    local c = srv:connect()
    c:request('POST', '/v1/chat/completions', { body = { model = 'b' } })
    wait.till(function() return status 'b' == 'loaded' end, 10, 'b to start')
    assert.equal('loaded', status 'first-b')
    assert.equal('starting', srv:get '/running':json().running[1].state)
    c:close()
  end)
end)
