-- reload.lua: changing the configuration of a running luaswap, for specs.
--
--   local r = reload.start { scheduler = 'fifo', models = { a = '--respond one', b = {...} } }
--   r.models.a = '--respond two'; r:reload()          writes the file, SIGHUP, waits until it was taken over
--   r:write() r:hup() r:await(n)                      the same, step by step
--
-- A model is the fake model's arguments, or { args = text, any = key, ... }. `top` is text before `models:`. All may
-- run at once under fifo (one group, swap: false) unless `swap` is set.
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local reload = {}
local Reload = {}
Reload.__index = Reload

local function sorted(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys)
  return keys
end

function Reload:text()
  local names = sorted(self.models)
  local out = { self.top or '' }
  if self.scheduler then out[#out + 1] = ('routing: { scheduler: { use: %s } }'):format(self.scheduler) end
  if self.scheduler == 'fifo' and #names > 0 then
    out[#out + 1] = ('groups: { all: { swap: %s, exclusive: false, members: [%s] } }'):format(self.swap or false,
      table.concat(names, ', '))
  end
  if self.port then out[#out + 1] = ('startPort: %d'):format(self.port) end
  out[#out + 1] = #names > 0 and 'models:' or 'models: {}'
  for _, name in ipairs(names) do
    local m, extra = self.models[name], {}
    if type(m) == 'string' then m = { args = m } end
    for k, v in pairs(m) do extra[k] = k ~= 'args' and v or nil end
    out[#out + 1] = server.model(name, '--silent ' .. (m.args or ''), extra):gsub('\n$', '')
  end
  return table.concat(out, '\n') .. '\n'
end

-- In place, or as editors do: a new file that takes the name.
function Reload:write(text, how)
  text = text or self:text()
  if how == 'rename' then
    server.write_file(self.srv.config_path .. '.new', text)
    assert(os.rename(self.srv.config_path .. '.new', self.srv.config_path))
  else
    server.write_file(self.srv.config_path, text)
  end
end

function Reload:hup() self.srv.proc:kill 'HUP' end

-- How often it said that a new configuration is in force / was refused.
function Reload:taken()
  local log = self.srv:log()
  return select(2, log:gsub('reloaded; models', '')), select(2, log:gsub('everything stays as it was', ''))
end

function Reload:await(n, seconds)
  wait.till(function()
    local taken = self:taken()
    return taken >= n, ('%d reloads\n%s'):format(taken, self.srv:log():sub(-2000))
  end, seconds or 10, ('reload %d'):format(n))
end

function Reload:await_refused(n)
  wait.till(function() return select(2, self:taken()) >= n end, 10, 'the refusal')
end

function Reload:reload()
  local before = self:taken()
  self:write()
  self:hup()
  self:await(before + 1)
end

-- The last line about a reload.
function Reload:said()
  local last
  for line in self.srv:log():gmatch '[^\n]*reloaded; models: ([^\n]*)' do last = line end
  return last
end

-- Answers of one chat: status, the text, the pid of the model that answered.
function Reload:ask(model, fake, opts)
  local r = self.srv:chat(model, { fake = fake }, opts)
  if r.status ~= 200 then return r.status, r.body end
  local doc = r:json()
  return 200, doc.choices[1].message.content, doc.fake.pid
end

function reload.start(conf, opts)
  local r = setmetatable(conf, Reload)
  opts = opts or {}
  opts.config = r:text()
  r.srv = server.start(opts)
  r.port = tonumber(server.read_file(r.srv.config_path):match 'startPort: (%d+)')
  return r
end

return reload
