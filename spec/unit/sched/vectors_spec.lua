-- The scheduler against the recorded lives of the reference: spec/vectors/{serial,fifo}_trace.jsonl.
local json = require 'dkjson'
local player = require 'spec.unit.sched.player'

local root = require 'spec.shell'.root

local function vectors(name)
  local list = {}
  for line in assert(io.open(root .. '/spec/vectors/' .. name .. '.jsonl')):lines() do
    list[#list + 1] = assert(json.decode(line, 1, nil))
  end
  return list
end

for _, kind in ipairs { 'serial', 'fifo' } do
  describe(kind .. ' decides as the recorded reference', function()
    for _, v in ipairs(vectors(kind .. '_trace')) do
      it(v.id .. ': ' .. v.note, function() player.check(v, kind) end)
    end
  end)
end
