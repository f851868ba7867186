-- c_spec.lua: every test written in C (spec/unit/c/*_test.c) as a case of its own.
local ctest = require 'spec.ctest'

local files, by_file = {}, {}
for _, t in ipairs(ctest.list()) do
  if not by_file[t.file] then
    by_file[t.file] = {}
    files[#files + 1] = t.file
  end
  table.insert(by_file[t.file], t.name)
end

for _, file in ipairs(files) do
  describe('C ' .. (file:match('([%w_]+)_test%.c$') or file), function()
    for _, name in ipairs(by_file[file]) do
      it((name:gsub('_', ' ')), function()
        local miss = ctest.run(file, name)
        if miss then error(miss, 0) end
      end)
    end
  end)
end
