-- watcher.lua: looks at the process table from outside while a spec is busy, many times a second.
--
--   local w = srv:watch([pattern])  ...  local seen = w:stop()
--   seen.most: the largest number of model processes that were alive at one instant
--   seen.changes: { { t =, alive = n, pids = {...}, names = {...} }... }, one for each change of the set
--   seen.looks: how often it looked
--
-- As a script (luaswap-spec --run spec/support/watcher.lua MARK PATTERN FILE) it is the process that looks.
local net = require 'spec.net'

local watcher = {}

-- Those of the process table entries that are models: not the supervisors, whose command line holds that of
-- the model, and not what a model's start script forks (a copy of itself, for a moment).
function watcher.models(list, pattern)
  local found, by_pid = {}, {}
  for _, p in ipairs(list) do
    if p.cmdline:find(pattern) and not p.cmdline:find '^%S*luaswap%s' then by_pid[p.pid] = p end
  end
  for _, p in pairs(by_pid) do
    if not by_pid[p.ppid] then found[#found + 1] = p end
  end
  table.sort(found, function(a, b) return a.pid < b.pid end)
  return found
end

local function run(mark, pattern, path)
  local json = require 'spec.support.json'
  local out = assert(io.open(path, 'w'))
  local signals = net.signals { 'TERM' }
  local last, looks, most = '', 0, 0
  print 'watching'
  io.stdout:flush()
  repeat
    local pids, names = {}, {}
    for _, p in ipairs(watcher.models(net.marked(mark), pattern)) do
      pids[#pids + 1], names[#names + 1] = p.pid, p.cmdline:match '%-%-model (%S+)' or p.cmdline
    end
    looks, most = looks + 1, math.max(most, #pids)
    local now = table.concat(pids, ' ')
    if now ~= last then
      last = now
      out:write(json.encode { t = net.now(), alive = #pids, pids = pids, names = names }, '\n')
    end
    local ended = #net.poll({ signals }, 0.001) > 0
  until ended
  out:write(json.encode { looks = looks, most = most }, '\n')
  out:close()
end

function watcher.start(mark, pattern)
  local shell = require 'spec.shell'
  local path = net.tmpdir() .. '/seen'
  local proc = assert(net.spawn { shell.exe, '--run', shell.root .. '/spec/support/watcher.lua', mark, pattern, path,
    stdout = 'pipe' })
  assert(proc:read_stdout(20))
  return setmetatable({ proc = proc, path = path }, { __index = watcher })
end

function watcher:stop()
  local json = require 'spec.support.json'
  self.proc:kill 'TERM'
  local code, why = self.proc:wait(10)
  if code ~= 0 then error(('the watcher ended with %s'):format(code or why), 2) end
  local seen, known = { changes = {}, order = {} }, {}
  for line in io.lines(self.path) do
    local e = json.decode(line)
    if e.looks then seen.looks, seen.most = e.looks, e.most else seen.changes[#seen.changes + 1] = e end
    for i, pid in ipairs(e.pids or {}) do
      if not known[pid] then seen.order[#seen.order + 1], known[pid] = e.names[i], true end
    end
  end
  return seen
end

if arg and arg[0] and arg[0]:match 'watcher%.lua$' then run(arg[1], arg[2], arg[3]) end
return watcher
