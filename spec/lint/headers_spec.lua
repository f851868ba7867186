-- headers_spec.lua: every source file says at its top what it is for.
local files = require 'spec.support.files'

describe('first lines', function()
  it('of every C file are a comment; a header names itself in it', function()
    local bad = {}
    for _, path in ipairs(files.list({ 'src', 'spec' }, '%.[ch]$')) do
      local name = path:match '[^/]+$'
      local first = files.read(path):match '^\n([^\n]*)' or ''
      local own = '#include "[%w_/]*' .. name:gsub('c$', 'h'):gsub('%.', '%%.') .. '"'
      local ok = first:sub(1, 3) == '/* '
      if name:sub(-2) == '.h' then
        ok = first:sub(1, #name + 4) == '/* ' .. name .. ':'
      else
        ok = ok or first:find('^' .. own) ~= nil -- its header's comment stands for both
      end
      if not ok then bad[#bad + 1] = path .. ' begins with: ' .. first end
    end
    assert.equal('', table.concat(bad, '\n'))
  end)

  it('of every Lua file are a comment', function()
    local bad = {}
    for _, path in ipairs(files.list({ 'spec', 'lua', 'policies' }, '%.lua$')) do
      local first = files.read(path):match '^\n([^\n]*)' or ''
      if first:sub(1, 2) ~= '--' then
        bad[#bad + 1] = path .. ' begins with: ' .. first
      end
    end
    assert.equal('', table.concat(bad, '\n'))
  end)

  it('include guards of headers are named after the path', function()
    local bad = {}
    for _, path in ipairs(files.list({ 'src' }, '%.h$')) do
      local want = 'LUASWAP_' .. path:sub(5):upper():gsub('[^%w]', '_')
      if not files.read(path):find('\n#ifndef ' .. want .. '\n#define ' .. want .. '\n', 1, true) then
        bad[#bad + 1] = path .. ' lacks the guard ' .. want
      end
    end
    assert.equal('', table.concat(bad, '\n'))
  end)
end)
