-- examples_spec.lua: every configuration in examples/, and the example file itself, loads without error or warning.
local net = require 'spec.net'
local server = require 'spec.support.server'
local shell = require 'spec.shell'

local function check(path)
  local dir = net.tmpdir()
  local proc = assert(net.spawn { server.bin(), '-check-config', '-config', path, stdout = dir .. '/out', stderr = 'stdout' })
  local code = proc:wait(20)
  return code, server.read_file(dir .. '/out')
end

describe('the example', function()
  local list = { shell.root .. '/config.example.yaml' }
  for name in io.popen('ls ' .. shell.root .. '/examples/*.yaml'):lines() do list[#list + 1] = name end
  assert(#list >= 5)
  for _, path in ipairs(list) do
    it(path:match '[^/]*$' .. ' loads', function()
      local code, out = check(path)
      assert.equal(0, code, out)
      assert.matches(' 0 warnings', out, 1, true)
    end)
  end
end)
