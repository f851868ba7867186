-- server.lua: the real luaswap program under test, one process per start.
--
--   local server = require 'spec.support.server'
--   after_each(server.stop_all)
--   local srv = server.start { config = 'models:\n' .. server.model('a', '--load-ms 50') }
--   srv.port  srv.url  srv.pid  srv:get(path)  srv:post(path, body)  srv:log()  srv:models()  srv:stop()
--
-- start{ config = text | args = {...}, env = {}, bin =, script = (first argument of bin), no_listen = true (args
-- say how), no_wait = true (not until it listens) }
-- stop() sends SIGTERM and demands: exit code 0 in time, nothing from a sanitizer or a failed check on its
-- output, and not one process left that it had started. Every process that descends from it carries an
-- environment entry of ours, so that none can hide by forking or changing its session.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local shell = require 'spec.shell'
local wait = require 'spec.support.wait'
local watcher = require 'spec.support.watcher'

local server = { start_timeout = 20 * wait.slow, stop_timeout = 30 * wait.slow }
local Server = {}
Server.__index = Server
local running, serial = {}, 0

function server.bin()
  return os.getenv 'LUASWAP_BIN' or shell.exe:match '^(.*)/' .. '/luaswap'
end

-- The command line of a fake model; `args` is text appended to it.
function server.fake_cmd(args)
  return ('%s --run %s/spec/support/fake_model.lua --port ${PORT} %s'):format(shell.exe, shell.root, args or '')
end

