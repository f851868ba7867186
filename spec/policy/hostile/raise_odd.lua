-- hostile: errors that are tables, nil and views
return { api = 1, name = 'hostile', pick_next = function(q) error(q) end, plan_swap = function() error() end, on_serve_start = function() error({}) end, score = function() error(setmetatable({}, { __tostring = function() while true do end end })) end }
