-- runtime_cases_spec.lua: every acceptance case of the runtime contract (runtime.md section 9, A001 to A122) is
-- named by a spec that shows it. In the files below a bare `A017` is such a case; elsewhere, where the same numbers
-- also stand for cases of the other contracts, it is written `runtime A017`.
local files = require 'spec.support.files'

local own = { '^spec/unit/sched/', '^spec/sim/', '^spec/functional/fifo_', '^spec/functional/life_',
  '^spec/functional/loading_', '^spec/functional/process_', '^spec/functional/reload', '^spec/functional/serial_',
  '^spec/functional/shutdown_', '^spec/functional/stream_' }

-- Cases without a spec of this name, and why.
local left_out = {
  [78] = 'nothing is forwarded to a process that is not ready, so nobody can be told so: the scheduler grants to ' ..
    'ready models only (sched_check, spec/sim), and what goes past it is a 409 (A098)',
}
for n = 114, 122 do left_out[n] = 'logs, monitors and tools have specs of their own, by topic' end

local function each_id(text, found)
  for n in text:gmatch '%f[%w]A(%d%d%d)%f[%W]' do found[tonumber(n)] = true end
end

local function is_own(path)
  for _, p in ipairs(own) do
    if path:find(p) then return true end
  end
end

-- Headers of files speak of ranges ("A001 to A032"): those name nothing.
local function claims(text)
  return (text:gsub('A%d%d%d to A%d%d%d', ''):gsub('http A%d%d%d[%d%sA,-]*', ''))
end

local function named()
  local found = {}
  for _, path in ipairs(files.list({ 'spec/functional', 'spec/unit', 'spec/sim' }, '_spec%.lua$')) do
    local text = files.read(path)
    if is_own(path) then each_id(claims(text), found) end
  end
  for _, path in ipairs(files.list({ 'spec/functional', 'spec/unit' }, '%.[lc]u?a?$')) do
    for list in files.read(path):gmatch 'runtime (A%d%d%d[%d%sA,]*)' do each_id(list .. ' ', found) end
  end
  return found
end

describe('the cases of the runtime contract', function()
  it('are each named by a spec, or left out for a reason', function()
    local found, missing, there = named(), {}, {}
    for n = 1, 122 do
      if not found[n] and not left_out[n] then missing[#missing + 1] = ('A%03d'):format(n) end
      if n < 114 and found[n] and left_out[n] then there[#there + 1] = ('A%03d'):format(n) end
    end
    assert.equal('', table.concat(missing, ' '))
    assert.equal('', table.concat(there, ' '), 'named although left out: take them off the list')
  end)
end)
