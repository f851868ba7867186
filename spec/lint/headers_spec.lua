-- headers_spec.lua: headers and Lua files say at their top what they are for; include guards follow the path.
local files = require 'spec.support.files'

describe('first lines', function()
  it('of every header name it in a comment', function()
    local bad = {}
    for _, path in ipairs(files.list({ 'src', 'spec' }, '%.h$')) do
      local name = path:match '[^/]+$'
      local first = files.read(path):match '^\n([^\n]*)' or ''
      if first:sub(1, #name + 4) ~= '/* ' .. name .. ':' then bad[#bad + 1] = path .. ' begins with: ' .. first end
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
      local text = files.read(path)
      if not text:find('\n#ifndef ' .. want .. '\n#define ' .. want .. '\n', 1, true) and
        not text:find('No include guard on purpose', 1, true) then
        bad[#bad + 1] = path .. ' lacks the guard ' .. want
      end
    end
    assert.equal('', table.concat(bad, '\n'))
  end)
end)
