-- hostile_spec.lua: policies that loop, fill memory, lie, hold and raise. Whatever they do, requests are served, no
-- invariant breaks (the simulator looks after every event), no hook takes long, and the process lives.
local kit = require 'spec.policy.kit'
local shell = require 'spec.shell'

local names = {}
for path in io.popen('ls ' .. shell.root .. '/spec/policy/hostile/*.lua'):lines() do
  names[#names + 1] = path:match '([%w_]+)%.lua$'
end

-- Those that may refuse or delay requests without breaking a rule: only the invariants count.
local may_refuse = { quarantine_all = true, actions_thrash = true, hold_forever = false }

describe('hostile policies', function()
  after_each(kit.clean)

  it('are at least forty', function() assert.is_true(#names >= 40) end)

  for _, scheduler in ipairs { 'fifo', 'serial' } do
    for _, name in ipairs(names) do
      it(name .. ' beside ' .. scheduler, function()
        local w = assert(kit.world({ { file = shell.root .. '/spec/policy/hostile/' .. name .. '.lua', hold_limit = 5 } },
          { scheduler = scheduler, reorder = true, real_budgets = true }))
        kit.load(w, 24)
        w:run()
        local r = w:result()
        if not may_refuse[name] then
          assert.equal(24, r.served, w:text 'messages')
        end
        assert.equal(24, r.served + r.rejected + r.cancelled)
        -- no stall of the loop: the sanitizers make everything some ten times slower
        for hook, calls in pairs(kit.status(w, 1).calls) do
          assert(calls.max_us < 400000, hook .. ' took ' .. calls.max_us .. ' us')
        end
        w:free()
      end)
    end
  end
end)
