-- tls_files.lua: an authority and certificates of its for one spec run.
--
--   local f = tls_files.new()       f.ca = path of the authority's certificate
--   local c = f:issue{ names = {'localhost'}, addrs = {'127.0.0.1'}, ... }     c.cert, c.key = paths
local net = require 'spec.net'
local tls = require 'spec.tls'

local tls_files = {}
tls_files.__index = tls_files

function tls_files.new(name)
  local self = setmetatable({ dir = net.tmpdir(), n = 0 }, tls_files)
  self.ca, self.ca_key = self.dir .. '/ca.pem', self.dir .. '/ca.key'
  tls.make { cert = self.ca, key = self.ca_key, cn = name or 'authority of the specs', authority = true }
  return self
end

-- Options of spec.tls.make; signed by the authority unless `alone`. Without names: localhost and 127.0.0.1.
function tls_files:issue(opts)
  local o = {}
  for k, v in pairs(opts or {}) do o[k] = v end
  self.n = self.n + 1
  o.cert, o.key = o.cert or ('%s/%d.pem'):format(self.dir, self.n), o.key or ('%s/%d.key'):format(self.dir, self.n)
  if not o.alone then o.by = { cert = self.ca, key = self.ca_key } end
  if not o.names and not o.addrs then o.names, o.addrs = { 'localhost' }, { '127.0.0.1' } end
  tls.make(o)
  return o
end

return tls_files
