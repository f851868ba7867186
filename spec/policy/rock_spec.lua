-- rock_spec.lua: the rockspec names every Lua module and every source that the module is made of.
local files = require 'spec.support.files'

describe('the rockspec', function()
  it('is complete', function()
    local text = files.read 'luaswap-scm-1.rockspec'
    local missing = {}
    for _, path in ipairs(files.list({ 'lua' }, '%.lua$')) do
      if not text:find('"' .. path .. '"', 1, true) then missing[#missing + 1] = path end
    end
    for _, path in ipairs(files.list({ 'src/base', 'src/sched', 'src/policy' }, '%.c$')) do
      if not text:find('"' .. path .. '"', 1, true) then missing[#missing + 1] = path end
    end
    assert.same({}, missing)
    local env = {}
    assert(load(text, 'rockspec', 't', env))()
    assert.equal('3.0', env.rockspec_format)
    for path in text:gmatch '"([%w/_]+%.[clu]+a?)"' do
      local f = io.open(require 'spec.shell'.root .. '/' .. path)
      assert(f, path)
      f:close()
    end
  end)
end)
