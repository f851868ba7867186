-- activate.lua: plays systemd: `luaswap-spec --run spec/support/activate.lua ADDRESS[,ADDRESS] PROGRAM ARGUMENT...`
local addresses = {}
for a in arg[1]:gmatch '[^,]+' do addresses[#addresses + 1] = a end
require 'spec.activate'.exec(addresses, { table.unpack(arg, 2) })
