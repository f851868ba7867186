-- rock_spec.lua: the rock is complete, installs with luarocks, and tests a policy far from the source tree with
-- nothing but busted and lua5.4.
local files = require 'spec.support.files'
local shell = require 'spec.shell'

local function run(cmd)
  local p = assert(io.popen(cmd .. ' 2>&1'))
  local text = p:read 'a'
  local ok, _, code = p:close()
  return ok, text, code
end

local function have(program) return (run('command -v ' .. program)) end

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
      local f = io.open(shell.root .. '/' .. path)
      assert(f, path)
      f:close()
    end
  end)
end)

-- What stands between a rock and its test here, or nil.
local function lacking()
  if not have 'luarocks' then return 'luarocks is not installed (apt install luarocks)' end
  if not have 'lua5.4' then return 'lua5.4 is not installed (apt install lua5.4)' end
  if not have 'busted' then return 'busted is not installed (apt install lua-busted)' end
  if not have 'cc' and not have 'gcc' then return 'there is no C compiler' end
end

describe('the rock', function()
  local why = lacking()
  if why then
    pending('installs with luarocks: ' .. why)
    return
  end
  local dir, lua, installed

  -- luarocks leaves object files where it compiles: it gets a copy.
  setup(function()
    local _, name = run 'mktemp -d'
    dir = name:match '%S+'
    assert(run(('mkdir %s/tree %s/away && cd %s && cp -r --parents luaswap-scm-1.rockspec lua src spec/shell %s/tree')
      :format(dir, dir, shell.root, dir)))
    local ok, text = run(([[cd %s/tree && env -u LUA_PATH -u LUA_CPATH -u LUA_INIT HOME=%s luarocks --lua-version 5.4 make ]] ..
      [[--tree %s/rock --deps-mode none luaswap-scm-1.rockspec CFLAGS="-O0 -fPIC"]]):format(dir, dir, dir))
    installed = ok and 'yes' or text
    lua = ([[cd %s/away && env -u LUA_PATH -u LUA_CPATH LUA_PATH_5_4="%s/rock/share/lua/5.4/?.lua;;" ]] ..
      [[LUA_CPATH_5_4="%s/rock/lib/lua/5.4/?.so;;" lua5.4 ]]):format(dir, dir, dir)
  end)
  teardown(function() os.execute('rm -rf ' .. dir) end)

  it('installs with luarocks into a tree of its own', function()
    assert.equal('yes', installed)
    for _, path in ipairs { 'share/lua/5.4/luaswap/lab.lua', 'share/lua/5.4/luaswap/meta.lua', 'lib/lua/5.4/luaswap/core.so' } do
      local f = io.open(dir .. '/rock/' .. path)
      assert(f, path)
      f:close()
    end
  end)

  it('carries a policy of three lines from nothing to a result', function()
    local f = assert(io.open(dir .. '/away/t.lua', 'w'))
    f:write [[
      local lab = require 'luaswap.lab'
      local f = assert(io.open('mine.lua', 'w'))
      f:write "return { api = 1, name = 'mine', score = function(r) return r.key == 'ann' and 1 or 0 end }"
      f:close()
      local world = { models = { a = { load_s = 2, limit = 100 }, b = { load_s = 3, limit = 100 } } }
      local w = lab.play(lab.new(world, 'mine.lua'), lab.traffic(world, 40, 1))
      print(w.served, w.errors + w.invalid)
      print(pcall(lab.new, world, 'nowhere.lua'))
      print(#lab.check 'mine.lua')
    ]]
    f:close()
    local ok, text = run(lua .. 't.lua')
    assert(ok, text)
    assert.matches('^40%.?0?\t0', text)
    assert.matches('false\t[^\n]*nowhere%.lua', text)
    assert.matches('\n0\n$', text)
  end)

  it('runs the spec of every shipped policy with plain busted', function()
    assert(run(('cp -r %s/policies %s/away/ && cp -r --parents %s/examples/policies %s/away/ 2>/dev/null; true')
      :format(shell.root, dir, shell.root, dir)))
    local _, busted = run 'command -v busted'
    local ok, text = run(lua .. busted:match '%S+' .. ' -o TAP policies')
    assert(ok, text)
    local n = 0
    for _ in text:gmatch 'ok %d+' do n = n + 1 end
    assert(n >= 25, text)
    assert.is_nil(text:find('not ok', 1, true), text)
  end)
end)
