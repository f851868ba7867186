-- docs_spec.lua: the tutorial of docs/policies.md works as it is printed: its commands run in an empty folder, its files
-- are what the commands write.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local shell = require 'spec.shell'

local function section(path, title)
  local text = assert(server.read_file(shell.root .. '/' .. path))
  return assert(text:match('\n## ' .. title .. '\n(.-)\n## '), title)
end

-- A folder for PATH with the program and, as busted, the test shell.
local function tools()
  local dir = net.tmpdir()
  os.execute(('ln -s %s %s/luaswap'):format(server.bin(), dir))
  server.write_file(dir .. '/busted', ('#!/bin/sh\nexec %s --ignore-lua . "$@"\n'):format(shell.exe))
  os.execute(('chmod 755 %s/busted'):format(dir))
  return dir
end

describe('the tutorial of docs/policies.md', function()
  after_each(server.stop_all)
  it('does what it says', function()
    local dir, bin, commands = net.tmpdir(), tools(), 0
    local function run(command)
      local p = assert(io.popen(('cd %s && PATH=%s:"$PATH" env -u LUASWAP_SPEC_TOTALS sh -c \'%s\' 2>&1'):format(dir, bin, command)))
      local out = p:read 'a'
      assert(p:close(), command .. '\n' .. out)
      commands = commands + 1
      return out
    end
    -- "curl [-X METHOD] localhost:8080PATH", asked of a server that has the policy
    local srv
    local function ask(command)
      srv = srv or server.start { config = ('routing: { scheduler: { use: fifo } }\npolicies:\n  - file: %s/patient.lua\n'):format(dir) ..
        server.config('', { { 'qwen', '--silent' } }) }
      local method, path = command:match '%-X (%u+)' or 'GET', assert(command:match 'localhost:8080(/%S*)', command)
      local status = http.exchange(srv.port, method, path, { body = method == 'POST' and '' or nil }).status
      assert(status == 200 or status == 404 and path:find '/requests/%d', command .. ': ' .. status)
    end
    local text = section('docs/policies.md', 'Ten minutes to a first policy')
    for kind, block in text:gmatch '\n```(%l+)\n(.-)```' do
      if kind == 'sh' then
        for line in block:gmatch '[^\n]+' do
          line = line:gsub(' +# .*', '')
          if line:find '^curl ' then ask(line) else run(line) end
        end
      else
        local name = assert(block:match '^[-#]+ ([%w_.]+)', block)
        if kind == 'yaml' then server.write_file(dir .. '/' .. name, block)
        else assert.equal(server.read_file(dir .. '/' .. name:gsub('^(%w+)$', '%1.lua')), block) end
      end
    end
    assert.equal(7, commands)
    local saved = run 'luaswap simulate day.jsonl --policy patient.lua --json'
    local base, mine = saved:match '"swaps":(%d+).-"swaps":(%d+)'
    assert(tonumber(mine) < tonumber(base) * 0.93, mine .. ' swaps against ' .. base) -- "a tenth fewer"
  end)

  it('names files that are there', function()
    for _, doc in ipairs { 'docs/policies.md', 'README.md', 'docs/policy-api.md' } do
      local text = server.read_file(shell.root .. '/' .. doc)
      for link in text:gmatch '%]%(([%w_/.-]+)%)' do
        local f = io.open(shell.root .. '/' .. (doc:match '^(.*/)' or '') .. link)
        assert(f, doc .. ' names ' .. link)
        f:close()
      end
    end
  end)
end)
