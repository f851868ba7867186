-- client_loop.lua: a client that asks one model again and again, for specs that need load while they do other things.
--
--   local client_loop = require 'spec.support.client_loop'
--   local l = client_loop.start(port, 'a' [, '404 503'])  ...  local sum = l:stop()     these are no failures
--   sum.ok, sum.failed, sum.hung (nothing came for a minute), sum.wrong (another model answered), sum.statuses ('503' -> n), sum.pids ({pid...} that answered, in order), sum.first_failure
--
-- Every third request is a stream. One connection, kept alive; after a failure a new one.
local client_loop = {}
client_loop.__index = client_loop

local function run(port, model, path, fine)
  local http = require 'spec.support.http_raw'
  local json = require 'spec.support.json'
  local net = require 'spec.net'
  local sum = { ok = 0, failed = 0, statuses = {}, pids = {} }
  local signals, last, n = net.signals { 'TERM' }, nil, 0
  local c
  local function fail(what)
    sum.failed = sum.failed + 1
    sum.first_failure = sum.first_failure or ('request %d: %s'):format(n, what)
    if c then c:close() end
    c = nil
  end
  local function once()
    n = n + 1
    c = c or http.connect(port)
    local stream = n % 3 == 0
    c:request('POST', '/v1/chat/completions', { body = { model = model, stream = stream, messages = {},
      fake = { tokens = stream and 20 or 1, tps = stream and 400 or 0, wait_ms = n % 3 } } })
    local r, why = c:response(60)
    if why == 'timeout' or (r and r.cut == 'timeout') then sum.hung = (sum.hung or 0) + 1 end
    if not r then return fail(why) end
    local key = tostring(r.status)
    sum.statuses[key] = (sum.statuses[key] or 0) + 1
    if r.done and fine:find(key, 1, true) then return end
    if r.status ~= 200 or not r.done then return fail(key .. ' ' .. tostring(r.cut) .. ' ' .. r.body:sub(1, 200)) end
    if stream and not r.body:find('[DONE]', 1, true) then return fail 'a stream without its end' end
    sum.ok = sum.ok + 1
    local who = r:get 'x-fake-model'
    if who ~= model then sum.wrong = ('request %d was answered by %s'):format(n, who) end
    local pid = math.tointeger(tonumber(r:get 'x-fake-pid'))
    if pid ~= last then sum.pids[#sum.pids + 1], last = pid, pid end
    if not r.keep_alive then
      c:close()
      c = nil
    end
  end
  print 'running'
  io.stdout:flush()
  repeat
    local ok, why = pcall(once)
    if not ok then fail(tostring(why)) end
  until #net.poll({ signals }, 0.002) > 0
  local f = assert(io.open(path, 'w'))
  f:write(json.encode(sum))
  f:close()
end

function client_loop.start(port, model, fine)
  local net, shell = require 'spec.net', require 'spec.shell'
  local path = net.tmpdir() .. '/sum'
  local proc = assert(net.spawn { shell.exe, '--run', shell.root .. '/spec/support/client_loop.lua', tostring(port),
    model, path, fine or '', stdout = 'pipe' })
  assert(proc:read_stdout(20))
  return setmetatable({ proc = proc, path = path, model = model }, client_loop)
end

function client_loop:stop()
  local json, server = require 'spec.support.json', require 'spec.support.server'
  self.proc:kill 'TERM'
  local code, why = self.proc:wait(90)
  if code ~= 0 then error(('the client of %s ended with %s'):format(self.model, code or why), 2) end
  return json.decode(server.read_file(self.path))
end

if arg and arg[0] and arg[0]:match 'client_loop%.lua$' then run(tonumber(arg[1]), arg[2], arg[3], arg[4]) end
return client_loop
