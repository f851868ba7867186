-- stray.lua: a process that a fake model leaves behind: in a session of its own, deaf to SIGTERM and SIGINT.
-- It ends by itself after two minutes, should nobody do better.
local net = require 'spec.net'

net.ignore 'TERM'
net.ignore 'INT'
net.nap(120)