-- YAML of one entry of `models:` that runs the fake model; `extra` is a map of further keys (scalars, or
-- lists of scalars).
function server.model(name, args, extra)
  local out = { ('  %s:'):format(name), ('    cmd: %s'):format(
    server.fake_cmd(('--model %s %s'):format(name, args or ''))) }
  local keys = {}
  for k in pairs(extra or {}) do keys[#keys + 1] = k end
  table.sort(keys)
  for _, k in ipairs(keys) do
    local v = extra[k]
    if type(v) == 'table' then
      out[#out + 1] = ('    %s: [%s]'):format(k, table.concat(v, ', '))
    else
      out[#out + 1] = ('    %s: %s'):format(k, tostring(v))
    end
  end
  return table.concat(out, '\n') .. '\n'
end

-- A whole configuration: top-level text, then models { { name, args, extra }... }.
function server.config(top, models)
  local out = { top or '', (top or '') ~= '' and '\n' or '', 'models:\n' }
  for _, m in ipairs(models) do out[#out + 1] = server.model(m[1], m[2], m[3]) end
  return table.concat(out)
end

function server.write_file(path, text)
  local f = assert(io.open(path, 'wb'))
  f:write(text)
  f:close()
  return path
end

function server.read_file(path)
  local f = io.open(path, 'rb')
  if not f then return nil end
  local text = f:read 'a'
  f:close()
  return text
end

-- Where the ports of one server's models begin: each gets 50 of its own, so that servers of this run and of
-- others on this machine do not meet. Below the range from which the kernel takes ports by itself.
local next_port
local function model_ports()
  local pid = math.tointeger(io.open('/proc/self/stat'):read 'n')
  next_port = next_port or 10000 + pid * 350 % 22000
  for _ = 1, 400 do
    local base = next_port
    next_port = 10000 + (base - 10000 + 50) % 22000
    local probe = net.listen('127.0.0.1', base)
    if probe then
      probe:close()
      return base
    end
  end
  error 'no free range of ports'
end

function server.start(opts)
  serial = serial + 1
  local self = setmetatable({ dir = net.tmpdir() }, Server)
  self.mark = ('LUASWAP_SPEC_MARK=%s.%d'):format(self.dir:match '[^/]*$', serial)
  self.log_path = self.dir .. '/luaswap.log'
  local argv = { opts.bin or server.bin(), opts.script }
  if opts.config then
    local text = opts.config
    if text:find('${PORT}', 1, true) and not text:find '%f[%w]startPort:' then
      text = ('%s%sstartPort: %d\n'):format(text, text:sub(-1) == '\n' and '' or '\n', model_ports())
    end
    self.config_path = server.write_file(self.dir .. '/config.yaml', text)
    table.move({ '-config', self.config_path }, 1, 2, #argv + 1, argv)
  end
  if not opts.no_listen then table.move({ '-listen', '127.0.0.1:0' }, 1, 2, #argv + 1, argv) end
  table.move(opts.args or {}, 1, #(opts.args or {}), #argv + 1, argv)
  local env = { [self.mark:match '^[^=]*'] = self.mark:match '=(.*)$' }
  for k, v in pairs(opts.env or {}) do env[k] = v end
  argv.env, argv.cwd, argv.stdout, argv.stderr = env, opts.cwd or self.dir, self.log_path, 'stdout'
  self.t_spawn = net.now()
  local proc, why = net.spawn(argv)
  if not proc then error(('cannot start %s: %s'):format(argv[1], why), 2) end
  self.proc, self.pid = proc, proc:pid()
  running[#running + 1] = self
  if opts.no_wait then return self end
  self.port = wait.till(function()
    local port = self:log():match 'listening on https?://[^%s]-:(%d+)%f[^%d]'
    if port then return tonumber(port) end
    local code, sig = proc:wait(0)
    if code or sig ~= 'timeout' then
      error(('luaswap ended (%s) before it listened:\n%s'):format(code or 'signal ' .. sig, self:log()), 0)
    end
    return false, self:log()
  end, server.start_timeout, 'luaswap to listen')
  self.t_listening = net.now()
  self.url = ('http://127.0.0.1:%d'):format(self.port)
  return self
end

function Server:log() return server.read_file(self.log_path) or '' end
function Server:get(path, opts) return http.get(self.port, path, opts) end
function Server:post(path, body, opts) return http.post(self.port, path, body, opts) end
function Server:connect(timeout) return http.connect(self.port, timeout) end

-- A chat request; `extra` is merged into the body.
function Server:chat(model, extra, opts)
  local body = { model = model, messages = { { role = 'user', content = 'hi' } } }
  for k, v in pairs(extra or {}) do body[k] = v end
  return self:post('/v1/chat/completions', body, opts)
end

-- What it says of itself, over `port` (its own, or a connection's address as http_raw takes it).
function Server:state(port) return http.get(port or self.port, '/debug/state'):json() end

-- Waits until n requests stand in the line or wait for a load.
function Server:queued(n)
  wait.till(function()
    local list = self:state().requests.queued or {}
    return #list == n, #list
  end, 10, ('%d requests to wait'):format(n))
end

-- Waits until an answer is held back because its client does not read.
function Server:held_back(port)
  wait.till(function()
    for _, list in pairs(self:state(port).requests) do
      for _, req in ipairs(list) do
        if req.held_back then return true end
      end
    end
  end, 10, 'an answer to be held back')
end

-- Every living process that descends from this luaswap (itself included while it runs).
function Server:tree() return net.marked(self.mark) end

-- The living processes of its models, seen from outside: those whose command line matches `pattern`
-- (default: the fake model; the supervisors, whose command line holds it too, are left out).
function Server:models(pattern)
  return watcher.models(self:tree(), pattern or 'fake_model%.lua')
end

-- A process that counts the models many times a second until :stop(); see watcher.lua.
function Server:watch(pattern)
  return watcher.start(self.mark, pattern or 'fake_model%.lua')
end

local bad_words = { 'ERROR: AddressSanitizer', 'ERROR: LeakSanitizer', 'runtime error:', 'internal check failed',
  'assertion failed', 'AddressSanitizer:DEADLYSIGNAL' }

function Server:check_log()
  local log = self:log()
  for _, word in ipairs(bad_words) do
    local at = log:find(word, 1, true)
    if at then error('luaswap says: ' .. log:sub(math.max(1, at - 300), at + 4000), 0) end
  end
end

local function forget(self)
  for i, s in ipairs(running) do
    if s == self then table.remove(running, i) end
  end
  self.stopped = true
end

-- Nothing that descends from it lives, at the latest after `seconds`.
function Server:all_gone(seconds)
  wait.till(function()
    local left = self:tree()
    if #left == 0 then return true end
    local names = {}
    for _, p in ipairs(left) do names[#names + 1] = p.pid .. ' ' .. p.cmdline end
    return false, table.concat(names, '; ')
  end, seconds or 3, 'the end of every process that luaswap started')
end

-- Reaps whatever is left, without judging.
function Server:destroy()
  forget(self)
  self.proc:kill 'KILL'
  self.proc:wait(10)
  for _ = 1, 20 do
    local left = self:tree()
    if #left == 0 then break end
    for _, p in ipairs(left) do net.kill(p.pid, 'KILL') end
    net.nap(0.05)
  end
end

-- opts: signal ('TERM'), timeout, code (0)
function Server:stop(opts)
  if self.stopped then return end
  opts = opts or {}
  self.proc:kill(opts.signal or 'TERM')
  local code, why = self.proc:wait(opts.timeout or server.stop_timeout)
  local ok, err = pcall(function()
    self:check_log()
    if code ~= (opts.code or 0) then
      error(('luaswap ended with %s instead of %d:\n%s'):format(
        code or (why == 'timeout' and 'nothing (it still runs)' or 'signal ' .. why), opts.code or 0,
        self:log():sub(-6000)), 0)
    end
    self:all_gone(1)
  end)
  self:destroy()
  if not ok then error(err, 2) end
end

-- kill -9, for specs about what happens then.
function Server:kill9()
  self.proc:kill 'KILL'
  self.proc:wait(10)
end

-- For after_each: stops what a spec left running, with all the checks of stop().
function server.stop_all()
  local first
  while #running > 0 do
    local s = running[#running]
    local ok, err = pcall(s.stop, s)
    if not s.stopped then s:destroy() end
    first = first or (not ok and err) or nil
  end
  if first then error(first, 0) end
end

-- The lines of a fake model's --log file, decoded, in order of time.
function server.read_events(path)
  local json = require 'spec.support.json'
  local list = {}
  for line in (server.read_file(path) or ''):gmatch '[^\n]+' do list[#list + 1] = json.decode(line) end
  table.sort(list, function(a, b) return a.t < b.t end)
  return list
end

return server
