-- hostile: concat of a table that lies about its length
return { api = 1, name = 'hostile', pick_next = function() return table.concat(setmetatable({}, { __len = function() return 1e15 end, __index = function() return 'x' end })) end }
