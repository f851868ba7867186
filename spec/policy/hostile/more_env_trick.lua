-- hostile: another _ENV
return { api = 1, name = 'hostile', pick_next = function() local _ENV = setmetatable({}, { __index = function() while true do end end }) return foo end }
