-- hostile: insert at the front of a table that lies
return { api = 1, name = 'hostile', pick_next = function() table.insert(setmetatable({}, { __len = function() return 1e12 end }), 1, 1) end }
