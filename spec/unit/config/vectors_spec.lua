-- The recorded answers of the reference: spec/vectors/{config_load,cmd_split,defects}.jsonl.
local case = require 'spec.support.config_case'
local config = require 'spec.config'
local json = require 'spec.support.json'

describe('configuration vectors', function()
  for _, v in ipairs(json.vectors 'config_load') do
    it(v.id .. ': ' .. v.note, function()
      local want = v.error and { error = v.error } or v.expect
      local wrong = case.judge(want, case.load(v))
      assert(not wrong, wrong)
    end)
  end
end)

describe('command vectors', function()
  for _, v in ipairs(json.vectors 'cmd_split') do
    it(v.id .. ': ' .. v.note, function()
      local words, err = config.split(v.cmd)
      if v.error then
        assert.is_nil(words)
        assert.equal(v.error, err)
      else
        assert.same(v.expect, words)
      end
    end)
  end
end)

describe('repaired defects of the reference', function()
  local function outcome(expect, r)
    if expect.error then return case.judge({ error = expect.error }, r) end
    if not r.ok then return 'is refused:\n' .. r.printed end
    for _, pv in ipairs(expect.values) do
      local d = case.differs(pv[2], case.at(r, pv[1]), table.concat(pv[1], '/'))
      if d then return d end
    end
    return nil
  end
  -- The vector leaves heron in no group at all; design/decisions.md (D6, D7) says that the user's group gets the
  -- ungrouped models, which keeps every model reachable.
  local decided = {
    ['def-d6-own-default-y'] = {
      values = {
        { { 'routing', 'router', 'settings', 'groups', '(default)', 'members' }, { 'otter', 'heron' } },
        { { 'routing', 'router', 'settings', 'groups', '(default)', 'swap' }, false },
      },
    },
  }
  for _, v in ipairs(json.vectors 'defects') do
    if v.area == 'config_load' then
      it(v.id .. ': ' .. v.note, function()
        local r = case.load(v)
        local wrong = {}
        for _, e in ipairs(decided[v.id] and { decided[v.id] } or v.expect.any_of or { v.expect }) do
          local w = outcome(e, r)
          if not w then return end
          wrong[#wrong + 1] = w
        end
        error(table.concat(wrong, '\n'))
      end)
    end
  end
end)
