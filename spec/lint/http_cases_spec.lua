-- http_cases_spec.lua: every acceptance case of the HTTP contract (http.md section 12, A001 to A185) is named by a spec
-- that shows it. In api_*, http_* and peers_spec a bare `A017` is such a case; elsewhere, where the same numbers
-- also stand for cases of the runtime contract, it is written `http A017` (or `http A088-A090`, `http A086, A087`).
local files = require 'spec.support.files'

-- Cases that wait for their part of the program. `why` is one of: metrics, captures, events, UI.
local left_out = {
  [120] = 'metrics', -- the activity row of a pinned /upstream request
  [184] = 'UI', [185] = 'UI',
}
for n = 139, 145 do left_out[n] = 'metrics' end
left_out[146] = 'captures'
for n = 147, 150 do left_out[n] = 'metrics' end
left_out[151] = 'captures'
for n = 152, 160 do left_out[n] = 'metrics' end
for n = 161, 163 do left_out[n] = 'captures' end
for _, n in ipairs { 164, 165, 166, 168, 169, 170, 171 } do left_out[n] = 'events' end
for n = 173, 175 do left_out[n] = 'metrics' end

local function each_id(text, found)
  for from, to in text:gmatch 'A(%d%d%d)%-A(%d%d%d)' do
    for n = tonumber(from), tonumber(to) do found[n] = true end
  end
  for n in text:gmatch '%f[%w]A(%d%d%d)%f[%W]' do found[tonumber(n)] = true end
end

local function named()
  local found = {}
  for _, path in ipairs(files.list({ 'spec/functional', 'spec/unit' }, '_spec%.lua$')) do
    local text, name = files.read(path), path:match '[^/]*$'
    if name:find '^api_' or name:find '^http_' or name == 'peers_spec.lua' then
      each_id(text, found)
    else
      for list in text:gmatch 'http (A%d%d%d[%d%sA,-]*)' do each_id(list .. ' ', found) end
    end
  end
  return found
end

describe('the cases of the HTTP contract', function()
  it('are each named by a spec, or left out for a reason', function()
    local found, missing, there = named(), {}, {}
    for n = 1, 185 do
      if not found[n] and not left_out[n] then missing[#missing + 1] = ('A%03d'):format(n) end
      if found[n] and left_out[n] then there[#there + 1] = ('A%03d'):format(n) end
    end
    assert.equal('', table.concat(missing, ' '))
    assert.equal('', table.concat(there, ' '), 'named although left out: take them off the list')
  end)
end)
