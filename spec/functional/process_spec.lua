-- process_spec.lua: model commands of every kind under the real program: wrappers, forks, crashes, stops.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

-- A model whose whole command line is given; `extra` are further keys.
local function start(cmd, extra, top)
  local out = { top or '', 'models:\n  m:\n    cmd: |\n' }
  for line in (cmd .. '\n'):gmatch '(.-)\n' do out[#out + 1] = '      ' .. line .. '\n' end
  for k, v in pairs(extra or {}) do out[#out + 1] = ('    %s: %s\n'):format(k, v) end
  return server.start { config = table.concat(out) }
end

local function fake(args) return server.fake_cmd('--silent ' .. (args or '')) end

local function pid_of(srv)
  local list = srv:models()
  return list[1] and list[1].pid
end

-- Only luaswap itself is left: what a stop left behind would show here (a supervisor takes a moment to go).
local function alone(srv)
  wait.till(function() return #srv:tree() == 1 end, 2, 'the end of all but luaswap')
end

-- By pid, the processes that only sleep, once there are some.
local function sleepers(srv)
  return wait.till(function()
    local found = {}
    for _, p in ipairs(srv:tree()) do
      if p.cmdline:find '^sleep' then found[p.pid] = true end
    end
    return next(found) and found
  end, 5, 'a sleeper')
end

describe('a model command', function()
  after_each(server.stop_all)

  it('may be a wrapper that runs the server in the background (A088)', function()
    local srv = start(("sh -c '%s & wait'"):format(fake()))
    assert.equal(200, srv:chat('m').status)
    local t0 = net.now()
    assert.equal(200, srv:get('/unload', { timeout = 20 }).status)
    assert.is_true(net.now() - t0 < 5 * wait.slow)
    alone(srv)
  end)

  it('takes a server that moved to a session of its own along when it is stopped', function()
    local srv = start(("sh -c 'setsid %s >/dev/null 2>&1 & exec sleep 1000'"):format(fake()))
    assert.equal(200, srv:chat('m').status)
    assert.equal(200, srv:get('/unload', { timeout = 20 }).status)
    alone(srv)
  end)

  it('that leaves a deaf grandchild behind is gone at the end of the grace (A092)', function()
    local srv = start(("sh -c '(trap \"\" TERM; exec sleep 1000) & exec %s'"):format(fake()), { unloadTimeout = 1 })
    assert.equal(200, srv:chat('m').status)
    local t0 = net.now()
    assert.equal(200, srv:get('/unload', { timeout = 20 }).status)
    local took = net.now() - t0
    assert.is_true(took > 0.9 and took < 5 * wait.slow, tostring(took))
    alone(srv)
  end)

  it('is started again by the next request after it was killed', function()
    local srv = start(fake())
    assert.equal(200, srv:chat('m').status)
    local first = pid_of(srv)
    net.kill(first, 'KILL')
    assert.equal(200, srv:chat('m').status)
    assert.not_equal(first, pid_of(srv))
    assert.equal(1, #srv:models())
  end)

  it('that crashes and leaves others behind is served again when those are gone', function()
    local srv = start(("sh -c 'sleep 1000 & exec %s'"):format(fake()))
    assert.equal(200, srv:chat('m').status)
    local sleeper = next(sleepers(srv))
    net.kill(pid_of(srv), 'KILL')
    assert.equal(200, srv:chat('m', nil, { timeout = 30 }).status)
    assert.is_nil(sleepers(srv)[sleeper])
  end)

  it('survives nothing when its supervisor is killed, and is started again', function()
    local srv = start(("sh -c '(setsid sleep 1000 &); exec %s'"):format(fake '--ignore-term'), { unloadTimeout = 1 })
    assert.equal(200, srv:chat('m').status)
    local first, boss, sleeper = pid_of(srv), nil, next(sleepers(srv))
    for _, p in ipairs(srv:tree()) do
      if p.pid == first then boss = p.ppid end
    end
    net.kill(boss, 'KILL')
    -- a request that comes before luaswap has noticed may still be answered by the first
    wait.till(function() return srv:log():find('the supervisor was killed', 1, true) end, 20, 'luaswap to notice')
    assert.equal(200, srv:chat('m', nil, { timeout = 60 }).status)
    for _, p in ipairs(srv:tree()) do
      assert(p.pid ~= first and p.pid ~= sleeper, p.cmdline .. ' of the first life is alive')
    end
    assert.is_truthy(pid_of(srv))
  end)

  it('is left a moment to see that its client has gone before it is told to end', function()
    local srv = server.start { config = server.config('logLevel: debug', { { 'a', '--silent' }, { 'b', '--silent' } }) }
    assert.equal(200, srv:chat('b').status)
    local c = srv:connect()
    c:request('POST', '/v1/chat/completions',
      { body = { model = 'a', stream = true, fake = { endless = true }, messages = {} } })
    assert.is_truthy(c:event(c:head(20), 20))
    local waiting = srv:connect()
    waiting:request('POST', '/v1/chat/completions', { body = { model = 'b', messages = {} } })
    wait.till(function() return srv:get('/api/scheduler'):json().waiting == 1 end, 10, 'the second request in the line')
    c:rst()
    assert.equal(200, waiting:response(30).status)
    assert.is_truthy(srv:log():find('STOP: READY -> STOP_CALM', 1, true))
    -- and not otherwise
    local n = select(2, srv:log():gsub('STOP_CALM', ''))
    assert.equal(200, srv:chat('a').status)
    assert.equal(n, select(2, srv:log():gsub('STOP_CALM', '')))
  end)

  it('that dies and leaves a deaf one behind gets nothing more until that is gone', function()
    local srv = start(("sh -c '(trap \"\" TERM; exec sleep 1000) & exec %s'"):format(fake()), { unloadTimeout = 1 })
    assert.equal(200, srv:chat('m').status)
    local sleeper = next(sleepers(srv))
    net.kill(pid_of(srv), 'KILL')
    wait.till(function() return srv:log():find('left processes behind', 1, true) end, 10, 'luaswap to notice')
    assert.equal(200, srv:chat('m', nil, { timeout = 60 }).status)
    for _, p in ipairs(srv:tree()) do assert.not_equal(sleeper, p.pid) end
    local events = srv:get('/debug/sched').body
    assert.is_truthy(events:find('MODEL_DYING', 1, true))
    assert.is_nil(events:find('RETRY', 1, true))
  end)

  it('that not even SIGKILL ends is a 503 for who needs its place, and nothing runs beside it', function()
    -- A supervisor that passes no signal on: to luaswap its model is then what one in an endless system call is.
    local dir = net.tmpdir()
    local let_go = dir .. '/let-go'
    local boss = server.write_file(dir .. '/supervisor', ([[
#!/bin/bash
words=()
echo "hello 1 $$" >&3
while :; do
  if [ -e %s ] && [ -n "$pid" ]; then
    kill -KILL $pid && wait $pid
    printf 'signaled 9\ngone\n' >&3
    pid=
  fi
  IFS= read -r -t 0.1 -u 3 part
  rc=$?
  line+=$part # at a timeout too: the line is not whole yet
  [ $rc -gt 128 ] && continue
  [ $rc -eq 0 ] || break
  verb=${line%%%% *} word=${line#* } line=
  case $verb in
  arg) words+=("$word") ;;
  env) export "${word//%%3D/=}" ;;
  start) "${words[@]}" 3>&- >&4 2>&4 4>&- & pid=$!; echo "started $pid" >&3 ;;
  ping) echo "pong $word running" >&3 ;;
  esac
done
[ -n "$pid" ] && kill -KILL $pid
]]):format(let_go))
    os.execute('chmod +x ' .. boss)
    local quick = { unloadTimeout = 1 }
    local srv = server.start { env = { LUASWAP_SUPERVISOR = boss },
      config = server.config('', { { 'a', '--silent', quick }, { 'b', '--silent', quick } }) }
    assert.equal(200, srv:chat('a').status)
    local r = srv:chat('b', nil, { timeout = 60 })
    assert.equal(503, r.status)
    assert.is_truthy(r:get 'retry-after')
    assert.equal(1, #srv:models())
    assert.is_truthy(srv:log():find('does not end, not even by SIGKILL', 1, true))
    server.write_file(let_go, '')
    wait.till(function() return #srv:models() == 0 end, 10, 'the end of the model')
    os.remove(let_go)
    wait.till(function() return srv:chat('b', nil, { timeout = 60 }).status == 200 end, 30, 'the other model')
    assert.equal(1, #srv:models())
    server.write_file(let_go, '')
  end)

  it('that cannot be executed is a 500 with the reason', function()
    local srv = start '/no/such/llama-server --port ${PORT}'
    local r = srv:chat 'm'
    assert.equal(500, r.status)
    assert.is_truthy(r:json().error.message:find("failed to start command '/no/such/llama-server --port", 1, true))
    assert.is_truthy(r:json().error.message:find('No such file or directory', 1, true))
  end)

  it('that ends while it loads is a 500 at once, and its words are in the log', function()
    local srv = start("sh -c 'echo not enough memory for ${PORT}; exit 3'")
    local t0 = net.now()
    local r = srv:chat 'm'
    assert.equal(500, r.status)
    assert.is_truthy(r:json().error.message:find('upstream command exited prematurely', 1, true))
    assert.is_true(net.now() - t0 < 3 * wait.slow)
    assert.is_truthy(srv:log():find('not enough memory', 1, true))
  end)

  it('stops by its cmdStop, with ${PID} filled in', function()
    local srv = start(fake '--ignore-term', { cmdStop = "sh -c 'kill -KILL ${PID}'", unloadTimeout = 20 })
    assert.equal(200, srv:chat('m').status)
    local t0 = net.now()
    assert.equal(200, srv:get('/unload', { timeout = 30 }).status)
    assert.is_true(net.now() - t0 < 5 * wait.slow)
    alone(srv)
  end)

  it('stops by SIGTERM when its cmdStop fails or hangs', function()
    for _, stop in ipairs { 'false', '/no/such/stopper', 'sleep 1000' } do
      local srv = start(fake(), { cmdStop = stop, unloadTimeout = 2 })
      assert.equal(200, srv:chat('m').status)
      local t0 = net.now()
      assert.equal(200, srv:get('/unload', { timeout = 30 }).status)
      assert.is_true(net.now() - t0 < 1.9 * wait.slow)
      alone(srv)
    end
  end)

  it('gets luaswap\'s environment and its own, and no input', function()
    local dir = net.tmpdir()
    local srv = start(("sh -c 'env > %s/env; cat > %s/in; exec %s'"):format(dir, dir, fake()),
      { env = '["MINE=1", "MINE=2"]' })
    assert.equal(200, srv:chat('m').status)
    local env = server.read_file(dir .. '/env')
    assert.is_truthy(env:find('MINE=2\n', 1, true))
    assert.is_nil(env:find('MINE=1\n', 1, true))
    assert.is_truthy(env:find 'PATH=')
    assert.equal('', server.read_file(dir .. '/in'))
  end)

  it('goes on when it logs heavily and nobody reads luaswap\'s output (A094)', function()
    local dir = net.tmpdir()
    local probe = net.listen('127.0.0.1', 0)
    local port = probe:port()
    probe:close()
    local text = ('logToStdout: both\nstartPort: %d\nmodels:\n  m:\n    cmd: %s\n'):format(port, fake '--burst 3000000')
    local path = server.write_file(dir .. '/config.yaml', text)
    local mark = 'LUASWAP_SPEC_A094=' .. dir
    local proc = net.spawn { server.bin(), '-config', path, '-listen', '127.0.0.1:0', env = { LUASWAP_SPEC_A094 = dir },
      stdout = 'pipe', stderr = dir .. '/err' }
    local said = ''
    wait.till(function()
      said = said .. (proc:read_stdout(0.1) or '')
      return said:find('listening on http://[%d.]+:%d+\n')
    end, 20, 'luaswap to listen')
    proc:close_stdout()
    port = tonumber(said:match 'listening on http://[%d.]+:(%d+)')
    for _ = 1, 3 do
      local r = http.post(port, '/v1/chat/completions', { model = 'm', messages = {} }, { timeout = 30 * wait.slow })
      assert.equal(200, r.status)
    end
    proc:kill 'TERM'
    assert.equal(0, proc:wait(20))
    assert.equal('', server.read_file(dir .. '/err'))
    wait.till(function() return #net.marked(mark) == 0 end, 3, 'the end of all')
  end)
end)
